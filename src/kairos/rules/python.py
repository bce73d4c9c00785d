"""The first runner: a typed tree becomes one Python expression, which is TRUE exactly where the rule is.

Every value is strict but `coalesce`: it is known only if all it is made of is known. So the code of an atom is a chain

    guard and guard and test        c0 is not None and -inf < (t0 := float(c0) * 1.5) < inf and t0 < 200.0

whose guards keep out what is unknown, before it is used. Plus, minus and times may pass an infinity or NaN on, as they
do in DuckDB: it cannot turn finite again before it meets a guard (of a divisor, an argument, or the test itself), and
there it is NULL. Only our own nodes become code: columns are local variables, numbers are written by `repr`, texts and
lists are looked up in a table of constants; no text of the user is ever part of the source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kairos.errors import Diagnostic, RuleError
from kairos.rules.functions import RUNTIME
from kairos.rules.like import matcher
from kairos.rules.tree import (
    Always,
    And,
    Arithmetic,
    Call,
    Coalesce,
    Column,
    Comparison,
    Condition,
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
from kairos.rules.types import Value

Row = Sequence[Any]

_SIGNS: Final = {"=": "==", "<>": "!="}


class Writer:
    """Writes the code of nodes over the local variables of some columns; `runtime` is what the code may call."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.runtime: dict[str, Any] = {"__builtins__": {}, "inf": math.inf, **RUNTIME}
        self._temporaries = 0

    def constant(self, value: object) -> str:
        """The name under which the code finds a value."""
        name = f"k{len(self.runtime)}"
        self.runtime[name] = value
        return name

    def test(self, tree: Tree) -> str:
        """Code that is True where the tree is TRUE, and False where it is FALSE or unknown."""
        guards: list[str] = []
        match tree:
            case Always(value):
                return repr(value)
            case And(parts):
                return f"({' and '.join(map(self.test, parts))})"
            case Or(parts):
                return f"({' or '.join(map(self.test, parts))})"
            case IsNull(operand, negated):
                self.settled(operand, guards)
                known = " and ".join(guards) or "True"
                return f"({known})" if negated else f"(not ({known}))"
            case Truth(operand, negated):
                test = f"{'not ' * negated}{self.settled(operand, guards)}"
            case Comparison(operator, left, right):
                one, two = self.settled(left, guards), self.settled(right, guards)
                test = f"{one} {_SIGNS.get(operator, operator)} {two}"
            case In(operand, options, negated):
                listed = self.constant(frozenset(option.value for option in options))
                test = f"{self.settled(operand, guards)} {'not ' * negated}in {listed}"
            case Like(operand, pattern, negated):
                test = f"{'not ' * negated}{self.constant(matcher(pattern))}({self.settled(operand, guards)})"
        return f"({' and '.join([*guards, test])})"

    def settled(self, node: Operand, guards: list[str]) -> str:
        """The code of a value that is known and finite once the guards, which it adds to, have let it pass."""
        code = self.value(node, guards)
        if not may_overflow(node):
            return code
        name = self._temporary()
        guards.append(f"-inf < ({name} := {code}) < inf")
        return name

    def value(self, node: Operand, guards: list[str]) -> str:
        match node:
            case Column(name):
                guard = f"{self.variables[name]} is not None"
                if guard not in guards:
                    guards.append(guard)
                return self.variables[name]
            case Literal(value, "text"):
                return self.constant(value)
            case Literal(value):
                return f"({value!r})"
            case Arithmetic():
                return self.arithmetic(node, guards)
            case Call(function, arguments):
                codes = [self.settled(argument, guards) for argument in arguments]
                return function.python.format(*codes, all=", ".join(codes))
            case Coalesce(arguments):
                return self.first_known(arguments, guards)

    def arithmetic(self, node: Arithmetic, guards: list[str]) -> str:
        left, right, operator = node.left, node.right, node.operator
        if node.type == "money" and left.type == right.type:
            return f"({self.value(left, guards)} {operator} {self.value(right, guards)})"
        one = self.as_float(left, guards, settled=operator == "%")
        two = self.as_float(right, guards, settled=operator in "/%")
        if operator in "/%" and not (isinstance(right, Literal) and right.value):
            name = self._temporary()
            guards.append(f"({name} := {two}) != 0.0")
            two = name
        code = f"fmod({one}, {two})" if operator == "%" else f"({one} {operator} {two})"
        if node.type == "number":
            return code
        name = self._temporary()  # money: whole minor units again, within 64 bits
        guards.append(f"-0x1p63 <= ({name} := {code}) < 0x1p63".replace("0x1p63", repr(2.0**63)))
        return f"int(half_away({name}))"

    def as_float(self, node: Operand, guards: list[str], settled: bool) -> str:
        code = self.settled(node, guards) if settled else self.value(node, guards)
        exact = node.type == "number" and isinstance(node, Literal | Arithmetic)
        return code if exact else f"float({code})"

    def first_known(self, arguments: Sequence[Operand], guards: list[str]) -> str:
        code, surely_known = "None", False
        for argument in reversed(arguments):
            own: list[str] = []
            value = self.settled(argument, own)
            code = f"({value} if {' and '.join(own)} else {code})" if own else value
            surely_known = surely_known or not own
        if surely_known:
            return code
        name = self._temporary()
        guards.append(f"({name} := {code}) is not None")
        return name

    def _temporary(self) -> str:
        self._temporaries += 1
        return f"t{self._temporaries}"


def may_overflow(node: Operand) -> bool:
    """Whether a value may be infinite or NaN, as a sum or product of finite numbers may be."""
    return isinstance(node, Arithmetic) and node.type == "number"


def unpacking(names: Sequence[str], order: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """A local variable for each name, and the statements that fill it from `row`.

    Raises `RuleError` for a name that the row does not have.
    """
    if missing := [name for name in names if name not in order]:
        raise RuleError([Diagnostic("", 0, f"the row has no column `{name}`") for name in missing])
    places = {name: order.index(name) for name in names}
    return {name: f"c{at}" for name, at in places.items()}, [f"c{at} = row[{at}]" for at in places.values()]


def defined(name: str, statements: Sequence[str], runtime: dict[str, Any]) -> tuple[Callable[[Row], Any], str]:
    """The function `name(row)` of these statements, and its source."""
    source = "\n    ".join([f"def {name}(row):", *statements])
    exec(compile(source, "<rules>", "exec"), runtime)  # only Writer's own code gets here
    function: Callable[[Row], Any] = runtime[name]
    return function, source


def compile_true(condition: Condition, columns: Sequence[str]) -> Callable[[Row], bool]:
    """A function of a row, its values in the order of `columns`: is the rule TRUE?"""
    variables, statements = unpacking(sorted(condition.names), columns)
    writer = Writer(variables)
    return defined("holds", [*statements, f"return {writer.test(condition.tree)}"], writer.runtime)[0]


def compile_false(condition: Condition, columns: Sequence[str]) -> Callable[[Row], bool]:
    """A function of a row: is the rule FALSE? (Neither TRUE nor FALSE where it is not known.)"""
    return compile_true(Condition(negation(condition.tree)), columns)


def known_value(node: Operand) -> Value | None:
    """The value of a node that reads no column; None where it is NULL."""
    assert not columns(node)
    writer = Writer({})
    guards: list[str] = []
    code = writer.settled(node, guards)
    known = " and ".join(guards) or "True"
    value: Value | None = defined("known", [f"return {code} if {known} else None"], writer.runtime)[0](())
    return value
