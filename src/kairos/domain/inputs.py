"""What the engine takes in besides events: each changes state, so each goes through the same transaction."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from kairos.domain.message import Carried, Text

CHANGES: Final = ("number_assigned", "number_recycled", "number_disconnected", "number_changed", "sim_swapped")


class Reply(Struct, frozen=True, array_like=True, gc=False):
    """A text that a subscriber sent to one of our short codes."""

    identity: str
    msisdn: str
    short_code: str
    text: str
    happened: int
    fingerprint: str = ""  # where it has no identity of its own: what a retry of it has too
    repeated: bool = False  # the SMSC may bring it for the second time


class Part(Struct, frozen=True, array_like=True, gc=False):
    """One part of a message in several. With an empty PDU: it went out without us, and the others are to follow it."""

    key: str  # what the parts of one message share
    account: str  # who submitted it; "" for a subscriber's reply
    msisdn: str
    parts: int
    part: int
    carried: Carried


class Answered(Struct, frozen=True, array_like=True, gc=False):
    """What somebody was answered with, where no other record keeps it: an account for a message, the SMSC for a reply.

    `identity` is what a retry of it has too, or "" where none can be told. One of nothing but a time tells when a run
    ended: what stands before it is of that run, or of one before.
    """

    account: str  # "" for a reply
    message_id: str  # that the account knows; of a reply: its identity
    peer_id: str  # the SMSC's, where it has the message
    identity: str
    at: int

    @property
    def subscriber(self) -> int:
        """No state is concerned."""
        return 0

    @property
    def ends_a_run(self) -> bool:
        return not (self.account or self.message_id)


def end_of_a_run(at: int) -> Answered:
    return Answered("", "", "", "", at)


class Change(Struct, frozen=True, array_like=True, gc=False):
    """News of who has a number, as the operator's own records say it. See docs/events.md.

    `kind` is one of CHANGES; `named` has the IMSI, IMEI and account that it tells, `number` the new one of a change.
    """

    identity: str
    kind: str
    msisdn: str  # or another name
    happened: int
    named: dict[str, str] = {}
    number: str = ""


class Delivery(Struct, frozen=True, array_like=True, gc=False):
    """News of an outbox row: sending (a mark before the attempt), sent, delivered, failed (for good), dropped, pending
    (again: it surely did not go out, and is tried later).

    `line` asks whether a notification's line, or a call that waited, may still go out; `plain`: it goes out without its
    line after all. `outgoing` is 0 where only a receipt is to be passed on.
    """

    outgoing: int
    subscriber: int  # 0 where no state is concerned
    status: str
    happened: int
    peer_id: str = ""
    attempts: int = 0
    offer: str = ""  # the offer it carried, if any
    decision: int = 0
    reason: str = ""
    receipt: Text | None = None  # to be passed on to the account that asked for it
    parts: tuple[Answered, ...] = ()  # of an account's message in several: each one's id
    destination: str = ""  # of a mark, and of a question about a line: whom it is about to go to
    action: str = ""  # and with what
    channel: str = ""
    instead: str = ""  # of a failure: the channel that it may go out on in its place
    passage: str = ""  # of another system's message: its key, sender, and what it is for
    sender: str = ""
    purpose: str = ""
    told: str = ""  # what the SMSC said of it


class Fulfilment(Struct, frozen=True, array_like=True, gc=False):
    """The end of a call to the charging system: done, refused with its reason (insufficient_funds, ...), or unanswered
    for so long that it was given up."""

    outgoing: int
    subscriber: int
    offer: str  # the call's key
    status: str  # done, refused, unanswered
    happened: int
    reason: str = ""


class Reversal(Struct, frozen=True, array_like=True, gc=False):
    """What somebody outside says of a purchase: `reversed`, or of a stuck one `done` or `refused`, with a reason.

    `amount` is what went back in all, minor units (None: the whole price): said again, it is the same news.
    """

    key: str
    subscriber: int
    status: str
    happened: int
    reason: str = ""
    amount: int | None = None


class Resend(Struct, frozen=True, array_like=True, gc=False):
    """A text that had failed for good is to be sent once more: a dead letter that somebody has replayed."""

    letter: int  # the dead letter's id
    subscriber: int
    channel: str
    payload: bytes  # MessagePack of its Text


class Timer(Struct, frozen=True, array_like=True, gc=False):
    """Something to look at again at `due`: here the end of an open offer, named by its key."""

    id: int
    due: int
    subscriber: int
    payload: str


class Response(Struct, frozen=True, array_like=True, gc=False):
    """What became of an offer: accepted, declined, expired, fulfilled, refused, refunded, stuck, reversed,
    partly_reversed, redeemed, stopped, dropped, or bought (through another door; `reason`: the event's identity). The
    latest counts: what was reversed was no sale, or less of one."""

    subscriber: int
    decision: int
    offer: str
    outcome: str
    reason: str
    at: int
    test: bool = False  # of a test subscriber: no report counts it
