"""To the SMSC and back: what an answer means, texts in parts, receipts, replies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace as replace_text
from structlog.testing import capture_logs
from tests.hanging import Hanging

from kairos.adapters.smsc import carried
from kairos.domain.message import Carried, Text
from kairos.smpp import (
    BindTransmitter,
    DataSm,
    DeliverSm,
    MessageState,
    Status,
    SubmitSm,
    concatenation,
    encode_pdu,
    parse_receipt,
    tlvs,
)

SILENCE = -1


@pytest.fixture(autouse=True)
def no_long_wait_for_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.adapters.smsc.RECEIPT_WAIT", (0.01,))


LONG = "All the words of this long text. " * 12  # three parts
TEXT = Text("5000", "12025550123", "Hello")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (0, "sent"),
        (Status.ESME_RTHROTTLED, "retry"),
        (Status.ESME_RMSGQFUL, "retry"),
        (Status.ESME_RSYSERR, "retry"),
        (Status.ESME_RINVDSTADR, "failed"),
        (Status.ESME_RSUBMITFAIL, "failed"),
        (0x400, "failed"),  # a vendor's own
        (SILENCE, "unknown"),
    ],
)
async def test_what_an_answer_means(start: Any, answer: int, status: str) -> None:
    world = await start()
    world.peer.answers.append(answer)
    outcome = await world.smsc.send(TEXT)
    assert outcome.status == status
    assert outcome.peer_id == ("1" if status == "sent" else "")
    assert bool(outcome.reason) == (status != "sent")


async def test_the_log_says_once_that_nothing_is_taken_and_once_that_it_is_again(start: Any) -> None:
    world = await start()
    with capture_logs() as logs:
        for answer, seconds in (
            *((Status.ESME_RMSGQFUL, 3), (0, 3)) * 3,  # one subscriber's queue is full, others are served
            *((Status.ESME_RSYSERR, 3), (Status.ESME_RINVDSTADR, 3), (Status.ESME_RSYSERR, 3)) * 2,
            *((0, 3),) * 2,
        ):
            world.peer.answers.append(answer)
            await world.smsc.send(TEXT)
            world.bench.now += seconds * 1000
    said = [(one["event"], one.get("status") or one.get("refused_for_s")) for one in logs if "SMSC" in one["event"]]
    assert said == [("the SMSC refuses all that we submit", "ESME_RSYSERR"), ("the SMSC takes messages again", 18)]


async def test_what_was_surely_not_sent_may_be_sent_again(start: Any) -> None:
    world = await start()
    await world.smsc.client.close()
    outcome = await world.smsc.send(TEXT)
    assert outcome.status == "retry"
    assert "not bound" in outcome.reason
    assert world.peer.submitted == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [("x" * 153 * 256, "255"), ("five words", "destination_addr")],
    ids=["too long", "a destination that no PDU holds"],
)
async def test_what_can_never_be_sent_fails(start: Any, text: str, reason: str) -> None:
    world = await start()
    destination = "1" * 30 if reason == "destination_addr" else "12025550123"
    outcome = await world.smsc.send(Text("5000", destination, text))
    assert outcome.status == "failed"
    assert reason in outcome.reason
    assert world.peer.submitted == []


async def test_a_long_text_goes_out_in_parts_and_its_last_asks_for_the_receipt(start: Any) -> None:
    world = await start()
    outcome = await world.smsc.send(Text("5000", "12025550123", LONG, marketing=True))
    assert (outcome.status, outcome.peer_id) == ("sent", "3")
    found = [concatenation(pdu) for pdu in world.peer.submitted]
    assert [(part.part, part.parts) for part in found if part] == [(1, 3), (2, 3), (3, 3)]
    assert len({part.reference for part in found if part}) == 1
    assert [pdu.registered_delivery for pdu in world.peer.submitted] == [0, 0, 1]


@pytest.mark.parametrize(
    ("answers", "status", "submitted"),
    [
        ([Status.ESME_RTHROTTLED], "retry", 1),  # nothing has gone: the whole may be sent again
        ([0, Status.ESME_RTHROTTLED], "unknown", 2),  # a part has gone
        ([0, 0, Status.ESME_RMSGQFUL], "unknown", 3),
        ([0, Status.ESME_RSUBMITFAIL], "failed", 2),
        ([0, SILENCE], "unknown", 2),
    ],
)
async def test_a_long_text_that_is_refused_in_the_middle(
    start: Any, answers: list[int], status: str, submitted: int
) -> None:
    world = await start()
    world.peer.answers.extend(answers)
    assert (await world.smsc.send(Text("5000", "12025550123", LONG))).status == status
    assert len(world.peer.submitted) == submitted


def test_two_notifications_that_became_long_are_told_apart_and_each_is_the_same_on_every_try() -> None:
    pdu = encode_pdu(SubmitSm(source_addr="5000", destination_addr="12025550123", short_message=b"plain"), 0)

    def reference(message_id: str) -> int:
        text = Text("5000", "12025550123", LONG, plain="plain", carried=(Carried(message_id, pdu),))
        said = concatenation(carried(msgspec.structs.replace(text, message_id=message_id))[0])
        assert said is not None
        return said.reference

    ids = [blake2b(bytes([number]), digest_size=8).hexdigest() for number in range(100)]
    found = [reference(one) for one in ids]
    assert len(set(found)) > 60  # of 256
    assert found == [reference(one) for one in ids]


async def test_what_waited_for_the_smsc_leaves_room_for_who_waits_for_an_answer(start: Any, monkeypatch: Any) -> None:
    world = await start()
    pdu = SubmitSm(source_addr="5000", destination_addr="12025550123", short_message=b"hello")
    text = Text("5000", "12025550123", "hello", carried=(Carried("m1", encode_pdu(pdu, 0)),))
    asked: list[Any] = []
    answer = asyncio.Event()

    async def request(asking: Any, *, urgent: bool) -> Any:
        asked.append(asking)
        await answer.wait()
        return asking.response(message_id=str(len(asked)))

    monkeypatch.setattr(world.smsc.client, "request", request)
    backlog = [asyncio.create_task(world.smsc.send(text)) for _ in range(1000)]
    forwarded = asyncio.create_task(world.smsc.forward(replace(pdu, service_type="live"), "ocs"))
    await world.until(lambda: forwarded and any(one.service_type == "live" for one in asked))
    assert len(asked) == 2 * world.smsc.client.options.window + 1
    answer.set()
    assert {(await one).status for one in backlog} == {"sent"}
    assert (await forwarded).ok


@pytest.mark.parametrize(
    ("source", "kind"), [("5000", (3, 1)), ("Kairos", (5, 0)), ("12025550100", (1, 1)), ("K4", (5, 0))]
)
async def test_senders_say_what_they_are(start: Any, source: str, kind: tuple[int, int]) -> None:
    world = await start()
    await world.smsc.send(Text(source, "12025550123", "Hello"))
    (pdu,) = world.peer.submitted
    assert (pdu.source_addr_ton, pdu.source_addr_npi) == kind
    assert (pdu.dest_addr_ton, pdu.dest_addr_npi) == (1, 1)


# -- receipts ----------------------------------------------------------------------------------------------------------


async def test_a_receipt_goes_back_to_the_account_under_our_id(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    ours = (await esme.submit()).message_id
    await world.until(lambda: world.peer.submitted)
    await world.until(lambda: world.rows("notification")[0].peer_id == "1")
    assert await world.peer.receipt("1") == 0
    await world.until(lambda: esme.received)
    receipt = parse_receipt(esme.received[0])
    assert receipt is not None
    assert (receipt.message_id, receipt.state, receipt.error) == (ours, MessageState.DELIVERED, "000")
    assert (esme.received[0].source_addr, esme.received[0].destination_addr) == ("12025550123", "5000")
    assert world.rows("notification")[0].status == "delivered"


@pytest.mark.parametrize(
    ("state", "error", "status"),
    [
        (MessageState.ENROUTE, "000", "sent"),
        (MessageState.EXPIRED, "011", "failed"),
        (MessageState.UNDELIVERABLE, "027", "failed"),
        (MessageState.REJECTED, "1/2", "failed"),
    ],
)
async def test_a_receipt_of_another_state(start: Any, bind: Any, state: MessageState, error: str, status: str) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    await esme.submit()
    await world.until(lambda: world.rows("notification")[0].peer_id == "1")
    assert await world.peer.receipt("1", state, error) == 0
    await world.until(lambda: esme.received)
    receipt = parse_receipt(esme.received[0])
    assert receipt is not None
    assert (receipt.state, receipt.error) == (state, error)
    assert world.rows("notification")[0].status == status
    if status == "sent":  # and the final one comes too
        assert await world.peer.receipt("1") == 0
        await world.until(lambda: len(esme.received) == 2)
        assert world.rows("notification")[0].status == "delivered"


async def test_who_did_not_ask_hears_nothing(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    await esme.submit(registered_delivery=0)
    await world.until(lambda: world.rows("notification")[0].peer_id == "1")
    assert await world.peer.receipt("1") == 0
    await world.until(lambda: world.rows("notification")[0].status == "delivered")
    assert world.rows("receipt") == []


async def test_an_id_that_the_smsc_writes_in_two_ways(start: Any, bind: Any) -> None:
    world = await start()
    world.peer.first_id = 255
    esme = await bind(world, "ocs")
    await esme.submit()
    await world.until(lambda: world.rows("notification")[0].peer_id == "255")
    assert await world.peer.receipt("FF") == 0  # hexadecimal in receipts
    await world.until(lambda: world.rows("notification")[0].status == "delivered")


async def test_an_id_as_written_goes_before_its_other_ways(start: Any, bind: Any) -> None:
    world = await start()
    world.peer.first_id = 10
    esme = await bind(world, "ocs")
    await esme.submit("Your parcel is here.")  # forwarded under 10, which is 16 in hexadecimal
    world.peer.first_id = 15
    ours = (await esme.submit()).message_id
    await world.until(lambda: world.rows("notification")[0].peer_id == "16")
    assert await world.peer.receipt("16") == 0
    await world.until(lambda: world.rows("notification")[0].status == "delivered")
    await world.until(lambda: esme.received)
    receipt = parse_receipt(esme.received[0])
    assert receipt is not None
    assert receipt.message_id == ours


async def test_a_receipt_that_overtakes_the_commit_of_its_message(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    send = world.smsc.send

    async def send_and_hear_at_once(text: Text) -> Any:
        outcome = await send(text)
        world.early = [await world.peer.receipt(outcome.peer_id)]  # before the dispatcher knows the id
        return outcome

    world.dispatcher.channels["notification"].send = send_and_hear_at_once
    await esme.submit()
    await world.until(lambda: hasattr(world, "early"))
    assert world.early == [Status.ESME_RX_T_APPN]  # "come back", and it does
    await world.until(lambda: world.rows("notification")[0].peer_id == "1")
    assert await world.peer.receipt("1") == 0
    await world.until(lambda: esme.received)


async def test_an_id_that_the_smsc_gives_again_is_the_latest_messages(start: Any, bind: Any) -> None:
    world = await start()
    info, esme = await bind(world, "info"), await bind(world, "ocs")
    await info.submit("hello")
    world.peer.submitted.clear()  # it was restarted, and counts anew
    await esme.submit()
    await world.until(lambda: world.rows("notification")[0].peer_id == "1")
    assert await world.peer.receipt("1") == 0
    await world.until(lambda: esme.received)
    assert info.received == []


@pytest.mark.parametrize("read", ["outgoing_by_peer_id", "answered_by_peer_id"])
async def test_while_the_message_of_a_receipt_cannot_be_read_notifications_are_taken(
    start: Any, bind: Any, read: str
) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    hanging = Hanging(world.store, read)
    receipt = asyncio.create_task(world.peer.receipt("4711"))
    await hanging.reached()
    assert (await esme.submit()).status == 0
    await world.until(lambda: world.peer.submitted)
    hanging.end()
    assert await receipt == 0


async def test_a_receipt_of_a_message_that_nobody_knows_is_taken(start: Any) -> None:
    world = await start()
    assert await world.peer.receipt("4711") == 0
    assert world.rows("receipt") == []


async def test_a_receipt_in_a_data_sm(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    await esme.submit()
    await world.until(lambda: world.rows("notification")[0].peer_id == "1")
    receipt = DataSm(
        source_addr="12025550123",
        destination_addr="5000",
        esm_class=4,
        tlvs=tlvs(receipted_message_id="1", message_state=MessageState.DELIVERED),
    )
    assert await world.peer.deliver(receipt) == 0
    await world.until(lambda: world.rows("notification")[0].status == "delivered")


# -- replies -----------------------------------------------------------------------------------------------------------


async def test_a_reply_is_taken_after_its_commit_and_answered(start: Any) -> None:
    world = await start()
    assert await world.peer.reply("help") == [0]
    await world.until(lambda: world.peer.texts)
    assert world.peer.texts == ["Reply with the number of an offer, NO, or STOP."]
    assert world.peer.submitted[0].destination_addr == "12025550123"
    assert world.peer.submitted[0].source_addr == "5000"


async def test_a_reply_in_parts_is_one_reply(start: Any) -> None:
    world = await start()
    words = "HELP " + "please " * 30
    assert await world.peer.reply(words) == [0, 0]
    await world.until(lambda: world.peer.texts)
    assert len(world.peer.texts) == 1


async def test_a_reply_that_finds_no_room_is_asked_for_again(start: Any) -> None:
    world = await start()
    world.loop.queue = 0
    assert await world.peer.reply("help") == [Status.ESME_RX_T_APPN]
    world.loop.queue = 10
    assert await world.peer.reply("help") == [0]
    await world.until(lambda: world.peer.texts)
    assert len(world.peer.texts) == 1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
async def test_the_last_part_of_a_reply_that_found_no_room_completes_it_when_it_comes_again(
    start: Any, order: list[int]
) -> None:
    world = await start()
    parts = world.peer.parts("HELP " + "please " * 50)
    *early, last = [parts[place] for place in order]
    assert [await world.peer.deliver(part) for part in early] == [0, 0]
    world.loop.queue = 0
    for _ in range(3):
        assert await world.peer.deliver(last) == Status.ESME_RX_T_APPN
    world.loop.queue = 10
    assert await world.peer.deliver(last) == 0
    await world.until(lambda: world.peer.texts)
    assert len(world.peer.texts) == 1


async def test_a_reply_whose_commit_fails_is_asked_for_again(start: Any) -> None:
    world = await start()
    world.store.failing = True
    assert await world.peer.reply("help") == [Status.ESME_RX_T_APPN]
    world.store.failing = False
    assert await world.peer.reply("help") == [0]
    await world.until(lambda: world.peer.texts)


async def test_a_reply_of_no_number_is_refused_for_good(start: Any) -> None:
    world = await start()
    (part,) = world.peer.parts("help", source="Shop")
    assert await world.peer.deliver(part) == Status.ESME_RINVSRCADR


@pytest.mark.parametrize("coding", [0x04, 0x02, 0xF5, 0x0B])
async def test_a_reply_that_is_no_text_is_taken_and_answered(start: Any, coding: int) -> None:
    world = await start()
    strange = DeliverSm(
        source_addr="12025550123", destination_addr="5000", data_coding=coding, short_message=b"\xff\x00\xfe\x01"
    )
    assert await world.peer.deliver(strange) == 0
    await world.until(lambda: world.peer.texts)
    assert len(world.peer.texts) == 1


# -- receipts in the SMSC's own words ----------------------------------------------------------------------------------

VERBOSE = DeliverSm(
    service_type="own",
    source_addr_ton=1,
    source_addr_npi=1,
    source_addr="12025550123",
    destination_addr="5000",
    esm_class=0x04,
    protocol_id=9,
    data_coding=3,
    short_message=b"id:1 sub:001 dlvrd:001 submit date:2603041200 done date:2603041201 stat:DELIVRD err:0A7 "
    b"text:id:1 \xe9",
    tlvs=((0x1500, b"vendor"), *tlvs(receipted_message_id="1", network_error_code=b"\x03\x00\x07", message_state=2)),
)
ENROUTE = replace(VERBOSE, esm_class=0x20, short_message=b"id:1 stat:ENROUTE", tlvs=())


@pytest.mark.parametrize("forwarded", [True, False])
@pytest.mark.parametrize("said", [VERBOSE, ENROUTE], ids=["final", "intermediate"])
async def test_a_receipt_is_passed_on_word_for_word(start: Any, bind: Any, forwarded: bool, said: DeliverSm) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    known = (await esme.submit("hello" if forwarded else "Your call cost T$0.35. Balance T$12.40. Ref 1")).message_id
    await world.until(lambda: forwarded or world.rows("notification")[0].peer_id == "1")
    assert await world.peer.deliver(said) == 0
    await world.until(lambda: esme.received)
    (passed,) = esme.received
    named = tuple((tag, known.encode() + b"\0" if tag == 0x001E else value) for tag, value in said.tlvs)
    text = said.short_message.replace(b"id:1 s", b"id:%b s" % known.encode(), 1)
    assert passed == replace(said, sequence=passed.sequence, tlvs=named, short_message=text)
    if not forwarded:
        assert world.rows("notification")[0].status == ("delivered" if said is VERBOSE else "sent")


async def test_a_receipt_of_a_forwarded_text_finds_its_account_after_a_restart(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "info")
    await esme.submit("hello")
    world.smsc._forwarded.clear()
    assert await world.peer.receipt("1") == 0
    await world.until(lambda: esme.received)


async def test_while_the_store_is_down_receipts_of_forwarded_texts_pass_all_the_same(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "info")
    world.store.failing = True
    assert (await esme.submit("hello")).message_id == "1"
    assert world.smsc.counts["forwarded_unsaved"] == 1
    assert await world.peer.receipt("1") == 0
    assert parse_receipt(esme.received[0]).message_id == "1"  # type: ignore[union-attr]
    await esme.client.close()
    assert await world.peer.receipt("1") == Status.ESME_RX_T_APPN  # nobody has it: it comes again


async def test_a_store_that_hangs_delays_the_answer_to_a_forwarded_text_to_the_limit(start: Any, bind: Any) -> None:
    world = await start(decide_within=0.05)
    esme = await bind(world, "info")
    world.store.gate.clear()
    assert (await esme.submit("hello")).message_id == "1"
    assert world.store.latest_answered(1) == []
    world.store.gate.set()
    await world.until(lambda: world.store.latest_answered(1))


async def test_a_receipt_waits_for_its_account_and_not_for_ever(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "info", BindTransmitter)
    await esme.submit("hello")
    assert await world.peer.receipt("1") == 0
    await world.until(lambda: world.rows("receipt"))
    assert world.rows("receipt")[0].status == "pending"
    world.bench.now += world.dispatcher.owed_for + 1
    await world.until(lambda: world.rows("receipt")[0].status == "failed")


@pytest.mark.parametrize("kind", [0x08, 0x10])
async def test_a_handsets_acknowledgement_is_no_reply(start: Any, kind: int) -> None:
    world = await start()
    (part,) = world.peer.parts("seen")
    assert await world.peer.deliver(replace(part, esm_class=kind)) == 0
    assert world.smsc.counts["acknowledgements_dropped"] == 1
    assert not any(name.startswith("replies.") for name in world.loop.engine.statistics.counts)


REGISTERED = Text("5000", "12025550123", "Hello", template_id="1107-a", entity_id="1101-b")


async def test_the_regulators_ids_go_out_in_the_tlvs_that_settings_name(start: Any) -> None:
    world = await start()
    world.smsc.entity_tlv, world.smsc.template_tlv = 0x1400, 0x1401
    for text in (LONG, "Hello"):
        await world.smsc.send(replace_text(REGISTERED, text=text))
    assert [(pdu.tlv(0x1400), pdu.tlv(0x1401)) for pdu in world.peer.submitted] == [(b"1101-b", b"1107-a")] * 4
    await world.smsc.send(TEXT)
    world.smsc.entity_tlv, world.smsc.template_tlv = 0, 0x1501
    await world.smsc.send(REGISTERED)
    assert [pdu.tlvs for pdu in world.peer.submitted[-2:]] == [(), ((0x1501, b"1107-a"),)]


async def test_a_line_has_its_own_template_and_what_goes_without_one_goes_as_it_came(start: Any) -> None:
    world = await start()
    world.smsc.entity_tlv, world.smsc.template_tlv = 0x1400, 0x1401
    came = SubmitSm(short_message=b"Ref 1", tlvs=((0x1401, b"the account's"), (0x1400, b"its entity"), (0x1500, b"x")))
    kept = (Carried("m1", encode_pdu(came, 0)),)
    rides = Text("ocs", "12025550123", "Ref 1\nMore?", plain="Ref 1", carried=kept, template_id="1107-a")
    await world.smsc.send(rides)
    await world.smsc.send(replace_text(rides, text="Ref 1", plain=""))
    with_line, without = world.peer.submitted
    assert dict(with_line.tlvs) == {0x1401: b"1107-a", 0x1400: b"its entity", 0x1500: b"x"}
    assert without.tlvs == came.tlvs
