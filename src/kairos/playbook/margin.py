"""The margin floor: what a yes must leave at least, once its tax and what it costs are paid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kairos.domain.money import WHOLE, split_tax

BELOW: Final = "below the margin floor"  # the reason code of a variant that is never said for it


@dataclass(frozen=True)
class Floor:
    """An amount (minor units), or a share of the price, tax included (in parts of `domain.money.WHOLE`)."""

    amount: int = 0
    share: int = 0
    file: str = ""
    line: int = 0

    def least(self, price: int) -> int:
        """The smallest margin that it lets pass at a price, in minor units.

        >>> Floor(share=150_000).least(199)  # 15% is 29.85, and a margin is a whole number
        30
        """
        return max(self.amount, -(-price * self.share // WHOLE))


def margin(price: int, tax: int, cost: int) -> int:
    """What a yes leaves the operator (minor units): the price, less the tax that it includes at a rate, less its cost.

    >>> margin(1000, 150_000, 800), margin(1000, 150_000, 900)
    (70, -30)
    """
    return split_tax(price, tax)[0] - cost
