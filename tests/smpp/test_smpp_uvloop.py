"""Sessions run on uvloop as they do on asyncio's own loop: the server's loop where it is installed."""

from __future__ import annotations

import asyncio

import pytest

from kairos.smpp.window import Turns

uvloop = pytest.importorskip("uvloop")


def test_who_waits_a_moment_only_is_let_in_when_it_has_passed() -> None:
    """A throttled session waits for so little that uvloop makes no timer of it, but a call as soon as may be."""

    async def asked() -> str:
        loop, waits = asyncio.get_running_loop(), [0.0001, 0.0001, 0.0001, 0.0001]

        def take(_urgent: bool) -> tuple[float, str | None]:
            return (waits.pop(), None) if waits else (0.0, "place")

        turns: Turns[str] = Turns(loop, take, lambda _got, _urgent: None)
        one = loop.create_task(turns.get(urgent=False))
        other = loop.create_task(turns.get(urgent=True))
        async with asyncio.timeout(60):
            return await one + await other

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(asked()) == "placeplace"
