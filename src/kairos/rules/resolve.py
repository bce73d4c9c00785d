"""From sqlglot's tree to ours: names are looked up, everything gets its type, and constants become literals.

Only the nodes in the tables below are known; each other node is refused in the user's words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from sqlglot import exp

from kairos.errors import Diagnostic, RuleError, did_you_mean
from kairos.rules.functions import COALESCE, FUNCTIONS, Function
from kairos.rules.functions import NAMES as FUNCTION_NAMES
from kairos.rules.literals import DATE_FORM, TIME_FORM, day, fits_money, instant, minor_units
from kairos.rules.python import known_value
from kairos.rules.tree import (
    COMPARE,
    MIRROR,
    Always,
    And,
    Arithmetic,
    Call,
    Coalesce,
    Column,
    Comparison,
    In,
    IsNull,
    Like,
    Literal,
    Operand,
    Or,
    Tree,
    Truth,
    columns,
    negation,
)
from kairos.rules.types import RESERVED, Constant, Names, Type, Value
from kairos.rules.words import ARITHMETIC, COMPARISONS, bare, foreign_parts, shown, words

MAX_LEVELS: Final = 40  # of one value: a sum of more terms than this is refused
MAX_OPTIONS: Final = 500  # in one IN list
MAX_PATTERN: Final = 100  # characters of one LIKE pattern

_CONDITIONS: Final[tuple[type[exp.Expression], ...]] = (
    exp.And,
    exp.Or,
    exp.Not,
    exp.Is,
    exp.In,
    exp.Between,
    exp.Like,
    *COMPARISONS,
)

_RESULT: Final[Mapping[tuple[str, str, str], Type]] = {
    **{("number", operator, "number"): "number" for operator in "+-*/%"},
    ("money", "+", "money"): "money",
    ("money", "-", "money"): "money",
    ("money", "/", "money"): "number",
    ("money", "*", "number"): "money",
    ("number", "*", "money"): "money",
    ("money", "/", "number"): "money",
}
_INSTEAD_OF_ARITHMETIC: Final = {
    "time": "use hours_since or hours_until",
    "date": "use days_since or days_until",
    "money": "money is added to money, and multiplied or divided by a number",
}
_ARTICLE: Final = {"text": "a text", "number": "a number", "money": "money", "boolean": "a boolean", "date": "a date"}


class Resolver:
    """Turns one syntax tree into a typed tree; every method raises `RuleError` for what does not fit."""

    def __init__(
        self, names: Names, constants: Mapping[str, Constant], money_digits: int, file: str, line: int
    ) -> None:
        self.names: Names = {**names, **RESERVED}
        self.constants = constants
        self.money_digits = money_digits
        self.file = file
        self.line = line

    # --- conditions -----------------------------------------------------------------------------------------------

    def condition(self, node: exp.Expression) -> Tree:
        """The typed tree of a node that must be a condition."""
        node = self.plain(node)
        match node:
            case exp.And():
                return _joined(And, [self.condition(part) for part in _flat(node, exp.And)], decisive=False)
            case exp.Or():
                return _joined(Or, [self.condition(part) for part in _flat(node, exp.Or)], decisive=True)
            case exp.Not():
                return negation(self.condition(node.this))
            case exp.Between():
                return self.between(node)
            case exp.In():
                return self.in_list(node)
            case exp.Is():
                return self.is_test(node)
            case exp.Like():
                return self.like(node)
            case _ if type(node) in COMPARISONS:
                return self.comparison(COMPARISONS[type(node)], node.this, node.expression, node)
            case _:
                return self.truth(node)

    def plain(self, node: exp.Expression) -> exp.Expression:
        """The node without its parentheses; refused if it says more than the language knows."""
        node = bare(node)
        if more := foreign_parts(node):
            raise self.error(node, f"{shown(node)}: {more[0].upper()} is not part of the rules language")
        return node

    def truth(self, node: exp.Expression) -> Tree:
        value = self.operand(node)
        if value.type != "boolean":
            raise self.error(
                node,
                f"`{words(node)}` is {_article(value.type)}, and a rule asks a question that is true or false",
                "compare it with something",
            )
        return Always(bool(value.value)) if isinstance(value, Literal) else Truth(value)

    def comparison(self, operator: str, left: exp.Expression, right: exp.Expression, node: exp.Expression) -> Tree:
        if type(left) in COMPARISONS and type(node) in COMPARISONS:
            middle = words(left.expression)
            hint = f"join two with AND, such as `{words(left)} AND {middle} {operator} {words(right)}`"
            raise self.error(node, "comparisons cannot be chained", hint)
        one, two = self.same_type([left, right], node, "compares")
        if one.type == "boolean" and operator not in ("=", "<>"):
            raise self.error(node, f"a boolean has no order: `{operator}` compares {shown(node)}", "use `=` or `<>`")
        if isinstance(one, Literal):
            if isinstance(two, Literal):
                return Always(COMPARE[operator](one.value, two.value))
            one, two, operator = two, one, MIRROR[operator]
        return Comparison(operator, one, two)

    def between(self, node: exp.Between) -> Tree:
        low = self.comparison(">=", node.this, node.args["low"], node)
        high = self.comparison("<=", node.this, node.args["high"], node)
        return _joined(And, [low, high], decisive=False)

    def in_list(self, node: exp.In) -> Tree:
        options: list[exp.Expression] = node.expressions
        if not options:
            raise self.error(node, "IN needs a list of values in parentheses", "such as `IN ('a', 'b')`")
        if len(options) > MAX_OPTIONS:
            raise self.error(node, f"the list after IN has {len(options)} values, and {MAX_OPTIONS} is the most")
        found: dict[Value, Literal] = {}
        one: Operand | None = None
        for option in options:
            one, value = self.same_type([node.this, option], node, "looks for")
            if not isinstance(value, Literal):
                raise self.error(
                    option, f"`{words(option)}` is not a plain value", "a list after IN holds literals only"
                )
            found[value.value] = value
        assert one is not None
        if isinstance(one, Literal):
            return Always(one.value in found)
        return In(one, tuple(found[value] for value in sorted(found)))

    def is_test(self, node: exp.Is) -> Tree:
        if isinstance(node.expression, exp.Null):
            value = self.operand(node.this)
            return Always(False) if isinstance(value, Literal) else IsNull(value)
        if isinstance(node.expression, exp.Boolean):
            value = self.operand(node.this)
            if value.type != "boolean":
                raise self.error(node, f"`{words(node.this)}` is {_article(value.type)}, and IS TRUE asks a boolean")
            wanted = bool(node.expression.this)
            if isinstance(value, Literal):
                return Always(value.value == wanted)
            truth = Truth(Coalesce((value, Literal(not wanted, "boolean")), "boolean"))
            return truth if wanted else negation(truth)
        raise self.error(node, f"IS is followed by NULL, NOT NULL, TRUE or FALSE, not by `{words(node.expression)}`")

    def like(self, node: exp.Like) -> Tree:
        value = self.operand(node.this)
        pattern = bare(node.expression)
        if value.type != "text":
            raise self.error(node, f"LIKE asks a text, and `{words(node.this)}` is {_article(value.type)}")
        if not isinstance(pattern, exp.Literal) or not pattern.is_string:
            raise self.error(node, "the pattern after LIKE is a text in quotes", "such as `LIKE 'pre%'`")
        if len(pattern.name) > MAX_PATTERN:
            raise self.error(node, f"the pattern after LIKE has more than {MAX_PATTERN} characters")
        return Like(value, pattern.name, negated=bool(node.args.get("negate")))

    # --- values ---------------------------------------------------------------------------------------------------

    def operand(self, node: exp.Expression, level: int = 0) -> Operand:
        """The typed value of a node that must be a value."""
        node = self.plain(node)
        if level > MAX_LEVELS:
            raise self.error(node, f"a value is built from more than {MAX_LEVELS} steps", "split the rule")
        match node:
            case exp.Literal():
                return self.literal(node)
            case exp.Boolean():
                return Literal(bool(node.this), "boolean")
            case exp.Column():
                return self.column(node)
            case exp.Neg():
                return self.negative(node, level)
            case exp.Anonymous():
                return self.call(node, level)
            case _ if type(node) in ARITHMETIC:
                return self.arithmetic(node, level)
            case _:
                raise self.error(node, *_why_no_value(node))

    def literal(self, node: exp.Literal) -> Literal:
        if node.is_string:
            return Literal(node.name, "text")
        try:
            value = float(node.name)
        except ValueError as error:
            raise self.error(node, f"`{node.name}` is not a number") from error
        if not math.isfinite(value):
            raise self.error(node, f"the number `{node.name}` is too large")
        return Literal(value, "number", node.name)

    def column(self, node: exp.Column) -> Operand:
        parts = list(node.parts)
        if any(isinstance(part, exp.Star) for part in parts):
            raise self.error(node, "`*` multiplies two values, and one is missing")
        name = ".".join(part.name for part in parts)
        if name in self.constants:
            constant = self.constants[name]
            value = float(constant.value) + 0.0 if constant.type == "number" else constant.value
            return Literal(value, constant.type)
        if name in self.names:
            return Column(name, self.names[name])
        if name in FUNCTION_NAMES:
            raise self.error(node, f"`{name}` is a function", f"write `{name}()`")
        known = [*self.constants, *self.names]
        raise self.error(
            node, f"unknown name `{name}`", did_you_mean(name, known) or f"a text stands in quotes: '{name}'"
        )

    def negative(self, node: exp.Neg, level: int) -> Operand:
        value = self.operand(node.this, level + 1)
        if isinstance(value, Literal) and value.written:
            return Literal(0.0 - float(value.value), "number", f"-{value.written}".removeprefix("--"))
        if value.type not in ("number", "money"):
            raise self.error(
                node, f"`-` stands before a number or money, and `{words(node.this)}` is {_article(value.type)}"
            )
        zero = Literal(0.0 if value.type == "number" else 0, value.type)
        return _folded(Arithmetic("-", zero, value, value.type))

    def arithmetic(self, node: exp.Expression, level: int) -> Operand:
        operator = ARITHMETIC[type(node)]
        left, right = self.operand(node.this, level + 1), self.operand(node.expression, level + 1)
        if operator in "+-":
            left, right = self.with_money([left, right], node)
        result = _RESULT.get((left.type, operator, right.type))
        if result is None:
            types = {left.type, right.type}
            hint = next((hint for kind, hint in _INSTEAD_OF_ARITHMETIC.items() if kind in types), "")
            raise self.error(
                node, f"`{operator}` cannot join {self.both(node.this, left, node.expression, right)}", hint
            )
        return _folded(Arithmetic(operator, left, right, result))

    def call(self, node: exp.Anonymous, level: int) -> Operand:
        name = str(node.this).lower()
        given: list[exp.Expression] = node.expressions
        if name in ("date", "timestamp"):
            return self.calendar(node, name, given)
        if name not in FUNCTION_NAMES:
            raise self.error(
                node,
                f"unknown function `{node.this}`",
                _did_you_mean_function(name) or f"there are {', '.join(sorted(FUNCTION_NAMES))}",
            )
        forms = [function for function in (*FUNCTIONS, COALESCE) if function.name == name]
        repeats, wanted = forms[0].repeats, len(forms[0].takes)
        if len(given) < 2 if repeats else len(given) != wanted:
            count = "at least 2 values" if repeats else f"{wanted or 'no'} value{'s' * (wanted != 1)}"
            raise self.error(
                node, f"`{name}` takes {count}, and {len(given)} {'is' if len(given) == 1 else 'are'} given"
            )
        if repeats:
            arguments = self.same_type(given, node, "chooses from", level + 1)
        else:
            arguments = [self.operand(argument, level + 1) for argument in given]
        if name == COALESCE.name:
            return Coalesce(tuple(arguments), arguments[0].type)
        for form in forms:
            if all(value.type == form.takes[min(at, len(form.takes) - 1)] for at, value in enumerate(arguments)):
                return _folded(_called(form, arguments))
        takes = " or ".join(dict.fromkeys(", ".join(map(_article, form.takes)) for form in forms))
        told = ", ".join(f"`{words(at)}` is {_article(value.type)}" for at, value in zip(given, arguments, strict=True))
        raise self.error(node, f"`{name}` takes {takes}, and {told}")

    def calendar(self, node: exp.Anonymous, name: str, given: Sequence[exp.Expression]) -> Literal:
        """DATE '2026-01-31' and TIMESTAMP '2026-01-31 18:00' (UTC, or wall clock when compared with `local`)."""
        written = given[0].name if len(given) == 1 and given[0].is_string else name
        try:
            return Literal(day(written), "date") if name == "date" else Literal(instant(written), "time")
        except ValueError as error:
            kind, form = ("date", DATE_FORM) if name == "date" else ("time", TIME_FORM)
            raise self.error(node, f"`{written}` is not a {kind}", f"write {form}") from error

    # --- types ----------------------------------------------------------------------------------------------------

    def same_type(
        self, nodes: Sequence[exp.Expression], node: exp.Expression, verb: str, level: int = 0
    ) -> list[Operand]:
        """The values of nodes that must be of one type; a numeric literal beside money becomes money."""
        values = self.with_money([self.operand(each, level) for each in nodes], node)
        for each, value in zip(nodes, values, strict=True):
            if value.type != values[0].type:
                both = self.both(nodes[0], values[0], each, value)
                raise self.error(node, f"{shown(node)} {verb} {both}", _remedy(nodes[0], values[0], each, value))
        return values

    def with_money(self, values: list[Operand], node: exp.Expression) -> list[Operand]:
        if not any(value.type == "money" for value in values):
            return values
        return [self.as_money(value, node) if _is_written(value) else value for value in values]

    def as_money(self, value: Operand, node: exp.Expression) -> Literal:
        assert isinstance(value, Literal)
        try:
            return Literal(minor_units(value.written, self.money_digits), "money")
        except ValueError as error:
            raise self.error(node, str(error)) from error

    def both(self, one: exp.Expression, left: Operand, two: exp.Expression, right: Operand) -> str:
        return f"{_article(left.type)} (`{words(one)}`) and {_article(right.type)} (`{words(two)}`)"

    def error(self, node: exp.Expression, message: str, hint: str = "") -> RuleError:
        at = min((found.meta["line"] for found in node.walk() if "line" in found.meta), default=1)
        return RuleError([Diagnostic(self.file, self.line + at - 1 if self.line else 0, message, hint)])


_ELSEWHERE: Final = {"min": "least", "max": "greatest", "ifnull": "coalesce", "nvl": "coalesce", "len": "length"}


def _did_you_mean_function(name: str) -> str:
    return did_you_mean(name, FUNCTION_NAMES) if name not in _ELSEWHERE else f"did you mean `{_ELSEWHERE[name]}`?"


def _called(form: Function, arguments: Sequence[Operand]) -> Call:
    read = [Column(name, RESERVED[name]) for name in form.reads]
    return Call(form, (*arguments, *read), form.gives)


def _folded(value: Arithmetic | Call) -> Operand:
    """A value without names, worked out once (unless that has no literal: it is NULL, or too large for money)."""
    if columns(value):
        return value
    known = known_value(value)
    if known is None or (value.type == "money" and not fits_money(int(known))):
        return value
    return Literal(known + 0.0 if isinstance(known, float) else known, value.type)  # never -0.0: it equals 0.0


def _joined(kind: type[And] | type[Or], parts: Sequence[Tree], decisive: bool) -> Tree:
    """AND or OR, flat, without repeats, and without the parts that decide nothing."""
    flat: dict[Tree, None] = {}
    for part in parts:
        flat.update(dict.fromkeys(part.parts if isinstance(part, kind) else (part,)))
    if Always(decisive) in flat:
        return Always(decisive)
    left = [part for part in flat if part != Always(not decisive)]
    if not left:
        return Always(not decisive)
    return left[0] if len(left) == 1 else kind(tuple(left))


def _flat(node: exp.Expression, kind: type[exp.Expression]) -> list[exp.Expression]:
    """The operands of a chain such as `a AND b AND c`, without recursion, in order."""
    found: list[exp.Expression] = []
    waiting = [node]
    while waiting:
        at = waiting.pop()
        if isinstance(at, kind):
            waiting += [at.expression, at.this]
        else:
            found.append(at)
    return found


def _why_no_value(node: exp.Expression) -> tuple[str, str]:
    """What to say of a node that is not a value, and the hint."""
    match node:
        case exp.Null():
            return "NULL is not a value: nothing equals what is not known", "use IS NULL or coalesce"
        case exp.Tuple():
            return "a list of values can only stand after IN", ""
        case exp.Alias():
            return f"`{words(node.this)}` and `{node.alias}` stand side by side", "is a sign missing between them?"
        case _ if type(node) in _CONDITIONS:
            return f"{shown(node)} is a condition, and here a value is needed", ""
        case _:
            return f"{shown(node)} is not part of the rules language", ""


def _is_written(value: Operand) -> bool:
    return isinstance(value, Literal) and bool(value.written)


def _article(kind: str) -> str:
    return _ARTICLE.get(kind, f"a {kind}")


def _remedy(one: exp.Expression, left: Operand, two: exp.Expression, right: Operand) -> str:
    """What to write instead of a comparison of two types."""
    kinds = {left.type: one, right.type: two}
    text = kinds.get("text")
    quoted = text.name if text is not None and text.is_string else ""
    if quoted and "date" in kinds:
        return f"write DATE '{quoted}'"
    if quoted and "time" in kinds:
        return f"write TIMESTAMP '{quoted}'"
    if quoted and "number" in kinds:
        return "a number stands without quotes"
    if quoted and "boolean" in kinds:
        return "write TRUE or FALSE without quotes"
    if kinds.keys() == {"date", "time"}:
        return "take the day of the time with date_of"
    if kinds.keys() == {"money", "number"}:
        return "money is compared with money, or with an amount written out, such as 2.50"
    return ""
