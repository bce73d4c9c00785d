"""Messages in several parts: each part is safe before it is acknowledged, and none is lost or decided twice."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from kairos.smpp import MessageState, Status, SubmitSm, concatenation, parse_receipt, split, text_of, tlvs

MSISDN = "12025550123"
LINE = "\nRecharge T$10 and get 30 minutes."
SECOND = 1000


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.adapters.smsc.RECEIPT_WAIT", (0.01,))


def parts(text: str, form: str = "udh8", **fields: Any) -> list[SubmitSm]:
    """A text as an account submits it in parts of few characters, so that a line has room in the last."""
    numbers = {"source_addr": "5000", "destination_addr": MSISDN, "registered_delivery": 1, **fields}
    cut = split(text.ljust(200), 300 if form == "udh16" else 7, wide=form == "udh16")
    if form != "sar":
        return [SubmitSm(esm_class=one.esm_class, short_message=one.short_message, **numbers) for one in cut]
    return [
        SubmitSm(
            short_message=one.short_message[6:],
            tlvs=tlvs(sar_msg_ref_num=7, sar_total_segments=one.parts, sar_segment_seqnum=one.part),
            **numbers,
        )
        for one in cut
    ]


def event(number: int = 1) -> str:
    """A notification of two parts that a pattern reads: what pads it is white space."""
    return f"Your call cost T$0.35.{' ' * 150}Balance T$1.40. Ref 8f3a2{number}"


async def submit(esme: Any, pdus: list[SubmitSm]) -> list[str]:
    answers = [await esme.client.request(pdu, 10) for pdu in pdus]
    assert all(answer.ok for answer in answers)
    return [answer.message_id for answer in answers]


def too_slow(world: Any) -> None:
    """From now on."""
    world.store.gate.clear()
    world.esmes.decide_within = 0.05


async def hang(world: Any) -> None:
    """A commit hangs, and what comes after it waits, though it has nothing to write."""
    too_slow(world)
    world.loop.post(world.bench.event("profile", plan="prepaid"))
    await world.until(lambda: world.loop.engine.flying)


async def timers(world: Any) -> None:
    for timer in world.store.timers_due(world.bench.now, 100):
        await world.loop.submit(timer, own=True)


@pytest.mark.parametrize("form", ["udh8", "udh16", "sar"])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
async def test_a_notification_in_parts_is_decided_once_and_goes_out_with_its_line(
    start: Any, bind: Any, form: str, order: list[int]
) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    came = parts(event(), form)
    ids = await submit(esme, [came[place] for place in order])
    await world.until(lambda: len(world.peer.submitted) == 2)
    assert text_of(world.peer.submitted) == text_of(came) + LINE
    assert [concatenation(pdu) for pdu in world.peer.submitted] == [concatenation(pdu) for pdu in came]
    assert world.loop.engine.statistics.counts["decisions"] == 1
    await world.until(lambda: world.rows("notification")[0].status == "sent")
    for peer_id in ("1", "2"):  # each part has its own receipt, under its own id
        assert await world.peer.receipt(peer_id) == 0
    await world.until(lambda: len(esme.received) == 2)
    told = [found.message_id for pdu in esme.received if (found := parse_receipt(pdu))]
    assert told == [ids[place] for place in order]


async def test_what_no_pattern_reads_goes_out_as_the_parts_came(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    came = parts("Something else. " * 12, "udh8", service_type="own", data_coding=0xF1)
    await submit(esme, came[::-1])
    await world.until(lambda: len(world.peer.submitted) == len(came))
    assert [replace(pdu, sequence=0) for pdu in world.peer.submitted] == came


async def test_who_has_no_patterns_waits_for_no_parts(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "info")
    assert await submit(esme, parts(event())[:1]) == ["1"]


async def test_incomplete_at_the_limit_what_came_goes_out_plain_and_in_order(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    came = parts("z" * 400)
    await submit(esme, [came[2], came[0]])
    await timers(world)
    assert world.peer.submitted == []
    world.bench.now += 10 * SECOND
    await timers(world)
    await world.until(lambda: len(world.peer.submitted) == 2)
    assert [replace(pdu, sequence=0) for pdu in world.peer.submitted] == [came[0], came[2]]
    assert world.bench.state().gatherings == []


async def test_parts_come_twice_and_on_two_binds(start: Any, bind: Any) -> None:
    world = await start()
    one, two = await bind(world, "ocs"), await bind(world, "ocs")
    first, last = parts(event())
    ids = await submit(one, [first]) + await submit(two, [first, last]) + await submit(one, [last, first])
    assert ids[0] == ids[1] == ids[4]
    assert ids[2] == ids[3] != ids[0]
    await world.until(lambda: world.rows("notification") and world.rows("notification")[0].status == "sent")
    assert len(world.peer.submitted) == 2
    assert len(world.rows("notification")) == 1


async def test_a_reference_that_is_taken_again_ends_the_message_before(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    await submit(esme, [parts("z" * 200)[0], *parts(event())])
    await world.until(lambda: len(world.peer.submitted) == 3)
    assert world.peer.texts[0] == "z" * 153
    assert text_of(world.peer.submitted[1:]).endswith(LINE)


async def test_many_messages_that_stay_incomplete_fill_no_state(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    for number in range(80):
        pdu = parts("z" * 200)[0]
        await submit(esme, [replace(pdu, short_message=pdu.short_message[:3] + bytes([number, 2, 1, 65]))])
    held = sum(len(one.parts) for one in world.bench.state().gatherings)
    assert held == 64
    await world.until(lambda: len(world.peer.submitted) == 16)


async def test_a_part_that_is_late_goes_out_by_itself_and_the_others_follow(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    first, second, third = parts("z" * 400)
    await submit(esme, [first])
    too_slow(world)
    assert await submit(esme, [third]) == ["1"]  # the SMSC's own id
    assert await submit(esme, [second]) == ["2"]  # it does not even wait
    world.store.gate.set()
    await world.until(lambda: len(world.peer.submitted) == 3)
    assert [replace(pdu, sequence=0) for pdu in world.peer.submitted] == [third, second, first]
    await world.until(lambda: not world.bench.state().gatherings)


async def test_the_last_part_is_late_and_the_first_goes_out_without_a_line(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    first, last = parts(event())
    (id_,) = await submit(esme, [first])
    too_slow(world)
    assert await submit(esme, [last]) == ["1"]
    world.store.gate.set()
    await world.until(lambda: len(world.peer.submitted) == 2)
    assert [replace(pdu, sequence=0) for pdu in world.peer.submitted] == [last, first]
    await world.until(lambda: world.rows("notification")[0].status == "sent")
    assert await world.peer.receipt("2", MessageState.DELIVERED) == 0
    await world.until(lambda: esme.received)
    assert parse_receipt(esme.received[0]).message_id == id_  # type: ignore[union-attr]


async def test_a_late_part_that_ends_another_message_takes_nothing_of_it_away(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    other = parts("y" * 200)[0]
    await submit(esme, [other])
    too_slow(world)
    came = parts(event())
    assert await submit(esme, came) == ["1", "2"]  # the same reference number; the SMSC's own ids
    world.store.gate.set()
    await world.until(lambda: len(world.peer.submitted) == 3)
    assert [replace(pdu, sequence=0) for pdu in world.peer.submitted] == [*came, other]


async def test_too_slow_refused_and_of_whom_nobody_knows_a_part_is_not_acknowledged(start: Any, bind: Any) -> None:
    world = await start()
    world.bench.engine.reject_unknown = True
    esme = await bind(world, "ocs")
    await hang(world)
    world.peer.answers.append(Status.ESME_RTHROTTLED)
    first = parts(event(), destination_addr="12025550199")[0]
    asked = asyncio.create_task(esme.client.request(first, 10))
    await world.until(lambda: world.peer.submitted)
    world.store.gate.set()
    assert (await asked).status == Status.ESME_RTHROTTLED  # it was kept nowhere


async def test_too_slow_and_refused_a_part_that_came_before_keeps_its_id(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    first = parts(event())[0]
    (known,) = await submit(esme, [first])
    await hang(world)
    world.peer.answers.append(Status.ESME_RTHROTTLED)
    asked = asyncio.create_task(esme.client.request(first, 10))
    await world.until(lambda: world.peer.submitted)
    world.store.gate.set()
    assert (await asked).message_id == known


async def test_a_store_that_is_down_holds_no_part_up(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.store.failing = True
    came = parts(event())
    assert await submit(esme, came) == ["1", "2"]
    assert [replace(pdu, sequence=0) for pdu in world.peer.submitted] == came


async def test_a_part_that_finds_no_room_goes_out_by_itself_and_so_do_the_others(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    first, second, third = parts("z" * 400)
    await submit(esme, [first])
    room, world.loop.queue = world.loop.queue, 0
    assert await submit(esme, [second]) == ["1"]
    world.loop.queue = room
    await world.until(lambda: len(world.peer.submitted) == 2)  # none waits for others that will not come
    assert await submit(esme, [third]) == ["3"]
    assert [replace(pdu, sequence=0) for pdu in world.peer.submitted] == [second, first, third]


async def test_of_whom_nobody_knows_parts_go_out_as_they_came(start: Any, bind: Any) -> None:
    world = await start()
    world.bench.engine.reject_unknown = True
    esme = await bind(world, "ocs")
    assert await submit(esme, parts(event(), destination_addr="12025550199")) == ["1", "2"]


async def test_after_one_part_was_refused_only_the_rest_is_tried_again(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.peer.answers.extend([0, Status.ESME_RMSGQFUL, Status.ESME_RMSGQFUL])
    await submit(esme, parts(event()))
    await world.until(lambda: world.rows("notification")[0].status == "sent")
    tried = [found.part for pdu in world.peer.submitted if (found := concatenation(pdu))]
    assert tried == [1, 2, 2, 2]


async def test_a_receipt_of_the_first_part_comes_again_while_the_others_wait(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.peer.answers.extend([0, *[Status.ESME_RMSGQFUL] * 10_000])
    ids = await submit(esme, parts(event()))
    await world.until(lambda: len(world.peer.submitted) > 1)
    assert await world.peer.receipt("1") == Status.ESME_RX_T_APPN  # nobody's yet
    world.peer.answers.clear()
    await world.until(lambda: world.rows("notification")[0].status == "sent")
    assert await world.peer.receipt("1") == 0
    await world.until(lambda: esme.received)
    assert parse_receipt(esme.received[0]).message_id == ids[0]  # type: ignore[union-attr]


async def test_where_the_second_part_is_refused_the_first_has_its_receipt(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.peer.answers.extend([0, Status.ESME_RINVDSTADR])
    ids = await submit(esme, parts(event()))
    await world.until(lambda: world.rows("notification")[0].status == "failed")
    assert await world.peer.receipt("1") == 0
    await world.until(lambda: esme.received)
    assert parse_receipt(esme.received[0]).message_id == ids[0]  # type: ignore[union-attr]


# -- replies -----------------------------------------------------------------------------------------------------------


async def test_parts_of_a_reply_are_kept_over_a_restart(start: Any) -> None:
    world = await start()
    first, last = world.peer.parts("HELP " + "please " * 30)
    assert await world.peer.deliver(first) == 0
    (kept,) = world.bench.state().gatherings
    assert (kept.account, kept.total, list(kept.parts)) == ("", 2, [1])
    assert await world.peer.deliver(last) == 0
    await world.until(lambda: world.peer.texts)
    assert world.peer.texts == ["Reply with the number of an offer, NO, or STOP."]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_parts_of_a_reply_in_any_order_and_twice_are_one_reply(start: Any, order: tuple[int, ...]) -> None:
    world = await start()
    came = world.peer.parts("HELP " + "please " * 50)
    for place in (*order, *order):
        assert await world.peer.deliver(came[place]) == 0
        world.smsc.first._known.clear()
    await world.until(lambda: world.peer.texts)
    assert world.loop.engine.statistics.counts["replies.help"] == 1


async def test_a_reply_that_stays_incomplete_is_read_as_far_as_it_came(start: Any) -> None:
    world = await start()
    assert await world.peer.deliver(world.peer.parts("bal " + "and all that I have " * 12)[0]) == 0
    world.bench.now += 120 * SECOND
    await timers(world)
    await world.until(lambda: world.rows("relay"))


async def test_a_reply_that_breaks_the_engine_costs_no_other_reply(start: Any, monkeypatch: Any) -> None:
    world = await start()
    take = world.bench.engine._take
    breaking = {MSISDN}

    def breaks(work: Any, index: int, source: Any) -> Any:
        if getattr(source, "msisdn", "") in breaking:
            raise ZeroDivisionError("a bug")
        return take(work, index, source)

    first, last = world.peer.parts("HELP " + "please " * 30)
    assert await world.peer.deliver(first) == 0
    monkeypatch.setattr(world.bench.engine, "_take", breaks)
    (other,) = world.peer.parts("help", source="12025550124")
    answers = await asyncio.gather(world.peer.deliver(last), world.peer.deliver(other))
    assert [*answers] == [Status.ESME_RSYSERR, 0]
    breaking.clear()
    assert await world.peer.deliver(last) == 0
    await world.until(lambda: len(world.peer.texts) == 2)
    assert {pdu.destination_addr for pdu in world.peer.submitted} == {MSISDN, "12025550124"}


async def test_parts_of_a_stranger_are_replies_by_themselves(start: Any) -> None:
    world = await start()
    world.bench.engine.reject_unknown = True
    for part in world.peer.parts("bal " + "bal " * 60, source="12025550199"):
        assert await world.peer.deliver(part) == 0
    await world.until(lambda: world.rows("relay"))
