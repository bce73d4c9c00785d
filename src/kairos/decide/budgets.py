"""What budgets still allow while a batch is decided: which arms they refuse and until when, and what is reserved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from kairos.decide.program import Program
from kairos.decide.wall_clock import span
from kairos.domain.budget import Key, Standing, Taken
from kairos.playbook.budget import Budget
from kairos.ports import Lease

NOTHING = Standing()

Read = Callable[[Collection[Key]], Mapping[Key, Standing]]


class Full(NamedTuple):
    """Arms that a budget refuses, until when (ms)."""

    arms: int
    budget: str
    until: int


def whole(_budget: str, _period: int, allowed: int, _wanted: int) -> int:
    """The lease of a worker that is alone."""
    return allowed


class Ledger:
    """The budgets of a program at one time. It changes with what is decided: `known` is how periods stand, `written`
    what of it is to be committed.

    `read` gives periods as they stand, each of which is asked for once; those that it does not know are untouched.
    """

    def __init__(self, program: Program, now: int, read: Read, lease: Lease = whole) -> None:
        self.now, self.read, self.lease = now, read, lease
        self.budgets, self.takes = program.budgets, program.takes
        self.spans = [span(one.budget.unit, program.time_zone, now) for one in self.budgets]
        self.keys = [(one.budget.name, start) for one, (start, _) in zip(self.budgets, self.spans, strict=True)]
        self._places = {key: place for place, key in enumerate(self.keys)}
        self._allowed = [allowed_by(one.budget, *at, now) for one, at in zip(self.budgets, self.spans, strict=True)]
        self._rooms = [0] * len(self.budgets)
        self._taken: dict[int, tuple[Taken, ...]] = {}
        self.written: dict[Key, Standing] = {}
        self.known = {**dict.fromkeys(self.keys, NOTHING), **read(self.keys)}
        self._full = [self._refused(place) for place in range(len(self.budgets))]
        self._gather()

    def full_for(self, arm: int) -> Full:
        """The first budget that an arm of `arms` finds exhausted."""
        return next(full for full in self.full if full.arms >> arm & 1)

    def take(self, arm: int) -> tuple[Taken, ...]:
        """Reserve what an offer of an arm takes, which is none of `arms`."""
        taken = self._taken.get(arm)
        if taken is None:  # the same for all of a batch
            amounts = self.takes.get(arm, ())
            taken = self._taken[arm] = tuple(Taken(*self.keys[place], amount) for place, amount in amounts)
        for one in taken:
            self.move(one, one.amount, 0)
        return taken

    def move(self, taken: Taken, reserved: int, spent: int) -> None:
        """Change how the period stands that something was taken of."""
        key = (taken.budget, taken.period)
        if key not in self.known:
            self.known[key] = self.read([key]).get(key, NOTHING)
        before = self.known[key]
        self.known[key] = self.written[key] = Standing(before.reserved + reserved, before.spent + spent)
        place = self._places.get(key)
        if place is not None and reserved + spent:
            self._rooms[place] -= reserved + spent
            if self._full[place] or self._rooms[place] < self.budgets[place].most:
                self._full[place] = self._refused(place)
                self._gather()

    def _gather(self) -> None:
        self.full = [full for found in self._full for full in found]
        self.arms = 0  # all that are refused
        for full in self.full:
            self.arms |= full.arms

    def _refused(self, place: int) -> tuple[Full, ...]:
        """Find what a budget refuses; a lease is asked for where it may."""
        one, key = self.budgets[place], self.keys[place]
        used = self.known[key].used
        room = self._rooms[place] = self.lease(*key, self._allowed[place], used + one.most) - used
        if room >= one.most:
            return ()
        return tuple(
            Full(arms, one.budget.name, free_from(one.budget, *self.spans[place], used + amount))
            for amount, arms in one.needs
            if amount > room
        )


def allowed_by(budget: Budget, start: int, end: int, now: int) -> int:
    """How much of a period's budget may have been taken by now.

    >>> day = 86_400_000
    >>> allowed_by(Budget("b", 500, "day", even=True), 0, day, day // 2), allowed_by(Budget("b", 500, "day"), 0, day, 0)
    (250, 500)
    """
    return budget.cap * (now - start) // (end - start) if budget.even else budget.cap


def free_from(budget: Budget, start: int, end: int, used: int) -> int:
    """When `used` in all is allowed (ms): by the pace, or from the next period on.

    >>> paced = Budget("b", 500, "day", even=True)
    >>> at = free_from(paced, 0, 86_400_000, 1)
    >>> at, allowed_by(paced, 0, 86_400_000, at), allowed_by(paced, 0, 86_400_000, at - 1)
    (172800, 1, 0)
    >>> free_from(paced, 0, 86_400_000, 501)
    86400000
    """
    return start - (-used * (end - start) // budget.cap) if budget.even and used <= budget.cap else end


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """A budget in one period, as it is shown: amounts in minor units, or in offers where it counts these."""

    name: str
    of: str
    counts: str
    per: str
    since: int  # ms
    until: int
    cap: int
    reserved: int
    spent: int
    left: int
    pace: str  # even, or empty
    allowed: int  # of the cap by now


AMOUNTS: Final = ("cap", "allowed", "reserved", "spent", "left")


def periods(program: Program, now: int) -> list[Key]:
    """Of every budget, the period that it is in at `now`."""
    return [(one.budget.name, span(one.budget.unit, program.time_zone, now)[0]) for one in program.budgets]


def figures(program: Program, now: int, read: Read) -> list[BudgetFigures]:
    """How budgets stand in the period that it is at `now`."""
    spans = [(one.budget, *span(one.budget.unit, program.time_zone, now)) for one in program.budgets]
    standings = read([(budget.name, start) for budget, start, _ in spans]) if spans else {}
    return [
        _figures(budget, start, end, now, standings.get((budget.name, start), NOTHING)) for budget, start, end in spans
    ]


def _figures(budget: Budget, start: int, end: int, now: int, standing: Standing) -> BudgetFigures:
    return BudgetFigures(
        name=budget.name,
        of=budget.of,
        counts=budget.counts,
        per=budget.unit,
        since=start,
        until=end,
        cap=budget.cap,
        reserved=standing.reserved,
        spent=standing.spent,
        left=budget.cap - standing.used,
        pace="even" if budget.even else "",
        allowed=allowed_by(budget, start, end, now),
    )
