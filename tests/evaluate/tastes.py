"""Subscribers whose tastes are known, so that the true value of a policy is: logged choices, and a policy to judge."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kairos.evaluate import Log

Floats = NDArray[np.float64]
ARMS, TRAITS = 12, 4


class Logged(NamedTuple):
    log: Log
    target: Floats
    value: float  # the target's, for these very moments


def logged(
    seed: int, moments: int = 10_000, *, accepted: float = 0.03, explored: float = 0.5, allowed: int = 6, each: int = 1
) -> Logged:
    """A log of a policy that is greedy by wrong tastes and explores; the target is greedy by others, less wrong.

    `accepted` is the chance of a yes to the middle arm, in all somewhat more; `each` the moments of one subscriber. The
    tastes are always the same.
    """
    always = np.random.default_rng(1)
    tastes = always.normal(0, 0.35, (ARMS, TRAITS))
    liked = np.log(accepted) + always.normal(0, 0.35, ARMS)
    worth = always.uniform(0.5, 5, ARMS)
    believed, hoped = (tastes + always.normal(0, error, tastes.shape) for error in (0.3, 0.2))
    chance = np.random.default_rng(seed)
    traits = chance.normal(size=(moments, TRAITS))
    arm = np.argpartition(chance.random((moments, ARMS), np.float32), allowed - 1, 1)[:, :allowed]

    def yes(taste: Floats) -> Floats:
        likes = np.take_along_axis(traits @ taste.T + liked, arm, 1)
        chances: Floats = 1 / (1 + np.exp(-likes))
        return chances

    rows = np.arange(moments)
    logging = np.full((moments, allowed), explored / allowed)
    logging[rows, (yes(believed) * worth[arm]).argmax(1)] += 1 - explored
    target = np.zeros((moments, allowed))
    target[rows, (yes(hoped) * worth[arm]).argmax(1)] = 1
    chosen = (logging.cumsum(1) > chance.random((moments, 1))).argmax(1)
    truly = yes(tastes)
    said_yes = chance.random(moments) < truly[rows, chosen]
    score = yes(believed).ravel()
    log = Log(
        subscriber=rows // each,
        first=np.arange(moments + 1) * allowed,
        arm=arm.ravel(),
        features=np.column_stack([score, worth[arm].ravel(), score * worth[arm].ravel(), traits.repeat(allowed, 0)]),
        chosen=rows * allowed + chosen,
        probability=logging[rows, chosen],
        reward=said_yes * worth[arm[rows, chosen]],
    )
    return Logged(log, target.ravel(), float((truly * worth[arm] * target).sum(1).mean()))
