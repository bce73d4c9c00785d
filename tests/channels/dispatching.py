"""The loop and the dispatcher around one channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kairos.bootstrap.ways_out import Places
from kairos.engine.dispatch import Backoff, Dispatcher
from kairos.engine.loop import Loop
from kairos.ports import Room


@asynccontextmanager
async def dispatching(bench: Any, channel: Any, name: str = "email", room: Room | None = None) -> AsyncIterator[Loop]:
    """The loop and the dispatcher with this channel under that name; by default in the place of the mail server's."""
    dispatcher: Dispatcher
    loop = Loop(bench.engine, lambda: bench.now, lambda rows: dispatcher.hand(rows))
    dispatcher = Dispatcher(
        bench.store,
        loop,
        {"notification": None, "sms": None, name: channel},  # type: ignore[dict-item]
        None,  # type: ignore[arg-type]
        lambda: bench.now,
        backoff=Backoff(0.01, 0.02),
        rooms={name: room or Places(2)},
    )
    tasks = [asyncio.create_task(loop.run()), asyncio.create_task(dispatcher.run())]
    try:
        yield loop
    finally:
        await dispatcher.close()
        loop.close()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)


async def settled(bench: Any, status: str) -> None:
    async with asyncio.timeout(60):
        while [row.status for row in bench.store.outgoing([1])] != [status]:
            await asyncio.sleep(0.005)
