"""The clock jumps by hours, forward and back: nothing twice, nothing lost, quiet hours and offers by the clock."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
import pytest
from tests.system.ledgers import RECHARGED, all_is_well, applied, calm_down

from kairos.simulate import Operator, OperatorSettings

HOUR = 3_600_000
MINUTE = 60_000


async def test_under_load_while_it_jumps(launch: Any, a_free_port: Any) -> None:
    around = OperatorSettings(
        subscribers=60, rate=80, seed=11, think=(0.02, 0.3), receipt_after=0.02, smsc_port=a_free_port()
    )
    async with launch(operator=around, breakable=True) as system:
        operator: Operator = system.operator
        # With that much money nobody is promised anything. A promise made while the clock was ahead is not taken by a
        # recharge after it went back: it happened before.
        rich = [system.introduction(one.msisdn, main=100_000) for one in operator.subscribers]
        await system.tell(itertools.chain.from_iterable(rich))
        living = asyncio.create_task(operator.run(3600))
        for minutes in (50, 0, -50, 0):  # an event that is more than an hour in the future is refused
            await system.server.break_(clock_ms=minutes * MINUTE)
            said = len(operator.notifications)
            await system.until(lambda said=said: len(operator.notifications) > said + 50, "traffic")
        await calm_down(system, living)
        assert operator.figures().fulfilled > 0
        await all_is_well(system, RECHARGED)
        assert operator.figures().duplicate_notifications == 0


async def offered(system: Any, **profile: object) -> tuple[str, Any]:
    msisdn = system.with_language("en")
    await system.known(msisdn, **profile)
    seen = await system.call(msisdn)
    assert seen.offer is not None, seen.text
    return msisdn, seen


async def test_an_offer_ends_by_the_clock_and_a_clock_that_went_back_gives_it_more_time(launch: Any) -> None:
    async with launch(breakable=True) as system:
        late, _ = await offered(system)  # within the hour, says the offer
        early, _ = await offered(system)
        await system.server.break_(clock_ms=-5 * HOUR)
        assert (await system.reply(early, "1")).text.startswith("Talk 60 is active.")
        await system.server.break_(clock_ms=2 * HOUR)
        assert "Nothing was charged" in (await system.reply(late, "1")).text
        assert len(system.orders(early)) == 1
        assert system.orders(late) == []


@pytest.mark.parametrize(("hours", "times"), [(-5, 1), (47, 1), (49, 2)])
async def test_a_repeat_is_known_for_two_days_by_the_clock(launch: Any, hours: int, times: int) -> None:
    async with launch(breakable=True) as system:
        msisdn = system.with_language("en")
        await system.known(msisdn)
        body = msgspec.json.encode([system.operator.feed.event("recharge", msisdn, {"amount": "5.00"})])
        assert (await system.post(body)).json()["results"][0]["status"] == "applied"
        await system.server.break_(clock_ms=hours * HOUR)
        await system.post(body)
        assert applied(system)[msisdn]["recharges_30d"] == 1 + times


async def test_quiet_hours_are_those_of_the_clock(launch: Any) -> None:
    """It is noon where they are; ten hours later a message of its own would wake them, and a riding line does not."""
    async with launch(breakable=True) as system:
        operator: Operator = system.operator
        first, second = system.with_language("en"), system.with_language("en")
        for msisdn in (first, second):
            await system.known(msisdn)
            await system.tell([("data_session", msisdn, {"app": "video", "bytes": 60_000_000})] * 3)
        await system.server.break_(clock_ms=10 * HOUR)
        said = operator.feed.event("data_session", first, {"app": "video", "bytes": 1000}, operator.now() + 10 * HOUR)
        assert (await system.post(msgspec.json.encode([said]))).json()["results"][0]["status"] == "applied"
        (decision, *_) = await system.decisions(first)
        assert any(verdict["reason"] == "quiet hours" for verdict in decision["verdicts"]), decision["verdicts"]
        assert operator.handsets[first].inbox == []
        assert (await system.call(first)).offer is not None
        await system.server.break_()
        operator.tell("data_session", second, {"app": "video", "bytes": 1000})
        await system.until(lambda: operator.handsets[second].offers, "the offer of its own")
