"""How likely each candidate was to be chosen: what off-policy evaluation divides by.

The method, `thompson-quadrature`: sampled log-odds are independent normals given the moment, so the chance that arm a
has the greatest priority is the integral of its density times every other one's distribution function. It is computed
by the trapezoidal rule on `POINTS` for each candidate, where its own priority is and may be the greatest, and scaled to
1 over the moment's candidates; the error is below 0.001 for moments of up to 50 candidates (held by a test against
simulation; of 200 it was 0.001, too).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kairos.domain.pairs import Pairs

METHOD: Final = "thompson-quadrature"
ERROR: Final = 0.001
BROUGHT: Final = "onnx-"  # the names of models that somebody brings begin so
EXACT: Final = "exact"  # the method of what does not explore: the best is chosen, and equals share
POINTS: Final = 47  # for each candidate
FAR: Final = 5.2  # deviations to either side
AT_ONCE: Final = 30_000  # numbers in a table: as many as a processor keeps near

Floats = NDArray[Any]
Ints = NDArray[np.int64]


def probabilities(mean: Floats, deviation: Floats, worth: Floats, first: Ints | None = None) -> Floats:
    """For each candidate the chance that its chance x worth is the greatest of its moment; their sum is 1 a moment.

    `mean` and `deviation` are of log-odds, the deviation as it was explored with; `first` are the places at which
    moments begin (without it, all are of one). What is worth nothing is chosen only where everything is; equals share.

    >>> probabilities(np.array([-3.0, -3.0, -9.0]), np.array([0.5, 0.5, 0.1]), np.ones(3)).round(3).tolist()
    [0.5, 0.5, 0.0]
    """
    if not len(mean):
        return np.zeros(0)
    first = np.zeros(1, np.int64) if first is None else first
    length = np.diff(first, append=len(mean))
    some = worth > 0
    some |= np.repeat(np.maximum.reduceat(worth, first) <= 0, length)
    worth, deviation = np.where(worth > 0, worth, 1.0), np.maximum(deviation, 1e-3)
    chosen, many = some.astype(np.float64), np.add.reduceat(some, first, dtype=np.int64)
    for count in np.unique(many[many > 1]).tolist():
        table = np.flatnonzero(some & np.repeat(many == count, length)).reshape(-1, count)
        step = max(1, AT_ONCE // (POINTS * count * count))
        for start in range(0, len(table), step):
            places = table[start : start + step]
            chosen[places] = _greatest(mean[places], deviation[places], worth[places])
    return chosen


def equals_share(pairs: Pairs, priority: Floats) -> Floats:
    """For each row of `pairs` how likely arbitration puts it first where nothing explores: the best arms share.

    Where a draw decides between equals, an arm's channels have the same one, and the first of them is taken.
    """
    first = np.flatnonzero(np.diff(pairs.moment, prepend=-1))
    length = np.diff(first, append=len(priority))
    shares = priority == np.repeat(np.maximum.reduceat(priority, first), length)
    order, again = by_arm(pairs, priority)
    shares[order[again]] = False
    chances: Floats = shares / np.repeat(np.add.reduceat(shares, first, dtype=np.int64), length)
    return chances


def by_arm(pairs: Pairs, priority: Floats) -> tuple[Ints, NDArray[np.bool_]]:
    """The places of rows by moment and arm, an arm's best channel (of equals the first) before its others; and which
    are others: an arm's channels share one draw."""
    order = np.lexsort((pairs.channel, -priority, pairs.arm, pairs.moment))
    again = (np.diff(pairs.moment[order], prepend=-1) == 0) & (np.diff(pairs.arm[order], prepend=-1) == 0)
    return order, again


def _greatest(mean: Floats, deviation: Floats, worth: Floats) -> Floats:
    """(moments, candidates) in and out. Single precision is enough, and half the work."""
    mean, deviation, worth = (table.astype(np.float32) for table in (mean, deviation, worth))
    low = (worth * _chance(mean - FAR * deviation)).max(axis=1)[:, None]  # below it somebody is nearly never
    begin = np.clip((_odds(low / worth) - mean) / deviation, -FAR, FAR)
    along = begin[:, None] + np.linspace(0, 1, POINTS, dtype=np.float32)[:, None] * (FAR - begin)[:, None]
    own = worth[:, None] * _chance(mean[:, None] + along * deviation[:, None])
    grid = np.sort(np.maximum(own, low[:, None]).reshape(len(mean), -1), axis=1)
    below = _normal_distribution((_odds(grid[..., None] / worth[:, None]) - mean[:, None]) / deviation[:, None])
    others = _others(below)
    share: Floats = np.sum(np.diff(below, axis=1) * (others[:, 1:] + others[:, :-1]) / 2, axis=1)
    share += below[:, 0] * others[:, 0] / mean.shape[1]
    total = share.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.where(total > 0, share / np.where(total > 0, total, 1), 1 / mean.shape[1])


def _odds(chance: Floats) -> Floats:
    """Their logarithm; next to infinite for what is no chance any more."""
    odds: Floats = np.log(np.maximum(chance, 1e-30) / np.maximum(1 - chance, 1e-30))
    return odds


def _chance(odds: Floats) -> Floats:
    chance: Floats = 1 / (1 + np.exp(-np.maximum(odds, -60)))
    return chance


def _others(below: Floats) -> Floats:
    """For each candidate the product over all the others, zeros and all."""
    before, after = np.ones_like(below), np.ones_like(below)
    np.cumprod(below[..., :-1], axis=-1, out=before[..., 1:])
    np.cumprod(below[..., :0:-1], axis=-1, out=after[..., -2::-1])
    product: Floats = before * after
    return product


def _normal_distribution(at: Floats) -> Floats:
    """The standard normal distribution function, to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26)."""
    far = np.minimum(np.abs(at) / 2**0.5, 30.0)
    near = 1 / (1 + 0.3275911 * far)
    rest = near * (
        0.254829592 + near * (-0.284496736 + near * (1.421413741 + near * (-1.453152027 + near * 1.061405429)))
    )
    tail = 0.5 * rest * np.exp(-(far**2))
    distribution: Floats = np.where(at < 0, tail, 1 - tail)
    return distribution
