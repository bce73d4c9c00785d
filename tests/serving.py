"""A server of a test, none of whose connections outlives it: one that does is a warning in whatever test comes next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[str]:
    """Its address; who talks still at the end is cut short."""
    talking, leaving = set[asyncio.Task[Any]](), set[asyncio.Task[Any]]()

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me
        talking.add(me)
        try:
            with suppress(asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            talking.discard(me)
            leaving.add(me)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            leaving.discard(me)

    server = await asyncio.start_server(kept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for _ in range(3):  # turns of the loop, until who came just now talks
            await asyncio.sleep(0)
        for one in talking:
            one.cancel()
        await asyncio.gather(*talking, *leaving, return_exceptions=True)


def drip(begins: bytes, one: bytes, pause: float = 0.01) -> Talk:
    """Begins an answer and goes on for ever: no read of it ever times out."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(begins)
            while not writer.is_closing():
                writer.write(one)
                await writer.drain()
                await asyncio.sleep(pause)

    return talk
