"""What another policy would have earned on the moments of a log: IPS, SNIPS and doubly robust, or a plain refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kairos.evaluate.intervals import Floats, Interval, Ints, of_clusters, possible, ratio

FOLDS = 2
RIDGE, TRUST = 10.0, 200.0  # of the reward model
# Subscribers with a reward who must effectively speak. With 34, 95 % intervals covered 92 to 95 of 100 seeds; with 19,
# where few heavy weights decide, 90; with 11, 78.
NEEDED = 35
SILENCE = -1
CERTAIN = 0.999  # how sure to be that weights do not average 1 before a log is refused for it


@dataclass(frozen=True)
class Log:
    """Moments with their candidates, flattened: those of moment i are places first[i] to first[i + 1] of the columns.

    To stay silent is a candidate (arm `SILENCE`) where either policy does: it earns nothing.
    """

    subscriber: Ints  # by moment
    first: Ints  # one more than moments
    arm: Ints  # by candidate, as are the rest up to `features`
    features: Floats  # what the reward model may use, (candidates, any number): at least the logged score
    chosen: Ints  # by moment: the place of what was said
    probability: Floats  # by moment: of the choice, as the logging policy made it; NaN where it was not logged
    reward: Floats  # by moment

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def moment(self) -> Ints:
        """By candidate: its moment."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    def of(self, kept: NDArray[np.bool_]) -> Log:
        """These moments alone."""
        places, length = kept[self.moment], np.diff(self.first)
        start = np.cumsum(length * kept) - length * kept
        return Log(
            self.subscriber[kept],
            np.append(start[kept], places.sum()),
            self.arm[places],
            self.features[places],
            (start + self.chosen - self.first[:-1])[kept],
            self.probability[kept],
            self.reward[kept],
        )


class Evaluation(NamedTuple):
    """What a target policy would have earned a moment, by three estimators, and how much of the log spoke for it."""

    ips: Interval
    snips: Interval
    doubly_robust: Interval
    logged: Interval  # what was earned
    difference: Interval  # doubly robust, less what was earned
    speaking: float  # effective sample size of the weights, moments
    heaviest: float  # the largest weight
    agreed: float  # share of moments in which the target would have said the same


class Refused(NamedTuple):
    """Why the log cannot answer, and what to do."""

    why: str


def evaluate(log: Log, target: Floats) -> Evaluation | Refused:
    """Value a moment of the policy that takes each candidate with probability `target` (by candidate; one a moment).

    Intervals are those of `intervals.ratio`, over subscribers. The doubly robust one (Dudik, Langford and Li, 2011)
    takes a reward model that never saw the subscriber it speaks of (cross-fitting; Chernozhukov et al., 2018).
    Raises ValueError for probabilities that are none.
    """
    if not len(log):
        return Refused("the log has no moments")
    silent = _silent(log, target)
    missing = int(np.isnan(log.probability[~silent]).sum())
    if missing:
        return Refused(
            f"{missing} of {len(log)} moments have no probability of their choice. What was not chosen by chance tells "
            "nothing of what else could have been said: let the model explore, and log its probabilities"
        )
    if not ((log.probability > 0) & (log.probability <= 1) | silent).all():
        raise ValueError("the probability of a choice lies above 0 and is 1 at most")
    if not np.allclose(np.add.reduceat(target, log.first[:-1]), 1, atol=1e-6):
        raise ValueError("the target's probabilities of a moment's candidates do not sum to 1")
    weight, reward = np.where(silent, 1.0, target[log.chosen] / log.probability), np.where(silent, 0.0, log.reward)
    ones = np.ones(len(log))

    def interval(top: Floats, bottom: Floats) -> Interval:
        tops, bottoms = of_clusters(log.subscriber, top, bottom)
        return ratio(tops, bottoms)

    if not silent.all() and (refused := _too_little(log.of(~silent), weight[~silent])):
        return refused
    expected = np.where(log.arm == SILENCE, 0.0, expected_rewards(log))
    direct = np.bincount(log.moment, target * expected, len(log))
    robust = direct + weight * np.where(silent, 0.0, reward - expected[log.chosen])
    return Evaluation(
        ips=interval(weight * reward, ones),
        snips=interval(weight * reward, weight),
        doubly_robust=interval(robust, ones),
        logged=interval(log.reward, ones),
        difference=interval(robust - log.reward, ones),
        speaking=effective(weight[~silent]),
        heaviest=float(weight.max()),
        agreed=float(target[log.chosen].mean()),
    )


def _silent(log: Log, target: Floats) -> NDArray[np.bool_]:
    """Moments in which the target surely keeps silent: whatever was said then, they are known to be worth nothing."""
    quiet = np.bincount(log.moment, np.where(log.arm == SILENCE, target, 0.0), len(log))
    return np.asarray(quiet > 1 - 1e-9)


def effective(weight: Floats) -> float:
    """Kish's effective sample size: how many moments of equal weight would say as much.

    >>> float(effective(np.array([1.0, 1.0, 0.0, 2.0])))
    2.6666666666666665
    """
    return float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0


def _too_little(log: Log, weight: Floats) -> Refused | None:
    """Whoever rewarded at all counts, not only with a heavy weight: those are missed just where they are rare."""
    happened = (log.reward != 0).astype(np.float64)
    weights, rewarded, moments = of_clusters(log.subscriber, weight, happened, np.ones(len(log)))
    speaking = effective(weights)
    rewards = speaking * np.count_nonzero(rewarded) / len(rewarded)
    if rewards < NEEDED:
        return Refused(
            f"the log did too little of what the target policy would do: its {len(weights)} subscribers say as much as "
            f"{speaking:.0f} of the target's own, some {rewards:.0f} of them with a reward, and {NEEDED} are needed. "
            "Explore more, take more moments, or change less at once"
        )
    if possible(1, weights, moments, CERTAIN):
        return None
    average = float(weight.mean())
    return Refused(
        f"the weights of the log average {average:.3f} and not 1: "
        + (
            "some of what the target policy would say was never said by chance, or the logged probabilities are wrong"
            if average < 1
            else "the logged probabilities are wrong"
        )
    )


class Change(NamedTuple):
    """Who would have got what: moments (and subscribers) in which one arm was said and another would have been."""

    said: int
    would_say: int
    moments: float  # where the target draws, a sum of probabilities
    subscribers: float  # as well


def changes(log: Log, target: Floats) -> list[Change]:
    """Every pair of what was said and what the target would say (the same one included), most moments first."""
    said = log.arm[log.chosen][log.moment]
    places = np.flatnonzero(target > 0)
    pairs, place = np.unique(np.column_stack([said, log.arm])[places], axis=0, return_inverse=True)
    moments = np.bincount(place, target[places], len(pairs))
    who = log.subscriber[log.moment][places]
    order = np.lexsort((who, place))
    first = np.flatnonzero(np.diff(place[order], prepend=-1) | np.diff(who[order], prepend=-1))
    ever = 1 - np.multiply.reduceat(1 - target[places][order], first) if len(first) else np.zeros(0)
    subscribers = np.bincount(place[order][first], ever, len(pairs))
    rows = zip(*pairs.T.tolist(), moments.tolist(), subscribers.tolist(), strict=True)
    return sorted((Change(*row) for row in rows), key=lambda one: -one.moments)


def expected_rewards(log: Log) -> Floats:
    """By candidate: the reward that a model expects which was fitted on other subscribers' moments.

    Ridge regression on the features, then each arm's own mean residual, shrunk as if `TRUST` moments had none.
    """
    arms, arm = np.unique(log.arm, return_inverse=True)
    design = np.column_stack([np.ones(len(log.arm)), log.features])
    fold = np.unique(log.subscriber, return_inverse=True)[1] % FOLDS
    penalty = RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 0
    fitted, own = np.empty((design.shape[1], FOLDS)), np.empty((len(arms), FOLDS))
    for held in range(FOLDS):
        seen, reward = log.chosen[fold != held], log.reward[fold != held]
        x = design[seen]
        fitted[:, held] = np.linalg.solve(x.T @ x + penalty, x.T @ reward)
        rest = np.bincount(arm[seen], reward - x @ fitted[:, held], len(arms))
        own[:, held] = rest / (np.bincount(arm[seen], minlength=len(arms)) + TRUST)
    other = fold[log.moment]
    expected: Floats = np.take_along_axis(design @ fitted, other[:, None], 1)[:, 0] + own[arm, other]
    return expected
