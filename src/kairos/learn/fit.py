"""Fitting tastes: logistic regression on (tests of the moment) x (traits of the variant), with learned shrinkage.

The log-odds of a yes are  tests . tastes . traits,  tastes being a table (tests, traits). Each has a normal prior
around zero whose width is learned for every test and group of traits: what matters little is shrunk away, and a variant
is only different from its likes where its answers say so. Widths come by expectation-maximisation (MacKay 1992, Neal
1996: automatic relevance determination) around the mode, the posterior being taken as normal with the diagonal of the
Hessian (Laplace). The mode is found by L-BFGS (Nocedal and Wright 2006, algorithm 7.4) from where it last was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kairos.learn.features import Tests
from kairos.learn.variants import GROUPS, SHARED, Weights

Table = NDArray[np.float32]

WIDTH: Final = 0.1  # of the prior of a test, before anything is learned
WIDTH_OF_PAIR: Final = 0.4  # and of two tests at once: few are kept, and those matter
WIDTH_OF_LEVEL: Final = 2.0  # and of how good a variant is for everybody
DOUBT: Final = 0.3  # how many tastes' worth the first width counts when widths are learned
MEMORY: Final = 8  # of L-BFGS


@dataclass(slots=True)
class Examples:
    """What was said and what came of it, ordered by arm: `starts[a]` to `starts[a + 1]` are of arm a."""

    tests: Tests  # (examples, tests)
    yes: NDArray[np.float32]
    weight: NDArray[np.float32]
    starts: NDArray[np.int64]
    traits: Weights  # (arms, traits)


@dataclass(slots=True)
class Tastes:
    """What was learned: `mean` and `variance` of the tastes (tests, traits), widths of their priors (tests, groups)."""

    mean: Table
    variance: Table
    width: Table


def first_widths(tests: int, pairs: int) -> Table:
    """(tests + pairs, groups); the first test is the one that is always 1."""
    width = np.full((tests + pairs, GROUPS), WIDTH, np.float32)
    width[tests:] = WIDTH_OF_PAIR
    width[0] = WIDTH_OF_LEVEL / 2
    width[0, SHARED] = 2 * WIDTH_OF_LEVEL
    return width


def fit(examples: Examples, groups: NDArray[np.int64], first: Table, before: Tastes, rounds: int, steps: int) -> Tastes:
    """Learn from all examples, starting from what was known `before`; `rounds` of widths, `steps` of the mode each."""
    mean, width = before.mean, before.width
    counts = np.bincount(groups, minlength=GROUPS).astype(np.float32)
    square = examples.tests**2
    variance = _variance(examples, square, mean, width[:, groups])
    for _ in range(rounds):
        mean = _mode(examples, mean, width[:, groups], np.sqrt(variance), steps)
        variance = _variance(examples, square, mean, width[:, groups])
        size = np.zeros_like(width)
        np.add.at(size.T, groups, (mean**2 + variance).T)
        width = np.sqrt((size + DOUBT * first**2) / (counts + DOUBT))
    return Tastes(mean, variance, width)


def _mode(examples: Examples, start: Table, width: Table, unit: Table, steps: int) -> Table:
    """The tastes of greatest posterior density; `unit` is about their deviations, which makes the way there short."""
    shape = start.shape

    def value(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        tastes = point.reshape(shape).astype(np.float32) * unit
        loss, slope = _loss(examples, tastes)
        far = tastes / width
        loss += 0.5 * float(np.sum(far.astype(np.float64) ** 2))
        return loss, ((slope + far / width) * unit).ravel().astype(np.float64)

    return minimise(value, (start / unit).ravel().astype(np.float64), steps).reshape(shape).astype(np.float32) * unit


def _loss(examples: Examples, tastes: Table) -> tuple[float, Table]:
    """Minus the log-likelihood, and its gradient by the tastes."""
    odds, arms = _odds(examples, tastes), range(len(examples.traits))
    chance = 1 / (1 + np.exp(-odds))
    loss = float(np.sum(examples.weight * (np.logaddexp(0, odds) - examples.yes * odds), dtype=np.float64))
    residual = examples.weight * (chance - examples.yes)
    slope = np.zeros((tastes.shape[0], len(arms)), np.float32)
    for arm in arms:
        part = slice(examples.starts[arm], examples.starts[arm + 1])
        slope[:, arm] = residual[part] @ examples.tests[part]
    return loss, slope @ examples.traits


def _odds(examples: Examples, tastes: Table) -> NDArray[np.float32]:
    by_arm = tastes @ examples.traits.T
    odds = np.empty(len(examples.yes), np.float32)
    for arm in range(len(examples.traits)):
        part = slice(examples.starts[arm], examples.starts[arm + 1])
        odds[part] = examples.tests[part] @ by_arm[:, arm]
    return odds


def residuals(examples: Examples, tastes: Table) -> tuple[NDArray[Any], NDArray[Any]]:
    """Answers less their chances, and the variances of that; weighted."""
    chance = 1 / (1 + np.exp(-_odds(examples, tastes)))
    return examples.weight * (examples.yes - chance), examples.weight * chance * (1 - chance)


def _variance(examples: Examples, square: Tests, tastes: Table, width: Table) -> Table:
    _, spread = residuals(examples, tastes)
    by_arm = np.zeros((tastes.shape[0], len(examples.traits)), np.float32)
    for arm in range(len(examples.traits)):
        part = slice(examples.starts[arm], examples.starts[arm + 1])
        by_arm[:, arm] = spread[part] @ square[part]
    precision = by_arm @ examples.traits**2 + width**-2
    variance: Table = np.reciprocal(precision, dtype=np.float32)
    return variance


Vector = NDArray[np.float64]


def minimise(value: Callable[[Vector], tuple[float, Vector]], start: Vector, steps: int) -> Vector:
    """Go downhill by L-BFGS, at most so many steps; `value` gives the height and the gradient.

    >>> minimise(lambda at: (float(np.sum((at - 3) ** 2)), 2 * (at - 3)), np.zeros(2), 5).round(6).tolist()
    [3.0, 3.0]
    """
    at, (height, slope) = start, value(start)
    past: deque[tuple[Vector, Vector, float]] = deque(maxlen=MEMORY)
    for _ in range(steps):
        way = -_scaled(slope, past)
        descent = float(way @ slope)
        if descent > -1e-7 * max(1.0, abs(height)) * 0.1:
            break
        length = 1.0 if past else min(1.0, 1 / float(np.linalg.norm(slope)) * np.sqrt(len(at)))
        for _ in range(20):
            there = at + length * way
            lower, steeper = value(there)
            if lower <= height + 1e-4 * length * descent:
                break
            length /= 2
        else:
            break
        moved, turned = there - at, steeper - slope
        if (curve := float(moved @ turned)) > 1e-12:
            past.append((moved, turned, curve))
        at, height, slope = there, lower, steeper
    return at


def _scaled(slope: Vector, past: deque[tuple[Vector, Vector, float]]) -> Vector:
    """The gradient times the inverse Hessian as past steps show it."""
    way, shares = slope.copy(), []
    for moved, turned, curve in reversed(past):
        share = float(moved @ way) / curve
        shares.append(share)
        way -= share * turned
    if past:
        moved, turned, curve = past[-1]
        way *= curve / float(turned @ turned)
    for (moved, turned, curve), share in zip(past, reversed(shares), strict=True):
        way += (share - float(turned @ way) / curve) * moved
    return way
