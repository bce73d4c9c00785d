"""A rule as text that outlives the playbook it came from, and back.

The text is of the rules language. What that cannot say without its context stands as a typed name: `money_1050`
is 10.50, `date_20781` a day, `time_1795543200000` an instant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from kairos.rules.literals import quoted
from kairos.rules.parse import parse
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
)
from kairos.rules.types import Constant, Names, Type

_TYPED: Final = re.compile(r"\b(money|date|time)_(minus_)?(\d+)\b")
_TYPES: Final[dict[str, Type]] = {"money": "money", "date": "date", "time": "time"}


def from_text(text: str, names: Names) -> Condition:
    """The condition of a text that `to_text` gave; an empty one is TRUE. RuleError where a name is known no more."""
    constants = {
        typed[0]: Constant(_TYPES[typed[1]], -int(typed[3]) if typed[2] else int(typed[3]))
        for typed in _TYPED.finditer(text)
    }
    return parse(text or "TRUE", names, constants=constants)


def to_text(condition: Condition) -> str:
    """The condition as a text to keep: `from_text` gives the same condition again, without its constants' names.

    >>> to_text(parse("recharge.amount >= 10.50", {"recharge.amount": "money"}))
    'recharge.amount >= money_1050'
    """
    return _condition(condition.tree)


def _condition(tree: Tree) -> str:
    match tree:
        case And(parts):
            return f"({' AND '.join(map(_condition, parts))})"
        case Or(parts):
            return f"({' OR '.join(map(_condition, parts))})"
        case Comparison(operator, left, right):
            return f"{_operand(left)} {operator} {_operand(right)}"
        case Truth(operand, negated):
            return f"{'NOT ' * negated}{_operand(operand)}"
        case In(operand, options, negated):
            return f"{_operand(operand)}{' NOT' * negated} IN ({_list(options)})"
        case IsNull(operand, negated):
            return f"{_operand(operand)} IS{' NOT' * negated} NULL"
        case Like(operand, pattern, negated):
            return f"{_operand(operand)}{' NOT' * negated} LIKE {quoted(pattern)}"
        case Always():
            return str(tree)


def _operand(operand: Operand) -> str:
    match operand:
        case Literal():
            return _literal(operand)
        case Call(function, arguments):
            given = arguments[: len(arguments) - len(function.reads)]  # it is given those again when it is parsed
            return f"{function.name}({_list(given)})"
        case Coalesce(arguments):
            return f"coalesce({_list(arguments)})"
        case Arithmetic(operator, left, right):
            return f"({_operand(left)} {operator} {_operand(right)})"
        case Column(name):
            return name


def _list(operands: Sequence[Operand]) -> str:
    return ", ".join(map(_operand, operands))


def _literal(literal: Literal) -> str:
    value = literal.value
    if isinstance(value, str):
        return quoted(value)
    if literal.type in _TYPES:
        return f"{literal.type}_{'minus_' if value < 0 else ''}{abs(value)}"
    return str(value).upper() if isinstance(value, bool) else repr(value)
