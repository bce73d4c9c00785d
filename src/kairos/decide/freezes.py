"""Freeze windows: whether one holds at a moment, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from kairos.decide.program import Frozen, Program
from kairos.decide.wall_clock import reads, zone_info
from kairos.domain.purpose import MARKETING, minding
from kairos.playbook.policy import WEEK, Freeze

MONDAY = date(1970, 1, 5)
WEEK_MS = 7 * 86_400_000


def frozen(program: Program, now: int) -> Iterator[tuple[Frozen, int]]:
    """The windows that hold now, each with its end (ms, UTC)."""
    for window in program.freezes:
        until = frozen_until(window.freeze, now)
        if until:
            yield window, until


def frozen_message(program: Program, channel: str, purpose: str, issue: str, now: int) -> tuple[str, int]:
    """Why a message of this purpose and issue must not go out on this channel now, and until when; or ("", 0)."""
    for window, until in frozen(program, now) if (purpose or MARKETING) in minding("freezes") else ():
        freeze = window.freeze
        concerned = channel in (freeze.channels or (channel,)) and issue in (freeze.issues or (issue,))
        if concerned and not (purpose == "care" and freeze.except_care):
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
    zone = zone_info(freeze.zone)
    walls = [datetime.combine(day, time()) + timedelta(minutes=start) for day, start in starts]
    return tuple((reads(wall, zone), reads(wall + timedelta(minutes=length), zone)) for wall in walls)
