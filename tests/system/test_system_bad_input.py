"""Bad input at the doors of the real server: a clear answer, nothing lost, and everybody else goes on."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

from kairos.simulate import Operator
from kairos.smpp import (
    BindTransceiver,
    BindTransmitter,
    Client,
    DeliverSm,
    Pdu,
    Session,
    Status,
    SubmitSm,
    decode_pdu,
    encode_pdu,
    tlvs,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "127.0.0.1"
PATIENCE = 90.0
WITNESS = "12025550100"
BIND = encode_pdu(BindTransceiver(system_id="info", password="info"), 1)
SUBMIT = encode_pdu(SubmitSm(source_addr="5000", destination_addr="12025550199", short_message=b"hello"), 2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(launch_in: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    async with launch_in(tmp_path_factory.mktemp("bad")) as system:
        await system.known(WITNESS, main=100_000)
        yield system


@pytest_asyncio.fixture(loop_scope="module")
async def all_goes_on(system: Any) -> AsyncIterator[None]:
    """Whatever a test does: nobody else's bind ends, and notifications go their way."""
    operator = system.operator
    before = [esme._client.session for esme in (operator.charging, operator.info)]
    yield
    await system.call(WITNESS)
    assert [esme._client.session for esme in (operator.charging, operator.info)] == before
    assert operator.smsc.bound
    assert "Traceback" not in system.server.log


async def answer(reader: asyncio.StreamReader) -> Pdu:
    async with asyncio.timeout(PATIENCE):
        length = await reader.readexactly(4)
        return decode_pdu(length + await reader.readexactly(int.from_bytes(length) - 4))


async def ends(reader: asyncio.StreamReader) -> None:
    """The server closes the connection."""
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionError):
            while await reader.read(4096):
                pass


# --- SMPP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: kairos\r\n\r\n", id="another protocol"),
        pytest.param(bytes(64), id="zeros"),
        pytest.param(b"\xff" * 64, id="a length of 4 GB"),
        pytest.param((15).to_bytes(4) + BIND[4:], id="a length below the header's"),
        pytest.param((10_000_000).to_bytes(4) + BIND[4:], id="oversized"),
    ],
)
@pytest.mark.usefixtures("all_goes_on")
async def test_who_speaks_no_smpp_is_cut_off(system: Any, octets: bytes) -> None:
    async with system.server.connection("smpp_port") as (reader, writer):
        writer.write(octets)
        await ends(reader)


@pytest.mark.usefixtures("all_goes_on")
async def test_a_pdu_that_never_comes_to_its_end_harms_nobody(system: Any) -> None:
    for octets in (b"", BIND[:3], BIND[:-1], BIND + SUBMIT[:-1], BIND + SUBMIT[:16]):
        async with system.server.connection("smpp_port") as (_, writer):
            writer.write(octets)
            await writer.drain()
    assert system.operator.strangers == []


@pytest.mark.usefixtures("all_goes_on")
async def test_a_submission_before_the_bind_is_refused(system: Any) -> None:
    async with system.server.connection("smpp_port") as (reader, writer):
        writer.write(SUBMIT)
        refused = await answer(reader)
        assert refused.status == Status.ESME_RINVBNDSTS


@pytest.mark.parametrize(
    ("name", "password"), [("ocs", "wrong"), ("ocs", ""), ("nobody", "ocs"), ("", ""), ("kairos", "kairos")]
)
@pytest.mark.usefixtures("all_goes_on")
async def test_a_wrong_name_or_password_is_refused(system: Any, name: str, password: str) -> None:
    async with system.server.connection("smpp_port") as (reader, writer):
        writer.write(encode_pdu(BindTransmitter(system_id=name, password=password), 1))
        assert (await answer(reader)).status == Status.ESME_RBINDFAIL
        writer.write(SUBMIT)
        await ends(reader)


@pytest.mark.usefixtures("all_goes_on")
async def test_bad_pdus_on_a_bound_session_are_answered_and_it_goes_on(system: Any) -> None:
    bad = {
        "unknown command": (16).to_bytes(4) + (0x00000099).to_bytes(4) + bytes(4) + (3).to_bytes(4),
        "no end of a field": (26).to_bytes(4) + SUBMIT[4:16] + b"x" * 10,
        "a text shorter than it says": len(SUBMIT).to_bytes(4) + SUBMIT[4:-6] + b"\xfa" + SUBMIT[-5:],
    }
    async with system.server.connection("smpp_port") as (reader, writer):
        writer.write(BIND)
        assert (await answer(reader)).ok
        for what, octets in bad.items():
            writer.write(octets)
            assert not (await answer(reader)).ok, what
        writer.write(encode_pdu(SubmitSm(source_addr="5000", destination_addr="12025550198", short_message=b"ok"), 9))
        assert (await answer(reader)).ok
    arrived = system.operator.strangers
    await system.until(lambda: "ok" in [one.text for one in arrived], "the good one")


@pytest.mark.usefixtures("all_goes_on")
async def test_random_damage_to_pdus_harms_nobody(system: Any) -> None:
    chance = random.Random(1)
    for _ in range(100):
        octets = bytearray(BIND + SUBMIT)
        for _ in range(chance.randint(1, 4)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        async with system.server.connection("smpp_port") as (_, writer):
            writer.write(octets[: chance.randint(1, len(octets))])


@pytest.mark.parametrize(
    "pdu",
    [
        pytest.param(
            SubmitSm(destination_addr="12025550190", data_coding=4, short_message=b"\x00\xff\x80"), id="binary"
        ),
        pytest.param(
            SubmitSm(destination_addr="12025550190", data_coding=8, short_message=b"\x00A\x00"), id="half UCS-2"
        ),
        pytest.param(
            SubmitSm(destination_addr="12025550190", esm_class=0x40, short_message=b"\x30\x00\x03x"), id="broken header"
        ),
        pytest.param(
            SubmitSm(destination_addr="12025550190", data_coding=0xF5, short_message=b"\x06\x05"), id="class 1"
        ),
        pytest.param(SubmitSm(destination_addr="12025550190"), id="nothing"),
        pytest.param(
            SubmitSm(destination_addr="12025550190", tlvs=tlvs(message_payload=b"x" * 30_000)), id="a very long payload"
        ),
        pytest.param(
            SubmitSm(destination_addr="kairos", short_message=b"Your call cost T$0.30. Balance T$1.00. Ref x1"),
            id="a notification to no number",
        ),
        pytest.param(
            SubmitSm(destination_addr="12025550190", short_message=b"Your call cost T$0.3000. Balance T$1.00. Ref x2"),
            id="a notification with no amount of this currency",
        ),
        pytest.param(
            SubmitSm(destination_addr="12025550190", short_message=b"Your call cost T$" + b"9" * 90),
            id="a great amount",
        ),
    ],
)
@pytest.mark.usefixtures("all_goes_on")
async def test_what_cannot_be_read_goes_on_as_it_came(system: Any, pdu: SubmitSm) -> None:
    async def ignore(_: Session, received: Pdu) -> Pdu:
        return received.response()

    client = Client(HOST, system.server.ports["smpp_port"], BindTransmitter(system_id="ocs", password="ocs"), ignore)
    await client.start()
    try:
        async with asyncio.timeout(PATIENCE):
            await client.bound()
            response = await client.request(pdu)
    finally:
        await client.close()
    assert response.ok, hex(response.status)
    taken = system.operator.smsc.accepted[response.message_id].pdu  # type: ignore[attr-defined]
    assert (taken.short_message, taken.data_coding, taken.esm_class) == (
        pdu.short_message,
        pdu.data_coding,
        pdu.esm_class,
    )
    assert (taken.destination_addr, taken.tlvs) == (pdu.destination_addr, pdu.tlvs)


@pytest.mark.usefixtures("all_goes_on")
async def test_bad_replies_are_answered_and_the_next_is_understood(system: Any) -> None:
    """From the SMSC's side: a sender that is no number, a text in no alphabet, a reply to a code that nobody has."""
    operator: Operator = system.operator
    server = operator.smsc._server
    assert server is not None
    session = server.receiver("kairos")
    assert session is not None
    bad = [
        DeliverSm(source_addr="Shop", destination_addr="5000", short_message=b"1"),
        DeliverSm(source_addr="", destination_addr="5000", short_message=b"1"),
        DeliverSm(source_addr="12025550191", destination_addr="5000", data_coding=8, short_message=b"\xd8\x00\x00"),
        DeliverSm(source_addr="12025550191", destination_addr="", short_message=b"\x1b\x1b"),
        DeliverSm(
            source_addr="12025550191", destination_addr="5000", esm_class=0x04, short_message=b"id:nobody stat:DELIVRD"
        ),
        DeliverSm(
            source_addr="12025550191",
            destination_addr="5000",
            esm_class=0x40,
            short_message=b"\x05\x00\x03\x01\x02\x01x",
        ),
        DeliverSm(source_addr="12025550191", destination_addr="5000", tlvs=tlvs(message_payload=b"1" * 20_000)),
    ]
    async with asyncio.timeout(PATIENCE):
        statuses = [(await session.request(pdu, PATIENCE)).status for pdu in bad]
    assert statuses[:2] == [Status.ESME_RINVSRCADR] * 2
    assert set(statuses[2:]) == {0}
    assert operator.smsc.bound


# --- HTTP -------------------------------------------------------------------------------------------------------------

GOOD = {
    "specversion": "1.0",
    "id": "a",
    "source": "//test.example",
    "type": "recharge",
    "subject": "+12025550192",
    "time": "2026-11-22T10:00:00Z",
    "data": {"amount": "5.00"},
}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/cloudevents+json", 400),
        (b"", "application/cloudevents-batch+json", 400),
        (b"\xff\xfe", "application/cloudevents-batch+json", 400),
        (b"[" * 50_000, "application/cloudevents-batch+json", 400),
        (b"[1, null]", "application/cloudevents-batch+json", 400),
        (b"amount=5", "application/x-www-form-urlencoded", 415),
        (b" " * 20_000_000, "application/cloudevents-batch+json", 413),
    ],
)
@pytest.mark.usefixtures("all_goes_on")
async def test_a_body_that_cannot_be_read_is_a_problem(system: Any, body: bytes, kind: str, status: int) -> None:
    refused = await system.post(body, kind)
    assert refused.status_code == status, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ""}, "id"),
        ({"type": "rechrage"}, "type"),
        ({"subject": "somebody"}, "subject"),
        ({"time": "yesterday"}, "time"),
        ({"data": {"amount": "five"}}, "amount"),
        ({"data": {"amount": "5.001"}}, "amount"),
        ({"data": {"amount": {"value": 5}}}, "amount"),
        ({"data": "5.00"}, "data"),
        ({"data": {"ammount": "5.00"}}, "ammount"),
    ],
)
@pytest.mark.usefixtures("all_goes_on")
async def test_a_bad_event_in_a_batch_is_named_and_the_others_are_applied(system: Any, change: Any, field: str) -> None:
    name = f"{field}{json.dumps(change)}"
    good = [GOOD | {"id": f"{name}/{place}"} for place in ("before", "after")]
    refused = await system.post(json.dumps([good[0], GOOD | {"id": name} | change, good[1]]).encode())
    assert refused.status_code == 200, refused.text
    results = refused.json()["results"]
    assert [result["status"] for result in results] == ["applied", "rejected", "applied"]
    assert [result["index"] for result in results] == [0, 1, 2]
    assert results[1]["error"]["field"].endswith(field)
    again = await system.post(json.dumps(good).encode())
    assert [result["status"] for result in again.json()["results"]] == ["duplicate", "duplicate"]


@pytest.mark.usefixtures("all_goes_on")
async def test_half_a_request_harms_nobody(system: Any) -> None:
    for octets in (
        b"POST /v1/events HTTP/1.1\r\nContent-Le",
        b"POST /v1/events HTTP/1.1\r\nContent-Length: 90\r\n\r\n[",
    ):
        _, writer = await asyncio.open_connection(HOST, system.server.ports["http_port"])
        writer.write(octets)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
