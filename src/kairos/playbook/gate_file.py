"""Consents and pauses of contact_policy.yaml: a rule each, and whom and what it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from kairos.domain.channel import CHANNELS
from kairos.domain.purpose import STANDINGS, Minded, minding
from kairos.playbook.action import Action, NamedRule
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, Table
from kairos.playbook.policy import Gate
from kairos.playbook.section import Section
from kairos.playbook.values import known, nearest, several
from kairos.playbook.values import name as named
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


def read_registers(section: Section, actions: Sequence[Action], context: Context) -> list[Gate]:
    """Registers of those who are not to be disturbed: what each stops, and what lifts it."""
    issues = sorted({action.issue for action in actions})
    gates = []
    for name, (place, value) in section.named("registers"):
        register = Section(value, "register", context.problems)
        stops = Section(register.at("stops"), "stops", context.problems) if "stops" in register else None
        purposes: tuple[str, ...] = minding("consent")
        about: tuple[str, ...] = ()
        if stops:
            purposes = stops.take("purposes", several(known("purpose", STANDINGS)), purposes)
            about = stops.take("issues", several(known("issue", issues)), ())
        file = register.take("file", named, "")
        if file and "when" in register:
            context.problems.add(register.at("file"), "`when` and `file` exclude each other", "keep one")
        nobody = NamedRule(name, context.condition(Scalar(place.file, place.line, "FALSE"), {}), place.file, place.line)
        rule = nobody if file else _rule(name, place, register, "when", context)
        unless = _rule("unless", place, register, "unless", context) if "unless" in register else None
        passing = tuple(issue for issue in issues if issue not in about) if about else ()
        if rule:
            lifted = unless.condition if unless else None
            gates.append(Gate(**vars(rule), purposes=purposes, passing=passing, unless=lifted, numbers=file))
    return gates


def _rule(name: str, place: Scalar, section: Section, key: str, context: Context) -> NamedRule | None:
    """The rule under a key that must be there."""
    if key not in section:
        context.problems.add(section.node, f"`{key}` is missing", f"write the rule, as in `{key}: open_tickets > 0`")
        return None
    rules = context.named_rules(Table(place.file, place.line, {name: (place, section.at(key))}))
    return rules[0] if rules else None


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
        rule = _rule(name, place, section, "when", context)
    else:
        rule = next(iter(context.named_rules(Table(place.file, place.line, {name: (place, value)}))), None)
    return Gate(**vars(rule), purposes=purposes, channels=channels, passing=passing) if rule else None
