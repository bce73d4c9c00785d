"""What may be given out: so many offers, or so much money, in each period of the calendar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Counted = Literal["offers", "price", "cost", "value"]


@dataclass(frozen=True)
class Budget:
    """At most `cap` in each hour, day, week or month of the playbook's own time zone.

    `cap` is in minor units, or a number of offers where it counts these. `even`: no more of it than the time that has
    passed of the period.
    """

    name: str  # its reason code, and what its standing is kept under
    cap: int
    unit: str
    counts: Counted = "offers"
    even: bool = False
    of: str = ""  # whose it is, in words: a partner, a campaign
    file: str = ""
    line: int = 0
