"""Into which groups values fall: the words that there are, or four bands of numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

UNKNOWN, OTHERS = "unknown", "others"
MOST = 12  # words that are groups of their own


def segments(values: Sequence[Any], show: Callable[[Any], str] = str) -> list[str]:
    """A group's name for each value. Numbers with more than `MOST` values fall into quarters of their ranks.

    >>> segments(["prepaid", None, "postpaid", True])
    ['prepaid', 'unknown', 'postpaid', 'yes']
    >>> sorted(set(segments(list(range(100)))))
    ['1: up to 24', '2: 25 to 49', '3: 50 to 74', '4: 75 and more']
    """
    counts = Counter(value for value in values if value is not None)
    if len(counts) > MOST and all(isinstance(value, int | float) for value in counts):
        return _quarters(values, show)
    common = {value for value, _ in counts.most_common(MOST)}
    return [UNKNOWN if v is None else _word(v, show) if v in common else OTHERS for v in values]


def by_number(name: str) -> tuple[bool, float, str]:
    """How groups' names are sorted: by the first number in them, then as words; those that say little come last.

    >>> sorted(["T$15", "unknown", "T$2.50", "prepaid"], key=by_number)
    ['prepaid', 'T$2.50', 'T$15', 'unknown']
    """
    number = re.search(r"\d+(\.\d+)?", name)
    return name in (UNKNOWN, OTHERS), float(number[0]) if number else -1.0, name


def _word(value: Any, show: Callable[[Any], str]) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else show(value)


def _quarters(values: Sequence[Any], show: Callable[[Any], str]) -> list[str]:
    known = np.array([value for value in values if value is not None])
    ends = np.unique(np.quantile(known, (0.25, 0.5, 0.75), method="lower"))
    place = np.searchsorted(ends, known)
    names: dict[int, str] = {}
    for band in np.unique(place).tolist():
        low, high = known[place == band].min().item(), known[place == band].max().item()
        first, last = band == 0, band == place.max()
        names[band] = f"{band + 1}: " + (
            f"up to {show(high)}" if first else f"{show(low)} and more" if last else f"{show(low)} to {show(high)}"
        )
    bands = iter(place.tolist())
    return [UNKNOWN if value is None else names[next(bands)] for value in values]
