"""What events do to a state, and what a rule then reads."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kairos.domain.event import Event
from kairos.domain.subscriber import Bucket, State
from kairos.enrich import Plan, compile_plan, fold, new_state, row, set_attribute
from kairos.playbook.vocabulary import Attribute, Counter, Vocabulary, Wallet

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 20_833 * DAY  # a midnight


def happen(plan: Plan, state: State, kind: str, at: int, **data: Any) -> None:
    fold(plan, state, Event(f"{kind}/{at}", kind, "447700900001", at, data))


def read(plan: Plan, state: State, now: int = NOW, kind: str = "inbound", **data: Any) -> dict[str, Any]:
    return dict(zip(plan.vocabulary.columns, row(plan, state, kind, data, now, now), strict=True))


@pytest.fixture
def state(plan: Plan) -> State:
    return new_state(plan, 7, "447700900001", NOW)


def test_of_a_new_subscriber_only_defaults_and_empty_counters_are_known(plan: Plan, state: State) -> None:
    known = {name: value for name, value in read(plan, state).items() if value is not None}
    assert known == {
        "plan": "prepaid",
        "bundle": False,
        "data_used_7d": 0,
        "recharges_30d": 0,
        "recharged_1d": 0,
        "data_cost_1h": 0,
        "now": NOW,
        "local": NOW,
    }


def test_a_row_has_the_columns_of_the_vocabulary_in_order(plan: Plan, state: State) -> None:
    values = row(plan, state, "data_session", {"app": "Tubular", "bytes": 5.0}, NOW, NOW)
    assert len(values) == len(plan.vocabulary.columns)
    named = dict(zip(plan.vocabulary.columns, values, strict=True))
    assert (named["data_session.app"], named["data_session.bytes"]) == ("Tubular", 5.0)
    assert named["end_of_call.service"] is None
    assert named["profile.plan"] is None


def test_a_field_that_the_event_does_not_have_changes_nothing(plan: Plan, state: State) -> None:
    happen(plan, state, "data_session", NOW - 2, app="Tubular", bytes=1.0)
    happen(plan, state, "data_session", NOW - 1, bytes=1.0)
    assert read(plan, state)["last_app"] == "Tubular"
    assert read(plan, state)["last_event"] == NOW - 1


def test_an_attribute_keeps_what_happened_last_not_what_came_last(plan: Plan, state: State) -> None:
    happen(plan, state, "data_session", NOW - 1, app="late riser", bytes=1.0)
    happen(plan, state, "data_session", NOW - 5, app="straggler", bytes=1.0)
    assert read(plan, state)["last_app"] == "late riser"


def test_of_two_at_the_same_time_the_later_arrival_counts(plan: Plan, state: State) -> None:
    happen(plan, state, "data_session", NOW - 1, app="first", bytes=1.0)
    happen(plan, state, "data_session", NOW - 1, app="second", bytes=1.0)
    assert read(plan, state)["last_app"] == "second"


def test_the_field_happened_is_the_events_time(plan: Plan, state: State) -> None:
    happen(plan, state, "recharge", NOW - 9, amount=500)
    assert read(plan, state)["last_event"] == NOW - 9
    assert read(plan, state, kind="recharge", amount=500)["recharge.happened"] == NOW


def test_an_unknown_kind_changes_nothing(plan: Plan, state: State) -> None:
    before = msgspec.msgpack.encode(state)
    happen(plan, state, "eclipse", NOW, amount=500)
    assert msgspec.msgpack.encode(state) == before


def test_set_attribute_never_overrules_a_newer_word(plan: Plan, state: State) -> None:
    set_attribute(plan, state, "marketing_consent", False, NOW)
    happen(plan, state, "profile", NOW - 1, consent=True)
    assert read(plan, state)["marketing_consent"] is False
    set_attribute(plan, state, "marketing_consent", True, NOW - 1)
    assert read(plan, state)["marketing_consent"] is False
    with pytest.raises(KeyError):
        set_attribute(plan, state, "balance", 1, NOW)


class TestBalances:
    def test_totals_in_the_wallets_unit_without_what_expired(self, plan: Plan, state: State) -> None:
        buckets = [Bucket("main", 1240), Bucket("data", 1000, NOW + HOUR), Bucket("data", 185, NOW - 1)]
        happen(plan, state, "end_of_call", NOW - HOUR, service="data", cost=35, balances=buckets)
        values = read(plan, state)
        assert (values["balance"], values["data_left_mb"], values["expires_in_h"]) == (1240, 100.0, 1.0)
        assert isinstance(values["balance"], int)
        assert read(plan, state, now=NOW + HOUR)["data_left_mb"] == 0.0
        assert read(plan, state, now=NOW + HOUR)["expires_in_h"] is None

    def test_empty_buckets_do_not_expire(self, plan: Plan, state: State) -> None:
        buckets = [Bucket("data", 0, NOW + HOUR), Bucket("voice", 5, NOW + 3 * HOUR), Bucket("main", 1, NOW + 1)]
        happen(plan, state, "end_of_call", NOW, balances=buckets)
        assert read(plan, state)["expires_in_h"] == 3.0

    def test_announced_buckets_replace_those_of_their_wallets_only(self, plan: Plan, state: State) -> None:
        happen(plan, state, "end_of_call", NOW - 2, balances=[Bucket("main", 100), Bucket("main", 50)])
        happen(plan, state, "end_of_call", NOW - 1, balances=[Bucket("data", 10)])
        assert read(plan, state)["balance"] == 150
        happen(plan, state, "end_of_call", NOW, balances=[Bucket("main", 0)])
        assert read(plan, state)["balance"] == 0
        assert read(plan, state)["data_left_mb"] == 1.0

    def test_an_older_announcement_is_ignored_wallet_by_wallet(self, plan: Plan, state: State) -> None:
        happen(plan, state, "end_of_call", NOW, balances=[Bucket("main", 100)])
        happen(plan, state, "end_of_call", NOW - 1, balances=[Bucket("main", 999), Bucket("data", 70)])
        assert read(plan, state)["balance"] == 100
        assert read(plan, state)["data_left_mb"] == 7.0

    def test_an_attribute_may_keep_a_wallets_total_as_it_was(self, plan: Plan, state: State) -> None:
        old, dead = Bucket("main", 100), Bucket("main", 9, NOW - 20)
        happen(plan, state, "end_of_call", NOW - 10, balances=[old, dead])
        happen(plan, state, "end_of_call", NOW - 5, balances=[Bucket("data", 10)])
        assert read(plan, state)["balance_then"] == 100


class TestCounters:
    def test_a_condition_chooses_the_events(self, plan: Plan, state: State) -> None:
        happen(plan, state, "end_of_call", NOW, service="data", cost=35)
        happen(plan, state, "end_of_call", NOW, service="voice", cost=1000)
        happen(plan, state, "end_of_call", NOW, cost=1000)
        assert read(plan, state)["data_cost_1h"] == 35

    def test_sum_count_max_min(self, plan: Plan, state: State) -> None:
        for amount in (500, 2000, 1000):
            happen(plan, state, "recharge", NOW, amount=amount)
            happen(plan, state, "data_session", NOW, bytes=float(amount))
        values = read(plan, state)
        assert values["recharges_30d"] == 3
        assert values["recharged_1d"] == 3500
        assert values["largest_recharge"] == 2000
        assert values["smallest_session"] == 500.0

    def test_a_late_event_counts_where_it_happened(self, plan: Plan, state: State) -> None:
        happen(plan, state, "recharge", NOW, amount=1)
        happen(plan, state, "recharge", NOW - 2 * HOUR, amount=10)
        happen(plan, state, "recharge", NOW - 2 * HOUR, amount=100)
        happen(plan, state, "recharge", NOW - 2 * DAY, amount=1000)  # too late for the window of a day
        assert read(plan, state)["recharged_1d"] == 111
        assert read(plan, state)["recharges_30d"] == 4

    def test_an_event_counts_for_the_window_and_less_than_a_step_longer(self, plan: Plan, state: State) -> None:
        happen(plan, state, "recharge", NOW, amount=7)
        assert read(plan, state, now=NOW + DAY - 1)["recharged_1d"] == 7
        assert read(plan, state, now=NOW + DAY + HOUR - 2)["recharged_1d"] == 7
        assert read(plan, state, now=NOW + DAY + HOUR - 1)["recharged_1d"] == 0
        assert read(plan, state, now=NOW + DAY + HOUR - 1)["largest_recharge"] is None

    def test_money_saturates_instead_of_overflowing_a_store(self, plan: Plan, state: State) -> None:
        for _ in range(3):
            happen(plan, state, "recharge", NOW, amount=2**53)
            happen(plan, state, "data_session", NOW, bytes=1e300)
        assert read(plan, state)["recharged_1d"] == 2**53
        assert read(plan, state)["data_used_7d"] == 1e300
        msgspec.msgpack.encode(state)


class TestLocalTime:
    @pytest.mark.parametrize(
        ("zone", "offset"),
        [
            ("Asia/Kolkata", 5.5 * HOUR),
            ("Europe/Berlin", 1 * HOUR),  # NOW is in January
            ("no such place", 0),
            ("../../secret", 0),
            ("Europe", 0),
            ("", 0),
            ("\0", 0),
            (None, 0),
        ],
    )
    def test_local_is_the_subscribers_wall_clock(self, plan: Plan, state: State, zone: str | None, offset: int) -> None:
        happen(plan, state, "profile", NOW, time_zone=zone)
        assert read(plan, state)["local"] == NOW + offset

    def test_summer_time_begins_within_the_hour(self, plan: Plan, state: State) -> None:
        happen(plan, state, "profile", NOW, time_zone="Europe/Berlin")
        change = 1_806_195_600_000  # 2027-03-28 01:00 UTC
        assert read(plan, state, now=change - 1)["local"] == change - 1 + HOUR
        assert read(plan, state, now=change)["local"] == change + 2 * HOUR

    def test_made_up_zones_do_not_fill_the_memory(self, plan: Plan, state: State) -> None:
        for number in range(3000):
            set_attribute(plan, state, "time_zone", f"Nowhere/{number}", NOW)
            assert read(plan, state)["local"] == NOW

    def test_the_plans_own_zone_must_exist(self, vocabulary: Vocabulary) -> None:
        assert row(p := compile_plan(vocabulary, "Asia/Tokyo"), new_state(p, 1, "1", 0), "", {}, 0, 0)[-1] == 9 * HOUR
        with pytest.raises(ValueError, match="`Mars/Olympus` is not a time zone"):
            compile_plan(vocabulary, "Mars/Olympus")


def test_the_words_of_users_never_become_code() -> None:
    word = "'); raise SystemExit #\n\""
    vocabulary = Vocabulary(
        events={word: {word: "number", "b": "balances"}},
        wallets={word: Wallet(word, "MB", 0)},
        attributes={
            word: Attribute(word, "number", default=word, sources=((word, word),)),
            "left": Attribute("left", "number", total=word),
            "soon": Attribute("soon", "number", soonest_expiry=(word,)),
        },
        counters={"n": Counter("n", "sum", word, word, DAY, HOUR, "number")},
    )
    plan = compile_plan(vocabulary, "UTC")
    state = new_state(plan, 1, "447700900001", NOW)
    happen(plan, state, word, NOW, **{word: 2.0, "b": [Bucket(word, 3, NOW + HOUR)]})
    assert row(plan, state, word, {word: 2.0}, NOW, NOW) == (2.0, 3.0, 1.0, 2.0, 2.0, NOW, NOW)


def test_an_empty_vocabulary_works() -> None:
    plan = compile_plan(Vocabulary(events={"ping": {}}), "UTC")
    state = new_state(plan, 1, "447700900001", NOW)
    happen(plan, state, "ping", NOW)
    assert row(plan, state, "ping", {}, NOW, NOW) == (NOW, NOW)
