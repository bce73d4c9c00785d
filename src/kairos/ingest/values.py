"""Single values: read exactly, or refused in the sender's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from kairos.domain.instant import instant
from kairos.errors import did_you_mean

LONGEST_TEXT: Final = 1000
LARGEST_AMOUNT: Final = 10**15  # smallest parts: ten trillion units of two decimals; sums of thousands fit 64 bits
LARGEST_NUMBER: Final = 1e300  # so that sums stay finite

DECIMAL: Final = re.compile(r"([+-]?)([0-9]{1,19})(?:\.([0-9]{1,19}))?")
DAY_ONE: Final = date(1970, 1, 1).toordinal()


class NumberText(str):
    """A JSON number with a fraction or an exponent, as it was written."""

    __slots__ = ()


def amount(text: str, digits: int) -> int:
    """Smallest parts of a decimal text, exactly; never through a binary float. Raises ValueError.

    >>> amount("12.5", 2), amount("-3", 2)
    (1250, -300)
    >>> amount("1e9", 2)
    Traceback (most recent call last):
    ...
    ValueError: `1e9` is not a decimal number such as 12.50
    """
    found = DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError(f"`{quoted(text)}` is not a decimal number such as 12.50")
    sign, whole, fraction = found.groups("")
    if len(fraction) > digits:
        if fraction[digits:].strip("0"):
            raise ValueError(f"`{quoted(text)}` has more than {digits} decimals")
        fraction = fraction[:digits]
    parts = int(whole + fraction) * 10 ** (digits - len(fraction))
    return in_range(-parts if sign == "-" else parts, text)


def in_range(parts: int, written: object) -> int:
    """The amount, unless it is absurd. Raises ValueError."""
    if abs(parts) > LARGEST_AMOUNT:
        raise ValueError(f"`{quoted(written)}` is too large")
    return parts


def number(written: Any) -> float:
    """A finite float. Raises ValueError."""
    try:
        value = float(written)
    except OverflowError:
        value = LARGEST_NUMBER * 10
    if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise ValueError(f"`{quoted(written)}` is too large")
    return value


def time(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 timestamp (or any ISO 8601 one with an offset). Raises ValueError.

    >>> time("1970-01-01T01:00:00.25+01:00")
    250
    """
    try:
        return instant(datetime.fromisoformat(text.upper()))
    except (ValueError, TypeError):  # no time, or one without its offset
        raise ValueError(f"`{quoted(text)}` is not a time such as 2026-11-24T18:00:00Z") from None


def day(text: str) -> int:
    """Days since 1970-01-01 of an ISO date. Raises ValueError.

    >>> day("1970-02-01")
    31
    """
    try:
        return msgspec.convert(text, date).toordinal() - DAY_ONE
    except msgspec.ValidationError:
        raise ValueError(f"`{quoted(text)}` is not a date such as 2026-11-24") from None


def zone_named(name: str) -> tzinfo:
    """A time zone by its IANA name. Raises ValueError with what is wrong, and a hint."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # unknown, malformed, or a folder of the database
        raise ValueError(f"`{name}` is not a time zone", "use an IANA name such as `Europe/London`") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint: the known word that was probably meant, else all that there are.

    >>> nearest("colour", ["size", "color"]), nearest("weight", ["size", "color"])
    ('did you mean `color`?', 'known: `size`, `color`')
    """
    return did_you_mean(word, known) or f"known: {', '.join(f'`{one}`' for one in known)}"


def in_words(value: object) -> str:
    """What came in JSON of any kind, short enough for a message, on one line.

    >>> in_words({"a": [1, None]}), in_words("two\\nlines")
    ('{"a":[1,null]}', 'two lines')
    """
    try:
        text = (
            value
            if isinstance(value, str)
            else json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=float)
        )
    except (ValueError, RecursionError):
        text = type(value).__name__
    return quoted("".join(char if char.isprintable() else " " for char in text[:80]))


def quoted(value: object) -> str:
    """What somebody wrote, short enough for a message.

    >>> quoted({"price": True, "note": None})
    '{"price":true,"note":null}'
    """
    text = (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    )
    return text if len(text) <= 60 else text[:60] + "..."
