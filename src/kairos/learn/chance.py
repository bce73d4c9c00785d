"""Chance that is an argument: numbers that depend on a seed, a decision and an arm, and on nothing else."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))

Keys = NDArray[np.uint64]


def keyed_normal(seed: int, decision: NDArray[Any], arm: NDArray[Any]) -> NDArray[np.float64]:
    """A standard normal number for each decision and arm.

    >>> one, two = keyed_normal(7, np.array([1, 2]), np.array([3, 3])), keyed_normal(7, np.array([2]), np.array([3]))
    >>> bool(one[1] == two[0])
    True
    """
    key = _mixed(
        _mixed(_mixed(np.array([seed]).astype(np.uint64)) ^ decision.astype(np.uint64)) ^ arm.astype(np.uint64)
    )
    first, second = _uniform(key), _uniform(_mixed(key))
    normal: NDArray[np.float64] = np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)  # Box and Muller 1958
    return normal


def _mixed(key: Keys) -> Keys:
    """One step of SplitMix64 (Steele, Lea and Flood 2014)."""
    key = key + _STEP
    key = (key ^ (key >> np.uint64(30))) * _MIX[0]
    key = (key ^ (key >> np.uint64(27))) * _MIX[1]
    return key ^ (key >> np.uint64(31))


def _uniform(key: Keys) -> NDArray[np.float64]:
    """From 0 to less than 1."""
    return (key >> np.uint64(11)).astype(np.float64) / 2**53
