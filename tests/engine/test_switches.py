"""Switches: what is decided, what is on its way, what is answered and what is charged while one is off."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.engine.test_dispatch import DONE, RETRY, SENT, UNKNOWN, Charging, Handset, running, status
from tests.waiting import until

from kairos.domain.decision import Decision
from kairos.domain.message import Text
from kairos.domain.subscriber import Bucket
from kairos.domain.switch import UNREAD, Switch, Switches
from kairos.engine.explain import Explainer
from kairos.engine.program import compile_program
from kairos.engine.switchboard import Switchboard
from kairos.errors import StoreError
from kairos.playbook import read
from kairos.ports import Outcome

DAY = 86_400_000
TEXT = "Your call cost T$1. Ref 1"


def off(*names: str) -> Switches:
    return Switches({name: Switch(name, False, "wrong prices", "ada", 0) for name in names})


def call(bench: Any, *, text: str = TEXT, balance: int = 5000, cost: int = 100) -> Any:
    balances = [Bucket("main", balance), Bucket("data", 100_000, bench.now + DAY)]
    return bench.event("end_of_call", notification=text, service="voice", cost=cost, balances=balances)


def record(work: Any) -> Decision:
    ((*_, blob),) = work.batch.decisions
    return msgspec.msgpack.decode(blob, type=Decision)


def sent(work: Any) -> list[str]:
    return [msgspec.msgpack.decode(row.payload, type=Text).text for row in work.batch.outgoing]


# -- deciding ----------------------------------------------------------------------------------------------------------


def test_with_marketing_off_the_notification_goes_out_alone_and_the_record_says_why(bench: Any) -> None:
    bench.profile()
    bench.engine.turn(off("marketing"))
    work = bench.apply(call(bench, cost=400))  # dear: care would have a hint
    assert sent(work) == [TEXT]
    assert bench.state().contacts == []
    assert record(work).gate == "switch marketing"
    explainer = Explainer(bench.store, lambda texts: compile_program(read(texts)))
    bench.store.save_playbook(bench.program.playbook.revision, "layout", bench.program.playbook.texts)
    explained = explainer.decision(record(work).id)
    assert explained is not None
    assert {(verdict.state, verdict.reason) for verdict in explained.verdicts} == {("gate", "switch marketing")}
    bench.engine.turn(off())
    assert len(sent(bench.apply(call(bench)))[0]) > len(TEXT)


@pytest.mark.parametrize(
    ("name", "balance", "chosen"),
    [
        ("channel:sms", 5000, "booster"),
        ("channel:notification", 5000, ""),
        ("action:booster", 5000, ""),
        ("action:top_up", 5000, "booster"),
        ("action:booster", 300, "top_up"),
        ("issue:upsell", 300, "top_up"),
        ("issue:no such issue", 5000, "booster"),
    ],
)
def test_a_part_that_is_off_is_not_said_and_the_rest_is(bench: Any, name: str, balance: int, chosen: str) -> None:
    bench.profile()
    bench.engine.turn(off(name))
    made = record(bench.apply(call(bench, balance=balance)))
    arms = bench.program.decide.arms
    assert (arms[made.chosen.arm].action.name if made.chosen else "") == chosen
    assert made.gate == ""
    if not chosen:
        assert {refusal.rule for refusal in made.limits} == {f"switch {name}"}


def test_a_new_playbook_finds_the_switches_as_they_were(bench: Any, texts: dict[str, str]) -> None:
    bench.profile()
    bench.engine.turn(off("marketing"))
    bench.engine.use(compile_program(read(texts)))
    assert sent(bench.apply(call(bench))) == [TEXT]


# -- what is on its way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["marketing", "channel:sms", "action:booster", "issue:upsell"])
async def test_an_own_message_that_waits_is_dropped_with_the_reason_and_its_limit_given_back(
    bench: Any, name: str
) -> None:
    bench.profile()
    handset = Handset(RETRY)
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench, text=""))
        await until(lambda: len(handset.got) > 1)
        assert len(bench.state().contacts) == 1
        bench.engine.turn(off(name))
        await until(lambda: status(bench, 1) == "dropped")
    (offer,) = bench.state().offers
    assert (bench.state().contacts, offer.status) == ([], "withdrawn")
    (response,) = bench.store.responses(offer.key)
    assert (response.outcome, response.reason) == ("dropped", f"switch {name}")


async def test_messages_that_a_crash_left_in_the_store_are_dropped_too(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench, text=""))
    bench.engine.turn(off("marketing"))
    handset = Handset(SENT)
    async with running(bench, handset):
        await until(lambda: status(bench, 1) == "dropped")
    assert handset.got == []


async def test_a_line_that_waits_is_taken_off_and_the_notification_goes_out(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY)
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) > 1)
        bench.engine.turn(off("marketing"))
        tries = len(handset.got)
        await until(lambda: len(handset.got) > tries + 1)  # the first of them may have been under way
        handset.outcomes = [SENT]
        await until(lambda: status(bench, 1) == "sent")
    assert handset.got[-1].text == TEXT
    assert (bench.state().contacts, bench.state().offers[0].status) == ([], "withdrawn")


async def test_a_line_that_may_have_arrived_is_not_repeated_and_its_offer_stays(bench: Any) -> None:
    bench.profile()
    handset = Handset(UNKNOWN)
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) > 1)
        bench.engine.turn(off("marketing"))
        before = len(handset.got) + 1  # one attempt may be under way
        await until(lambda: len(handset.got) > before)
        handset.outcomes = [SENT]
        await until(lambda: status(bench, 1) == "sent")
    assert {text.text for text in handset.got[before:]} == {TEXT}
    assert bench.state().offers[0].status == "open"
    assert len(bench.state().contacts) == 1


async def test_while_nobody_knows_the_switches_own_messages_wait_until_their_time_is_over(bench: Any) -> None:
    bench.profile()
    handset = Handset(SENT)
    bench.apply(call(bench, text=""))
    bench.engine.turn(UNREAD)
    async with running(bench, handset):
        await asyncio.sleep(0.05)
        assert (handset.got, status(bench, 1)) == ([], "pending")
        bench.engine.turn(off())
        await until(lambda: status(bench, 1) == "sent")


# -- answers and charging ----------------------------------------------------------------------------------------------


def test_what_was_offered_can_be_taken_while_marketing_is_off(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench))
    bench.engine.turn(off("marketing"))
    work = bench.apply(bench.reply("1"))
    assert [row.channel for row in work.batch.outgoing] == ["ocs"]
    assert sent(bench.apply(bench.reply("HELP")))


def test_with_charging_off_a_yes_is_answered_and_neither_ordered_nor_lost(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench))
    bench.engine.turn(off("charging"))
    work = bench.apply(bench.reply("1"))
    assert sent(work) == ["Sorry, 2 GB for 7 days is not possible."]
    assert [(r.outcome, r.reason) for r in work.batch.responses] == [("refused", "switch charging")]
    bench.engine.turn(off())
    assert [row.channel for row in bench.apply(bench.reply("1")).batch.outgoing] == ["ocs"]


async def test_orders_wait_while_charging_is_off_and_so_does_a_promise_that_is_redeemed(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench, balance=300))
    handset, charging = Handset(SENT), Charging(DONE)
    async with running(bench, handset, charging) as (loop, dispatcher):
        board = Switchboard(bench.store, bench.engine, dispatcher)
        bench.store.turn_switch(Switch("charging", False, "OCS upgrade", "ada", 0))
        await board.look()
        await loop.submit(bench.event("recharge", amount=1000))
        await asyncio.sleep(0.05)
        assert charging.asked == []
        bench.store.turn_switch(Switch("charging", True, "", "ada", 0))
        await board.look()
        await until(lambda: len(charging.asked) == 1)


@pytest.mark.parametrize("outcome", [RETRY, UNKNOWN])
async def test_an_order_that_is_being_tried_waits_too_and_is_not_given_up_for_that(
    bench: Any, outcome: Outcome
) -> None:
    bench.profile()
    bench.apply(call(bench))
    charging = Charging(outcome)
    async with running(bench, Handset(SENT), charging) as (loop, dispatcher):
        await loop.submit(bench.reply("1"))
        await until(lambda: len(charging.asked) > 3)
        dispatcher.charging.clear()
        await asyncio.sleep(0.01)  # the try that was under way
        tries = len(charging.asked)
        bench.now += 2 * DAY
        await asyncio.sleep(0.03)
        assert len(charging.asked) == tries
        charging.outcomes = [DONE]
        dispatcher.charging.set()
        await until(lambda: status(bench, 2) == "delivered")


# -- looking -----------------------------------------------------------------------------------------------------------


async def test_what_another_process_turns_holds_after_the_next_look(bench: Any) -> None:
    bench.profile()
    async with running(bench, Handset(SENT)) as (_, dispatcher):
        board = Switchboard(bench.store, bench.engine, dispatcher, every=0.01)
        assert sent(bench.apply(call(bench))) == [TEXT]  # not looked at yet
        looking = asyncio.create_task(board.run())
        await board.looked(5)
        assert sent(bench.apply(call(bench))) != [TEXT]
        bench.store.turn_switch(Switch("marketing", False, "wrong prices", "ada", 0))
        await until(lambda: bench.engine.switches.marketing == "marketing")
        assert sent(bench.apply(call(bench))) == [TEXT]
        looking.cancel()


async def test_switches_that_cannot_be_read_are_off_and_charging_stays(bench: Any) -> None:
    async with running(bench, Handset(SENT)) as (_, dispatcher):
        board = Switchboard(bench.store, bench.engine, dispatcher)
        await board.look()
        found = bench.store.switches

        def broken() -> Any:
            raise StoreError("the disk is gone")

        bench.store.switches = broken
        await board.look()
        assert board.trouble == "the disk is gone"
        assert (bench.engine.switches.marketing, bench.engine.switches.charging) == ("marketing", True)
        assert record(bench.apply(call(bench))).gate == "switch marketing"
        bench.store.switches = found
        await board.look()
        assert (board.trouble, bench.engine.switches.marketing) == ("", "")


async def test_a_store_that_hangs_turns_marketing_off_until_it_answers(bench: Any) -> None:
    import threading

    gate = threading.Event()
    async with running(bench, Handset(SENT)) as (_, dispatcher):
        board = Switchboard(bench.store, bench.engine, dispatcher, patience=0.01)
        found = bench.store.switches

        def hanging() -> Any:
            gate.wait(5)
            return found()

        await board.look()
        bench.store.switches = hanging
        look = asyncio.create_task(board.look())
        await until(lambda: bench.engine.switches.marketing == "marketing")
        gate.set()
        await look
        assert bench.engine.switches.marketing == ""
