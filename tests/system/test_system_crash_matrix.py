"""Killed at every named point, by its own hand: a table of points and outcomes, counted in the operator's ledgers."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.system.broken_store import Fuse
from tests.system.ledgers import KNOWN, applied, happened, told_two_ways, unsettled, without_receipt

from kairos.simulate import Operator, OperatorSettings
from kairos.simulate.ocs_door import Hook

BOTH = ("before", "after")
POINTS = [
    f"{side} {point}"
    for point in (
        "commit: notification",
        "commit: own message",
        "commit: acceptance",
        "commit: order's answer",
        "commit: answer",
        "commit: receipt",
        "commit: news of a message",
        "acknowledge: notification",
        "acknowledge: reply",
        "acknowledge: receipt",
        "mark: own message",
        "send: notification",
        "send: own message",
        "send: answer",
        "send: receipt",
        "charge",
        "provision",
    )
    for side in BOTH
]
AT_RANDOM = "at random"
AT_ONCE = 3  # systems: they wait for one another more than they work
AT_DOOR = ("charge", "provision")  # points that the charging system sees, not kairos

KILLED = (-9, 255)  # 255: it ended, and who forked it could not say how

# What no kill may bring about.
NEVER = ("lost", "offers twice", "two texts", "charged twice", "unasked", "unsettled", "no receipt", "miscounted")
COLUMNS = ("kills", "notifications", "repeated", "offers", "orders", *NEVER)


async def outcome(launch_in: Any, folder: Path, point: str, kills: int) -> Counter[str]:
    """Kill that often at one point, under load, on one store; then peace, and the ledgers."""
    chance = random.Random(point)
    around = OperatorSettings(
        subscribers=500 if "own message" in point else 80,  # each gets one in three days, and half of them none
        rate=150,
        seed=chance.randrange(1000),
        think=(0.02, 0.2),
        receipt_after=0.02,
    )
    steps = {"FULFILMENT_MODE": "steps"} if point.endswith(AT_DOOR) else {}
    async with launch_in(folder, operator=around, restarts=True, breakable=True, **steps) as system:
        operator: Operator = system.operator
        introductions = [
            event
            for one in operator.subscribers
            for event in (
                *system.introduction(one.msisdn, main=chance.randint(100, 900)),
                *[("data_session", one.msisdn, {"app": one.app, "bytes": 60_000_000})] * 3,
            )
        ]
        for start in range(0, len(introductions), 1000):
            await system.tell(introductions[start : start + 1000])
        await system.server.kill()
        living = asyncio.create_task(operator.run(3600))
        for _ in range(kills):
            await life(system, point, chance)
        system.server.fuse = Fuse()
        await system.restart()
        await asyncio.sleep(0.2)
        living.cancel()
        assert await operator.drain(90), system.still_open()
        await system.drained()
        return await judged(system) + Counter({"kills": kills})


async def life(system: Any, point: str, chance: random.Random) -> None:
    """One start, the store in a process of its own or not, and the end at the point."""
    own_process = str(chance.random() < 0.5).lower()
    system.server.environment = {**system.server.environment, "KAIROS_STORE_OWN_PROCESS": own_process}
    side, _, what = point.partition(" ")
    nth = chance.randint(1, 3)
    if what in AT_DOOR:
        system.server.fuse, system.operator.ocs_faults.when = Fuse(), killer(system, what, side, nth)
    elif point == AT_RANDOM:
        system.server.fuse = Fuse(seconds=chance.uniform(0.001, 0.6))
    else:
        system.server.fuse = Fuse(point, nth)
    await system.server.start()
    assert await system.server.died() in KILLED, (point, system.server.log[-3000:])
    system.operator.ocs_faults.when = None


def killer(system: Any, step: str, side: str, nth: int) -> Hook:
    """The charging system has the call before it, or carried it out: there kairos ends, and hears no answer."""
    left = itertools.count(nth, -1)

    async def when(came: str, then: str) -> None:
        if came == step and then == side and next(left) == 1:
            system.server.forked.kill()

    return when


async def judged(system: Any) -> Counter[str]:
    """What became of everything, by the ledgers."""
    operator: Operator = system.operator
    await until(lambda: not without_receipt(operator), seconds=90)
    figures = operator.figures(final=True)
    assert figures.notifications_acknowledged == len(operator.notifications)
    found = Counter(
        {
            "notifications": figures.notifications_acknowledged,
            "repeated": figures.duplicate_notifications,
            "offers": figures.offers_delivered,
            "orders": len(operator.ocs.orders),
            "lost": figures.undelivered,
            "offers twice": figures.duplicate_offers,
            "two texts": len(told_two_ways(operator)),
            "charged twice": figures.charged_twice,
            "unasked": figures.unasked,
            "unsettled": len(unsettled(operator)),
            "no receipt": len(without_receipt(operator)),
        }
    )
    await system.server.end()
    held, wanted = applied(system), happened(operator, KNOWN)
    found["miscounted"] = sum(held.get(msisdn) != counted for msisdn, counted in wanted.items())
    return found


async def until(holds: Callable[[], object], seconds: float) -> None:
    """Wait until something holds, or so long."""
    for _ in range(int(seconds / 0.05)):
        if holds():
            return
        await asyncio.sleep(0.05)


def table(rows: dict[str, Counter[str]]) -> str:
    """The crash matrix, as it is printed."""
    widths = [max(len(name), 5) for name in COLUMNS]
    lines = ["  ".join(["point".ljust(34), *(name.rjust(width) for name, width in zip(COLUMNS, widths, strict=True))])]
    rows = rows | {"all": sum(rows.values(), Counter())}
    for point, found in rows.items():
        cells = [str(found[name]).rjust(width) for name, width in zip(COLUMNS, widths, strict=True)]
        lines.append("  ".join([point.ljust(34), *cells]))
    return "\n".join(lines)


async def matrix(launch_in: Any, within: Path, points: Sequence[str], kills: int) -> dict[str, Counter[str]]:
    """Some points at a time, each on a store of its own."""
    places = asyncio.Semaphore(AT_ONCE)

    async def row(number: int, point: str) -> Counter[str]:
        folder = within / str(number)
        folder.mkdir()
        async with places:
            return await outcome(launch_in, folder, point, kills)

    rows = await asyncio.gather(*(row(number, point) for number, point in enumerate(points)))
    return dict(zip(points, rows, strict=True))


@pytest.mark.parametrize("kills", [1, pytest.param(7, marks=pytest.mark.long)])
async def test_killed_at_every_point(launch_in: Any, tmp_path: Path, kills: int) -> None:
    points = [*POINTS, AT_RANDOM]
    rows = await matrix(launch_in, tmp_path, points, kills)
    print(f"\n{table(rows)}")  # noqa: T201
    total = sum(rows.values(), Counter())
    assert [(name, total[name]) for name in NEVER if total[name]] == []
    assert total["kills"] == kills * len(points)
    assert total["orders"] > total["kills"]
