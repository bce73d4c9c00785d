"""The SMSC against a plain client of kairos.smpp."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from kairos.simulate.operator import until
from kairos.simulate.serials import serials
from kairos.simulate.smsc import Arrival, Smsc
from kairos.smpp import (
    BindTransceiver,
    Client,
    DataSm,
    DeliverSm,
    Pdu,
    QuerySm,
    Session,
    Status,
    SubmitSm,
    parse_receipt,
    split,
    text_of,
    tlvs,
)

NUMBER = "12025550100"


class Peer:
    """A client that keeps what it hears, and answers as told."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.heard: list[DeliverSm] = []
        self.answers: list[int] = []  # statuses for the next deliver_sm; then success
        self.smsc = Smsc(
            self.arrivals.append,
            clock=lambda: 1_800_000_000_000,
            timer=time.perf_counter,
            ids=serials(1_800_000_000_000),
            password="secret",
            retry_every=0.02,
        )

    async def start(self) -> None:
        await self.smsc.start()
        bind = BindTransceiver(system_id="kairos", password="secret")
        self.client = Client("127.0.0.1", self.smsc.port, bind, self.handle)
        await self.client.start()
        async with asyncio.timeout(60):
            await self.client.bound()

    async def handle(self, session: Session, pdu: Pdu) -> Pdu | None:
        assert isinstance(pdu, DeliverSm)
        status = self.answers.pop(0) if self.answers else 0
        if status == 0:
            self.heard.append(pdu)
        return pdu.response(status)

    async def submit(self, text: str, reference: int = 1, parts: slice = slice(None)) -> list[str]:
        ids = []
        for part in split(text, reference)[parts]:
            answer = await self.client.request(
                SubmitSm(
                    source_addr="5000",
                    destination_addr="+" + NUMBER,
                    esm_class=part.esm_class,
                    data_coding=part.data_coding,
                    short_message=part.short_message,
                    registered_delivery=1,
                )
            )
            ids.append(getattr(answer, "message_id", ""))
        return ids


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    one = Peer()
    await one.start()
    yield one
    await one.smsc.close()
    await one.client.close()


@pytest.mark.parametrize("text", ["Hello", "€" * 60, "é" * 300, "مرحبا " * 40, "😀" * 90])
async def test_a_text_of_any_length_arrives_whole_and_each_part_has_its_receipt(peer: Peer, text: str) -> None:
    ids = await peer.submit(text)
    async with asyncio.timeout(60):
        await until(lambda: len(peer.heard) == len(ids) and bool(peer.arrivals) and not peer.smsc.under_way)
    assert [(one.destination, one.source, one.text, one.ids) for one in peer.arrivals] == [
        (NUMBER, "5000", text, tuple(ids))
    ]
    receipts = [parse_receipt(pdu) for pdu in peer.heard]
    assert sorted(one.message_id for one in receipts if one) == sorted(ids)
    assert peer.smsc.receipts_sent == len(ids)
    assert set(peer.smsc.accepted) == set(ids)


async def test_a_part_alone_is_not_shown_and_a_message_that_comes_again_is_shown_again(peer: Peer) -> None:
    text = "x" * 200
    await peer.submit(text, parts=slice(1, 2))
    await asyncio.sleep(0.05)
    assert peer.arrivals == []
    await peer.submit(text, parts=slice(0, 1))
    await peer.submit(text)
    async with asyncio.timeout(60):
        await until(lambda: len(peer.arrivals) == 2)
    assert [one.text for one in peer.arrivals] == [text, text]


async def test_a_payload_and_a_data_sm_are_messages_too(peer: Peer) -> None:
    payload = tlvs(message_payload=b"from the payload")
    await peer.client.request(SubmitSm(source_addr="5000", destination_addr=NUMBER, tlvs=payload))
    await peer.client.request(DataSm(source_addr="5000", destination_addr=NUMBER, tlvs=payload))
    async with asyncio.timeout(60):
        await until(lambda: len(peer.arrivals) == 2)
    assert {one.text for one in peer.arrivals} == {"from the payload"}
    assert peer.heard == []


async def test_what_it_does_not_do_it_says(peer: Peer) -> None:
    answer = await peer.client.request(QuerySm(message_id="1"))
    assert answer.status == Status.ESME_RINVCMDID


async def test_a_reply_is_sent_until_it_is_taken(peer: Peer) -> None:
    peer.answers = [Status.ESME_RX_T_APPN, Status.ESME_RSYSERR]
    sent = peer.smsc.send(NUMBER, "نعم 1")
    async with asyncio.timeout(60):
        await until(lambda: sent.acknowledged > 0)
    assert (sent.attempts, sent.refused, peer.smsc.under_way) == (3, "", 0)
    (pdu,) = peer.heard
    assert (pdu.source_addr, pdu.destination_addr, text_of([pdu])) == (NUMBER, "5000", "نعم 1")


async def test_a_reply_that_is_refused_for_good_is_not_repeated(peer: Peer) -> None:
    peer.answers = [Status.ESME_RX_P_APPN]
    sent = peer.smsc.send(NUMBER, "1")
    async with asyncio.timeout(60):
        await until(lambda: sent.acknowledged > 0)
    assert (sent.attempts, sent.refused) == (1, "ESME_RX_P_APPN")


async def test_a_reply_waits_for_a_bind_and_the_port_is_kept(peer: Peer) -> None:
    port = peer.smsc.port
    await peer.smsc.stop()
    assert not peer.smsc.bound
    sent = peer.smsc.send(NUMBER, "1")
    await asyncio.sleep(0.1)
    assert sent.attempts == 0
    await peer.smsc.start()
    assert peer.smsc.port == port
    async with asyncio.timeout(60):
        await until(lambda: sent.acknowledged > 0)
    assert peer.smsc.bound


async def test_a_wrong_password_does_not_bind(peer: Peer) -> None:
    bind = BindTransceiver(system_id="kairos", password="guess")
    stranger = Client("127.0.0.1", peer.smsc.port, bind, peer.handle)
    await stranger.start()
    async with asyncio.timeout(60):
        await until(lambda: "refused" in stranger.last_error)
    await stranger.close()
