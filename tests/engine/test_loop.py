"""The loop: answers come after the commit, a failed commit fails its batch and undoes what was decided on top of it."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.waiting import until

from kairos import enrich
from kairos.adapters.memory import MemoryStore
from kairos.domain.inbound import Look, Visit, Word
from kairos.domain.message import Outgoing, Text
from kairos.domain.subscriber import Bucket
from kairos.engine.aside import InThreads
from kairos.engine.engine import Engine
from kairos.engine.loop import COMMITS, SLICE, Loop, OverloadedError, Submission
from kairos.engine.reads import Read
from kairos.engine.work import Answer
from kairos.errors import StoreError
from kairos.learn import FixedPropensity
from kairos.ports import Batch


class FlakyStore(MemoryStore):
    """A store whose commits wait for a gate, and fail when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.failing = 0
        self.commits = 0

    def commit(self, batch: Batch) -> None:
        self.gate.wait(60)
        if self.failing:
            self.failing -= 1
            raise StoreError("the disk is full")
        self.commits += 1
        super().commit(batch)


@asynccontextmanager
async def looping(bench: Any, store: MemoryStore, handed: Any, **options: Any) -> AsyncIterator[Loop]:
    """The bench's engine on that store, in a loop that runs, and that ends whatever is under way at the end."""
    bench.store = store
    bench.engine = Engine(store, bench.program, FixedPropensity())
    loop = Loop(bench.engine, lambda: bench.now, handed, **options)
    task = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        loop.close()
        await asyncio.wait_for(task, 60)


@asynccontextmanager
async def running(bench: Any, **options: Any) -> AsyncIterator[tuple[Loop, FlakyStore, list[Outgoing]]]:
    store, handed = FlakyStore(), list[Outgoing]()
    async with looping(bench, store, lambda rows: handed.extend(row for row, _ in rows), **options) as loop:
        try:
            yield loop, store, handed
        finally:
            store.gate.set()


async def under_way(bench: Any, batches: int = 1) -> None:
    """Until so many have been decided and are not yet committed."""
    await until(lambda: len(bench.engine.flying) == batches)


async def test_an_answer_comes_after_the_commit(bench: Any) -> None:
    async with running(bench) as (loop, store, handed):
        store.gate.clear()
        submission = loop.post(bench.event("end_of_call", notification="hello", service="voice", cost=1))
        await under_way(bench)
        assert not submission.answer.done()
        assert handed == []
        store.gate.set()
        assert (await submission.answer).status == "applied"
        assert len(handed) == 1


async def test_a_failed_commit_fails_its_batch_and_the_next_is_taken_anew(bench: Any) -> None:
    async with running(bench) as (loop, store, _):
        store.gate.clear()
        store.failing = 1
        lost = loop.post(bench.event("recharge", identity="a", amount=100))
        await under_way(bench)
        kept = loop.post(bench.event("recharge", identity="b", amount=100))
        await under_way(bench, 2)
        store.gate.set()
        with pytest.raises(StoreError):
            await lost.answer
        assert (await kept.answer).status == "applied"
        assert enrich.counter_buckets(bench.state(), 0)[1] == 1
        assert (await loop.submit(bench.event("recharge", identity="a", amount=100))).status == "applied"
        assert enrich.counter_buckets(bench.state(), 0)[1] == 2
        assert bench.engine.flying == []


async def test_what_was_read_before_the_last_commit_ended_is_no_older_than_it(bench: Any) -> None:
    """The read of the second batch sees the store before the first one's commit, and comes back after it."""
    async with running(bench) as (loop, store, _):
        load = store.load
        await loop.submit(bench.event("recharge", amount=1))
        store.gate.clear()
        first = loop.post(bench.event("recharge", amount=1))
        await under_way(bench)
        seen, read = threading.Event(), threading.Event()

        def late(*wanted: Any) -> Any:
            found = load(*wanted)
            seen.set()
            read.wait(60)
            return found

        store.load = late  # type: ignore[method-assign, assignment]
        second = loop.post(bench.event("recharge", amount=1))
        await until(seen.is_set)
        store.gate.set()
        await first.answer
        read.set()
        await second.answer
        assert enrich.counter_buckets(bench.state(), 0)[1] == 3


async def test_what_waits_joins_one_batch(bench: Any) -> None:
    async with running(bench, batch=50) as (loop, store, _):
        store.gate.clear()
        posted = [loop.post(bench.event("recharge", amount=1)) for _ in range(120)]
        await asyncio.sleep(0.05)
        store.gate.set()
        await asyncio.gather(*(submission.answer for submission in posted))
        assert store.commits == 3
        assert enrich.counter_buckets(bench.state(), 0)[1] == 120


async def test_a_full_queue_turns_away_but_not_our_own_news(bench: Any) -> None:
    async with running(bench, queue=3) as (loop, store, _):
        store.gate.clear()
        first = loop.post(bench.event("recharge", amount=1))
        await asyncio.sleep(0.05)
        second = [loop.post(bench.event("recharge", amount=1)) for _ in range(1)]
        await asyncio.sleep(0.05)
        waiting: list[Submission] = []
        while len(waiting) < 3 and loop.waiting < 3:
            waiting.append(loop.post(bench.event("recharge", amount=1)))
        with pytest.raises(OverloadedError):
            loop.post(bench.event("recharge", amount=1))
        waiting.append(loop.post(bench.event("recharge", amount=1), own=True))
        store.gate.set()
        await asyncio.gather(*(submission.answer for submission in [first, *second, *waiting]))


async def test_a_bug_costs_one_input_and_not_the_batch(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(bench) as (loop, store, _):
        fold = bench.engine._take

        def broken(work: Any, index: int, event: Any) -> Any:
            if getattr(event, "identity", "") == "bad":
                raise ZeroDivisionError("a bug")
            return fold(work, index, event)

        monkeypatch.setattr(bench.engine, "_take", broken)
        store.gate.clear()
        first = loop.post(bench.event("recharge", identity="1", amount=1))
        await asyncio.sleep(0.02)
        rest = [loop.post(bench.event("recharge", identity=name, amount=1)) for name in ("2", "bad", "3")]
        store.gate.set()
        assert (await first.answer).status == "applied"
        assert (await rest[0].answer).status == "applied"
        with pytest.raises(ZeroDivisionError):
            await rest[1].answer
        assert (await rest[2].answer).status == "applied"
        assert enrich.counter_buckets(bench.state(), 0)[1] == 3


async def test_a_new_playbook_holds_from_the_next_batch_on(bench: Any, bench_with: Callable[..., Any]) -> None:
    other = bench_with({"contact_policy.yaml": "contact_only_when: {marketing consent: marketing_consent}"})
    async with running(bench) as (loop, _, handed):
        known = {"plan": "prepaid", "language": "en", "marketing_consent": True}
        await loop.submit(bench.event("profile", **known))
        loop.use(other.program)
        balances = [Bucket("main", 5000), Bucket("data", 100_000)]
        await loop.submit(bench.event("end_of_call", notification="x", service="voice", cost=1, balances=balances))
        assert bench.engine.program.playbook.revision == other.program.playbook.revision
        assert len(handed) == 1


async def test_a_state_that_cannot_be_read_ahead_costs_nothing_before_its_turn(bench: Any) -> None:
    async with running(bench, batch=1) as (loop, store, _):
        for msisdn in ("12025550123", "12025550124"):
            await loop.submit(bench.event("recharge", msisdn=msisdn, amount=100))
        store.commit(Batch(states={2: b"\xc1"}))
        before = store.commits
        store.gate.clear()
        posted = [loop.post(bench.event("recharge", msisdn=m, amount=100)) for m in ("12025550123",) * 3]
        broken = loop.post(bench.event("recharge", msisdn="12025550124", amount=100))
        await asyncio.sleep(0.05)
        store.gate.set()
        assert {(await submission.answer).status for submission in posted} == {"applied"}
        with pytest.raises(msgspec.DecodeError):
            await broken.answer
        assert store.commits == before + 3


@pytest.mark.parametrize("batch", [2, 3, 4, 5])
async def test_an_input_that_breaks_leaves_the_others_in_their_order(bench: Any, monkeypatch: Any, batch: int) -> None:
    async with running(bench, batch=batch) as (loop, store, handed):
        fold = bench.engine._take

        def broken(work: Any, index: int, event: Any) -> Any:
            if getattr(event, "identity", "") == "bad":
                raise ZeroDivisionError("a bug")
            return fold(work, index, event)

        monkeypatch.setattr(bench.engine, "_take", broken)
        store.gate.clear()
        names = [f"n{n:02d}" for n in range(20)]
        posted = []
        for name in names:
            posted.append(loop.post(bench.event("recharge", identity=name, notification=name, amount=1)))
            if name == "n03":
                bad = loop.post(bench.event("recharge", identity="bad", notification="bad", amount=1))
        await asyncio.sleep(0.05)
        store.gate.set()
        await asyncio.gather(*(submission.answer for submission in posted))
        with pytest.raises(ZeroDivisionError):
            await bad.answer
    assert [msgspec.msgpack.decode(row.payload, type=Text).text for row in handed] == names


async def test_a_commit_stands_whatever_happens_to_the_reading_ahead(bench: Any) -> None:
    async with running(bench, batch=1) as (loop, store, handed):
        store.gate.clear()
        posted = [loop.post(bench.event("recharge", notification=f"n{n}", amount=1)) for n in range(5)]
        await asyncio.sleep(0.05)
        load, failed = loop.aside.load, list[Any]()

        async def fails_once(*wanted: Any) -> Any:
            if not failed:
                failed.append(wanted)
                raise MemoryError
            return await load(*wanted)

        loop.aside.load = fails_once  # type: ignore[method-assign, assignment]
        store.gate.set()
        answers = await asyncio.gather(*(submission.answer for submission in posted), return_exceptions=True)
        assert [type(one) for one in answers].count(MemoryError) == len(failed) == 1
        assert len(handed) == 4
        assert not loop._reads.kept


async def test_what_breaks_after_a_commit_undoes_nothing_and_ends_nothing(bench: Any) -> None:
    def breaks(_: Any) -> None:
        raise ZeroDivisionError("a bug")

    with capture_logs() as told:
        async with looping(bench, MemoryStore(), breaks) as loop:
            for n in (1, 2):
                answer = await loop.submit(bench.event("recharge", notification=f"n{n}", amount=1))
                assert answer.status == "applied"
            await loop.submit(bench.event("recharge", amount=1))
            assert enrich.counter_buckets(bench.state(), 0)[1] == 3
            assert bench.engine.flying == []
    assert [(one["log_level"], repr(one["exc_info"])) for one in told] == [("error", "ZeroDivisionError('a bug')")]
    assert bench.engine.statistics.counts["broke.telling"] == 2


async def test_who_could_not_be_told_of_a_commit_hears_why(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(bench) as (loop, _, _):
        apply = bench.engine.end

        def short_of_an_answer(work: Any) -> None:
            apply(work)
            work.answers.pop()

        monkeypatch.setattr(bench.engine, "end", short_of_an_answer)
        with pytest.raises(ValueError, match="zip"):
            await loop.submit(bench.event("recharge", identity="a", amount=1))
        monkeypatch.undo()
        assert (await loop.submit(bench.event("recharge", identity="a", amount=1))).status == "duplicate"


# -- commits that follow one another -----------------------------------------------------------------------------------


class SlowAside(InThreads):
    """An Aside whose commits end when they are told to, each in its order; what was asked of it."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.asked: list[Batch] = []
        self.chains: list[int] = []
        self.loads = 0

    async def load(self, *wanted: Any) -> Any:
        self.loads += 1
        return await super().load(*wanted)

    async def commit(self, batch: Batch, chain: int) -> None:
        self.asked.append(batch)
        self.chains.append(chain)
        await super().commit(batch, chain)


class SlowStore(MemoryStore):
    """Its commits wait for a word, and fail where it is False."""

    def __init__(self) -> None:
        super().__init__()
        self.words: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def commit(self, batch: Batch) -> None:
        if not self.words.get(timeout=60):
            raise StoreError("the disk is full")
        super().commit(batch)


@asynccontextmanager
async def slow(bench: Any, **options: Any) -> AsyncIterator[tuple[Loop, SlowAside, SlowStore]]:
    store = SlowStore()
    aside = SlowAside(store)
    async with looping(bench, store, lambda _: None, aside=aside, **options) as loop:
        try:
            yield loop, aside, store
        finally:
            for _ in range(50):
                store.words.put(True)


def recharge(bench: Any, identity: str, msisdn: str = "12025550123") -> Any:
    return bench.event("recharge", identity=identity, msisdn=msisdn, amount=1)


async def test_a_batch_is_on_its_way_to_the_store_before_the_one_before_it_has_ended(bench: Any) -> None:
    async with slow(bench) as (loop, aside, store):
        first = loop.post(recharge(bench, "a"))
        await under_way(bench)
        second = loop.post(recharge(bench, "b"))
        await under_way(bench, 2)
        third = loop.post(recharge(bench, "c"))
        await asyncio.sleep(0.05)
        assert len(aside.asked) == 2  # and no more than that
        assert not first.answer.done()
        assert not second.answer.done()
        for _ in range(3):
            store.words.put(True)
        assert [(await one.answer).status for one in (first, second, third)] == ["applied"] * 3
        assert enrich.counter_buckets(bench.state(), 0)[1] == 3
        assert set(aside.chains) == {0}


async def test_what_stands_on_a_commit_that_failed_is_taken_anew_in_its_order(bench: Any) -> None:
    async with slow(bench) as (loop, aside, store):
        posted = []
        for name in ("a", "b", "c", "d"):
            posted.append(loop.post(recharge(bench, name)))
            await until(lambda: aside.asked)
        for well in (False, True, True, True):
            store.words.put(well)
        with pytest.raises(StoreError, match="the disk is full"):
            await posted[0].answer
        assert [(await one.answer).status for one in posted[1:]] == ["applied"] * 3
        assert enrich.counter_buckets(bench.state(), 0)[1] == 3
        assert bench.engine.flying == []
        assert sorted(set(aside.chains)) == [0, 1]
        assert not loop._reads.kept


async def test_an_answer_without_a_write_waits_for_what_it_is_true_of(bench: Any) -> None:
    """A repeat is told as one only when the first is kept; if that fails, it is the first."""
    async with slow(bench) as (loop, _, store):
        first = loop.post(recharge(bench, "a"))
        await under_way(bench)
        again = loop.post(recharge(bench, "a"))
        await under_way(bench, 2)
        assert not again.answer.done()
        store.words.put(False)
        store.words.put(True)
        with pytest.raises(StoreError):
            await first.answer
        assert (await again.answer).status == "applied"
        assert enrich.counter_buckets(bench.state(), 0)[1] == 1


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_fails_each_input_counts_once_where_it_was_acknowledged_and_never_else(
    bench: Any, seed: int
) -> None:
    chance = random.Random(seed)
    async with slow(bench, batch=chance.choice((1, 2, 5))) as (loop, _, store):
        numbers = [f"1202555010{n}" for n in range(3)]
        posted: list[tuple[str, Any]] = []
        for n in range(60):
            number = chance.choice(numbers)
            if chance.random() < 0.3:
                visiting = Visit(f"v{n}", number, "care", bench.now)
                posted.append(("", asyncio.create_task(loop.ask(visiting))))
            else:
                posted.append((number, loop.post(recharge(bench, f"e{n}", number)).answer))
            if chance.random() < 0.5:
                store.words.put(chance.random() < 0.7)
            if chance.random() < 0.5:
                await asyncio.sleep(chance.choice((0, 0.001, 0.004)))
        for _ in range(200):
            store.words.put(chance.random() < 0.9)
        answers = await asyncio.gather(*(one for _, one in posted), return_exceptions=True)
        assert {type(one) for one in answers} <= {Answer, StoreError}
        applied = Counter(number for (number, _), one in zip(posted, answers, strict=True) if isinstance(one, Answer))
        for number in numbers:
            known = number in store.load([number], []).subscribers
            assert (enrich.counter_buckets(bench.state(number), 0)[1] if known else 0) == applied[number]
        assert bench.engine.flying == []
        assert not loop._reads.kept


class AtOnce(SlowAside):
    """Its reads need no time."""

    async def load(self, *wanted: Any) -> Any:
        return self.store.load(*wanted)


async def test_what_is_left_of_a_batch_stands_on_nothing_that_was_not_kept(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks joins a batch between two slices; what is left has its states from before and what was in flight."""
    monkeypatch.setattr("kairos.engine.loop.SLICE", 2)
    monkeypatch.setattr("kairos.engine.loop.ASKED_LATELY", 1e9)
    store = SlowStore()
    aside = AtOnce(store)
    joining: list[asyncio.Task[Answer]] = []

    async def on_their_way(count: int) -> None:
        async with asyncio.timeout(30):
            while len(aside.asked) < count:
                await asyncio.sleep(0.001)

    async with looping(bench, store, lambda _: None, aside=aside) as loop:
        take = bench.engine.take

        def and_somebody_asks(work: Any, inputs: Any, loaded: Any) -> None:
            take(work, inputs, loaded)
            if len(inputs) == 2 and not joining:
                joining.append(asyncio.create_task(loop.ask(Visit("v", "12025550124", "care", bench.now))))

        loop._asked = 0.0
        store.words.put(True)
        await loop.submit(recharge(bench, "known"))
        first = loop.post(recharge(bench, "a"))
        await on_their_way(2)
        monkeypatch.setattr(bench.engine, "take", and_somebody_asks)
        rest = [loop.post(recharge(bench, f"b{n}", ("12025550125", "12025550123")[n // 2])) for n in range(4)]
        await on_their_way(3)
        for well in (False, True, True, True, True):
            store.words.put(well)
        with pytest.raises(StoreError, match="the disk is full"):
            await first.answer
        assert [(await one.answer).status for one in rest] == ["applied"] * 4
        assert enrich.counter_buckets(bench.state(), 0)[1] == 1 + 2
        await joining[0]
        assert not loop._reads.kept


# -- who asks ----------------------------------------------------------------------------------------------------------

ASKS = "treatments:\n  ask: {channel: inbound, message: booster_told}"
TOLD = 'booster_told: {en: "{title} at {price}"}\n'


@pytest.fixture
def shop(bench_with: Callable[..., Any], texts: dict[str, str]) -> Any:
    """A bench whose booster is told to who asks; its subscriber has T$50 and little data."""
    booster = texts["offers/booster.yaml"].replace("data_session: 5 minutes}", "inbound: always}")
    files = {
        "offers/booster.yaml": booster.replace("treatments:", ASKS),
        "messages.yaml": texts["messages.yaml"] + TOLD,
    }
    return bench_with(files)


async def known(loop: Loop, bench: Any) -> None:
    """Their profile and balances are known, from an event that is too old to be answered."""
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + 86_400_000)]
    event = bench.event("end_of_call", service="voice", cost=1, balances=balances)
    await loop.submit(profile(bench))
    await loop.submit(msgspec.structs.replace(event, happened=bench.now - 3_600_000))


def profile(bench: Any, **more: Any) -> Any:
    return bench.event("profile", plan="prepaid", language="en", marketing_consent=True, **more)


def visit(bench: Any, identity: str, msisdn: str = "12025550123") -> Visit:
    return Visit(identity, msisdn, "care", bench.now)


async def test_what_is_open_is_told_while_a_commit_hangs(shop: Any) -> None:
    async with running(shop) as (loop, store, _):
        await known(loop, shop)
        made = await loop.ask(visit(shop, "a"))
        store.gate.clear()
        hanging = loop.post(shop.event("recharge", msisdn="12025550124", amount=100))
        await under_way(shop)
        before = store.commits
        told = await asyncio.wait_for(loop.ask(visit(shop, "b")), 30)
        assert [one.key for one in told.offers] == [one.key for one in made.offers if one.key]
        assert store.commits == before
        assert not hanging.answer.done()


async def test_who_asks_goes_before_what_waits_already(shop: Any) -> None:
    async with running(shop, batch=4) as (loop, store, _):
        await known(loop, shop)
        store.gate.clear()
        posted = [loop.post(shop.event("recharge", msisdn="12025550124", amount=1)) for _ in range(40)]
        await under_way(shop, COMMITS)
        asked = asyncio.create_task(loop.ask(visit(shop, "a")))
        await under_way(shop, COMMITS + 1)
        store.gate.set()
        assert (await asked).offers
        assert sum(one.answer.done() for one in posted) < 20
        assert {(await one.answer).status for one in posted} == {"applied"}


async def test_those_who_ask_without_end_do_not_keep_others_waiting(shop: Any) -> None:
    async with running(shop, batch=1) as (loop, _, _):
        await known(loop, shop)
        going = True

        async def ask_on(name: int) -> None:
            n = 0
            while going:
                await loop.ask(Word(f"{name}/{n}", "12025550123", "none", "accept", "care", shop.now))
                n += 1

        asking = [asyncio.create_task(ask_on(name)) for name in range(8)]
        answer = await asyncio.wait_for(loop.submit(shop.event("recharge", amount=1)), 60)
        going = False
        await asyncio.gather(*asking)
        assert answer.status == "applied"


async def test_what_was_read_when_they_came_is_as_new_as_the_store_at_their_turn(shop: Any) -> None:
    """Two words about one offer, read at the same time: the second knows what the first has done."""
    async with running(shop) as (loop, store, _):
        await known(loop, shop)
        made = await loop.ask(visit(shop, "a"))
        key = made.offers[0].key
        store.gate.clear()
        loop.post(shop.event("recharge", msisdn="12025550124", amount=100))
        await under_way(shop)

        def word(identity: str, said: Any) -> Word:
            return Word(identity, "12025550123", key, said, "care", shop.now)

        first = asyncio.create_task(loop.ask(word("w1", "decline")))
        second = asyncio.create_task(loop.ask(word("w2", "accept")))
        await until(lambda: sum(len(one.answers) for one in shop.engine.flying) == 3)
        store.gate.set()
        assert (await first).outcome == "declined"
        assert (await second).outcome == "declined"


async def test_an_event_that_was_committed_meanwhile_is_seen_by_who_asks(shop: Any) -> None:
    async with running(shop, batch=1) as (loop, _, _):
        await known(loop, shop)
        load, late = loop.aside.load, asyncio.Event()
        reading = asyncio.Event()

        async def slowly(*wanted: Any) -> Any:
            found = await load(*wanted)
            loop.aside.load = load  # type: ignore[method-assign]
            reading.set()
            await late.wait()
            return found

        loop.aside.load = slowly  # type: ignore[method-assign, assignment]
        asked = asyncio.create_task(loop.ask(visit(shop, "a")))
        await reading.wait()
        ticket = profile(shop, open_tickets=1)
        await loop.submit(ticket)
        late.set()
        answer = await asked
        assert answer.offers == ()
        assert "complaint" in answer.reason


async def test_a_failed_commit_is_told_to_who_asked_and_the_next_has_the_offer(shop: Any) -> None:
    async with running(shop) as (loop, store, _):
        await known(loop, shop)
        store.failing = 1
        with pytest.raises(StoreError):
            await loop.ask(visit(shop, "a"))
        assert (await loop.ask(visit(shop, "a"))).offers
        assert not loop._reads.kept


async def test_who_asks_joins_the_batch_that_is_being_decided_and_what_is_left_of_it_keeps_its_states(
    shop: Any,
) -> None:
    async with slow(shop) as (loop, aside, store):
        for _ in range(20):
            store.words.put(True)
        await known(loop, shop)
        await loop.ask(Look("12025550199", shop.now))  # somebody asked lately
        while not store.words.empty():
            store.words.get()
        take, sizes = shop.engine.take, []
        asked: list[asyncio.Task[Any]] = []

        def taking(work: Any, inputs: Any, states: Any) -> None:
            sizes.append(len(inputs))
            take(work, inputs, states)
            if len(sizes) == 1:
                read = Read(["12025550123"], shop.store.load(["12025550123"], []), None)
                submission = Submission(visit(shop, "a"), read=read)
                loop._asking.append(submission)
                asked.append(submission.answer)  # type: ignore[arg-type]

        shop.engine.take = taking
        before, loads = len(aside.asked), aside.loads
        posted = [loop.post(recharge(shop, f"e{n}", f"120255501{n:02d}")) for n in range(40)]
        for _ in range(5):
            store.words.put(True)
        assert (await asked_of(asked)).offers
        assert {(await one.answer).status for one in posted} == {"applied"}
        assert sizes == [SLICE, 1, SLICE, SLICE, 40 - 3 * SLICE]
        assert len(aside.asked) == before + 2  # the first slice with who asked, and the rest
        assert aside.asked[before].decisions
        assert len(aside.asked[before].states) == SLICE + 1
        assert aside.loads == loads + 1


async def asked_of(asked: list[Any]) -> Any:
    while not asked:
        await asyncio.sleep(0)
    return await asked[0]
