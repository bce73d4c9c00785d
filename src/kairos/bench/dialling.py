"""python -m kairos.bench.dialling: a USSD gateway whose handsets dial at a set rate, each on time (open loop).

It says the port where it listens for kairos. Then, for each line `{"rate": 300, "numbers": [...]}`, every number dials,
and presses a key a second later: two steps each, at this rate together. It says what it sent and saw. The end of
standard input ends it.

A latency is from the moment that the schedule says to the screen's PDU.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from kairos.bench import open_loop
from kairos.simulate.ussd import Dialogue, UssdGateway

CODE, KEY = "*123#", "1"
READS = 1.0  # seconds between a screen that is due and the key
AT_MOST = 10.0  # seconds to wait for a screen; what never came waited as long


async def stepped(gateway: UssdGateway, number: str, due: float) -> tuple[float, float]:
    """How long both screens took from when they were due (s); AT_MOST where one never came."""
    dialogue = Dialogue(number, next(gateway.numbers), "123")
    gateway.dialogues[number, dialogue.number] = dialogue
    await asyncio.sleep(due - time.perf_counter())
    first = await _shown(gateway, dialogue, due, CODE)
    await asyncio.sleep(due + READS - time.perf_counter())
    second = await _shown(gateway, dialogue, due + READS, KEY)
    del gateway.dialogues[number, dialogue.number]
    return first, second


async def _shown(gateway: UssdGateway, dialogue: Dialogue, due: float, said: str) -> float:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(AT_MOST):
            await (gateway.begin(dialogue, said) if said == CODE else gateway.press(dialogue, said))
            return (await dialogue.screen()).at - due
    return AT_MOST


async def step(gateway: UssdGateway, rate: float, numbers: Sequence[str]) -> dict[str, Any]:
    """Each number in turn; its key comes between those who dial after it."""
    began = time.perf_counter() + 0.05
    dialled = [
        asyncio.create_task(stepped(gateway, number, began + 2 * place / rate)) for place, number in enumerate(numbers)
    ]
    await asyncio.sleep(began + 2 * len(numbers) / rate - time.perf_counter())
    behind = sum(not one.done() for one in dialled)
    waits = np.array([wait for both in await asyncio.gather(*dialled) for wait in both])
    never = int((waits >= AT_MOST).sum())
    on_their_way = int(rate / 2 * READS)  # who dialled in the last second presses later
    return {
        "rate": rate,
        "sent": len(waits),
        "delivered": len(waits) - never,
        "behind": max(0, behind - on_their_way),
        **open_loop.in_ms(waits),
        "menu_p99_ms": open_loop.p_ms(waits[::2], 99),
        "offers_p99_ms": open_loop.p_ms(waits[1::2], 99),
    }


async def main() -> None:
    gateway = UssdGateway(time.perf_counter)
    await gateway.start()
    open_loop.say({"port": gateway.port})

    async def take(wanted: dict[str, Any]) -> dict[str, Any]:
        while not gateway.bound:  # noqa: ASYNC110 (kairos comes when it can)
            await asyncio.sleep(0.01)
        return await step(gateway, wanted["rate"], wanted["numbers"])

    await open_loop.step_by_step(take)
    await gateway.close()


if __name__ == "__main__":
    asyncio.run(main())
