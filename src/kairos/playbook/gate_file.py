"""Consents and pauses of contact_policy.yaml: a rule each, and whom and what it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from kairos.domain.purpose import STANDINGS, Minded, minding
from kairos.playbook.action import Action
from kairos.playbook.action_file import CHANNELS
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, Table
from kairos.playbook.policy import Gate
from kairos.playbook.section import Section
from kairos.playbook.values import known, nearest, several
from kairos.playbook.vocabulary import Source


def read_gates(section: Section, key: str, what: Minded, actions: Sequence[Action], context: Context) -> list[Gate]:
    """The gates of a table: each a rule, or a table with the rule under `when`. What is wrong is noted."""
    table = section.at(key)
    if key not in section or not isinstance(table, Table):
        context.named_rules(table if key in section else Table("", 0))
        return []
    gates = [_gate(name, place, value, what, actions, context) for name, (place, value) in table.entries.items()]
    return [gate for gate in gates if gate]


def read_data_consents(section: Section, actions: Sequence[Action], context: Context) -> list[Gate]:
    """The consents to the use of each source of data."""
    gates = []
    for source, (key, value) in section.named("data_only_when"):
        if source not in get_args(Source):
            context.problems.add(key, f"unknown source `{source}`", nearest(source, get_args(Source)))
        elif gate := _gate(source, key, value, "data", actions, context):
            gates.append(replace(gate, name=f"consent to {source}", source=source))
    return gates


def _gate(
    name: str, place: Scalar, value: Node, what: Minded, actions: Sequence[Action], context: Context
) -> Gate | None:
    purposes: tuple[str, ...] = minding(what)
    channels: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()
    if isinstance(value, Table):
        section = Section(value, "gate", context.problems)
        if "for" in section:
            concerned = Section(section.at("for"), "for", context.problems)
            purposes = concerned.take("purposes", several(known("purpose", STANDINGS)), purposes)
            channels = concerned.take("channels", several(known("channel", CHANNELS)), channels)
        issues = sorted({action.issue for action in actions})
        passed = section.take("except", several(known("issue or purpose", [*issues, *STANDINGS])), ())
        purposes = tuple(purpose for purpose in purposes if purpose not in passed)
        passing = tuple(issue for issue in passed if issue in issues)
        if "when" not in section:
            context.problems.add(value, "`when` is missing", "write the rule, as in `when: open_tickets > 0`")
            return None
        value = section.at("when")
    rules = context.named_rules(Table(place.file, place.line, {name: (place, value)}))
    return Gate(**vars(rules[0]), purposes=purposes, channels=channels, passing=passing) if rules else None
