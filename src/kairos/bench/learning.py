"""How well kairos learns what to say: `kairos bench learning`.

Several learners meet the same moments in the same order and see the same of them. Each chooses one of the variants that
are allowed, hears what comes of it (late, or never), and is judged on fresh moments by the margin that its choices earn
over silence. Then tastes flip half-way.
"""

from __future__ import annotations

import copy
import heapq
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kairos.bench.learning_tastes import DAY, DAYS, HOUR, NAMES, START, Seen, Tastes, Truth, allow, see
from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.learn import Features, LearnedPropensity, Learner, learn_features

MOMENTS: Final = 100_000
FRESH: Final = 20_000
SEEDS: Final = (0, 1, 2, 3, 4)
BATCH: Final = 250  # moments that are decided by one version
PUBLISH: Final = 2_000  # moments between versions at least; later a twenty-fifth of all
SAMPLE: Final = 2_000  # moments that features are learned from
WINDOW: Final = 24 * HOUR
HALF_LIFE: Final = 180 * DAY
EXPLORE: Final = 0.2
DELIVERED, RECORDED, DECLINES, REVERSED = 0.95, 0.97, 0.05, 0.02  # shares: of offers, of yeses, of noes, of yeses
RECOVERED: Final = 0.8  # of the way that had been gone when tastes flipped
ONE_SIDED: Final = {
    2: 6.314,
    3: 2.920,
    4: 2.353,
    5: 2.132,
    6: 2.015,
    7: 1.943,
    8: 1.895,
    9: 1.860,
    10: 1.833,
}  # Student

Allowed = NDArray[np.bool_]
Arms = NDArray[np.int64]
Floats = NDArray[np.float64]


# --- moments, and what would come of them -------------------------------------------------------------------------


@dataclass(slots=True)
class Crowd:
    """Moments with what is allowed at each, and what would come of it. `luck` decides, whatever is chosen."""

    moments: list[Moment]
    allowed: Allowed
    truth: Truth
    luck: Floats  # (moments, 7), uniform

    def value(self, chances: Floats) -> float:
        """Margin over silence a moment; `chances` (moments, arms) says how likely each variant is chosen."""
        return float((self.truth.value * chances).sum(axis=1).mean())


def crowd(tastes: Tastes, draw: np.random.Generator, many: int, days: int, first_id: int) -> Crowd:
    """Moments from so many days after the start on."""
    seen: Seen = see(draw, many, START + days * DAY)
    return Crowd(seen.moments(first_id), allow(draw, many), tastes.truth(seen, draw), draw.random((many, 7)))


def greatest(worth: Floats, allowed: Allowed) -> Floats:
    """(moments, arms): 1 where the worth is greatest of what is allowed."""
    chosen = np.where(allowed, worth, -np.inf).argmax(axis=1)
    only: Floats = np.eye(allowed.shape[1])[chosen]
    return only


# --- learners -----------------------------------------------------------------------------------------------------


class Player(Protocol):
    """Chooses, and hears of what came of it. Ids are the moments'."""

    def choose(self, moments: list[Moment], allowed: Allowed) -> Arms: ...
    def chances(self, moments: list[Moment], allowed: Allowed) -> Floats:
        """(moments, arms): how likely it would choose each; nothing is learned by this."""
        ...

    def delivered(self, id: int, at: int) -> None: ...  # noqa: A002
    def taken(self, id: int, at: int) -> None: ...  # noqa: A002
    def declined(self, id: int, at: int) -> None: ...  # noqa: A002
    def undone(self, id: int, at: int) -> None: ...  # noqa: A002
    def closed(self, id: int, at: int) -> None: ...  # noqa: A002
    def published(self, at: int) -> None: ...


class Kairos:
    """The learner of `kairos.learn`: priority is propensity x margin, as in arbitration."""

    def __init__(self, tastes: Tastes, features: Features, seed: int) -> None:
        self.learner = Learner(features, tastes.variants, WINDOW, HALF_LIFE)
        self.worth, self.seed, self.seconds = tastes.margin, seed, 0.0
        self.published(START)

    def choose(self, moments: list[Moment], allowed: Allowed) -> Arms:
        chosen: Arms = self.chances(moments, allowed).argmax(axis=1)
        levels = self.learner.features.levels(moments)
        chance = 1 / (1 + np.exp(-self.scorer.belief(pairs_of(np.eye(len(self.worth))[chosen] > 0), levels)[0]))
        ids = np.array([moment.id for moment in moments])
        self.learner.answers.offer(ids, levels, chosen, chance, moments[-1].now)
        return chosen

    def chances(self, moments: list[Moment], allowed: Allowed) -> Floats:
        """As it acts, exploration and all: each moment's draw is keyed by its id."""
        pairs = pairs_of(allowed)
        worth = np.zeros(allowed.shape)
        worth[pairs.moment, pairs.arm] = self.scorer.score(pairs, moments) * self.worth[pairs.arm]
        return greatest(worth, allowed)

    def delivered(self, id: int, at: int) -> None:  # noqa: A002
        self.learner.answers.deliver(id, at)

    def taken(self, id: int, at: int) -> None:  # noqa: A002
        self.learner.answers.take(id, at)

    def declined(self, id: int, at: int) -> None:  # noqa: A002, ARG002
        self.learner.answers.decline(id)

    def undone(self, id: int, at: int) -> None:  # noqa: A002, ARG002
        self.learner.answers.undo(id)

    def closed(self, id: int, at: int) -> None:  # noqa: A002
        """The ledger knows its window."""

    def published(self, at: int) -> None:
        start = time.process_time()
        version = self.learner.publish(at)
        self.seconds += time.process_time() - start
        self.scorer = LearnedPropensity(version, self.learner.variants, self.seed, EXPLORE)


def pairs_of(allowed: Allowed) -> Pairs:
    moment, arm = (found.astype(np.int32) for found in np.nonzero(allowed))
    nothing = np.zeros(len(moment))
    return Pairs(moment, arm, np.zeros(len(moment), np.int32), nothing, nothing)


# --- a player meets a crowd ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Play:
    """A player, what it will hear of, and how many moments it has met."""

    player: Player
    coming: list[tuple[int, int, str]] = field(default_factory=list)  # when (ms), id, what
    met: int = 0
    due: int = 0  # moments at which the next version is published

    def through(self, crowd: Crowd) -> Iterator[int]:
        """Meet a crowd, and yield how many moments were met whenever a version was published, and at the end."""
        start = self.met
        for first in range(0, len(crowd.moments), BATCH):
            moments = crowd.moments[first : first + BATCH]
            self.hear(moments[0].now)
            if self.met >= self.due:
                self.player.published(moments[0].now)
                self.due = self.met + max(PUBLISH, self.met // 25)
                yield self.met - start
            arms = self.player.choose(moments, crowd.allowed[first : first + BATCH])
            for place, arm in enumerate(arms.tolist(), first):
                for event in _what_comes(crowd, place, arm):
                    heapq.heappush(self.coming, event)
            self.met += len(moments)
        yield self.met - start

    def hear(self, until: int) -> None:
        while self.coming and self.coming[0][0] <= until:
            at, id, what = heapq.heappop(self.coming)  # noqa: A001
            getattr(self.player, what)(id, at)


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
                comes.append((taken + int(luck[6] * 2 * DAY), moment.id, "undone"))
    elif luck[5] < DECLINES:
        comes.append((at + int(luck[4] * HOUR / 4), moment.id, "declined"))
    return comes


# --- the bench ----------------------------------------------------------------------------------------------------


def run(seeds: Sequence[int] = SEEDS, moments: int = MOMENTS, fresh: int = FRESH) -> dict[str, object]:
    """Values are margin over silence a moment, on fresh moments: means over worlds, and one-sided lower 95 % bounds.

    Seeds run in processes of their own, one thread each.
    """
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # for the processes to come
    alone = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(seeds), os.cpu_count() or 1), mp_context=alone) as processes:
        worlds = list(processes.map(partial(world, moments=moments, fresh=fresh), seeds))
    return summary(worlds) | {"moments": moments, "fresh": fresh, "seeds": list(seeds)}


def world(seed: int, moments: int = MOMENTS, fresh: int = FRESH) -> dict[str, Any]:
    """What one world's players came to."""
    tastes, draw = Tastes(seed), np.random.default_rng([seed, 2])
    met, judged = crowd(tastes, draw, moments, 0, 1), crowd(tastes, draw, fresh, DAYS, moments + 1)
    features = learn_features(NAMES, met.moments[:SAMPLE])
    figures = bounds(tastes, met, judged)
    play, half = Play(Kairos(tastes, features, seed)), None
    for done in play.through(met):
        if half is None and done >= moments // 2:
            half = copy.deepcopy(play)
    play.hear(START + 2 * DAYS * DAY)
    play.player.published(START + DAYS * DAY)
    figures["policy_value"] = judged.value(play.player.chances(judged.moments, judged.allowed))
    figures["learning_us_a_moment"] = getattr(play.player, "seconds", 0.0) / moments * 1e6
    figures["vw_value"], figures["vw_reason"] = vowpal(tastes, features, seed, met, judged)
    if half is not None and half.met < moments:
        figures |= flip(half, seed, moments - half.met, judged, figures)
    return figures


def bounds(tastes: Tastes, met: Crowd, judged: Crowd) -> dict[str, Any]:
    """What can be had without learning: at random, by one order for all (in hindsight), and by knowing the tastes."""
    chance = judged.truth.yes
    uniform = judged.allowed / judged.allowed.sum(axis=1, keepdims=True)
    best = greatest(judged.truth.value, judged.allowed)
    static = greatest(np.broadcast_to(met.truth.value.mean(axis=0), judged.allowed.shape), judged.allowed)
    return {
        "uniform_value": judged.value(uniform),
        "best_static_value": judged.value(static),
        "oracle_value": judged.value(best),
        "yes_oracle_value": judged.value(greatest(chance * tastes.margin, judged.allowed)),
        "uniform_accepts": float((chance * uniform).sum(axis=1).mean()),
        "oracle_accepts": float((chance * best).sum(axis=1).mean()),
        "organic_share": float((judged.truth.organic * uniform).sum() / (chance * uniform).sum()),
    }


def vowpal(tastes: Tastes, features: Features, seed: int, met: Crowd, judged: Crowd) -> tuple[float | None, str | None]:
    """Vowpal Wabbit's value, without its exploration where that is better; or why there is none."""
    from kairos.bench.learning_vw import Vowpal

    try:
        player = Vowpal(tastes, features, seed)
    except ImportError:
        return None, "vowpalwabbit is not installed: pip install vowpalwabbit"
    play = Play(player)
    for _ in play.through(met):
        pass
    play.hear(START + 2 * DAYS * DAY)
    chances = player.chances(judged.moments, judged.allowed)
    return max(judged.value(chances), judged.value(greatest(chances, judged.allowed))), None


def flip(play: Play, seed: int, moments: int, judged: Crowd, known: dict[str, Any]) -> dict[str, Any]:
    """What was liked is disliked from now on: how many moments until the player is nearly as good as it was."""
    tastes, draw = Tastes(seed, flipped=True), np.random.default_rng([seed, 4])
    met = crowd(tastes, draw, moments, DAYS // 2, 10**7)
    after = crowd(tastes, draw, min(len(judged.moments), 4000), DAYS, 10**8)
    ends = bounds(tastes, met, after)
    before = way(judged.value(play.player.chances(judged.moments, judged.allowed)), known)
    recovered, last, lowest = None, 0.0, 1.0
    for done in play.through(met):
        last = way(after.value(play.player.chances(after.moments, after.allowed)), ends)
        lowest = min(lowest, last)
        if recovered is None and last >= RECOVERED * before:
            recovered = done
    return {"way_before_flip": before, "lowest_way": lowest, "way_after_flip": last, "recovery_moments": recovered}


def way(value: float, ends: dict[str, Any]) -> float:
    """How much of the way from uniform to the oracle."""
    return float((value - ends["uniform_value"]) / (ends["oracle_value"] - ends["uniform_value"]))


def summary(worlds: Sequence[dict[str, Any]]) -> dict[str, object]:
    figures: dict[str, object] = {}
    for name in ("policy_value", "uniform_value", "best_static_value", "oracle_value", "vw_value", "yes_oracle_value"):
        figures |= _mean_and_low(name, [one[name] for one in worlds])
    figures |= _mean_and_low("way", [way(one["policy_value"], one) for one in worlds])
    for other in ("best_static", "vw"):
        known = [one for one in worlds if one[f"{other}_value"] is not None]
        figures |= _mean_and_low(f"over_{other}", [one["policy_value"] - one[f"{other}_value"] for one in known])
        figures[f"{other}_way"] = _mean([way(one[f"{other}_value"], one) for one in known])
    figures["vw_reason"] = worlds[0]["vw_reason"]
    for name in ("uniform_accepts", "oracle_accepts", "organic_share", "learning_us_a_moment"):
        figures[name] = _mean([one[name] for one in worlds])
    flipped = [one for one in worlds if "recovery_moments" in one]
    figures["recovery_moments"] = _mean([one["recovery_moments"] for one in flipped])
    for name in ("way_before_flip", "lowest_way", "way_after_flip"):
        figures[name] = _mean([one[name] for one in flipped])
    figures["recovery_moments_by_seed"] = [one["recovery_moments"] for one in flipped]
    figures["way_by_seed"] = [round(way(one["policy_value"], one), 4) for one in worlds]
    return figures


def _mean(values: Sequence[Any]) -> float | None:
    """None where there is none, or not of every seed."""
    return round(float(np.mean(values)), 5) if values and None not in values else None


def _mean_and_low(name: str, values: Sequence[Any]) -> dict[str, object]:
    mean, low = _mean(values), None
    if mean is not None and len(values) > 1:
        quantile = ONE_SIDED.get(len(values), 1.833)
        low = round(float(np.mean(values) - quantile * np.std(values, ddof=1) / np.sqrt(len(values))), 5)
    return {name: mean, f"{name}_low": low}
