"""How often something happens to one group and to another: rates over moments, whose witnesses are subscribers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kairos.evaluate.intervals import LEVEL, Floats, Interval, student


class Counts(NamedTuple):
    """Of one group, by subscriber: in how many moments it happened, and how many there were."""

    happened: Floats
    moments: Floats


def rate(counts: Counts, level: float = LEVEL) -> Interval:
    """Happened / moments, with Wilson's interval (1927) for as many moments as the clusters are worth.

    The design effect (Kish) is the variance of the ratio over subscribers against that of independent moments; it is
    never taken to be below 1. Nothing happening at all still leaves an upper bound.

    >>> moments = np.full(200, 5.0)
    >>> often = np.tile([5.0, 0.0], 100)  # the same half of the subscribers, every time
    >>> [round(bound, 2) for bound in rate(Counts(often, moments))]
    [0.5, 0.43, 0.57]
    >>> [round(bound, 3) for bound in rate(Counts(0 * moments, moments))]
    [0.0, 0.0, 0.019]
    """
    worth, share = _worth(counts)
    z = student((1 + level) / 2, max(len(counts.moments) - 1, 1))
    middle = (share + z**2 / (2 * worth)) / (1 + z**2 / worth)
    reach = z / (1 + z**2 / worth) * math.sqrt(share * (1 - share) / worth + (z / (2 * worth)) ** 2)
    return Interval(share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach)))


def _worth(counts: Counts) -> tuple[float, float]:
    """How many independent moments these are worth, and the rate.

    Where it always or never happened, clusters show no variance: subscribers are counted then.
    """
    total, people = float(counts.moments.sum()), len(counts.moments)
    share = float(counts.happened.sum()) / total
    alone = share * (1 - share) / total
    if not alone or people < 2:
        return float(people), share
    spread = float(np.square(counts.happened - share * counts.moments).sum()) / total**2 * people / (people - 1)
    return total / max(spread / alone, 1.0), share


def gap(one: Counts, other: Counts, level: float = LEVEL) -> Interval:
    """The difference of two rates, by Newcombe's hybrid (1998) of their intervals: right near 0 and 1, too."""
    a, b = rate(one, level), rate(other, level)
    value = a.value - b.value
    down = math.hypot(a.value - a.low, b.high - b.value)
    up = math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, value - down, value + up)


def parity(one: Counts, other: Counts) -> Interval | None:
    """The ratio of two rates, by the delta method on its logarithm; None where either is zero.

    Below 0.8 it is what the four-fifths rule calls adverse impact (29 CFR 1607.4 D).
    """
    (worth, share), (other_worth, other_share) = _worth(one), _worth(other)
    if not share or not other_share:
        return None
    spread = math.sqrt((1 - share) / (share * worth) + (1 - other_share) / (other_share * other_worth))
    reach = student((1 + LEVEL) / 2, max(min(len(one.moments), len(other.moments)) - 1, 1)) * spread
    value = math.log(share / other_share)
    return Interval(math.exp(value), math.exp(value - reach), math.exp(value + reach))
