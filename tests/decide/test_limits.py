"""Limits: by purpose, and by the calendar of the wall clock where the subscriber is; and exactly until when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos import enrich
from kairos.decide import explain
from kairos.decide.decide import decide, keyed_draw
from kairos.decide.wall_clock import span
from kairos.domain.moment import Moment
from kairos.domain.subscriber import Bucket, Contact
from kairos.errors import PlaybookError
from kairos.learn import FixedPropensity

HOUR = 3_600_000
DAY = 24 * HOUR
POLICY = "contact_only_when: {marketing consent: marketing_consent}\nlimits:\n  - "
ZONES = ["UTC", "Europe/Paris", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana"]
UNITS = ["hour", "day", "week", "month"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.integers(1_735_689_600_000, 1_861_920_000_000)  # 2025 to 2028


def wall(now: int, zone: str) -> datetime:
    return (EPOCH + timedelta(milliseconds=now)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def named(unit: str, now: int, zone: str) -> tuple[int, ...]:
    """What a calendar on the wall calls the hour, day, week or month."""
    at = wall(now, zone)
    match unit:
        case "hour":
            return at.year, at.month, at.day, at.hour
        case "day":
            return at.year, at.month, at.day
        case "week":
            return tuple(at.isocalendar()[:2])
        case _:
            return at.year, at.month


@given(st.sampled_from(UNITS), st.sampled_from(ZONES), TIMES)
@settings(deadline=None, max_examples=500)
def test_a_span_is_what_the_wall_clock_calls_one(unit: str, zone: str, now: int) -> None:
    start, end = span(unit, zone, now)
    assert start <= now < end
    name = named(unit, now, zone)
    assert named(unit, start, zone) == name
    assert named(unit, end, zone) > name
    assert named(unit, start - 1, zone) < name
    assert span(unit, zone, end)[0] == end


def verdict(bench: Any, state: Any, now: int, *, riding: bool = True) -> tuple[str, int]:
    """What the booster fell to, and until when; ("", 0) where it did not."""
    state.announced = {"main": 1, "data": 1}
    state.buckets = [Bucket("main", 5000), Bucket("data", 100_000)]
    row = enrich.row(bench.program.plan, state, "end_of_call", {"cost": 1, "service": "voice"}, now, now)
    moment = Moment(1, "i", "end_of_call", now, now, row, state, riding)
    made = decide(bench.program.decide, [moment], FixedPropensity(), keyed_draw("s"), lambda *_: None)[0].decision
    found = next(v for v in explain(bench.program.decide, made) if v.action == "booster")
    return ("", 0) if found.reason == "no text fits" else (found.reason, found.until)


_benches: dict[str, Any] = {}


def bench_of(bench_with: Callable[..., Any], limit: str, zone: str = "UTC") -> Any:
    if limit + zone not in _benches:
        playbook = f"name: small\ncurrency: {{code: XTS}}\nlanguages: [en, fr]\ntime_zone: {zone}"
        bench = bench_with({"contact_policy.yaml": POLICY + limit, "playbook.yaml": playbook})
        bench.profile()
        _benches[limit + zone] = bench
    return _benches[limit + zone]


@given(st.sampled_from(UNITS), st.sampled_from(ZONES), TIMES, st.lists(st.integers(0, 40 * DAY), max_size=8))
@settings(deadline=None, max_examples=300)
def test_a_calendar_limit_agrees_with_a_calendar_on_the_wall(
    bench_with: Callable[..., Any], unit: str, zone: str, now: int, ages: list[int]
) -> None:
    bench = bench_of(bench_with, f"{{at_most: 2, per: calendar {unit}}}", zone)
    state = bench.state()
    times = sorted(now - age for age in ages)
    state.contacts = [Contact(at, 1, "sms", "x", "y", False) for at in times]
    reached = sum(named(unit, at, zone) == named(unit, now, zone) for at in times) >= 2
    reason, until = verdict(bench, state, now)
    assert reason == (f"2 contacts per calendar {unit}" if reached else "")
    if reached:
        assert verdict(bench, state, until - 1) == (reason, until)
        assert verdict(bench, state, until) == ("", 0)


def test_a_calendar_day_is_that_of_the_subscribers_own_zone(bench_with: Callable[..., Any], texts: Any) -> None:
    zoned = texts["vocabulary.yaml"].replace("language: text,", "language: text, zone: text,", 1)
    zoned = zoned.replace("attributes:\n", "attributes:\n  time_zone: {type: text, from: [profile.zone]}\n")
    policy = POLICY + "{at_most: 1, per: calendar day}"
    bench = bench_with({"vocabulary.yaml": zoned, "contact_policy.yaml": policy})
    bench.profile(zone="Asia/Tokyo")
    state, noon = bench.state(), bench.now
    state.contacts = [Contact(noon, 1, "sms", "x", "y", False)]
    assert verdict(bench, state, noon + 1) == ("1 contact per calendar day", noon + 3 * HOUR)  # 21:00 in Tokyo
    assert verdict(bench, state, noon + 3 * HOUR) == ("", 0)
    bench.profile(zone="nowhere at all")
    state = bench.state()
    state.contacts = [Contact(noon, 1, "sms", "x", "y", False)]
    assert verdict(bench, state, noon + 1)[1] == noon + 12 * HOUR


@pytest.mark.parametrize(
    ("limit", "purpose", "refused"),
    [
        ("{at_most: 1, per: 1 day, purpose: marketing}", "", True),
        ("{at_most: 1, per: 1 day, purpose: marketing}", "marketing", True),
        ("{at_most: 1, per: 1 day, purpose: marketing}", "care", False),
        ("{at_most: 1, per: 1 day, purpose: [care, marketing]}", "care", True),
        ("{at_most: 1, per: 1 day, purpose: care}", "care", False),  # it is reached, and binds care alone
        ("{at_most: 1, per: 1 day}", "service", True),  # all that is said here is bound, so nothing is told apart
    ],
)
def test_a_limit_counts_and_binds_the_purposes_that_it_names(
    bench_with: Callable[..., Any], limit: str, purpose: str, refused: bool
) -> None:
    bench = bench_of(bench_with, limit)
    state = bench.state()
    state.contacts = [Contact(bench.now - HOUR, 1, "sms", "x", "y", False, purpose)]
    reason, until = verdict(bench, state, bench.now)
    assert bool(reason) == refused
    if refused:
        assert until == bench.now + 23 * HOUR


WRONG = {
    "{at_most: 1, per: calendar fortnight}": "per: unknown unit `fortnight`; there are `hour`, `day`",
    "{at_most: 1, per: calender day}": "per: `calender day` is no duration",
    "{at_most: 1, per: 1 day, purpose: marketting}": "purpose: unknown purpose `marketting`; did you mean `marketing`?",
}


@pytest.mark.parametrize("limit", WRONG)
def test_a_limit_that_cannot_be_is_refused(bench_with: Callable[..., Any], limit: str) -> None:
    with pytest.raises(PlaybookError) as raised:
        bench_with({"contact_policy.yaml": POLICY + limit})
    (found,) = raised.value.diagnostics
    assert (found.file, found.line) == ("contact_policy.yaml", 3)
    assert WRONG[limit] in str(found)
