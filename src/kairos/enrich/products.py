"""Products that a subscriber has: those that events announce, and those that were bought from us."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from kairos.domain.subscriber import OpenOffer, Owned, State

MOST_PRODUCTS: Final = 64  # of one subscriber; beyond that those with the oldest purchase go
LATE_AT_MOST: Final = 48 * 3_600_000  # ms; what an event ended is remembered so long, against an older one that is late


def announce(state: State, products: Iterable[Owned], happened: int) -> None:
    """An event says until when they have some products; what was bought or announced after it `happened` stays."""
    for said in products:
        known = False
        for place, owned in enumerate(state.products):
            if owned.product == said.product:
                known = True
                if owned.told <= happened and owned.since <= happened:
                    state.products[place] = replace(owned, until=said.until, told=happened)
        if not known:
            state.products.append(replace(said, told=happened))


def bought(state: State, offer: OpenOffer, now: int) -> None:
    """A fulfilled offer's product is theirs for as long as its validity says; where it says nothing, it only counts."""
    if offer.product:
        owned = Owned(offer.product, now + offer.lasts, now, offer.action, offer.decision)
        state.products.append(owned)
    for product in offer.products[1:]:  # the rest of a bundle, which counts as one purchase
        state.products.append(Owned(product, now + offer.lasts, now, "", offer.decision))


def bought_elsewhere(
    state: State, products: Sequence[str], lasts: int, action: str, decision: int, happened: int
) -> None:
    """Bought through another door, as an event tells: theirs as if it were bought here.

    `products`: all of a bundle, which counts as one purchase; an empty name where it is not known which. Where the same
    event says until when they have one, it is known better.
    """
    for place, product in enumerate(products):
        known = [one for one in state.products if one.product == product and one.told == happened and not one.action]
        until = known[0].until if known else happened + lasts
        state.products = [one for one in state.products if one not in known]
        counted = action if not place else ""
        state.products.append(Owned(product, until, happened, counted, decision, happened, True))


def returned_elsewhere(state: State, actions: Collection[str], products: Collection[str]) -> Owned | None:
    """The latest such purchase is taken back; None where there is none."""
    bought = [o for o in state.products if o.elsewhere and o.action in actions and o.product in ("", *products)]
    if not bought:
        return None
    last = max(bought, key=lambda owned: owned.since)
    gone = (last.decision, last.since)
    state.products = [o for o in state.products if not o.elsewhere or (o.decision, o.since) != gone]
    return last


def given_back(state: State, decision: int) -> None:
    """An offer's order was undone: it was not bought."""
    state.products = [owned for owned in state.products if owned.decision != decision]


def prune_products(state: State, now: int, purchases_for: int) -> None:
    """Drop what has ended; a purchase is kept for as long as a repurchase rule counts it (ms; -1: for ever)."""
    kept = [
        owned
        for owned in state.products
        if not owned.until
        or owned.until > now
        or owned.told > now - LATE_AT_MOST
        or (owned.action and (purchases_for < 0 or owned.since > now - purchases_for))
    ]
    state.products = sorted(kept, key=lambda owned: owned.since)[-MOST_PRODUCTS:] if len(kept) > MOST_PRODUCTS else kept
