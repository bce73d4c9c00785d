"""Which inputs were seen before, so that a repeat changes nothing."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

from kairos.domain.subscriber import State

IDENTITIES_KEPT_FOR: Final = 48 * 3600  # seconds
MARK, TIME = 8, 4  # bytes of an identity's hash, and of the second when it was seen
ENTRY = MARK + TIME
IDENTITIES_KEPT: Final = 32  # of one subscriber; what came before them is forgotten early, and counted


class Remembered(NamedTuple):
    """Whether the input is new, and how many identities had to be forgotten before their time."""

    new: bool
    evicted: int


_NEW: Final = Remembered(True, 0)
_DUPLICATE: Final = Remembered(False, 0)


def remember(state: State, identity: str, now: int) -> Remembered:
    """Note an input's identity in the state, unless it is there already.

    It is kept as 8 bytes of BLAKE2b, for `IDENTITIES_KEPT_FOR` seconds and while it is among the latest
    `IDENTITIES_KEPT`. A repeat does not lengthen its stay.
    """
    second, mark = now // 1000, _mark(identity)
    seen = _unexpired(state.seen, second - IDENTITIES_KEPT_FOR)
    if _holds(seen, mark):
        state.seen = seen
        return _DUPLICATE
    seen += mark + second.to_bytes(TIME, "big")
    evicted = len(seen) // ENTRY - IDENTITIES_KEPT
    state.seen = seen[-IDENTITIES_KEPT * ENTRY :]
    return _NEW if evicted <= 0 else Remembered(True, evicted)


def knows(state: State, identity: str, now: int) -> bool:
    """Whether an input's identity was noted; that notes nothing."""
    return _holds(_unexpired(state.seen, now // 1000 - IDENTITIES_KEPT_FOR), _mark(identity))


def _mark(identity: str) -> bytes:
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=MARK).digest()


def _unexpired(seen: bytes, old: int) -> bytes:
    """Without the entries, the oldest first, that are of the second `old` or before."""
    start = 0
    while start < len(seen) and int.from_bytes(seen[start + MARK : start + ENTRY], "big") <= old:
        start += ENTRY
    return seen[start:] if start else seen


def _holds(seen: bytes, mark: bytes) -> bool:
    place = seen.find(mark)
    while place % ENTRY and place >= 0:  # found across two entries
        place = seen.find(mark, place + 1)
    return place >= 0
