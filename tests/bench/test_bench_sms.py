"""What `kairos bench sms` asks for and says; the machine's own speed is not tested."""

from __future__ import annotations

import asyncio
import json

from typer.testing import CliRunner

from kairos.bench.sms import measure
from kairos.cli import app


def test_the_highest_rate_held_is_found_and_a_bad_moment_forgiven() -> None:
    asked: list[float] = []

    async def ask(rate: float, seconds: float) -> dict[str, object]:
        asked.append(rate)
        bad_moment = len(asked) == 2
        late = rate > 1000 or bad_moment
        return {
            "rate": rate,
            "sent": 10,
            "delivered": 10,
            "behind": 0,
            "p50_ms": 3.0,
            "p99_ms": 80.0 if late else 20.0,
            "max_ms": 90.0,
            "riding": 0.1,
            "operator_cpu": 0.2,
        }

    found = asyncio.run(measure(ask, 500, 60, 10))
    assert (found["p50_ms"], found["p99_ms"]) == (3.0, 20.0)
    best = found["max_rate"]
    assert isinstance(best, float)
    assert 900 < best <= 1000
    assert asked[:3] == [500, 625, 625]


def test_a_rate_that_is_not_held_is_no_highest_rate() -> None:
    async def ask(rate: float, seconds: float) -> dict[str, object]:
        figures: dict[str, object] = {"sent": 10, "delivered": 9, "behind": 0, "p50_ms": 3.0, "p99_ms": 4.0}
        return figures | {"rate": rate, "max_ms": 90.0, "riding": 0.1, "operator_cpu": 0.2}

    found = asyncio.run(measure(ask, 500, 60, 10))
    assert (found["max_rate"], found["lost"]) == (0.0, 1)


def test_a_short_one_through_real_processes() -> None:
    done = CliRunner().invoke(app, ["bench", "sms", "--json", "--rate", "20", "--for", "1s", "--step", "0.2s"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.output.splitlines()[-1])
    assert figures["lost"] == 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert figures["riding"] > 0
    assert {"max_rate", "machine", "server_cpu_us_an_sms"} <= figures.keys()
