"""Windows of channels: when messages of their own go out, by days of the week, and exactly until when they do not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decide.test_limits import ZONES, verdict, wall

from kairos.decide.gates import closed_for
from kairos.decide.wall_clock import reads
from kairos.errors import PlaybookError

HOUR = 3_600_000
MINUTE = 60_000
POLICY = "contact_only_when: {marketing consent: marketing_consent}\n"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.sampled_from(ZONES), st.integers(1_735_689_600_000, 1_861_920_000_000), st.integers(0, 3 * 1440))
@settings(deadline=None, max_examples=500)
def test_a_clock_reads_what_it_should_from_then_on(zone: str, now: int, minutes: int) -> None:
    now -= now % MINUTE
    wanted = wall(now, zone) + timedelta(minutes=minutes)
    at = reads(wanted, ZoneInfo(zone), now - 1)
    assert wall(at, zone) >= wanted
    assert at == now or wall(at - MINUTE, zone) < wanted or wall(at - MINUTE, zone) > wall(at, zone)


SPANS = st.lists(st.tuples(st.integers(0, 10_079), st.integers(1, 1439)), min_size=1, max_size=5)


@given(SPANS, st.integers(0, 60 * 10_080))
def test_a_window_opens_when_it_says(spans: list[tuple[int, int]], minute: int) -> None:
    window = tuple((start, start + lasts) for start, lasts in spans)

    def is_open(at: int) -> bool:
        shown = (at - 4 * 1440) % 10_080
        return any(start <= shown < end or start <= shown + 10_080 < end for start, end in window)

    waits = closed_for(window, minute * MINUTE) // MINUTE
    assert (waits == 0) == is_open(minute)
    assert is_open(minute + waits)
    assert not any(is_open(minute + before) for before in range(waits))


WINDOWS = {
    "sms: 09:00-20:00": [(10, True, 0), (20, False, 13), (8, False, 1), (9, True, 0)],
    "sms: {mon-tue: 09:00-20:00, sat: 10:00-14:00}": [(12, False, 70), (82, True, 0), (86, False, 43)],
    "sms: {wed: 20:00-02:00}": [(12, False, 8), (21, True, 0), (25, True, 0), (26, False, 162)],
}


@pytest.mark.parametrize("window", WINDOWS)
def test_own_messages_keep_to_their_window_and_lines_ride(bench_with: Callable[..., Any], window: str) -> None:
    bench = bench_with({"contact_policy.yaml": POLICY + f"windows: {{{window}}}"})
    bench.profile()
    midnight = bench.now - 12 * HOUR  # of Wednesday
    for hour, is_open, waits in WINDOWS[window]:
        now = midnight + hour * HOUR
        expected = ("", 0) if is_open else ("window of sms", now + waits * HOUR)
        assert verdict(bench, bench.state(), now, riding=False) == expected, hour
        assert verdict(bench, bench.state(), now, riding=True) == ("", 0)


def test_quiet_hours_and_windows_end_by_the_clock_on_the_wall(bench_with: Callable[..., Any]) -> None:
    zone = ZoneInfo("Europe/Paris")
    before = (datetime(2026, 3, 28, 23, tzinfo=zone) - EPOCH) // timedelta(milliseconds=1)  # clocks go ahead that night
    playbook = "name: small\ncurrency: {code: XTS}\nlanguages: [en, fr]\ntime_zone: Europe/Paris"
    for policy, name in (("quiet_hours: 21:00-08:00", "quiet hours"), ("windows: {sms: 08:00-21:00}", "window of sms")):
        bench = bench_with({"contact_policy.yaml": POLICY + policy, "playbook.yaml": playbook})
        bench.profile()
        assert verdict(bench, bench.state(), before, riding=False) == (name, before + 8 * HOUR)
        assert verdict(bench, bench.state(), before + 8 * HOUR, riding=False) == ("", 0)


WRONG = {
    "windows: {notification: 09:00-20:00}": "no messages of their own go out on `notification`",
    "windows: {sms: 9-20}": "sms: `9-20` is no span of hours",
    "windows: {sms: {monday: 09:00-20:00}}": "`monday` is no day of the week; there are mon, tue,",
    "windows: {sms: {sat-mon: 09:00-20:00}}": "`sat-mon` goes over the end of the week",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_window_that_cannot_be_is_refused(bench_with: Callable[..., Any], line: str) -> None:
    with pytest.raises(PlaybookError) as raised:
        bench_with({"contact_policy.yaml": POLICY + line})
    (found,) = raised.value.diagnostics
    assert (found.file, found.line) == ("contact_policy.yaml", 2)
    assert WRONG[line] in str(found)
