"""The survivors of a whole batch as columns: what is scored and arbitrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Pairs:
    """One row for each (moment, arm, channel) that may be said, ordered by moment.

    `moment` and `arm` are int32 indices into the batch and the program's arms, `channel` into the program's channels,
    `propensity` (0..1) and `priority` float64.
    """

    moment: NDArray[np.int32]
    arm: NDArray[np.int32]
    channel: NDArray[np.int32]
    propensity: NDArray[np.float64]
    priority: NDArray[np.float64]
