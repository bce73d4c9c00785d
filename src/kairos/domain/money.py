"""Exact amounts: integers in a unit's smallest part, parsed from and shown as decimal text; and how they are rounded.

Prices include tax. What is rounded, is rounded here, and only here: halves away from zero, as on a bill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_DECIMAL: Final = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})", re.ASCII)


def parse_exact(text: str, digits: int) -> int:
    """The integer number of smallest parts in a decimal text; never through a binary float.

    Raises ValueError where the text is no number or has more decimals than `digits`.

    >>> parse_exact("2.50", 2)
    250
    >>> parse_exact("2.505", 2)
    Traceback (most recent call last):
    ...
    ValueError: `2.505` has more than 2 decimals
    """
    written = text.strip()
    if not _DECIMAL.fullmatch(written):
        raise ValueError(f"`{text[:60]}` is not a number")
    sign, whole, decimals = written[0] == "-", *(written.lstrip("+-") + ".").split(".")[:2]
    if decimals.rstrip("0")[digits:]:
        raise ValueError(f"`{text[:60]}` has more than {digits} decimals")
    amount = int((whole or "0") + decimals[:digits].ljust(digits, "0"))
    if amount >= 2**63:
        raise ValueError(f"`{text[:60]}` is too large")
    return -amount if sign else amount


WHOLE: Final = 1_000_000  # a rate is an integer in parts of this: 15% is 150_000


def divide(numerator: int, denominator: int) -> int:
    """The nearest integer to an exact quotient; halves go away from zero. `denominator` is above zero.

    >>> divide(5, 2), divide(-5, 2), divide(7, 3)
    (3, -3, 2)
    """
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient


def split_tax(price: int, rate: int) -> tuple[int, int]:
    """The net and the tax part of a price that includes tax at a rate (parts of WHOLE): together always the price.

    >>> split_tax(1000, 150_000), split_tax(1, 150_000)
    ((870, 130), (1, 0))
    """
    tax = divide(price * rate, WHOLE + rate)
    return price - tax, tax


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency: its ISO 4217 code, its minor digits, and the sign that messages show.

    `step` is the smallest amount that can be charged, in minor units: 5 where the smallest coin is 0.05.

    >>> Currency("XTS", 2, "T$").show(1250)
    'T$12.50'
    """

    code: str
    digits: int = 2
    sign: str = ""
    step: int = 1

    def parse(self, text: str) -> int:
        """Minor units of a decimal text in major units."""
        return parse_exact(text, self.digits)

    def chargeable(self, amount: int) -> int:
        """The nearest amount that can be charged.

        >>> Currency("XTS", 2, step=5).chargeable(1012), Currency("XTS", 2, step=5).chargeable(1013)
        (1010, 1015)
        """
        return divide(amount, self.step) * self.step

    def exact(self, amount: int) -> str:
        """An amount in major units with all its decimals, as another system reads it.

        >>> Currency("XTS", 2, "T$").exact(-1250), Currency("XTS", 0).exact(7)
        ('-12.50', '7')
        """
        major, minor = divmod(abs(amount), 10**self.digits)
        return ("-" if amount < 0 else "") + (f"{major}.{minor:0{self.digits}d}" if self.digits else str(major))

    def show(self, amount: int) -> str:
        """How a message shows an amount; whole amounts lose their empty decimals."""
        if self.digits == 0:
            return f"{self.sign}{amount}"
        major, minor = divmod(abs(amount), 10**self.digits)
        text = str(major) if minor == 0 else f"{major}.{minor:0{self.digits}d}"
        return f"{'-' if amount < 0 else ''}{self.sign}{text}"
