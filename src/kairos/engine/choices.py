"""How likely each choice was, by a named method: computed beside the engine, and kept longer than its model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from kairos.decide import as_agreed, highest, moment_of
from kairos.decide.again import EVERY
from kairos.domain.decision import Decision, Drawn
from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.engine.cohort import ProgramOf
from kairos.engine.program import Program
from kairos.engine.propensities import scorer_of
from kairos.learn import BROUGHT, EXACT, FixedPropensity, LearnedPropensity, Version, equals_share, thaw

FIXED: Final = "fixed-"
MODELS: Final = 64  # kept ready: a model is published every few minutes

Floats = NDArray[np.float64]
Arms = list[tuple[int, int]]  # arm, channel
Model = FixedPropensity | LearnedPropensity
VersionOf = Callable[[str], Version | None]


class Models:
    """Propensity models by their names, for the arms of a program; those that were asked for last are kept ready."""

    def __init__(self, version_of: VersionOf) -> None:
        self.version_of = lru_cache(maxsize=MODELS)(version_of)
        self._programs: dict[str, Program] = {}
        self._model = lru_cache(maxsize=MODELS)(self._made)

    def model(self, name: str, program: Program, explore: float | None = None) -> Model | None:
        """None where the version is gone, or was learned under another vocabulary."""
        self._programs[program.decide.revision] = program
        return self._model(name, program.decide.revision, explore)

    def _made(self, name: str, revision: str, explore: float | None) -> Model | None:
        if name.startswith(FIXED):
            return FixedPropensity(float(name.removeprefix(FIXED)))
        version = self.version_of(name)
        return scorer_of(version, self._programs[revision], explore) if version else None


class Choices:
    """Tells how likely choices were, by the playbooks and the models that they were made with."""

    def __init__(self, program_of: ProgramOf, version_of: VersionOf) -> None:
        self._program_of, self._models = lru_cache(maxsize=16)(program_of), Models(version_of)

    def of(self, decisions: Iterable[Decision]) -> list[Drawn]:
        """One for each choice, in the order of decisions; none where the playbook or the version is gone."""
        together: dict[tuple[str, str], list[Decision]] = defaultdict(list)
        for decision in decisions:
            if decision.chosen and not decision.listed:  # no model chose from a list for all
                together[decision.model, decision.revision].append(decision)
        found: list[Drawn] = []
        for (name, revision), made in together.items():
            program = self._program_of(revision)
            if program and name.startswith(BROUGHT):
                found += as_scored(program, made)
            elif program and (model := self._models.model(name, program)):
                arms = [drawn_from(program, decision) for decision in made]
                chances = chances_of(model, program, arms, [moment_of(decision) for decision in made])
                found += _drawn(made, arms, chances, model.method, model.error)
        return sorted(found, key=lambda one: one.decision)


def as_scored(program: Program, decisions: Sequence[Decision]) -> list[Drawn]:
    """How likely choices were by a model that does not explore: by the scores of the records, without the model."""
    arms = [drawn_from(program, decision) for decision in decisions]
    pairs = pairs_of(arms)
    scores = [
        dict(zip(zip(one.scores.arm, one.scores.channel, strict=True), one.scores.propensity, strict=True))
        for one in decisions
    ]
    pairs.propensity = np.array([scores[place][pair] for place, made in enumerate(arms) for pair in made])
    if not len(pairs.arm):
        return []
    return _drawn(decisions, arms, equals_share(pairs, pairs.propensity * program.decide.worth[pairs.arm]), EXACT, 0.0)


def _drawn(
    decisions: Sequence[Decision], arms: Sequence[Arms], likely_ones: Floats, method: str, error: float
) -> list[Drawn]:
    chances, found = iter(likely_ones.tolist()), []
    for decision, pairs in zip(decisions, arms, strict=True):
        likely = {pair: next(chances) for pair in pairs}
        chosen = decision.chosen
        if chosen and (chosen.arm, chosen.channel) in likely:  # else older rules chose it
            found.append(Drawn(decision.id, likely[chosen.arm, chosen.channel], method, error))
    return found


def versions_in(kept: Callable[[str], tuple[str, bytes] | None]) -> VersionOf:
    """The versions that a store keeps; one that this kairos cannot read counts as gone."""

    def version_of(name: str) -> Version | None:
        found = kept(name) if name else None
        try:
            return thaw(found[1]) if found else None
        except msgspec.DecodeError:
            return None

    return version_of


def drawn_from(program: Program, decision: Decision) -> Arms:
    """What the choice was drawn from: the survivors of the highest purpose that were not refused after they were scored
    (no text fitted, or the moments before had taken the rest of a budget)."""
    unfit = {(one.arm, one.channel) for one in decision.limits}
    scored = zip(decision.scores.arm, decision.scores.channel, strict=True)
    fit = [pair for pair in scored if pair not in unfit and (pair[0], EVERY) not in unfit]
    return highest(program.decide, fit)


def chances_of(model: Model, program: Program, arms: Sequence[Arms], moments: Sequence[Moment]) -> Floats:
    """How likely each of them is the choice, moment by moment."""
    pairs = pairs_of(arms)
    if not len(pairs.arm):
        return np.zeros(0)
    return model.choice_probabilities(pairs, as_agreed(program.decide, moments), program.decide.worth)


def pairs_of(arms: Sequence[Arms]) -> Pairs:
    """Columns of each moment's arms on channels."""
    moment = np.repeat(np.arange(len(arms), dtype=np.int32), [len(one) for one in arms])
    flat = np.array([pair for one in arms for pair in one], np.int32).reshape(-1, 2)
    return Pairs(moment, flat[:, 0], flat[:, 1], np.zeros(len(flat)), np.zeros(len(flat)))
