"""The typed tree of a rule: frozen nodes that know their type and write themselves as text.

There is no node for NOT: it is pushed down to the atoms when a rule is parsed, and `negation` does so for a whole tree.
"A rule is FALSE" is therefore the same question as "its negation is TRUE", and one compiler answers both.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from kairos.rules.functions import Function
from kairos.rules.types import Type, Value

# --- values: what can be compared ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A value of the row."""

    name: str
    type: Type

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands in the rule itself; `written` is the user's text of a number, until it may become money."""

    value: Value
    type: Type
    written: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.value} minor" if self.type == "money" else repr(self.value)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left operator right`, NULL where it overflows or divides by zero."""

    operator: str  # + - * / %
    left: Operand
    right: Operand
    type: Type

    def __str__(self) -> str:
        return f"({self.left} {self.operator} {self.right})"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the closed table; NULL where an argument is."""

    function: Function
    arguments: tuple[Operand, ...]
    type: Type

    def __str__(self) -> str:
        return f"{self.function.name}({', '.join(map(str, self.arguments))})"


@dataclass(frozen=True, slots=True)
class Coalesce:
    """The first argument that is known."""

    arguments: tuple[Operand, ...]
    type: Type

    def __str__(self) -> str:
        return f"coalesce({', '.join(map(str, self.arguments))})"


Operand = Column | Literal | Arithmetic | Call | Coalesce

# --- conditions: what can hold ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Always:
    """TRUE or FALSE, whatever the row."""

    value: bool

    def __str__(self) -> str:
        return "TRUE" if self.value else "FALSE"


@dataclass(frozen=True, slots=True)
class Truth:
    """A boolean value on its own."""

    operand: Operand
    negated: bool = False

    def __str__(self) -> str:
        return f"NOT {self.operand}" if self.negated else str(self.operand)


@dataclass(frozen=True, slots=True)
class Comparison:
    operator: str  # = <> < <= > >=
    left: Operand
    right: Operand

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True, slots=True)
class In:
    operand: Operand
    options: tuple[Literal, ...]
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.operand}{' NOT' * self.negated} IN ({', '.join(map(str, self.options))})"


@dataclass(frozen=True, slots=True)
class IsNull:
    operand: Operand
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.operand} IS{' NOT' * self.negated} NULL"


@dataclass(frozen=True, slots=True)
class Like:
    operand: Operand
    pattern: str
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.operand}{' NOT' * self.negated} LIKE {self.pattern!r}"


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Tree, ...]

    def __str__(self) -> str:
        return f"({' AND '.join(map(str, self.parts))})"


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Tree, ...]

    def __str__(self) -> str:
        return f"({' OR '.join(map(str, self.parts))})"


Atom = Truth | Comparison | In | IsNull | Like
Tree = Always | Truth | Comparison | In | IsNull | Like | And | Or
Node = Operand | Tree

COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
INVERSE: Final = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
MIRROR: Final = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


def negation(tree: Tree) -> Tree:
    """The tree that is TRUE exactly where `tree` is FALSE (and unknown where it is unknown).

    >>> print(negation(Comparison("<", Column("balance", "money"), Literal(250, "money"))))
    balance >= 250 minor
    """
    match tree:
        case Always(value):
            return Always(not value)
        case Comparison(operator, left, right):
            return Comparison(INVERSE[operator], left, right)
        case And(parts):
            return Or(tuple(map(negation, parts)))
        case Or(parts):
            return And(tuple(map(negation, parts)))
        case _:
            return replace(tree, negated=not tree.negated)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below, from left to right."""
    match node:
        case And(parts) | Or(parts):
            return parts
        case Comparison(_, left, right) | Arithmetic(_, left, right):
            return left, right
        case Truth(operand) | In(operand) | IsNull(operand) | Like(operand):
            return (operand,)
        case Call(_, arguments) | Coalesce(arguments):
            return arguments
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and all nodes below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def columns(node: Node) -> frozenset[str]:
    """The names of the row's values that a node reads."""
    return frozenset(found.name for found in walk(node) if isinstance(found, Column))


@dataclass(frozen=True)
class Condition:
    """A rule that was parsed and typed: hashable, and equal to every condition of the same `key`."""

    tree: Tree

    @cached_property
    def key(self) -> str:
        """The rule in one canonical writing; rules that read the same once constants are replaced share it."""
        return str(self.tree)

    @cached_property
    def names(self) -> frozenset[str]:
        """The columns that it reads."""
        return columns(self.tree)

    @cached_property
    def _hash(self) -> int:
        return hash(self.tree)

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return self.key
