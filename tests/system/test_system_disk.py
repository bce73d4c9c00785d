"""The disk is full, read-only or slow for a while: notifications go out all the same, and nothing else is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.system.ledgers import (
    RECHARGED,
    applied,
    calm_down,
    happened,
    receipts_for_all,
    unsettled,
)

from kairos.simulate import Operator, OperatorSettings

BROKEN: dict[str, dict[str, Any]] = {
    "full": {"disk_full": True},
    "read-only": {"read_only": True},
    "slow": {"commit_s": 0.3},
    "hanging": {"commit_s": 1.5},
}


@pytest.mark.parametrize("disk", list(BROKEN))
async def test_under_load_on_a_disk_that_breaks_twice(launch: Any, a_free_port: Any, disk: str) -> None:
    around = OperatorSettings(
        subscribers=60, rate=80, seed=3, think=(0.02, 0.3), receipt_after=0.02, smsc_port=a_free_port()
    )
    async with launch(operator=around, breakable=True, NOTIFICATIONS_DECIDE_WITHIN_MS=500) as system:
        operator: Operator = system.operator
        await system.tell([event for one in operator.subscribers for event in system.introduction(one.msisdn)])
        living = asyncio.create_task(operator.run(3600))
        for _ in range(2):
            await more_said(system, 20)
            await system.server.break_(**BROKEN[disk])
            await more_said(system, 60)
            await system.server.break_()
        await more_said(system, 60)
        await calm_down(system, living)
        figures = operator.figures(final=True)
        assert figures.notifications_delivered == figures.notifications_acknowledged == len(operator.notifications)
        assert (figures.charged_twice, figures.unasked, figures.duplicate_offers) == (0, 0, 0), figures
        assert figures.events_rejected == 0
        assert figures.fulfilled > 0
        assert unsettled(operator) == []
        await receipts_for_all(system)
        await system.drained()
        assert "Traceback" not in system.server.log
        assert await system.server.end() == 0
        not_more_than_happened(system)


async def more_said(system: Any, count: int) -> None:
    """Wait until that many more notifications are at their handsets, whatever is broken."""
    operator: Operator = system.operator
    before = sum(bool(one.delivered) for one in operator.notifications.values())
    await system.until(
        lambda: sum(bool(one.delivered) for one in operator.notifications.values()) >= before + count, "notifications"
    )


def not_more_than_happened(system: Any) -> None:
    """What came over HTTP is applied once each. Of a notification that went out plain nothing need be known."""
    held, wanted = applied(system), happened(system.operator, RECHARGED)
    for msisdn, counted in wanted.items():
        got = held.get(msisdn, Counter())
        assert got <= counted, (msisdn, got, counted)
        for name in ("recharges_30d", "recharged_30d"):
            assert got[name] == counted[name], (msisdn, name)
