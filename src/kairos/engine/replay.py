"""The moments of a store as off-policy evaluation reads them: what was said, how likely, and what another would say."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kairos.decide import highest, moment_of, survivors_again
from kairos.decide.decide import NO_ROOM
from kairos.domain.decision import Decision
from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.engine.cohort import ProgramOf, place_of, told
from kairos.engine.program import Program
from kairos.engine.propensities import scorer_of
from kairos.evaluate import SILENCE, Log
from kairos.learn import FixedPropensity, LearnedPropensity, Version

PAGE: Final = 4000  # moments; those of one playbook and model are computed together
MODELS: Final = 64  # kept ready: a model is published every few minutes
FLOOR: Final = 0.001  # the error of a probability of choice (`learn.choice`): what is less is taken for this much
OUTSIDE: Final = 0.01  # of a moment's target that may lie outside of what could have been said
EARNED: Final = frozenset({"accepted", "redeemed", "fulfilled", "bought", "partly_reversed"})
FIXED: Final = "fixed-"

Floats = NDArray[np.float64]
Arms = list[tuple[int, int]]  # arm, channel
Model = FixedPropensity | LearnedPropensity
Outcomes = Mapping[int, Sequence[tuple[int, str]]]  # by decision, in their order: at (ms), outcome


@dataclass(frozen=True)
class Target:
    """The policy to judge. What it leaves open (None, an empty word) is as it was at each moment."""

    program: Program | None = None
    model: str = ""
    explore: float | None = None


@dataclass(slots=True)
class Replay:
    """Every moment that can be replayed, as columns of `evaluate.Log`; and how many could not be, and why."""

    moments: int = 0
    forgotten: int = 0  # their playbook is gone
    unversioned: int = 0  # their model's version is gone
    strange: int = 0  # another vocabulary, or rules of an older kairos
    waiting: int = 0  # their window is not over
    older: int = 0  # replayed, and older than the target's model, which may have learned from them
    names: list[str] = field(default_factory=list)  # of arms, by the log's number
    trait: list[Any] = field(default_factory=list)  # by moment
    supported: list[bool] = field(default_factory=list)  # by moment: nearly all that the target says could have been
    target: array[float] = field(default_factory=lambda: array("d"))  # by candidate
    subscriber: array[int] = field(default_factory=lambda: array("q"))
    first: array[int] = field(default_factory=lambda: array("q", [0]))
    arm: array[int] = field(default_factory=lambda: array("q"))
    features: array[float] = field(default_factory=lambda: array("d"))
    chosen: array[int] = field(default_factory=lambda: array("q"))
    probability: array[float] = field(default_factory=lambda: array("d"))
    reward: array[float] = field(default_factory=lambda: array("d"))

    @property
    def log(self) -> Log:
        return Log(
            np.array(self.subscriber),
            np.array(self.first),
            np.array(self.arm),
            np.array(self.features).reshape(-1, 3),
            np.array(self.chosen),
            np.array(self.probability),
            np.array(self.reward),
        )

    def candidate(self, arm: int, target: float, features: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        self.arm.append(arm)
        self.target.append(target)
        self.features.extend(features)


def replay(
    records: Iterable[bytes],
    program_of: ProgramOf,
    version_of: Callable[[str], Version | None],
    outcomes: Outcomes,
    target: Target,
    *,
    window: int,
    end: int,
    by: str = "",
) -> Replay:
    """Replay decision records against a target. `window`: how long after the moment a yes counts, ms; `end`: until
    when the outcomes are known. Raises KairosError for an attribute `by` that a playbook does not have."""
    made = Replay()
    again = _Again(made, version_of, outcomes, target, window, by)
    page: dict[tuple[str, str], list[Decision]] = defaultdict(list)
    size = 0
    for decision, program in told(records, program_of, made):
        if decision.now + window > end:
            made.waiting += 1
        elif not again.knows(decision.model, program):
            made.unversioned += 1
        elif not again.fits(decision.model, program):
            made.strange += 1
        else:
            page[decision.model, decision.revision].append(decision)
            size += 1
        if size == PAGE:
            again.take(page)
            page, size = defaultdict(list), 0
    again.take(page)
    made.names = list(again.arms)
    return made


def outcomes_of(rows: Iterable[tuple[int, int, int, str, str, int]]) -> Outcomes:
    """By decision, from `SqliteRecords.outcomes`."""
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for _, _, decision, _, outcome, at in sorted(rows):
        found[decision].append((at, outcome))
    return found


class _Said(NamedTuple):
    """A candidate of the log. What is expected of it comes of the mean alone: a draw would know the choice."""

    pair: tuple[int, int]
    chance: float  # of being chosen
    expected: float  # chance of a yes


class _Again:
    """Replays pages of moments that one playbook and one model decided."""

    def __init__(
        self,
        made: Replay,
        version_of: Callable[[str], Version | None],
        outcomes: Outcomes,
        target: Target,
        window: int,
        by: str,
    ) -> None:
        self.made, self.outcomes, self.target, self.window, self.by = made, outcomes, target, window, by
        self.arms: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._version_of = lru_cache(maxsize=MODELS)(version_of)
        self._programs: dict[str, Program] = {}
        self._model = lru_cache(maxsize=MODELS)(self._made)
        self._keys: dict[str, list[list[tuple[int, int]]]] = {}
        judged = self._version_of(target.model) if target.model else None
        self._published = judged.at if judged else 0
        changed = target.program
        self._changed = changed and replace(changed, decide=replace(changed.decide, lists=()))

    def knows(self, model: str, program: Program) -> bool:
        """Whether the version is there, or none is needed."""
        return self.model(model, program) is not None or self._version_of(model) is not None

    def fits(self, model: str, program: Program) -> bool:
        """Whether both policies speak the vocabulary of the moment."""
        to = self.would_be(program)
        same = to.decide.columns == program.decide.columns
        return same and all(self.model(*one) for one in ((model, program), (self.target.model or model, to)))

    def would_be(self, program: Program) -> Program:
        changed = self._changed
        return program if changed is None or changed.decide.revision == program.decide.revision else changed

    def model(self, name: str, program: Program, explore: float | None = None) -> Model | None:
        self._programs[program.decide.revision] = program
        return self._model(name, program.decide.revision, explore)

    def _made(self, name: str, revision: str, explore: float | None) -> Model | None:
        if name.startswith(FIXED):
            return FixedPropensity(float(name.removeprefix(FIXED)))
        version = self._version_of(name)
        return scorer_of(version, self._programs[revision], explore) if version else None

    def take(self, page: Mapping[tuple[str, str], Sequence[Decision]]) -> None:
        for (_, revision), decisions in page.items():
            self._take(decisions, self._programs[revision])

    def _take(self, decisions: Sequence[Decision], program: Program) -> None:
        said, known = [], []
        for decision in decisions:
            arms = _drawn(program, decision)
            if decision.chosen is None or (decision.chosen.arm, decision.chosen.channel) in arms:
                known.append(decision)
                said.append(arms if decision.chosen else [])
        self.made.strange += len(decisions) - len(known)
        if not known:
            return
        to, name = self.would_be(program), known[0].model
        would = said
        if to is not program:
            would = [highest(to.decide, survivors_again(to.decide, one, program.decide)) for one in known]
        moments = [moment_of(decision) for decision in known]
        then, plain = self.model(name, program), self.model(name, program, 0.0)
        hoping = self.model(self.target.model or name, to, self.target.explore)
        assert then is not None
        assert plain is not None
        assert hoping is not None  # all three by `fits`
        drawn, expected = _chances(then, program, said, moments), plain.score(pairs_of(said), moments)
        hoped = drawn if to is program and hoping is then else _chances(hoping, to, would, moments)
        figures = iter(zip(drawn.tolist(), expected.tolist(), strict=True))
        hopes = iter(hoped.tolist())
        for decision, mine, others in zip(known, said, would, strict=True):
            could = {
                key: _Said(pair, *next(figures)) for key, pair in zip(self._named(program, mine), mine, strict=True)
            }
            self._add(decision, program, could, {key: next(hopes) for key in self._named(to, others)})

    def _add(
        self,
        decision: Decision,
        program: Program,
        said: Mapping[tuple[int, int], _Said],
        would: Mapping[tuple[int, int], float],
    ) -> None:
        made, chosen = self.made, decision.chosen
        made.older += decision.now < self._published
        made.subscriber.append(decision.subscriber)
        made.trait.append(decision.row[place_of(program, self.by)] if self.by else None)
        for key, one in said.items():
            if chosen and one.pair == (chosen.arm, chosen.channel):
                made.chosen.append(len(made.arm))
                made.probability.append(max(one.chance, FLOOR))
            worth = float(program.decide.worth[one.pair[0]])
            made.candidate(key[0], would.get(key, 0.0), (one.expected, worth, one.expected * worth))
        outside = 0.0
        for key, chance in would.items():
            if key not in said and chance:
                outside += chance
                made.candidate(key[0], chance)
        if not said or not would:
            if not said:
                made.chosen.append(len(made.arm))
                made.probability.append(1.0)
            made.candidate(SILENCE, 0.0 if would else 1.0)
        made.supported.append(outside <= OUTSIDE)
        made.reward.append(self._earned(decision, program))
        made.first.append(len(made.arm))

    def _earned(self, decision: Decision, program: Program) -> int:
        """The value that the offer had then, if the latest that was heard of it within the window is a yes."""
        if decision.chosen is None:
            return 0
        heard = [what for at, what in self.outcomes.get(decision.id, ()) if at < decision.now + self.window]
        return program.decide.arms[decision.chosen.arm].variant.value if heard and heard[-1] in EARNED else 0

    def _named(self, program: Program, arms: Arms) -> list[tuple[int, int]]:
        """Arms and channels by numbers that all playbooks share."""
        keys = self._keys.get(program.decide.revision)
        if keys is None:
            channels = [self._channels.setdefault(name, len(self._channels)) for name in program.decide.channels]
            names = [self.arms.setdefault(arm.name, len(self.arms)) for arm in program.decide.arms]
            keys = self._keys[program.decide.revision] = [[(name, channel) for channel in channels] for name in names]
        return [keys[arm][channel] for arm, channel in arms]


def _drawn(program: Program, decision: Decision) -> Arms:
    """What the choice was drawn from: the survivors of the highest purpose that a text fitted for, or was not tried."""
    unfit = {(one.arm, one.channel) for one in decision.limits if one.rule == NO_ROOM}
    scores = decision.scores
    return highest(program.decide, [pair for pair in zip(scores.arm, scores.channel, strict=True) if pair not in unfit])


def _chances(model: Model, program: Program, arms: Sequence[Arms], moments: Sequence[Moment]) -> Floats:
    pairs = pairs_of(arms)
    return model.choice_probabilities(pairs, moments, program.decide.worth) if len(pairs.arm) else np.zeros(0)


def pairs_of(arms: Sequence[Arms]) -> Pairs:
    """Columns of each moment's arms on channels."""
    moment = np.repeat(np.arange(len(arms), dtype=np.int32), [len(one) for one in arms])
    flat = np.array([pair for one in arms for pair in one], np.int32).reshape(-1, 2)
    return Pairs(moment, flat[:, 0], flat[:, 1], np.zeros(len(flat)), np.zeros(len(flat)))
