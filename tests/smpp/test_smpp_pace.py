"""How fast requests go, and who goes first: the bucket, the pace that gives way, the window."""

from __future__ import annotations

import asyncio
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.smpp.bucket import Bucket, Pace
from kairos.smpp.window import EMERGENCY, Window


def times_taken(pace: Pace, until: float, start: float = 0.0, *, urgent: bool = True) -> list[float]:
    """When requests go if there is always one that waits, and nobody asks before the time that he was told."""
    now, taken = start, []
    while now < until:
        wait = pace.take(now, urgent=urgent)
        if wait == 0.0:
            taken.append(now)
        now += wait
    return taken


def busiest_second(times: list[float]) -> int:
    """The most of them in any second."""
    most = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - 1.0 + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


# --- the bucket ---


@given(st.floats(0.1, 1000), st.floats(1, 50), st.lists(st.floats(0, 0.5), max_size=100))
def test_no_more_than_the_burst_and_what_flowed_in(rate: float, burst: float, steps: list[float]) -> None:
    bucket, now, taken = Bucket(rate, burst), 0.0, 0
    for step in steps:
        now += step
        while bucket.take(now) == 0.0:
            taken += 1
        assert taken <= burst + rate * now + 1e-6


@given(st.floats(0.1, 1000), st.integers(1, 20), st.floats(0, 10))
def test_the_wait_is_exact(rate: float, burst: int, start: float) -> None:
    bucket = Bucket(rate, burst, start)
    assert [bucket.take(start) for _ in range(burst)] == [0.0] * burst
    wait = bucket.take(start)
    assert wait > 0
    assert bucket.take(start + wait * 0.9) > 0
    assert bucket.take(start + wait + 1e-6) == 0.0


def test_what_is_kept_is_there_for_others() -> None:
    bucket = Bucket(rate=10, burst=4)
    assert [bucket.take(0.0, keep=2.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.1)]
    assert [bucket.take(0.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(0.1)]


def test_a_clock_that_steps_back_gives_no_tokens() -> None:
    bucket = Bucket(rate=1, burst=1, now=10.0)
    assert bucket.take(10.0) == 0.0
    assert bucket.take(5.0) == bucket.take(10.0) == 1.0


# --- the pace ---


@pytest.mark.parametrize("rate", [1, 3, 10, 25, 100, 1000])
@pytest.mark.parametrize("urgent", [True, False])
def test_never_more_than_the_rate_in_any_second_and_hardly_less(rate: int, urgent: bool) -> None:
    times = times_taken(Pace(rate, reserve=0.5), until=5.0, urgent=urgent)
    assert busiest_second(times) <= rate
    assert len(times) >= 5 * rate * 0.94


def test_without_a_limit_all_go() -> None:
    pace = Pace()
    assert all(pace.take(0.0, urgent=False) == 0.0 for _ in range(10_000))


def test_urgent_requests_find_tokens_when_others_take_all_they_can() -> None:
    pace = Pace(limit=100, reserve=0.5)
    for now in times_taken(pace, until=3.0, urgent=False):
        assert now < 3.0
    assert pace.take(3.0, urgent=True) == 0.0


@pytest.mark.parametrize("limit", [0.0, 200.0])
def test_a_refusal_for_haste_halves_the_rate_and_pauses_what_is_not_urgent(limit: float) -> None:
    pace = Pace(limit)
    for step in range(300):
        pace.take(step / 100, urgent=False)  # 100 a second
    pace.throttled(3.0)
    assert pace.rate == pytest.approx(50, abs=1)
    assert pace.take(3.0, urgent=False) == pytest.approx(Pace.PAUSE)
    assert pace.take(3.0, urgent=True) == 0.0
    pace.throttled(3.1)  # what was under way
    assert pace.rate == pytest.approx(50, abs=1)
    pace.throttled(4.5)
    assert pace.rate < 50


@pytest.mark.parametrize("limit", [0.0, 200.0])
def test_the_rate_recovers(limit: float) -> None:
    pace = Pace(limit)
    for step in range(300):
        pace.take(step / 100)
    pace.throttled(3.0)
    pace.take(10.0)
    assert 80 < pace.rate < 120
    pace.take(60.0)
    assert pace.rate == (limit or inf)


def test_however_often_it_is_refused_it_goes_on() -> None:
    pace = Pace(limit=50)
    for second in range(100):
        pace.take(float(second) * 2)
        pace.throttled(float(second) * 2)
    assert pace.rate >= Pace.SLOWEST / 2
    assert len(times_taken(pace, until=210.0, start=200.0)) >= 9


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["take", "urgent", "throttled"])), max_size=200))
def test_whatever_happens_the_limit_holds(steps: list[tuple[float, str]]) -> None:
    pace, now, taken = Pace(limit=40, reserve=0.5), 0.0, []
    for step, what in steps:
        now += step
        if what == "throttled":
            pace.throttled(now)
        else:
            while pace.take(now, urgent=what == "urgent") == 0.0:
                taken.append(now)
        assert pace.rate <= 40
    assert busiest_second(taken) <= 40


# --- the window ---


async def entered(window: Window, count: int, *, urgent: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(window.enter(urgent=urgent)) for _ in range(count)]
    await settle()
    return tasks


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def window_of(size: int, reserve: float = 0.0, limit: float = 0.0) -> Window:
    loop = asyncio.get_running_loop()
    return Window(size, Pace(limit, reserve, loop.time()), loop)


def done(tasks: list[asyncio.Task[None]]) -> int:
    return sum(task.done() for task in tasks)


async def test_a_share_of_the_window_is_for_urgent_requests() -> None:
    window = window_of(8, reserve=0.5)
    others = await entered(window, 10, urgent=False)
    assert done(others) == 4
    assert window.take(urgent=False) == inf
    urgent = await entered(window, 6, urgent=True)
    assert done(urgent) == 4
    assert (window.used, window.waiting, window.load) == (8, 8, 2.0)
    window.leave(urgent=False)
    await settle()
    assert (done(urgent), done(others)) == (5, 4)  # urgent ones go first
    window.end()
    await asyncio.gather(*urgent, *others)


async def test_an_emergency_goes_before_what_is_urgent() -> None:
    window = window_of(1)
    urgent = await entered(window, 3, urgent=True)
    emergency = await entered(window, 2, urgent=EMERGENCY)
    for told in ((1, 1), (1, 2), (2, 2)):
        window.leave(urgent=True)
        await settle()
        assert (done(urgent), done(emergency)) == told
    window.end()
    await asyncio.gather(*urgent)


async def test_a_window_of_one_is_for_everybody() -> None:
    window = window_of(1, reserve=1.0)
    await window.enter(urgent=False)
    assert window.used == 1


async def test_nobody_enters_while_it_is_held_and_all_do_when_it_ends() -> None:
    window = window_of(8)
    window.hold(True)
    waiting = await entered(window, 3, urgent=True)
    assert done(waiting) == 0
    window.hold(False)
    await settle()
    assert done(waiting) == 3
    window.hold(True)
    waiting = await entered(window, 3, urgent=False)
    window.end()
    await asyncio.gather(*waiting, window.enter(urgent=False))


async def test_the_pace_lets_them_in_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    window = window_of(100, limit=200)
    loop = asyncio.get_running_loop()
    now = loop.time()
    with monkeypatch.context() as still:
        still.setattr(loop, "time", lambda: now)
        waiting = await entered(window, 30, urgent=False)
    assert done(waiting) == 1
    async with asyncio.timeout(60):
        await asyncio.gather(*waiting)


async def test_who_gives_up_leaves_no_trace() -> None:
    window = window_of(1)
    await window.enter(urgent=True)
    waiting = await entered(window, 1000, urgent=True)
    for task in waiting[:-1]:
        task.cancel()
    await settle()
    assert window.waiting == 1
    window.leave(urgent=True)
    async with asyncio.timeout(60):
        await waiting[-1]
    window.leave(urgent=True)
    assert (window.used, window.waiting) == (0, 0)
