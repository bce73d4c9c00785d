"""What is old goes in small shares, and gives way to a loop that is behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from kairos.engine import retention
from kairos.engine.loop import Loop
from kairos.engine.retention import Retention
from kairos.errors import StoreError
from kairos.ports import Batch, Forgotten

DAY = 86_400_000


class Shares:
    """A store whose decisions go in shares; it notes what it was asked."""

    def __init__(self, *left: int) -> None:
        self.left = list(left)
        self.asked: list[tuple[str, int, int]] = []

    def forget(self, what: str, before: int, after: int, limit: int) -> Forgotten:
        self.asked.append((what, before, after))
        if what == "decisions" and self.left:
            return Forgotten(self.left.pop(0), after + limit if self.left else 0)
        return Forgotten(0, 0)


def idle(bench: Any) -> Loop:
    return Loop(bench.engine, lambda: bench.now, lambda _: None)


async def test_one_pass_takes_share_after_share_and_counts_them(bench: Any) -> None:
    store, counts = Shares(1000, 1000, 7), Counter[str]()
    ages = {"decisions": 90 * DAY, "outbox": 0, "responses": DAY}
    await Retention(store, lambda: bench.now, ages, counts).once(idle(bench))  # type: ignore[arg-type]
    assert counts["forgotten.decisions"] == 2007
    assert store.asked == [
        *(("decisions", bench.now - 90 * DAY, after) for after in (0, 3000, 6000)),
        ("responses", bench.now - DAY, 0),
        ("playbooks", 0, 0),
    ]


async def test_nothing_is_asked_for_what_is_kept_for_ever(bench: Any) -> None:
    store = Shares(5)
    await Retention(store, lambda: bench.now, {"decisions": 0}, Counter()).once(idle(bench))  # type: ignore[arg-type]
    assert store.asked == []


async def test_a_loop_that_is_behind_goes_first_but_not_for_ever(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = 0

    async def sleep(_: float) -> None:
        nonlocal waits
        waits += 1

    monkeypatch.setattr("asyncio.sleep", sleep)
    loop = idle(bench)
    for _ in range(loop.batch):
        loop.post(bench.event("recharge", amount=1))
    store = Shares(3)
    await Retention(store, lambda: bench.now, {"decisions": DAY}, Counter()).once(loop)  # type: ignore[arg-type]
    assert waits == retention.PATIENCE
    assert len(store.asked) == 2


async def test_a_store_that_fails_is_asked_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.commit(Batch(decisions=[(1, 1, 0, b"")]))
    forget, tries = bench.store.forget, 0

    def failing(*arguments: Any) -> Forgotten:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StoreError("the disk is full")
        return forget(*arguments)  # type: ignore[no-any-return]

    monkeypatch.setattr(bench.store, "forget", failing)
    counts = Counter[str]()
    running = asyncio.create_task(
        Retention(bench.store, lambda: bench.now, {"decisions": DAY}, counts).run(idle(bench), every=0.001)
    )
    async with asyncio.timeout(60):
        while not counts["forgotten.decisions"]:
            await asyncio.sleep(0.002)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert bench.store.decision(1) is None
