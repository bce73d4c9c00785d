"""Rates by group: their intervals cover, though the moments of one subscriber are alike."""

from __future__ import annotations

import numpy as np
import pytest

from kairos.evaluate import Counts, gap, parity, rate

RUNS = 1_000


def drawn(chance: np.random.Generator, share: float, people: int = 300, alike: float = 5.0) -> Counts:
    """Moments by subscriber; each has a rate of their own around the share (a small `alike`: far apart)."""
    moments = chance.integers(1, 15, people).astype(float)
    own = chance.beta(share * alike, (1 - share) * alike, people)
    return Counts(chance.binomial(moments.astype(int), own).astype(float), moments)


@pytest.mark.parametrize(("share", "alike"), [(0.3, 5.0), (0.3, 500.0), (0.03, 5.0), (0.98, 20.0)])
def test_the_interval_of_a_rate_covers(share: float, alike: float) -> None:
    chance = np.random.default_rng(1)
    found = [rate(drawn(chance, share, alike=alike)) for _ in range(RUNS)]
    assert 0.92 <= np.mean([one.covers(share) for one in found]) <= 0.98


def test_gaps_and_ratios_of_equal_groups_hold_what_they_say_and_of_unequal_ones_are_found() -> None:
    chance = np.random.default_rng(2)
    pairs = [(drawn(chance, 0.2), drawn(chance, 0.2, 120)) for _ in range(RUNS)]
    assert 0.92 <= np.mean([gap(*pair).covers(0) for pair in pairs]) <= 0.98
    ratios = [parity(*pair) for pair in pairs]
    assert 0.92 <= np.mean([one is not None and one.covers(1) for one in ratios]) <= 0.98
    apart = [parity(drawn(chance, 0.1), drawn(chance, 0.2)) for _ in range(200)]
    assert np.mean([one is not None and one.high < 1 for one in apart]) > 0.95
    assert np.mean([one is not None and one.covers(0.5) for one in apart]) > 0.9


def test_moments_of_one_subscriber_are_not_counted_as_many_witnesses() -> None:
    moments = np.full(100, 50.0)
    apart = rate(Counts(np.tile([50.0, 0.0], 50), moments))
    mixed = rate(Counts(np.full(100, 25.0), moments))
    assert apart.width > 5 * mixed.width


def test_what_never_or_always_happened_still_has_a_bound() -> None:
    moments = np.full(60, 10.0)
    never, always = rate(Counts(0 * moments, moments)), rate(Counts(moments, moments))
    assert (never.low, never.value) == (0, 0)
    assert 0.03 < never.high < 0.1
    assert (always.high, always.value) == (1, 1)
    assert always.low == pytest.approx(1 - never.high)
    assert parity(Counts(0 * moments, moments), Counts(moments, moments)) is None
    assert gap(Counts(0 * moments, moments), Counts(moments, moments)).high < -0.9
