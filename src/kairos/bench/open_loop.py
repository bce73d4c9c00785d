"""What every open-loop bench shares: requests at a set rate, each on time, and the highest rate that is held."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Step = Mapping[str, Any]  # as `kairos.simulate.paced.Step`
Ask = Callable[[float, float], Awaitable[Step]]  # (a second, seconds): what was seen of it

WITHIN_MS = 50.0  # the 99th percentile that a rate must keep to be held
COARSE, FINE = 1.25, 1.08  # the next rate, times the last one that was held


def held(step: Step) -> bool:
    """Whether a rate was kept up: everything came, 99 in 100 in time, and no more waited at the end than is on its way.

    >>> held({"sent": 500, "delivered": 500, "behind": 3, "rate": 500.0, "p99_ms": 21.0})
    True
    >>> held({"sent": 500, "delivered": 500, "behind": 90, "rate": 500.0, "p99_ms": 21.0})
    False
    """
    in_time = step["p99_ms"] <= WITHIN_MS and step["behind"] <= max(5, 2 * step["rate"] * WITHIN_MS / 1000)
    return bool(in_time and step["delivered"] == step["sent"])


async def highest(ask: Ask, main: Step, rate: float, step_seconds: float) -> tuple[float, list[dict[str, object]]]:
    """From what was seen at the asked rate up, in coarse and then in fine steps, to the highest rate that is held.

    A rate that is not held gets one more chance: a shared machine has moments of its own.
    """
    best = float(rate) if held(main) else 0.0
    steps = [brief(main)]
    factor = COARSE
    while factor:
        wanted = round((best or rate / 2) * (factor if best else 1.0))
        tried = [await ask(wanted, step_seconds)]
        if not held(tried[0]):
            tried.append(await ask(wanted, step_seconds))
        steps += [brief(step) for step in tried]
        if held(tried[-1]):
            best = float(wanted)
        else:
            factor = FINE if factor == COARSE and best else 0.0
    return best, steps


async def measure(
    ask: Ask, rate: float, seconds: float, step_seconds: float, more: Callable[[Step], Mapping[str, object]]
) -> dict[str, Any]:
    """The asked rate for its time, then the highest rate that is held. `more`: what else is told of the first."""
    main = await ask(rate, seconds)
    best, steps = await highest(ask, main, rate, step_seconds)
    return {
        "p50_ms": main["p50_ms"],
        "p99_ms": main["p99_ms"],
        "max_ms": main["max_ms"],
        "max_rate": best,
        "rate": rate,
        "seconds": seconds,
        "lost": main["sent"] - main["delivered"],
        **more(main),
        "steps": steps,
        "machine": machine(),
    }


async def step_by_step(take: Callable[[dict[str, Any]], Awaitable[Step]]) -> None:
    """Take each step that a line of standard input asks for as a JSON object, and say what was seen of it."""
    gc.disable()  # between steps alone: a look at all that is kept here is no wait of kairos'
    while line := await asyncio.to_thread(sys.stdin.readline):
        gc.collect()
        say(await take(json.loads(line)))


def say(said: Mapping[str, Any]) -> None:
    """One line of standard output."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def in_ms(waits: NDArray[np.float64]) -> dict[str, float]:
    """Of waits in seconds.

    >>> in_ms(np.array([0.001, 0.002, 0.003]))
    {'p50_ms': 2.0, 'p99_ms': 2.98, 'max_ms': 3.0}
    """
    return {"p50_ms": p_ms(waits, 50), "p99_ms": p_ms(waits, 99), "max_ms": p_ms(waits, 100)}


def p_ms(waits: NDArray[np.float64], percent: float) -> float:
    """A percentile of waits in seconds."""
    return round(float(np.percentile(waits, percent)) * 1000, 2)


def brief(step: Step) -> dict[str, object]:
    return {name: step[name] for name in ("rate", "p50_ms", "p99_ms", "behind")}


def machine() -> dict[str, object]:
    """What it ran on, and how busy that was with others."""
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
    }
