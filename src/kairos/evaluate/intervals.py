"""An estimate and how sure it is: quantiles, and intervals for means and ratios of means that hold for rare rewards."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVEL = 0.95
_NORMAL = NormalDist()


class Interval(NamedTuple):
    """An estimate with the bounds of its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    def covers(self, truth: float) -> bool:
        return self.low <= truth <= self.high


def student(probability: float, degrees: float) -> float:
    """Student's quantile from the normal one (Cornish and Fisher's expansion; Abramowitz and Stegun 26.7.5).

    Within 0.003 of the true one for five degrees of freedom or more and probabilities from 0.005 to 0.995.

    >>> round(student(0.975, 10), 2), round(student(0.975, 1e9), 2)
    (2.23, 1.96)
    """
    z = _NORMAL.inv_cdf(probability)
    n = max(degrees, 1.0)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )


def two_sided(statistic: float) -> float:
    """The chance of a normal deviate at least as far from zero.

    >>> round(two_sided(1.96), 3)
    0.05
    """
    return math.erfc(abs(statistic) / math.sqrt(2))


def of_clusters(cluster: Ints, *columns: Floats) -> tuple[Floats, ...]:
    """Each column summed over what belongs together: the moments of one subscriber are no independent witnesses.

    >>> of_clusters(np.array([7, 9, 7]), np.array([1.0, 2.0, 3.0]))
    (array([4., 2.]),)
    """
    _, place = np.unique(cluster, return_inverse=True)
    return tuple(np.bincount(place, column).astype(np.float64) for column in columns)


def ratio(top: Floats, bottom: Floats) -> Interval:
    """mean(top) / mean(bottom) of independent pairs, with the interval of empirical likelihood.

    Owen (Empirical Likelihood, 2001, chapter 2) for the estimating equation E[top - ratio x bottom] = 0; with
    `bottom` all ones it is the interval of a mean. Its shape follows the data: where a few large values carry the
    estimate it reaches further up than down, and it never leaves what the data can hold. The chi-squared quantile is
    Student's squared with as many degrees of freedom as pairs effectively speak (the squared sum of |top| over its sum
    of squares), which keeps it honest where few do.
    """
    value, limit = float(top.sum() / bottom.sum()), _limit(top, LEVEL)
    scale = float(np.sqrt(((top - value * bottom) ** 2).sum())) / abs(float(bottom.sum()))
    if not scale:
        return Interval(value, value, value)
    return Interval(value, _bound(top, bottom, value, -scale, limit), _bound(top, bottom, value, scale, limit))


def possible(value: float, top: Floats, bottom: Floats, level: float) -> bool:
    """Whether an interval of `ratio` at this level covers a value, without looking for its bounds."""
    z = top - value * bottom
    return not z.any() or _deviance(z, 0.0)[0] < _limit(top, level)


def _limit(top: Floats, level: float) -> float:
    size = np.abs(top)
    speaking = float(size.sum() ** 2 / (size**2).sum()) if size.any() else 1.0
    return student((1 + level) / 2, speaking) ** 2


def _bound(top: Floats, bottom: Floats, value: float, step: float, limit: float) -> float:
    """Where the likelihood ratio reaches the limit, on the side that `step` (one standard error) points to.

    The root of the deviance is nearly linear, so a chord finds the place in a few steps; halving where it is infinite.
    """
    wanted = math.sqrt(limit)
    near, at_near, far, slope = value, 0.0, value + wanted * step, 0.0
    deviance, slope = _deviance(top - far * bottom, slope)
    while deviance < limit:
        near, at_near, far = far, math.sqrt(deviance), far + step
        deviance, slope = _deviance(top - far * bottom, slope)
    at_far = math.sqrt(deviance)
    for _ in range(40):
        share = (wanted - at_near) / (at_far - at_near) if math.isfinite(at_far) else 0.5
        place = near + min(max(share, 0.02), 0.98) * (far - near)
        deviance, slope = _deviance(top - place * bottom, slope)
        root = math.sqrt(deviance)
        if root < wanted:
            near, at_near = place, root
        else:
            far, at_far = place, root
        if abs(root - wanted) < 1e-3 or abs(far - near) < 1e-4 * abs(step):
            return place
    return far


def _deviance(z: Floats, slope: float) -> tuple[float, float]:
    """-2 log of the empirical likelihood ratio that z has mean zero, and Lagrange's multiplier; infinite outside."""
    lowest, highest = float(z.min()), float(z.max())
    if lowest >= 0 or highest <= 0:
        return math.inf, 0.0
    low, high = -1 / highest, -1 / lowest  # the multiplier lies between: every weight stays positive
    slope = slope if low < slope < high else 0.0
    for _ in range(60):
        share = z / (1 + slope * z)
        total = float(share.sum())
        low, high = (slope, high) if total > 0 else (low, slope)
        following = slope + total / float((share * share).sum())
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - slope) < 1e-9 * (abs(slope) + 1e-12):
            break
        slope = following
    return 2 * float(np.log1p(slope * z).sum()), slope
