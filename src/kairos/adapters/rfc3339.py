"""Times as other systems write them (RFC 3339)."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(ms: int) -> str:
    """Milliseconds since the epoch as text.

    >>> iso(1_795_543_200_123), iso(1_772_625_600_000)
    ('2026-11-24T18:00:00.123Z', '2026-03-04T12:00:00.000Z')
    """
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"
