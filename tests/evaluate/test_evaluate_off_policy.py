"""The off-policy estimators against a truth that is known; and what they refuse to estimate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.evaluate.tastes import logged

from kairos.evaluate import SILENCE, Change, Evaluation, Log, Refused, changes, evaluate, ratio
from kairos.evaluate.off_policy import expected_rewards

SEEDS = 100
LONG = pytest.mark.long  # as the others; all four take a minute


@pytest.mark.parametrize(
    "tastes",
    [
        {"accepted": 0.02, "explored": 0.5, "moments": 20_000},  # yes: 3.5 % of what was said
        {"accepted": 0.025, "explored": 0.2, "moments": 30_000},  # 5.1 %; weights up to 30
        pytest.param({"accepted": 0.01, "explored": 1.0, "moments": 25_000, "allowed": 2}, marks=LONG),  # 1.3 %
        pytest.param({"accepted": 0.02, "explored": 0.5, "moments": 20_000, "each": 4}, marks=LONG),
    ],
    ids=["explores", "heavy weights", "one in a hundred", "moments of one subscriber"],
)
def test_where_the_truth_is_known_the_intervals_cover_it_and_are_narrow(tastes: dict[str, Any]) -> None:
    """95 % intervals: 90 to 99 of 100 seeds (95 is expected; 100 of 100 would be one in 169), narrower than 30 %."""
    truth = float(np.mean([logged(10_000 + seed, **tastes | {"moments": 20_000}).value for seed in range(10)]))
    covered, width = np.zeros(3, int), np.zeros(3)
    for seed in range(SEEDS):
        known = logged(seed, **tastes)
        found = evaluate(known.log, known.target)
        assert isinstance(found, Evaluation), found
        intervals = (found.ips, found.snips, found.doubly_robust)
        covered += [one.covers(truth) for one in intervals]
        width += [one.width / truth / SEEDS for one in intervals]
    assert ((covered >= 90) & (covered <= 99)).all(), covered
    assert (width < 0.3).all(), width


def test_a_wrong_value_is_not_covered() -> None:
    """The test above could fail: values that are off by a third are outside of nearly all intervals."""
    outside = 0
    for seed in range(20):
        known = logged(seed, 20_000, accepted=0.02, explored=0.5)
        found = evaluate(known.log, known.target)
        assert isinstance(found, Evaluation)
        outside += not found.doubly_robust.covers(known.value * 4 / 3)
    assert outside >= 18


def test_the_logged_policy_is_worth_what_was_earned() -> None:
    log = logged(1).log
    same = np.zeros(len(log.arm))
    same[log.chosen] = 1
    certain = replace(log, probability=np.ones(len(log)))
    found = evaluate(certain, same)
    assert isinstance(found, Evaluation)
    assert found.ips == found.logged
    assert found.ips.value == pytest.approx(log.reward.mean())
    assert (found.speaking, found.agreed) == (len(log), 1)


def test_silence_is_worth_nothing_whatever_was_said_and_needs_no_chance() -> None:
    """A target that says nothing to half of the subscribers loses what they brought; the rest is as without them."""
    log, target, _ = logged(1, 20_000, accepted=0.02)
    quiet = log.subscriber % 2 == 0
    first = log.first + np.cumsum(np.append(0, quiet))
    places = log.first[1:][quiet]  # the last candidate of each of these
    arm, features = np.insert(log.arm, places, SILENCE), np.insert(log.features, places, 0, axis=0)
    chosen = log.chosen + (first - log.first)[:-1]
    told = replace(log, first=first, arm=arm, features=features, chosen=chosen)
    hushed = np.where(quiet[told.moment], arm == SILENCE, np.insert(target, places, 0))
    found = evaluate(replace(told, probability=np.where(quiet, np.nan, log.probability)), hushed)
    assert isinstance(found, Evaluation)
    half, alone = told.of(~quiet), evaluate(log.of(~quiet), target[~quiet[log.moment]])
    assert isinstance(alone, Evaluation)
    assert half.reward.sum() == log.reward[~quiet].sum()
    assert (half.arm[half.chosen] == log.arm[log.chosen][~quiet]).all()
    assert found.ips.value == pytest.approx(alone.ips.value / 2)
    assert found.speaking == pytest.approx(alone.speaking)
    assert found.difference.value == pytest.approx(found.doubly_robust.value - log.reward.mean())
    assert found.difference.low < found.difference.value < found.difference.high


def test_the_reward_model_never_saw_whom_it_speaks_of() -> None:
    """Cross-fitting: another reward changes what is expected of others, and nothing of the subscriber's own."""
    log = logged(1, 2_000, each=4).log
    more = log.reward.copy()
    more[log.subscriber == 7] = 1000
    before, after = expected_rewards(log), expected_rewards(replace(log, reward=more))
    own = log.subscriber[log.moment] == 7
    assert own.sum() == 24
    assert np.array_equal(before[own], after[own])
    assert 0.4 < np.mean(before != after) < 0.6
    truly_better = np.corrcoef(before[log.chosen], log.reward)[0, 1]
    assert truly_better > 0.05


def said(log: Log, target: Any) -> str:
    found = evaluate(log, target)
    assert isinstance(found, Refused)
    return found.why


def test_what_was_not_drawn_is_refused() -> None:
    log, target, _ = logged(1)
    unknown = log.probability.copy()
    unknown[:7] = np.nan
    assert "7 of 10000 moments have no probability of their choice" in said(replace(log, probability=unknown), target)


def test_too_little_overlap_is_refused_in_words() -> None:
    log, target, _ = logged(1, explored=0.02)
    why = said(log, target)
    assert "did too little of what the target policy would do" in why
    assert "35 are needed. Explore more, take more moments, or change less at once" in why
    same = replace(logged(1).log, subscriber=np.arange(len(log)) % 30)
    assert "its 30 subscribers say as much as" in said(same, target)
    assert "no moments" in said(log_of([], []), np.array([]))


def test_what_could_not_have_been_said_is_refused() -> None:
    """Half of the moments were not drawn but decided, and logged as if drawn with certainty."""
    log, target, _ = logged(1, 20_000, explored=1.0, accepted=0.1)
    decided = np.arange(len(log)) % 2 == 0
    fixed = replace(
        log,
        chosen=np.where(decided, log.first[:-1], log.chosen),
        probability=np.where(decided, 1.0, log.probability),
    )
    assert "some of what the target policy would say was never said by chance" in said(fixed, target)
    halved = replace(log, probability=log.probability / 2)
    assert said(halved, target).endswith("the logged probabilities are wrong")


def test_a_target_that_is_no_policy_is_an_error() -> None:
    log, target, _ = logged(1, 200)
    with pytest.raises(ValueError, match="do not sum to 1"):
        evaluate(log, target * 0.9)
    with pytest.raises(ValueError, match="above 0"):
        evaluate(replace(log, probability=np.zeros(len(log))), target)


def log_of(arms: list[list[int]], chosen: list[int], subscriber: list[int] | None = None) -> Log:
    first = np.cumsum([0, *map(len, arms)])
    flat = np.array([arm for each in arms for arm in each], np.int64)
    ones = np.ones(len(arms))
    who = np.arange(len(arms)) if subscriber is None else np.array(subscriber)
    return Log(who, first, flat, np.zeros((len(flat), 1)), first[:-1] + np.array(chosen, int), ones, ones)


def test_who_would_have_got_what() -> None:
    log = log_of([[3, 5], [3, 5], [5], [3, 5]], [0, 0, 0, 1], [1, 1, 2, 3])
    target = np.array([0, 1, 0, 1, 1, 1, 0], float)
    assert changes(log, target) == [Change(3, 5, 2, 1), Change(5, 3, 1, 1), Change(5, 5, 1, 1)]
    drawn = np.array([0.5, 0.5, 0.5, 0.5, 1, 1, 0], float)
    assert changes(log, drawn)[:2] == [Change(3, 3, 1, 0.75), Change(3, 5, 1, 0.75)]


def test_the_interval_of_a_mean_leans_to_where_the_rare_rewards_are() -> None:
    """Against the normal one: as wide where the data are plain, and further up than down where a few carry it."""
    chance = np.random.default_rng(3)
    plain = chance.normal(10, 1, 5000)
    found, reach = ratio(plain, np.ones(5000)), 1.96 * plain.std() / 5000**0.5
    assert found.low == pytest.approx(plain.mean() - reach, abs=reach / 50)
    assert found.high == pytest.approx(plain.mean() + reach, abs=reach / 50)
    rare = (np.arange(5000) < 20).astype(float)
    found = ratio(rare, np.ones(5000))
    assert found.high - found.value > 1.3 * (found.value - found.low)
    assert found.low > 0
