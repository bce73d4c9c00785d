"""What the engine counted since it started: for metrics and the live view."""

from __future__ import annotations

from collections import Counter

import numpy as np

from kairos.decide.program import Program
from kairos.domain.decision import Decision


class Statistics:
    """Counts by name. Failed rules are gathered as bitmaps and added up in columns when somebody asks."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self._failed: list[bytes] = []
        self._program: Program | None = None

    def count(self, what: str, test: bool) -> None:
        """One more of it; of a test subscriber's it is counted apart."""
        self.counts[f"test_{what}" if test else what] += 1

    def decided(self, program: Program, decision: Decision) -> None:
        if decision.test:
            self.counts["test_decisions"] += 1
            return
        if program is not self._program or len(self._failed) >= 4096:
            self._add_up()
            self._program = program
        self.counts["decisions"] += 1
        self.counts["chosen"] += decision.chosen is not None
        for shut in decision.gates:
            self.refusals[shut.rule] += 1
        if decision.failed:
            self._failed.append(decision.failed)
        for refusal in decision.limits:
            self.refusals[refusal.rule] += 1

    def reasons(self) -> dict[str, int]:
        """How often each gate closed, and each rule and limit refused something, the most frequent first."""
        self._add_up()
        return dict(self.refusals.most_common())

    def _add_up(self) -> None:
        if self._failed and self._program:
            width = max(map(len, self._failed))
            joined = b"".join(bitmap.ljust(width, b"\0") for bitmap in self._failed)
            rows = np.frombuffer(joined, np.uint8).reshape(len(self._failed), width)
            sums = np.unpackbits(rows, axis=1, bitorder="little").sum(axis=0).tolist()
            names = {number: rule.name for arm in self._program.reasons for number, rule in arm}
            for number, name in names.items():  # variants have rules of one name and conditions of their own
                self.refusals[name] += sums[number] if number < len(sums) else 0
        self._failed = []
