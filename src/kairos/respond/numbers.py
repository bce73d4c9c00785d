"""Reply numbers: short to type, and never two offers under one while an answer to either may still arrive."""

from __future__ import annotations

from typing import Final

from kairos.domain.subscriber import OpenOffer, State

HIGHEST: Final = 99
ANSWERABLE_FOR: Final = 48 * 3_600_000
"""How long after its end (ms) an answer to an offer may arrive: a handset was off, an SMSC tried for two days.

The end is the later of its validity's end and of the time when it was closed: who took it on the first day still has
the message, which says that the number is good until the last.
"""


def answerable(offer: OpenOffer, now: int) -> bool:
    """Whether an answer to it may still arrive; always while it is open or its fulfilment is under way."""
    return offer.status in ("open", "accepted") or now < max(offer.changed, offer.expires) + ANSWERABLE_FOR


def forget(state: State, now: int) -> None:
    """Drop the closed offers to which no answer can arrive any more."""
    if state.offers:
        state.offers = [offer for offer in state.offers if answerable(offer, now)]


def take_number(state: State, now: int) -> int:
    """The lowest of 1..HIGHEST that no retained offer holds, or 0 where every one is held: then make no offer now."""
    forget(state, now)
    held = {offer.number for offer in state.offers}
    return next((number for number in range(1, HIGHEST + 1) if number not in held), 0)
