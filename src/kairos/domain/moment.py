"""A subscriber, what just happened, when it happened, and now: what a decision is about."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from kairos.domain.identity import Party
from kairos.domain.subscriber import State


class Moment(Struct, array_like=True, gc=False):
    """One moment. `row` holds the values of the vocabulary's columns, in their order (None: unknown)."""

    id: int  # the decision's
    identity: str  # of the input that made it
    kind: str  # the event's kind, or inbound
    happened: int
    now: int
    row: tuple[Any, ...]
    state: State
    riding: bool  # a notification is there to ride on
    language: str = ""  # of that notification
    party: Party | None = None  # where their account has several numbers
    test: bool = False  # of a test subscriber
    wanted: int = 0  # mask of the arms that were asked for; 0: whatever is best
    asked: str = ""  # the same in words
    past_switches: bool = False
    where: str = ""  # they asked, and where: in the shop, in the app; empty: we speak to them
    told: int = 0  # mask of the arms that were only said, and just now
