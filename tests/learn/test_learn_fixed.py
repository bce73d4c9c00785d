"""The fixed propensity: one number for each row, and a version that says which."""

from __future__ import annotations

import numpy as np
import pytest

from kairos.domain.pairs import Pairs
from kairos.learn import FixedPropensity
from kairos.ports import Scorer


def pairs(rows: int) -> Pairs:
    whole, part = np.zeros(rows, np.int32), np.zeros(rows, np.float64)
    return Pairs(whole, whole, whole, part, part)


@pytest.mark.parametrize(
    ("value", "version"), [(0.05, "fixed-0.05"), (0, "fixed-0"), (1.0, "fixed-1"), (0.125, "fixed-0.125")]
)
def test_one_for_each_row(value: float, version: str) -> None:
    scorer: Scorer = FixedPropensity(value)
    for rows in (0, 1, 500):
        scores = scorer.score(pairs(rows), [])
        assert scores.dtype == np.float64
        assert scores.tolist() == [value] * rows
    assert scorer.version == version


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_propensity_is_a_probability(value: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        FixedPropensity(value)
