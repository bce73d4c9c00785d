"""Which two tests matter together: found in what is left unexplained, not tried one by one.

For every two tests and every trait, the score test asks whether their product would explain what the model leaves:
z^2 = (sum of residual x product)^2 / (sum of variance x product^2), all of them by a few matrix products (the idea of
FAST in Lou et al. 2013, "Accurate intelligible models with pairwise interactions").
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kairos.learn.features import Tests

CHANCE: Final = 4.0  # z^2 up to this may be chance, and counts for nothing
PER_COLUMNS: Final = 2  # pairs of tests on the same two columns

Pairs = NDArray[np.int32]


def strongest(
    tests: Tests,
    sources: NDArray[np.int32],
    left: NDArray[np.float32],
    spread: NDArray[np.float32],
    traits: NDArray[np.float32],
    at_most: int,
) -> Pairs:
    """(pairs, 2): places of tests on two columns whose product explains most of what is `left`, the strongest first.

    `traits` are of each example; `left` and `spread` its residual and the variance of that.
    """
    square = tests**2
    strength = np.zeros((tests.shape[1],) * 2, np.float32)
    for trait in traits.T:
        has = np.flatnonzero(trait)
        part, part_square = tests[has], square[has]
        explained = part.T @ (part * (left[has] * trait[has])[:, None])
        by_chance = part_square.T @ (part_square * (spread[has] * trait[has] ** 2)[:, None])
        strength += np.maximum(explained**2 / (by_chance + 1) - CHANCE, 0)
    one, two = np.triu_indices(tests.shape[1], 1)
    apart = (sources[one] != sources[two]) & (sources[one] >= 0) & (strength[one, two] > 0)
    one, two = one[apart], two[apart]
    kept: list[tuple[int, int]] = []
    taken: dict[tuple[int, int], int] = {}
    for place in np.argsort(-strength[one, two], kind="stable").tolist():
        if len(kept) == at_most:
            break
        columns = int(sources[one[place]]), int(sources[two[place]])
        if taken.setdefault(columns, 0) < PER_COLUMNS:
            taken[columns] += 1
            kept.append((int(one[place]), int(two[place])))
    return np.array(kept, np.int32).reshape(-1, 2)


def with_pairs(tests: Tests, pairs: Pairs) -> Tests:
    """The tests, and after them the products of pairs."""
    return np.hstack([tests, tests[:, pairs[:, 0]] * tests[:, pairs[:, 1]]]) if len(pairs) else tests
