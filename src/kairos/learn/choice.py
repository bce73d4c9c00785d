"""How likely each candidate was to be chosen: what off-policy evaluation divides by.

The method, `thompson-quadrature`: sampled log-odds are independent normals given the moment, so the chance that arm a
has the greatest priority is the integral of its density times every other one's distribution function. It is computed
by the trapezoidal rule on `POINTS` for each candidate, where its own priority is, and scaled to 1 over the moment's
candidates; the error is below 0.001 for moments of up to 50 candidates (held by a test against simulation).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

METHOD: Final = "thompson-quadrature"
POINTS: Final = 65  # for each candidate
FAR: Final = 6.0  # deviations to either side

Floats = NDArray[np.float64]


def probabilities(mean: Floats, deviation: Floats, worth: Floats) -> Floats:
    """For the candidates of one moment the chance that chance x worth is greatest; their sum is 1.

    `mean` and `deviation` are of log-odds, the deviation as it was explored with. What is worth nothing is chosen only
    where everything is; equals share.

    >>> probabilities(np.array([-3.0, -3.0, -9.0]), np.array([0.5, 0.5, 0.1]), np.ones(3)).round(3).tolist()
    [0.5, 0.5, 0.0]
    """
    some = worth > 0
    if not some.any():
        return np.full(len(worth), 1 / len(worth))
    chosen = np.zeros(len(worth))
    chosen[some] = _greatest(mean[some], np.maximum(deviation[some], 1e-3), np.log(worth[some]))
    return chosen


def _greatest(mean: Floats, deviation: Floats, gain: Floats) -> Floats:
    """Over log-priority: log(chance) + gain, which rises with the log-odds."""
    grid = _log_chance(mean + np.linspace(-FAR, FAR, POINTS)[:, None] * deviation) + gain
    low = grid[0].max()  # below it somebody is nearly never
    at = np.unique(grid[grid >= low])[:, None] - gain  # log(chance) that each needs to be there
    with np.errstate(divide="ignore", over="ignore"):
        odds: Floats = np.where(at < 0, at - np.log(-np.expm1(np.minimum(at, -1e-300))), np.inf)
    below = _normal_distribution((odds - mean) / deviation)
    others = _others(below)
    share: Floats = np.sum(np.diff(below, axis=0) * (others[1:] + others[:-1]) / 2, axis=0)
    share += below[0] * others[0] / len(mean)
    total = float(share.sum())
    return share / total if total else np.full(len(mean), 1 / len(mean))


def _others(below: Floats) -> Floats:
    """For each candidate the product over all the others, zeros and all."""
    before, after = np.ones_like(below), np.ones_like(below)
    np.cumprod(below[:, :-1], axis=1, out=before[:, 1:])
    np.cumprod(below[:, :0:-1], axis=1, out=after[:, -2::-1])
    product: Floats = before * after
    return product


def _log_chance(odds: Floats) -> Floats:
    chance: Floats = -np.logaddexp(0, -odds)
    return chance


def _normal_distribution(at: NDArray[Any]) -> Floats:
    """The standard normal distribution function, to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26)."""
    far = np.minimum(np.abs(at) / np.sqrt(2), 30.0)
    near = 1 / (1 + 0.3275911 * far)
    rest = near * (
        0.254829592 + near * (-0.284496736 + near * (1.421413741 + near * (-1.453152027 + near * 1.061405429)))
    )
    tail = 0.5 * rest * np.exp(-(far**2))
    distribution: Floats = np.where(at < 0, tail, 1 - tail)
    return distribution
