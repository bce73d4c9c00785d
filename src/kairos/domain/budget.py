"""What a budget's period has been asked for: reserved by what is offered, spent by what was taken."""

from __future__ import annotations

from msgspec import Struct

Key = tuple[str, int]  # a budget's name, and when its period began (ms, UTC)


class Standing(Struct, frozen=True, array_like=True, gc=False):
    """How a period stands, in minor units or in offers. Both together are never above the budget."""

    reserved: int = 0
    spent: int = 0

    @property
    def used(self) -> int:
        return self.reserved + self.spent


class Taken(Struct, frozen=True, array_like=True, gc=False):
    """What one decision has taken of one period: given back there, whatever the time is by then."""

    budget: str
    period: int
    amount: int


class Reserved(Struct, frozen=True, array_like=True, gc=False):
    """What a decision holds until it is known what became of it; `offers`: it can be taken, else it is only said."""

    decision: int
    offers: bool
    taken: tuple[Taken, ...]


def granted(cap: int, leased: int, chunk: int, need: int) -> int:
    """What a worker whose lease is short by `need` is leased more, where `leased` of `cap` is out with all workers.

    A chunk, or more where one offer needs it; or the last rest.

    >>> granted(100, 0, 30, 1), granted(100, 90, 30, 1), granted(100, 0, 30, 45), granted(100, 60, 30, 45)
    (30, 10, 45, 40)
    """
    return min(max(0, cap - leased), max(chunk, need))


def to_return(lease: int, standing: Standing, chunk: int) -> int:
    """What a worker gives back of its lease: all that it does not use, but for one chunk.

    So no more than a chunk a worker lies idle while another one is refused.

    >>> to_return(60, Standing(5, 10), 30), to_return(60, Standing(25, 10), 30)
    (15, 0)
    """
    return max(0, lease - standing.used - chunk)
