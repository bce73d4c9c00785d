"""budgets.yaml, and what an action says of its own volume and budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from kairos.playbook.action import Action, Variant
from kairos.playbook.budget import Budget, Counted
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, refused
from kairos.playbook.section import Section
from kairos.playbook.values import known, nearest, price, several, text, whole

UNITS = ("hour", "day", "week", "month")
MONEY = ("price", "cost", "value")
CALENDAR = "calendar "


def read_budgets(node: Node, context: Context) -> dict[str, Budget]:
    """The shared budgets by name; what is wrong is noted in the context's problems."""
    section = Section(node, "budgets", context.problems)
    budgets: dict[str, Budget] = {}
    for one in section.items("budgets"):
        entry = Section(one, "shared_budget", context.problems)
        name = entry.need("name", _shared_name, "", "summer sale")
        if name in budgets:
            message = f"the budget `{name}` stands on line {budgets[name].line} already"
            context.problems.add(one, message, "give it another name")
        if "at_most" in entry and "spend" in entry:
            context.problems.add(entry.at("spend"), "`at_most` and `spend` are two budgets", "name each on its own")
        of = [f"{word} {entry.take(word, text, '')}" for word in ("partner", "campaign") if word in entry]
        if "at_most" in entry:
            if "counts" in entry:
                context.problems.add(entry.at("counts"), "`at_most` counts offers", "leave out `counts`")
            budgets[name] = _volume(entry, name, ", ".join(of))
        else:
            budgets[name] = _money(entry, name, context, ", ".join(of))
    return budgets


def own_budgets(section: Section, called: str, shared: Mapping[str, Budget], context: Context) -> tuple[Budget, ...]:
    """The budgets that an action draws on: its volume, its own, and those that it names."""
    found: list[Budget] = []
    if "volume" in section:
        found.append(_volume(Section(section.at("volume"), "volume", context.problems), f"volume of {called}"))
    if own := section.section("budget"):
        found.append(_money(own, f"budget of {called}", context))
    else:
        names = section.take("budget", several(lambda node: _named(node, shared)), ())
        found.extend(shared[name] for name in dict.fromkeys(names))
    return tuple(found)


def check_budgets(section: Section, budgets: Sequence[Budget], variants: Sequence[Variant], context: Context) -> None:
    """Every variant must have what its budgets count, and fit into each of them."""
    for budget in budgets:
        place = section.at("volume" if budget.name.startswith("volume of ") else "budget")
        for variant in variants:
            needs = need(budget, variant)
            if budget.counts == "cost" and variant.cost is None:
                hint = "add what a yes costs you, as in `cost: 0.80`"
                context.problems.add(place, f"`{budget.name}` counts the cost, and `{variant.name}` has none", hint)
            elif needs > budget.cap > 0:
                shown = context.currency.show
                message = f"`{variant.name}` can never be said: its {budget.counts} is {shown(needs)}"
                hint = f"`{budget.name}` has {shown(budget.cap)} per {budget.unit}"
                context.problems.add(place, message, hint)


def need(budget: Budget, variant: Variant) -> int:
    """What one offer of a variant takes of a budget."""
    amounts = {"offers": 1, "price": variant.price, "cost": variant.cost or 0, "value": variant.value}
    return amounts[budget.counts]


def budgets_of(actions: Sequence[Action]) -> tuple[Budget, ...]:
    """All budgets that anything draws on, each once."""
    return tuple({budget.name: budget for action in actions for budget in action.budgets}.values())


def _volume(section: Section, name: str, of: str = "") -> Budget:
    at_most = section.need("at_most", whole(1, 999_999_999), 1, "500")
    return _budget(section, name, at_most, "offers", of)


def _money(section: Section, name: str, context: Context, of: str = "") -> Budget:
    spend = section.need("spend", price(context.currency), 0, "1000")
    if not spend and "spend" in section:
        context.problems.add(section.at("spend"), "`spend` is 0: nothing would be said", "leave the offer out instead")
    return _budget(section, name, spend, cast(Counted, section.take("counts", known("amount", MONEY), "price")), of)


def _budget(section: Section, name: str, cap: int, counts: Counted, of: str) -> Budget:
    unit = section.need("per", _unit, "day", "calendar day")
    even = section.take("pace", known("pace", ("even",)), "") == "even"
    return Budget(name, cap, unit, counts, even, of, section.node.file, section.node.line)


def _unit(node: Node) -> str:
    word = text(node)
    if not word.startswith(CALENDAR):
        hint = "it is the operator's own: write it as in `calendar day` or `calendar month`"
        raise refused(node, f"`{word}` is no period of a budget", hint)
    return known("unit", UNITS)(Scalar(node.file, node.line, word.removeprefix(CALENDAR)))


def _shared_name(node: Node) -> str:
    word = text(node)
    if word.startswith(("volume of ", "budget of ")):
        raise refused(node, f"`{word}` is what an offer's own is called", "give it another name")
    return word


def _named(node: Node, shared: Mapping[str, Budget]) -> str:
    word = text(node)
    if word not in shared:
        raise refused(node, f"unknown budget `{word}`", nearest(word, shared) or "name it in `budgets.yaml`")
    return word
