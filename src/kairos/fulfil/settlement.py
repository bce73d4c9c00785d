"""The end of an order: the offer is fulfilled or refused, and the subscriber is told which, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from kairos.domain.inputs import Fulfilment
from kairos.domain.subscriber import OpenOffer, State

INSUFFICIENT_FUNDS: Final = "insufficient_funds"
"""The reason that has an answer of its own: the subscriber can do something about it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The message to say (one of `playbook.ANSWERS`), and the offer as it now is."""

    answer: str
    offer: OpenOffer


def settle(state: State, fulfilment: Fulfilment, now: int) -> Settled | None:
    """Close the accepted offer that the fulfilment names; None, and nothing changed, where none waits for it.

    A refusal is final, for want of money too: the counterpart answers the same key the same way for ever, so a second
    attempt needs a new offer with a new key. The subscriber may be made one at the next moment.
    """
    for index, offer in enumerate(state.offers):
        if offer.key == fulfilment.offer and offer.status == "accepted":
            done = fulfilment.status == "done"
            closed = replace(offer, status="fulfilled" if done else "refused", changed=now)
            state.offers[index] = closed
            return Settled("confirmed" if done else _refusal(fulfilment.reason), closed)
    return None


def _refusal(reason: str) -> str:
    return "refused_funds" if reason == INSUFFICIENT_FUNDS else "refused"
