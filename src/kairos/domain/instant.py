"""Instants: milliseconds since the epoch, UTC, and the dates and times that they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def instant(at: datetime) -> int:
    """When that is; it has a time zone. What is less than a millisecond is left out.

    >>> instant(datetime(1970, 1, 1, 0, 0, 0, 250_999, UTC))
    250
    """
    return (at - EPOCH) // _MILLISECOND


def date_time(at: int) -> datetime:
    """What it is in UTC. OverflowError for one that no calendar has.

    >>> date_time(250).isoformat()
    '1970-01-01T00:00:00.250000+00:00'
    """
    return EPOCH + at * _MILLISECOND
