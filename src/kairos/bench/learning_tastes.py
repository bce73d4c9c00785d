"""Subscribers with tastes that no learner here is made of: what `kairos bench learning` learns against.

Tastes are trees over a dozen things that divide subscribers (a heavy user, the evening, a segment), two at a time, so
nearly everything is an interaction: how each content is liked, which size fits, what a price means to them, how long
they like to commit, and something of each variant's own. Part is hidden: three kinds of people, told apart by what is
seen only in their shares. Some buy without being asked. The oracle knows all trees and sees what a learner sees: its
values are expectations over the hidden kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kairos.domain.moment import Moment
from kairos.domain.subscriber import SCHEMA, State
from kairos.learn.variants import Variant
from kairos.rules import Names

Floats = NDArray[np.float64]
Tree = tuple[tuple["Question", ...], Floats]  # tests, and a value for each way to answer them

ARMS: Final = 50
CONTENTS: Final = ("data", "voice", "video", "music", "games", "social")
HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
START: Final = 1_767_225_600_000  # 2026-01-01
DAYS: Final = 28  # that the moments of one run are spread over
DRIVERS: Final = 12  # things that divide subscribers
UNKNOWN: Final = 0.03  # share of numbers that are not known
AT_RANDOM: Final = 0.028  # share of yeses where offers are drawn
ALLOWED: Final = 8  # variants a moment, on average

TEXTS: Final = {"plan": 3, "device": 4, "region": 6, "segment": 5, "last_app": 6, "kind": 3}
NUMBERS: Final = {  # how finely each is known
    "balance": 5_000,
    "data_left_mb": 5_000,
    "minutes_left": 300,
    "expires_in_h": 700,
    "tenure_days": 3_000,
    "last_recharge": 40,
    "data_used_7d": 9_000,
    "calls_7d": 60,
    "spend_7d": 3_000,
    "recharges_30d": 12,
    "video_30d": 40,
    "music_30d": 30,
    "games_30d": 30,
    "social_30d": 60,
    "end_of_call.cost": 400,
}
KINDS: Final = ("end_of_call", "data_session", "recharge")
NAMES: Final[Names] = {
    **dict.fromkeys([name for name in TEXTS if name != "kind"], "text"),
    **{n: "money" if n in ("balance", "last_recharge", "spend_7d", "end_of_call.cost") else "number" for n in NUMBERS},
    "now": "time",
    "local": "time",
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a subscriber's moment: a number above a quantile, a text among some, an hour in a window."""

    column: str
    above: float = 0.0
    among: tuple[int, ...] = ()
    hours: float = 0.0


@dataclass(slots=True)
class Seen:
    """What can be seen of many moments, as columns: quantiles of numbers (NaN: unknown), places of texts, times."""

    numbers: dict[str, Floats]
    texts: dict[str, NDArray[np.int64]]
    at: NDArray[np.int64]  # ms, rising

    def __len__(self) -> int:
        return len(self.at)

    def passes(self, test: Question) -> NDArray[np.bool_]:
        if test.column == "hour":
            return np.asarray((self.at / HOUR - test.above) % 24 < test.hours)
        if test.among:
            return np.isin(self.texts[test.column], test.among)
        return self.numbers[test.column] > test.above  # what is unknown is above nothing

    def moments(self, first_id: int = 1) -> list[Moment]:
        """The same as the engine would hand them to a scorer."""
        columns: list[list[Any]] = [[f"{name}-{v}" for v in self.texts[name]] for name in TEXTS if name != "kind"]
        for name, steps in NUMBERS.items():
            raw = np.floor(self.numbers[name] * steps)
            columns.append([None if value != value else int(value) for value in raw.tolist()])
        kinds = [KINDS[place] for place in self.texts["kind"]]
        nobody = State(SCHEMA, 1, "", "", 0)
        return [
            Moment(first_id + place, "", kind, now, now, (*values, now, now), nobody, True)
            for place, (kind, now, values) in enumerate(
                zip(kinds, self.at.tolist(), zip(*columns, strict=True), strict=True)
            )
        ]


@dataclass(slots=True)
class Truth:
    """What would come of every variant (columns) at every moment (rows)."""

    induced: Floats  # the chance of a yes that comes of the offer, expected over the hidden kinds
    induced_here: Floats  # the same for the hidden kind that it is
    organic: Floats  # the chance that they buy it anyway
    value: Floats  # expected margin over silence

    @property
    def yes(self) -> Floats:
        """The chance of a yes as anybody can observe it."""
        return 1 - (1 - self.induced) * (1 - self.organic)


class Tastes:
    """One world, drawn from `seed`. `flipped` is the same world after what was liked came to be disliked."""

    def __init__(self, seed: int, flipped: bool = False) -> None:
        draw = np.random.default_rng(seed)
        self.sign = -1.0 if flipped else 1.0
        self.content = np.resize(np.arange(len(CONTENTS)), ARMS)
        self.validity = draw.choice([1, 3, 7, 30], ARMS)
        self.size = draw.uniform(0, 1, ARMS)
        price = np.exp(0.1 + 0.7 * self.size + 0.2 * np.log(self.validity) + draw.normal(0, 0.2, ARMS))
        self.price = np.round(price, 1)
        self.margin = self.price * draw.uniform(0.4, 0.6, ARMS)
        self._sample = see(np.random.default_rng([seed, 1]), 3000)
        self._drivers = [_any_test(draw) for _ in range(DRIVERS)]
        self._liked = [self._trees(draw, 4, 1.1) for _ in CONTENTS]
        self._fits, self._thrift = self._trees(draw, 3, 1.5), self._trees(draw, 3, 1.0)
        self._patience, self._mood = self._trees(draw, 2, 0.8), self._trees(draw, 2, 0.4)
        self._own = [self._trees(draw, 1, 0.5) for _ in range(ARMS)]
        self._hidden = [self._trees(draw, 2, 0.8) for _ in range(3)]
        self._hidden_liking = draw.normal(0, 0.7, (3, len(CONTENTS)))
        self._hidden_thrift, self._hidden_mood = draw.normal(0, 0.4, 3), draw.normal(0, 0.4, 3)
        self._anyway = [self._trees(draw, 2, 0.8) for _ in CONTENTS]
        self._appeal = draw.normal(0, 0.2, ARMS)
        self._best_hour = draw.uniform(0, 24, len(CONTENTS))
        self._base = self._calibrated()

    @property
    def variants(self) -> list[Variant]:
        return [
            Variant(f"offer_{arm}", CONTENTS[self.content[arm]], float(np.exp(3 * self.size[arm])), *figures)
            for arm, figures in enumerate(zip(self.price.tolist(), self.validity.tolist(), strict=True))
        ]

    def truth(self, seen: Seen, draw: np.random.Generator) -> Truth:
        odds = self._odds(seen) + self._base
        shares = np.exp(np.stack([self._value(trees, seen) for trees in self._hidden], 1))
        shares /= shares.sum(axis=1, keepdims=True)
        by_kind = np.stack(
            [
                0.6 / (1 + np.exp(-(odds + liking[self.content] + thrift * np.log(self.price) + mood)))
                for liking, thrift, mood in zip(
                    self._hidden_liking, self._hidden_thrift, self._hidden_mood, strict=True
                )
            ]
        )
        induced = np.einsum("nk,kna->na", shares, by_kind)
        kind = (draw.random((len(seen), 1)) > np.cumsum(shares, axis=1)).sum(axis=1).clip(0, 2)
        organic = self._organic(seen)
        return Truth(induced, by_kind[kind, np.arange(len(seen))], organic, self.margin * (1 - organic) * induced)

    def _odds(self, seen: Seen) -> Floats:
        """Log-odds of a yes to each variant, but for the base."""
        liked = np.stack([self._value(trees, seen) for trees in self._liked], 1)
        liked += 0.5 * np.cos((seen.at[:, None] / HOUR - self._best_hour) / 24 * 2 * np.pi)
        fits = 1 / (1 + np.exp(-self._value(self._fits, seen)))[:, None]
        thrift = 0.6 + 1.2 / (1 + np.exp(-self._value(self._thrift, seen)))[:, None]
        patience = self._value(self._patience, seen)[:, None] * (np.log(self.validity) / np.log(30) - 0.5)
        own = np.stack([self._value(trees, seen) for trees in self._own], 1)
        mood = self._value(self._mood, seen)[:, None]
        odds: Floats = (
            liked[:, self.content] - 5 * (fits - self.size) ** 2 - thrift * np.log(self.price) + patience + own + mood
        )
        return odds + self._appeal

    def _organic(self, seen: Seen) -> Floats:
        habit = np.stack([self._value(trees, seen) for trees in self._anyway], 1)[:, self.content]
        fits = 1 / (1 + np.exp(-self._value(self._fits, seen)))[:, None]
        return np.minimum(0.003 * np.exp(habit - 4 * (fits - self.size) ** 2), 0.5)

    def _calibrated(self) -> float:
        """The base at which offers drawn at random get the stated share of yeses."""
        low, high = -9.0, 3.0
        for _ in range(25):
            self._base = (low + high) / 2
            chance = self.truth(self._sample, np.random.default_rng(0)).yes.mean()
            low, high = (low, self._base) if chance > AT_RANDOM else (self._base, high)
        return self._base

    def _trees(self, draw: np.random.Generator, many: int, scale: float) -> list[Tree]:
        """Trees of two tests each, whose value is 0 on average."""
        trees: list[Tree] = []
        for _ in range(many):
            tests = tuple(self._drivers[place] for place in draw.integers(len(self._drivers), size=2))
            leaves = draw.normal(0, scale, 4)
            trees.append((tests, self.sign * (leaves - _leaf(leaves, tests, self._sample).mean())))
        return trees

    def _value(self, trees: list[Tree], seen: Seen) -> Floats:
        value: Floats = np.sum([_leaf(leaves, tests, seen) for tests, leaves in trees], axis=0)
        return value


def _leaf(leaves: Floats, tests: tuple[Question, ...], seen: Seen) -> Floats:
    value: Floats = leaves[np.sum([seen.passes(test).astype(int) << place for place, test in enumerate(tests)], axis=0)]
    return value


def _any_test(draw: np.random.Generator) -> Question:
    which = draw.random()
    if which < 0.65:
        return Question(str(draw.choice(list(NUMBERS))), above=draw.uniform(0.3, 0.7))
    if which < 0.74:
        return Question("hour", above=draw.uniform(0, 24), hours=draw.uniform(4, 10))
    name = str(draw.choice(list(TEXTS)))
    some = draw.choice(TEXTS[name], max(1, TEXTS[name] // 2), replace=False)
    return Question(name, among=tuple(some.tolist()))


def see(draw: np.random.Generator, many: int, start: int = START) -> Seen:
    """Moments in the order of time. What subscribers do hangs together: their numbers follow four hidden factors."""
    loads = np.random.default_rng(7).normal(0, 1, (4, len(NUMBERS)))
    normal = draw.normal(0, 1, (many, 4)) @ loads * 0.5 + draw.normal(0, 1, (many, len(NUMBERS)))
    normal /= np.sqrt((loads**2).sum(axis=0) * 0.25 + 1)
    quantiles = 0.5 * (1 + np.vectorize(erf)(normal / np.sqrt(2)))
    numbers = {}
    for place, (name, steps) in enumerate(NUMBERS.items()):
        known = (np.floor(quantiles[:, place] * steps) + 0.5) / steps  # no finer than it can be seen
        numbers[name] = np.where(draw.random(many) < UNKNOWN, np.nan, known)
    texts = {n: np.minimum((draw.random(many) ** 1.5 * k).astype(np.int64), k - 1) for n, k in TEXTS.items()}
    hours = draw.normal(17, 5, many) % 24
    at = np.sort(start + draw.integers(0, DAYS, many) * DAY + (hours * HOUR).astype(np.int64))
    return Seen(numbers, texts, at)


def allow(draw: np.random.Generator, many: int) -> NDArray[np.bool_]:
    """(moments, variants): which variants the rules would let through, 2 to 16 of them."""
    rank = np.argsort(np.argsort(draw.random((many, ARMS)), axis=1), axis=1)
    return np.asarray(rank < np.clip(draw.poisson(ALLOWED, many), 2, 16)[:, None])
