"""Sending: in order, with retries; notifications at least once, offers at most once, orders under one key."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.hanging import Hanging
from tests.waiting import until

from kairos.domain.inputs import Change, Delivery
from kairos.domain.message import Order, Outgoing, Text
from kairos.domain.subscriber import Bucket
from kairos.engine.dead_letters import opened
from kairos.engine.dispatch import Backoff, Dispatcher, Patience
from kairos.engine.loop import Loop, Submission
from kairos.errors import StoreError
from kairos.ports import Batch, Outcome
from kairos.respond import ANSWERABLE_FOR

QUICK = Backoff(0.001, 0.002)
DAY = 86_400_000


class Handset:
    """A channel that answers as the test says (the last answer for ever), and keeps what it was given."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.got: list[Text] = []

    async def send(self, text: Text) -> Outcome:
        self.got.append(text)
        await asyncio.sleep(0)
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


class Charging:
    """A fulfiller that answers as the test says; `known` answers the question what became of it."""

    def __init__(self, *outcomes: Outcome, known: Outcome | None = None) -> None:
        self.outcomes = list(outcomes)
        self.known = known or Outcome("absent")
        self.asked: list[Order] = []
        self.said: list[str] = []  # what was called, in turn

    async def fulfil(self, order: Order) -> Outcome:
        self.asked.append(order)
        self.said.append("send")
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]

    async def ask(self, _: Order) -> Outcome:
        self.said.append("ask")
        return self.known


SENT = Outcome("sent", "smsc-1")
RETRY = Outcome("retry", reason="throttled")
UNKNOWN = Outcome("unknown", reason="no answer")
DONE = Outcome("done")


@asynccontextmanager
async def running(
    bench: Any, handset: Handset, charging: Charging | None = None
) -> AsyncIterator[tuple[Loop, Dispatcher]]:
    dispatcher: Dispatcher
    loop = Loop(bench.engine, lambda: bench.now, lambda rows: dispatcher.hand(rows))
    channels = {"notification": handset, "sms": handset, "relay": handset, "receipt": handset}
    dispatcher = Dispatcher(
        bench.store, loop, channels, charging or Charging(DONE), lambda: bench.now, backoff=QUICK, chance=lambda: 1.0
    )
    tasks = [asyncio.create_task(loop.run()), asyncio.create_task(dispatcher.run())]
    try:
        yield loop, dispatcher
    finally:
        await dispatcher.close()
        loop.close()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)


def held(dispatcher: Dispatcher) -> asyncio.Event:
    """What is to be tried again waits for this, not for its time."""
    again = asyncio.Event()

    async def wait(attempts: int, least: float = 0.0) -> None:
        await again.wait()

    dispatcher._wait = wait  # type: ignore[method-assign]
    return again


def status(bench: Any, number: int) -> str:
    row: Outgoing = bench.store.outgoing([number])[0]
    return row.status


def call(bench: Any, notification: str = "hello") -> Any:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    return bench.event("end_of_call", notification=notification, service="voice", cost=1, balances=balances)


async def test_a_notification_is_repeated_with_the_same_words_until_it_is_sent(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY, UNKNOWN, UNKNOWN, SENT)
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench))
        await until(lambda: status(bench, 1) == "sent")
    assert len({text.text for text in handset.got}) == 1
    assert len(handset.got) == 4
    assert bench.store.outgoing_by_peer_id("smsc-1").id == 1


async def test_a_line_that_is_too_late_is_taken_off_and_gives_its_limit_back(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY, SENT)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) == 1)
        bench.now += 3_600_000
        again.set()
        await until(lambda: status(bench, 1) == "sent")
    assert "\n" in handset.got[0].text
    assert handset.got[1].text == "hello"
    assert bench.state().contacts == []
    assert bench.state().offers[0].status == "withdrawn"


@pytest.mark.parametrize(("first", "line"), [(RETRY, False), (UNKNOWN, True)])
async def test_a_line_whose_offer_ended_while_it_waited_is_taken_off_if_it_surely_did_not_go(
    bench: Any, first: Outcome, line: bool
) -> None:
    bench.profile()
    handset = Handset(first, SENT)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) == 1)
        await loop.submit(bench.reply("STOP"))
        again.set()
        await until(lambda: status(bench, 1) == "sent")
    assert "\n" in handset.got[0].text
    assert ("\n" in handset.got[1].text) == line
    assert len(bench.state().contacts) == line


async def test_a_line_waits_behind_another_message_and_a_stop_comes_first(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY, SENT)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(bench.reply("help"))
        await until(lambda: len(handset.got) == 1)
        await loop.submit(call(bench))
        await loop.submit(bench.reply("STOP"))
        again.set()
        await until(lambda: status(bench, 2) == "sent")
    assert [text.text for text in handset.got[2:3]] == ["hello"]


async def test_a_stop_in_the_batch_of_the_line_itself_comes_first(bench: Any) -> None:
    bench.profile()
    handset = Handset(SENT)
    async with running(bench, handset) as (loop, _):
        await asyncio.gather(loop.submit(call(bench)), loop.submit(bench.reply("STOP")))
        await until(lambda: status(bench, 1) == "sent")
    assert bench.engine.statistics.counts["outgoing.plain"] == 1
    assert handset.got[0].text == "hello"


async def test_what_is_taken_back_before_it_went_out_never_does(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY, SENT)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) == 1)
        await asyncio.sleep(0)
        assert await dispatcher.take_back(1)
        again.set()
        await until(lambda: not dispatcher.under_way)
        assert not await dispatcher.take_back(1)
        assert not await dispatcher.take_back(99)
    assert len(handset.got) == 1
    assert status(bench, 1) == "dropped"
    assert bench.state().offers[0].status == "withdrawn"


async def test_a_line_that_may_have_gone_out_is_repeated_even_when_late(bench: Any) -> None:
    bench.profile()
    handset = Handset(UNKNOWN, SENT)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) == 1)
        bench.now += 3_600_000
        again.set()
        await until(lambda: status(bench, 1) == "sent")
    assert handset.got[0].text == handset.got[1].text


async def test_a_line_whose_number_may_be_another_offers_by_now_is_taken_off(bench: Any) -> None:
    bench.profile()
    handset = Handset(UNKNOWN, SENT)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) == 1)
        bench.now += DAY + ANSWERABLE_FOR  # and with it the time until which an answer may come
        again.set()
        await until(lambda: status(bench, 1) == "sent")
    assert [text.text.partition("\n")[2] != "" for text in handset.got] == [True, False]


async def test_an_offer_of_its_own_is_never_sent_twice(bench: Any) -> None:
    bench.profile()
    handset = Handset(UNKNOWN)
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench, notification=""))
        await until(lambda: status(bench, 1) == "failed")
    assert len(handset.got) == 1
    assert len(bench.state().contacts) == 1


async def test_an_offer_of_its_own_is_retried_while_it_surely_did_not_go(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY, RETRY, SENT)
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench, notification=""))
        await until(lambda: status(bench, 1) == "sent")
    assert len(handset.got) == 3


async def test_an_offer_of_its_own_is_dropped_after_its_time(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY)
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench, notification=""))
        await until(lambda: len(handset.got) > 2)
        bench.now += 11 * 60_000
        await until(lambda: status(bench, 1) == "dropped")
    assert bench.state().contacts == []


async def test_an_offer_marked_before_a_crash_is_not_sent_after_it(bench: Any) -> None:
    bench.profile()
    work = bench.apply(call(bench, notification=""))
    (row,) = work.batch.outgoing
    from kairos.domain.inputs import Delivery

    bench.apply(Delivery(row.id, row.subscriber, "sending", bench.now))
    handset = Handset(SENT)
    async with running(bench, handset):
        await until(lambda: status(bench, row.id) == "failed")
    assert handset.got == []
    assert bench.state().offers[0].status == "open"  # it may have arrived: an answer is still good


async def test_what_a_crash_left_behind_is_sent_at_the_start(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench))
    bench.now += 3_600_000
    handset = Handset(SENT)
    async with running(bench, handset):
        await until(lambda: status(bench, 1) == "sent")
    assert "\n" in handset.got[0].text  # it may have gone out before the crash: the same words again


async def test_an_order_is_repeated_under_its_key_until_answered_and_then_confirmed(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench))
    handset, charging = Handset(SENT), Charging(Outcome("unknown"), Outcome("retry"), DONE)
    async with running(bench, handset, charging) as (loop, _):
        await loop.submit(bench.reply("1"))
        await until(lambda: any(text.text.startswith("Done") for text in handset.got))
    assert len(charging.asked) == 3
    assert len({order.key for order in charging.asked}) == 1
    assert bench.state().offers[0].status == "fulfilled"


async def test_each_subscriber_gets_messages_in_their_order(bench: Any) -> None:
    handset = Handset(SENT)
    send = handset.send

    async def slow(text: Text) -> Outcome:
        await asyncio.sleep(0.02 if text.text == "0" else 0)
        return await send(text)

    handset.send = slow  # type: ignore[method-assign]
    async with running(bench, handset) as (loop, _):
        for n in range(5):
            loop.post(call(bench, notification=str(n)))
        await until(lambda: len(handset.got) == 5)
    assert [text.text for text in handset.got] == list("01234")


async def test_a_service_that_is_away_holds_up_nothing_but_its_own(bench: Any) -> None:
    bench.profile()
    handset, away = Handset(SENT), Handset(RETRY)
    async with running(bench, handset) as (loop, dispatcher):
        dispatcher.channels = {**dispatcher.channels, "relay": away}
        await loop.submit(bench.reply("BAL"))
        await until(lambda: len(away.got) > 1)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) == 1)
        away.outcomes = [SENT]
        await until(lambda: status(bench, 1) == "sent")


async def test_a_service_that_never_comes_does_not_fill_the_memory_of_others(bench: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("kairos.engine.dispatch.PAGE", 4)
    bench.profile()
    handset, away = Handset(SENT), Handset(RETRY)
    async with running(bench, handset) as (loop, dispatcher):
        dispatcher.hold = 3
        dispatcher.channels = {**dispatcher.channels, "relay": away}
        for _ in range(10):
            await loop.submit(bench.reply("BAL"))
        await asyncio.gather(*(loop.post(call(bench, notification=f"n{n}")).answer for n in range(10)))
        await until(lambda: len(handset.got) == 10)
        away.outcomes = [SENT]
        await until(lambda: not bench.store.unsent(0, 100))
    assert len(handset.got) == 10


async def test_more_rows_than_memory_holds_wait_in_the_store_and_each_goes_once(bench: Any) -> None:
    handset = Handset(SENT)
    async with running(bench, handset) as (loop, dispatcher):
        dispatcher.hold = 7
        events = [
            msgspec.structs.replace(call(bench, notification=f"n{n}"), msisdn=f"120255501{n:02d}") for n in range(60)
        ]
        await asyncio.gather(*(loop.post(event).answer for event in events))
        await until(lambda: len(handset.got) >= 60)
        await asyncio.sleep(0.1)
    assert Counter(text.text for text in handset.got) == Counter(f"n{n}" for n in range(60))


async def test_a_notification_that_its_bringer_sent_is_not_sent_again(bench: Any) -> None:
    bench.profile()
    handset = Handset(SENT)
    async with running(bench, handset) as (loop, _):
        submission = loop.post(call(bench))
        submission.overtaken = asyncio.get_running_loop().create_future()
        submission.overtaken.set_result(True)
        await until(lambda: bool(bench.store.outgoing([1])) and status(bench, 1) == "dropped")
    assert handset.got == []
    assert bench.state().contacts == []


async def test_a_notification_that_its_bringer_tries_to_send_waits_for_the_outcome(bench: Any) -> None:
    bench.profile()
    handset = Handset(SENT)
    async with running(bench, handset) as (loop, _):
        submission = loop.post(call(bench))
        submission.overtaken = asyncio.get_running_loop().create_future()
        await submission.answer
        for _ in range(20):
            await asyncio.sleep(0)
        assert handset.got == []
        submission.overtaken.set_result(False)
        await until(lambda: status(bench, 1) == "sent")


async def test_a_line_taken_off_stays_off_after_a_restart(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY)
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) >= 1)
        bench.now += 3_600_000
        await until(lambda: handset.got[-1].text == "hello")
    again = Handset(SENT)
    async with running(bench, again):
        await until(lambda: status(bench, 1) == "sent")
    assert [text.text for text in again.got] == ["hello"]


async def test_a_stop_holds_for_an_offer_that_waits_for_its_next_try(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(call(bench, notification=""))
        await until(lambda: len(handset.got) == 1)
        handset.outcomes = [SENT]
        await loop.submit(bench.reply("STOP"))
        again.set()
        await until(lambda: status(bench, 1) == "dropped")
        await until(lambda: len(handset.got) == 2)
    assert handset.got[1].text == "No more offers."
    assert bench.state().contacts == []


async def test_strangers_do_not_hold_up_each_other(bench_with: Any) -> None:
    bench = bench_with(reject_unknown=True)
    handset = Handset(SENT)
    send = handset.send

    async def full(text: Text) -> Outcome:
        return RETRY if text.destination == "12025550101" else await send(text)

    handset.send = full  # type: ignore[method-assign]
    async with running(bench, handset) as (loop, _):
        for msisdn in ("12025550101", "12025550102"):
            await loop.submit(bench.event("end_of_call", notification="hello", msisdn=msisdn))
        await until(lambda: [text.destination for text in handset.got] == ["12025550102"])


async def test_what_is_committed_while_we_close_waits_for_the_next_start(bench: Any) -> None:
    bench.profile()
    handset = Handset(SENT)
    async with running(bench, handset) as (loop, dispatcher):
        await loop.submit(call(bench))
        await until(lambda: status(bench, 1) == "sent")
        await dispatcher.close()
        await loop.submit(bench.reply("HELP"))
        await asyncio.sleep(0)
        assert dispatcher.under_way == 0
    assert status(bench, 2) == "pending"
    async with running(bench, handset):
        await until(lambda: status(bench, 2) == "sent")


async def test_what_goes_on_as_if_nobody_had_stopped_it_does_not_hold_up_the_end(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `asyncio.wait_for` lets it before Python 3.12, where what it waits for ends at that very moment."""
    monkeypatch.setattr("kairos.engine.dispatch.STOPPED_WITHIN", 0.01)

    class Deaf(Handset):
        async def send(self, text: Text) -> Outcome:
            self.got.append(text)
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            return RETRY

    bench.profile()
    handset = Deaf(SENT)
    async with running(bench, handset) as (loop, dispatcher):
        dispatcher.backoff = Backoff(3600, 3600)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) == 1)
        async with asyncio.timeout(60):
            await dispatcher.close()
        assert dispatcher.under_way == 0


async def test_a_row_whose_sending_breaks_is_told_of(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    bench.profile()
    async with running(bench, Handset(SENT)) as (loop, dispatcher):
        monkeypatch.setattr(dispatcher, "_unsaid", broken)
        with capture_logs() as told:
            await loop.submit(call(bench))
            await until(lambda: bool(told))
    assert [(one["row"], one["channel"], str(one["exc_info"])) for one in told] == [(1, "notification", "a bug")]
    assert status(bench, 1) == "pending"


async def test_a_notification_that_its_bringer_sent_is_not_sent_from_the_store_either(bench: Any) -> None:
    bench.profile()
    handset = Handset(SENT)
    async with running(bench, handset) as (loop, dispatcher):
        dispatcher.hold = 0
        submission = loop.post(call(bench))
        submission.overtaken = asyncio.get_running_loop().create_future()
        submission.overtaken.set_result(True)
        await submission.answer
        dispatcher.hold = 10
        await until(lambda: status(bench, 1) == "dropped")
    assert handset.got == []


async def test_a_row_that_is_committed_and_not_handed_yet_is_not_fetched(bench: Any) -> None:
    bench.profile()
    handset = Handset(SENT)
    loop = Loop(bench.engine, lambda: bench.now, lambda _: None)
    dispatcher = Dispatcher(bench.store, loop, {"notification": handset}, Charging(DONE), lambda: bench.now)
    work = bench.apply(call(bench))
    await dispatcher._fetch("handset", dispatcher._backlogs["handset"])
    assert dispatcher.under_way == 0
    dispatcher.hand([(row, Submission(call(bench))) for row in work.batch.outgoing])
    assert dispatcher.under_way == 1
    await dispatcher.close()


def broken_rows(first: int) -> list[Outgoing]:
    """Rows of the outbox that nobody can send."""
    unreadable = Outgoing(first, "k", 1, "receipt", b"\xc1", 0)
    nowhere = Outgoing(first + 1, "k", 1, "pigeon", msgspec.msgpack.encode(Text("5000", "12025550123", "x")), 0)
    return [unreadable, nowhere, msgspec.structs.replace(unreadable, id=first + 2)]


async def test_a_row_that_cannot_be_sent_holds_up_no_other_and_is_told_of(bench: Any) -> None:
    bench.profile()
    handset = Handset(SENT)
    bench.store.commit(Batch(outgoing=broken_rows(1)))
    bench.engine.ids.outgoing = 10
    async with running(bench, handset) as (loop, dispatcher):
        with capture_logs() as told:
            await until(lambda: not dispatcher._backlogs["handset"].left)
            dispatcher.hand([(row, Submission(call(bench))) for row in broken_rows(4)])
            await loop.submit(call(bench))
            await until(lambda: status(bench, 10) == "sent")
    assert [(one["row"], one["channel"]) for one in told] == [(1, "receipt"), (2, "pigeon")]
    assert bench.engine.statistics.counts["broke.outbox"] == 2


# -- a disk that hangs on reads ----------------------------------------------------------------------------------------


@asynccontextmanager
async def reading_a_page(bench: Any, handset: Handset, hold: int) -> AsyncIterator[tuple[Loop, Dispatcher, Hanging]]:
    """A message waits in the store, whose page is being read: it hangs. From now on there is room for so many."""
    bench.profile()
    async with running(bench, handset) as (loop, dispatcher):
        dispatcher.hold = 0
        await loop.submit(call(bench, "0"))
        page = Hanging(bench.store, "unsent")
        dispatcher.hold = hold
        await page.reached()
        yield loop, dispatcher, page


async def test_what_is_handed_over_while_a_page_is_read_goes_out_after_what_was_there(bench: Any) -> None:
    handset = Handset(SENT)
    async with reading_a_page(bench, handset, hold=10) as (loop, dispatcher, page):
        for words in ("1", "2"):
            assert (await loop.submit(call(bench, words))).status == "applied"
        assert handset.got == []
        page.end()
        await until(lambda: status(bench, 3) == "sent")
        await until(lambda: not dispatcher._backlogs["handset"].left)
    assert [text.text.partition("\n")[0] for text in handset.got] == ["0", "1", "2"]


async def test_of_what_is_handed_over_while_a_page_is_read_no_more_is_held_than_has_room(bench: Any) -> None:
    handset = Handset(SENT)
    async with reading_a_page(bench, handset, hold=3) as (loop, dispatcher, page):
        for n in range(1, 9):
            await loop.submit(call(bench, str(n)))
        assert len(dispatcher._backlogs["handset"].came or ()) == 4
        page.end()
        await until(lambda: status(bench, 9) == "sent")
    assert [text.text.partition("\n")[0] for text in handset.got] == [str(n) for n in range(9)]


@asynccontextmanager
async def refused_once(
    bench: Any, monkeypatch: pytest.MonkeyPatch, handset: Handset
) -> AsyncIterator[tuple[Loop, Dispatcher, asyncio.Event]]:
    """Row 1 was refused, and waits for the event before it is tried again."""
    bench.profile()
    again = asyncio.Event()
    async with running(bench, handset) as (loop, dispatcher):
        monkeypatch.setattr(dispatcher, "_wait", lambda *_: again.wait())
        await loop.submit(call(bench, "first"))
        await until(lambda: bool(handset.got) and 1 not in dispatcher._may_have_gone)
        yield loop, dispatcher, again


async def test_what_may_be_taken_back_waits_until_that_is_known(bench: Any, monkeypatch: Any) -> None:
    handset = Handset(RETRY, SENT)
    async with refused_once(bench, monkeypatch, handset) as (loop, dispatcher, again):
        row = Hanging(bench.store, "outgoing")
        taken = [asyncio.create_task(dispatcher.take_back(1)) for _ in range(2)]
        await row.reached()
        again.set()
        other = bench.event("end_of_call", msisdn="12025550124", notification="second", service="voice", cost=1)
        await loop.submit(other)
        await until(lambda: handset.got[-1].text == "second")
        row.end()
        assert await asyncio.gather(*taken) == [True, True]
        await until(lambda: not dispatcher.under_way)
    assert len(handset.got) == 2
    assert status(bench, 1) == "dropped"


async def test_what_cannot_be_taken_back_goes_out(bench: Any, monkeypatch: Any) -> None:
    handset = Handset(RETRY, SENT)

    def fails(_: Any) -> Any:
        raise StoreError("the disk is broken")

    async with refused_once(bench, monkeypatch, handset) as (_, dispatcher, again):
        outgoing, bench.store.outgoing = bench.store.outgoing, fails
        with pytest.raises(StoreError):
            await dispatcher.take_back(1)
        bench.store.outgoing = outgoing
        again.set()
        await until(lambda: status(bench, 1) == "sent")


async def test_a_page_that_was_read_before_a_row_was_taken_back_does_not_send_it(bench: Any) -> None:
    bench.profile()
    handset, committing, go_on = Handset(SENT), threading.Event(), threading.Event()
    async with running(bench, handset) as (loop, dispatcher):
        dispatcher.hold = 0
        await loop.submit(call(bench, "first"))
        commit = bench.store.commit

        def waits(batch: Batch) -> None:
            committing.set()
            assert go_on.wait(60)
            commit(batch)

        bench.store.commit = waits
        taken = asyncio.create_task(dispatcher.take_back(1))
        await until(committing.is_set)
        page = Hanging(bench.store, "unsent")
        dispatcher.hold = 10
        await page.reached()
        go_on.set()
        assert await taken
        await loop.submit(call(bench, "second"))
        page.end()
        await until(lambda: status(bench, 2) == "sent")
        await until(lambda: not dispatcher._taken_back)
    assert [text.text.partition("\n")[0] for text in handset.got] == ["second"]
    assert status(bench, 1) == "dropped"


async def test_a_channel_that_breaks_is_tried_again_but_not_with_an_offer(bench: Any) -> None:
    bench.profile()
    handset = Handset(SENT)
    send, broken = handset.send, Counter[bool]()

    async def breaks(text: Text) -> Outcome:
        broken[text.marketing] += 1
        return await send(text) if broken[text.marketing] > 1 else 1 / 0  # type: ignore[return-value]

    handset.send = breaks  # type: ignore[method-assign]
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench, notification=""))
        await until(lambda: status(bench, 1) == "failed")
        await loop.submit(call(bench))
        await until(lambda: status(bench, 2) == "sent")
    assert broken == {True: 1, False: 2}


async def test_a_fulfiller_that_breaks_is_asked_again(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench))
    charging = Charging(DONE)
    fulfil = charging.fulfil

    async def breaks(order: Order) -> Outcome:
        outcome = await fulfil(order)
        return outcome if len(charging.asked) > 1 else 1 / 0  # type: ignore[return-value]

    charging.fulfil = breaks  # type: ignore[method-assign]
    async with running(bench, Handset(SENT), charging) as (loop, _):
        await loop.submit(bench.reply("1"))
        await until(lambda: bench.state().offers[0].status == "fulfilled")


async def test_a_notification_goes_out_though_its_state_cannot_be_read(bench: Any) -> None:
    bench.profile()
    handset = Handset(RETRY)
    async with running(bench, handset) as (loop, dispatcher):
        dispatcher.backoff = Backoff(0.05, 0.05)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) > 0)
        bench.store.commit(Batch(states={bench.state().id: b"\xc1"}))
        bench.now += 3_600_000  # too late for its line, which the engine cannot be told
        tries = len(handset.got)
        await until(lambda: len(handset.got) > tries + 1)  # the first of them may have been under way
        handset.outcomes = [SENT]
        await until(lambda: status(bench, 1) == "sent")
    assert handset.got[-1].text == "hello"


@pytest.mark.parametrize(("before", "kept"), [(RETRY, 0), (UNKNOWN, 1)])
async def test_a_line_that_may_have_gone_out_keeps_its_offer_though_its_repeat_fails(
    bench: Any, before: Outcome, kept: int
) -> None:
    bench.profile()
    handset = Handset(before, Outcome("failed", reason="no such number"))
    async with running(bench, handset) as (loop, _):
        await loop.submit(call(bench))
        await until(lambda: status(bench, 1) == "failed")
    assert len(bench.state().contacts) == kept
    assert bench.state().offers[0].status == ("open" if kept else "withdrawn")


async def ordered(bench: Any, loop: Loop) -> None:
    """An offer is made and taken: rows 1 and 2."""
    await loop.submit(call(bench))
    await loop.submit(bench.reply("1"))


@pytest.mark.parametrize(
    ("outcomes", "known", "said"),
    [
        ([DONE], None, "send"),
        ([RETRY, RETRY, DONE], None, "send send send"),
        ([UNKNOWN], DONE, "send ask"),
        ([UNKNOWN, DONE], None, "send ask send"),
        ([UNKNOWN, RETRY, UNKNOWN, DONE], None, "send ask send send ask send"),
    ],
)
async def test_what_may_have_arrived_is_asked_for_before_it_is_sent_again(
    bench: Any, outcomes: list[Outcome], known: Outcome | None, said: str
) -> None:
    bench.profile()
    charging = Charging(*outcomes, known=known)
    async with running(bench, Handset(SENT), charging) as (loop, _):
        await ordered(bench, loop)
        await until(lambda: status(bench, 2) == "delivered")
    assert " ".join(charging.said) == said
    assert bench.state().offers[0].status == "fulfilled"


async def test_what_an_earlier_run_may_have_sent_is_asked_for_first(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench))
    bench.apply(bench.reply("1"))
    charging = Charging(Outcome("refused"), known=DONE)
    async with running(bench, Handset(SENT), charging):
        await until(lambda: status(bench, 2) == "delivered")
    assert charging.said == ["ask"]
    assert bench.state().offers[0].status == "fulfilled"


async def test_a_call_that_is_not_answered_for_long_is_given_up(bench: Any) -> None:
    bench.profile()
    charging = Charging(UNKNOWN, known=UNKNOWN)
    async with running(bench, Handset(SENT), charging) as (loop, dispatcher):
        dispatcher.patience = Patience(call=DAY)
        await ordered(bench, loop)
        await until(lambda: len(charging.said) > 5)
        assert status(bench, 2) == "pending"
        bench.now += DAY + 1
        await until(lambda: status(bench, 2) == "failed")
    assert bench.store.purchases("", 1)[0].status == "stuck"
    (letter,) = bench.store.dead_letters("purchase")
    assert opened(letter)["status"] == "stuck"


async def test_a_call_that_is_old_because_we_were_down_is_still_tried(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench))
    bench.apply(bench.reply("1"))
    bench.now += 3 * DAY
    charging = Charging(UNKNOWN, DONE)
    async with running(bench, Handset(SENT), charging):
        await until(lambda: status(bench, 2) == "delivered")
    assert charging.said == ["ask", "send", "ask", "send"]


async def test_what_an_account_is_owed_waits_for_it_so_long_and_then_becomes_a_dead_letter(bench: Any) -> None:
    away = Outcome("retry", reason="account `ocs` is not bound as a receiver")
    receipt = Text("12025550123", "5000", "DELIVERED 000 1 1", account="ocs", message_id="m1")
    bench.store.commit(Batch(outgoing=[Outgoing(1, "k", 0, "receipt", msgspec.msgpack.encode(receipt), bench.now)]))
    account = Handset(away)
    async with running(bench, account):
        await until(lambda: len(account.got) > 2)
        assert status(bench, 1) == "pending"
        bench.now += 4 * DAY
        await until(lambda: status(bench, 1) == "failed")
    (letter,) = bench.store.dead_letters("text")
    assert letter.reason == f"not taken in time: {away.reason}"


class Choosy(Handset):
    """An SMSC that refuses what is for some numbers, for the time being; while it is `out`, everything."""

    def __init__(self, *full: str) -> None:
        super().__init__(SENT)
        self.full = full
        self.out = False
        self.tried: Counter[str] = Counter()

    async def send(self, text: Text) -> Outcome:
        self.tried[text.destination] += 1
        await asyncio.sleep(0)
        if self.out or text.destination in self.full:
            return Outcome("retry", reason="ESME_RMSGQFUL", refused=True)
        return await super().send(text)


async def test_a_subscriber_whose_queue_stays_full_holds_up_nobody_for_ever(bench: Any) -> None:
    """Rows that wait in memory are bounded for all together, so those of a few must not fill it."""
    smsc = Choosy("12025550177")
    async with running(bench, smsc) as (loop, dispatcher):
        dispatcher.hold = 3
        for number in range(4):
            await loop.submit(bench.event("profile", msisdn="12025550177", notification=f"hello {number}"))
        await loop.submit(bench.event("profile", notification="hello"))
        await until(lambda: status(bench, 5) == "sent")
        assert status(bench, 1) == "pending"
        bench.now += dispatcher.refused_for + 1
        for number in range(1, 5):  # each is tried, and others are taken meanwhile
            await loop.submit(bench.event("profile", notification="hello"))
            await until(partial(lambda number: status(bench, number) == "failed", number))
    assert {letter.reason for letter in bench.store.dead_letters()} == {"refused for too long: ESME_RMSGQFUL"}


async def test_while_the_smsc_takes_nobody_nothing_is_given_up(bench: Any) -> None:
    smsc = Choosy()
    async with running(bench, smsc) as (loop, dispatcher):
        await loop.submit(call(bench))
        await until(lambda: status(bench, 1) == "sent")
        smsc.out = True
        for _ in range(3):
            await loop.submit(call(bench))
        bench.now += dispatcher.refused_for + 1
        await until(lambda: sum(smsc.tried.values()) > 10)
        smsc.out = False
        await until(lambda: [status(bench, number) for number in range(1, 5)] == ["sent"] * 4)


async def test_what_is_old_because_we_were_down_is_not_given_up_at_once(bench: Any) -> None:
    smsc = Choosy("12025550177")
    async with running(bench, smsc) as (loop, dispatcher):
        await loop.submit(bench.event("profile", msisdn="12025550177", notification="hello"))
    bench.now += dispatcher.refused_for + 1
    async with running(bench, smsc) as (loop, _):
        for _ in range(3):
            await loop.submit(call(bench))
            tried = smsc.tried["12025550177"]
            await until(partial(lambda tried: smsc.tried["12025550177"] > tried + 2, tried))
        smsc.full = ()
        await until(lambda: status(bench, 1) == "sent")


async def test_an_account_that_is_away_holds_up_no_other(bench: Any) -> None:
    class Esmes(Handset):
        async def send(self, text: Text) -> Outcome:
            self.got.append(text)
            return Outcome("retry", reason="not bound") if text.account == "away" else SENT

    esmes = Esmes(SENT)
    dispatcher: Dispatcher
    loop = Loop(bench.engine, lambda: bench.now, lambda rows: dispatcher.hand(rows))
    channels = {"receipt": esmes, "notification": esmes}
    dispatcher = Dispatcher(bench.store, loop, channels, Charging(DONE), lambda: bench.now, hold=2, backoff=QUICK)
    tasks = [asyncio.create_task(loop.run()), asyncio.create_task(dispatcher.run())]
    for account in ("away", "away", "away", "away", "here", "unknown"):
        passed = Text("12025550123", "5000", "", account=account, message_id="m")
        await loop.submit(Delivery(0, 0, "receipt", bench.now, receipt=passed))
    await until(lambda: {text.account for text in esmes.got} == {"away", "here", "unknown"})
    await dispatcher.close()
    loop.close()
    await asyncio.wait_for(asyncio.gather(*tasks), 60)


async def test_an_order_that_waits_is_not_sent_to_a_number_that_is_anothers_meanwhile(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench))
    owner = bench.state().id
    charging = Charging(Outcome("retry", reason="no connection"))
    async with running(bench, Handset(SENT), charging) as (loop, _):
        await loop.submit(bench.reply("1"))
        await until(lambda: bool(charging.asked))
        await loop.submit(Change("crm/1", "number_recycled", "12025550123", bench.now))
        await until(lambda: bench.store.purchases("", 1)[0].status == "refused")
        charging.outcomes = [DONE]
    (purchase,) = bench.store.purchases("", 2)
    assert (purchase.subscriber, purchase.reason) == (owner, "number changed hands")
    assert bench.state().id != owner
