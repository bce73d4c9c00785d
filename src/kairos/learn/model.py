"""A published model: an immutable version that scores the same for ever, and explores by Thompson sampling."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.learn.chance import keyed_normal
from kairos.learn.choice import ERROR, METHOD, by_arm, probabilities
from kairos.learn.features import Features, Levels, tests_of
from kairos.learn.interactions import with_pairs
from kairos.learn.variants import Traits, Variant, on_channels

SCHEMA: Final = 1

Odds = NDArray[np.float64]


class Version(Struct, frozen=True):
    """What was learned, as values: all that scoring needs. Tables are float32, little-endian, row by row."""

    schema: int
    number: int  # of the publication
    at: int  # ms
    answers: int  # that it has learned from
    features: Features
    traits: Traits
    pairs: tuple[tuple[int, int], ...]  # tests that also count together
    mean: bytes  # of the tastes (tests and pairs, traits)
    variance: bytes
    explore: float = 1.0  # how it is to be explored with, so that a version says all that scores depend on
    seed: int = 0

    def table(self, which: bytes) -> NDArray[np.float32]:
        return np.frombuffer(which, "<f4").reshape(-1, len(self.traits.groups))


def freeze(version: Version) -> bytes:
    return msgspec.msgpack.encode(version)


def thaw(frozen: bytes) -> Version:
    """Raises msgspec.DecodeError for what is damaged or was written by a newer kairos."""
    version = msgspec.msgpack.decode(frozen, type=Version)
    if version.schema != SCHEMA:
        raise msgspec.ValidationError(f"the model has schema {version.schema}, this kairos has {SCHEMA}")
    return version


class LearnedPropensity:
    """A Scorer of one version, for these arms and channels in their order.

    The score is the chance of a yes as drawn from what the model believes (Thompson sampling): log-odds from a normal
    around the mean, with its deviation times `explore`. Draws are keyed by (seed, decision id, arm), so a decision's
    do not depend on its batch; the mean may differ in its last bits. `explore=0` scores by the mean.
    """

    method, error = METHOD, ERROR

    def __init__(
        self,
        version: Version,
        variants: Sequence[Variant],
        seed: int = 0,
        explore: float = 1.0,
        channels: Sequence[str] = ("",),
    ) -> None:
        self.content, self.variants, self.seed, self.explore = version, tuple(variants), seed, explore
        weights = version.traits.weights(on_channels(variants, channels))
        self._mean = version.table(version.mean) @ weights.T  # (tests, arms)
        self._variance = version.table(version.variance) @ (weights**2).T
        self._tables = version.features.tables()
        self._pairs = np.array(version.pairs, np.int32).reshape(-1, 2)

    @cached_property
    def version(self) -> str:
        """The same for the same content: a number to read and a digest."""
        digest = hashlib.blake2b(freeze(self.content), digest_size=6).hexdigest()
        return f"learned-{self.content.number}-{digest}"

    def score(self, pairs: Pairs, moments: Sequence[Moment]) -> NDArray[np.float64]:
        """float64, one for each row of `pairs`."""
        mean, deviation = self.belief(pairs, self.content.features.levels(moments))
        if self.explore:
            ids = np.array([moment.id for moment in moments], np.int64)
            mean = mean + self.explore * deviation * keyed_normal(self.seed, ids[pairs.moment], pairs.arm)
        return 1 / (1 + np.exp(-mean))

    def choice_probabilities(
        self, pairs: Pairs, moments: Sequence[Moment], worth: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """For each row of `pairs` how likely arbitration by score x `worth` (by arm) puts it first: sums to 1 a moment.

        An arm on several channels is taken for its channel of the greatest mean (they share one draw), the first of
        equals. See `choice` for the method.
        """
        mean, deviation = self.belief(pairs, self.content.features.levels(moments))
        chances = np.zeros(len(mean))
        order, again = by_arm(pairs, mean)
        order = order[~again]
        chances[order] = probabilities(
            mean[order],
            self.explore * deviation[order],
            worth[pairs.arm[order]].astype(np.float64),
            np.flatnonzero(np.diff(pairs.moment[order], prepend=-1)),
        )
        return chances

    def belief(self, pairs: Pairs, levels: Levels) -> tuple[Odds, Odds]:
        """Mean and deviation of the log-odds of each pair."""
        tests = with_pairs(tests_of(self._tables, levels), self._pairs)
        place = pairs.channel * len(self.variants) + pairs.arm
        mean = (tests @ self._mean)[pairs.moment, place].astype(np.float64)
        variance = (tests**2 @ self._variance)[pairs.moment, place].astype(np.float64)
        return mean, np.sqrt(variance)
