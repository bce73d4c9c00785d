"""`kairos bench sms`: notifications in over SMPP, messages out over SMPP: how late, and how many a second.

The synthetic operator measures, in a process of its own, on a schedule that waits for nobody (open loop); see
`kairos.simulate.paced`. Here is what to ask of it, and what its answers come to.
"""

from __future__ import annotations

from kairos.bench.open_loop import Ask, highest, machine


async def measure(ask: Ask, rate: float, seconds: float, step_seconds: float) -> dict[str, object]:
    """The asked rate for its time; then the highest rate that is held."""
    main = await ask(rate, seconds)
    best, steps = await highest(ask, main, rate, step_seconds)
    return {
        "p50_ms": main["p50_ms"],
        "p99_ms": main["p99_ms"],
        "max_rate": best,
        "rate": rate,
        "seconds": seconds,
        "max_ms": main["max_ms"],
        "riding": main["riding"],
        "lost": main["sent"] - main["delivered"],
        "server_cpu_us_an_sms": main.get("server_cpu_us"),
        "operator_cpu": main["operator_cpu"],
        "steps": steps,
        "machine": machine(),
    }
