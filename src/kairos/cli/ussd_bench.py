"""`kairos bench ussd`: the engine and its USSD bind in this process, the gateway with its handsets in another."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kairos.adapters.sqlite.process import SqliteProcess
from kairos.adapters.ussd.dialogues import Dialogues
from kairos.adapters.ussd.smpp import UssdSmpp
from kairos.bench import inbound, ussd, workload
from kairos.cli.child import child
from kairos.engine.engine import Engine
from kairos.engine.loop import Loop, tune_interpreter
from kairos.engine.program import Program, compile_program
from kairos.learn import FixedPropensity
from kairos.playbook import read
from kairos.smpp import BindTransceiver, Client, Handler, SessionOptions
from kairos.ussd.profiles import PROFILES

CHECKPOINT_PAGES = 1000
BATCH = 500


def run(
    rate: float, seconds: float, step_seconds: float, subscribers: int = 300_000, events_a_second: int = 0
) -> dict[str, object]:
    """Measure on a store in the system's folder for temporary files (TMPDIR)."""
    with suppress(ImportError):  # as `kairos run` has it
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    program = compile_program(read(ussd.texts(1)))
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as name:
        folder = Path(name)
        inbound.prepare(program, folder / "prepared.db", subscribers, 1)
        found = asyncio.run(_serve(program, folder, rate, seconds, step_seconds, subscribers, events_a_second))
    return found | {
        "subscribers": subscribers,
        "offers": workload.OFFERS,
        "events_a_second_beside": events_a_second,
        "batch": BATCH,
        "checkpoint_pages": CHECKPOINT_PAGES,
    }


async def _serve(
    program: Program,
    folder: Path,
    rate: float,
    seconds: float,
    step_seconds: float,
    subscribers: int,
    events_a_second: int,
) -> dict[str, Any]:
    store, began = SqliteProcess(folder / "prepared.db", CHECKPOINT_PAGES), time.perf_counter()

    def clock() -> int:
        return workload.START + int((time.perf_counter() - began) * 1000)

    loop = Loop(Engine(store, program, FixedPropensity()), clock, lambda _rows: None, aside=store.aside, batch=BATCH)
    running = asyncio.create_task(loop.run())
    beside = asyncio.create_task(inbound.events_beside(loop, subscribers, events_a_second, clock))
    tune_interpreter()
    async with child("USSD gateway", "kairos.bench.dialling", log=folder / "dialling.log") as gateway:
        door = UssdSmpp(_bound((await gateway.line())["port"]), Dialogues(loop, clock), PROFILES["6d"])
        await door.client.start()

        async def ask(wanted: float, numbers: Sequence[str]) -> dict[str, Any]:
            await gateway.tell({"rate": wanted, "numbers": numbers})
            return await gateway.line()

        found = await ussd.measure(ask, inbound.asking(subscribers, 1), rate, seconds, step_seconds)
        await door.close()
    beside.cancel()
    with suppress(asyncio.CancelledError):
        await beside
    loop.close()
    await running
    store.close()
    return found


def _bound(port: int) -> Callable[[Handler], Client]:
    """A bind that keeps itself up."""
    bind, options = BindTransceiver(system_id="kairos", password="kairos"), SessionOptions(window=1000)
    return lambda handle: Client("127.0.0.1", port, bind, handle, options)
