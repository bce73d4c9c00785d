"""Why a model expects a yes, or does not: what each column of the moment adds."""

from __future__ import annotations

from typing import Final

import numpy as np

from kairos.domain.moment import Moment
from kairos.learn.interactions import with_pairs
from kairos.learn.model import Version
from kairos.learn.variants import Variant

AT_MOST: Final = 3


def reasons(version: Version, moment: Moment, variant: Variant, at_most: int = AT_MOST) -> list[tuple[str, float]]:
    """The columns that count most for this moment and variant, the strongest first; what each adds to the log-odds.

    Tests are measured from their average, so this is what sets the subscriber apart from the average one: below zero
    it speaks against a yes. Of two columns that count together, each has half. By the mean of what the model believes.
    """
    features = version.features
    alone = features.tests(features.levels([moment]))
    pairs = np.array(version.pairs, np.int32).reshape(-1, 2)
    taste = version.table(version.mean) @ version.traits.weights([variant])[0]
    parts = with_pairs(alone, pairs)[0] * taste
    sources = features.sources()
    added = np.zeros(len(features.columns))
    np.add.at(added, sources[1:], parts[1 : alone.shape[1]])
    for side in (0, 1):
        np.add.at(added, sources[pairs[:, side]], parts[alone.shape[1] :] / 2)
    strongest = np.argsort(-np.abs(added), kind="stable")[:at_most].tolist()
    return [(features.columns[at].name, float(added[at])) for at in strongest if abs(added[at]) >= 0.01]
