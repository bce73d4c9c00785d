"""What else was tried on the same moments: `python -m kairos.bench.learning_rivals SEED [NAME...]`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kairos.bench.learning import (
    FRESH,
    HALF_LIFE,
    MOMENTS,
    SAMPLE,
    WINDOW,
    Allowed,
    Arms,
    Floats,
    Kairos,
    Play,
    bounds,
    crowd,
    greatest,
    way,
)
from kairos.bench.learning_tastes import DAY, DAYS, NAMES, START, Tastes
from kairos.domain.moment import Moment
from kairos.learn import Features, Learner, learn_features, traits_of
from kairos.learn.answers import Answers
from kairos.learn.fit import Table
from kairos.learn.variants import CONTENT, GROUPS, OWN, PRICE, SHARED, SIZE, VALIDITY

NOTHING: Final = 1e-4  # the width of a prior that lets nothing be learned


class Part(Learner):
    """The learner without pairs, or with some groups of traits alone."""

    groups: tuple[int, ...] = tuple(range(GROUPS))

    def _first_widths(self) -> Table:
        width = super()._first_widths()
        width[:, [group for group in range(GROUPS) if group not in self.groups]] = NOTHING
        return width


class WithoutPairs(Kairos):
    groups: tuple[int, ...] = tuple(range(GROUPS))

    def __init__(self, tastes: Tastes, features: Features, seed: int) -> None:
        kind = type("Part", (Part,), {"groups": self.groups})
        super().__init__(tastes, features, seed)
        self.learner = kind(features, tastes.variants, WINDOW, HALF_LIFE)
        self.learner.at_most_pairs = 0
        self.published(START)


class OneModelAnArm(WithoutPairs):
    """Bayesian logistic regression with Thompson sampling, each arm for itself but for the general level."""

    groups = (SHARED, OWN)


class SharedAlone(WithoutPairs):
    groups = (SHARED, CONTENT, SIZE, PRICE, VALIDITY)


class Boosted:
    """LightGBM, trained anew on every answer so far whenever a version is due; one choice in fifty is at random."""

    def __init__(self, tastes: Tastes, features: Features, seed: int) -> None:
        self.light: Any = import_module("lightgbm")
        self.features, self.worth = features, tastes.margin
        self.traits = traits_of(tastes.variants).weights(tastes.variants)[:, : -len(tastes.variants)]
        self.answers = Answers(len(features.columns), WINDOW)
        self.model: Any = None
        self.draw, self.seconds = np.random.default_rng([seed, 6]), 0.0

    def choose(self, moments: list[Moment], allowed: Allowed) -> Arms:
        chances = self.chances(moments, allowed)
        at_random = self.draw.random(len(moments)) < 0.02
        chances[at_random] = greatest(self.draw.random(allowed.shape), allowed)[at_random]
        chosen: Arms = chances.argmax(axis=1)
        ids = np.array([moment.id for moment in moments])
        self.answers.offer(ids, self.features.levels(moments), chosen, np.zeros(len(ids)), moments[-1].now)
        return chosen

    def chances(self, moments: list[Moment], allowed: Allowed) -> Floats:
        if self.model is None:
            return greatest(self.draw.random(allowed.shape), allowed)
        moment, arm = np.nonzero(allowed)
        worth = np.zeros(allowed.shape)
        inputs = self._inputs(self.features.levels(moments)[moment], arm)
        worth[moment, arm] = self.model.predict(inputs) * self.worth[arm]
        return greatest(worth, allowed)

    def delivered(self, id: int, at: int) -> None:  # noqa: A002
        self.answers.deliver(id, at)

    def taken(self, id: int, at: int) -> None:  # noqa: A002
        self.answers.take(id, at)

    def declined(self, id: int, at: int) -> None:  # noqa: A002, ARG002
        self.answers.decline(id)

    def undone(self, id: int, at: int) -> None:  # noqa: A002, ARG002
        self.answers.undo(id)

    def closed(self, id: int, at: int) -> None:  # noqa: A002
        """The ledger knows its window."""

    def published(self, at: int) -> None:
        weight = self.answers.weights(at)
        known = np.flatnonzero(weight > 0.01)
        if not self.answers.taken.any():
            return
        start = time.process_time()
        inputs = self._inputs(self.answers.levels[known], self.answers.rows["arm"][known])
        setting = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 15, "learning_rate": 0.03}
        setting |= {"min_data_in_leaf": 100, "lambda_l2": 10.0, "feature_fraction": 0.5, "cat_smooth": 20.0}
        setting |= {"bagging_fraction": 0.7, "bagging_freq": 1, "max_bin": 63}
        data = self.light.Dataset(
            inputs,
            self.answers.taken[known].astype(np.float32),
            weight=weight[known],
            categorical_feature=[*self._words, inputs.shape[1] - 1],
            params=setting,
        )
        self.model = self.light.train(setting, data, 400)
        self.seconds += time.process_time() - start

    @property
    def _words(self) -> list[int]:
        return [at for at, column in enumerate(self.features.columns) if column.read == "word"]

    def _inputs(self, levels: NDArray[Any], arm: NDArray[Any]) -> NDArray[np.float32]:
        return np.hstack([levels.astype(np.float32), self.traits[arm], arm[:, None].astype(np.float32)])


RIVALS: Final[dict[str, Callable[[Tastes, Features, int], Any]]] = {
    "kairos": Kairos,
    "without pairs": WithoutPairs,
    "shared alone": SharedAlone,
    "one model an arm": OneModelAnArm,
    "lightgbm": Boosted,
}


def compare(seed: int, names: Sequence[str]) -> dict[str, object]:
    """The way of each, and CPU microseconds a moment to learn and to choose."""
    tastes, draw = Tastes(seed), np.random.default_rng([seed, 2])
    met, judged = crowd(tastes, draw, MOMENTS, 0, 1), crowd(tastes, draw, FRESH, DAYS, MOMENTS + 1)
    features, ends = learn_features(NAMES, met.moments[:SAMPLE]), bounds(tastes, met, judged)
    figures: dict[str, object] = {"seed": seed}
    for name in names:
        play = Play(RIVALS[name](tastes, features, seed))
        for _ in play.through(met):
            pass
        play.hear(START + 2 * DAYS * DAY)
        play.player.published(START + DAYS * DAY)
        start = time.process_time()
        value = judged.value(play.player.chances(judged.moments, judged.allowed))
        choosing = (time.process_time() - start) / judged.allowed.sum()
        figures[name] = {
            "way": round(way(value, ends), 3),
            "learning_us_a_moment": round(play.player.seconds / MOMENTS * 1e6),  # type: ignore[attr-defined]
            "choosing_us_a_pair": round(choosing * 1e6, 2),
        }
    return figures


if __name__ == "__main__":
    sys.stdout.write(json.dumps(compare(int(sys.argv[1]), sys.argv[2:] or tuple(RIVALS))) + "\n")
