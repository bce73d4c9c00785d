"""python -m kairos.bench.asking PORT: requests for offers over HTTP at a set rate, each on time (open loop).

One JSON object a line: for each `{"rate": 500, "seconds": 20, "numbers": [...]}` it says what it sent and saw. The end
of standard input ends it. It speaks HTTP/1.1 itself, because a library's client costs more than what is measured.

A latency is from the moment that the schedule says to the last octet of the answer; a request that waits for a free
connection counts, too.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from kairos.bench import open_loop

CONNECTIONS = 64


class Door:
    """Kept-alive connections, each with one request at a time."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.shown = f"authorization: Bearer {key}\r\n" if key else ""
        self.free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.serial = 0

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            self.free.put_nowait(await asyncio.open_connection("127.0.0.1", self.port))

    async def ask(self, number: str, scheduled: float) -> tuple[float, int]:
        """How long it took from when it was to be sent (s), and how many offers were told."""
        self.serial += 1
        body = f'{{"id": "b{self.serial}", "subscriber": "+{number}", "channel": "app"}}'
        head = f"POST /v1/decisions HTTP/1.1\r\nhost: kairos\r\n{self.shown}content-length: {len(body)}\r\n\r\n"
        reader, writer = await self.free.get()
        writer.write((head + body).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        told = await reader.readexactly(length)
        self.free.put_nowait((reader, writer))
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{answer.decode()}{told.decode()}")
        return time.perf_counter() - scheduled, told.count(b'"offer":')


async def step(door: Door, rate: float, numbers: Sequence[str]) -> dict[str, Any]:
    """Ask for each number in turn, at this rate."""
    began = time.perf_counter()
    asked: list[asyncio.Task[tuple[float, int]]] = []
    while len(asked) < len(numbers):
        due = min(len(numbers), int((time.perf_counter() - began) * rate) + 1)
        new = range(len(asked), due)
        asked += [asyncio.create_task(door.ask(numbers[place], began + place / rate)) for place in new]
        await asyncio.sleep(0.0005)
    behind = sum(not one.done() for one in asked)
    answers = await asyncio.gather(*asked)
    return {
        "rate": rate,
        "sent": len(asked),
        "delivered": len(answers),
        "behind": behind,
        **open_loop.in_ms(np.array([wait for wait, _ in answers])),
        "offers": round(sum(told for _, told in answers) / len(answers), 2),
    }


async def main(port: int, key: str) -> None:
    door = Door(port, key)
    await door.open()
    await open_loop.step_by_step(lambda wanted: step(door, wanted["rate"], wanted["numbers"]))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
