"""Learning beside the decisions: answers in, immutable versions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kairos.learn.answers import Answers
from kairos.learn.features import Features
from kairos.learn.fit import Examples, Table, Tastes, first_widths, fit, residuals
from kairos.learn.interactions import strongest, with_pairs
from kairos.learn.model import SCHEMA, Version
from kairos.learn.variants import OWN, Variant, traits_of

PAIRS: Final = 40
YESES_FOR_PAIRS: Final = 300  # before so many there is no telling which tests matter together
LOOK_AGAIN: Final = 1.5  # pairs are looked for anew when there are so many times the yeses
BROKEN: Final = 6.0  # deviations by which the latest answers may differ from what was expected of them
LATEST: Final = 500  # offers that are enough to tell
LEAST: Final = 20  # and yeses that were expected of them


class Learner:
    """Learns tastes from `answers`. `half_life` (ms) is how fast an answer fades.

    Every publication is fitted to the ledger as it stands, so what was undone leaves no trace but in where the search
    began; `afresh` forgets that as well.
    """

    def __init__(self, features: Features, variants: Sequence[Variant], window: int, half_life: int) -> None:
        self.features, self.variants, self.half_life = features, tuple(variants), half_life
        self.answers = Answers(len(features.columns), window)
        self.traits = traits_of(variants)
        self.number = 0
        self.at_most_pairs = PAIRS
        self.since = 0  # when tastes last changed at once, ms: what was answered before does not count
        self._compared = 0  # offers until then (ms) were compared with what was expected
        self._usual = 1.0  # yeses that came for each that was expected
        self._weights = self.traits.weights(variants)
        self._begin()

    def _begin(self) -> None:
        self._pairs = np.zeros((0, 2), np.int32)
        self._yeses_when_looked = 0
        self._tests = len(self.features.sources())
        self._tastes = self._nothing()

    def _nothing(self) -> Tastes:
        width, groups = self._first_widths(), self.traits.groups
        mean = np.zeros((len(width), len(groups)), np.float32)
        mean[0, 0] = -4
        return Tastes(mean, width[:, groups] ** 2, width)

    def _forget(self) -> None:
        width = self._tastes.width
        self._tastes = self._nothing()
        self._tastes.width, self._tastes.variance = width, width[:, self.traits.groups] ** 2
        self._yeses_when_looked = int(self._yeses_when_looked / LOOK_AGAIN)
        self._usual = 1.0

    def publish(self, now: int, rounds: int = 1, steps: int = 15) -> Version:
        """A new version from all that is known at `now` (ms)."""
        self._notice_change(now)
        examples = self._examples(now)
        yeses = int(examples.yes.sum())
        if yeses:
            self._fit(examples, rounds, steps)
        if yeses >= max(YESES_FOR_PAIRS, LOOK_AGAIN * self._yeses_when_looked):
            self._look_for_pairs(examples)
            self._yeses_when_looked = yeses
            self._fit(examples, 3 * rounds, 2 * steps)
        self.number += 1
        return Version(
            SCHEMA,
            self.number,
            now,
            len(examples.yes),
            self.features,
            self.traits,
            tuple((int(one), int(two)) for one, two in self._pairs),
            self._tastes.mean.astype("<f4").tobytes(),
            self._tastes.variance.astype("<f4").tobytes(),
        )

    def afresh(self, now: int) -> Version:
        """The same learned from nothing but the ledger: it depends on no earlier version, but for `since`."""
        self._begin()
        return self.publish(now, rounds=4, steps=40)

    def _fit(self, examples: Examples, rounds: int, steps: int) -> None:
        whole = Examples(
            with_pairs(examples.tests, self._pairs), examples.yes, examples.weight, examples.starts, examples.traits
        )
        self._tastes = fit(whole, self.traits.groups, self._first_widths(), self._tastes, rounds, steps)

    def _first_widths(self) -> Table:
        return first_widths(self._tests, len(self._pairs))

    def _examples(self, now: int) -> Examples:
        answers = self.answers
        weight = answers.weights(now) * self._fade(now)
        kept = np.flatnonzero(weight > 0.01)
        arm = answers.rows["arm"][kept]
        order = np.argsort(arm, kind="stable")
        kept = kept[order]
        starts = np.searchsorted(arm[order], np.arange(len(self.variants) + 1))
        tests = self.features.tests(answers.levels[kept])
        return Examples(tests, answers.taken[kept].astype(np.float32), weight[kept], starts, self._weights)

    def _fade(self, now: int) -> NDArray[np.float32]:
        at = self.answers.rows["at"][: self.answers.count]
        return np.where(at < self.since, 0, np.exp2((at - now) / self.half_life)).astype(np.float32)

    def _look_for_pairs(self, examples: Examples) -> None:
        """Which tests count together, by what tests alone leave unexplained."""
        alone = self._tastes.mean.copy()[: self._tests]
        left, spread = residuals(examples, alone)
        arm = np.repeat(np.arange(len(self.variants)), np.diff(examples.starts))
        shared = self._weights[:, self.traits.groups < OWN]
        sources = self.features.sources()
        self._pairs = strongest(examples.tests, sources, left, spread, shared[arm], self.at_most_pairs)
        nothing, old = self._nothing(), self._tastes
        nothing.mean[: self._tests] = alone
        nothing.variance[: self._tests] = old.variance[: self._tests]
        nothing.width[: self._tests] = old.width[: self._tests]
        self._tastes = nothing

    def _notice_change(self, now: int) -> None:
        """Whether the latest answers are not what was expected of them: then older ones count no more.

        What tastes depend on is kept (widths and pairs), and is the first belief of where to look.
        """
        rows, heard = self.answers.rows[: self.answers.count], self.answers.weights(now)
        new = rows["at"] > self._compared
        expected = float(np.sum((heard * rows["chance"])[new]))
        if int(new.sum()) < LATEST or expected < LEAST:
            return
        came = float(np.sum((heard * self.answers.taken)[new]))
        surprise = (came - self._usual * expected) / np.sqrt(self._usual * expected)
        if abs(surprise) > BROKEN:
            self.since = int(rows["at"][new].min())
            self._forget()
        else:
            self._usual += 0.2 * (came / expected - self._usual)
        self._compared = int(rows["at"].max())
