"""Many agents at one list, in every order: nobody waits long for a call, no two have the same, and it can be ended."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import pytest
from tests.channels.test_calls import call_bench, told

from kairos.adapters.calls import CallDesk, CallList
from kairos.domain.inbound import CallResult
from kairos.domain.message import Order, Text
from kairos.engine.dispatch import Backoff, Dispatcher
from kairos.engine.loop import Loop
from kairos.ports import Batch, Channel, Loaded, Outcome, Store

__all__ = ["call_bench"]

RESULTS: Final[Sequence[CallResult]] = (
    "accepted",
    "declined",
    "keep",
    "stop",
    "wrong_person",
    "not_reached",
    "not_reached",
)
P = ParamSpec("P")
R = TypeVar("R")
LONG: Final = 1.0  # seconds: a claim waits for a commit, and a commit takes a twentieth of that


class Hurried(asyncio.SelectorEventLoop):
    """Its time goes on to what is due next as soon as nothing else is to be done."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        loop: Any = self
        while loop._scheduled and loop._scheduled[0]._cancelled:
            heapq.heappop(loop._scheduled)._scheduled = False
            loop._timer_cancelled_count -= 1
        if not loop._ready and loop._scheduled:
            self.now = max(self.now, loop._scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


class Slow:
    """A store's calls without threads, each of which takes a while by chance."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        self.store, self.chance, self.turn = store, chance, asyncio.Lock()

    async def _while(self) -> None:
        await asyncio.sleep(self.chance.choice((0.0, 0.0, self.chance.random() / 20)))

    async def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        await self._while()
        return self.store.load(names, subscribers)

    async def commit(self, batch: Batch, chain: int) -> None:
        async with self.turn:
            await self._while()
            self.store.commit(batch)

    async def read(self, ask: Callable[Concatenate[Store, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        found: R = getattr(self.store, ask.__name__)(*args, **kwargs)
        await self._while()
        return found

    async def close(self) -> None:
        """Nothing."""


class Far:
    """Whoever else is called takes everything."""

    async def send(self, _: Text) -> Outcome:
        return Outcome("sent", "1")

    async def fulfil(self, _: Order) -> Outcome:
        return Outcome("done")

    async def ask(self, _: Order) -> Outcome:
        return Outcome("done")


async def shift(bench: Any, chance: random.Random) -> None:
    """A few agents, and what subscribers do meanwhile."""
    tick, began = asyncio.get_running_loop().time, bench.now
    numbers = [f"120255501{n:02d}" for n in range(chance.randint(1, 8))]
    await told(bench, *numbers)
    far = Far()
    dispatcher: Dispatcher

    def clock() -> int:
        return int(began + round(tick() * 1000))

    calls = CallList(clock, chance.choice((0.3, 2.0, 60.0)), chance.choice((0.0, 0.02, 1.0)))
    loop = Loop(bench.engine, clock, lambda rows: dispatcher.hand(rows), aside=Slow(bench.store, chance))
    channels: dict[str, Channel] = {"notification": far, "sms": far, "calls": calls}
    dispatcher = Dispatcher(
        bench.store,
        loop,
        channels,
        far,
        clock,
        backoff=Backoff(0.01, 0.02),
        chance=chance.random,
        rooms={"calls": calls},
    )
    running = [asyncio.create_task(loop.run()), asyncio.create_task(dispatcher.run())]
    desk, serial = CallDesk(calls, loop), count()
    held: dict[str, int] = {}  # whose lease ends when

    async def agent() -> None:
        mine: list[dict[str, Any]] = []
        for _ in range(chance.randint(3, 15)):
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.01, 0.1, 1.0)))
            if chance.random() < 0.5 or not mine:
                asked = tick()
                given = await desk.claim(chance.randint(1, 3))
                assert tick() - asked < LONG
                for one in given:
                    assert held.get(one["offer"], 0) <= clock(), "two have it"
                    held[one["offer"]] = one["until"]
                mine += given
            else:
                one = mine.pop(chance.randrange(len(mine))) if chance.random() < 0.7 else chance.choice(mine)
                whose = one["subscriber"] if chance.random() < 0.9 else f"+{chance.choice(numbers)}"
                request = str(next(serial)) if chance.random() < 0.8 else "again"
                found = await desk.settle(request, one["offer"], whose, chance.choice(RESULTS), "an agent")
                if not isinstance(found, str) and found["noted"]:
                    held.pop(one["offer"], None)

    async def subscribers() -> None:
        for _ in range(chance.randint(0, 6)):
            await asyncio.sleep(chance.random() * 2)
            msisdn = chance.choice(numbers)
            stop, session = bench.reply("STOP", msisdn=msisdn), bench.event("data_session", msisdn=msisdn, app="video")
            await loop.submit(stop if chance.random() < 0.5 else session)

    await asyncio.gather(*(agent() for _ in range(chance.randint(1, 5))), subscribers())
    assert not any(one.done() for one in running)
    ended = tick()
    await dispatcher.close()
    loop.close()
    await asyncio.gather(*running)
    assert tick() - ended < LONG


@pytest.mark.parametrize("seed", range(20))
def test_many_agents_at_once(call_bench: Any, seed: int) -> None:
    with asyncio.Runner(loop_factory=Hurried) as runner:
        runner.run(asyncio.wait_for(shift(call_bench, random.Random(seed)), 7200))
