"""What accounts submit, and what they get: notifications in time or plain, everything else as it came."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import kairos.adapters.esme_notifications
import kairos.engine.moments
import kairos.enrich
import kairos.ingest.notifications
from kairos.domain.message import Text
from kairos.engine.loop import OverloadedError
from kairos.smpp import BindReceiver, BindTransmitter, DataSm, MessageState, Status, parse_receipt, text_of

NOTIFICATION = "Your call cost T$0.35. Balance T$12.40. Ref 8f3a21"
NEARLY_EMPTY = "Your call cost T$0.35. Balance T$1.40. Ref 8f3a22"
RUNNING_LOW = "Your data session cost T$0.35. Balance T$12.40, data 118.5 MB. Ref 8f3a23"
SILENCE = -1


@pytest.fixture(autouse=True)
def no_long_wait_for_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.adapters.smsc.RECEIPT_WAIT", (0.01,))


# -- notifications -----------------------------------------------------------------------------------------------------


async def test_a_line_rides_on_the_notification_and_the_answer_comes_after_the_commit(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.store.gate.clear()
    answer = asyncio.create_task(esme.submit(NEARLY_EMPTY))
    await world.until(lambda: world.loop.engine.flying)
    assert not answer.done()
    assert world.peer.submitted == []
    world.store.gate.set()
    assert (await answer).message_id
    await world.until(lambda: world.peer.texts)
    assert world.peer.texts == [NEARLY_EMPTY + "\nRecharge T$10 and get 30 minutes."]
    assert world.esmes.counts == {"notifications": 1}


async def test_the_same_notification_again_is_answered_the_same_and_goes_out_once(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    answers = [await esme.submit() for _ in range(3)]
    assert len({answer.message_id for answer in answers}) == 1
    await world.until(lambda: world.peer.texts)
    assert len(world.rows("notification")) == 1


async def test_an_offer_follows_by_itself_where_none_may_ride(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "slow")
    assert (await esme.submit(RUNNING_LOW)).ok
    await world.until(lambda: len(world.peer.texts) == 2)
    assert world.peer.texts[0] == RUNNING_LOW
    assert world.peer.texts[1].startswith("Running low? 500 MB for 1 day for T$10 until ")


async def test_too_slow_the_notification_goes_out_plain_and_once(start: Any, bind: Any) -> None:
    world = await start(decide_within=0.05)
    esme = await bind(world, "ocs")
    world.store.gate.clear()
    answer = await esme.submit(NEARLY_EMPTY)
    assert answer.message_id == "1"  # the SMSC's own
    assert world.peer.texts == [NEARLY_EMPTY]
    world.store.gate.set()
    await world.until(lambda: world.rows("notification") and world.rows("notification")[0].status == "dropped")
    assert world.peer.texts == [NEARLY_EMPTY]
    assert world.esmes.counts["too_slow"] == 1
    assert await world.peer.receipt("1") == 0  # comes back under the id that the account knows
    await world.until(lambda: esme.received)
    receipt = parse_receipt(esme.received[0])
    assert receipt is not None
    assert receipt.message_id == "1"


@pytest.mark.parametrize("refusal", [Status.ESME_RTHROTTLED, Status.ESME_RSUBMITFAIL, SILENCE])
async def test_too_slow_and_the_smsc_refuses_the_queued_copy_stays(start: Any, bind: Any, refusal: int) -> None:
    world = await start(decide_within=0.05)
    esme = await bind(world, "ocs")
    world.store.gate.clear()
    world.peer.answers.append(refusal)
    asked = asyncio.create_task(esme.submit(NEARLY_EMPTY))
    await world.until(lambda: world.peer.submitted)
    world.store.gate.set()
    answer = await asked
    assert answer.ok
    assert len(answer.message_id) == 16  # ours: the queued one is what the account has
    await world.until(lambda: world.rows("notification")[0].status == "sent")
    assert world.peer.texts[0] == NEARLY_EMPTY
    assert world.peer.texts[1].startswith(NEARLY_EMPTY)


async def test_too_slow_refused_and_not_committed_the_account_is_told(start: Any, bind: Any) -> None:
    world = await start(decide_within=0.05)
    esme = await bind(world, "ocs")
    world.store.gate.clear()
    world.store.failing = True
    world.peer.answers.append(Status.ESME_RTHROTTLED)
    asked = asyncio.create_task(esme.submit())
    await world.until(lambda: world.peer.submitted)
    world.store.gate.set()
    assert (await asked).status == Status.ESME_RTHROTTLED


async def test_a_store_that_is_down_holds_no_notification_up(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.store.failing = True
    assert (await esme.submit(NEARLY_EMPTY)).message_id == "1"
    assert world.peer.texts == [NEARLY_EMPTY]
    assert world.esmes.counts["undecided"] == 1


async def test_a_full_queue_holds_no_notification_up(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.loop.queue = 0
    assert (await esme.submit(NEARLY_EMPTY)).message_id == "1"
    assert world.peer.texts == [NEARLY_EMPTY]


async def test_a_bug_in_deciding_holds_no_notification_up(start: Any, bind: Any, monkeypatch: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(world.loop.engine, "take", broken)
    assert (await esme.submit(NEARLY_EMPTY)).message_id == "1"
    assert world.peer.texts == [NEARLY_EMPTY]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (kairos.enrich, "fold"),
        (kairos.enrich, "row"),
        (kairos.enrich, "remember"),
        (kairos.engine.moments, "decide"),
        (kairos.engine.moments, "Composer"),
        (kairos.engine.moments, "_say"),
        (kairos.ingest.notifications, "_matched"),
        (kairos.adapters.esme_notifications, "refusal"),
    ],
)
async def test_whatever_breaks_on_the_way_the_notification_goes_out(
    start: Any, bind: Any, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    world = await start()
    esme = await bind(world, "ocs")

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(module, name, broken)
    assert (await esme.submit(NEARLY_EMPTY)).message_id == "1"
    assert world.peer.texts == [NEARLY_EMPTY]


async def test_a_model_that_breaks_holds_no_notification_up(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.loop.engine.scorer = None
    assert (await esme.submit(NEARLY_EMPTY)).message_id == "1"
    assert world.peer.texts == [NEARLY_EMPTY]


async def test_what_others_bring_leaves_room_for_notifications(start: Any, bind: Any) -> None:
    world = await start(queue=8)
    esme = await bind(world, "ocs")
    world.store.gate.clear()
    taken = []  # two commits, and what is read for the next batch
    for _ in range(3):
        taken.append(world.loop.post(world.bench.event("recharge", amount=1)))
        await world.until(lambda: not world.loop.waiting)
    others = [world.loop.post(world.bench.event("recharge", amount=1)) for _ in range(6)]
    with pytest.raises(OverloadedError):
        world.loop.post(world.bench.event("recharge", amount=1))
    asked = asyncio.create_task(esme.submit(NEARLY_EMPTY))
    await world.until(lambda: world.loop.waiting > len(others))
    world.store.gate.set()
    assert len((await asked).message_id) == 16  # decided
    for submission in (*taken, *others):
        await submission.answer


# -- everything else ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"short_message": b"Your PIN is 4711", "service_type": "OTP", "priority_flag": 1, "protocol_id": 3},
        {"short_message": b"\x00\x01\xff", "data_coding": 0x04},
        {"short_message": b"\xff\xff\xff", "data_coding": 0xF7},
        {"short_message": b"\xd8", "data_coding": 0x08},
        {"short_message": b""},
        {"short_message": NOTIFICATION.encode(), "destination_addr": "Shop"},
        {"short_message": NOTIFICATION.replace("T$12.40", "a lot").encode()},
    ],
)
async def test_what_is_no_notification_goes_out_as_it_came(start: Any, bind: Any, fields: dict[str, Any]) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    assert (await esme.submit("x", **fields)).message_id == "1"
    (pdu,) = world.peer.submitted
    for name, value in fields.items():
        assert getattr(pdu, name) == value
    assert pdu.registered_delivery == 1
    assert world.esmes.counts == {"not_read": 1, "forwarded": 1}


async def test_a_data_sm_goes_out_as_it_came(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    answer = await esme.client.request(DataSm(source_addr="5000", destination_addr="12025550123", data_coding=4))
    assert answer.message_id == "1"
    assert isinstance(world.peer.submitted[0], DataSm)


async def test_an_account_without_patterns_has_its_texts_forwarded(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "info")
    assert (await esme.submit(NOTIFICATION)).message_id == "1"
    assert world.peer.texts == [NOTIFICATION]


@pytest.mark.parametrize("status", [Status.ESME_RTHROTTLED, Status.ESME_RINVDSTADR, 0x401])
async def test_the_smscs_refusal_is_the_accounts(start: Any, bind: Any, status: int) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.peer.answers.append(status)
    assert (await esme.submit("hello")).status == status


async def test_without_an_smsc_the_account_is_asked_to_come_back(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    await world.smsc.client.close()
    assert (await esme.submit("hello")).status == Status.ESME_RSYSERR


async def test_a_receipt_of_a_forwarded_text_is_passed_on_in_the_smscs_words(start: Any, bind: Any) -> None:
    world = await start()
    esme, other = await bind(world, "info"), await bind(world, "ocs")
    await esme.submit("hello")
    assert await world.peer.receipt("1", MessageState.UNDELIVERABLE, "027") == 0
    await world.until(lambda: esme.received)
    receipt = parse_receipt(esme.received[0])
    assert receipt is not None
    assert (receipt.message_id, receipt.state, receipt.error) == ("1", MessageState.UNDELIVERABLE, "027")
    assert receipt.submitted == "2603041200"
    assert other.received == []


async def test_a_receipt_does_not_overtake_the_answer_to_its_submitter(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "info")
    save = world.smsc._save

    async def save_while_the_receipt_comes(*about: Any) -> None:
        world.early = asyncio.create_task(world.peer.receipt("1"))
        await save(*about)
        await asyncio.sleep(0.1)  # a commit that takes its time
        world.received_meanwhile = list(esme.received)

    world.smsc._save = save_while_the_receipt_comes
    assert (await esme.submit("hello")).message_id == "1"
    assert world.received_meanwhile == []
    assert await world.early == Status.ESME_RX_T_APPN  # "come back", and it does
    assert await world.peer.receipt("1") == 0
    await world.until(lambda: esme.received)


# -- to the accounts ---------------------------------------------------------------------------------------------------


async def test_a_reply_for_another_service_is_relayed_unchanged(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "info")
    words = "bal " + "and all that I have " * 12
    assert set(await world.peer.reply(words)) == {0}
    await world.until(lambda: len(esme.received) == 2)

    assert text_of(esme.received) == words
    assert {(pdu.source_addr, pdu.destination_addr) for pdu in esme.received} == {("12025550123", "5000")}
    assert world.peer.submitted == []


@pytest.mark.parametrize("kind", [None, BindTransmitter])
async def test_an_account_that_is_not_there_gets_it_later(start: Any, bind: Any, kind: type | None) -> None:
    world = await start()
    if kind:
        await bind(world, "info", kind)
    outcome = await world.esmes.send(Text("12025550123", "5000", "bal", account="info"))
    assert (outcome.status, outcome.reason) == ("retry", "account `info` is not bound as a receiver")
    assert await world.peer.reply("BAL") == [0]
    esme = await bind(world, "info", BindReceiver)
    await world.until(lambda: esme.texts)
    assert esme.texts == ["BAL"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (0, "sent"),
        (Status.ESME_RX_T_APPN, "retry"),
        (Status.ESME_RMSGQFUL, "retry"),
        (Status.ESME_RX_R_APPN, "failed"),
        (Status.ESME_RX_P_APPN, "failed"),
    ],
)
async def test_what_an_accounts_answer_means(start: Any, bind: Any, answer: int, status: str) -> None:
    world = await start()
    esme = await bind(world, "info")
    esme.status = answer
    assert (await world.esmes.send(Text("12025550123", "5000", "bal", account="info"))).status == status


async def test_an_account_that_keeps_silent_may_have_it(start: Any, bind: Any, monkeypatch: Any) -> None:
    world = await start()
    esme = await bind(world, "info")

    async def silent(_: Any, pdu: Any) -> None:
        world.esmes.server.sessions("info")[0]._time_out(pdu.sequence, 0.0)

    esme.client.session._handle = silent
    outcome = await world.esmes.send(Text("12025550123", "5000", "bal", account="info"))
    assert outcome.status == "unknown"


async def test_what_no_pdu_holds_fails_for_good(start: Any, bind: Any) -> None:
    world = await start()
    await bind(world, "info")
    assert (await world.esmes.send(Text("1" * 40, "5000", "bal", account="info"))).status == "failed"
    assert (await world.esmes.send(Text("12025550123", "5000", "x" * 153 * 256, account="info"))).status == "failed"


async def test_a_notification_that_breaks_its_reading_goes_out_as_it_came(
    start: Any, bind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    monkeypatch.setattr(world.esmes.reader, "patterns", None)
    assert (await esme.submit()).ok
    assert world.peer.texts == [NOTIFICATION]


async def test_with_a_line_all_other_fields_stay(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    fields = {"service_type": "own", "priority_flag": 2, "data_coding": 0xF1, "registered_delivery": 0x11}
    times = {"validity_period": "000002000000000R", "tlvs": ((0x1500, b"own"),)}
    assert (await esme.submit(NEARLY_EMPTY, **fields, **times)).ok
    await world.until(lambda: world.peer.texts)
    (pdu,) = world.peer.submitted
    assert world.peer.texts == [NEARLY_EMPTY + "\nRecharge T$10 and get 30 minutes."]
    assert {name: getattr(pdu, name) for name in fields | times} == fields | times


async def test_on_flash_no_line_rides_and_the_offer_follows_by_itself(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    assert (await esme.submit(RUNNING_LOW, data_coding=0x10)).ok
    await world.until(lambda: len(world.peer.texts) == 2)
    assert world.peer.texts[0] == RUNNING_LOW
    assert world.peer.submitted[0].data_coding == 0x10
    assert world.peer.texts[1].startswith("Running low? 500 MB for 1 day for T$10 until ")
    assert world.esmes.reader.counts["no_line.flash"] == 1
