"""One propensity for everything: arbitration is then by value and weight alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.learn.choice import EXACT, equals_share


class FixedPropensity:
    """A Scorer without a model. `value` is a probability, 0..1; else ValueError.

    >>> FixedPropensity().version
    'fixed-0.05'
    """

    method, error = EXACT, 0.0

    def __init__(self, value: float = 0.05) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"a propensity is between 0 and 1, not `{value}`")
        self.value = value
        self.version = f"fixed-{value:g}"

    def score(self, pairs: Pairs, moments: Sequence[Moment]) -> NDArray[np.float64]:  # noqa: ARG002
        """float64, one for each row of `pairs`."""
        return np.full(len(pairs.moment), self.value, np.float64)

    def choice_probabilities(
        self,
        pairs: Pairs,
        moments: Sequence[Moment],  # noqa: ARG002
        worth: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """For each row of `pairs` how likely arbitration by `worth` (by arm) puts it first: the best arms share."""
        return equals_share(pairs, worth[pairs.arm] * self.value) if len(pairs.moment) else np.zeros(0)
