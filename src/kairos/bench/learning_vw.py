"""Vowpal Wabbit on the same moments, as a contextual bandit over the same features (PyPI `vowpalwabbit`)."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kairos.bench.learning_tastes import Tastes
from kairos.domain.moment import Moment
from kairos.learn import Features, traits_of

# The best of those tried on worlds that no figure comes from: see docs/learning.md.
SETTING: Final = "--cb_explore_adf --cb_type mtr --squarecb --gamma_scale 300 -q sa -l 0.05"


class Vowpal:
    """A player. A yes costs minus its margin, scaled to 1 at most; what is not answered costs 0 when its window closes.

    Raises ImportError where the package is not installed. What was undone stays learned: it cannot be taken back.
    """

    def __init__(self, tastes: Tastes, features: Features, seed: int) -> None:
        self.vw: Any = import_module("vowpalwabbit").Workspace(f"{SETTING} --quiet --random_seed {seed}")
        self.features, self.reward = features, tastes.margin / tastes.margin.max()
        weights = traits_of(tastes.variants).weights(tastes.variants)
        self.actions = ["|a " + " ".join(f"{t}:{row[t]:.3f}" for t in np.flatnonzero(row)) for row in weights]
        self.draw = np.random.default_rng([seed, 3])
        self.open: dict[int, tuple[list[str], int, float, int]] = {}  # lines, place of the choice, probability, arm

    def choose(self, moments: list[Moment], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
        arms = np.empty(len(moments), np.int64)
        for at, (moment, lines, can) in enumerate(self._asked(moments, allowed)):
            chances = np.array(self.vw.predict(lines))
            chances = np.maximum(chances, 0) / np.maximum(chances, 0).sum()
            place = int(self.draw.choice(len(can), p=chances))
            self.open[moment.id] = lines, place, float(chances[place]), int(can[place])
            arms[at] = can[place]
        return arms

    def chances(self, moments: list[Moment], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(moments, arms): how likely each would be chosen."""
        table = np.zeros(allowed.shape)
        for at, (_, lines, can) in enumerate(self._asked(moments, allowed)):
            table[at, can] = self.vw.predict(lines)
        table /= table.sum(axis=1, keepdims=True)
        return table

    def _asked(self, moments: list[Moment], allowed: NDArray[np.bool_]) -> Any:
        levels = self.features.levels(moments)
        for moment, row, may in zip(moments, levels.tolist(), allowed, strict=True):
            can = np.flatnonzero(may)
            shared = "shared |s " + " ".join(f"{column}_{level}" for column, level in enumerate(row))
            yield moment, [shared, *(self.actions[arm] for arm in can)], can

    def delivered(self, id: int, at: int) -> None:  # noqa: A002
        """Nothing is learned yet."""

    def taken(self, id: int, at: int) -> None:  # noqa: A002, ARG002
        if id in self.open:
            self._learn(id, -float(self.reward[self.open[id][3]]))

    def declined(self, id: int, at: int) -> None:  # noqa: A002, ARG002
        self._learn(id, 0.0)

    def closed(self, id: int, at: int) -> None:  # noqa: A002, ARG002
        self._learn(id, 0.0)

    def undone(self, id: int, at: int) -> None:  # noqa: A002
        """It has been learned."""

    def published(self, at: int) -> None:
        """It learns with every answer."""

    def _learn(self, id: int, cost: float) -> None:  # noqa: A002
        if id in self.open:
            lines, place, chance, _ = self.open.pop(id)
            labelled = list(lines)
            labelled[place + 1] = f"0:{cost:.5f}:{chance:.5f} {lines[place + 1]}"
            self.vw.learn(labelled)
