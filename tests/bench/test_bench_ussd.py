"""What `kairos bench ussd` is made of, through real processes; the machine's own speed is not tested."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import pytest

from kairos.bench import inbound, open_loop, ussd
from kairos.cli import ussd_bench


def test_nobody_dials_twice_and_each_takes_two_steps() -> None:
    asked: list[str] = []

    async def ask(rate: float, numbers: Sequence[str]) -> dict[str, object]:
        asked.extend(numbers)
        steps = 2 * len(numbers)
        seen: dict[str, object] = {"rate": rate, "sent": steps, "delivered": steps, "behind": 0, "p50_ms": 3.0}
        late = {"p99_ms": 80.0 if rate > 20 else 20.0, "max_ms": 90.0, "menu_p99_ms": 9.0, "offers_p99_ms": 20.0}
        return seen | late

    found = asyncio.run(ussd.measure(ask, inbound.asking(10_000, 1), 10, 4, 2))
    assert 15 < found["max_rate"] <= 20
    assert (found["p99_ms"], found["lost"]) == (20.0, 0)
    assert len(set(asked)) == len(asked) >= 5 * (2 + 4)


def test_a_short_one_through_real_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_higher(*_about: object) -> tuple[float, list[dict[str, object]]]:
        return 20.0, []

    monkeypatch.setattr(open_loop, "highest", no_higher)
    monkeypatch.setitem(sys.modules, "uvloop", None)  # it would stay for all other tests
    figures = ussd_bench.run(20, 1.0, 0.2, subscribers=400)
    assert figures["lost"] == 0
    assert isinstance(figures["p50_ms"], float)
    assert isinstance(figures["p99_ms"], float)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
