"""What an offer's file says about a yes: what it sets in motion, who pays, and whether it is asked for twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kairos.playbook.action import Action, ActionKind, NamedRule
from kairos.playbook.context import Context
from kairos.playbook.document import Items, Node, Scalar, Table, refused
from kairos.playbook.policy import ContactPolicy
from kairos.playbook.section import Section, entries
from kairos.playbook.values import known, nearest, text, words

OWES_NOTHING: Final = "owes nothing"  # the rule that every advance has, and its reason code
PAYER_KNOWN: Final = "payer is known"  # likewise where an attribute names who pays
TWICE: Final = "twice"

_FULFIL: Final = "write `fulfil: {charge: price, provision: product}`"
_PAYER: Final = "name an account, or an attribute with an MSISDN, as in `payer: {attribute: parent}`"


@dataclass(frozen=True)
class Fulfil:
    """`payer` is an account, `paid_by` the attribute that has the payer's number; both empty: the subscriber pays."""

    charges: bool
    provisions: bool
    payer: str = ""
    paid_by: str = ""


def read_fulfil(section: Section, kind: ActionKind, context: Context) -> Fulfil:
    """What a yes does; where that is wrong, a charge stands in for it."""
    if "fulfil" not in section:
        if kind != "care":
            section.problems.add(section.node, "`fulfil` is missing: a yes would do nothing", _FULFIL)
        return Fulfil(kind != "care", False)
    fulfil = Section(section.at("fulfil"), "fulfil", section.problems)
    charges = bool(fulfil.take("charge", known("charge", ["price"]), ""))
    provisions = bool(fulfil.take("provision", known("provision", ["product"]), ""))
    if not charges and not provisions:
        section.problems.add(fulfil.node, "`fulfil` does nothing", _FULFIL)
        return Fulfil(True, False)
    if charges and kind == "promise":
        hint = "leave `charge` out: the qualifying event is what it costs"
        section.problems.add(fulfil.at("charge"), "a promise cannot charge", hint)
    if charges and kind == "advance":
        hint = "leave `charge` out: its price is owed until it is paid back"
        section.problems.add(fulfil.at("charge"), "an advance cannot charge", hint)
    payer, paid_by = fulfil.take("payer", lambda node: _payer(node, context), ("", ""))
    if (payer or paid_by) and not charges:
        section.problems.add(fulfil.at("payer"), "nobody pays for what is not charged", "add `charge: price`")
    return Fulfil(charges, provisions, payer, paid_by)


def _payer(node: Node, context: Context) -> tuple[str, str]:
    if isinstance(node, Scalar):
        return text(node), ""
    section = Section(node, "payer", context.problems)
    named = [a.name for a in context.vocabulary.attributes.values() if a.type == "text" and not a.derived]
    attribute = section.need("attribute", text, "", "parent")
    if attribute not in named:
        raise refused(node, f"`{attribute}` is no text attribute", nearest(attribute, named) or _PAYER)
    return "", attribute


def own_rules(kind: ActionKind, fulfil: Fulfil, context: Context) -> list[NamedRule]:
    """Rules that need not be written: who owes gets no other advance, and somebody must pay."""
    rules = {}
    if kind == "advance" and context.vocabulary.owed:
        rules[OWES_NOTHING] = f"{context.vocabulary.owed} <= 0"
    if fulfil.paid_by:
        rules[PAYER_KNOWN] = f"{fulfil.paid_by} IS NOT NULL"
    names = context.vocabulary.names
    return [NamedRule(name, context.condition(Scalar("", 0, rule), names)) for name, rule in rules.items()]


def read_products(section: Section, variants: Sequence[str], context: Context) -> dict[str, tuple[str, ...]]:
    """The catalogue's ids of each variant: one product or a bundle of several; the same for all, or a table."""
    if "product" not in section:
        return {}
    node = section.at("product")
    if not isinstance(node, Table):
        return dict.fromkeys(variants, section.take("product", _bundle, ()))
    products = {}
    for variant, (key, value) in entries(node, context.problems):
        if variant not in variants:
            context.problems.add(key, f"unknown variant `{variant}`", nearest(variant, variants))
        products[variant] = context.problems.attempt((), variant, _bundle, value)
    return products


def _bundle(node: Node) -> tuple[str, ...]:
    if not isinstance(node, Items):
        return (text(node),)
    bundle = words(node)
    if len(set(bundle)) < len(bundle) or not bundle:
        raise refused(node, "a bundle is a list of different products", "as in `product: [DATA500_1D, TALK60_1D]`")
    return bundle


def twice(section: Section) -> bool:
    return bool(section.take("confirm", known("confirm", [TWICE]), ""))


def check_confirm(
    messages: Mapping[str, object], actions: Sequence[Action], policy: ContactPolicy, context: Context
) -> None:
    """Note the missing question where a second yes is asked for."""
    asking = next(
        (action for action in actions if any(policy.asks_twice(action, v.price) for v in action.variants)), None
    )
    if asking and "confirm" not in messages:
        hint = 'add it, as in `confirm: {en: "Reply {number} again to buy {title} for {price}"}`'
        what = f"`{asking.name}` asks for a second yes, and there is no message `confirm`"
        context.problems.add(Table(asking.file, asking.line), what, hint)
