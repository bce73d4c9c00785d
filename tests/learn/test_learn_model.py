"""The learner: it finds a planted taste, forgets what is undone, and its versions score the same for ever."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tests.learn.planted import ARMS, DAY, HOUR, START, all_pairs, learner, liking, moments, tell

from kairos.learn import LearnedPropensity, Learner, Variant, freeze, on_channels, thaw
from kairos.ports import Scorer

MANY = 6000
LATER = START + 20 * DAY
ALIKE = 0.1  # by how much of itself a chance may differ when the search began elsewhere


@pytest.fixture(scope="module")
def taught() -> Learner:
    draw = np.random.default_rng(1)
    made = learner(draw)
    tell(made, draw, MANY)
    for _ in range(3):
        made.publish(LATER)
    return made


@pytest.fixture(scope="module")
def scorer(taught: Learner) -> LearnedPropensity:
    return LearnedPropensity(taught.publish(LATER), ARMS, seed=5, explore=1.0)


def means(model: LearnedPropensity, count: int = 300) -> np.ndarray:
    some = moments(np.random.default_rng(9), count, LATER)
    return LearnedPropensity(model.content, ARMS, explore=0).score(all_pairs(count), some).reshape(count, -1)


def test_a_planted_taste_is_learned_with_its_interaction(scorer: LearnedPropensity) -> None:
    some = moments(np.random.default_rng(9), 300, LATER)
    truth = np.array([[liking(moment, arm) for arm in range(len(ARMS))] for moment in some])
    chosen = means(scorer).argmax(axis=1)
    way = (truth[np.arange(300), chosen].mean() - truth.mean()) / (truth.max(axis=1).mean() - truth.mean())
    assert way > 0.9
    assert np.corrcoef(means(scorer).ravel(), truth.ravel())[0, 1] > 0.9
    assert scorer.content.pairs  # the two together


def test_it_is_a_scorer_and_gives_probabilities(scorer: LearnedPropensity) -> None:
    port: Scorer = scorer
    scores = port.score(all_pairs(40), moments(np.random.default_rng(2), 40))
    assert scores.dtype == np.float64
    assert scores.shape == (40 * len(ARMS),)
    assert ((scores > 0) & (scores < 1)).all()
    assert port.score(all_pairs(0), []).shape == (0,)


def test_a_score_does_not_depend_on_the_batch(scorer: LearnedPropensity) -> None:
    some = moments(np.random.default_rng(3), 64)
    whole = scorer.score(all_pairs(64), some).reshape(64, -1)
    for size in (1, 7):
        for first in range(0, 64, size):
            part = some[first : first + size]
            alone = scorer.score(all_pairs(len(part)), part).reshape(len(part), -1)
            np.testing.assert_allclose(alone, whole[first : first + size], rtol=1e-4)


def test_exploration_is_keyed_by_seed_decision_and_arm(scorer: LearnedPropensity) -> None:
    some, pairs = moments(np.random.default_rng(3), 2), all_pairs(2)
    again = LearnedPropensity(scorer.content, ARMS, seed=5)
    assert (again.score(pairs, some) == scorer.score(pairs, some)).all()
    other = LearnedPropensity(scorer.content, ARMS, seed=6)
    assert (other.score(pairs, some) != scorer.score(pairs, some)).all()
    some[0].id = some[1].id + 1
    assert (
        scorer.score(pairs, some).reshape(2, -1)[0]
        != again.score(pairs, moments(np.random.default_rng(3), 2)).reshape(2, -1)[0]
    ).all()


def test_a_version_comes_back_from_its_bytes(scorer: LearnedPropensity) -> None:
    frozen = freeze(scorer.content)
    back = LearnedPropensity(thaw(frozen), ARMS, seed=5)
    some = moments(np.random.default_rng(4), 50)
    assert (back.score(all_pairs(50), some) == scorer.score(all_pairs(50), some)).all()
    assert back.version == scorer.version
    assert freeze(back.content) == frozen
    newer = msgspec.structs.replace(scorer.content, schema=99)
    with pytest.raises(msgspec.ValidationError, match="schema 99"):
        thaw(freeze(newer))


def test_a_version_does_not_change_when_more_is_learned() -> None:
    draw = np.random.default_rng(6)
    made = learner(draw)
    tell(made, draw, 500)
    first = LearnedPropensity(made.publish(START + DAY), ARMS)
    before, named = means(first), first.version
    tell(made, draw, 500, START + DAY, first=10_000)
    second = LearnedPropensity(made.publish(START + 2 * DAY), ARMS)
    assert (means(first) == before).all()
    assert second.version != named == LearnedPropensity(first.content, ARMS).version


def test_what_is_undone_leaves_no_trace() -> None:
    """Learned on, within `ALIKE` once widths have settled and where the same pairs count; afresh, to the last bit."""
    more, never = learner(np.random.default_rng(7)), learner(np.random.default_rng(7))
    for one in (more, never):
        tell(one, np.random.default_rng(8), 3000)
    for _ in range(12):
        settled = means(LearnedPropensity(more.publish(START + 3 * DAY), ARMS))
    assert tell(more, np.random.default_rng(11), 60, START + 2 * DAY + 2 * HOUR, first=50_000)
    with_more = means(LearnedPropensity(more.publish(START + 3 * DAY), ARMS))
    for id in range(50_000, 50_060):  # noqa: A001
        more.answers.undo(id)
    undone = means(LearnedPropensity(more.publish(START + 3 * DAY), ARMS))
    assert np.abs(with_more / settled - 1).max() > 2 * ALIKE
    assert np.abs(undone / settled - 1).max() < ALIKE
    afresh, untouched = (LearnedPropensity(one.afresh(START + 3 * DAY), ARMS) for one in (more, never))
    assert (means(afresh) == means(untouched)).all()


def test_a_new_variant_starts_from_its_likes(scorer: LearnedPropensity) -> None:
    """Dear music that nobody was ever offered: liked by who likes both."""
    new = [Variant("new/music", "music", 3000.0, 6.0, 14.0), Variant("new/data", "data", 600.0, 1.2, 1.0)]
    extended = LearnedPropensity(scorer.content, [*ARMS, *new], explore=0)
    some = moments(np.random.default_rng(9), 600, LATER)
    scores = extended.score(all_pairs(600, len(ARMS) + 2), some).reshape(600, -1)
    rich_tablets = np.array([m.row[1] == "tablet" and (m.row[0] or 0) > 2500 for m in some])
    assert scores[rich_tablets, -2].mean() > 3 * scores[~rich_tablets, -2].mean()
    assert scores[rich_tablets, -1].mean() < scores[~rich_tablets, -1].mean()
    _, deviation = extended.belief(all_pairs(600, len(ARMS) + 2), scorer.content.features.levels(some))
    known, unknown = deviation.reshape(600, -1)[:, 0].mean(), deviation.reshape(600, -1)[:, -2].mean()
    assert known > 0
    assert unknown > 0


def test_tastes_that_change_at_once_are_noticed_and_learned_anew() -> None:
    draw = np.random.default_rng(12)
    made = learner(draw)
    tell(made, draw, MANY)
    made.publish(START + 10 * DAY)
    assert made.since == 0
    levels = made.features.levels(moments(draw, 3000, START + 20 * DAY, 20_000))
    ids = np.arange(20_000, 23_000)
    made.answers.offer(ids, levels, draw.integers(len(ARMS), size=3000), np.full(3000, 0.12), START + 20 * DAY)
    for id in ids.tolist():  # noqa: A001
        made.answers.deliver(id, START + 20 * DAY)
    made.publish(START + 22 * DAY)  # nobody said yes any more
    assert made.since == START + 20 * DAY
    assert means(LearnedPropensity(made.publish(START + 22 * DAY), ARMS)).mean() < 0.03


def test_the_probability_of_a_choice_is_how_often_it_is_made(scorer: LearnedPropensity) -> None:
    """Over decisions that differ in nothing but their ids; an arm on two channels counts once."""
    one, worth, many = moments(np.random.default_rng(4), 1)[0], np.array([3.0, 1.5, 1.0, 2.0, 1.2, 1.0]), 4000
    alike = [msgspec.structs.replace(one, id=place) for place in range(many)]
    pairs = all_pairs(many)
    arms = (scorer.score(pairs, alike) * worth[pairs.arm]).reshape(many, -1).argmax(axis=1)
    share = np.bincount(arms, minlength=len(ARMS)) / many
    twice = all_pairs(2, 2 * len(ARMS))
    twice.arm, twice.channel = twice.arm // 2, (twice.arm % 2).astype(np.int32)
    on_two = LearnedPropensity(scorer.content, ARMS, 5, channels=("", "sms"))
    chances = on_two.choice_probabilities(twice, alike[:2], worth).reshape(2, len(ARMS), 2)
    assert (chances[..., 1] == 0).all()
    np.testing.assert_allclose(chances.sum(axis=(1, 2)), 1)
    np.testing.assert_allclose(chances[0, :, 0], share, atol=4 * np.sqrt(0.25 / many))


def test_channels_are_told_apart() -> None:
    """An arm is taken twice as often on one channel as on the other."""
    draw, channels = np.random.default_rng(14), ("notification", "sms")
    arms = on_channels(ARMS, channels)
    made = Learner(learner(draw).features, arms, DAY, 90 * DAY)
    levels, place = made.features.levels(moments(draw, 4000)), draw.integers(len(arms), size=4000)
    made.answers.offer(np.arange(4000), levels, place, np.full(4000, 0.15), START)
    for id, at in enumerate(place.tolist()):  # noqa: A001
        made.answers.deliver(id, START)
        if draw.random() < (0.1 if at < len(ARMS) else 0.2):
            made.answers.take(id, START + HOUR)
    scorer = LearnedPropensity(made.afresh(START + 2 * DAY), ARMS, explore=0, channels=channels)
    pairs, some = all_pairs(100), moments(draw, 100, LATER)
    one = scorer.score(pairs, some).mean()
    pairs.channel = np.ones(len(pairs.arm), np.int32)
    assert 1.5 < scorer.score(pairs, some).mean() / one < 2.6
