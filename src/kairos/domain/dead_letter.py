"""What could not be handled: kept, so that somebody can see why, mend it, and have it handled after all."""

from __future__ import annotations

from msgspec import Struct


class DeadLetter(Struct, frozen=True, array_like=True, gc=False):
    """One of them; the same kind and identity again is the same letter, counted.

    Kinds: `event`, `reply`, `delivery`, `fulfilment`, `reversal`, `resend` and `timer` are inputs that broke the engine
    (`payload` is their MessagePack); `text` an outbox row that the counterpart refused for good; `purchase` one that is
    stuck; `rejected` an event that could not be read (`payload` is its JSON); `unmapped` what a source posted
    and its mappings could not read (likewise); `unread` a notification that no pattern reads, by the shape of its text.
    Status: new, replay (asked for), replayed, discarded.
    """

    kind: str
    identity: str
    at: int  # ms, when it first came
    subscriber: str  # a number or an id; empty where nobody knows
    reason: str
    payload: bytes
    trace: str = ""  # of the program, where it broke
    times: int = 1
    last: int = 0  # ms, when it last came
    status: str = "new"
    id: int = 0  # given by the store
