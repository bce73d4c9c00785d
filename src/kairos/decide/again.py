"""What another playbook would have had to choose from at a moment on record: the stages of before, once more."""

from __future__ import annotations

from typing import Final

from kairos.decide.decide import Survivors, eligibility, gates, limits, record
from kairos.decide.program import Program, bits
from kairos.domain.decision import Decision
from kairos.domain.moment import Moment
from kairos.domain.subscriber import SCHEMA, State

EVERY: Final = -1


def moment_of(decision: Decision) -> Moment:
    """The moment as far as its record knows it: the row, and of the subscriber only who it was."""
    state = State(SCHEMA, decision.subscriber, "", "", 0)
    row = tuple(decision.row)
    about = (decision.id, decision.identity, decision.kind, decision.happened, decision.now)
    return Moment(*about, row, state, decision.riding, test=decision.test, where=decision.where)


def survivors_again(program: Program, decision: Decision, made: Program) -> list[tuple[int, int]]:
    """The arms on channels of `program` that could have been said, by its own rules, gates and windows.

    What the playbook of then (`made`) closed or refused stays so, by arm and channel name: its limits, switches and
    registers cannot be asked again (give it without `lists`). Both playbooks have the same columns.
    """
    went_on = decision.failed or decision.limits or decision.scores.arm
    if decision.gate and not went_on:
        return []  # gates closed everything
    moment, survivors = moment_of(decision), Survivors()
    again = record(program, moment)
    alive = eligibility(program, moment, again, gates(program, moment, again))
    if not alive:
        return []
    limits(program, moment, again, alive, 0, survivors)
    shut = {made.arms[bit].name for gate in decision.gates for bit in bits(int.from_bytes(gate.arms, "little"))}
    refused = {
        (
            "" if one.arm == EVERY else made.arms[one.arm].name,
            "" if one.channel == EVERY else made.channels[one.channel],
        )
        for one in decision.limits
    }
    found = []
    for channel, arms in zip(survivors.channel, survivors.arms, strict=True):
        where = program.channels[channel]
        for arm in bits(arms):
            name = program.arms[arm].name
            if name not in shut and not refused & {(name, where), (name, ""), ("", where), ("", "")}:
                found.append((arm, channel))
    return found


def highest(program: Program, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those that come first, by purpose and as the policy names them: among them alone propensity decides."""
    rank = program.rank
    if rank is None or not pairs:
        return pairs
    top = max(rank[arm] for arm, _ in pairs)
    return [pair for pair in pairs if rank[pair[0]] == top]
