"""How long the latest batches took, step by step: what `kairos status` shows."""

from __future__ import annotations

from collections import deque

KEPT = 1000  # batches


class Timings:
    """Milliseconds of the latest batches.

    `happened`: from an event to its decision; `deciding`: one batch in the engine; `committing`: from there to the end
    of its transaction, with those before it; `answering`: the longest wait of a batch, from its arrival to its answer.
    """

    __slots__ = ("answering", "committing", "deciding", "happened")

    def __init__(self) -> None:
        self.happened: deque[float] = deque(maxlen=KEPT)
        self.deciding: deque[float] = deque(maxlen=KEPT)
        self.committing: deque[float] = deque(maxlen=KEPT)
        self.answering: deque[float] = deque(maxlen=KEPT)

    def figures(self) -> dict[str, dict[str, float]]:
        """Median, 99th percentile and the longest of each that was measured, in ms.

        >>> timings = Timings()
        >>> timings.deciding.extend([1.0, 2.0, 9.0])
        >>> timings.figures()
        {'deciding': {'p50': 2.0, 'p99': 9.0, 'most': 9.0}}
        """
        found = {name: sorted(getattr(self, name)) for name in ("happened", "answering", "deciding", "committing")}
        return {
            name: {"p50": _at(times, 0.5), "p99": _at(times, 0.99), "most": round(times[-1], 3)}
            for name, times in found.items()
            if times
        }


def _at(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)
