"""What holds for any stream of events: order and repeats do not matter, and counters count."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.domain.event import Event
from kairos.domain.subscriber import Bucket, State, read_state
from kairos.enrich import Plan, compile_plan, counter_buckets, fold, migrate, new_state, prune, remember, row
from kairos.playbook.vocabulary import Attribute, Counter, Vocabulary, Wallet

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = 20_833 * DAY + 12_345_678

VOCABULARY = Vocabulary(
    events={
        "end_of_call": {"service": "text", "cost": "money", "balances": "balances"},
        "recharge": {"amount": "money"},
    },
    wallets={"main": Wallet("main", "money", 2), "data": Wallet("data", "MB", 1)},
    attributes={
        "service": Attribute("service", "text", sources=(("end_of_call", "service"),)),
        "last_money": Attribute("last_money", "money", sources=(("end_of_call", "cost"), ("recharge", "amount"))),
        "balance": Attribute("balance", "money", total="main"),
        "data_left": Attribute("data_left", "number", total="data"),
        "expires": Attribute("expires", "number", soonest_expiry=("main", "data")),
    },
    counters={
        "sum": Counter("sum", "sum", "recharge", "amount", DAY, HOUR, "money"),
        "odd": Counter("odd", "count", "recharge", "", 100 * MINUTE, 7 * MINUTE, "number"),
        "max": Counter("max", "max", "recharge", "amount", 3 * HOUR, HOUR, "money"),
        "min": Counter("min", "min", "end_of_call", "cost", DAY, DAY, "money"),
    },
)
PLAN = compile_plan(VOCABULARY, "UTC")

moments = st.one_of(st.integers(NOW - 2 * DAY, NOW), st.integers(NOW - 3 * HOUR, NOW), st.integers(NOW - 9, NOW))
money = st.integers(-(10**12), 10**12)
buckets = st.builds(
    Bucket,
    st.sampled_from(["main", "data"]),
    st.integers(-5, 10**9),
    st.one_of(st.just(0), st.integers(NOW - DAY, NOW + DAY)),
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(["end_of_call", "recharge"]))
    if kind == "recharge":
        data: dict[str, Any] = {"amount": draw(money)}
    else:
        data = {"service": draw(st.sampled_from("abc")), "cost": draw(money), "balances": draw(st.lists(buckets))}
        data = {name: value for name, value in data.items() if draw(st.integers(0, 4))}
    happened = draw(moments)
    return Event(f"{kind}/{happened}", kind, "447700900001", happened, data)


streams = st.lists(events(), max_size=25, unique_by=lambda event: event.happened)


def folded(stream: Sequence[Event], plan: Plan = PLAN) -> State:
    state = new_state(plan, 1, "447700900001", NOW)
    for event in stream:
        fold(plan, state, event)
    return state


def values(state: State, now: int = NOW, plan: Plan = PLAN) -> tuple[Any, ...]:
    return row(plan, state, "", {}, now, now)


@settings(deadline=None, max_examples=150)
@given(streams, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(stream: list[Event], random: Random) -> None:
    shuffled = stream.copy()
    random.shuffle(shuffled)
    one, other = folded(stream), folded(shuffled)
    assert (one.attributes, one.stamps) == (other.attributes, other.stamps)
    assert (one.counters, one.past) == (other.counters, other.past)
    assert one.announced == other.announced
    assert sorted(map(msgspec.to_builtins, one.buckets)) == sorted(map(msgspec.to_builtins, other.buckets))
    assert values(one) == values(other)


def brute_force(counter: Counter, stream: Sequence[Event], now: int) -> Any:
    """Every event whose bucket reaches into (now - over, now], said as slowly as possible."""
    counted = []
    for event in stream:
        start = event.happened - event.happened % counter.step
        if event.kind == counter.event and start + counter.step - 1 > now - counter.over:
            counted.append(event.data.get(counter.field) if counter.field else 1)
    known = [value for value in counted if value is not None]
    if counter.function in ("max", "min"):
        return {"max": max, "min": min}[counter.function](known) if known else None
    return sum(known)


@settings(deadline=None, max_examples=150)
@given(streams, st.integers(0, 2 * DAY), st.booleans())
def test_a_counter_is_what_counting_by_hand_gives(stream: list[Event], later: int, pruned: bool) -> None:
    now = NOW + later
    state = folded(stream)
    if pruned:
        prune(PLAN, state, now, DAY)
    found = dict(zip(VOCABULARY.columns, values(state, now), strict=True))
    for counter in VOCABULARY.counters.values():
        assert found[counter.name] == brute_force(counter, stream, now)


@settings(deadline=None, max_examples=100)
@given(streams, st.lists(st.integers(0, 24), max_size=10))
def test_repeats_have_no_effect(stream: list[Event], repeats: list[int]) -> None:
    once = new_state(PLAN, 1, "447700900001", NOW)
    twice = new_state(PLAN, 1, "447700900001", NOW)
    for event in stream:
        assert remember(once, event.identity, NOW).new
        fold(PLAN, once, event)
    for event in [*stream, *[stream[place] for place in repeats if place < len(stream)]]:
        if remember(twice, event.identity, NOW).new:
            fold(PLAN, twice, event)
    assert twice == once


@settings(deadline=None, max_examples=100)
@given(streams)
def test_a_state_survives_the_store(stream: list[Event]) -> None:
    state = folded(stream)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State)
    assert kept == state
    assert values(kept) == values(state)
    assert list(map(type, values(kept))) == list(map(type, values(state)))


@settings(deadline=None, max_examples=100)
@given(streams, streams, st.permutations(list(VOCABULARY.attributes)), st.permutations(list(VOCABULARY.counters)))
def test_migration_in_the_middle_changes_nothing_that_it_carries(
    before: list[Event], after: list[Event], attributes: list[str], counters: list[str]
) -> None:
    new = compile_plan(
        Vocabulary(
            VOCABULARY.events,
            VOCABULARY.wallets,
            {name: VOCABULARY.attributes[name] for name in attributes},
            {name: VOCABULARY.counters[name] for name in counters},
        ),
        "UTC",
    )
    state = folded(before)
    assert migrate(new, state, VOCABULARY) == []
    for event in after:
        fold(new, state, event)
    expected = dict(zip(VOCABULARY.columns, values(folded([*before, *after])), strict=True))
    assert dict(zip(new.vocabulary.columns, values(state, plan=new), strict=True)) == expected


@settings(deadline=None, max_examples=100)
@given(streams, st.integers(0, 2 * DAY), st.integers(0, DAY))
def test_pruning_takes_nothing_that_a_later_row_would_show(stream: list[Event], first: int, then: int) -> None:
    state, pruned = folded(stream), folded(stream)
    prune(PLAN, pruned, NOW + first, DAY)
    assert values(pruned, NOW + first + then) == values(state, NOW + first + then)


@settings(deadline=None, max_examples=100)
@given(streams, streams, st.integers(0, DAY))
def test_a_record_of_schema_1_counts_on(before: list[Event], after: list[Event], later: int) -> None:
    """It had each counter as a list of its buckets."""
    state, lived = folded(before), folded([*before, *after])
    record: list[Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(state))
    lists = [counter_buckets(state, place) for place in range(len(state.past))]
    older = [1, *record[1:7], lists, *record[9:]]
    upgraded = read_state(msgspec.msgpack.encode(older))
    assert values(upgraded) == values(state)
    for event in after:
        fold(PLAN, upgraded, event)
    assert values(upgraded) == values(lived)
    prune(PLAN, upgraded, NOW + later, DAY)
    prune(PLAN, lived, NOW + later, DAY)
    assert (upgraded.counters, upgraded.past) == (lived.counters, lived.past)
