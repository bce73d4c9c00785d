"""Other systems' accounts over SMPP: what they hear when they submit, what goes out, what comes back to them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.conftest import HOUR, MSISDN, NOON

from kairos.domain.switch import Switch, Switches
from kairos.engine.timers import run_timers
from kairos.smpp import (
    CancelSm,
    DataSm,
    MessageState,
    QuerySm,
    Status,
    SubmitSm,
    parse_receipt,
    split,
)
from kairos.smpp.times import absolute, relative

NIGHT = NOON + 10 * HOUR
VAS = {"source_addr": "1234"}
PART = SubmitSm(source_addr="1234", destination_addr=MSISDN, registered_delivery=1)


def at(moment: int) -> str:
    return absolute(datetime.fromtimestamp(moment / 1000, UTC))


def record(world: Any, message_id: str) -> Any:
    return world.store.passage(message_id)


async def test_a_message_goes_to_the_smsc_and_its_receipts_come_back(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    answer = await vas.submit("Play now", **VAS, priority_flag=3, service_type="CMT")
    assert answer.ok
    await world.until(lambda: record(world, answer.message_id).stand == "sent")
    (out,) = world.peer.submitted
    assert (out.source_addr, out.short_message, out.service_type, out.priority_flag) == ("1234", b"Play now", "CMT", 0)
    assert out.validity_period == at(world.bench.now + 24 * HOUR)
    assert await world.peer.receipt("1", MessageState.DELIVERED) == 0
    await world.until(lambda: vas.received)
    receipt = parse_receipt(vas.received[0])
    assert receipt
    assert (receipt.message_id, receipt.state) == (answer.message_id, MessageState.DELIVERED)
    assert record(world, answer.message_id).stand == "delivered"


async def test_what_the_smsc_could_not_deliver_has_failed(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    answer = await vas.submit("Play now", **VAS)
    await world.until(lambda: record(world, answer.message_id).stand == "sent")
    await world.peer.receipt("1", MessageState.UNDELIVERABLE, "012")
    await world.until(lambda: record(world, answer.message_id).stand == "failed")
    assert record(world, answer.message_id).why == "undeliverable 012"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"source_addr": "5000"}, Status.ESME_RINVSRCADR),
        ({"source_addr": ""}, Status.ESME_RINVSRCADR),
        ({"source_addr": "Shop"}, Status.ESME_RINVSRCADR),
        ({"destination_addr": "12"}, Status.ESME_RINVDSTADR),
        ({"destination_addr": "12025550199"}, Status.ESME_RINVDSTADR),
        ({"validity_period": at(NOON - HOUR)}, Status.ESME_RINVEXPIRY),
        ({"validity_period": "nonsense"}, Status.ESME_RINVEXPIRY),
        ({"schedule_delivery_time": "nonsense"}, Status.ESME_RINVSCHED),
        ({"schedule_delivery_time": at(NOON + 2 * HOUR), "validity_period": at(NOON + HOUR)}, Status.ESME_RINVSCHED),
        ({"short_message": b"", "tlvs": ((0x0424, b"x" * 2000),)}, Status.ESME_RINVMSGLEN),
    ],
)
async def test_what_cannot_be_taken_says_which_field(start: Any, bind: Any, fields: Any, status: Status) -> None:
    world = await start()
    vas = await bind(world, "vas")
    assert (await vas.submit("Play now", **{**VAS, **fields})).status == status
    assert (await vas.submit("Play on", **VAS)).ok, "the account goes on"
    await world.until(lambda: world.peer.submitted)
    assert world.peer.texts == ["Play on"]


async def test_data_sm_is_no_way_around_the_policy(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    answer = await vas.client.request(DataSm(source_addr="1234", destination_addr=MSISDN), 10)
    assert answer.status == Status.ESME_RINVCMDID
    assert not world.peer.submitted


async def test_what_the_policy_refuses_is_refused_at_once(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    await world.loop.submit(world.bench.event("profile", open_tickets=1))
    answer = await vas.submit("Play now", **VAS)
    assert answer.status == Status.ESME_RSUBMITFAIL
    assert not world.peer.submitted
    alarm = await bind(world, "alarm")
    assert (await alarm.submit("Leave the building", source_addr="112")).ok
    await world.until(lambda: world.peer.texts == ["Leave the building"])


async def test_a_refused_one_is_no_first(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    await world.loop.submit(world.bench.event("profile", open_tickets=1))
    assert (await vas.submit("Play now", **VAS)).status == Status.ESME_RSUBMITFAIL
    await world.loop.submit(world.bench.event("profile", open_tickets=0))
    assert (await vas.submit("Play now", **VAS)).ok


async def test_the_same_message_by_its_tlv_is_the_same_one(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    first = await vas.submit("Play now", **VAS, tlvs=((0x1501, b"7"),))
    again = await vas.submit("Play now", **VAS, tlvs=((0x1501, b"7"),))
    assert first.ok
    assert again.message_id == first.message_id
    await asyncio.sleep(0.05)
    assert len(world.peer.submitted) == 1


async def test_the_same_text_is_merged_and_a_receipt_says_so(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    first = await vas.submit("Your prize is here", **VAS)
    other = await vas.submit("Your  prize is here", **VAS)
    assert other.ok
    assert record(world, other.message_id).why == first.message_id
    await world.until(lambda: vas.received)
    receipt = parse_receipt(vas.received[0])
    assert receipt
    assert (receipt.message_id, receipt.state, receipt.error) == (other.message_id, MessageState.REJECTED, "902")
    assert (receipt.text, len(world.peer.submitted)) == (first.message_id, 1)


async def waiting(world: Any, vas: Any, **fields: Any) -> str:
    """The id of a message that waits for the end of the night."""
    world.bench.now = NIGHT
    answer = await vas.submit("Play now", **VAS, **fields)
    assert answer.ok
    assert record(world, answer.message_id).stand == "delayed"
    return answer.message_id  # type: ignore[no-any-return]


async def test_in_the_night_it_waits_and_goes_in_the_morning(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    id_ = await waiting(world, vas)
    await asyncio.sleep(0.05)
    assert not world.peer.submitted
    world.bench.now = NOON + 20 * HOUR
    timers = asyncio.create_task(run_timers(world.store, world.loop, lambda: world.bench.now, every=0.01))
    await world.until(lambda: world.peer.submitted)
    timers.cancel()
    assert world.peer.submitted[0].validity_period == at(NIGHT + 24 * HOUR)
    await world.until(lambda: record(world, id_).stand == "sent")


async def test_scheduled_it_waits_here_and_is_sent_without_a_time(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    answer = await vas.submit("Later", **VAS, schedule_delivery_time=at(world.bench.now + HOUR))
    assert record(world, answer.message_id).until == world.bench.now + HOUR
    world.bench.now += HOUR
    await world.loop.submit(world.store.timers_due(world.bench.now, 1)[0], own=True)
    await world.until(lambda: world.peer.submitted)
    assert world.peer.submitted[0].schedule_delivery_time == ""


async def ask(esme: Any, kind: Any, id_: str) -> Any:
    return await esme.client.request(kind(message_id=id_, source_addr="1234"), 10)


async def test_query_and_cancel_of_what_waits(start: Any, bind: Any) -> None:
    world = await start()
    vas, shop = await bind(world, "vas"), await bind(world, "shop")
    id_ = await waiting(world, vas)
    assert (await ask(vas, QuerySm, id_)).message_state == MessageState.ENROUTE
    assert (await ask(shop, QuerySm, id_)).status == Status.ESME_RINVMSGID
    assert (await ask(shop, CancelSm, id_)).status == Status.ESME_RINVMSGID
    assert (await ask(vas, CancelSm, id_)).ok
    assert (await ask(vas, QuerySm, id_)).message_state == MessageState.DELETED
    assert (await ask(vas, CancelSm, id_)).status == Status.ESME_RCANCELFAIL


async def test_query_of_what_was_sent_is_asked_of_the_smsc(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    id_ = (await vas.submit("Play now", **VAS)).message_id
    await world.until(lambda: record(world, id_).stand == "sent")
    answer = await ask(vas, QuerySm, id_)
    assert (answer.message_id, answer.message_state, len(world.peer.asked)) == (id_, 2, 1)


# -- in several parts --------------------------------------------------------------------------------------------------


def parts(text: str, source: str = "1234") -> list[SubmitSm]:
    return [
        replace(
            PART,
            source_addr=source,
            esm_class=part.esm_class,
            data_coding=part.data_coding,
            short_message=part.short_message,
        )
        for part in split(text, 7)
    ]


LONG = "A very long game. " * 12


async def test_a_long_message_is_decided_once_and_goes_out_whole(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    answers = [await vas.client.request(part, 10) for part in parts(LONG)]
    assert all(answer.ok for answer in answers)
    await world.until(lambda: len(world.peer.submitted) == 2)
    (contact,) = [one for one in world.bench.state().contacts if one.action == "sender:vas"]
    assert contact.purpose == "third_party"
    assert record(world, answers[-1].message_id).sends == "third_party"


async def test_a_long_message_that_is_refused_goes_out_in_no_part(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    await world.loop.submit(world.bench.event("profile", open_tickets=1))
    first, last = [await vas.client.request(part, 10) for part in parts(LONG)]
    assert first.ok
    assert last.status == Status.ESME_RSUBMITFAIL
    assert not world.peer.submitted


async def test_an_incomplete_one_passes_the_policy_too(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    await world.loop.submit(world.bench.event("profile", open_tickets=1))
    await vas.client.request(parts(LONG)[0], 10)
    world.bench.now += 60_000
    for timer in world.store.timers_due(world.bench.now, 10):
        await world.loop.submit(timer, own=True)
    await asyncio.sleep(0.05)
    assert not world.peer.submitted


async def test_parts_to_whoever_is_not_known_make_nobody_known(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    part = replace(parts(LONG)[0], destination_addr="12025550199")
    assert (await vas.client.request(part, 10)).status == Status.ESME_RINVDSTADR
    assert world.store.load(["12025550199"], []).subscribers == {}


# -- where nothing can be kept -----------------------------------------------------------------------------------------


async def test_while_the_store_fails_alarms_go_out_and_marketing_is_told_to_come_back(start: Any, bind: Any) -> None:
    world = await start()
    vas, alarm, shop = [await bind(world, name) for name in ("vas", "alarm", "shop")]
    world.store.failing = True
    assert (await vas.submit("Play now", **VAS)).status == Status.ESME_RTHROTTLED
    assert (await alarm.submit("Leave the building", source_addr="112")).message_id == "1"
    assert (await shop.submit("Your parcel is here", source_addr="Shop")).message_id == "2"
    assert world.peer.texts == ["Leave the building", "Your parcel is here"]
    answers = [await alarm.client.request(part, 10) for part in parts("Leave the building now. " * 8, "112")]
    assert [answer.message_id for answer in answers] == ["3", "4"]


async def test_while_the_store_hangs_an_alarm_goes_out_once(start: Any, bind: Any) -> None:
    world = await start(decide_within=0.1)
    alarm = await bind(world, "alarm")
    world.store.gate.clear()
    assert (await alarm.submit("Leave the building", source_addr="112")).message_id == "1"
    world.store.gate.set()
    await world.until(lambda: [row.status for row in world.rows("emergency")] == ["dropped"])
    assert world.peer.texts == ["Leave the building"]


async def test_a_switch_that_is_off_says_so(start: Any, bind: Any) -> None:
    world = await start()
    vas = await bind(world, "vas")
    world.bench.engine.turn(Switches({"marketing": Switch("marketing", False, "test", "ada", 0)}))
    assert (await vas.submit("Play now", **VAS)).status == Status.ESME_RSUBMITFAIL
    assert world.store.passages_to(world.bench.state().id, 10)[0].why == "switch marketing"


async def test_a_message_that_has_waited_too_long_for_the_smsc_expires(start: Any, bind: Any) -> None:
    world = await start()
    vas, alarm = await bind(world, "vas"), await bind(world, "alarm")
    world.peer.answers.extend([Status.ESME_RMSGQFUL] * 1000)
    ids = []
    for esme, source in ((vas, "1234"), (alarm, "112")):
        answer = await esme.submit("Play now", source_addr=source, validity_period=relative(60))
        ids.append(answer.message_id)
    await world.until(lambda: len(world.peer.submitted) > 3)
    world.bench.now += 61_000
    await world.until(lambda: [record(world, id_).stand for id_ in ids] == ["expired"] * 2)
    for esme in (vas, alarm):
        await world.until(lambda esme=esme: esme.received)
        receipt = parse_receipt(esme.received[0])
        assert receipt
        assert (receipt.state, receipt.error) == (MessageState.EXPIRED, "903")
