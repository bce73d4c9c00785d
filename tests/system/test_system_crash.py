"""`kill -9` under load, again and again on one store: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import Any

import pytest
from tests.system.conftest import store_process
from tests.system.ledgers import RECHARGED, all_is_well, calm_down

from kairos.simulate import Operator, OperatorSettings
from kairos.simulate.figures import Figures


@pytest.mark.parametrize(
    ("kills", "rate", "batch"),
    [
        (5, 80.0, 500),
        pytest.param(45, 80.0, 500, marks=pytest.mark.long),
        pytest.param(15, 300.0, 4, marks=pytest.mark.long),
    ],
)
async def test_killed_at_random_points_under_load(launch: Any, kills: int, rate: float, batch: int) -> None:
    chance = random.Random(kills)
    around = OperatorSettings(subscribers=120, rate=rate, seed=kills, think=(0.02, 0.3), receipt_after=0.02)
    async with launch(operator=around, restarts=True, ENGINE_BATCH=batch, LEARNING_ON="true") as system:
        operator: Operator = system.operator
        await system.all_known(lambda: chance.randint(100, 900), streamed=True)
        living = asyncio.create_task(operator.run(3600))
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0, 1.2))  # anywhere: while it recovers, too
            await system.server.kill()
            await system.server.start()
        await system.until(lambda: enough(operator.figures(), kills), "purchases, and offers of both sorts")
        await calm_down(system, living)
        await all_is_well(system)


def enough(figures: Figures, fulfilled: int) -> bool:
    return figures.fulfilled > fulfilled and figures.offers_delivered > figures.offers_riding > 0


async def test_restarted_in_good_order_under_load(launch: Any) -> None:
    around = OperatorSettings(subscribers=80, rate=150, seed=7, think=(0.02, 0.3), receipt_after=0.02)
    async with launch(operator=around, restarts=True, ENGINE_BATCH=3) as system:  # one batch waits behind another
        operator: Operator = system.operator
        await system.all_known()
        living = asyncio.create_task(operator.run(3600))
        for _ in range(2):
            waiting = len(operator.notifications)
            await system.until(lambda waiting=waiting: len(operator.notifications) > waiting + 60, "traffic")
            assert await system.server.end() == 0
            await system.server.start()
        await calm_down(system, living)
        await all_is_well(system, RECHARGED)
        assert operator.figures().duplicates == 0


async def test_when_the_stores_own_process_dies_kairos_ends_and_loses_nothing(launch: Any) -> None:
    around = OperatorSettings(subscribers=60, rate=80, seed=11, think=(0.02, 0.3), receipt_after=0.02)
    async with launch(operator=around, restarts=True) as system:
        operator: Operator = system.operator
        await system.all_known()
        living = asyncio.create_task(operator.run(3600))
        for _ in range(2):
            await asyncio.sleep(1)
            os.kill(store_process(system.server.process.pid), signal.SIGKILL)
            async with asyncio.timeout(60):
                assert await system.server.process.wait() == 1
            assert "the store's process ended with -9; start kairos again" in system.server.log
            await system.server.start()
        await calm_down(system, living)
        await all_is_well(system, RECHARGED)
