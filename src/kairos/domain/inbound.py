"""What comes from those who ask: in the shop, on the telephone to an agent, in the app, on the web."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from msgspec import Struct

MOST: Final = 10  # offers that one request may ask for

Verb = Literal["accept", "decline", "keep"]
CallResult = Literal["accepted", "declined", "keep", "stop", "not_reached", "wrong_person"]  # of a call by an agent


class Visit(Struct, frozen=True, array_like=True, gc=False):
    """A subscriber is there and asks. `channel` is where; `kind` with its `data`, typed as an event's, is why.

    It folds into nothing: what happened, an event tells.
    """

    notification: ClassVar[None] = None  # there is nothing to ride on

    identity: str
    msisdn: str  # or another name
    channel: str
    happened: int
    kind: str = "inbound"
    data: dict[str, Any] = {}
    at_most: int = 3


class Word(Struct, frozen=True, array_like=True, gc=False):
    """A yes, a no or a not yet to an open offer, through any door but a reply's. `who` heard it, in their own words.

    A `stop` is about all offers: `offer` only says what they were answering, and may be over. Of a call that was made,
    `called` notes that somebody brought what came of it, and `called_before` asks whether that was noted.
    """

    identity: str
    msisdn: str  # or another name
    offer: str  # its key
    said: Verb | Literal["stop", "called", "called_before"]
    channel: str
    happened: int
    who: str = ""


class Look(Struct, frozen=True, array_like=True, gc=False):
    """A subscriber dialled a menu: in which language it is, and what one of its texts says to them. Writes nothing."""

    msisdn: str  # or another name
    happened: int
    page: str = ""  # the text's key; empty: the language alone


class Recall(Struct, frozen=True, array_like=True, gc=False):
    """A dialogue came to nothing in front of an open offer: it may be said once more, by a message of its own."""

    identity: str
    msisdn: str  # or another name
    offers: tuple[str, ...]  # keys, the likeliest first: one of them at most is said
    happened: int


class Sought(Struct, frozen=True, gc=False):
    """What another system seeks for a subscriber, before it is read: `kind` may be no event."""

    subscriber: str  # as it was written
    channel: str
    kind: str = ""
    fields: dict[str, Any] = {}
    place: str = ""
    at_most: int = 3


class Told(Struct, frozen=True, gc=False):
    """An offer, or what is only said (without a `key`), as it is told to whoever asks."""

    key: str
    decision: int
    action: str
    variant: str
    kind: str
    title: str
    text: str
    language: str
    number: int  # to reply with by SMS, 0: none
    reply_to: str  # and to which short code
    price: int  # minor units, tax included
    tax: int
    charges: bool
    lasts: int  # ms that its product is valid for; 0: not known
    made: int
    until: int
    channel: str  # that it was first told on
    status: str
    twice: bool = False  # a yes is asked for twice
    redeemed_by: str = ""  # the event that takes it; no yes does
