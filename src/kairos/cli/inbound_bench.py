"""`kairos bench inbound`: the engine behind its HTTP door in this process, who asks in another."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry

from kairos.adapters.http import HttpExplanations, HttpIngress
from kairos.adapters.inbound import HttpInbound
from kairos.adapters.sqlite_process import SqliteProcess
from kairos.adapters.subscribers import Subscribers
from kairos.api import create_app
from kairos.bench import events, inbound, workload
from kairos.cli.child import child
from kairos.engine.engine import Engine
from kairos.engine.explain import Explainer
from kairos.engine.loop import Loop, tune_interpreter
from kairos.engine.program import Program, compile_program
from kairos.learn import FixedPropensity
from kairos.playbook import read

CHECKPOINT_PAGES = 1000
BATCH = 500


def run(
    rate: float,
    seconds: float,
    step_seconds: float,
    subscribers: int = 1_000_000,
    events_a_second: int = inbound.EVENTS,
) -> dict[str, object]:
    """Measure on a store in the system's folder for temporary files (TMPDIR; about 5 GB)."""
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
    door = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[door]))
    beside = asyncio.create_task(inbound.events_beside(loop, subscribers, events_a_second, clock))
    tune_interpreter()
    port = str(door.getsockname()[1])
    async with child("load generator", "kairos.bench.asking", port, log=folder / "asking.log") as generator:

        async def ask(wanted: float, numbers: Sequence[str]) -> dict[str, Any]:
            await generator.tell({"rate": wanted, "numbers": numbers})
            return await generator.line()

        found = await inbound.measure(ask, inbound.asking(subscribers, 1), rate, seconds, step_seconds)
    beside.cancel()
    with suppress(asyncio.CancelledError):
        await beside
    server.should_exit = True
    await serving
    loop.close()
    await running
    store.close()
    return found
