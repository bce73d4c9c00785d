"""A smoke test on real clicks: the sample of the Open Bandit Dataset (Saito et al., 2020) that PyPI's `obp` packages.

Items of a shop were shown by chance, and in the same week by Bernoulli Thompson sampling. The first log is asked what
the second's shares of items would have earned. Only CSV files are read: the package itself needs torch.
"""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kairos.evaluate import Evaluation, Log, Refused, evaluate, ratio

Floats = NDArray[np.float64]
SPEC = find_spec("obp")
SAMPLE = Path(SPEC.origin or "").parent / "dataset" / "obd" if SPEC else None
CAMPAIGNS = ("all", "men", "women")

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        SAMPLE is None or not (SAMPLE / "bts/all/all.csv").exists(),
        reason="the Open Bandit sample is not here: pip install --no-deps obp",
    ),
]


def shown(policy: str, campaign: str) -> NDArray[np.float64]:
    """Item, click, and the probability of the item: by impression."""
    assert SAMPLE
    with (SAMPLE / policy / campaign / f"{campaign}.csv").open(encoding="utf-8", newline="") as file:
        rows = [[row["item_id"], row["click"], row["propensity_score"]] for row in csv.DictReader(file)]
    return np.array(rows, np.float64).T


def log_of(policy: str) -> tuple[Log, Floats]:
    """All campaigns, one after the other, each with its own items; and how often each item was shown there."""
    arms, sizes, chosen, probability, reward, shares = [], [], [], [], [], []
    for place, campaign in enumerate(CAMPAIGNS):
        item, click, chance = shown(policy, campaign)
        items = int(item.max()) + 1
        sizes.append(np.full(len(item), items))
        arms.append(np.tile(100 * place + np.arange(items), len(item)))
        chosen.append(item)
        probability.append(chance)
        reward.append(click)
        shares.append(np.tile(np.bincount(item.astype(int)) / len(item), len(item)))
    first = np.concatenate([[0], np.concatenate(sizes).cumsum()])
    arm, places = np.concatenate(arms), np.concatenate(chosen).astype(np.int64) + first[:-1]
    nothing = np.zeros((len(arm), 0))
    log = Log(np.arange(len(places)), first, arm, nothing, places, np.concatenate(probability), np.concatenate(reward))
    return log, np.concatenate(shares)


def test_clicks_of_thompson_sampling_are_told_from_the_log_of_random_choices() -> None:
    (log, _), (learned, shares) = log_of("random"), log_of("bts")
    earned = ratio(learned.reward, np.ones(len(learned)))
    found = evaluate(log, shares)
    assert isinstance(found, Evaluation), found
    for one in (found.ips, found.snips, found.doubly_robust):
        assert one.low < earned.high
        assert earned.low < one.high
        assert 0.003 < one.value < 0.009
    assert 0 < found.speaking < len(log)


def test_what_hardly_overlaps_is_refused() -> None:
    """The other way round: Thompson sampling had nearly stopped showing most items."""
    (log, _), (_, shares) = log_of("bts"), log_of("random")
    found = evaluate(log, shares)
    assert isinstance(found, Refused), found
    assert "did too little of what the target policy would do" in found.why
