"""Sliding counters: what is read with every event stands open in the state, what is read seldom stays packed.

A window of 30 days has 30 buckets, and an event touches the newest. So a state holds of each counter four numbers
(`WIDTH`): its oldest bucket, the total of all but the newest, the newest, and the newest one's value. The others are
MessagePack in `State.past`, a list [bucket, value, bucket, value, ...] in the order of time, unpacked only when an
event comes late or a bucket leaves the window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from kairos.domain.subscriber import State
from kairos.playbook.vocabulary import CounterFunction

WIDTH: Final = 4
OLDEST, PAST, NEWEST, VALUE = range(WIDTH)
EMPTY: Final = (0, 0, -1, 0)
HEADER: Final = 3  # bytes

Merge = Callable[[Any, Any], Any]  # two values of one bucket
Total = Callable[[Sequence[Any]], Any]  # of the buckets' values

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final[Callable[[bytes], list[Any]]] = msgspec.msgpack.Decoder(list[Any]).decode


def total_of(function: CounterFunction) -> Total:
    """What a counter's buckets make: sums and counts of nothing are 0, minimum and maximum unknown."""
    if function in ("max", "min"):
        best = max if function == "max" else min
        return lambda values: best(values, default=None)
    return sum


def counter_buckets(state: State, place: int) -> list[Any]:
    """All buckets of the counter at a place of the vocabulary, as [bucket, value, ...] in the order of time."""
    *_, newest, value = state.counters[place * WIDTH : (place + 1) * WIDTH]
    if newest < 0:
        return []
    return [*(_unpack(state.past[place]) if state.past[place] else ()), newest, value]


def put_buckets(state: State, place: int, buckets: Sequence[Any], total: Total) -> None:
    """Make these a counter's buckets, given as `counter_buckets` gives them."""
    past = buckets[:-2]
    open_ = (buckets[0], total(past[1::2]), buckets[-2], buckets[-1]) if buckets else EMPTY
    state.counters[place * WIDTH : (place + 1) * WIDTH] = open_
    state.past[place] = _header(len(past)) + b"".join(map(_pack, past)) if past else b""


def count(state: State, place: int, bucket: int, value: Any, merge: Merge, total: Total) -> None:
    """Add to any bucket; they stay in the order of time, so that the order of arrival leaves no trace."""
    if 0 <= state.counters[place * WIDTH + NEWEST] < bucket:
        _begin(state, place, bucket, value, total)
        return
    buckets = counter_buckets(state, place)
    at = len(buckets)
    while at and buckets[at - 2] > bucket:
        at -= 2
    if at and buckets[at - 2] == bucket:
        buckets[at - 1] = merge(buckets[at - 1], value)
    else:
        buckets[at:at] = (bucket, value)
    put_buckets(state, place, buckets, total)


def _begin(state: State, place: int, bucket: int, value: Any, total: Total) -> None:
    """The newest bucket joins the past, as it is packed, and another is the newest."""
    counters, past = state.counters, state.past[place]
    at = place * WIDTH
    _, before, newest, last = counters[at : at + WIDTH]
    counters[at + PAST : at + WIDTH] = total((before, last) if past else (last,)), bucket, value
    header = _header((int.from_bytes(past[1:HEADER], "big") if past else 0) + 2)
    state.past[place] = b"%b%b%b%b" % (header, past[HEADER:], _pack(newest), _pack(last))


def _header(length: int) -> bytes:
    """Of a MessagePack array, always in its form of three bytes, so that it can grow at its end."""
    return b"\xdc" + length.to_bytes(2, "big")


def read(state: State, place: int, first: int, total: Total) -> Any:
    """The total of the buckets from `first` on."""
    return total(_since(counter_buckets(state, place), first)[1::2])


def prune_counters(state: State, first_buckets: Sequence[int], totals: Sequence[Total]) -> None:
    """Drop every counter's buckets that have left its window."""
    counters = state.counters
    for place, first in enumerate(first_buckets):
        if counters[place * WIDTH] < first and counters[place * WIDTH + NEWEST] >= 0:
            put_buckets(state, place, _since(counter_buckets(state, place), first), totals[place])


def _since(buckets: list[Any], first: int) -> list[Any]:
    start = next((at for at in range(0, len(buckets), 2) if buckets[at] >= first), len(buckets))
    return buckets[start:]
