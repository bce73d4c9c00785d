"""What happened to a subscriber, as the network or another system announced it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from kairos.domain.message import Carried


class Notification(Struct, frozen=True, array_like=True, gc=False):
    """The regulated message (an end-of-call notification, EoCN) that an event came in, to be sent on."""

    account: str  # the account that submitted it; its receipts go back there
    message_id: str  # the id that we answered the account with
    source: str  # what the subscriber sees as the sender
    destination: str
    text: str
    language: str  # of the pattern that matched
    receipt: bool = False  # the account asked for a delivery receipt
    rides: bool = True  # a line may be appended; else an offer follows as a message of its own
    carried: tuple[Carried, ...] = ()  # as it came, in the order of its parts
    fingerprint: str = ""  # where it has no identity of its own: what a retry of it has too


class Event(Struct, frozen=True, array_like=True, gc=False):
    """One event, typed after the vocabulary.

    `identity` is what makes a repeat recognisable (a CloudEvent's source + id). `data` holds only fields that the
    vocabulary names: text str, number float, money int (minor units), boolean bool, time int (ms), date int (days since
    1970-01-01), balances list of `subscriber.Bucket`.
    """

    identity: str
    kind: str
    msisdn: str  # digits, international, no plus; or another name of the subscriber: see `domain.identity`
    happened: int
    data: dict[str, Any]
    notification: Notification | None = None
    named: dict[str, str] | None = None  # what else it names them by: imsi, imei, account
    trial: str = ""  # no event: a tester asks for this offer, or offer/variant, now
    past_switches: bool = False  # and gets it though switches are off
