"""The kill switch under load: marketing stops at the handsets, notifications go on, and offers come back."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from kairos.simulate import Operator, OperatorSettings


async def kairos(system: Any, *arguments: str) -> tuple[int, str]:
    """A command of the operator's staff, beside the running server."""
    command = (sys.executable, "-m", "kairos.cli", *arguments, "--settings", str(system.server.settings))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **system.server.environment},
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


def delivered(operator: Operator) -> int:
    return sum(bool(one.delivered) for one in operator.notifications.values())


def marketing(operator: Operator) -> int:
    """Messages at the handsets that carry an offer."""
    return sum(seen.offer is not None for handset in operator.handsets.values() for seen in handset.inbox)


async def status(system: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await system.http.get(f"{system.server.url}/v1/status")).json()
    return found


async def turned(system: Any, *off: str) -> None:
    """Wait until the server holds to it."""
    async with asyncio.timeout(90):
        while [one["name"] for one in (await status(system))["switches"]["off"]] != list(off):
            await asyncio.sleep(0.1)


async def more_notifications(system: Any, count: int) -> None:
    before = delivered(system.operator)
    await system.until(lambda: delivered(system.operator) >= before + count, f"{count} more notifications")


async def test_marketing_stops_at_the_handsets_while_notifications_go_on(launch: Any, a_free_port: Any) -> None:
    busy = OperatorSettings(subscribers=80, rate=40, seed=7, think=(0.02, 0.3), smsc_port=a_free_port())
    async with launch(operator=busy) as system:
        operator: Operator = system.operator
        await system.all_known()
        running = asyncio.create_task(operator.run(3600))
        await system.until(lambda: marketing(operator) >= 10, "offers at the handsets")
        assert (await status(system))["well"], await status(system)

        code, said = await kairos(system, "switch", "marketing", "off", "--reason", "wrong prices", "--who", "ada")
        assert code == 0, said
        await turned(system, "marketing")
        await more_notifications(system, 40)  # by then, whatever was on its way has arrived
        before = marketing(operator)
        await more_notifications(system, 80)
        assert marketing(operator) == before
        found = await status(system)
        assert [word for word in found["troubles"] if "wrong prices" in word], found["troubles"]
        assert (await system.http.get(f"{system.server.url}/health")).status_code == 200
        reasons = (await system.stats())["refusals"]
        assert reasons["switch marketing"] > 0, json.dumps(reasons)

        code, said = await kairos(system, "switch", "marketing", "on")
        assert code == 0, said
        await turned(system)
        await system.until(lambda: marketing(operator) > before, "offers again")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert "switched off" in system.server.log
