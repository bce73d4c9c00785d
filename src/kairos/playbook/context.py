"""What every file of a playbook is read against: currency, languages, vocabulary, and what was found wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from kairos.domain.money import Currency
from kairos.playbook.action import NamedRule
from kairos.playbook.budget import Budget
from kairos.playbook.document import Node, Scalar
from kairos.playbook.section import Problems, entries
from kairos.playbook.values import nearest, text
from kairos.playbook.vocabulary import Vocabulary
from kairos.rules import Condition, Constant, Names, parse

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    currency: Currency
    languages: tuple[str, ...]
    problems: Problems
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary({}))
    time_zone: str = "UTC"  # of wall-clock times that state none
    tax: int = 0  # the rate that prices include where an offer says no other
    budgets: Mapping[str, Budget] = field(default_factory=dict)  # shared ones, by name

    def condition(self, node: Node, names: Names, constants: Mapping[str, Constant] | None = None) -> Condition:
        """The rule that a scalar says. Raises RuleError or PlaybookError."""
        rule = text(node)
        return parse(
            rule,
            names,
            constants=constants or {},
            money_digits=self.currency.digits,
            file=node.file,
            line=node.line,
        )

    def named_rules(self, table: Node, constants: Mapping[str, Constant] | None = None) -> list[NamedRule]:
        """The rules of a table, each under its name; those that cannot be read are left out and noted."""
        rules: list[NamedRule] = []
        if isinstance(table, Scalar) and table.text:
            self.problems.add(table, f"the rule `{table.text}` has no name", "write it as in `can afford it: ...`")
            return rules
        for name, (key, value) in entries(table, self.problems):
            if not name.strip():
                self.problems.add(key, "a rule needs a name: it is shown as the reason", "as in `can afford it: ...`")
            condition = self.problems.attempt(None, name, self.condition, value, self.vocabulary.names, constants)
            if condition is not None:
                rules.append(NamedRule(name, condition, key.file, key.line))
        return rules

    def by_language(self, node: Node, read: Callable[[Node], T]) -> dict[str, T]:
        """A table from languages to what `read` makes of their values."""
        found = {}
        for language, (key, value) in entries(node, self.problems):
            if language not in self.languages:
                self.problems.add(key, f"unknown language `{language}`", nearest(language, self.languages))
                continue
            read_one = self.problems.attempt(None, language, read, value)
            if read_one is not None:
                found[language] = read_one
        return found
