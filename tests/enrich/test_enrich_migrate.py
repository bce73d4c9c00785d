"""What a state keeps when the vocabulary changes, and what it says about the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from kairos.domain.event import Event
from kairos.domain.subscriber import Bucket, Contact, Cooldown, State
from kairos.enrich import Plan, compile_plan, fold, migrate, new_state, remember, row
from kairos.playbook.vocabulary import Attribute, Counter, Vocabulary, Wallet

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 20_833 * DAY


def lived(plan: Plan) -> State:
    """A state in which everything is known."""
    state = new_state(plan, 7, "447700900001", NOW)
    events: list[tuple[str, dict[str, object]]] = [
        ("profile", {"plan": "hybrid", "consent": True, "time_zone": "Asia/Tokyo"}),
        ("data_session", {"app": "Tubular", "bytes": 5.0}),
        ("recharge", {"amount": 500}),
        ("end_of_call", {"service": "data", "cost": 35, "balances": [Bucket("main", 10), Bucket("data", 20)]}),
    ]
    for kind, data in events:
        remember(state, kind, NOW)
        fold(plan, state, Event(kind, kind, state.msisdn, NOW, data))
    state.contacts = [Contact(NOW, 1, "sms", "booster", "upsell", False)]
    state.cooldowns = [Cooldown("booster", -1)]
    return state


def values(plan: Plan, state: State) -> dict[str, object]:
    return dict(zip(plan.vocabulary.columns, row(plan, state, "", {}, NOW, NOW), strict=True))


def with_counter(vocabulary: Vocabulary, change: Callable[[Counter], Counter]) -> Vocabulary:
    counters = dict(vocabulary.counters)
    counters["data_used_7d"] = change(counters["data_used_7d"])
    return replace(vocabulary, counters=counters)


def test_the_same_layout_is_left_alone(plan: Plan) -> None:
    state = lived(plan)
    assert migrate(plan, state, None) == []
    assert state == lived(plan)


def test_order_does_not_matter(plan: Plan, vocabulary: Vocabulary) -> None:
    turned = replace(
        vocabulary,
        attributes=dict(reversed(list(vocabulary.attributes.items()))),
        counters=dict(reversed(list(vocabulary.counters.items()))),
    )
    new = compile_plan(turned, "UTC")
    state = lived(plan)
    assert migrate(new, state, vocabulary) == []
    assert state.layout == new.layout
    assert values(new, state) == values(plan, lived(plan))
    assert migrate(plan, state, turned) == []
    assert state == lived(plan)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: replace(c, over=DAY), "its window changed"),
        (lambda c: replace(c, step=HOUR), "its step changed"),
        (lambda c: replace(c, function="max"), "its function changed"),
        (lambda c: replace(c, event="recharge", field="amount"), "its event changed"),
        (lambda c: replace(c, function="count", field=""), "its function changed"),
    ],
)
def test_a_changed_counter_starts_anew_and_says_why(
    plan: Plan, vocabulary: Vocabulary, change: Callable[[Counter], Counter], reason: str
) -> None:
    new = compile_plan(with_counter(vocabulary, change), "UTC")
    state = lived(plan)
    assert migrate(new, state, vocabulary) == [f"counter `data_used_7d` starts anew: {reason}"]
    was, now = values(plan, lived(plan)), values(new, state)
    assert was.pop("data_used_7d") == 5.0
    assert now.pop("data_used_7d") in (0, None)
    assert now == was


def test_a_changed_condition_is_a_changed_counter(plan: Plan, vocabulary: Vocabulary) -> None:
    counters = dict(vocabulary.counters)
    counters["data_cost_1h"] = replace(counters["data_cost_1h"], where=None)
    new = compile_plan(replace(vocabulary, counters=counters), "UTC")
    assert migrate(new, lived(plan), vocabulary) == ["counter `data_cost_1h` starts anew: its condition changed"]


def test_attributes_are_carried_by_name_and_type(plan: Plan, vocabulary: Vocabulary) -> None:
    attributes = dict(vocabulary.attributes)
    del attributes["last_app"]
    attributes["plan"] = Attribute("plan", "number")
    attributes["city"] = Attribute("city", "text")
    counters = {name: c for name, c in vocabulary.counters.items() if name != "recharges_30d"}
    counters["sessions"] = Counter("sessions", "count", "data_session", "", DAY, HOUR, "number")
    new = compile_plan(replace(vocabulary, attributes=attributes, counters=counters), "UTC")
    state = lived(plan)
    assert migrate(new, state, vocabulary) == [
        "attribute `plan` starts anew: its type changed from text to number",
        "attribute `city` is new",
        "attribute `last_app` is gone",
        "counter `sessions` is new",
        "counter `recharges_30d` is gone",
    ]
    now = values(new, state)
    assert (now["plan"], now["city"], now["sessions"]) == (None, None, 0)
    assert (now["marketing_consent"], now["recharged_1d"], now["balance"]) == (True, 500, 10)
    assert len(state.stamps) == len(state.attributes) == len(attributes)


def test_balances_whose_unit_changed_start_anew(plan: Plan, vocabulary: Vocabulary) -> None:
    wallets = {**vocabulary.wallets, "data": Wallet("data", "GB", 3)}
    attributes = {**vocabulary.attributes, "city": Attribute("city", "text")}
    new = compile_plan(replace(vocabulary, wallets=wallets, attributes=attributes), "UTC")
    state = lived(plan)
    assert "balances of `data` start anew: its unit or its digits changed" in migrate(new, state, vocabulary)
    assert (values(new, state)["balance"], values(new, state)["data_left_mb"]) == (10, None)


def test_without_the_old_vocabulary_only_what_none_defines_is_kept(plan: Plan) -> None:
    state, lives = lived(plan), lived(plan)
    state.layout = "long gone"
    (note,) = migrate(plan, state, None)
    assert note.startswith("attributes, counters and balances start anew")
    assert values(plan, state) == values(plan, new_state(plan, 7, state.msisdn, NOW))
    assert (state.id, state.msisdn, state.contacts, state.cooldowns, state.seen) == (
        lives.id,
        lives.msisdn,
        lives.contacts,
        lives.cooldowns,
        lives.seen,
    )


def test_an_unknown_layout_does_not_spoil_a_known_one(plan: Plan, vocabulary: Vocabulary) -> None:
    old = with_counter(vocabulary, lambda c: replace(c, over=DAY))
    first, second = lived(compile_plan(old, "UTC")), lived(compile_plan(old, "UTC"))
    migrate(plan, first, None)
    migrate(plan, second, old)
    assert values(plan, first)["marketing_consent"] is None
    assert values(plan, second)["marketing_consent"] is True
