"""Wall clocks: how far each time zone is from UTC at an instant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

QUARTER = 15 * 60_000  # ms; clocks change, and offsets differ, by whole quarters of an hour
ZONES_KEPT = 1024  # more than there are; the bound holds against made-up names


class Zones:
    """Offsets from UTC in ms, remembered for the running quarter of an hour."""

    __slots__ = ("_default", "_known", "_offsets")

    def __init__(self, default: str) -> None:
        zone = _zone(default)
        if zone is None:
            raise ValueError(f"`{default}` is not a time zone; use an IANA name such as `Europe/London`")
        self._default = zone
        self._known: dict[Any, ZoneInfo] = {None: zone}
        self._offsets: dict[Any, tuple[int, int]] = {}

    def offset(self, name: str | None, now: int) -> int:
        """What to add to `now` (ms, UTC) for the wall clock's reading; an unknown zone is taken for the default.

        >>> zones = Zones("UTC")
        >>> zones.offset("Asia/Kathmandu", 1_800_000_000_000) / 3_600_000
        5.75
        >>> zones.offset("no such place", 1_800_000_000_000)
        0
        """
        quarter = now // QUARTER
        kept = self._offsets.get(name)
        if kept is not None and kept[0] == quarter:
            return kept[1]
        difference = datetime.fromtimestamp(quarter * QUARTER // 1000, UTC).astimezone(self._zone(name)).utcoffset()
        offset = 0 if difference is None else round(difference.total_seconds() * 1000)
        self._offsets[name] = (quarter, offset)
        return offset

    def _zone(self, name: str | None) -> ZoneInfo:
        zone = self._known.get(name)
        if zone is None:
            if len(self._known) >= ZONES_KEPT:
                self._known = {None: self._default}
                self._offsets.clear()
            zone = self._known[name] = (_zone(name) if name else None) or self._default
        return zone


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # unknown, malformed, or a folder of the database
        return None
