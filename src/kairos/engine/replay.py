"""The moments of a store as off-policy evaluation reads them: what was said, how likely, and what another would say."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, Final, NamedTuple

import numpy as np

from kairos.decide import as_agreed, highest, moment_of, survivors_again
from kairos.domain.decision import Decision, Drawn
from kairos.engine.choices import Arms, Models, VersionOf, as_scored, chances_of, drawn_from, pairs_of
from kairos.engine.cohort import ProgramOf, place_of, told
from kairos.engine.program import Program
from kairos.evaluate import SILENCE, Log
from kairos.learn import BROUGHT

PAGE: Final = 4000  # moments; those of one playbook and model are computed together
FLOOR: Final = 0.001  # the error of a probability of choice (`learn.choice`): what is less is taken for this much
OUTSIDE: Final = 0.01  # of a moment's target that may lie outside of what could have been said
EARNED: Final = frozenset({"accepted", "redeemed", "fulfilled", "bought", "partly_reversed"})

Kept = Callable[[Collection[int]], Mapping[int, Drawn]]  # how likely the choices of some decisions were
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
    unversioned: int = 0  # their model's version is gone, and how likely their choice was is not kept
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
    version_of: VersionOf,
    outcomes: Outcomes,
    target: Target,
    *,
    window: int,
    end: int,
    by: str = "",
    kept: Kept = lambda _: {},
) -> Replay:
    """Replay decision records against a target. `window`: how long after the moment a yes counts, ms; `end`: until
    when the outcomes are known. Raises KairosError for an attribute `by` that a playbook does not have.

    How likely a choice was is taken from what was `kept`, and computed where it was not.
    """
    made = Replay()
    again = _Again(made, version_of, outcomes, target, window, by, kept)
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
    chance: float  # of being chosen; 0 where nobody asks
    expected: float  # chance of a yes


class _Again:
    """Replays pages of moments that one playbook and one model decided."""

    def __init__(
        self,
        made: Replay,
        version_of: VersionOf,
        outcomes: Outcomes,
        target: Target,
        window: int,
        by: str,
        kept: Kept,
    ) -> None:
        self.made, self.outcomes, self.target, self.window, self.by = made, outcomes, target, window, by
        self.kept = kept
        self.arms: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._models = Models(version_of)
        self._programs: dict[str, Program] = {}
        self._keys: dict[str, list[list[tuple[int, int]]]] = {}
        judged = self._models.version_of(target.model) if target.model else None
        self._published = judged.at if judged else 0
        changed = target.program
        self._changed = changed and replace(changed, decide=replace(changed.decide, lists=()))

    def knows(self, model: str, program: Program) -> bool:
        """Whether the version is there, or none is needed: another one is judged, and the log may know the rest."""
        here = self._models.model(model, program) is not None or self._models.version_of(model) is not None
        return here or bool(self.target.model)

    def fits(self, model: str, program: Program) -> bool:
        """Whether both policies speak the vocabulary of the moment."""
        to = self.would_be(program)
        gone = self._models.version_of(model) is None
        then = self._models.model(model, program) is not None or gone
        self._programs[program.decide.revision] = program
        same = to.decide.columns == program.decide.columns
        return same and then and self._models.model(self.target.model or model, to) is not None

    def would_be(self, program: Program) -> Program:
        changed = self._changed
        return program if changed is None or changed.decide.revision == program.decide.revision else changed

    def take(self, page: Mapping[tuple[str, str], Sequence[Decision]]) -> None:
        for (_, revision), decisions in page.items():
            self._take(decisions, self._programs[revision])

    def _take(self, decisions: Sequence[Decision], program: Program) -> None:
        name, kept = decisions[0].model, self.kept([decision.id for decision in decisions])
        if name.startswith(BROUGHT):  # the records tell, whatever was kept
            kept = {one.decision: one for one in as_scored(program, [one for one in decisions if one.chosen])}
        then = self._models.model(name, program)
        replayed = [one for one in decisions if then or one.chosen is None or one.id in kept]
        self.made.unversioned += len(decisions) - len(replayed)
        said, known = [], []
        for decision in replayed:
            arms = drawn_from(program, decision)
            if decision.chosen is None or (decision.chosen.arm, decision.chosen.channel) in arms:
                known.append(decision)
                said.append(arms if decision.chosen else [])
        self.made.strange += len(replayed) - len(known)
        if not known:
            return
        to = self.would_be(program)
        would = said
        if to is not program:
            would = [highest(to.decide, survivors_again(to.decide, one, program.decide)) for one in known]
        moments = [moment_of(decision) for decision in known]
        plain = self._models.model(name if then else self.target.model, program, 0.0)
        hoping = self._models.model(self.target.model or name, to, self.target.explore)
        assert plain is not None
        assert hoping is not None  # both by `fits`
        expected = plain.score(pairs_of(said), as_agreed(program.decide, moments))
        same = to is program and hoping is then
        drawn: Iterable[float] = repeat(0.0, len(expected))
        if then and (same or any(one.chosen and one.id not in kept for one in known)):
            drawn = chances_of(then, program, said, moments).tolist()
        hopes = iter(drawn if same else chances_of(hoping, to, would, moments).tolist())
        figures = iter(zip(drawn, expected.tolist(), strict=True))
        for decision, mine, others in zip(known, said, would, strict=True):
            could = {
                key: _Said(pair, *next(figures)) for key, pair in zip(self._named(program, mine), mine, strict=True)
            }
            hoped = {key: next(hopes) for key in self._named(to, others)}
            self._add(decision, program, could, hoped, kept.get(decision.id))

    def _add(
        self,
        decision: Decision,
        program: Program,
        said: Mapping[tuple[int, int], _Said],
        would: Mapping[tuple[int, int], float],
        kept: Drawn | None,
    ) -> None:
        made, chosen = self.made, decision.chosen
        made.older += decision.now < self._published
        made.subscriber.append(decision.subscriber)
        made.trait.append(decision.row[place_of(program, self.by)] if self.by else None)
        for key, one in said.items():
            if chosen and one.pair == (chosen.arm, chosen.channel):
                made.chosen.append(len(made.arm))
                made.probability.append(max(kept.probability if kept else one.chance, FLOOR))
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
