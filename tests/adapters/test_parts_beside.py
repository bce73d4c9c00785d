"""What runs beside the engine: where it breaks, it begins anew, and the server goes on."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from structlog.testing import capture_logs

from kairos.bootstrap.kairos import beside


async def test_a_part_that_breaks_begins_anew_and_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.bootstrap.kairos.BEGIN_ANEW", 0.0)
    begun, counts, runs = 0, Counter[str](), asyncio.Event()

    async def sweep() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise RuntimeError("a bug")
        runs.set()
        await asyncio.sleep(3600)

    with capture_logs() as told:
        running = asyncio.create_task(beside("sweep", sweep, counts))
        async with asyncio.timeout(60):
            await runs.wait()
    assert counts == {"broke.sweep": 2}
    assert [one["part"] for one in told] == ["sweep", "sweep"]
    running.cancel()
    assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], asyncio.CancelledError)
