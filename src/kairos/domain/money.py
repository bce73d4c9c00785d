"""Exact amounts: integers in a unit's smallest part, parsed from and shown as decimal text."""

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


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency: its ISO 4217 code, its minor digits, and the sign that messages show.

    >>> Currency("XTS", 2, "T$").show(1250)
    'T$12.50'
    """

    code: str
    digits: int = 2
    sign: str = ""

    def parse(self, text: str) -> int:
        """Minor units of a decimal text in major units."""
        return parse_exact(text, self.digits)

    def show(self, amount: int) -> str:
        """How a message shows an amount; whole amounts lose their empty decimals."""
        if self.digits == 0:
            return f"{self.sign}{amount}"
        major, minor = divmod(abs(amount), 10**self.digits)
        text = str(major) if minor == 0 else f"{major}.{minor:0{self.digits}d}"
        return f"{'-' if amount < 0 else ''}{self.sign}{text}"
