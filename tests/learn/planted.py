"""Moments and answers with a taste that is known: what the tests of the learner judge by."""

from __future__ import annotations

import numpy as np

from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.domain.subscriber import SCHEMA, State
from kairos.learn import Learner, Variant, learn_features
from kairos.rules import Names

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_767_225_600_000
WINDOW = DAY
NAMES: Names = {
    "balance": "money",
    "device": "text",
    "known": "boolean",
    "seen_at": "time",
    "now": "time",
    "local": "time",
}
ARMS = [
    Variant(f"offer/{content}_{size}", content, size, price, validity)
    for content in ("data", "music")
    for size, price, validity in ((500.0, 1.0, 1.0), (2000.0, 4.0, 7.0), (5000.0, 9.0, 30.0))
]
NOBODY = State(SCHEMA, 1, "", "", 0)


def moments(draw: np.random.Generator, many: int, start: int = START, first: int = 1) -> list[Moment]:
    """A minute apart; a tenth of what can be unknown is."""
    made = []
    for place in range(many):
        now = start + place * 60_000
        balance = None if draw.random() < 0.1 else int(draw.integers(5000))
        device = None if draw.random() < 0.1 else ("phone", "tablet", "button")[draw.integers(3)]
        row = (balance, device, bool(draw.random() < 0.5), now - int(draw.integers(DAY)), now, now)
        made.append(Moment(first + place, "", "end_of_call", now, now, row, NOBODY, True))
    return made


def liking(moment: Moment, arm: int) -> float:
    """The planted taste: tablets like music, the rich like what is dear, and the two together double it."""
    rich = bool((moment.row[0] or 0) > 2500)
    fits = (ARMS[arm].content == "music") == bool(moment.row[1] == "tablet")
    dear = (ARMS[arm].price > 3) == rich
    return 0.02 + 0.1 * fits + 0.1 * dear + 0.2 * (fits and dear)


def learner(draw: np.random.Generator) -> Learner:
    return Learner(learn_features(NAMES, moments(draw, 1000)), ARMS, WINDOW, 90 * DAY)


def tell(learner: Learner, draw: np.random.Generator, many: int, start: int = START, first: int = 1) -> list[int]:
    """Offer arms at random, and answer by the planted taste an hour later; the ids that were taken."""
    some, arms = moments(draw, many, start, first), draw.integers(len(ARMS), size=many)
    levels = learner.features.levels(some)
    taken = []
    for moment, level, arm in zip(some, levels, arms.tolist(), strict=True):
        learner.answers.offer(np.array([moment.id]), level[None], np.array([arm]), np.array([0.2]), moment.now)
        learner.answers.deliver(moment.id, moment.now)
        if draw.random() < liking(moment, arm):
            learner.answers.take(moment.id, moment.now + HOUR)
            taken.append(moment.id)
    return taken


def all_pairs(count: int, arms: int = len(ARMS)) -> Pairs:
    moment = np.repeat(np.arange(count, dtype=np.int32), arms)
    arm = np.tile(np.arange(arms, dtype=np.int32), count)
    nothing = np.zeros(len(arm))
    return Pairs(moment, arm, np.zeros(len(arm), np.int32), nothing, nothing)
