"""What `kairos bench inbound` is made of: who asks, and what they are told; the machine's own speed is not tested."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from kairos.bench import inbound
from kairos.cli import inbound_bench
from kairos.engine.program import compile_program
from kairos.playbook import read


def test_nobody_asks_twice_and_all_who_ask_have_agreed() -> None:
    asked: list[str] = []

    async def ask(rate: float, numbers: Sequence[str]) -> dict[str, object]:
        asked.extend(numbers)
        late = rate > 20
        return {
            "rate": rate,
            "sent": len(numbers),
            "delivered": len(numbers),
            "behind": 0,
            "p50_ms": 3.0,
            "p99_ms": 80.0 if late else 20.0,
            "max_ms": 90.0,
            "offers": 2.0,
        }

    found = asyncio.run(inbound.measure(ask, inbound.asking(10_000, 1), 10, 5, 2))
    assert 15 < found["max_rate"] <= 20
    assert len(set(asked)) == len(asked) > 70
    assert {int(number) % 2 for number in asked} == {0}


def test_what_is_told_over_http_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def once(ask: inbound.Ask, numbers: Iterator[str], *_: float) -> dict[str, Any]:
        return dict(await ask(20, list(islice(numbers, 20))))

    monkeypatch.setattr(inbound, "measure", once)
    program = compile_program(read(inbound.texts(1)))
    path = tmp_path / "prepared.db"
    inbound.prepare(program, path, 400, 1)
    found = asyncio.run(inbound_bench.serve(program, tmp_path, path, 20, 1.0, 1.0, 400, 50))
    assert (found["sent"], found["delivered"]) == (20, 20)
    assert 1 <= found["offers"] <= 3
