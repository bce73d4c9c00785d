"""Days, weeks and months of the wall clock where somebody is, as instants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from kairos.decide.program import Program
from kairos.domain.instant import date_time, instant

QUARTER: Final = 15 * 60_000  # ms; clocks change, and offsets differ, by whole quarters of an hour


def span(unit: str, zone: str, now: int) -> tuple[int, int]:
    """From when until before when (ms, UTC) the hour, day, week or month lasts that it is in a time zone.

    >>> noon = 1_774_778_400_000  # 2026-03-29 10:00 UTC: a Sunday with 23 hours in Paris
    >>> [(end - start) / 3_600_000 for start, end in (span(u, "Europe/Paris", noon) for u in ("day", "week", "month"))]
    [23.0, 167.0, 743.0]
    """
    return _span(unit, zone, now // QUARTER)


@lru_cache(maxsize=4096)
def _span(unit: str, zone: str, quarter: int) -> tuple[int, int]:
    place = zone_info(zone)
    wall = _reading(quarter * QUARTER, place)
    start = wall.replace(minute=0) if unit == "hour" else wall.replace(hour=0, minute=0)
    start -= timedelta(days={"week": start.weekday(), "month": start.day - 1}.get(unit, 0))
    following = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
    end = start + following[unit] if unit in following else (start + timedelta(days=31)).replace(day=1)
    return reads(start, place), reads(end, place)


def reads(wall: datetime, zone: ZoneInfo, after: int = 0) -> int:
    """When (ms, UTC) the wall clock in a zone reads this: the first time after `after`, of the two where it goes back.

    Where it never does, when it jumps over it.
    """
    first, second = (instant(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if _reading(first, zone) == wall:
        return first if first > after else second
    jump = second - second % QUARTER
    while _reading(jump, zone) < wall:
        jump += QUARTER
    return jump


def reads_at(program: Program, row: Sequence[Any], local: int, now: int) -> int:
    """When (ms, UTC) the wall clock where a subscriber is will show `local` (ms), after now."""
    return reads(date_time(local).replace(tzinfo=None), zone_info(zone_of(program, row)), now)


def _reading(now: int, zone: ZoneInfo) -> datetime:
    return date_time(now).astimezone(zone).replace(tzinfo=None)


def zone_of(program: Program, row: Sequence[Any]) -> str:
    """Where a subscriber is: as is known of them, else the playbook's zone."""
    own = row[program.zone_at] if program.zone_at >= 0 else None
    return own if isinstance(own, str) and _known(own) else program.time_zone


@lru_cache(maxsize=1024)
def zone_info(zone: str) -> ZoneInfo:
    return ZoneInfo(zone)


@lru_cache(maxsize=1024)
def _known(zone: str) -> bool:
    try:
        zone_info(zone)
    except (ValueError, KeyError, OSError):  # unknown, malformed, or a folder of the database
        return False
    return True
