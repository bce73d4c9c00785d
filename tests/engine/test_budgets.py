"""Budgets: reserved at the offer, spent when it was bought, given back else; never over, whatever comes between."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tests.conftest import NOON, TEXTS

from kairos.adapters.sqlite import SqliteStore
from kairos.cli.explanation import picture
from kairos.decide import explain
from kairos.domain.budget import Standing
from kairos.domain.decision import Decision
from kairos.domain.inputs import Delivery, Fulfilment, Reversal, Timer
from kairos.domain.message import Order, Text
from kairos.domain.subscriber import Bucket
from kairos.engine.engine import Engine
from kairos.engine.explain import Explainer
from kairos.engine.loop import Loop
from kairos.errors import StoreError
from kairos.learn import FixedPropensity

HOUR = 3_600_000
DAY = 24 * HOUR
MIDNIGHT = NOON - 12 * HOUR
NUMBERS = [f"1202555010{digit}" for digit in range(6)]


def with_budget(lines: str, offer: str = "booster", **files: str) -> dict[str, str]:
    path = f"offers/{offer}.yaml"
    return {path: TEXTS[path] + lines + "\n"} | files


def call(bench: Any, msisdn: str = NUMBERS[0], cost: int = 100, balance: int = 5000, **more: Any) -> Any:
    """A notification to ride on."""
    balances = [Bucket("main", balance), Bucket("data", 100_000, bench.now + DAY)]
    return bench.event(
        "end_of_call", notification="Ref 1", msisdn=msisdn, service="voice", cost=cost, balances=balances, **more
    )


def verdict(bench: Any, work: Any, place: int = 0, action: str = "booster") -> tuple[str, int]:
    """What the offer fell to, and until when; ("", 0) where it was said."""
    made = msgspec.msgpack.decode(work.batch.decisions[place][3], type=Decision)
    found = [v for v in explain(bench.program.decide, made) if v.action == action]
    if any(v.state == "chosen" for v in found):
        return "", 0
    return found[-1].reason, found[-1].until


def standing(bench: Any, name: str, at: int = 0) -> tuple[int, int]:
    key = (name, (at or bench.now) // DAY * DAY)
    found = bench.store.budgets([key]).get(key, Standing())
    return found.reserved, found.spent


@pytest.fixture
def volume(bench_with: Callable[..., Any]) -> Any:
    """Two boosters a day; six subscribers whom anybody may be."""
    return known(bench_with(with_budget("volume: {at_most: 2, per: calendar day}")))


def known(bench: Any) -> Any:
    for number in NUMBERS:
        profile = bench.event(
            "profile", msisdn=number, plan="prepaid", language="en", marketing_consent=True, open_tickets=0
        )
        bench.apply(profile)
    return bench


def orders(work: Any) -> list[tuple[Any, Order]]:
    rows = [row for row in work.batch.outgoing if row.channel == "ocs"]
    return [(row, msgspec.msgpack.decode(row.payload, type=Order)) for row in rows]


def bought(bench: Any, work: Any, status: str = "done", reason: str = "") -> Any:
    ((row, order),) = orders(work)
    return bench.apply(Fulfilment(row.id, row.subscriber, order.key, status, bench.now, reason))


def test_three_of_one_batch_do_not_all_take_the_last_two(volume: Any) -> None:
    work = volume.apply(*(call(volume, number) for number in NUMBERS[:3]))
    assert [verdict(volume, work, place) for place in range(3)] == [
        ("", 0),
        ("", 0),
        ("volume of booster", MIDNIGHT + DAY),
    ]
    assert standing(volume, "volume of booster") == (2, 0)
    assert verdict(volume, volume.apply(call(volume, NUMBERS[3]))) == ("volume of booster", MIDNIGHT + DAY)
    volume.now = MIDNIGHT + DAY + 9 * HOUR
    assert verdict(volume, volume.apply(call(volume, NUMBERS[4]))) == ("", 0)
    assert standing(volume, "volume of booster") == (1, 0)
    assert standing(volume, "volume of booster", NOON) == (2, 0)


async def test_a_period_is_read_once_and_what_was_not_kept_has_taken_nothing(volume: Any, monkeypatch: Any) -> None:
    reads, budgets, commit = 0, volume.store.budgets, volume.store.commit

    def counted(keys: Any) -> Any:
        nonlocal reads
        reads += 1
        return budgets(keys)

    def full(_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(volume.store, "budgets", counted)
    loop = Loop(volume.engine, lambda: volume.now, lambda _: None)
    running = asyncio.create_task(loop.run())
    await loop.submit(call(volume, NUMBERS[0]))
    monkeypatch.setattr(volume.store, "commit", full)
    with pytest.raises(StoreError):
        await loop.submit(call(volume, NUMBERS[1]))
    monkeypatch.setattr(volume.store, "commit", commit)
    assert standing(volume, "volume of booster") == (1, 0)
    before = reads
    for number in NUMBERS[2:]:
        await loop.submit(call(volume, number))
        await loop.submit(volume.event("recharge", msisdn=number, amount=1))  # of which no budget knows
    assert (before, reads) == (2, 2)  # by the engine, and by us
    assert standing(volume, "volume of booster") == (2, 0)
    loop.close()
    await running


def test_a_no_gives_back_and_a_yes_is_spent_when_it_is_bought(volume: Any) -> None:
    volume.apply(*(call(volume, number) for number in NUMBERS[:2]))
    volume.apply(volume.reply("no", msisdn=NUMBERS[0]))
    assert standing(volume, "volume of booster") == (1, 0)
    taken = volume.apply(volume.reply("yes", msisdn=NUMBERS[1]))
    assert standing(volume, "volume of booster") == (1, 0)
    bought(volume, taken)
    assert standing(volume, "volume of booster") == (0, 1)
    assert verdict(volume, volume.apply(call(volume, NUMBERS[2]))) == ("", 0)
    assert verdict(volume, volume.apply(call(volume, NUMBERS[3])))[0] == "volume of booster"
    assert not volume.state(NUMBERS[0]).reserved
    assert not volume.state(NUMBERS[1]).reserved


def test_what_expires_goes_back_to_its_own_day(volume: Any) -> None:
    volume.apply(*(call(volume, number) for number in NUMBERS[:2]))
    volume.now += DAY
    volume.apply(*(call(volume, number) for number in NUMBERS[2:4]))
    volume.apply(*volume.store.timers_due(volume.now, 10))
    assert standing(volume, "volume of booster", NOON) == (0, 0)
    assert standing(volume, "volume of booster") == (2, 0)
    assert verdict(volume, volume.apply(call(volume, NUMBERS[4])))[0] == "volume of booster"


@pytest.mark.parametrize("how", ["stop", "dropped", "plain", "failed", "refused", "disconnected"])
def test_all_that_never_came_to_be_is_given_back(volume: Any, how: str) -> None:
    said = volume.apply(call(volume))
    assert standing(volume, "volume of booster") == (1, 0)
    row = next(row for row in said.batch.outgoing if row.channel == "notification")
    text = msgspec.msgpack.decode(row.payload, type=Text)
    if how == "stop":
        volume.apply(volume.reply("stop", msisdn=NUMBERS[0]))
    elif how == "refused":
        bought(volume, volume.apply(volume.reply("yes", msisdn=NUMBERS[0])), "refused", "unknown_product")
    elif how == "disconnected":
        from kairos.domain.inputs import Change

        volume.apply(Change("c1", "number_disconnected", NUMBERS[0], volume.now))
    else:
        for _ in range(2):  # news that is told twice changes nothing the second time
            volume.apply(
                Delivery(row.id, row.subscriber, how, volume.now, offer=text.offer, decision=text.decision, reason="x")
            )
    assert standing(volume, "volume of booster") == (0, 0)


def test_what_may_have_gone_out_stays_reserved_until_its_time_is_over(volume: Any) -> None:
    said = volume.apply(call(volume))
    row = next(row for row in said.batch.outgoing if row.channel == "notification")
    text = msgspec.msgpack.decode(row.payload, type=Text)
    unknown = Delivery(row.id, row.subscriber, "failed", volume.now, offer=text.offer, decision=text.decision)
    volume.apply(msgspec.structs.replace(unknown, reason="unknown"))
    assert standing(volume, "volume of booster") == (1, 0)
    volume.now += DAY
    volume.apply(*volume.store.timers_due(volume.now, 10))
    assert standing(volume, "volume of booster", NOON) == (0, 0)


def test_a_reversal_gives_back_what_was_spent_even_long_after(volume: Any) -> None:
    volume.apply(call(volume))
    done = bought(volume, volume.apply(volume.reply("yes", msisdn=NUMBERS[0])))
    (key,) = done.batch.purchases
    assert standing(volume, "volume of booster") == (0, 1)
    volume.now += 90 * DAY
    volume.apply(call(volume))  # the offer is forgotten by now
    assert standing(volume, "volume of booster") == (1, 0)
    state = volume.state(NUMBERS[0])
    for _ in range(2):
        volume.apply(Reversal(key, state.id, "reversed", volume.now, "billing error"))
    assert standing(volume, "volume of booster", NOON) == (0, 0)
    assert standing(volume, "volume of booster") == (1, 0)


def test_bought_and_reversed_in_one_batch(volume: Any) -> None:
    volume.apply(call(volume))
    ((row, order),) = orders(volume.apply(volume.reply("yes", msisdn=NUMBERS[0])))
    volume.apply(
        Fulfilment(row.id, row.subscriber, order.key, "done", volume.now),
        Reversal(order.key, row.subscriber, "reversed", volume.now),
    )
    assert standing(volume, "volume of booster") == (0, 0)


def test_too_little_money_keeps_the_offer_and_its_place_until_it_expires(volume: Any) -> None:
    volume.apply(call(volume))
    bought(volume, volume.apply(volume.reply("yes", msisdn=NUMBERS[0])), "refused", "insufficient_funds")
    assert standing(volume, "volume of booster") == (1, 0)
    volume.now += DAY
    volume.apply(*volume.store.timers_due(volume.now, 10))
    assert standing(volume, "volume of booster", NOON) == (0, 0)


def test_the_timer_went_off_while_it_was_paid_for_and_then_the_money_was_wanting(volume: Any) -> None:
    volume.apply(call(volume))
    taken = volume.apply(volume.reply("yes", msisdn=NUMBERS[0]))
    volume.now += DAY
    volume.apply(*volume.store.timers_due(volume.now, 10))
    assert standing(volume, "volume of booster", NOON) == (1, 0)
    volume.now -= HOUR  # a clock that goes back
    bought(volume, taken, "refused", "insufficient_funds")
    assert standing(volume, "volume of booster", NOON) == (1, 0)
    volume.now += HOUR
    volume.apply(*volume.store.timers_due(volume.now, 10))
    assert standing(volume, "volume of booster", NOON) == (0, 0)


def test_advice_is_spent_once_it_had_its_time_and_given_back_if_it_never_went_out(
    bench_with: Callable[..., Any],
) -> None:
    bench = known(bench_with(with_budget("volume: {at_most: 2, per: calendar day}", "hint")))
    said = bench.apply(*(call(bench, number, cost=400, balance=600) for number in NUMBERS[:3]))
    assert [verdict(bench, said, place, "off_peak_hint")[0] for place in range(3)] == [
        "",
        "",
        "volume of off_peak_hint",
    ]
    row = next(row for row in said.batch.outgoing if row.channel == "notification")
    text = msgspec.msgpack.decode(row.payload, type=Text)
    for _ in range(2):
        bench.apply(Delivery(row.id, row.subscriber, "plain", bench.now, offer=text.offer, decision=text.decision))
    assert standing(bench, "volume of off_peak_hint") == (1, 0)
    bench.now += HOUR
    bench.apply(*bench.store.timers_due(bench.now, 10))
    assert standing(bench, "volume of off_peak_hint") == (0, 1)
    assert not bench.state(NUMBERS[1]).reserved


def test_money_is_counted_by_what_the_budget_counts_and_the_cheaper_variant_is_said(
    bench_with: Callable[..., Any],
) -> None:
    shared = "budgets:\n  - {name: spring, campaign: spring, spend: 60, counts: price, per: calendar day}\n"
    bench = known(bench_with(with_budget("budget: spring", **{"budgets.yaml": shared})))
    said = bench.apply(*(call(bench, number) for number in NUMBERS[:3]))
    assert [
        msgspec.msgpack.decode(row[3], type=Decision).chosen.arm  # type: ignore[union-attr]
        for row in said.batch.decisions
        if msgspec.msgpack.decode(row[3], type=Decision).chosen
    ] == [1, 0]  # large for 45, small for 10; then 5 are left
    assert verdict(bench, said, 2) == ("spring", MIDNIGHT + DAY)
    assert standing(bench, "spring") == (5500, 0)


def test_paced_evenly_over_the_day(bench_with: Callable[..., Any]) -> None:
    bench = known(bench_with(with_budget("volume: {at_most: 4, per: calendar day, pace: even}")))
    said = bench.apply(*(call(bench, number) for number in NUMBERS[:3]))  # at noon: half of them
    assert [verdict(bench, said, place) for place in range(3)] == [
        ("", 0),
        ("", 0),
        ("volume of booster", NOON + 6 * HOUR),
    ]
    bench.now = NOON + 6 * HOUR - 1
    assert verdict(bench, bench.apply(call(bench, NUMBERS[3]))) == ("volume of booster", NOON + 6 * HOUR)
    bench.now += 1
    assert verdict(bench, bench.apply(call(bench, NUMBERS[4]))) == ("", 0)
    assert verdict(bench, bench.apply(call(bench, NUMBERS[5]))) == ("volume of booster", MIDNIGHT + DAY)


def test_testers_take_none_and_are_not_refused(bench_with: Callable[..., Any]) -> None:
    seeds = f'testers:\n  - {{name: Ada, msisdn: "+{NUMBERS[0]}"}}\n'
    files = with_budget("volume: {at_most: 1, per: calendar day}", **{"seeds.yaml": seeds})
    bench = known(bench_with(files))
    assert verdict(bench, bench.apply(call(bench))) == ("", 0)
    assert standing(bench, "volume of booster") == (0, 0)
    bench.apply(call(bench, NUMBERS[1]))
    bench.apply(bench.reply("no", msisdn=NUMBERS[0]))
    assert standing(bench, "volume of booster") == (1, 0)


# -- any interleaving --------------------------------------------------------------------------------------------------

ACTS = st.sampled_from(["call", "call", "call", "yes", "no", "stop", "dropped", "plain", "hour", "timers", "answer"])
STEPS = st.lists(
    st.tuples(st.lists(st.tuples(ACTS, st.integers(0, 5)), min_size=1, max_size=6), st.booleans(), st.booleans()),
    min_size=3,
    max_size=25,
)
REASONS = ["", "insufficient_funds", "unknown_product"]
MIXED = (
    "volume: {at_most: 3, per: calendar day}\nbudget: [spring, studio]",
    "budgets:\n  - {name: spring, spend: 100, per: calendar month}\n"
    "  - {name: studio, partner: studio, spend: 60, counts: value, per: calendar day, pace: even}\n",
)
CAPS = {"volume of booster": 3, "spring": 10_000, "studio": 6_000}


class Run:
    """A server under any interleaving: what it wrote is told to it again, in any order, or lost with a commit."""

    def __init__(self, bench: Any) -> None:
        self.bench = known(bench)
        self.said: list[Any] = []
        self.owed: list[tuple[Any, Order]] = []
        self.flying: list[Any] = []

    def inputs(self, acts: list[tuple[str, int]]) -> list[Any]:
        bench, made = self.bench, []
        for act, which in acts:
            number = NUMBERS[which]
            if act == "call":
                made.append(call(bench, number))
            elif act in ("yes", "no", "stop"):
                made.append(bench.reply(act, msisdn=number))
            elif act in ("dropped", "plain") and self.said:
                row, text = self.said[which % len(self.said)]
                made.append(
                    Delivery(
                        row.id, row.subscriber, act, bench.now, offer=text.offer, decision=text.decision, reason="x"
                    )
                )
            elif act == "hour":
                bench.now += (1 + 5 * which) * HOUR
            elif act == "timers":
                made += bench.store.timers_due(bench.now, 3)
            elif act == "answer" and self.owed:
                row, order = self.owed.pop(which % len(self.owed))
                reason = REASONS[which % 3]
                status = "refused" if reason else "done"
                made.append(Fulfilment(row.id, row.subscriber, order.key, status, bench.now, reason))
                if which == 3:
                    made.append(Reversal(order.key, row.subscriber, "reversed", bench.now))
        timers = {one.id: one for one in made if isinstance(one, Timer)}
        return [one for one in made if not isinstance(one, Timer)] + [*timers.values()]

    def commit(self, work: Any) -> None:
        self.bench.store.commit(work.batch)
        self.bench.engine.flying.remove(work)
        rows = [row for row in work.batch.outgoing if row.channel == "notification"]
        texts = [(row, msgspec.msgpack.decode(row.payload, type=Text)) for row in rows]
        self.said += [(row, text) for row, text in texts if text.decision]
        self.owed += orders(work)
        self.check()

    def step(self, acts: list[tuple[str, int]], fails: bool, flies: bool) -> None:
        """Apply a batch; on top of it, while it flies, another one; or both fail, and it comes anew."""
        engine, inputs = self.bench.engine, self.inputs(acts)
        if not inputs:
            return
        works = [engine.apply(inputs, self.bench.now)]
        more = [call(self.bench, number) for number in NUMBERS[:3]]
        if flies:
            works.append(engine.apply(more, self.bench.now))
        if fails:
            engine.flying.clear()
            works = [engine.apply(inputs, self.bench.now)]
        for work in works:
            self.commit(work)

    def check(self) -> None:
        """No budget is exceeded in any period, by what the store says; and it says what the states hold."""
        held: dict[tuple[str, int], int] = {}
        for number in NUMBERS:
            for reserved in self.bench.state(number).reserved:
                for one in reserved.taken:
                    held[one.budget, one.period] = held.get((one.budget, one.period), 0) + one.amount
        for key, at in self.bench.store._budgets.items():
            assert at.reserved >= 0
            assert at.spent >= 0
            assert at.used <= CAPS[key[0]]
            assert at.reserved == held.get(key, 0)

    def finish(self) -> None:
        """Everything that is open ends."""
        self.bench.now += 40 * DAY
        while self.owed:
            self.step([("answer", 0)], False, False)
        while timers := self.bench.store.timers_due(self.bench.now, 5):
            self.commit(self.bench.engine.apply(timers, self.bench.now))
        assert all(at.reserved == 0 for at in self.bench.store._budgets.values())
        assert not any(self.bench.state(number).reserved for number in NUMBERS)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_never_exceeded_and_nothing_reserved_after_the_end(bench_with: Callable[..., Any], steps: Any) -> None:
    run = Run(bench_with(with_budget(MIXED[0], **{"budgets.yaml": MIXED[1]})))
    for acts, fails, flies in steps:
        run.step(acts, fails, flies)
    run.finish()


def test_an_explanation_shows_how_the_budgets_of_its_time_stand(volume: Any) -> None:
    said = volume.apply(*(call(volume, number) for number in NUMBERS[:3]))
    program = volume.program
    volume.store.save_playbook(program.playbook.revision, "layout", program.playbook.texts)
    volume.apply(volume.reply("no", msisdn=NUMBERS[0]))
    found = Explainer(volume.store, lambda _texts: program).decision(said.batch.decisions[2][0])
    assert found is not None
    ((figures, shown),) = found.budgets
    assert (figures.reserved, figures.left, shown["cap"]) == (1, 1, "2")
    console = Console(width=120, record=True, highlight=False, file=io.StringIO())
    console.print(picture(found))
    text = " ".join(console.export_text().split())
    assert "volume of booster, until 2026-03-05 00:00 UTC (12 hours later)" in text
    assert "volume of booster 1 reserved 0 spent 1 left of 2 until 2026-03-05 00:00 UTC" in text


def test_a_crash_before_the_commit_takes_nothing_and_one_after_it_keeps_all(volume: Any, tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    profiles = [
        volume.event("profile", msisdn=number, plan="prepaid", language="en", marketing_consent=True)
        for number in NUMBERS[:3]
    ]
    calls = [call(volume, number) for number in NUMBERS[:3]]
    key = ("volume of booster", MIDNIGHT)
    for inputs, crashes, after in ((profiles, False, {}), (calls, True, {}), (calls, False, {key: Standing(2, 0)})):
        store = SqliteStore(path)  # each time a new process, which reads what the last one has left
        work = Engine(store, volume.program, FixedPropensity()).apply(inputs, volume.now)
        if not crashes:
            store.commit(work.batch)
        assert store.budgets([key]) == after
        store.close()
    store = SqliteStore(path)
    work = Engine(store, volume.program, FixedPropensity()).apply([call(volume, NUMBERS[2])], volume.now)
    assert verdict(volume, work) == ("volume of booster", MIDNIGHT + DAY)
    store.close()
