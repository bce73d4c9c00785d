"""A backup under load, a machine that is lost, and its store made of the backup: what the ledgers say then."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from typing import Any

from tests.system.ledgers import PATIENCE

from kairos.simulate import Operator, OperatorSettings


async def command(system: Any, *arguments: str) -> str:
    """A command of kairos beside the server or without it; what it said."""
    store = ("--store", str(system.server.store))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kairos.cli", *arguments, *store),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **system.server.environment},
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_a_store_restored_from_a_backup_under_load_charges_nothing_twice(launch: Any) -> None:
    chance = random.Random(3)
    around = OperatorSettings(subscribers=100, rate=120, seed=3, think=(0.02, 0.3), receipt_after=0.02)
    async with launch(operator=around, restarts=True, LEARNING_ON="true") as system:
        operator: Operator = system.operator
        await system.all_known(lambda: chance.randint(300, 900), streamed=True)
        living = asyncio.create_task(operator.run(3600))
        await system.until(lambda: operator.figures().fulfilled > 5, "purchases before the backup")
        early = {ref for ref, one in operator.notifications.items() if one.acknowledged}
        backup = system.server.folder / "kairos.backup"
        assert "checked" in await command(system, "backup", str(backup))
        at_backup = operator.figures().fulfilled
        await system.until(lambda: operator.figures().fulfilled > at_backup + 5, "purchases after the backup")
        keys_before = {order.key for orders in operator.ocs.orders_of.values() for order in orders}
        await system.server.kill()
        said = await command(system, "restore", str(backup), "--replace")
        assert "Marketing is off" in said
        before = set(operator.notifications)
        await system.server.start()
        async with asyncio.timeout(PATIENCE):
            await operator.bound()
        switches = json.loads(await command(system, "switch", "list", "--json"))
        assert switches["switches"][0]["on"] is False
        offered = operator.figures().offers_delivered
        await system.until(
            lambda: len(operator.notifications) > len(before) + 50, "notifications while marketing is off"
        )
        await command(system, "switch", "marketing", "on")
        await system.until(lambda: operator.figures().offers_delivered > offered + 5, "offers after the restore")
        living.cancel()
        await system.drained()
        await asyncio.sleep(1)
        await system.drained()

        figures = operator.figures(final=True)
        assert (figures.charged_twice, figures.unasked) == (0, 0), figures  # an offer that is forgotten may come again
        lost = {ref for ref, one in operator.notifications.items() if one.acknowledged and not one.delivered}
        assert lost <= before - early, "only what came between the backup and the restore"
        keys = {order.key for orders in operator.ocs.orders_of.values() for order in orders}
        made_since = {key for key in keys - keys_before if not key.startswith(epoch_before(keys_before))}
        assert made_since, "offers made after the restore were taken, under keys of their own"
        assert len({key.partition("-")[0] for key in made_since}) == 1


def epoch_before(keys: set[str]) -> str:
    (epoch,) = {key.partition("-")[0] for key in keys}
    return epoch
