"""Trouble that lasts: the log has it when it begins, changes and ends, not each time that it is met."""

from __future__ import annotations

from typing import Any

from kairos.ports import Outcome


class Trouble:
    """What is wrong with one counterpart. `about`: which it is; without words for its end, that is not told."""

    def __init__(self, log: Any, begins: str, ends: str = "", **about: str) -> None:
        self._log, self._begins, self._ends, self._about = log, begins, ends, about
        self._reason = ""

    def now(self, reason: str) -> None:
        """What is wrong by now; an empty text: nothing is."""
        if not self.changes(reason):
            return
        if reason:
            self._log.warning(self._begins, **self._about, reason=reason)
        elif self._ends:
            self._log.info(self._ends, **self._about)

    def changes(self, reason: str) -> bool:
        """The same for whoever tells it in words of their own: whether it is to be told."""
        before, self._reason = self._reason, reason
        return reason != before

    def noted(self, found: Outcome) -> Outcome:
        """What came of an attempt, as it is: a yes, and a no for good, end the trouble."""
        self.now(found.reason if found.status in ("retry", "unknown") else "")
        return found
