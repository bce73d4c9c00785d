"""Nodes of sqlglot's tree in the user's words, for messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sqlglot import exp

COMPARISONS: Final[Mapping[type[exp.Expression], str]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
ARITHMETIC: Final[Mapping[type[exp.Expression], str]] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}


# What sqlglot may say of a node; anything more (SYMMETRIC, an ESCAPE, …) changes what it means, and is refused.
_PARTS: Final = frozenset({"this", "expression", "expressions"})
_MORE_PARTS: Final[Mapping[type[exp.Expression], frozenset[str]]] = {
    exp.Between: frozenset({"low", "high"}),
    exp.In: frozenset({"field"}),  # `IN x`, which `resolve` refuses for its empty list
    exp.Column: frozenset({"table", "db", "catalog"}),
    exp.Literal: frozenset({"is_string"}),
    exp.Like: frozenset({"negate"}),
    exp.Alias: frozenset({"alias"}),
}

_DEPTH: Final = 6  # a message shows what lies deeper as …


def bare(node: exp.Expression) -> exp.Expression:
    """The node without parentheses around it."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def foreign_parts(node: exp.Expression) -> list[str]:
    """What a node says beyond what the language knows of its kind."""
    known = _PARTS | _MORE_PARTS.get(type(node), frozenset())
    return [part for part, said in node.args.items() if said and part not in known]


def words(node: exp.Expression, depth: int = _DEPTH) -> str:
    """A node as its writer would write it, as far as one line of a message needs it."""
    node = bare(node)
    if depth == 0 or type(node) not in _WRITTEN:
        return node.name or "…"
    return _WRITTEN[type(node)](node, depth - 1)


def shown(node: exp.Expression) -> str:
    """The words of a node in backticks, cut where they are long."""
    text = words(node)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}…`"


def _between(sign: str) -> Callable[[exp.Expression, int], str]:
    return lambda node, depth: f"{words(node.this, depth)} {sign} {words(node.expression, depth)}"


def _name(node: exp.Expression, _: int) -> str:
    assert isinstance(node, exp.Column)
    return ".".join(part.name or "*" for part in node.parts)


def _call(node: exp.Expression, depth: int) -> str:
    if str(node.this).upper() in ("DATE", "TIMESTAMP") and len(node.expressions) == 1:
        return f"{str(node.this).upper()} {words(node.expressions[0], depth)}"
    return f"{node.this}({', '.join(words(argument, depth) for argument in node.expressions)})"


def _range(node: exp.Expression, depth: int) -> str:
    low, high = node.args["low"], node.args["high"]
    return f"{words(node.this, depth)} BETWEEN {words(low, depth)} AND {words(high, depth)}"


_SIGNS: Final = {
    **COMPARISONS,
    **ARITHMETIC,
    exp.And: "AND",
    exp.Or: "OR",
    exp.Is: "IS",
    exp.Like: "LIKE",
    exp.BitwiseRightShift: ">>",
    exp.BitwiseLeftShift: "<<",
}
_WRITTEN: Final[Mapping[type[exp.Expression], Callable[[exp.Expression, int], str]]] = {
    **{kind: _between(sign) for kind, sign in _SIGNS.items()},
    exp.Column: _name,
    exp.Literal: lambda node, _: f"'{node.name}'" if node.is_string else node.name,
    exp.Boolean: lambda node, _: "TRUE" if node.this else "FALSE",
    exp.Null: lambda *_: "NULL",
    exp.Star: lambda *_: "*",
    exp.Anonymous: _call,
    exp.Neg: lambda node, depth: f"-{words(node.this, depth)}",
    exp.Not: lambda node, depth: f"NOT {words(node.this, depth)}",
    exp.Alias: lambda node, depth: f"{words(node.this, depth)} {node.alias}",
    exp.In: lambda node, depth: f"{words(node.this, depth)} IN (…)",
    exp.Between: _range,
}
