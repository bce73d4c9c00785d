"""`kairos bench inbound`: who asks over HTTP, beside events, on a store of a million subscribers. What it is made of.

Half of the workload's subscribers have agreed to marketing (`bench.workload`), and only those ask: nobody's request
ends at a gate. Three of ten have an open offer, and are told that one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from kairos.bench import bare_store, open_loop, workload
from kairos.bench.open_loop import Step
from kairos.domain.subscriber import OpenOffer
from kairos.engine.loop import Loop
from kairos.engine.program import Program
from kairos.engine.work import decode_state, encode

EVENTS = 5000  # a second, beside
OPEN = (0, 2, 4)  # ids modulo 20 with an open offer; of all even ones, who ask, three in ten

Ask = Callable[[float, Sequence[str]], Awaitable[Step]]  # (requests a second, who) -> what was seen


def texts(seed: int) -> dict[str, str]:
    """The workload's playbook, each of whose offers is told to who asks, too."""
    files = workload.texts(seed)
    told = []
    for name in [name for name in files if name.startswith("offers/")]:
        number = name.removeprefix("offers/offer_").removesuffix(".yaml")
        offer = files[name].replace("answers: {", "answers: {inbound: always, ")
        files[name] = offer.replace("treatments:", f"treatments:\n  ask: {{channel: inbound, message: told_{number}}}")
        told.append(f'told_{number}: {{en: "{{title}} for {{price}}"}}')
    return files | {"messages.yaml": files["messages.yaml"] + "\n".join(told) + "\n"}


def prepare(program: Program, path: Path, subscribers: int, seed: int) -> None:
    chance = random.Random(seed)

    def state(subscriber: int) -> bytes:
        made = workload.state(program, subscriber, chance)
        if subscriber % 20 not in OPEN:
            return made
        known = decode_state(made)
        known.offers = [_open(subscriber)]
        return encode(known)

    bare_store.prepare(path, subscribers, state, workload.msisdn)


def _open(subscriber: int) -> OpenOffer:
    return OpenOffer(
        number=1,
        key=f"bench-{subscriber}",
        decision=0,
        action="offer_0",
        variant="only",
        kind="sell",
        title="100 MB for 1 days",
        price=1000,
        product="PRODUCT_0",
        charges=True,
        language="en",
        short_code="5000",
        channel="sms",
        made=workload.START - 1000,
        expires=workload.START + 10 * workload.DAY,
        after_decline=workload.DAY,
        issue="issue_0",
    )


def asking(subscribers: int, seed: int) -> Iterator[str]:
    """Numbers of those who agreed, each once, in a random order."""
    ids = list(range(2, subscribers + 1, 2))
    random.Random(seed).shuffle(ids)
    return map(workload.msisdn, ids)


async def events_beside(loop: Loop, subscribers: int, rate: int, clock: Callable[[], int]) -> None:
    """Until cancelled, events at this rate, whatever becomes of those before."""
    chance, began, posted = random.Random(7), time.perf_counter(), 0
    while True:
        due = int((time.perf_counter() - began) * rate)
        for _ in range(posted, due):
            number = workload.msisdn(chance.randrange(subscribers) + 1)
            loop.post(workload.event(chance, posted, number, clock()), own=True)
            posted += 1
        await asyncio.sleep(0.001)


async def measure(ask: Ask, numbers: Iterator[str], rate: float, seconds: float, step_seconds: float) -> dict[str, Any]:
    """The asked rate for its time, and the highest rate that is held; nobody asks twice."""

    async def one(wanted: float, long: float) -> Step:
        return await ask(wanted, list(islice(numbers, int(wanted * long))))

    await one(rate, 2.0)  # connections and caches, which nobody measures
    return await open_loop.measure(one, rate, seconds, step_seconds, lambda main: {"offers_told": main["offers"]})


async def without_lock(ask: Ask, numbers: Iterator[str], rate: float, seconds: float) -> dict[str, Any]:
    """What the lock of the door costs: the same, beside it."""
    await ask(rate, list(islice(numbers, int(rate))))
    step = await ask(rate, list(islice(numbers, int(rate * seconds))))
    return {"p50_ms_without_lock": step["p50_ms"], "p99_ms_without_lock": step["p99_ms"]}
