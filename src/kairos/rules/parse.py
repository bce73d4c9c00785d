"""The way in: one expression of the rules language, from text to a typed `Condition`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kairos.errors import Diagnostic, RuleError
from kairos.rules.resolve import Resolver
from kairos.rules.sql import sql_size
from kairos.rules.syntax import syntax_tree
from kairos.rules.tree import Condition
from kairos.rules.types import RESERVED, Constant, Names

MAX_SQL: Final = 5_000  # names, literals and functions, once the rule is written as SQL

_NONE: Final[Mapping[str, Constant]] = MappingProxyType({})


def parse(
    text: str,
    names: Names,
    *,
    constants: Mapping[str, Constant] = _NONE,
    money_digits: int = 2,
    file: str = "",
    line: int = 0,
) -> Condition:
    """The condition that `text` says, typed against `names`, with `constants` put in their place.

    `money_digits` is how many decimals the currency has: an amount in the rule is in major units, exact.
    `file` and `line` (1-based, of the rule's first line) are where a diagnostic points.

    Raises `RuleError` for a text that is not one boolean expression of the language over these names.

    >>> rule = parse("balance >= price AND plan = 'prepaid'", {"balance": "money", "plan": "text"},
    ...              constants={"price": Constant("money", 1000)})
    >>> print(rule)
    (balance >= 1000 minor AND plan = 'prepaid')
    >>> sorted(rule.names)
    ['balance', 'plan']
    """
    known = {*names, *constants, *RESERVED}
    try:
        tree = Resolver(names, constants, money_digits, file, line).condition(syntax_tree(text, known, file, line))
        if sql_size(tree) <= MAX_SQL:
            return Condition(tree)
        message = "divisions or functions stand too deep inside one another"
    except RecursionError:
        message = "the rule is nested too deeply"
    raise RuleError([Diagnostic(file, line, message, "split it into several rules")])
