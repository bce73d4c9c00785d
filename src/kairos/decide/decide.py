"""The decision: an ordered list of plain stages over a batch of moments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np

from kairos import __version__
from kairos.decide.gates import QUIET, gate, quiet_until
from kairos.decide.limits import refused
from kairos.decide.program import Arm, Program
from kairos.domain.decision import Choice, Decision, Refusal, Score
from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.ports import Scorer

NO_ROOM = "no text fits"


@dataclass(frozen=True, slots=True)
class Composed:
    """A treatment in words: the whole text that would go out, and the number to reply with (0: none)."""

    text: str
    number: int


@dataclass(slots=True)
class Decided:
    """A decision record, with the arm and the words of what was chosen."""

    decision: Decision
    arm: Arm | None = None
    composed: Composed | None = None


Compose = Callable[[Moment, Arm, str, str], Composed | None]  # moment, arm, channel, message; None: no text fits
Draw = Callable[[int, int], float]  # decision id, arm -> 0..1, always the same for the same two


def decide(program: Program, moments: Sequence[Moment], scorer: Scorer, draw: Draw, compose: Compose) -> list[Decided]:
    """Decide for every moment of a batch. No two of them may be of one subscriber: the second must see the first's effects."""
    decided = [Decided(_record(program, moment, scorer.version)) for moment in moments]
    survivors: list[tuple[int, int, int]] = []
    for index, (moment, draft) in enumerate(zip(moments, decided, strict=True)):
        alive = gates(program, moment, draft.decision)
        alive = eligibility(program, moment, draft.decision, alive)
        survivors.extend((index, arm, channel) for arm, channel in limits(program, moment, draft.decision, alive))
    if survivors:
        pairs = propensity(survivors, moments, scorer)
        for index, ranked in arbitration(program, pairs, decided, draw):
            treatment(program, moments[index], decided[index], ranked, compose)
    return decided


def _record(program: Program, moment: Moment, model: str) -> Decision:
    return Decision(
        id=moment.id,
        subscriber=moment.state.id,
        identity=moment.identity,
        kind=moment.kind,
        happened=moment.happened,
        now=moment.now,
        revision=program.revision,
        model=model,
        code=__version__,
        row=moment.row,
        riding=moment.riding,
        limits=[],
        scores=[],
    )


def gates(program: Program, moment: Moment, decision: Decision) -> int:
    """The arms that answer this moment and may still speak: all, or care alone where a gate is closed."""
    age = moment.now - moment.happened
    alive = 0
    for at_most, mask in program.answers.get(moment.kind, ()):
        if at_most < 0 or age <= at_most:
            alive |= mask
    decision.gate = gate(program, moment)
    return alive & program.care if decision.gate else alive


def eligibility(program: Program, moment: Moment, decision: Decision, alive: int) -> int:
    """The arms all of whose rules hold; each distinct condition is evaluated once."""
    if not alive:
        return 0
    passed, failed = program.check(moment.row)
    decision.failed = failed.to_bytes((failed.bit_length() + 7) // 8, "little")
    return alive & passed


def limits(program: Program, moment: Moment, decision: Decision, alive: int) -> Iterator[tuple[int, int]]:
    """The (arm, channel) pairs that no limit refuses; what is refused is written down.

    Where there is a notification to ride on, nothing else interrupts: the only channel is the notification.
    """
    for channel in (0,) if moment.riding else range(1, len(program.channels)):
        candidates = alive & program.on_channel[channel]
        if not candidates:
            continue
        quiet = quiet_until(program.quiet_hours, moment.row, moment.now) if channel else 0
        if quiet:
            decision.limits.append(Refusal(-1, channel, QUIET, quiet))
            continue
        for mask, rule, until in refused(program, moment.state, channel, moment.now):
            hit = candidates & mask
            candidates &= ~mask
            decision.limits.extend(Refusal(arm, channel, rule, until) for arm in bits(hit))
        for arm in bits(candidates):
            yield arm, channel


def propensity(survivors: list[tuple[int, int, int]], moments: Sequence[Moment], scorer: Scorer) -> Pairs:
    """The survivors of the whole batch as columns, scored in one call."""
    columns = np.array(survivors, dtype=np.int32).T
    zeros = np.zeros(len(survivors))
    pairs = Pairs(columns[0], columns[1], columns[2], zeros, zeros)
    pairs.propensity = scorer.score(pairs, moments)
    return pairs


def arbitration(
    program: Program, pairs: Pairs, decided: Sequence[Decided], draw: Draw
) -> Iterator[tuple[int, list[Score]]]:
    """For each moment with survivors: its scores, the best first (propensity x value x weight; equals by a keyed draw)."""
    pairs.priority = pairs.propensity * program.worth[pairs.arm]
    rows = zip(
        pairs.moment.tolist(),
        pairs.arm.tolist(),
        pairs.channel.tolist(),
        pairs.propensity.tolist(),
        pairs.priority.tolist(),
        strict=True,
    )
    for index, group in groupby(rows, key=itemgetter(0)):
        decision = decided[index].decision
        decision.scores = [Score(arm, channel, chance, priority) for _, arm, channel, chance, priority in group]
        yield index, ranked(decision, draw)


def ranked(decision: Decision, draw: Draw) -> list[Score]:
    """Scores from the best down. Draws are keyed by decision and arm, so the same record always ranks the same."""
    scores = decision.scores
    if len({score.priority for score in scores}) == len(scores):
        return sorted(scores, key=lambda score: -score.priority)
    return sorted(scores, key=lambda score: (-score.priority, draw(decision.id, score.arm), score.channel))


def treatment(program: Program, moment: Moment, draft: Decided, ranked: list[Score], compose: Compose) -> None:
    """Put the best into words; where no text fits, say so and try the next."""
    for score in ranked:
        arm = program.arms[score.arm]
        message = program.message[score.channel][score.arm]
        composed = compose(moment, arm, program.channels[score.channel], message)
        if composed:
            draft.arm, draft.composed = arm, composed
            draft.decision.chosen = Choice(score.arm, score.channel, message, composed.number)
            return
        draft.decision.limits.append(Refusal(score.arm, score.channel, NO_ROOM, 0))


def bits(mask: int) -> Iterator[int]:
    """The places of the bits that are set, lowest first.

    >>> list(bits(0b10110))
    [1, 2, 4]
    """
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def keyed_draw(seed: str) -> Draw:
    """A draw that depends on the seed, the decision and the arm, and on nothing else."""

    def draw(decision: int, arm: int) -> float:
        digest = hashlib.blake2b(f"{seed}/{decision}/{arm}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    return draw
