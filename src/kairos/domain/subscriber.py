"""A subscriber's state: one small record, read and written whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, field

from kairos.domain.budget import Reserved
from kairos.domain.message import Carried
from kairos.domain.passage import Passing
from kairos.domain.purchase import Purchase, Said

SCHEMA: Final = 2  # of a State


class Bucket(Struct, frozen=True, array_like=True, gc=False):
    """A part of a balance that expires as one.

    `amount` is an exact integer in the wallet's smallest part (vocabulary: unit and digits); `expires` 0 means never.
    """

    wallet: str
    amount: int
    expires: int = 0


class Contact(Struct, frozen=True, array_like=True, gc=False):
    """A message that went out, or is reserved to: what limits count."""

    at: int
    decision: int  # of another system's message: minus its row of the outbox, so that no answer is one to it
    channel: str
    action: str  # or `sender:` and the name of the other system
    issue: str
    riding: bool  # a line on a notification; else a message of its own
    purpose: str = ""  # empty: marketing, as most are


class OpenOffer(Struct, frozen=True, array_like=True, gc=False):
    """What was said and can be taken, with everything that it was made with: a later playbook changes none of it."""

    number: int  # what the subscriber replies with; not used again before `forget`
    key: str  # of its fulfilment, at most one ever
    decision: int
    action: str
    variant: str
    kind: str  # sell, care, advance, gift, promise
    title: str
    price: int  # minor units, tax included
    product: str  # the operator's catalogue id, or empty
    charges: bool
    language: str
    short_code: str
    channel: str
    made: int
    expires: int
    after_decline: int  # ms; -1 for never again
    redeemed_by: str = ""  # a promise: the kind of the qualifying event
    redeemed_when: str = ""  # and the rule it must meet, bound to this variant
    status: str = "open"  # open, accepted, fulfilled, refused, unpaid, declined, expired, withdrawn, bought, reversed
    changed: int = 0  # when the status changed
    lasts: int = 0  # ms that its product is valid for once it is provisioned; 0: not known
    products: tuple[str, ...] = ()  # a bundle: all of them, `product` first
    payer: str = ""  # who pays, where it is not the subscriber
    twice: bool = False  # a yes is asked for twice
    proof: tuple[Said, ...] = ()  # the yeses so far
    attempt: int = 1  # the next yes after a refusal for want of money has a key of its own
    test: bool = False  # said to a test subscriber
    tax: int = 0  # the part of its price that is tax
    payer_since: int = 0  # when the payer's number was told, ms; 0: it is an account
    issue: str = ""
    issue_after_decline: int = 0  # ms in which nothing is said about its issue after a no; -1: never again
    all_after_decline: int = 0  # nor anything else
    asked: str = ""  # identity of the request that it was first told to, where somebody asked


class Cooldown(Struct, frozen=True, array_like=True, gc=False):
    """Not to be said again before `until` (-1: never again), because it was declined: an action, else an issue, else
    everything."""

    action: str
    until: int
    issue: str = ""


class Owned(Struct, frozen=True, array_like=True, gc=False):
    """A product that they have, or had: bought from us (by `action`, in `decision`), or announced by an event."""

    product: str  # the operator's catalogue id
    until: int  # 0: it has no end that is known
    since: int = 0  # when it was bought from us
    action: str = ""  # and with which offer; empty: it was announced
    decision: int = 0
    told: int = 0  # when an event last said until when
    elsewhere: bool = False  # bought through another door; `decision` is what had spoken of it, if any


class Dated(Struct, frozen=True, array_like=True, gc=False):
    """An identity's value, and since when it is theirs (ms)."""

    value: str
    since: int


class Proof(Struct, frozen=True, array_like=True, gc=False):
    """The last change of a consent: to what, when (ms), and the identity of the event or the reply that said so."""

    value: Any
    at: int
    by: str


class KnownBy(Struct, array_like=True, gc=False):
    """What else than its number a subscription is known by; most have none of it."""

    names: dict[str, Dated] = field(default_factory=dict)  # by kind: imsi, imei, account
    sim_changed: int = 0  # when another IMSI came in the place of the one that was known, ms
    party: int = 0  # the account's shared record, where it has several numbers
    ended: int = 0  # when the subscription ended: its number is somebody else's, or nobody's


class Habits(Struct, array_like=True, gc=False):
    """When and where they answer, as `kairos.enrich.habits` counts it; `hour` and `channel` are None until usual."""

    hours: bytes = b""  # a count for each hour of their wall clock
    channels: dict[str, int] = field(default_factory=dict)
    hour: int | None = None
    channel: str | None = None


class Gathering(Struct, array_like=True, gc=False):
    """The parts of a message that is not complete, by number; `done`: of one that was, with digests for PDUs."""

    key: str
    account: str  # "" for a reply
    msisdn: str
    total: int
    since: int
    parts: dict[int, Carried] = field(default_factory=dict)
    done: bool = False


class State(Struct, array_like=True, gc=False):
    """Everything that deciding needs to know of one subscriber (about 1 KB as MessagePack).

    `attributes`, `stamps`, `counters` and `past` stand in the order of the vocabulary's layout named by `layout`; the
    last two are `kairos.enrich.counters`'. `seen` is identities as 8 bytes of hash and 4 of the second each, oldest
    first.

    An empty `msisdn` is a subscription that has ended: nothing is sent to it any more.

    `schema` is the version of this record's shape: a field that is added goes to the end with a default, so that older
    records stay readable; one that changes its meaning raises the version, and needs a step in `OLDER`.
    """

    schema: Literal[2]
    id: int
    msisdn: str
    layout: str
    created: int
    attributes: list[Any] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)  # when each attribute's value happened, ms; 0 = never
    counters: list[Any] = field(default_factory=list)  # four numbers each, of which the newest bucket is a part
    past: list[bytes] = field(default_factory=list)  # and its earlier buckets, packed
    buckets: list[Bucket] = field(default_factory=list)
    announced: dict[str, int] = field(default_factory=dict)  # wallet -> when its buckets were announced, ms
    contacts: list[Contact] = field(default_factory=list)
    offers: list[OpenOffer] = field(default_factory=list)
    cooldowns: list[Cooldown] = field(default_factory=list)
    seen: bytes = b""
    decisions: list[int] = field(default_factory=list)  # the latest few, newest last
    helped: int = 0  # when the help text was last sent, ms
    products: list[Owned] = field(default_factory=list)
    purchases: list[Purchase] = field(default_factory=list)  # under way, or stuck
    known: KnownBy | None = None
    gatherings: list[Gathering] = field(default_factory=list)
    proofs: dict[str, Proof] = field(default_factory=dict)  # of consents, by attribute
    reserved: list[Reserved] = field(default_factory=list)  # in budgets
    answered: int = 0  # the decision of the latest contact when they last answered anything: those after it wait
    habits: Habits | None = None  # None where the vocabulary has no word of them
    passing: Passing | None = None  # of other systems; most have none


def _packed_counters(record: list[Any]) -> list[Any]:
    """Schema 1 had each counter as a list [bucket, value, ...]; of schema 2 see `kairos.enrich.counters`.

    Only the vocabulary knows what a counter's buckets make together. An oldest bucket of -1 is out of every window, so
    they are added up when the record is read, and anew when it is written.
    """
    counters = record[7] if len(record) > 7 else []
    newest = [number for held in counters for number in ((-1, 0, *held[-2:]) if held else (0, 0, -1, 0))]
    past = [
        b"\xdc" + len(held[:-2]).to_bytes(2) + b"".join(map(_encode, held[:-2])) if held else b"" for held in counters
    ]
    return [2, *record[1:7], newest, past, *record[8:]]


_encode: Final = msgspec.msgpack.Encoder().encode

# How a record of each older schema becomes one of the next: a list in, a list out, `schema` being the first of both.
# A record is brought up to date when it is read, and written anew when it changes: nothing waits for all of them.
OLDER: Final[Mapping[int, Callable[[list[Any]], list[Any]]]] = {1: _packed_counters}

_read: Final = msgspec.msgpack.Decoder(State).decode
_read_list: Final = msgspec.msgpack.Decoder(list[Any]).decode


def read_state(blob: bytes) -> State:
    """A State from its record (MessagePack) of this schema or an older one.

    Raises msgspec.DecodeError for one that is damaged, and for one that a newer kairos wrote.
    """
    try:
        return _read(blob)
    except msgspec.ValidationError:
        record = _read_list(blob)
        if not record or not isinstance(record[0], int) or record[0] == SCHEMA:
            raise
        return msgspec.convert(brought_up(record, OLDER, SCHEMA), State)


def ended_before(blob: bytes, at: int) -> bool:
    """Whether a State's record is of a subscription that ended before a time (ms), and nothing of it is open."""
    try:
        state = read_state(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return state.known is not None and 0 < state.known.ended < at and not state.purchases


def brought_up(record: list[Any], older: Mapping[int, Callable[[list[Any]], list[Any]]], schema: int) -> list[Any]:
    """A record brought to `schema`, step by step.

    >>> brought_up([1, "a"], {1: lambda old: [2, *old[1:], "new"]}, 2)
    [2, 'a', 'new']
    """
    while record[0] != schema:
        if record[0] not in older:
            what = "is newer: upgrade kairos" if record[0] > schema else "has no way here"
            raise msgspec.ValidationError(f"the state has schema {record[0]}, this kairos has {schema}: it {what}")
        record = older[record[0]](record)
    return record
