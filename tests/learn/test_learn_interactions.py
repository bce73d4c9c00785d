"""Pairs of tests that explain together what neither does alone."""

from __future__ import annotations

import numpy as np
import pytest

from kairos.learn.interactions import strongest, with_pairs


@pytest.mark.parametrize("at_most", [0, 1, 3])
def test_the_pair_that_matters_comes_first_and_no_more_are_kept_than_asked(at_most: int) -> None:
    draw = np.random.default_rng(1)
    tests = np.hstack([np.ones((4000, 1)), draw.integers(0, 2, (4000, 10)) - 0.5]).astype(np.float32)
    sources = np.array([-1, *np.repeat(np.arange(5), 2)], np.int32)
    left = np.sign(tests[:, 3] * tests[:, 6]) + draw.normal(0, 2, 4000)  # no main effect at all
    found = strongest(tests, sources, left.astype(np.float32), np.full(4000, 4, np.float32), tests[:, :1], at_most)
    assert len(found) <= at_most
    if at_most:
        assert found[0].tolist() == [3, 6]
    assert all(sources[one] != sources[two] for one, two in found)


def test_noise_makes_few_pairs() -> None:
    draw = np.random.default_rng(2)
    tests = np.hstack([np.ones((4000, 1)), draw.integers(0, 2, (4000, 10)) - 0.5]).astype(np.float32)
    left = draw.normal(0, 2, 4000).astype(np.float32)
    sources = np.arange(-1, 10, dtype=np.int32)
    assert len(strongest(tests, sources, left, np.full(4000, 4, np.float32), tests[:, :1], 40)) < 8


def test_products_come_after_the_tests() -> None:
    tests = np.array([[1, 2, 3]], np.float32)
    assert with_pairs(tests, np.array([[1, 2]], np.int32)).tolist() == [[1, 2, 3, 6]]
    assert with_pairs(tests, np.zeros((0, 2), np.int32)).tolist() == [[1, 2, 3]]
