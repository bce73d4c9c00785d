"""`bench learning` and `bench score` measure what they say, at sizes that a test can wait for."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from kairos.bench import learning, score
from kairos.bench.learning_tastes import ALLOWED, ARMS, AT_RANDOM, NAMES, Tastes, allow, see
from kairos.learn import learn_features

MOMENTS = 3000


@pytest.fixture(scope="module")
def tastes() -> Tastes:
    return Tastes(3)


@pytest.fixture(scope="module")
def judged(tastes: Tastes) -> learning.Crowd:
    return learning.crowd(tastes, np.random.default_rng(1), MOMENTS, 0, 1)


def test_the_world_is_as_hard_as_it_says(tastes: Tastes, judged: learning.Crowd) -> None:
    ends = learning.bounds(tastes, judged, judged)
    assert ends["uniform_accepts"] == pytest.approx(AT_RANDOM, abs=0.004)
    assert 0.05 < ends["oracle_accepts"] < 0.12
    assert ends["uniform_value"] < ends["best_static_value"] < ends["yes_oracle_value"] < ends["oracle_value"]
    assert judged.allowed.shape == (MOMENTS, ARMS)
    assert judged.allowed.sum(axis=1).mean() == pytest.approx(ALLOWED, abs=0.2)
    assert judged.allowed.sum(axis=1).min() >= 2


def test_the_oracle_expects_what_comes(judged: learning.Crowd) -> None:
    """Hidden kinds of people average out to what the oracle knows, and luck to both."""
    truth = judged.truth
    assert truth.induced_here.mean() == pytest.approx(truth.induced.mean(), rel=0.05)
    assert np.abs(truth.induced_here - truth.induced).max() > 0.05
    assert (truth.value <= truth.yes * 100).all()
    heard = [learning._what_comes(judged, place, place % ARMS) for place in range(MOMENTS)]
    said_yes = np.mean([any(what == "taken" for _, _, what in events) for events in heard])
    expected = np.mean([truth.yes[place, place % ARMS] for place in range(MOMENTS)])
    assert said_yes == pytest.approx(expected * learning.DELIVERED * learning.RECORDED, rel=0.25)


def test_flipped_tastes_are_the_opposite(tastes: Tastes) -> None:
    seen = see(np.random.default_rng(2), 1000)
    here = tastes.truth(seen, np.random.default_rng(3)).induced
    flipped = Tastes(3, flipped=True).truth(seen, np.random.default_rng(3)).induced
    apart = [np.corrcoef(np.log(here[:, arm]), np.log(flipped[:, arm]))[0, 1] for arm in range(ARMS)]
    assert np.mean(apart) < -0.5


def test_the_same_seed_is_the_same_world() -> None:
    draws = [allow(np.random.default_rng(5), 50) for _ in range(2)]
    assert (draws[0] == draws[1]).all()
    worlds = [learning.crowd(Tastes(8), np.random.default_rng(8), 50, 0, 1) for _ in range(2)]
    assert worlds[0].moments == worlds[1].moments
    assert (worlds[0].truth.value == worlds[1].truth.value).all()


def test_a_short_run_beats_chance_and_says_why_there_is_no_vowpal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vowpalwabbit", None)
    worlds = [learning.world(seed, moments=4000, fresh=1000) for seed in (1, 2)]
    figures = learning.summary(worlds)
    assert figures["vw_value"] is None
    assert "not installed" in str(figures["vw_reason"])
    values = [figures[f"{name}_value"] for name in ("uniform", "policy", "oracle")]
    assert values == sorted(values, key=lambda value: float(str(value)))
    assert 0.1 < float(str(figures["way"])) < 1
    assert {"recovery_moments", "policy_value_low", "best_static_value_low", "over_vw_low"} <= figures.keys()


def test_worlds_run_in_processes_of_their_own() -> None:
    figures = learning.run(seeds=(1, 2), moments=1000, fresh=300)
    assert figures["seeds"] == [1, 2]
    assert figures["recovery_moments"] is None  # too short for a flip
    assert isinstance(figures["policy_value"], float)


def test_vowpal_wabbit_meets_the_same_moments(tastes: Tastes, judged: learning.Crowd) -> None:
    pytest.importorskip("vowpalwabbit")
    features = learn_features(NAMES, judged.moments[:1000])
    value, reason = learning.vowpal(tastes, features, 1, judged, judged)
    assert reason is None
    assert value is not None
    assert value > judged.value(judged.allowed / judged.allowed.sum(axis=1, keepdims=True)) * 0.9


def test_a_lower_bound_is_students() -> None:
    assert learning._mean_and_low("x", [1.0, 2.0, 3.0, 4.0, 5.0]) == {
        "x": 3.0,
        "x_low": round(3 - 2.132 * 2.5**0.5 / 5**0.5, 5),
    }
    assert learning._mean_and_low("x", [None, 1.0]) == {"x": None, "x_low": None}


def test_what_a_score_costs() -> None:
    figures = score.run(seconds=0.1, learned=500)
    costs = [figures[f"us_a_pair_{batch}_{many}"] for batch in (1, 64, 512) for many in (8, 50)]
    assert all(float(str(cost)) > 0 for cost in costs)
    assert float(str(figures["us_a_pair_512_8"])) < float(str(figures["us_a_pair_1_8"]))
