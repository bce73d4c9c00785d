"""Offers that ask for a second yes: which of two is a confirmation, and which only the first one again."""

from __future__ import annotations

from typing import Final, Literal

from msgspec.structs import replace

from kairos.domain.purchase import Said
from kairos.domain.subscriber import OpenOffer, State

LEAST_GAP: Final = 3_000
"""ms: what comes sooner after the first yes was sent before its question could be read: a double tap, a repeat."""
CONFIRM_WITHIN: Final = 10 * 60_000
"""ms: a yes that comes later is a first one again."""

Weight = Literal["taken", "ask", "repeat"]


def weigh(offer: OpenOffer, said: Said) -> Weight:
    """What a yes to an open offer is: it is `taken`, or to be `ask`ed for once more, or a `repeat` of the first.

    A repeat by its identity is no input at all: it never comes here.
    """
    if not offer.twice:
        return "taken"
    if not waits(offer, said.at):
        return "ask"
    return "repeat" if said.at - offer.proof[-1].at < LEAST_GAP else "taken"


def waits(offer: OpenOffer, now: int) -> bool:
    """Whether a first yes to it waits for its second."""
    return offer.twice and bool(offer.proof) and 0 <= now - offer.proof[-1].at <= CONFIRM_WITHIN


def prove(state: State, key: str, said: Said, *, first: bool) -> None:
    """Keep a yes with its offer; the `first` one makes what was said before it no proof."""
    for index, offer in enumerate(state.offers):
        if offer.key == key:
            state.offers[index] = replace(offer, proof=(said,) if first else (*offer.proof, said))
