"""What was decided and what came of it, as a model learns it: from the store's own records, in any number of sittings.

Whoever learns reads beside the engine and takes nothing from it. After a restart the same records make the same
lessons, so nothing of a model but its versions is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Protocol

import numpy as np

from kairos.decide import as_agreed, moment_of
from kairos.domain.decision import Decision, read_decision
from kairos.domain.inputs import Response
from kairos.domain.moment import Moment
from kairos.engine.program import Program
from kairos.learn import BROUGHT, Learner, Version, learn_features, on_channels, variants_of

SAMPLE: Final = 2000  # moments from which features are cut; before so many nothing is published

# What a response tells a model. An offer that expired unanswered is none: its window tells.
TAKEN: Final = frozenset({"accepted", "redeemed", "fulfilled"})
UNDONE: Final = frozenset({"dropped", "stopped", "reversed", "refunded"})


class History(Protocol):
    """What was decided and what came of it; each call gives what is new since the one before."""

    def decisions(self) -> list[bytes]:
        """The next page of records, in their order; empty: no more."""

    def arrivals(self, now: int) -> list[tuple[int, int]]:
        """Decisions whose message has come to an end by `now`, and when it arrived (ms; 0: it never will)."""

    def responses(self) -> list[Response]:
        """The next page, in their order; empty: no more."""


class Lessons:
    """Lessons for the arms of `program`. `old` gives the program of an earlier revision, or None where it is gone.

    `window` and `half_life` (ms): how long a yes may take, and how fast an answer fades.
    """

    def __init__(
        self, program: Program, window: int, half_life: int, old: Callable[[str], Program | None] = lambda _: None
    ) -> None:
        self.program, self.window, self.half_life = program, window, half_life
        self.learner: Learner | None = None
        self._arms = {arm.name: arm.bit for arm in program.decide.arms}
        self._channels = {name: place for place, name in enumerate(program.decide.channels)}
        self._old = lru_cache(maxsize=16)(old)
        self._sample: list[tuple[Moment, int, float]] = []

    def hear(self, history: History, now: int) -> None:
        """All that is new in a store's records at `now` (ms).

        What came of offers is read when there is somebody to tell, and before the last of the decisions: then every
        decision that it speaks of is known.
        """
        self._hear_decisions(history)
        if self.learner is None:
            return
        arrivals = history.arrivals(now)
        responses = [response for page in iter(history.responses, []) for response in page]
        self._hear_decisions(history)
        for decision, at in arrivals:
            if at:
                self.sent(decision, at)
            else:
                self.came_to_nothing(decision)
        for response in responses:
            self.answered(response)

    def _hear_decisions(self, history: History) -> None:
        while records := history.decisions():
            self.decided(records)

    def decided(self, records: Iterable[bytes]) -> None:
        """Decision records, in their order. Those of test subscribers, and without an offer, teach nothing."""
        moments: list[Moment] = []
        arms: list[int] = []
        chances: list[float] = []
        for blob in records:
            decision = read_decision(blob)
            place = self._place(decision)
            if place is not None:
                moments += as_agreed(self.program.decide, [moment_of(decision)])
                arms.append(place)
                chances.append(_chance(decision))
        if self.learner is None:
            self._sample += zip(moments, arms, chances, strict=True)
            if len(self._sample) < SAMPLE:
                return
            moments, arms, chances = (list(column) for column in zip(*self._sample, strict=True))
            self._sample = []
            self._begin(moments)
        if moments:
            self._offer(moments, arms, chances)

    def sent(self, decision: int, at: int) -> None:
        """The handset has it."""
        if self.learner:
            self.learner.answers.deliver(decision, at)

    def came_to_nothing(self, decision: int) -> None:
        if self.learner:
            self.learner.answers.undo(decision)

    def answered(self, response: Response) -> None:
        """One response, in their order."""
        if self.learner is None or response.test:
            return
        answers = self.learner.answers
        if response.outcome in TAKEN:
            answers.deliver(response.decision, response.at)  # who says yes has read it, whatever receipts say
            answers.take(response.decision, response.at)
        elif response.outcome == "bought":
            answers.buy(response.decision, response.at)
        elif response.outcome == "declined":
            answers.deliver(response.decision, response.at)
            answers.decline(response.decision)
        elif response.outcome in UNDONE:
            answers.undo(response.decision)

    def publish(self, now: int) -> Version | None:
        """A version from all that is known; None before there is enough to cut features from."""
        return self.learner.publish(now) if self.learner else None

    def _begin(self, moments: list[Moment]) -> None:
        features = learn_features(self.program.playbook.vocabulary.names, moments)
        variants = on_channels(variants_of(self.program.playbook), self.program.decide.channels)
        self.learner = Learner(features, variants, self.window, self.half_life)

    def _offer(self, moments: list[Moment], arms: list[int], chances: list[float]) -> None:
        assert self.learner is not None
        levels = self.learner.features.levels(moments)
        for start in range(0, len(moments), 500):
            part = slice(start, start + 500)
            ids = np.array([moment.id for moment in moments[part]], np.int64)
            at = moments[min(start + 499, len(moments) - 1)].now
            self.learner.answers.offer(ids, levels[part], np.array(arms[part]), np.array(chances[part]), at)
        for moment in moments:
            if moment.where:  # who asked was told at once
                self.learner.answers.deliver(moment.id, moment.now)

    def _place(self, decision: Decision) -> int | None:
        """The arm and channel that were chosen, as this program numbers them; None where it has no such arm."""
        if decision.chosen is None or decision.test or decision.listed:
            return None
        made = self.program if decision.revision == self.program.decide.revision else self._old(decision.revision)
        if made is None or made.decide.columns != self.program.decide.columns:
            return None
        arm = self._arms.get(made.decide.arms[decision.chosen.arm].name)
        channel = self._channels.get(made.decide.channels[decision.chosen.channel])
        return None if arm is None or channel is None else channel * len(self._arms) + arm


def _chance(decision: Decision) -> float:
    """That our model gave the chosen one; what somebody else's says is no expectation to be surprised by: 0."""
    chosen, scores = decision.chosen, decision.scores
    assert chosen is not None
    if decision.model.startswith(BROUGHT):
        return 0.0
    for arm, channel, chance in zip(scores.arm, scores.channel, scores.propensity, strict=True):
        if (arm, channel) == (chosen.arm, chosen.channel):
            return chance
    return 0.0
