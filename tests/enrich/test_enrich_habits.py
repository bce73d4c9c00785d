"""When and where they usually answer."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.domain.subscriber import State, read_state
from kairos.enrich import Plan, answered, compile_plan, migrate, new_state, row
from kairos.enrich.habits import CHANNELS, MOST
from kairos.playbook.vocabulary import Attribute, Vocabulary

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 20_833 * DAY  # a midnight
ZONE = Attribute("time_zone", "text", sources=(("profile", "time_zone"),))
EVENTS = {"profile": {"time_zone": "text"}}


def planned(*attributes: Attribute) -> Plan:
    return compile_plan(Vocabulary(EVENTS, {}, {a.name: a for a in (ZONE, *attributes)}), "UTC")  # type: ignore[arg-type]


AWAY, CHANNEL = Attribute("away", "number", usual="hours_away"), Attribute("channel", "text", usual="channel")
PLAN = planned(AWAY, CHANNEL)


def new() -> State:
    return new_state(PLAN, 1, "12025550123", NOW)


def heard(*hours: int, channel: str = "") -> State:
    state = new()
    for day, hour in enumerate(hours):
        answered(PLAN, state, NOW + day * DAY + hour * HOUR, channel)
    return state


def usual(state: State, hour: int = 0) -> tuple[int | None, str | None]:
    """How far an hour is from their usual one, and their channel."""
    _, away, channel, *_ = row(PLAN, state, "", {}, 0, NOW + hour * HOUR + HOUR - 1)
    return away, channel


@pytest.mark.parametrize(
    ("answers", "hour", "away"),
    [
        ((), 9, None),
        ((9, 9), 9, None),
        ((9, 9, 9), 9, 0),
        ((9, 9, 9), 21, 12),
        ((9, 9, 9), 22, 11),
        ((22, 22, 22), 1, 3),
        ((23, 0, 1), 0, 0),
        ((9, 9, 22, 23, 23, 0), 23, 0),
        ((9, 9, 15, 20, 20, 21), 20, 0),
        ((9, 9, 23, 23, 0), 23, 0),
        ((9, 9, 10, 23, 23), 9, 0),
    ],
)
def test_how_far_from_the_usual_hour(answers: tuple[int, ...], hour: int, away: int | None) -> None:
    assert usual(heard(*answers), hour)[0] == away


def test_the_hour_is_that_of_their_wall_clock_in_summer_and_winter() -> None:
    state = new()
    state.attributes[0] = "America/New_York"
    for at in (NOW + 12 * HOUR, NOW + DAY + 12 * HOUR, NOW + 180 * DAY + 13 * HOUR):  # 2027-01-15: 7 and 8 o'clock
        answered(PLAN, state, at)
    assert row(PLAN, state, "", {}, 0, NOW + 12 * HOUR)[1] in (0, 1)
    assert state.habits is not None
    assert sum(state.habits.hours[7:10]) == 3


def test_the_channel_of_most_that_they_answered() -> None:
    state = heard(9, 9, 9, 9)
    assert usual(state)[1] is None, "answers that were about no offer"
    for channel, known in (("sms", None), ("app", None), ("sms", "sms"), ("app", "app"), ("sms", "sms")):
        answered(PLAN, state, NOW, channel)
        assert usual(state)[1] == known


def test_newer_answers_count_more_and_counts_stay_small() -> None:
    state = heard(9, channel="app")
    for day in range(400):
        answered(PLAN, state, NOW + day * DAY + 9 * HOUR, "sms")
    assert state.habits is not None
    assert list(state.habits.channels) == ["sms"], "one answer, and long ago"
    for _ in range(MOST):
        answered(PLAN, state, NOW + 20 * HOUR, "notification")
    assert usual(state, 20) == (0, "notification")
    assert max(state.habits.hours) < MOST
    assert max(state.habits.channels.values()) < MOST
    assert len(msgspec.msgpack.encode(state)) - len(msgspec.msgpack.encode(new())) < 64


def test_channels_that_are_named_at_will_stay_few() -> None:
    state = new()
    for number in range(100):
        answered(PLAN, state, NOW, "sms" if number % 3 == 0 else f"app_{number}")
    assert state.habits is not None
    assert 1 < len(state.habits.channels) <= CHANNELS
    assert usual(state)[1] == "sms"


def test_where_no_word_is_of_habits_nothing_is_counted_or_kept() -> None:
    plan = planned()
    state = new_state(plan, 1, "12025550123", NOW)
    for _ in range(5):
        answered(plan, state, NOW, "sms")
    assert state.habits is None
    assert "habits" not in plan.plain_row.__code__.co_names
    state = heard(9, 9, 9)
    migrate(planned(AWAY), state, PLAN.vocabulary)
    assert state.habits is not None
    migrate(plan, state, planned(AWAY).vocabulary)
    assert state.habits is None


def test_a_default_stands_until_a_habit_is_known() -> None:
    plan = planned(Attribute("away", "number", usual="hours_away", default=0), CHANNEL)
    assert row(plan, heard(9, 9), "", {}, 0, NOW)[1] == 0
    assert row(plan, heard(9, 9, 9), "", {}, 0, NOW)[1] == 9


times = st.tuples(st.integers(NOW, NOW + 30 * DAY), st.sampled_from(["", "sms", "app"]))


@settings(deadline=None, max_examples=100)
@given(st.lists(times, max_size=MOST - 1), st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_matter_until_they_are_halved(
    stream: list[tuple[int, str]], random: Random
) -> None:
    one, other = new(), new()
    for at, channel in stream:
        answered(PLAN, one, at, channel)
    for at, channel in random.sample(stream, len(stream)):
        answered(PLAN, other, at, channel)
    assert one == other
    assert read_state(msgspec.msgpack.encode(one)) == one


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 23), max_size=80), st.integers(0, 23), st.integers(1, 23))
def test_midnight_is_an_hour_like_any_other(hours: list[int], now: int, turned: int) -> None:
    """All clocks turned alike: the same distance, but that of equal hours another may be first."""
    one, other = heard(*hours), heard(*((hour + turned) % 24 for hour in hours))
    counts = one.habits.hours if one.habits else bytes(24)
    around = [counts[h - 1] + 2 * counts[h] + counts[(h + 1) % 24] for h in range(24)]
    if around.count(max(around)) == 1 or len(hours) < 3:
        assert usual(one, now) == usual(other, (now + turned) % 24)
    away = usual(one, now)[0]
    assert (away is None) == (len(hours) < 3)
    assert away is None or 0 <= away <= 12
