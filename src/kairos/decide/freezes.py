"""Freeze windows: whether one holds at a moment, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from kairos.decide.program import Frozen, Program
from kairos.playbook.policy import WEEK, Freeze

MONDAY = date(1970, 1, 5)
WEEK_MS = 7 * 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def frozen(program: Program, now: int) -> Iterator[tuple[Frozen, int]]:
    """The windows that hold now, each with its end (ms, UTC)."""
    for window in program.freezes:
        until = frozen_until(window.freeze, now)
        if until:
            yield window, until


def frozen_message(program: Program, channel: str, action: str, issue: str, now: int) -> tuple[str, int]:
    """Why a message of this action about this issue must not go out on this channel now, and until when; or ("", 0)."""
    care = program.of_action.get(action, 0) & program.care
    for window, until in frozen(program, now):
        freeze = window.freeze
        concerned = channel in (freeze.channels or (channel,)) and issue in (freeze.issues or (issue,))
        if concerned and not (care and freeze.except_care):
            return freeze.why, until
    return "", 0


def frozen_until(freeze: Freeze, now: int) -> int:
    """When the window that holds at `now` ends (ms, UTC); 0 where it does not hold.

    >>> nights = Freeze("maintenance", (4 * 24 + 22) * 60, 2 * 60, True, "UTC")  # fri 22:00 to mon 02:00
    >>> saturday = 1_772_884_800_000  # 2026-03-07 12:00 UTC
    >>> (frozen_until(nights, saturday) - saturday) / 3_600_000, frozen_until(nights, saturday + 2 * 86_400_000)
    (38.0, 0)
    """
    spans = _of_week(freeze, (now - 4 * 86_400_000) // WEEK_MS) if freeze.weekly else ((freeze.start, freeze.end),)
    return next((end for start, end in spans if start <= now < end), 0)


@lru_cache(maxsize=1024)
def _of_week(freeze: Freeze, week: int) -> tuple[tuple[int, int], ...]:
    """The spans that a weekly window may have in a week (counted from 1970-01-05 UTC): those that begin around it."""
    length = (freeze.end - freeze.start) % WEEK
    starts = [(MONDAY + timedelta(weeks=week + near), freeze.start) for near in (-1, 0, 1)]
    zone = ZoneInfo(freeze.zone)
    return tuple((_instant(day, start, zone), _instant(day, start + length, zone)) for day, start in starts)


def _instant(day: date, minutes: int, zone: ZoneInfo) -> int:
    """So many minutes of the wall clock after a day began, as ms (UTC)."""
    wall = datetime.combine(day, time(), None) + timedelta(minutes=minutes)
    return (wall.replace(tzinfo=zone) - EPOCH) // timedelta(milliseconds=1)
