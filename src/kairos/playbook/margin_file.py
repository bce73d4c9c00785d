"""`margin_floor` of the contact policy and of an action, and the variants that it keeps from being said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kairos.domain.money import Currency
from kairos.domain.purpose import minding
from kairos.playbook.action import Action, ArmRule, NamedRule, Variant
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar
from kairos.playbook.margin import BELOW, Floor, margin
from kairos.playbook.policy import ContactPolicy
from kairos.playbook.values import price, rate, text


def read_floor(currency: Currency) -> Callable[[Node], Floor]:
    """A reader of an amount, or of a share of the price."""
    amount = price(currency)

    def read(node: Node) -> Floor:
        if text(node).endswith("%"):
            return Floor(share=rate(node), file=node.file, line=node.line)
        return Floor(amount(node), file=node.file, line=node.line)

    return read


def for_all(action: Action, policy: ContactPolicy) -> Floor | None:
    """The contact policy's floor, where it concerns an action: what is sold. The rest has one only of its own."""
    sold = action.kind == "sell" and action.purpose in minding("holdout")
    return policy.margin_floor if sold else None


def floors(action: Action, policy: ContactPolicy) -> tuple[Floor, ...]:
    """The floors that an action must hold, all of them: its own, and the one for all."""
    return tuple(floor for floor in (action.margin_floor, for_all(action, policy)) if floor)


def with_floors(actions: Sequence[Action], policy: ContactPolicy, context: Context) -> tuple[Action, ...]:
    """The actions, whose variants below a floor have a rule that never holds; what has no cost is noted."""
    return tuple(_held(action, found, context) if (found := floors(action, policy)) else action for action in actions)


def _held(action: Action, found: Sequence[Floor], context: Context) -> Action:
    return replace(action, variants=tuple(_above(action, variant, found, context) for variant in action.variants))


def _above(action: Action, variant: Variant, found: Sequence[Floor], context: Context) -> Variant:
    """The variant as it is where it holds every floor, else with the rule that refuses it before any other."""
    if variant.cost is None:
        place = Scalar(action.file, found[0].line if found[0].file == action.file else action.line, "")
        message = f"`{action.name}` has a margin floor, and nothing tells what its variant `{variant.name}` costs"
        context.problems.add(place, message, "add what a yes costs you, as in `cost: 0.80`")
        return variant
    left = margin(variant.price, action.tax, variant.cost)
    for floor in found:
        if left < floor.least(variant.price):
            never = context.condition(Scalar(floor.file, floor.line, "FALSE"), {})
            rule = NamedRule(BELOW, never, floor.file, floor.line)
            return replace(variant, rules=(ArmRule("eligible", rule), *variant.rules))
    return variant
