"""What marketing earned that silence would not have: intention to treat, by summaries that any database can make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from kairos.evaluate.intervals import LEVEL, Floats, Interval, student, two_sided

FEWEST = 30  # subscribers in either group: with fewer there is no interval to trust
SURE = 3  # standard errors that both means are above zero before their ratio is told
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Summary:
    """A group of subscribers: how many, and means, variances and covariance of an outcome y and a covariate x.

    Variances are of the sample (n - 1). All that follows needs only these, so a database can make them.
    """

    n: int
    y: float
    var_y: float = 0.0
    x: float = 0.0
    var_x: float = 0.0
    cov: float = 0.0

    @classmethod
    def of(cls, y: Floats, x: Floats | None = None) -> Summary:
        """
        >>> import numpy as np
        >>> Summary.of(np.array([1.0, 3.0]))
        Summary(n=2, y=2.0, var_y=2.0, x=0.0, var_x=0.0, cov=0.0)
        """
        mean, spread = float(y.mean()), float(y.var(ddof=1))
        if x is None:
            return cls(len(y), mean, spread)
        both = float(((y - mean) * (x - x.mean())).sum() / (len(y) - 1))
        return cls(len(y), mean, spread, float(x.mean()), float(x.var(ddof=1)), both)


class Effect(NamedTuple):
    """What treatment changed, per subscriber; `relative` to the control's mean (None: not surely above zero)."""

    difference: Interval
    relative: Interval | None
    p: float  # of no difference
    error: float  # standard error of the difference
    saved: float  # share of the variance that the covariate took away; 0: it was not used


def effect(treated: Summary, control: Summary, *, adjust: bool = False) -> Effect | None:
    """Difference of means between those assigned to treatment and to control, whoever of them was reached.

    None where a group has fewer than `FEWEST`. The interval is Welch's. `adjust` is CUPED (Deng, Xu, Kohavi and
    Walker, 2013): x, known before the first treatment, explains away what subscribers differed in already. The
    relative one is by the delta method, on the logarithm of the ratio of the means.

    >>> calm, moved = (Summary(1000, mean, 4.0, 5.0, 4.0, 3.2) for mean in (5.0, 5.3))
    >>> plain, adjusted = effect(moved, calm), effect(moved, calm, adjust=True)
    >>> [round(bound, 3) for bound in plain.difference], [round(bound, 3) for bound in adjusted.difference]
    ([0.3, 0.125, 0.475], [0.3, 0.195, 0.405])
    >>> [round(bound, 3) for bound in plain.relative], round(adjusted.saved, 2)
    ([0.06, 0.024, 0.097], 0.64)
    """
    if min(treated.n, control.n) < FEWEST:
        return None
    slope = _slope(treated, control) if adjust else 0.0
    middle = (treated.n * treated.x + control.n * control.x) / (treated.n + control.n)
    (y1, v1), (y0, v0) = (_adjusted(group, slope, middle) for group in (treated, control))
    a, b = v1 / treated.n, v0 / control.n
    difference, error = y1 - y0, math.sqrt(a + b)
    plain = treated.var_y / treated.n + control.var_y / control.n
    if not error:
        return Effect(Interval(difference, difference, difference), None, float(not difference), 0.0, 0.0)
    degrees = (a + b) ** 2 / (a**2 / (treated.n - 1) + b**2 / (control.n - 1))
    reach = student((1 + LEVEL) / 2, degrees)
    relative = None
    if control.y > 0 and min(y1 / math.sqrt(a or 1), y0 / math.sqrt(b or 1)) > SURE:
        spread = reach * math.sqrt(a / y1**2 + b / y0**2)
        ratio = math.log(y1 / y0)
        relative = Interval(math.expm1(ratio), math.expm1(ratio - spread), math.expm1(ratio + spread))
    return Effect(
        Interval(difference, difference - reach * error, difference + reach * error),
        relative,
        two_sided(difference / error),
        error,
        1 - error**2 / plain if slope else 0.0,
    )


def _slope(treated: Summary, control: Summary) -> float:
    """CUPED's theta: of y on x within the groups, so that the effect itself is no part of it.

    Weighted as the variance of the difference weighs them: a small control group counts for more.
    """
    spread = treated.var_x / treated.n + control.var_x / control.n
    return (treated.cov / treated.n + control.cov / control.n) / spread if spread else 0.0


def _adjusted(group: Summary, slope: float, middle: float) -> tuple[float, float]:
    spread = group.var_y - 2 * slope * group.cov + slope**2 * group.var_x
    return group.y - slope * (group.x - middle), max(spread, 0.0)


def balance(treated: Summary, control: Summary) -> float:
    """The chance of a difference in the covariate as large as this, had the groups been drawn alike."""
    of_x = [Summary(group.n, group.x, group.var_x) for group in (treated, control)]
    before = effect(of_x[0], of_x[1])
    return before.p if before else 1.0


def mismatch(control: int, everybody: int, share: float) -> float:
    """The chance of a control group so far from its planned share (a sample ratio mismatch; normal approximation).

    >>> round(mismatch(5_050, 100_000, 0.05), 2), mismatch(4_500, 100_000, 0.05) < 1e-9
    (0.47, True)
    """
    spread = math.sqrt(everybody * share * (1 - share))
    return two_sided((control - everybody * share) / spread) if spread else 1.0


def detectable(error: float, power: float = 0.8) -> float:
    """The smallest true difference that is found with this power, where the difference has this standard error.

    >>> round(detectable(1.0), 2)
    2.8
    """
    return error * (_NORMAL.inv_cdf((1 + LEVEL) / 2) + _NORMAL.inv_cdf(power))


def together(chances: Sequence[float]) -> list[float]:
    """Each chance, corrected for having looked at all of them (Holm, 1979).

    >>> together([0.01, 0.04, 0.5])
    [0.03, 0.08, 0.5]
    """
    order = sorted(range(len(chances)), key=chances.__getitem__)
    corrected, highest = [0.0] * len(chances), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, chances[place] * (len(chances) - rank)))
        corrected[place] = highest
    return corrected
