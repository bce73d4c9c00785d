"""What they have, and what they bought: which arms that refuses, by which rule, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kairos.domain.subscriber import Owned
from kairos.playbook.action import Action, Repurchase

OWNED = "already owned"
BOUGHT = "bought often enough"
EXCLUDED = "excluded"  # by which other offer follows
NEVER = -1


@dataclass(frozen=True)
class Purchases:
    """Masks of arms: those that a product refuses, and those that another action's offer refuses."""

    owned: Mapping[str, int]  # by product
    excludes: Mapping[str, int]  # by action
    repurchase: Mapping[str, Repurchase]  # by action, where it counts purchases
    longest: int  # ms; purchases older than this count nowhere (-1: they count for ever)


def compile_purchases(actions: tuple[Action, ...], of_action: Mapping[str, int]) -> Purchases:
    """Exclusion works both ways: neither is said beside the other."""
    owned: dict[str, int] = {}
    excludes: dict[str, int] = {}
    for action in actions:
        own = set(_products(action)) if action.repurchase.after_expiry else set()
        for product in {*action.not_with, *own} - {""}:
            owned[product] = owned.get(product, 0) | of_action[action.name]
        for other in action.excludes:
            excludes[other] = excludes.get(other, 0) | of_action[action.name]
            excludes[action.name] = excludes.get(action.name, 0) | of_action[other]
    counted = {action.name: action.repurchase for action in actions if action.repurchase.at_most}
    windows = [rule.per for rule in counted.values()]
    return Purchases(owned, excludes, counted, NEVER if NEVER in windows else max(windows, default=0))


def _products(action: Action) -> Iterator[str]:
    """All that a yes to any of its variants gives."""
    for variant in action.variants:
        yield from (variant.product, *variant.products)


def refused_by_products(
    purchases: Purchases, of_action: Mapping[str, int], products: list[Owned], now: int
) -> Iterator[tuple[int, str, int]]:
    """Mask of arms, rule, until (ms; 0: no time can be named, -1: never again)."""
    bought: dict[str, dict[int, int]] = {}  # by action: each purchase, whatever it held, and when
    for owned in products:
        if owned.action in purchases.repurchase:
            bought.setdefault(owned.action, {})[owned.decision or -owned.since] = owned.since
        if not owned.until or owned.until > now:
            mask = purchases.owned.get(owned.product, 0)
            if mask:
                yield mask, OWNED, owned.until
            if owned.action in purchases.excludes:
                yield purchases.excludes[owned.action], f"{EXCLUDED} by {owned.action}", owned.until
    for action, times in bought.items():
        rule = purchases.repurchase[action]
        counted = sorted(time for time in times.values() if rule.per == NEVER or time > now - rule.per)
        if len(counted) >= rule.at_most:
            until = NEVER if rule.per == NEVER else counted[-rule.at_most] + rule.per
            yield of_action.get(action, 0), BOUGHT, until
