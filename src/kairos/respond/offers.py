"""The life of an offer: open, then accepted (and fulfilled or refused), declined, expired or withdrawn. No way back,
but that an `unpaid` one, refused for want of money, may be accepted again while it is valid; and what nobody took may
still be `bought` through another door.

Each transition replaces the frozen record in `state.offers` and gives it, or gives None and changes nothing where the
offer is not there or not in a status to leave. So an offer is accepted once, and charged once.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from kairos.domain.subscriber import Cooldown, OpenOffer, State
from kairos.playbook.action import Action

TRANSITIONS: Final = {
    "open": frozenset({"accepted", "declined", "expired", "withdrawn", "bought"}),
    "accepted": frozenset({"fulfilled", "refused", "unpaid"}),
    "fulfilled": frozenset({"reversed"}),
    "unpaid": frozenset({"accepted", "declined", "withdrawn", "bought"}),
    "declined": frozenset({"bought"}),
    "expired": frozenset({"bought"}),
    "bought": frozenset({"reversed"}),
}
TAKEABLE: Final = ("open", "unpaid")


def answered(state: State) -> None:
    """They have answered something, whatever it means: nothing that was said so far waits for an answer any more."""
    if state.contacts:
        state.answered = max(state.answered, *(one.decision for one in state.contacts))


def find(state: State, key: str) -> OpenOffer | None:
    """The retained offer of that key."""
    return next((offer for offer in state.offers if offer.key == key), None)


def status_at(offer: OpenOffer, now: int) -> str:
    """Its status; its timer may be late, so its validity counts."""
    return "expired" if offer.status in TAKEABLE and now >= offer.expires else offer.status


def is_open(offer: OpenOffer, now: int) -> bool:
    """Whether it can be taken. One that was refused for want of money may be taken again."""
    return status_at(offer, now) in TAKEABLE


def open_offer(state: State, offer: OpenOffer) -> None:
    """Add an offer. A key that is there already changes nothing: an input that is repeated makes one offer."""
    if find(state, offer.key) is None:
        state.offers.append(offer)


def set_status(state: State, key: str, status: str, now: int) -> OpenOffer | None:
    """Move an offer on to `status`; None where TRANSITIONS has no such step."""
    for index, offer in enumerate(state.offers):
        if offer.key == key and status in TRANSITIONS.get(offer.status, ()):
            moved = replace(offer, status=status, changed=now)
            state.offers[index] = moved
            return moved
    return None


def accept(state: State, key: str, now: int) -> OpenOffer | None:
    """It was taken, by reply or (a promise) by the qualifying event: order its fulfilment, this once."""
    return set_status(state, key, "accepted", now)


def expire(state: State, key: str, now: int) -> OpenOffer | None:
    """Its time has passed."""
    return set_status(state, key, "expired", now)


def withdraw(state: State, key: str, now: int) -> OpenOffer | None:
    """It was taken back: never sent, or the subscriber said stop."""
    return set_status(state, key, "withdrawn", now)


def withdraw_all(state: State, kind: str, now: int) -> list[OpenOffer]:
    """Withdraw every offer of a kind that could still be taken."""
    going = [offer.key for offer in state.offers if offer.status in TAKEABLE and offer.kind == kind]
    return [offer for key in going if (offer := withdraw(state, key, now))]


def decline(state: State, key: str, now: int) -> OpenOffer | None:
    """The subscriber said no: it is not said again, nor what rests with it, before its time has passed.

    A promise stays open all the same: what was promised is kept, and a NO may have crossed it on the way.
    """
    offer = find(state, key)
    if offer is None or offer.kind != "promise":
        offer = set_status(state, key, "declined", now)
    elif offer.status != "open":
        return None
    if offer is not None:
        cool_down(state, offer, offer.action, now, now)
    return offer


def cool_down(state: State, offer: OpenOffer | Action, name: str, declined: int, now: int) -> None:
    """One cool-down for each action, each issue, and everything: the longest that holds. Those that have ended go."""
    holds = {(c.action, c.issue): c.until for c in state.cooldowns if c.until < 0 or c.until > now}
    for scope, rests in (
        ((name, ""), offer.after_decline),
        (("", offer.issue), offer.issue_after_decline),
        (("", ""), offer.all_after_decline),
    ):
        until = -1 if rests < 0 else declined + rests
        held = holds.get(scope, now)
        if held >= 0 and (until < 0 or until > held):
            holds[scope] = until
    state.cooldowns = [Cooldown(action, until, issue) for (action, issue), until in holds.items()]


def stop(state: State, now: int, channel: str = "") -> list[OpenOffer]:
    """Consent was withdrawn: withdraw every open offer (of a channel) but promises, for what was promised is kept."""
    open_ = [offer for offer in state.offers if offer.status in TAKEABLE and offer.kind != "promise"]
    going = [offer.key for offer in open_ if channel in ("", offer.channel)]
    return [offer for key in going if (offer := withdraw(state, key, now))]
