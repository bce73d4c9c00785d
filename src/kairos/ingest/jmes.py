"""JMESPath (jmespath.org) over JSON whose numbers are exact, compiled once, and fast where a path is plain.

A JSON number with a fraction or an exponent is a `Decimal`; so are literals. An expression has neither loops nor
recursion: it looks at each part of a payload as often as it names it, and sorts at most. Its own length and depth are
bounded here; how large a payload is and how long all of it may take, by the door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

import jmespath.exceptions
import jmespath.functions
import jmespath.parser
import jmespath.visitor
import msgspec

from kairos.errors import did_you_mean
from kairos.ingest.values import NumberText

LONGEST_NUMBER: Final = 40  # characters; a longer one stays text, which is no number to anybody
LARGEST_EXPONENT: Final = 40
DEEPEST: Final = 40  # levels of an expression

Find = Callable[[Any], Any]
Node = dict[str, Any]


def exact(written: str) -> Decimal | NumberText:
    """A JSON number as it was written; beyond all measure it stays text, so that nobody computes with it.

    >>> exact("1.10"), exact("1e400")
    (Decimal('1.10'), '1e400')
    """
    if len(written) <= LONGEST_NUMBER:
        number = Decimal(written)
        if -LARGEST_EXPONENT <= number.adjusted() <= LARGEST_EXPONENT:
            return number
    return NumberText(written)


decode: Final = msgspec.json.Decoder(float_hook=exact).decode


def plain(value: Any) -> Any:
    """A JSON value with its numbers as the reader of CloudEvents has them."""
    match value:
        case Decimal():
            return NumberText(f"{value:f}")
        case dict():
            return {name: plain(inner) for name, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
    return value


def written(value: Any) -> bytes:
    """A JSON value as it came, number by number.

    >>> written({"cost": Decimal("1.10")})
    b'{"cost":1.10}'
    """
    return msgspec.json.encode(_raw(value))


class Functions(jmespath.functions.Functions):
    """The functions of JMESPath, for exact numbers: its own say by the names of Python's types what a number is."""

    def _get_allowed_pytypes(self, types: Any) -> Any:
        allowed, within = super()._get_allowed_pytypes(types)  # type: ignore[misc]
        within = [(*one, "Decimal") if "float" in one else one for one in within]
        return [*allowed, "Decimal"] if "float" in allowed else allowed, within

    def _convert_to_jmespath_type(self, pyobject: str) -> Any:
        return super()._convert_to_jmespath_type(  # type: ignore[misc]
            "float" if pyobject == "Decimal" else pyobject
        )

    @jmespath.functions.signature({"types": ["array-number"]})
    def _func_avg(self, arg: list[Any]) -> Any:
        return sum(map(Decimal, arg), Decimal(0)) / len(arg) if arg else None

    @jmespath.functions.signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        return arg if isinstance(arg, str) else written(arg).decode()

    @jmespath.functions.signature({"types": []})
    def _func_to_number(self, arg: Any) -> Any:
        if isinstance(arg, str):
            try:
                found = decode(arg)
            except (msgspec.MsgspecError, RecursionError):
                return None
            arg = None if isinstance(found, str) else found
        return arg if isinstance(arg, (int, Decimal)) and not isinstance(arg, bool) else None

    @jmespath.functions.signature({"types": []})
    def _func_type(self, arg: Any) -> Any:
        return "number" if isinstance(arg, Decimal) else super()._func_type(arg)  # type: ignore[misc]


def _raw(value: Any) -> Any:
    match value:
        case Decimal():
            return msgspec.Raw(f"{value:f}".encode())
        case dict():
            return {name: _raw(inner) for name, inner in value.items()}
        case list():
            return [_raw(inner) for inner in value]
        case NumberText():
            return msgspec.Raw(value.encode())
    return value


_INTERPRETER: Final[Any] = jmespath.visitor.TreeInterpreter(jmespath.visitor.Options(custom_functions=Functions()))
_KNOWN: Final = Functions.FUNCTION_TABLE


class Expression:
    """A compiled expression. `find` gives what it finds in a payload: None where there is nothing.

    What it raises, where a function gets what it does not take, can be any exception: JMESPath's own, or Python's.
    """

    def __init__(self, text: str, find: Find, roots: frozenset[str]) -> None:
        self.text, self.find, self.roots = text, find, roots


def compile_expression(text: str) -> Expression:
    """Raises ValueError with what is wrong, in words.

    >>> compile_expression("a.b").find({"a": {"b": 1}})
    1
    >>> compile_expression("a.[b").find
    Traceback (most recent call last):
    ...
    ValueError: `a.[b` is no JMESPath expression: it ends too early
    """
    try:
        node: Any = jmespath.parser.Parser().parse(text).parsed
    except jmespath.exceptions.EmptyExpressionError:
        raise ValueError("an expression is needed") from None
    except jmespath.exceptions.IncompleteExpressionError:
        raise ValueError(f"`{text}` is no JMESPath expression: it ends too early") from None
    except jmespath.exceptions.LexerError as error:
        raise ValueError(
            f"`{text}` is no JMESPath expression: {error.message} at character {error.lexer_position + 1}"
        ) from None
    except jmespath.exceptions.ParseError as error:
        at = f"`{error.token_value}` cannot stand at character {error.lex_position + 1}"
        raise ValueError(f"`{text}` is no JMESPath expression: {at}") from None
    except RecursionError:
        raise ValueError(f"`{text[:60]}...` is nested too deeply") from None
    _check(node, DEEPEST, text)
    node = _exactly(node)
    return Expression(
        text, _plain_path(node) or (lambda value: _INTERPRETER.visit(node, value)), frozenset(_roots(node))
    )


def _check(node: Node, depth: int, text: str) -> None:
    """Raises ValueError for a function that there is not, or that takes more or less."""
    if depth == 0:
        raise ValueError(f"`{text[:60]}...` is nested too deeply")
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        known = _KNOWN.get(name)
        if known is None:
            hint = did_you_mean(name, _KNOWN) or f"known: {', '.join(sorted(_KNOWN))}"
            raise ValueError(f"`{text}`: there is no function `{name}`; {hint}")
        takes = known["signature"]
        if given != len(takes) and not (takes and takes[-1].get("variadic") and given >= len(takes)):
            raise ValueError(f"`{text}`: `{name}` takes {len(takes)}, not {given}")
    for child in node["children"]:
        _check(child, depth - 1, text)


def _exactly(node: Node) -> Node:
    """The same, with the numbers of its literals exact."""
    if node["type"] == "literal":
        return node | {"value": _exact_literal(node["value"])}
    return node | {"children": [_exactly(child) for child in node["children"]]}


def _exact_literal(value: Any) -> Any:
    match value:
        case float():
            return exact(repr(value))
        case dict():
            return {name: _exact_literal(inner) for name, inner in value.items()}
        case list():
            return [_exact_literal(inner) for inner in value]
    return value


def _plain_path(node: Node) -> Find | None:
    """What finds a plain path, such as `a.b.c`, faster than the interpreter does; None for any other."""
    steps = node["children"] if node["type"] == "subexpression" else [node]
    if not all(step["type"] == "field" for step in steps):
        return None
    names = tuple(step["value"] for step in steps)
    first = names[0]

    def one(value: Any) -> Any:
        return value.get(first) if isinstance(value, dict) else None

    def many(value: Any) -> Any:
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return one if len(names) == 1 else many


# Of these only the first child looks at what the whole expression looks at; of all others, every one does.
_ONWARD: Final = (
    "subexpression",
    "index_expression",
    "projection",
    "value_projection",
    "filter_projection",
    "flatten",
    "pipe",
    "slice",
)


def _roots(node: Node) -> Iterator[str]:
    """The names that it looks for in the payload itself; `@` where it takes the payload as a whole."""
    match node["type"]:
        case "field":
            yield node["value"]
        case "identity" | "current":
            yield "@"
        case "expref" | "literal" | "index":
            pass
        case kind:
            for child in node["children"][:1] if kind in _ONWARD else node["children"]:
                yield from _roots(child)
