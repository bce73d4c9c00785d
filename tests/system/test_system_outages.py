"""A counterpart is away for a while: what it was to get comes late, once, and holds nothing else up."""

from __future__ import annotations

import asyncio
from typing import Any

from kairos.simulate import Operator, OperatorSettings
from kairos.simulate.ocs import Order, OrderRequest
from kairos.simulate.ocs_door import OrderDoor

HOST = "127.0.0.1"
TAKEN = "Talk 60 is active."


async def callers(system: Any, count: int) -> list[str]:
    """That many subscribers to whom a call would bring an offer."""
    msisdns = [system.with_language("en") for _ in range(count)]
    for msisdn in msisdns:
        await system.known(msisdn)
    return msisdns


async def test_while_the_smsc_is_away_notifications_and_offers_wait(launch: Any) -> None:
    async with launch() as system:
        operator: Operator = system.operator
        riding = await callers(system, 6)
        (own,) = await callers(system, 1)
        await system.tell([("data_session", own, {"app": "video", "bytes": 60_000_000})] * 3)
        await operator.smsc.stop()

        async with asyncio.timeout(90):
            submitted = [await operator.end_of_call(msisdn, "voice", 6) for msisdn in riding]
        operator.tell("data_session", own, {"app": "video", "bytes": 1000})
        not_ours = asyncio.create_task(system.submit(riding[0], "Your parcel is here."))
        await system.until(lambda: operator.charging.is_bound and not operator.feed.under_way, "all to be taken")
        assert all(one is not None and one.acknowledged and not one.delivered for one in submitted)

        await operator.smsc.start()
        await system.until(lambda: all(one is not None and one.delivered for one in submitted), "every notification")
        await system.until(lambda: operator.handsets[own].offers, "the offer of its own")
        assert (await not_ours).acknowledged
        await system.until(lambda: "Your parcel is here." in system.inbox(riding[0]), "what was forwarded")
        for msisdn in riding:
            assert (await system.reply(msisdn, "1")).text.startswith(TAKEN)
        figures = operator.figures(final=True)
        assert (figures.duplicates, figures.lost, figures.charged_twice) == (0, 0, 0)
        assert figures.fulfilled == len(riding)
        assert len(operator.handsets[own].inbox) == 1


def waiting(operator: Operator) -> list[Any]:
    """Notifications that are not at their handsets."""
    return [one for one in operator.notifications.values() if not one.delivered]


async def test_the_smsc_comes_and_goes_under_load(launch: Any, a_free_port: Any) -> None:
    busy = OperatorSettings(subscribers=80, rate=80, seed=5, think=(0.02, 0.3), smsc_port=a_free_port())
    async with launch(operator=busy) as system:
        operator: Operator = system.operator
        await system.all_known()
        living = asyncio.create_task(operator.run(3600))
        for _ in range(3):
            seen = len(operator.smsc.accepted)
            await system.until(lambda seen=seen: len(operator.smsc.accepted) > seen + 20, "traffic")
            await operator.smsc.stop()
            await system.until(lambda: len(waiting(operator)) > 20, "more to be sent")
            await operator.smsc.start()
        await system.until(lambda: operator.smsc.bound, "kairos to bind again")
        living.cancel()
        assert await operator.drain(90), system.still_open()
        figures = operator.figures(final=True)
        assert (figures.lost, figures.charged_twice, figures.unasked, figures.duplicate_offers) == (0, 0, 0, 0), figures
        assert figures.accepted == figures.fulfilled + figures.refused_with_reason > 0
        assert figures.notifications_delivered == len(operator.notifications)


async def test_orders_wait_for_a_door_that_is_closed_hangs_or_fails_and_charge_once(
    launch: Any, a_free_port: Any
) -> None:
    port = a_free_port()
    url = f"http://{HOST}:{port}/v1/orders"
    async with launch(FULFILMENT_URL=url, FULFILMENT_TIMEOUT_S=2.5) as system:
        operator: Operator = system.operator
        (msisdn,) = await callers(system, 1)
        await system.call(msisdn)
        answer = operator.reply(msisdn, "1")
        await system.until(lambda: "orders are not answered" in system.server.log, "the closed door to be noticed")

        silent = Silent()
        async with await asyncio.start_server(silent, HOST, port):
            await system.until(lambda: silent.asked > 1, "the order to be asked again")
            silent.over.set()
        assert answer.answered == []

        charge = operator.ocs.order
        keys: list[str] = []

        def charges_and_breaks(key: str, request: OrderRequest) -> Order:
            charge(key, request)
            keys.append(key)
            raise RuntimeError("the answer is lost")

        operator.ocs.order = charges_and_breaks  # type: ignore[method-assign]
        operator.ocs.out_of_service = True
        door = OrderDoor(operator.ocs, HOST, port)
        await door.start()
        try:
            await asyncio.sleep(0.3)
            operator.ocs.out_of_service = False
            told = await system.said_to(answer)
        finally:
            await door.stop()
        assert told.text.startswith(TAKEN)
        (order,) = system.orders(msisdn)
        assert keys == [order.key]  # it was asked for, and not sent again
        assert (order.charged, operator.ocs.charges_repeated()) == (70, 0)


class Silent:
    """Takes orders and says nothing."""

    def __init__(self) -> None:
        self.asked = 0
        self.over = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += bool(await reader.read(1))
        await self.over.wait()
        writer.close()


async def test_a_service_that_is_away_holds_up_nothing_but_its_own(launch: Any) -> None:
    async with launch() as system:
        operator: Operator = system.operator
        (msisdn,) = await callers(system, 1)
        await operator.info.close()
        operator.reply(msisdn, "BAL 1")
        operator.reply(msisdn, "BAL 2")
        assert (await system.call(msisdn)).offer is not None
        assert (await system.reply(msisdn, "1")).text.startswith(TAKEN)
        assert operator.info.relayed == []
        await operator.info.connect(HOST, system.server.ports["smpp_port"])
        await system.until(lambda: len(operator.info.relayed) == 2, "the relayed replies")
        assert [relayed.text for relayed in operator.info.relayed] == ["BAL 1", "BAL 2"]


async def test_receipts_wait_for_the_charging_system_and_nothing_else_does(launch: Any, a_free_port: Any) -> None:
    slow = OperatorSettings(subscribers=60, smsc_port=a_free_port(), receipt_after=0.5)
    async with launch(operator=slow) as system:
        operator: Operator = system.operator
        (msisdn,) = await callers(system, 1)
        seen = await system.call(msisdn)
        await operator.charging.close()
        notification = operator.notifications[seen.ref]
        await system.until(lambda: operator.smsc.receipts_sent == 1, "kairos to take the receipt")
        assert (await system.reply(msisdn, "1")).text.startswith(TAKEN)
        assert operator.charging.receipts[notification.message_id] == []
        await operator.charging.connect(HOST, system.server.ports["smpp_port"])
        receipts = operator.charging.receipts[notification.message_id]
        await system.until(lambda: receipts, "the receipt")
        assert receipts == ["delivered"]
