"""The operator's ESMEs against a plain server of kairos.smpp: how notifications travel, and what is heard back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from kairos.simulate import eocn
from kairos.simulate.eocn import Notification
from kairos.simulate.esmes import Account, ChargingEsme, InfoEsme, Relayed
from kairos.simulate.ocs import Balances, Usage
from kairos.simulate.operator import until
from kairos.smpp import (
    Concatenation,
    DeliverSm,
    MessageState,
    NotBound,
    Pdu,
    Session,
    Status,
    SubmitSm,
    Tag,
    concatenation,
    passwords,
    receipt_for,
    serve,
    text_of,
)

NUMBER = "12025550100"
FULL = Usage(NUMBER, "data", 1, 35, Balances(1240, 118_500, 1_795_543_200_000, 12, 1_795_424_400_000))


class Door:
    """A server that keeps what it gets, and answers as told."""

    def __init__(self) -> None:
        self.got: list[SubmitSm] = []
        self.answers: list[int] = []

    async def start(self) -> None:
        accounts = passwords({"ocs": "secret", "info": "secret"})
        self.server = await serve("127.0.0.1", 0, accounts, self.handle)

    async def handle(self, session: Session, pdu: Pdu) -> Pdu | None:
        assert isinstance(pdu, SubmitSm)
        status = self.answers.pop(0) if self.answers else 0
        if status:
            return pdu.response(status)
        self.got.append(pdu)
        return pdu.response(message_id=f"m{len(self.got)}")


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    one = Door()
    await one.start()
    yield one
    await one.server.close()


def charging(*, parted: bool = False) -> ChargingEsme:
    return ChargingEsme(
        Account("ocs", "secret"), source="5000", timer=time.perf_counter, parted=parted, retry_every=0.02
    )


def place_of(pdu: SubmitSm) -> Concatenation:
    return concatenation(pdu) or Concatenation("whole", 0, 1, 1)


def notification(language: str) -> Notification:
    return Notification("r1", NUMBER, FULL, eocn.text(language, FULL, "r1"))


@pytest.mark.parametrize("parted", [False, True])
@pytest.mark.parametrize("language", ["en", "fr", "ar"])
async def test_a_text_of_any_length_travels_whole(door: Door, language: str, parted: bool) -> None:
    esme = charging(parted=parted)
    await esme.connect("127.0.0.1", door.server.port)
    said = notification(language)
    async with asyncio.timeout(60):
        await esme.bound()
        await esme.submit(said)
    await esme.close()
    parts = sorted(door.got, key=lambda pdu: place_of(pdu).part)
    first = place_of(parts[0])
    assert [place_of(pdu) for pdu in parts] == [replace(first, part=part) for part in range(1, first.parts + 1)]
    assert text_of(parts) == said.text
    long = language != "en"
    assert len(door.got) == (1 if not long or not parted else first.parts)
    assert (len(door.got) > 1) == (long and parted)
    assert (door.got[0].tlv(Tag.message_payload) is not None) == (long and not parted)
    assert {(pdu.source_addr, pdu.destination_addr, pdu.registered_delivery) for pdu in door.got} == {
        ("5000", NUMBER, 1)
    }
    assert (said.message_id, said.acknowledged >= said.submitted > 0) == (f"m{len(door.got)}", True)


async def test_not_now_is_tried_again_and_never_is_not(door: Door) -> None:
    esme = charging()
    await esme.connect("127.0.0.1", door.server.port)
    door.answers = [Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL, Status.ESME_ROK, Status.ESME_RINVDSTADR]
    first, second = notification("en"), notification("en")
    async with asyncio.timeout(60):
        await esme.submit(first)
        await esme.submit(second)
    await esme.close()
    assert (first.attempts >= 3, first.refused, first.acknowledged > 0) == (True, "", True)
    assert (second.refused, second.acknowledged) == ("ESME_RINVDSTADR", 0.0)


async def test_a_receipt_is_kept_by_its_id(door: Door) -> None:
    esme = charging()
    await esme.connect("127.0.0.1", door.server.port)
    async with asyncio.timeout(60):
        await esme.submit(notification("en"))
        session = door.server.receiver("ocs")
        assert session is not None
        for state in (MessageState.DELIVERED, MessageState.EXPIRED):
            pdu = receipt_for(door.got[0], "m1", state, submitted="2611220000", done="2611220001")
            assert (await session.request(pdu)).ok
    await esme.close()
    assert dict(esme.receipts) == {"m1": ["delivered", "expired"]}


async def test_the_other_service_hears_replies_and_no_receipts(door: Door) -> None:
    heard: list[Relayed] = []
    esme = InfoEsme(Account("info", "secret"), heard.append)
    await esme.connect("127.0.0.1", door.server.port)
    async with asyncio.timeout(60):
        await esme.bound()
        await until(lambda: door.server.receiver("info") is not None)
        session = door.server.receiver("info")
        assert session is not None
        await session.request(DeliverSm(source_addr="+" + NUMBER, destination_addr="5000", short_message=b"BAL"))
        await session.request(
            receipt_for(SubmitSm(), "m1", MessageState.DELIVERED, submitted="2611220000", done="2611220001")
        )
    await esme.close()
    assert heard == esme.relayed == [Relayed(NUMBER, "5000", "BAL")]


async def test_before_it_was_told_of_kairos_it_is_not_bound() -> None:
    esme = charging()
    assert not esme.is_bound
    with pytest.raises(NotBound, match="told of no kairos"):
        await esme.bound()
