"""Uplift on draws whose truth is known: A/A runs reject as often as they say, a planted lift is found as often."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kairos.evaluate import (
    Effect,
    Interval,
    Summary,
    balance,
    detectable,
    effect,
    mismatch,
    together,
)

RUNS = 1_000
SUBSCRIBERS = 12_000
SHARE = 0.1
Floats = NDArray[np.float64]


def spend(chance: np.random.Generator) -> tuple[Floats, Floats]:
    """What subscribers spent before and after: many nothing, a few much, and the same ones again."""
    level = chance.exponential(10, SUBSCRIBERS) * (chance.random(SUBSCRIBERS) < 0.7)
    return level * chance.uniform(0, 2, SUBSCRIBERS), level * chance.uniform(0, 2, SUBSCRIBERS)


def runs(lift: float) -> list[tuple[Effect, Effect]]:
    """Plain and adjusted effects where the treated, drawn anew in each run, spend so much more."""
    chance = np.random.default_rng(7)
    found = []
    for _ in range(RUNS):
        before, after = spend(chance)
        treated = chance.random(SUBSCRIBERS) >= SHARE
        spent = after + lift * treated
        said, held = (Summary.of(spent[group], before[group]) for group in (treated, ~treated))
        plain, adjusted = effect(said, held), effect(said, held, adjust=True)
        assert plain is not None
        assert adjusted is not None
        found.append((plain, adjusted))
    return found


@pytest.fixture(scope="module")
def alike() -> list[tuple[Effect, Effect]]:
    return runs(0.0)


@pytest.mark.parametrize("adjusted", [0, 1], ids=["plain", "CUPED"])
def test_a_a_runs_reject_three_to_seven_in_a_hundred(alike: list[tuple[Effect, Effect]], adjusted: int) -> None:
    effects = [run[adjusted] for run in alike]
    assert 0.03 <= np.mean([not one.difference.covers(0) for one in effects]) <= 0.07
    assert 0.03 <= np.mean([one.p < 0.05 for one in effects]) <= 0.07
    relatives = [one.relative for one in effects if one.relative]
    assert len(relatives) == RUNS
    assert 0.03 <= np.mean([not one.covers(0) for one in relatives]) <= 0.07


@pytest.mark.parametrize("adjusted", [0, 1], ids=["plain", "CUPED"])
def test_a_planted_lift_is_found_with_the_stated_power(alike: list[tuple[Effect, Effect]], adjusted: int) -> None:
    error = float(np.mean([run[adjusted].error for run in alike]))
    lift = detectable(error, 0.8)
    effects = [run[adjusted] for run in runs(lift)]
    assert np.mean([one.difference.low > 0 for one in effects]) == pytest.approx(0.8, abs=0.04)
    assert np.mean([one.difference.covers(lift) for one in effects]) == pytest.approx(0.95, abs=0.02)
    assert np.mean([one.difference.value for one in effects]) == pytest.approx(lift, rel=0.05)


def test_cuped_takes_away_the_variance_that_was_there_before(alike: list[tuple[Effect, Effect]]) -> None:
    saved = np.mean([adjusted.saved for _, adjusted in alike])
    widths = [np.mean([run[which].difference.width for run in alike]) for which in (0, 1)]
    assert 0.35 < saved < 0.7
    assert widths[1] / widths[0] == pytest.approx((1 - saved) ** 0.5, abs=0.03)
    assert all(plain.saved == 0 for plain, _ in alike)


def test_too_few_have_no_effect_and_nobody_differing_has_no_interval() -> None:
    assert effect(Summary(29, 1.0, 1.0), Summary(1000, 1.0, 1.0)) is None
    nothing = effect(Summary(1000, 0.0), Summary(50, 0.0), adjust=True)
    assert nothing == Effect(Interval(0, 0, 0), None, 1.0, 0.0, 0.0)


def test_a_loss_has_a_relative_lift_below_zero_and_no_control_to_compare_with_has_none() -> None:
    lost = effect(Summary(5000, 8.0, 4.0), Summary(5000, 10.0, 4.0))
    assert lost is not None
    assert lost.relative is not None
    assert lost.relative.high < 0
    never = effect(Summary(5000, 8.0, 4.0), Summary(5000, 0.0))
    assert never is not None
    assert never.relative is None
    assert never.difference.low > 0


def test_groups_that_were_not_drawn_alike_are_noticed() -> None:
    assert balance(Summary(10_000, 0, 0, 5.0, 4.0), Summary(500, 0, 0, 5.1, 4.0)) > 0.05
    assert balance(Summary(10_000, 0, 0, 5.0, 4.0), Summary(500, 0, 0, 6.0, 4.0)) < 1e-9
    assert mismatch(500, 10_000, 0.05) == 1
    assert mismatch(400, 10_000, 0.05) < 1e-5


def test_looking_at_many_finds_nothing_more_often_than_looking_at_one() -> None:
    chance = np.random.default_rng(5)
    families = chance.random((1000, 20))
    found = [min(together(family.tolist())) < 0.05 for family in families]
    assert 0.03 <= np.mean(found) <= 0.07
    assert together([]) == []
