"""Leases of a budget to several workers: never over, and under by at most one chunk a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.decide import Ledger
from kairos.domain.budget import Key, Standing, Taken, granted, to_return


@dataclass
class Shared:
    """Where leases come from: what each worker has, of one budget's period."""

    chunk: int
    workers: int
    leased: dict[int, int] = field(default_factory=dict)

    def to(self, worker: int) -> Any:
        def lease(_budget: str, _period: int, allowed: int, wanted: int) -> int:
            mine = self.leased.setdefault(worker, 0)
            if wanted > mine:
                self.leased[worker] = mine + granted(allowed, sum(self.leased.values()), self.chunk, wanted - mine)
            return self.leased[worker]

        return lease


@dataclass
class Worker:
    """A shard with rows of its own, which commits after every decision, or loses what it decided."""

    program: Any
    shared: Shared
    number: int
    rows: dict[Key, Standing] = field(default_factory=dict)
    held: list[Taken] = field(default_factory=list)

    def ledger(self, now: int) -> Ledger:
        return Ledger(self.program, now, lambda keys: {k: self.rows[k] for k in keys if k in self.rows}, self.lease)

    @property
    def lease(self) -> Any:
        return self.shared.to(self.number)

    @property
    def used(self) -> int:
        return sum(standing.used for standing in self.rows.values())

    def offer(self, now: int, arm: int, lost: bool) -> bool:
        """Whether it was offered; `lost`: the commit failed."""
        ledger = self.ledger(now)
        if ledger.arms >> arm & 1:
            return False
        taken = ledger.take(arm)
        if not lost:
            self.rows |= ledger.written
            self.held += taken
        return True

    def end(self, now: int, taken: bool) -> None:
        ledger = self.ledger(now)
        one = self.held.pop()
        ledger.move(one, -one.amount, one.amount if taken else 0)
        self.rows |= ledger.written

    def give_back(self) -> None:
        mine = self.shared.leased.get(self.number, 0)
        standing = next(iter(self.rows.values()), Standing())
        self.shared.leased[self.number] = mine - to_return(mine, standing, self.shared.chunk)


ACTS = st.tuples(
    st.integers(0, 3), st.sampled_from(["offer", "offer", "lost", "declined", "taken", "later"]), st.integers(0, 1)
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(ACTS, min_size=20, max_size=150),
    st.integers(1, 30),
    st.integers(1, 4),
    st.sampled_from(["", ", pace: even"]),
)
def test_never_over_and_under_by_one_chunk_a_worker(
    programs: Any, acts: list[tuple[int, str, int]], chunk: int, workers: int, pace: str
) -> None:
    program = programs(pace)
    cap, small, large = program.budgets[0].budget.cap, *(amount for amount, _ in program.budgets[0].needs)
    shared, now, end = Shared(chunk, workers), 0, 86_400_000
    all_of_them = [Worker(program, shared, number) for number in range(workers)]
    for place, act, arm in acts:
        worker = all_of_them[place % workers]
        allowed = cap * now // end if pace else cap
        if act in ("offer", "lost"):
            said = worker.offer(now, arm, act == "lost")
            if not said:  # then no more is left than one offer needs, and a chunk with each of the others
                idle = allowed - sum(one.used for one in all_of_them)
                assert idle < (large if arm else small) + (workers - 1) * chunk
        elif act == "later":
            now = min(now + end // 20, end - 1)
        elif worker.held:
            worker.end(now, taken=act == "taken")
        worker.give_back()
        assert (
            sum(one.used for one in all_of_them) <= sum(shared.leased.values()) <= (cap * now // end if pace else cap)
        )
        for one in all_of_them:
            assert shared.leased.get(one.number, 0) - one.used <= chunk
