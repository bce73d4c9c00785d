"""What would have been said, to whoever was held out as to anybody else: how both groups are cut alike."""

from __future__ import annotations

from kairos.decide.freezes import frozen
from kairos.decide.gates import HOLDOUT, quiet_until
from kairos.decide.program import NOTIFICATION, Program
from kairos.domain.decision import Decision


def would_say(program: Program, decision: Decision) -> tuple[int, int] | None:
    """The arm and the channel that marketing would have spoken with, by what was known at the moment; or None.

    A predicted ghost ad (Johnson, Lewis and Nubbemeyer, 2017): the holdout is passed over, and whatever could differ
    between the groups is not asked for: scores, limits, switches of a part. What comes first does so here, then the
    worth alone ranks, and the first arm breaks ties. Care is said to both groups, and is no marketing. Raises
    ValueError for another revision's record.
    """
    if decision.revision != program.revision:
        raise ValueError(f"decision {decision.id} was made with playbook {decision.revision}, not {program.revision}")
    if decision.test or (decision.gate not in ("", HOLDOUT) and not decision.gates):  # an older record
        return None
    age = decision.now - decision.happened
    alive = 0
    for at_most, mask in program.answers.get(decision.kind, ()):
        if at_most < 0 or age <= at_most:
            alive |= mask
    alive &= program.check.run(decision.row)[0] & program.held_out
    for shut in decision.gates:
        if shut.rule != HOLDOUT:
            alive &= ~int.from_bytes(shut.arms, "little")
    windows = [window for window, _ in frozen(program, decision.now)] if alive and program.freezes else []
    best: tuple[int, float, int, int] | None = None
    for channel in (0,) if decision.riding else program.own_channels:
        if program.channels[channel] != NOTIFICATION and quiet_until(program.quiet_hours, decision.row, decision.now):
            continue
        open_arms = alive & program.on_channel[channel]
        for window in windows:
            if channel in window.channels:
                open_arms &= ~window.arms
        while open_arms:
            lowest = open_arms & -open_arms
            open_arms ^= lowest
            arm = lowest.bit_length() - 1
            rank = 0 if program.rank is None else int(program.rank[arm])
            found = (-rank, -float(program.worth[arm]), arm, channel)
            best = min(best, found) if best else found
    return best and best[2:]
