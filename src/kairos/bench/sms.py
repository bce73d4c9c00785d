"""`kairos bench sms`: notifications in over SMPP, messages out over SMPP: how late, and how many a second.

The synthetic operator measures, in a process of its own, on a schedule that waits for nobody (open loop); see
`kairos.simulate.paced`. Here is what to ask of it, and what its answers come to.
"""

from __future__ import annotations

from kairos.bench import open_loop
from kairos.bench.open_loop import Ask


async def measure(ask: Ask, rate: float, seconds: float, step_seconds: float) -> dict[str, object]:
    """The asked rate for its time; then the highest rate that is held."""
    return await open_loop.measure(
        ask,
        rate,
        seconds,
        step_seconds,
        lambda main: {
            "riding": main["riding"],
            "server_cpu_us_an_sms": main.get("server_cpu_us"),
            "operator_cpu": main["operator_cpu"],
        },
    )
