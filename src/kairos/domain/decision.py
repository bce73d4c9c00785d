"""What was decided and why: small enough to keep for every moment, complete enough to explain and replay it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct


class Refusal(Struct, frozen=True, array_like=True, gc=False):
    """A limit that refused: one arm, or (arm -1) every arm on a channel, until a time (0: no time can be named)."""

    arm: int
    channel: int  # index into the program's channels; -1: every channel
    rule: str
    until: int


class Shut(Struct, frozen=True, array_like=True, gc=False):
    """A gate that was closed: by which rule, until when (ms, 0: nobody knows), for which arms (bits, little-endian)."""

    rule: str
    until: int
    arms: bytes


class Scores(Struct, frozen=True, array_like=True, gc=False):
    """The survivors of a moment as columns: an arm on a channel, and its chance of a yes (0..1)."""

    arm: list[int] = []
    channel: list[int] = []
    propensity: list[float] = []


class Drawn(Struct, frozen=True, array_like=True, gc=False):
    """How likely a decision's choice was when it was made (0..1), by which method, and within what error."""

    decision: int
    probability: float
    method: str
    error: float


class Choice(Struct, frozen=True, array_like=True, gc=False):
    """What was chosen, and the number that it was offered under."""

    arm: int
    channel: int
    message: str
    number: int


class Decision(Struct, array_like=True, gc=False):
    """One decision record (a few hundred bytes as MessagePack).

    `failed` is a bitmap over the distinct conditions of the playbook of that `revision`, little-endian; names are
    looked up there when somebody asks why. `gates` are those that closed something, in order; `gate` names the first.
    """

    id: int
    subscriber: int
    identity: str
    kind: str
    happened: int
    now: int
    revision: str
    model: str
    code: str
    row: tuple[Any, ...]
    gate: str = ""
    failed: bytes = b""
    limits: list[Refusal] = []
    scores: Scores = Scores()
    chosen: Choice | None = None
    riding: bool = False
    until: int = 0  # when the gate opens, ms; 0 where nobody knows
    care_too: bool = False  # of records older than `gates`: the gate is closed for care as well
    test: bool = False  # of a test subscriber: no report counts it
    asked: str = ""  # the offer, or offer/variant, that a tester was to get
    gates: list[Shut] = []
    where: str = ""  # the channel that the subscriber asked on; empty: they did not ask
    listed: bool = False  # held out, and told what all may have, in the order of its worth


read_decision: Final[Callable[[bytes], Decision]] = msgspec.msgpack.Decoder(Decision).decode
