"""Which inputs were seen before, so that a repeat changes nothing."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

from kairos.domain.subscriber import State
from kairos.enrich.plan import Plan

IDENTITIES_KEPT_FOR: Final = 48 * 3600  # seconds
IDENTITIES_KEPT: Final = 32  # of one subscriber; what came before them is forgotten early, and counted


class Remembered(NamedTuple):
    """Whether the input is new, and how many identities had to be forgotten before their time."""

    new: bool
    evicted: int


_NEW: Final = Remembered(True, 0)
_DUPLICATE: Final = Remembered(False, 0)


def remember(plan: Plan, state: State, identity: str, now: int) -> Remembered:  # noqa: ARG001 - one shape for all steps
    """Note an input's identity in the state, unless it is there already.

    It is kept as 8 bytes of BLAKE2b, for `IDENTITIES_KEPT_FOR` seconds and while it is among the latest
    `IDENTITIES_KEPT`. A repeat does not lengthen its stay.
    """
    seen = state.seen
    second = now // 1000
    old = second - IDENTITIES_KEPT_FOR
    while seen and seen[1] <= old:
        del seen[:2]
    mark = int.from_bytes(blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    if mark in seen[::2]:
        return _DUPLICATE
    seen += (mark, second)
    evicted = len(seen) // 2 - IDENTITIES_KEPT
    if evicted <= 0:
        return _NEW
    del seen[: 2 * evicted]
    return Remembered(True, evicted)
