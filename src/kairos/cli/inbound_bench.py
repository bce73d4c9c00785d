"""`kairos bench inbound`: the engine behind its HTTP door in this process, who asks in another."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from kairos.adapters.audit.chain import Chain
from kairos.adapters.audit.trail import Trail
from kairos.adapters.callers import Callers, hashed, made
from kairos.adapters.explanations import HttpExplanations
from kairos.adapters.inbound import HttpInbound
from kairos.adapters.ingress import HttpIngress
from kairos.adapters.pseudonyms import Pseudonyms
from kairos.adapters.sqlite.process import SqliteProcess
from kairos.adapters.subscribers import Subscribers
from kairos.api import create_app
from kairos.api.lock import Lock
from kairos.bench import events, inbound, workload
from kairos.bootstrap.doors import http_server, http_socket
from kairos.cli.child import child
from kairos.cli.run import use_fast_loops
from kairos.domain.caller import Caller
from kairos.engine.engine import Engine
from kairos.engine.explain import Explainer
from kairos.engine.loop import Loop, tune_interpreter
from kairos.engine.program import Program, compile_program
from kairos.ingest import read_name
from kairos.learn import FixedPropensity
from kairos.playbook import read
from kairos.settings import Http

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
    use_fast_loops()
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
    numbers = inbound.asking(subscribers, 1)
    async with engine_at_work(program, path, CHECKPOINT_PAGES, subscribers, events_a_second) as loop:
        ingress = HttpIngress(loop, "", dict)
        explainer = Explainer(loop.engine.store, lambda texts: compile_program(read(texts)))
        asked = HttpInbound(loop, Subscribers(loop.engine.store, explainer, lambda _layout: None), ingress.reader)
        app = create_app(ingress, HttpExplanations(explainer), CollectorRegistry(), loop.clock, inbound=asked)
        key, seal = made(), b"of this benchmark"
        trail = Trail(Chain(folder / "audit", seal), Pseudonyms(seal), read_name)
        trail.start()
        callers = Callers({hashed(key): Caller("app", roles=frozenset({"decide"}))}, None, time.time)
        async with served(Lock(app, callers, trail)) as port, load(folder, port, key) as ask:
            found = await inbound.measure(ask, numbers, rate, seconds, step_seconds)
        async with served(app) as port, load(folder, port) as ask:
            found |= await inbound.without_lock(ask, numbers, rate, step_seconds)
        trail.close()
    return found


@asynccontextmanager
async def engine_at_work(
    program: Program, path: Path, checkpoint_pages: int, subscribers: int, events_a_second: int
) -> AsyncIterator[Loop]:
    """The engine's loop on a prepared store, with events coming in; its clock goes on from the workload's start."""
    store, began = SqliteProcess(path, checkpoint_pages), time.perf_counter()

    def clock() -> int:
        return workload.START + int((time.perf_counter() - began) * 1000)

    loop = Loop(Engine(store, program, FixedPropensity()), clock, lambda _rows: None, aside=store.aside, batch=BATCH)
    running = asyncio.create_task(loop.run())
    beside = asyncio.create_task(inbound.events_beside(loop, subscribers, events_a_second, clock))
    tune_interpreter()
    yield loop
    beside.cancel()
    with suppress(asyncio.CancelledError):
        await beside
    loop.close()
    await running
    store.close()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[int]:
    """The port of an application that is served as `kairos run` serves its own."""
    http = Http(port=0)
    door, server = http_socket(http), http_server(app, http, None)
    serving = asyncio.create_task(server.serve(sockets=[door]))
    yield door.getsockname()[1]
    server.should_exit = True
    await serving


@asynccontextmanager
async def load(folder: Path, port: int, key: str = "") -> AsyncIterator[inbound.Ask]:
    """Who asks, in a process of their own."""
    log = folder / "asking.log"
    async with child("load generator", "kairos.bench.asking", str(port), key, log=log) as generator:

        async def ask(wanted: float, numbers: Sequence[str]) -> dict[str, Any]:
            await generator.tell({"rate": wanted, "numbers": numbers})
            return await generator.line()

        yield ask
