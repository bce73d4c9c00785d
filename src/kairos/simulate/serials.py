"""Ids that never come again: not in this run, not in the next one against the same store."""

from __future__ import annotations

from collections.abc import Iterator

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_START = 1_704_067_200_000  # 2024-01-01 UTC, ms


def serials(now: int) -> Iterator[str]:
    """Short ids that count up from the moment `now` (ms since the epoch), so a later run begins beyond an earlier one.

    >>> from itertools import islice
    >>> list(islice(serials(1_800_000_000_000), 2))
    ['182jwu80', '182jwu81']
    """
    number = now - _START
    while True:
        yield _base36(number)
        number += 1


def _base36(number: int) -> str:
    digits = []
    while number:
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits)) or "0"
