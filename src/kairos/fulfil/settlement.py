"""The end of a purchase: the offer is fulfilled or refused, and the subscriber is told which, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from kairos.domain.purchase import Purchase
from kairos.domain.subscriber import OpenOffer, State

INSUFFICIENT_FUNDS: Final = "insufficient_funds"
"""The reason that has an answer of its own: the subscriber can do something about it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What is logged, the message to say (one of `playbook.ANSWERS`, or empty), and the offer as it now is."""

    outcome: str
    answer: str
    offer: OpenOffer


def settle(state: State, purchase: Purchase, now: int) -> Settled | None:
    """Close the accepted offer that a purchase has come to an end for; None where none waits for it.

    A refusal is final for its key. One for want of money leaves the offer `unpaid` as long as it is valid: another yes
    is another purchase, with a key of its own.
    """
    for index, offer in enumerate(state.offers):
        if offer.key == purchase.offer and offer.status == "accepted":
            status, outcome, message = _end(purchase, offer, now)
            closed = replace(offer, status=status, changed=now)
            if status == "unpaid":
                closed = replace(closed, attempt=offer.attempt + 1, proof=())
            state.offers[index] = closed
            return Settled(outcome, message, closed)
    return None


def _end(purchase: Purchase, offer: OpenOffer, now: int) -> tuple[str, str, str]:
    """The offer's status, the outcome and the message."""
    if purchase.status == "done":
        return "fulfilled", "fulfilled", "confirmed"
    if purchase.status in ("refunded", "reversed"):
        return "refused", purchase.status, "refunded"
    if purchase.reason != INSUFFICIENT_FUNDS:
        return "refused", "refused", "refused"
    again = now < offer.expires and offer.kind != "promise"
    return "unpaid" if again else "refused", "refused", "refused_funds"
