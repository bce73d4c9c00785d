"""What could not be handled is kept, and handled after all when somebody asks: once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from tests.hanging import Hanging

from kairos import enrich, respond
from kairos.domain.event import Event
from kairos.domain.inputs import Delivery, Timer
from kairos.domain.message import Outgoing, Text
from kairos.engine.dead_letters import COUNTED_EVERY, ROOM, DeadLetters, opened
from kairos.engine.loop import Loop
from kairos.engine.timers import run_timers
from kairos.engine.work import encode, identity
from kairos.errors import EventError, StoreError
from kairos.ports import Batch


class Desk:
    """An engine with its dead letters; `mended` is whether the bug in it is."""

    def __init__(self, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench, self.mended = bench, False
        self.letters = DeadLetters(bench.store, lambda: bench.now, bench.engine.statistics.counts, keep=5)
        self.handed: list[Outgoing] = []
        self.loop = Loop(
            bench.engine,
            lambda: bench.now,
            lambda rows: self.handed.extend(row for row, _ in rows),
            broken=self.letters.broke,
        )
        monkeypatch.setattr("kairos.enrich.fold", self.breaking(enrich.fold))
        monkeypatch.setattr("kairos.respond.expire", self.breaking(respond.expire))

    def breaking(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*arguments: Any) -> Any:
            if not self.mended and any(getattr(one, "kind", "") == "recharge" or one == "bad" for one in arguments):
                raise ZeroDivisionError("a bug")
            return step(*arguments)

        return stepped

    def replay(self) -> None:
        self.bench.store.commit(Batch(letters_marked=[(one.id, "replay") for one in self.bench.store.dead_letters()]))

    def statuses(self) -> list[str]:
        return [one.status for one in self.bench.store.dead_letters()]


@pytest.fixture
async def desk(bench: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    made = Desk(bench, monkeypatch)
    running = asyncio.create_task(made.loop.run())
    yield made
    made.loop.close()
    await running


async def test_an_event_that_breaks_the_engine_is_kept_and_replayed_once(desk: Desk) -> None:
    bench = desk.bench
    bench.profile()
    broken = bench.event("recharge", amount=1000)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await desk.loop.submit(broken)
    await desk.letters.write()
    (letter,) = bench.store.dead_letters()
    assert (letter.kind, letter.identity, letter.subscriber) == ("event", broken.identity, broken.msisdn)
    assert (letter.reason, letter.times, letter.status) == ("ZeroDivisionError: a bug", 2, "new")
    assert "stepped" in letter.trace
    assert opened(letter)["data"] == {"amount": 1000}
    assert desk.letters.figures == {"dead_letters.event": 1}

    desk.replay()
    await desk.letters.replay(desk.loop)
    await desk.letters.write()
    assert desk.statuses() == ["new"], "it is broken still"
    assert bench.store.dead_letters()[0].times == 3

    desk.mended = True
    for _ in range(2):
        desk.replay()
        await desk.letters.replay(desk.loop)
        assert desk.statuses() == ["replayed"]
    assert enrich.counter_buckets(bench.state(), 0)[1] == 1, "a replay twice does nothing more"
    assert (await desk.loop.submit(broken)).status == "duplicate"
    await desk.letters.write()
    assert desk.letters.figures == {}


async def test_an_event_that_is_refused_when_replayed_stays_new(desk: Desk) -> None:
    with pytest.raises(ZeroDivisionError):
        await desk.loop.submit(desk.bench.event("recharge", amount=1000))
    await desk.letters.write()
    desk.mended, desk.bench.engine.reject_unknown = True, True
    desk.replay()
    await desk.letters.replay(desk.loop)
    assert desk.statuses() == ["new"]


async def test_what_is_discarded_beside_us_is_counted_no_more(desk: Desk) -> None:
    desk.letters.put("unread", "shape", "", "no pattern reads it", b"")
    await desk.letters.write()
    assert desk.letters.figures == {"dead_letters.unread": 1}
    desk.bench.store.commit(Batch(letters_marked=[(1, "discarded")]))
    desk.bench.now += COUNTED_EVERY
    await desk.letters.write()
    assert desk.letters.figures == {}


async def test_a_replayed_event_does_not_send_its_notification_again(desk: Desk) -> None:
    desk.bench.profile()
    with pytest.raises(ZeroDivisionError):
        await desk.loop.submit(desk.bench.event("recharge", notification="You have T$10", amount=1000))
    await desk.letters.write()
    desk.mended = True
    desk.replay()
    await desk.letters.replay(desk.loop)
    assert desk.statuses() == ["replayed"]
    assert desk.handed == []


async def test_a_timer_that_breaks_the_engine_wakes_it_no_more(desk: Desk) -> None:
    bench = desk.bench
    bench.profile()
    bench.store.commit(Batch(timers=[Timer(7, 0, 1, "bad")]))
    tries = Counter[str]()
    broke = desk.letters.broke
    desk.loop.broken = lambda source, error: (tries.update([identity(source)]), broke(source, error))[1]
    timers = asyncio.create_task(run_timers(bench.store, desk.loop, lambda: bench.now, every=0.001))
    writing = asyncio.create_task(desk.letters.run(desk.loop, every=0.001))
    async with asyncio.timeout(60):
        while bench.store.timers_due(2**62, 9):
            await asyncio.sleep(0.002)
    for task in (timers, writing):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    (letter,) = bench.store.dead_letters()
    assert (letter.kind, letter.identity) == ("timer", "timer/7")
    assert letter.times <= tries["timer/7"]
    desk.mended = True
    desk.replay()
    await desk.letters.replay(desk.loop)
    assert desk.statuses() == ["replayed"]


async def test_an_input_whose_state_cannot_be_read_is_kept(desk: Desk) -> None:
    bench = desk.bench
    bench.profile()
    bench.store.commit(Batch(states={1: b"\x91\x09"}))
    with pytest.raises(msgspec.ValidationError):
        await desk.loop.submit(bench.reply("STOP"))
    await desk.letters.write()
    (letter,) = bench.store.dead_letters()
    assert letter.kind == "reply"
    assert "schema 9" in letter.reason
    assert "upgrade kairos" in letter.reason


@asynccontextmanager
async def failing(store: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    def full(_: Batch) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", full)
        yield


async def test_what_comes_again_while_it_is_written_is_counted_once_each(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = desk.bench.store.commit

    def slow(batch: Batch) -> None:
        commit(batch)
        desk.letters.put("unread", "shape", "", "no pattern reads it", b"Hi 5")

    desk.letters.put("unread", "shape", "", "no pattern reads it", b"Hi 4")
    with monkeypatch.context() as patch:
        patch.setattr(desk.bench.store, "commit", slow)
        await desk.letters.write()
    await desk.letters.write()
    (letter,) = desk.bench.store.dead_letters()
    assert (letter.times, letter.payload) == (2, b"Hi 5")


async def test_a_store_that_is_down_breaks_nothing_and_letters_wait_as_long_as_there_is_room(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = desk.bench.engine.statistics.counts
    async with failing(desk.bench.store, monkeypatch):
        for number in range(ROOM + 3):
            desk.letters.put("unread", str(number), "", "no pattern", b"text")
        with pytest.raises(StoreError):
            await desk.letters.write()
    assert counts["dead_letters.lost"] == 3
    await desk.letters.write()
    assert len(desk.bench.store.dead_letters(limit=ROOM)) == 5
    assert counts["dead_letters.dropped"] == ROOM - 5
    assert counts["dead_letters.unread"] == ROOM + 3


async def test_what_cannot_become_a_letter_is_counted(desk: Desk) -> None:
    desk.letters.broke(Event("id", "call", "15550100", 0, {"odd": object()}), ValueError("odd"))
    assert desk.bench.engine.statistics.counts["dead_letters.lost"] == 1


async def test_a_rejected_event_is_read_anew(desk: Desk) -> None:
    bench = desk.bench
    bench.profile()
    said = bench.event("profile", plan="postpaid")

    def read(sent: bytes) -> Event:
        if not desk.mended:
            raise EventError("unknown event type")
        assert sent == b"{}"
        return said  # type: ignore[no-any-return]

    desk.letters.read = read
    desk.letters.put("rejected", "crm/1", "", "unknown event type", b"{}")
    await desk.letters.write()
    for status, plan in (("new", "prepaid"), ("replayed", "postpaid")):
        desk.replay()
        await desk.letters.replay(desk.loop)
        assert desk.statuses() == [status]
        assert bench.state().attributes[0] == plan
        desk.mended = True


async def test_a_text_that_was_refused_for_good_is_sent_once_more(desk: Desk) -> None:
    bench = desk.bench
    bench.profile()
    notification = Text("5000", "12025550123", "You have T$10", account="ocs", message_id="m1", receipt=True)
    bench.store.commit(Batch(outgoing=[Outgoing(1, "k", 1, "notification", encode(notification), 0)]))
    bench.engine.ids.outgoing = 2
    await desk.loop.submit(Delivery(1, 0, "failed", bench.now, reason="ESME_RINVDSTADR"))
    (letter,) = bench.store.dead_letters()
    assert (letter.kind, letter.reason) == ("text", "ESME_RINVDSTADR")
    desk.replay()
    hanging = Hanging(bench.store, "outgoing")
    replaying = asyncio.create_task(desk.letters.replay(desk.loop))
    await hanging.reached()
    hanging.end()
    await replaying
    assert desk.statuses() == ["replayed"]
    (row,) = desk.handed
    assert (row.channel, row.status, row.key) == ("notification", "pending", "m1")
    assert msgspec.msgpack.decode(row.payload, type=Text) == notification


async def test_a_withdrawn_offer_and_a_row_that_is_gone_are_not_sent_again(desk: Desk) -> None:
    bench = desk.bench
    bench.profile()
    offer = Text("5000", "12025550123", "Reply 1", marketing=True)
    bench.store.commit(Batch(outgoing=[Outgoing(1, "k", 1, "sms", encode(offer), 0)]))
    for row in (1, 99):
        await desk.loop.submit(Delivery(row, 0, "failed", bench.now, reason="ESME_RINVDSTADR"))
    desk.replay()
    await desk.letters.replay(desk.loop)
    assert desk.statuses() == ["new", "new"]
    assert desk.handed == []


async def test_an_outcome_that_is_unknown_and_a_receipt_are_no_dead_letters(desk: Desk) -> None:
    for reason in ("unknown", ""):
        await desk.loop.submit(Delivery(1, 0, "failed", desk.bench.now, reason=reason))
    assert desk.statuses() == []
