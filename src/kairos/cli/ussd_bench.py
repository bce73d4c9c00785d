"""`kairos bench ussd`: the engine and its USSD bind in this process, the gateway with its handsets in another."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kairos.adapters.ussd.dialogues import Dialogues
from kairos.adapters.ussd.smpp import UssdSmpp
from kairos.bench import inbound, ussd, workload
from kairos.cli.child import child
from kairos.cli.inbound_bench import BATCH, engine_at_work
from kairos.cli.run import use_fast_loops
from kairos.engine.program import Program, compile_program
from kairos.playbook import read
from kairos.smpp import BindTransceiver, Client, Handler, SessionOptions
from kairos.ussd.profiles import PROFILES

CHECKPOINT_PAGES = 1000


def run(
    rate: float, seconds: float, step_seconds: float, subscribers: int = 300_000, events_a_second: int = 0
) -> dict[str, object]:
    """Measure on a store in the system's folder for temporary files (TMPDIR)."""
    use_fast_loops()
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
    prepared = folder / "prepared.db"
    async with (
        engine_at_work(program, prepared, CHECKPOINT_PAGES, subscribers, events_a_second) as loop,
        child("USSD gateway", "kairos.bench.dialling", log=folder / "dialling.log") as gateway,
    ):
        door = UssdSmpp(_bound((await gateway.line())["port"]), Dialogues(loop, loop.clock), PROFILES["6d"])
        await door.client.start()

        async def ask(wanted: float, numbers: Sequence[str]) -> dict[str, Any]:
            await gateway.tell({"rate": wanted, "numbers": numbers})
            return await gateway.line()

        found = await ussd.measure(ask, inbound.asking(subscribers, 1), rate, seconds, step_seconds)
        await door.close()
    return found


def _bound(port: int) -> Callable[[Handler], Client]:
    """A bind that keeps itself up."""
    bind, options = BindTransceiver(system_id="kairos", password="kairos"), SessionOptions(window=1000)
    return lambda handle: Client("127.0.0.1", port, bind, handle, options)
