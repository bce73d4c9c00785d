"""Deciding is too slow, or the store does not take anything: the notification goes out all the same, plain."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kairos import enrich
from kairos.simulate import Operator, OperatorSettings

TAKEN = "Talk 60 is active."


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Somebody else writes to the store's file, and does not come to an end: no commit gets through."""
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 60000")
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


async def test_who_decides_too_slowly_is_overtaken_by_the_plain_notification(launch: Any) -> None:
    async with launch(NOTIFICATIONS_DECIDE_WITHIN_MS=1) as system:
        operator: Operator = system.operator
        msisdns = [system.with_language("en") for _ in range(5)]
        for msisdn in msisdns:
            await system.known(msisdn)
        with locked(system.server.store):
            seen = await asyncio.gather(*(system.call(msisdn) for msisdn in msisdns))
        notifications = [operator.notifications[one.ref] for one in seen]
        assert [one.text for one in seen] == [one.text for one in notifications]
        assert all(one.message_id in operator.smsc.accepted for one in notifications)  # the SMSC's own answer
        receipts = operator.charging.receipts
        await system.until(lambda: all(receipts[one.message_id] for one in notifications), "the receipts")
        await system.drained()
        for msisdn in msisdns:
            for decision in await system.decisions(msisdn):
                assert [response["outcome"] for response in decision["responses"]] == ["dropped"]
            assert "Nothing was charged" in (await system.reply(msisdn, "1")).text  # it was never said
            assert system.orders(msisdn) == []
        assert [len(one.delivered) for one in notifications] == [1] * len(msisdns)
        assert [receipts[one.message_id] for one in notifications] == [["delivered"]] * len(msisdns)


async def test_while_the_store_hangs_notifications_go_out_plain_and_afterwards_all_goes_on(launch: Any) -> None:
    async with launch(NOTIFICATIONS_DECIDE_WITHIN_MS=300) as system:
        operator: Operator = system.operator
        first, second, third = (system.with_language("en") for _ in range(3))
        for msisdn in (first, second, third):
            await system.known(msisdn)
        offer = await offered(system, first)

        with locked(system.server.store):
            operator.reply(first, offer.number)
            seen = await system.call(second)
            assert seen.text == operator.notifications[seen.ref].text
            recharge = operator.feed.event("recharge", third, {"amount": "5.00"})
            posted = asyncio.create_task(system.post(msgspec.json.encode([recharge])))
            await unhealthy(system)
            again = await system.call(second)  # the queue is not jammed by what failed
            assert again.text == operator.notifications[again.ref].text
            assert system.orders(first) == []

        for _ in range(100):  # 503 said: send it again
            response = await posted
            if response.status_code == 200:
                break
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/problem+json"
            posted = asyncio.create_task(system.post(msgspec.json.encode([recharge])))
        assert response.json()["results"][0]["status"] in ("applied", "duplicate")
        await system.until(lambda: any(text.startswith(TAKEN) for text in system.inbox(first)), "the confirmation")
        assert await offered(system, third)
        await system.drained()
        assert (await system.http.get(f"{system.server.url}/health")).status_code == 200
        assert len(system.orders(first)) == 1
        assert (
            sum(enrich.counter_buckets(system.states()[third], 4)[1::2]) == 2
        )  # recharges: the first, and this one once
        receipts = operator.charging.receipts
        for notification in operator.notifications.values():
            await system.until(lambda id_=notification.message_id: receipts[id_], "the receipt")


async def test_while_states_cannot_be_read_notifications_go_out_plain(launch: Any) -> None:
    async with launch(NOTIFICATIONS_DECIDE_WITHIN_MS=300, breakable=True) as system:
        operator: Operator = system.operator
        msisdns = [system.with_language("en") for _ in range(3)]
        for msisdn in msisdns:
            await system.known(msisdn)
        await system.server.break_(load_s=60.0)
        for msisdn in msisdns:  # each soon enough: the first read has not come to its end yet
            seen = await asyncio.wait_for(system.call(msisdn), 30)
            assert seen.text == operator.notifications[seen.ref].text
        assert all(one.message_id in operator.smsc.accepted for one in operator.notifications.values())
        await system.server.kill()


@pytest.mark.parametrize("own_process", [True, False])
async def test_while_nothing_can_be_read_notifications_go_out_plain(launch: Any, own_process: bool) -> None:
    """The message of a receipt is looked for meanwhile, too."""
    around = OperatorSettings(subscribers=60, receipt_after=3600.0)
    store = {"STORE_OWN_PROCESS": str(own_process).lower()}
    async with launch(operator=around, NOTIFICATIONS_DECIDE_WITHIN_MS=300, breakable=True, **store) as system:
        operator: Operator = system.operator
        msisdns = [system.with_language("en") for _ in range(3)]
        for msisdn in msisdns:
            await system.known(msisdn)
        await system.call(msisdns[0])
        await system.server.break_(read_s=60.0)
        (sent,) = operator.smsc.accepted.values()
        operator.smsc._report(sent)
        await system.until(lambda: operator.smsc.under_way, "the receipt")
        for msisdn in msisdns:
            seen = await asyncio.wait_for(system.call(msisdn), 30)
            assert seen.text == operator.notifications[seen.ref].text
        assert operator.smsc.under_way  # the receipt waits still
        await system.server.kill()


async def offered(system: Any, msisdn: str) -> Any:
    """The offer that a call brings, once the server decides in time again."""
    for _ in range(20):
        seen = await system.call(msisdn)
        if seen.offer:
            return seen.offer
    raise AssertionError(system.still_open())


async def unhealthy(system: Any) -> None:
    while True:
        health = await system.http.get(f"{system.server.url}/health")
        if health.status_code == 503:
            assert "the store does not take batches" in health.json()["troubles"][0]
            return
        await asyncio.sleep(0.1)


async def test_a_state_that_cannot_be_read_costs_its_offers_and_nobody_elses(launch: Any) -> None:
    async with launch(ENGINE_BATCH=2) as system:
        operator: Operator = system.operator
        broken, *others = (system.with_language("en") for _ in range(9))
        for msisdn in (broken, *others):
            await system.known(msisdn)
        sick = system.states()[broken].id
        with closing(sqlite3.connect(system.server.store, isolation_level=None)) as other:
            other.execute("PRAGMA busy_timeout = 60000")
            other.execute("UPDATE journal SET blob = x'c1' WHERE subscriber = ?", (sick,))
        seen = await asyncio.gather(*(system.call(msisdn) for msisdn in (broken, *others, broken)))
        assert [one.offer is not None for one in seen] == [False] + [True] * len(others) + [False]
        assert seen[0].text == operator.notifications[seen[0].ref].text
        await system.drained()
        assert [len(one.delivered) for one in operator.notifications.values()] == [1] * len(seen)
        recharge = operator.feed.event("recharge", broken, {"amount": "5.00"})
        assert (await system.post(msgspec.json.encode([recharge]))).status_code == 503
        assert (await system.http.get(f"{system.server.url}/health")).status_code == 200
