"""Texts, amounts, days and instants as they are written in a rule, and as they stand in a row."""

from __future__ import annotations

import datetime as dt
from decimal import Context, Decimal
from typing import Final

DATE_FORM: Final = "DATE '2026-01-31'"
TIME_FORM: Final = "TIMESTAMP '2026-01-31 18:00:00'"

_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (a rule writes no zone: UTC, or the wall clock for `local`)
_EXACT: Final = Context(prec=5_000)  # more digits than a rule can have


def quoted(text: str) -> str:
    """A text as a literal, in a rule as in SQL.

    >>> quoted("O'Hara")
    "'O''Hara'"
    """
    return "'" + text.replace("'", "''") + "'"


def minor_units(written: str, digits: int) -> int:
    """An amount in major units, in a currency of so many decimals, exactly in minor ones.

    Raises `ValueError`, its text in the user's words, for more decimals than the currency has or more than 64 bits.

    >>> minor_units("2.50", 2)
    250
    """
    minor = Decimal(written).scaleb(digits, _EXACT)
    if minor != minor.to_integral_value():
        raise ValueError(f"the amount `{written}` has more than {digits} decimals")
    if not fits_money(minor):
        raise ValueError(f"the amount `{written}` is too large")
    return int(minor)


def fits_money(minor: int | Decimal) -> bool:
    """Whether an amount is within 64 bits."""
    return -(2**63) < minor < 2**63


def day(written: str) -> int:
    """Days since 1970-01-01; `ValueError` for what is not a day.

    >>> day("1970-01-31")
    30
    """
    return (dt.datetime.strptime(written, "%Y-%m-%d") - _EPOCH).days  # noqa: DTZ007


def instant(written: str) -> int:
    """Milliseconds since 1970-01-01 00:00; `ValueError` for what is not a time, or names a zone.

    >>> instant("1970-01-01 00:00:01.5")
    1500
    """
    moment = dt.datetime.fromisoformat(written)
    if moment.tzinfo is not None:
        raise ValueError("a zone")
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)
