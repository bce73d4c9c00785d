"""Real customers: a churn propensity through the same features, beside gradient boosting (scikit-learn)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from tests.learn.planted import DAY, NOBODY, START, all_pairs

from kairos.domain.moment import Moment
from kairos.learn import LearnedPropensity, Learner, Variant, learn_features
from kairos.rules import Names

ensemble = pytest.importorskip("sklearn.ensemble")
metrics = pytest.importorskip("sklearn.metrics")

FOLDS = 5
CHURN = [Variant("churn")]


def customers() -> list[tuple[float, ...]]:
    """UCI's Iranian churn data (CC BY 4.0), each customer once; the last figure says who churned."""
    for folder in Path(__file__).resolve().parents:
        if (file := folder.parent / "shared/data/iranian_churn_uci.csv").exists():
            with file.open(newline="") as lines:
                return list(dict.fromkeys(tuple(map(float, line)) for line in list(csv.reader(lines))[1:]))
    pytest.skip("../shared/data/iranian_churn_uci.csv is not there")


def test_churn_is_told_about_as_well_as_by_boosting() -> None:
    table = np.array(customers())
    assert len(table) < 3150
    table = table[np.random.default_rng(1).permutation(len(table))]
    ours, boosted = np.zeros(len(table)), np.zeros(len(table))
    for fold in range(FOLDS):
        held = np.arange(len(table)) % FOLDS == fold
        known, asked = table[~held], table[held]
        ours[held] = chances(known, asked)
        model = ensemble.HistGradientBoostingClassifier(random_state=0).fit(known[:, :-1], known[:, -1])
        boosted[held] = model.predict_proba(asked[:, :-1])[:, 1]
    churned = table[:, -1]
    assert metrics.roc_auc_score(churned, ours) >= metrics.roc_auc_score(churned, boosted) - 0.02


def chances(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    moments = [
        Moment(i + 1, "", "", START, START, tuple(row[:-1]), NOBODY, False) for i, row in enumerate(known.tolist())
    ]
    names: Names = {f"column_{place}": "number" for place in range(known.shape[1] - 1)}
    learner = Learner(learn_features(names, moments), CHURN, DAY, 365 * DAY)
    ids, none = np.arange(1, len(known) + 1), np.zeros(len(known))
    learner.answers.offer(ids, learner.features.levels(moments), none.astype(int), none, START)
    for id, churned in zip(ids.tolist(), known[:, -1].tolist(), strict=True):  # noqa: A001
        learner.answers.deliver(id, START)
        if churned:
            learner.answers.take(id, START + 1)
    scorer = LearnedPropensity(learner.afresh(START + DAY), CHURN, explore=0)
    fresh = [Moment(i, "", "", START, START, tuple(row[:-1]), NOBODY, False) for i, row in enumerate(asked.tolist())]
    return scorer.score(all_pairs(len(fresh), 1), fresh)
