"""The way of a notification over `kill -9`: parts, receipts and first answers are there again afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from kairos import enrich
from kairos.simulate import OperatorSettings
from kairos.smpp import SubmitSm, concatenation, split

PARCEL = "Your parcel is at the shop."


@pytest.fixture
def around(a_free_port: Any) -> OperatorSettings:
    return OperatorSettings(subscribers=20, smsc_port=a_free_port(), receipt_after=0.02)


async def again(system: Any) -> None:
    await system.server.kill()
    await system.restart()


def pdus(msisdn: str, text: str) -> list[SubmitSm]:
    numbers: dict[str, Any] = {"source_addr": "5000", "destination_addr": msisdn, "registered_delivery": 1}
    return [SubmitSm(esm_class=p.esm_class, short_message=p.short_message, **numbers) for p in split(text, 77)]


async def submit(system: Any, pdu: SubmitSm) -> str:
    """As the charging system: the message id."""
    async with asyncio.timeout(60):
        answer = await system.operator.charging._request(pdu)
    assert answer.ok
    id_: str = answer.message_id
    return id_


def arrived(system: Any) -> list[Any]:
    return [one.pdu for one in system.operator.smsc.accepted.values()]


async def receipt(system: Any, *ids: str) -> None:
    told = system.operator.charging.receipts
    await system.until(lambda: all(told[id_] for id_ in ids), "the receipts")
    assert [told[id_] for id_ in ids] == [["delivered"]] * len(ids)


async def test_a_part_that_was_acknowledged_is_there_after_a_kill(launch: Any, around: OperatorSettings) -> None:
    async with launch(operator=around, restarts=True) as system:
        msisdn = system.with_language("en")
        await system.known(msisdn)
        seen = await system.call(msisdn)
        text = system.operator.notifications[seen.ref].text.replace(seen.ref, "abc123")
        head, _, tail = text.partition(" ")
        first, last = pdus(msisdn, head + " " * 130 + tail)
        ids = [await submit(system, first)]
        await again(system)
        ids.append(await submit(system, last))
        await system.until(lambda: len(system.inbox(msisdn)) == 2, "the notification")
        assert system.inbox(msisdn)[1].startswith(head + " " * 130 + tail)
        await receipt(system, *ids)
        state = system.states()[msisdn]
        sums = [sum(enrich.counter_buckets(state, place)[1::2]) for place in range(len(state.past))]
        assert 2 in sums  # two calls: it was read
        await system.drained()


async def test_an_incomplete_message_goes_out_plain_after_a_kill(launch: Any, around: OperatorSettings) -> None:
    async with launch(operator=around, restarts=True, NOTIFICATIONS_PARTS_WITHIN_S=1) as system:
        msisdn = system.with_language("en")
        first, second, _ = pdus(msisdn, "z" * 400)
        ids = [await submit(system, pdu) for pdu in (second, first)]
        await again(system)
        await system.until(lambda: len(arrived(system)) == 2, "what came of it")
        assert [replace(pdu, sequence=0) for pdu in arrived(system)] == [first, second]
        await receipt(system, *ids)


async def test_receipts_of_forwarded_texts_find_their_way_after_a_kill(launch: Any, around: OperatorSettings) -> None:
    async with launch(operator=replace(around, receipt_after=2.0), restarts=True) as system:
        msisdn = system.with_language("en")
        (pdu,) = pdus(msisdn, PARCEL)
        id_ = await submit(system, pdu)
        assert id_ in system.operator.smsc.accepted
        await again(system)
        await receipt(system, id_)


async def test_a_retry_after_a_kill_gets_the_first_answer_again(launch: Any, around: OperatorSettings) -> None:
    async with launch(operator=around, restarts=True) as system:
        msisdn = system.with_language("en")
        (pdu,) = pdus(msisdn, PARCEL)
        first = await submit(system, pdu)
        await again(system)
        assert await submit(system, pdu) == first
        assert await submit(system, pdu) != first  # another text of the same words
        assert len(arrived(system)) == 2


async def test_every_part_of_many_notifications_arrives_over_kills(launch: Any, around: OperatorSettings) -> None:
    async with launch(operator=around, restarts=True, NOTIFICATIONS_PARTS_WITHIN_S=1) as system:
        numbers = [system.with_language("en") for _ in range(4)]
        sent: dict[str, list[SubmitSm]] = {msisdn: pdus(msisdn, f"{msisdn} " * 30) for msisdn in numbers}

        async def bring(msisdn: str) -> None:
            for pdu in sent[msisdn]:
                while True:
                    try:
                        await submit(system, pdu)
                        break
                    except Exception:
                        await asyncio.sleep(0.05)

        bringing = [asyncio.create_task(bring(msisdn)) for msisdn in numbers]
        for _ in range(2):
            await asyncio.sleep(0.02)
            await again(system)
        await asyncio.gather(*bringing)

        def came(msisdn: str) -> set[int]:
            found = [concatenation(pdu) for pdu in arrived(system) if pdu.destination_addr == msisdn]
            return {one.part for one in found if one}

        wanted = {msisdn: set(range(1, len(parts) + 1)) for msisdn, parts in sent.items()}
        await system.until(lambda: {msisdn: came(msisdn) for msisdn in numbers} == wanted, "every part")
