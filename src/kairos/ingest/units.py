"""Units that other systems count in, as exact ratios, and time spans that are written out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from kairos.ingest.values import quoted

Ratio = tuple[int, int]  # numerator, denominator

TIME: Final[Mapping[str, Ratio]] = {  # in seconds
    "ns": (1, 10**9),
    "us": (1, 10**6),
    "ms": (1, 1000),
    "s": (1, 1),
    "min": (60, 1),
    "h": (3600, 1),
    "day": (86_400, 1),
}
SIZE: Final[Mapping[str, Ratio]] = {  # in bytes
    "bit": (1, 8),
    "B": (1, 1),
    **{prefix + "B": (1000**power, 1) for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
    **{prefix + "iB": (1024**power, 1) for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}
UNITS: Final[Mapping[str, tuple[str, Ratio]]] = {
    **{name: ("time", ratio) for name, ratio in TIME.items()},
    **{name: ("size", ratio) for name, ratio in SIZE.items()},
}

MONEY: Final = re.compile(r"10\^-([0-9]|1[0-9])")
LONGEST_SPAN: Final = 60  # characters
_GO = re.compile(r"(?:\d{1,12}(?:\.\d{1,12})?(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_GO_PART = re.compile(r"([\d.]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_ISO = re.compile(r"P(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?", re.ASCII)
_CLOCK = re.compile(r"(\d{1,6}):([0-5]\d):([0-5]\d(?:\.\d{1,9})?)", re.ASCII)
_OF_GO: Final = {**TIME, "µs": TIME["us"], "μs": TIME["us"], "m": TIME["min"]}


def ratio(from_: str, to: str) -> Ratio:
    """What a number of one unit is multiplied with to be one of another; both are known, and of one kind.

    >>> ratio("KiB", "B"), ratio("ns", "s"), ratio("B", "MB")
    ((1024, 1), (1, 1000000000), (1, 1000000))
    """
    (_, (over, under)), (_, (over_to, under_to)) = UNITS[from_], UNITS[to]
    return over * under_to, under * over_to


def seconds(text: str) -> Ratio:
    """A time span that is written out: as Go writes it, in ISO 8601, or as a clock shows it. Raises ValueError.

    >>> seconds("1m10.5s"), seconds("PT1M10S"), seconds("00:01:10"), seconds("0s")
    ((141, 2), (70, 1), (70, 1), (0, 1))
    """
    total = Decimal(0)
    if len(text) > LONGEST_SPAN:
        raise ValueError(f"`{quoted(text)}` is not a time span")
    if _GO.fullmatch(text):
        for count, unit in _GO_PART.findall(text):
            over, under = _OF_GO[unit]
            total += Decimal(count) * over / under
    elif (found := _ISO.fullmatch(text)) and len(text) > 2 and text[-1] != "T":
        days, hours, minutes, rest = (Decimal(part or 0) for part in found.groups())
        total = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    elif found := _CLOCK.fullmatch(text):
        hours, minutes, rest = (Decimal(part) for part in found.groups())
        total = (hours * 60 + minutes) * 60 + rest
    else:
        raise ValueError(f"`{quoted(text)}` is not a time span such as 70, 1m10s, PT1M10S or 00:01:10")
    return total.as_integer_ratio()
