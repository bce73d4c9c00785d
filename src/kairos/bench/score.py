"""What a score costs: `kairos bench score`, microseconds a pair for batches of several sizes."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from kairos.bench.learning import EXPLORE, Crowd, Kairos, Play, crowd, pairs_of
from kairos.bench.learning_tastes import ARMS, DAYS, NAMES, Tastes
from kairos.domain.pairs import Pairs
from kairos.learn import LearnedPropensity, learn_features, probabilities

BATCHES: Final = (1, 64, 512)
CANDIDATES: Final = (8, ARMS)
LEARNED: Final = 20_000  # moments that the model has learned from


def run(seed: int = 1, seconds: float = 6.0, learned: int = LEARNED) -> dict[str, object]:
    """`us_a_pair_BATCH_CANDIDATES`: rows of moments in, chances out, exploration included; the best of several runs."""
    tastes, draw = Tastes(seed), np.random.default_rng([seed, 5])
    met = crowd(tastes, draw, learned, 0, 1)
    play = Play(Kairos(tastes, learn_features(NAMES, met.moments[:2000]), seed))
    for _ in play.through(met):
        pass
    play.player.published(met.moments[-1].now)
    assert isinstance(play.player, Kairos)
    scorer = LearnedPropensity(play.player.scorer.content, tastes.variants, seed, EXPLORE)
    fresh = crowd(tastes, draw, max(BATCHES), DAYS, learned + 1)
    figures: dict[str, object] = {"version": scorer.version, "columns": len(NAMES), "arms": ARMS, "seed": seed}
    each = seconds / len(BATCHES) / len(CANDIDATES)
    for many in CANDIDATES:
        for batch in BATCHES:
            figures[f"us_a_pair_{batch}_{many}"] = round(_microseconds(scorer, fresh, batch, many, each), 3)
    figures["us_a_choice_probability_8"] = round(_microseconds_of_probability(each), 1)
    return figures


def _microseconds(scorer: LearnedPropensity, fresh: Crowd, batch: int, many: int, seconds: float) -> float:
    moments, pairs = fresh.moments[:batch], _pairs(batch, many)
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        scorer.score(pairs, moments)
        best = min(best, time.perf_counter() - start)
    return best / batch / many * 1e6


def _pairs(batch: int, many: int) -> Pairs:
    allowed = np.zeros((batch, ARMS), np.bool_)
    allowed[:, :many] = True
    return pairs_of(allowed)


def _microseconds_of_probability(seconds: float) -> float:
    """For a moment of 8 candidates, of many at once: not on the way of a decision, but of its evaluation."""
    first = 8 * np.arange(256)
    mean, deviation, worth = (
        np.tile(one, 256) for one in (np.linspace(-4, -2, 8), np.full(8, 0.2), np.linspace(2, 1, 8))
    )
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        probabilities(mean, deviation, worth, first)
        best = min(best, time.perf_counter() - start)
    return best / len(first) * 1e6
