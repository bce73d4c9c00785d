"""How well kairos learns what to say: `kairos bench learning`.

Several learners meet the same moments in the same order and see the same of them. Each chooses one of the variants that
are allowed, hears what comes of it (late, or never), and is judged on fresh moments by the margin that its choices earn
over silence.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kairos.bench.learning_tastes import ARMS, HOUR, Seen, Tastes, Truth, allow, see
from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.learn import LearnedPropensity, Learner, learn_features

MOMENTS: Final = 100_000
FRESH: Final = 20_000
BATCH: Final = 250  # moments that are decided by one version
PUBLISH: Final = 2_000  # moments between versions
SAMPLE: Final = 2_000  # moments that features are learned from
WINDOW: Final = 24 * HOUR
HALF_LIFE: Final = 120 * 24 * HOUR
DELIVERED, RECORDED, DECLINES, REVERSED = 0.95, 0.97, 0.05, 0.02

Allowed = NDArray[np.bool_]
Arms = NDArray[np.int64]


@dataclass(slots=True)
class Crowd:
    """Moments with what is allowed at each, and what would come of it. `luck` decides, whatever is chosen."""

    seen: Seen
    moments: list[Moment]
    allowed: Allowed
    truth: Truth
    luck: NDArray[np.float64]  # (moments, 7), uniform

    def value(self, arms: Arms) -> float:
        return float(self.truth.value[np.arange(len(arms)), arms].mean())

    @property
    def uniform(self) -> float:
        return float((self.truth.value * self.allowed).sum() / self.allowed.sum(axis=1).clip(1).mean() / len(self.seen))

    @property
    def best(self) -> Arms:
        return np.where(self.allowed, self.truth.value, -np.inf).argmax(axis=1)


def crowd(tastes: Tastes, draw: np.random.Generator, many: int, start: int, first_id: int) -> Crowd:
    seen = see(draw, many, start)
    return Crowd(seen, seen.moments(first_id), allow(draw, many), tastes.truth(seen, draw), draw.random((many, 7)))


class Player(Protocol):
    """Chooses, and hears of what came of it. Ids are the moments'."""

    def choose(self, crowd: Crowd, part: slice) -> Arms: ...
    def delivered(self, id: int, at: int) -> None: ...  # noqa: A002
    def taken(self, id: int, at: int) -> None: ...  # noqa: A002
    def declined(self, id: int) -> None: ...  # noqa: A002
    def undone(self, id: int) -> None: ...  # noqa: A002
    def closed(self, id: int, at: int) -> None: ...  # noqa: A002
    def published(self, at: int) -> None: ...
    def best(self, crowd: Crowd, part: slice) -> Arms: ...


def pairs_of(allowed: Allowed) -> Pairs:
    moment, arm = (found.astype(np.int32) for found in np.nonzero(allowed))
    nothing = np.zeros(len(moment))
    return Pairs(moment, arm, np.zeros(len(moment), np.int32), nothing, nothing)


def arbitrated(pairs: Pairs, scores: NDArray[np.float64], worth: NDArray[np.float64], moments: int) -> Arms:
    table = np.full((moments, len(worth)), -np.inf)
    table[pairs.moment, pairs.arm] = scores * worth[pairs.arm]
    return table.argmax(axis=1)


class Kairos:
    """The learner of `kairos.learn`."""

    def __init__(self, tastes: Tastes, sample: Sequence[Moment], seed: int, explore: float = 1.0) -> None:
        self.learner = Learner(learn_features(self.names(), sample), tastes.variants, WINDOW, HALF_LIFE)
        self.worth, self.seed, self.explore = tastes.margin, seed, explore
        self.seconds = 0.0
        self.published(sample[0].now)

    @staticmethod
    def names() -> Any:
        from kairos.bench.learning_tastes import NAMES

        return NAMES

    def choose(self, crowd: Crowd, part: slice) -> Arms:
        moments, pairs = crowd.moments[part], pairs_of(crowd.allowed[part])
        arms = arbitrated(pairs, self.scorer.score(pairs, moments), self.worth, len(moments))
        levels = self.learner.features.levels(moments)
        one = Pairs(np.arange(len(arms), dtype=np.int32), arms.astype(np.int32), pairs.channel, pairs.propensity, pairs.priority)
        chance = 1 / (1 + np.exp(-self.scorer.belief(one, levels)[0]))
        ids = np.array([moment.id for moment in moments])
        self.learner.answers.offer(ids, levels, arms, chance, moments[-1].now)
        return arms

    def best(self, crowd: Crowd, part: slice) -> Arms:
        moments, pairs = crowd.moments[part], pairs_of(crowd.allowed[part])
        still = LearnedPropensity(self.scorer.content, self.scorer.variants, explore=0)
        return arbitrated(pairs, still.score(pairs, moments), self.worth, len(moments))

    def acting(self, crowd: Crowd, part: slice) -> Arms:
        moments, pairs = crowd.moments[part], pairs_of(crowd.allowed[part])
        return arbitrated(pairs, self.scorer.score(pairs, moments), self.worth, len(moments))

    def delivered(self, id: int, at: int) -> None:  # noqa: A002
        self.learner.answers.deliver(id, at)

    def taken(self, id: int, at: int) -> None:  # noqa: A002
        self.learner.answers.take(id, at)

    def declined(self, id: int) -> None:  # noqa: A002
        self.learner.answers.decline(id)

    def undone(self, id: int) -> None:  # noqa: A002
        self.learner.answers.undo(id)

    def closed(self, id: int, at: int) -> None:  # noqa: A002
        pass

    def published(self, at: int) -> None:
        start = time.perf_counter()
        version = self.learner.publish(at)
        self.seconds += time.perf_counter() - start
        self.scorer = LearnedPropensity(version, self.learner.variants, self.seed, self.explore)


def play(player: Player, crowd: Crowd, publish: int = PUBLISH, watch: Callable[[int], None] = lambda done: None) -> None:
    """Let a player meet a crowd, moment by moment, and hear of everything when it happens."""
    coming: list[tuple[int, int, str]] = []
    for start in range(0, len(crowd.seen), BATCH):
        part = slice(start, min(start + BATCH, len(crowd.seen)))
        now = crowd.moments[start].now
        while coming and coming[0][0] <= now:
            at, id, what = heapq.heappop(coming)  # noqa: A001
            _tell(player, id, what, at)
        if start % publish == 0:
            watch(start)
            player.published(now)
        arms = player.choose(crowd, part)
        for place, arm in zip(range(part.start, part.stop), arms.tolist(), strict=True):
            for event in _what_comes(crowd, place, arm):
                heapq.heappush(coming, event)
    while coming:
        at, id, what = heapq.heappop(coming)  # noqa: A001
        _tell(player, id, what, at)
    watch(len(crowd.seen))


def _tell(player: Player, id: int, what: str, at: int) -> None:  # noqa: A002
    if what in ("delivered", "taken", "closed"):
        getattr(player, what)(id, at)
    else:
        getattr(player, what)(id)


def _what_comes(crowd: Crowd, place: int, arm: int) -> list[tuple[int, int, str]]:
    """What the player will hear of one offer, each with its time."""
    luck, moment = crowd.luck[place].tolist(), crowd.moments[place]
    if luck[0] > DELIVERED:
        return []
    at = moment.now + 5_000
    comes = [(at, moment.id, "delivered"), (at + WINDOW, moment.id, "closed")]
    induced = luck[1] < crowd.truth.induced_here[place, arm]
    if induced or luck[2] < crowd.truth.organic[place, arm]:
        if luck[3] < RECORDED:
            # an induced yes comes after two hours on average, a purchase at any time
            delay = min(-np.log1p(-luck[4]) / 12, 0.999) if induced else luck[4]
            taken = at + int(delay * WINDOW)
            comes.append((taken, moment.id, "taken"))
            if luck[5] < REVERSED:
                comes.append((taken + int(luck[6] * 48 * HOUR), moment.id, "undone"))
    elif luck[5] < DECLINES:
        comes.append((at + int(luck[4] * HOUR / 4), moment.id, "declined"))
    return comes
