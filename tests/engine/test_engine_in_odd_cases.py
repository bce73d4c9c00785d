"""What the engine keeps to when clocks go back, playbooks change, and subscribers are strangers."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from kairos.domain.inputs import Timer
from kairos.domain.message import Text
from kairos.domain.subscriber import Bucket
from kairos.engine.loop import Loop
from kairos.engine.timers import run_timers
from kairos.errors import StoreError
from kairos.ports import Batch


def test_a_strangers_reply_to_another_service_is_relayed(bench_with: Callable[..., Any]) -> None:
    bench = bench_with(reject_unknown=True)
    work = bench.apply(bench.reply("BAL please"), bench.reply("1"))
    assert [answer.status for answer in work.answers] == ["rejected", "rejected"]
    (row,) = work.batch.outgoing
    text = msgspec.msgpack.decode(row.payload, type=Text)
    assert (row.channel, text.text, text.account) == ("relay", "BAL please", "info")
    assert not work.batch.states


def test_a_stop_holds_though_the_clock_went_back(bench: Any) -> None:
    bench.profile()
    bench.now -= 3_600_000
    bench.apply(bench.reply("STOP"))
    assert bench.state().attributes[2] is False


def test_an_old_playbook_is_read_once_for_all_states(bench_with: Callable[..., Any]) -> None:
    asked: Counter[str] = Counter()
    old = bench_with().program.playbook.vocabulary
    bench = bench_with(old_vocabulary=lambda layout: asked.update([layout]) or old)
    numbers = [f"12025550{n}" for n in range(100, 120)]
    bench.apply(*(bench.event("recharge", msisdn=msisdn, amount=100) for msisdn in numbers))
    changed = {k: v.replace("over: 30 days", "over: 7 days") for k, v in bench.program.playbook.texts.items()}
    bench.engine.use(bench_with(changed).program)
    bench.apply(*(bench.event("recharge", msisdn=msisdn, amount=100) for msisdn in numbers))
    assert asked.total() == 1


def test_refusals_of_all_variants_are_counted(bench: Any) -> None:
    bench.profile()
    balances = [Bucket("main", 500), Bucket("data", 100_000, bench.now + 86_400_000)]
    for _ in range(3):
        bench.apply(bench.event("end_of_call", notification="x", service="voice", cost=1, balances=balances))
    assert bench.engine.statistics.reasons()["can afford it"] == 6  # the small one and the large one, each time


async def test_timers_that_cannot_be_taken_wait_a_while(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.commit(Batch(timers=[Timer(1, 0, 1, "")]))
    tries = 0

    def full(_: Batch) -> None:
        nonlocal tries
        tries += 1
        raise StoreError("the disk is full")

    monkeypatch.setattr(bench.store, "commit", full)
    loop = Loop(bench.engine, lambda: bench.now, lambda _: None)
    running = asyncio.create_task(loop.run())
    timers = asyncio.create_task(run_timers(bench.store, loop, lambda: bench.now, every=3600, at_once=1))
    async with asyncio.timeout(60):
        while not tries:
            await asyncio.sleep(0.005)
    for _ in range(50):
        await asyncio.sleep(0.002)
    assert tries == 1
    timers.cancel()
    with suppress(asyncio.CancelledError):
        await timers
    loop.close()
    await running


async def test_a_store_that_hangs_when_it_is_asked_for_timers_holds_up_nothing_else(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, goes_on, held_up = threading.Event(), threading.Event(), list[bool]()

    def hang(_now: int, _limit: int) -> list[Timer]:
        asked.set()
        held_up.append(not goes_on.wait(60))
        return []

    monkeypatch.setattr(bench.store, "timers_due", hang)
    loop = Loop(bench.engine, lambda: bench.now, lambda _: None)
    timers = asyncio.create_task(run_timers(bench.store, loop, lambda: bench.now, every=3600))
    while not asked.is_set():
        await asyncio.sleep(0.005)
    goes_on.set()
    async with asyncio.timeout(60):
        while not held_up:
            await asyncio.sleep(0.005)
    assert held_up == [False]
    timers.cancel()
    with suppress(asyncio.CancelledError):
        await timers
