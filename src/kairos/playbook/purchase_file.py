"""What an offer's file says about products: on which plan, beside which products and offers, and how often again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from kairos.playbook.action import NamedRule, Repurchase
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, Table, listed, refused
from kairos.playbook.section import Section
from kairos.playbook.values import EVER, MILLISECONDS, duration, nearest, text, words
from kairos.rules.literals import quoted

COMPATIBLE: Final = "compatible tariff"  # the rule that `only_on` makes, and its reason code
PLAN: Final = "plan"  # the attribute that it reads

_VALIDITY: Final = re.compile(r"(\d{1,6}) *([a-z]+)", re.ASCII)
_UNITS: Final[Mapping[str, str]] = {"min": "minute", "h": "hour", "d": "day", "w": "week"} | {
    word: unit for unit in ("minute", "hour", "day", "week") for word in (unit, f"{unit}s")
}
_AT_MOST: Final = re.compile(r"at most (\d{1,4}) per (.+)", re.ASCII)
_WAYS: Final = "write `after expiry`, `never`, or as in `at most 2 per 30 days`"


def validity(written: str) -> int:
    """How long a variant's `validity` is, ms; 0 where its words name no duration.

    >>> validity("24h"), validity("7 days") // 86_400_000, validity("until Sunday")
    (86400000, 7, 0)
    """
    found = _VALIDITY.fullmatch(written.strip().lower())
    unit = _UNITS.get(found[2], "") if found else ""
    return int(found[1]) * MILLISECONDS[unit] if found and unit else 0


def read_repurchase(section: Section, lasting: Mapping[str, int], context: Context) -> Repurchase:
    """When it may be bought again; `lasting` is how long each variant's product is valid, ms."""
    rule = section.take("repurchase", _repurchase, Repurchase())
    announced = any("products" in fields.values() for fields in context.vocabulary.events.values())
    unknown = [variant for variant, lasts in lasting.items() if not lasts]
    if rule.after_expiry and unknown and not announced:
        message = f"nothing tells when the product of variant `{unknown[0]}` ends"
        context.problems.add(section.at("repurchase"), message, "give it a `validity` such as `7 days`")
    return rule


def _repurchase(node: Node) -> Repurchase:
    word = text(node)
    if word == "after expiry":
        return Repurchase(after_expiry=True)
    if word == "never":
        return Repurchase(at_most=1, per=EVER)
    found = _AT_MOST.fullmatch(word)
    if not found or not int(found[1]):
        raise refused(node, f"`{word}` does not say when it may be bought again", _WAYS)
    return Repurchase(at_most=int(found[1]), per=duration(Scalar(node.file, node.line, found[2])))


def only_on(section: Section, context: Context) -> list[NamedRule]:
    """The rule that the subscriber's plan is one of those that are named."""
    plans = section.take("only_on", words, ())
    if not plans:
        return []
    place = section.at("only_on")
    if context.vocabulary.names.get(PLAN) != "text":
        hint = f"add the attribute `{PLAN}` of type text to the vocabulary"
        context.problems.add(place, f"`only_on` reads the attribute `{PLAN}`, and there is none", hint)
        return []
    rule = Scalar(place.file, place.line, f"{PLAN} IN ({', '.join(map(quoted, plans))})")
    condition = context.problems.attempt(None, "only_on", context.condition, rule, context.vocabulary.names)
    return [NamedRule(COMPATIBLE, condition, place.file, place.line)] if condition else []


def check_excludes(node: Node, names: Sequence[str], context: Context) -> None:
    """Note each name under `excludes` that is no other action's."""
    entry = node.entries.get("excludes") if isinstance(node, Table) else None
    own = {value.text for key in ("offer", "action") for value in _entry(node, key)}
    for one in listed(entry[1]) if entry else ():
        if isinstance(one, Scalar) and (one.text not in names or one.text in own):
            others = [name for name in names if name not in own]
            context.problems.add(one, f"`{one.text}` is no other offer", nearest(one.text, others))


def _entry(node: Node, key: str) -> list[Scalar]:
    entry = node.entries.get(key) if isinstance(node, Table) else None
    return [entry[1]] if entry and isinstance(entry[1], Scalar) else []
