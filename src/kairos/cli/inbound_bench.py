"""`kairos bench inbound`: the engine behind its HTTP door in this process, who asks in another."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry

from kairos.adapters.audit.chain import Chain
from kairos.adapters.audit.trail import Trail
from kairos.adapters.callers import Callers, hashed, made
from kairos.adapters.http import HttpExplanations, HttpIngress
from kairos.adapters.inbound import HttpInbound
from kairos.adapters.pseudonyms import Pseudonyms
from kairos.adapters.sqlite.process import SqliteProcess
from kairos.adapters.subscribers import Subscribers
from kairos.api import create_app
from kairos.api.connection import connections
from kairos.api.lock import Lock
from kairos.bench import events, inbound, workload
from kairos.cli.child import child
from kairos.domain.caller import Caller
from kairos.engine.engine import Engine
from kairos.engine.explain import Explainer
from kairos.engine.loop import Loop, tune_interpreter
from kairos.engine.program import Program, compile_program
from kairos.ingest import read_name
from kairos.learn import FixedPropensity
from kairos.playbook import read

CHECKPOINT_PAGES = 4000
BATCH = 500


def run(
    rate: float,
    seconds: float,
    step_seconds: float,
    subscribers: int = 1_000_000,
    events_a_second: int = inbound.EVENTS,
) -> dict[str, object]:
    """Measure on a store in the system's folder for temporary files (TMPDIR; about 5 GB)."""
    with suppress(ImportError):  # as `kairos run` does
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    program = compile_program(read(inbound.texts(1)))
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as name:
        folder = Path(name)
        path = folder / "prepared.db"
        inbound.prepare(program, path, subscribers, 1)
        found = asyncio.run(serve(program, folder, path, rate, seconds, step_seconds, subscribers, events_a_second))
        beside = events.measure(
            program, path, subscribers, subscribers // 10, BATCH, CHECKPOINT_PAGES, 2, FixedPropensity()
        )
    return found | {
        "subscribers": subscribers,
        "offers": workload.OFFERS,
        "events_a_second_beside": events_a_second,
        "batch": BATCH,
        "checkpoint_pages": CHECKPOINT_PAGES,
        "bench_events_at_these_settings": beside["events_per_s"],
    }


async def serve(
    program: Program,
    folder: Path,
    path: Path,
    rate: float,
    seconds: float,
    step_seconds: float,
    subscribers: int,
    events_a_second: int,
) -> dict[str, Any]:
    """Serve and measure on a prepared store."""
    store, began = SqliteProcess(path, CHECKPOINT_PAGES), time.perf_counter()

    def clock() -> int:
        return workload.START + int((time.perf_counter() - began) * 1000)

    loop = Loop(Engine(store, program, FixedPropensity()), clock, lambda _rows: None, aside=store.aside, batch=BATCH)
    running = asyncio.create_task(loop.run())
    ingress = HttpIngress(loop, "", dict)
    explainer = Explainer(store, lambda texts: compile_program(read(texts)))
    asked = HttpInbound(loop, Subscribers(store, explainer, lambda _layout: None), ingress.reader)
    app = create_app(ingress, HttpExplanations(explainer), CollectorRegistry(), clock, inbound=asked)
    key, seal = made(), b"of this benchmark"
    trail = Trail(Chain(folder / "audit", seal), Pseudonyms(seal), read_name)
    trail.start()
    callers = Callers({hashed(key): Caller("app", roles=frozenset({"decide"}))}, None, time.time)
    locked, plain = Served(Lock(app, callers, trail)), Served(app)
    beside = asyncio.create_task(inbound.events_beside(loop, subscribers, events_a_second, clock))
    tune_interpreter()
    numbers = inbound.asking(subscribers, 1)
    async with load(folder, locked.port, key) as ask:
        found = await inbound.measure(ask, numbers, rate, seconds, step_seconds)
    async with load(folder, plain.port) as ask:
        found |= await inbound.without_lock(ask, numbers, rate, step_seconds)
    beside.cancel()
    with suppress(asyncio.CancelledError):
        await beside
    await locked.end()
    await plain.end()
    trail.close()
    loop.close()
    await running
    store.close()
    return found


class Served:
    """An application behind uvicorn, on a port of its own."""

    def __init__(self, app: Any) -> None:
        door = socket.create_server(("127.0.0.1", 0), backlog=2048)
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the server's own
        self.port = door.getsockname()[1]
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", http=connections(30.0, 1000)
        )
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[door]))

    async def end(self) -> None:
        self._server.should_exit = True
        await self._serving


@asynccontextmanager
async def load(folder: Path, port: int, key: str = "") -> AsyncIterator[inbound.Ask]:
    """Who asks, in a process of their own."""
    log = folder / "asking.log"
    async with child("load generator", "kairos.bench.asking", str(port), key, log=log) as generator:

        async def ask(wanted: float, numbers: Sequence[str]) -> dict[str, Any]:
            await generator.tell({"rate": wanted, "numbers": numbers})
            return await generator.line()

        yield ask
