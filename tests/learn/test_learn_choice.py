"""The logged probability of a choice: a distribution, and the one that sampling follows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kairos.learn import probabilities
from kairos.learn.chance import keyed_normal

candidate = st.tuples(st.floats(-9, 3), st.floats(0, 2), st.one_of(st.just(0.0), st.floats(0.01, 1000)))


@given(st.lists(candidate, min_size=1, max_size=50))
def test_they_sum_to_one_and_what_is_worth_nothing_is_not_chosen(candidates: list[tuple[float, float, float]]) -> None:
    mean, deviation, worth = (np.array(column) for column in zip(*candidates, strict=True))
    chances = probabilities(mean, deviation, worth)
    assert abs(chances.sum() - 1) < 1e-9
    assert (chances >= 0).all()
    if worth.any():
        assert (chances[worth == 0] == 0).all()


def test_they_are_what_sampling_comes_to() -> None:
    draw, samples = np.random.default_rng(1), 40_000
    for many, narrowest in ((2, 0.05), (8, 0.05), (50, 0.05), (3, 0.002), (8, 0.002), (50, 0.002)):
        mean, deviation = draw.normal(-3, 0.7, many), np.exp(draw.uniform(np.log(narrowest), np.log(0.6), many))
        mean[: many // 2] = mean.max() - draw.uniform(0, 0.01, many // 2)
        worth = draw.uniform(0.5, 3, many)
        odds = mean + deviation * draw.normal(size=(samples, many))
        chosen = (worth / (1 + np.exp(-odds))).argmax(axis=1)
        share = np.bincount(chosen, minlength=many) / samples
        error = np.sqrt(share * (1 - share) / samples)
        assert (np.abs(probabilities(mean, deviation, worth) - share) < 4.5 * error + 0.001).all()


def test_many_moments_at_once_are_each_as_alone() -> None:
    draw = np.random.default_rng(2)
    many = draw.integers(1, 9, 300)
    first, total = np.cumsum(many) - many, int(many.sum())
    mean, deviation = draw.normal(-3, 0.7, total), draw.uniform(0.01, 0.6, total)
    worth = draw.integers(0, 3, total).astype(float)
    each = [slice(start, start + length) for start, length in zip(first, many, strict=True)]
    alone = [probabilities(mean[one], deviation[one], worth[one]) for one in each]
    np.testing.assert_allclose(probabilities(mean, deviation, worth, first), np.concatenate(alone), atol=1e-6)


def test_where_nothing_is_in_doubt_the_best_is_chosen() -> None:
    chances = probabilities(np.array([-2.0, -3.0, -4.0]), np.zeros(3), np.array([1.0, 1.0, 1.0]))
    assert chances.round(6).tolist() == [1, 0, 0]


def test_keyed_numbers_are_normal_and_apart() -> None:
    decision, arm = (grid.ravel() for grid in np.meshgrid(np.arange(1, 2001), np.arange(50)))
    drawn = keyed_normal(3, decision, arm)
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01
    assert abs((np.abs(drawn) > 1.96).mean() - 0.05) < 0.005
    table = drawn.reshape(50, 2000)
    assert np.abs(np.corrcoef(table) - np.eye(50)).max() < 0.12
    assert len(np.unique(drawn)) == len(drawn)
    assert (keyed_normal(4, decision, arm) != drawn).all()
