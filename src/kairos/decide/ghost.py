"""What would have been said, to whoever was held out as to anybody else: how both groups are cut alike."""

from __future__ import annotations

from typing import Final

from kairos.decide.freezes import frozen
from kairos.decide.gates import CONTROL, HOLDOUT, quiet_until
from kairos.decide.program import Program, answering, bits, told_on
from kairos.domain.decision import Decision

GROUPS: Final = (HOLDOUT, CONTROL)  # gates that chance has closed


def could_say(program: Program, decision: Decision) -> dict[int, int]:
    """By channel, the arms that could have been said, by what was known at the moment; empty for a test subscriber's.

    Groups are passed over, and so is whatever could differ between them: scores, limits, switches of a part. So what
    was said is always among them, and until something could be said, nothing was. Raises ValueError for another
    revision's record.
    """
    if decision.revision != program.revision:
        raise ValueError(f"decision {decision.id} was made with playbook {decision.revision}, not {program.revision}")
    if decision.test or (decision.gate not in ("", HOLDOUT) and not decision.gates):  # an older record
        return {}
    alive = answering(program, decision) & program.check.run(decision.row)[0]
    for shut in decision.gates:
        if shut.rule not in GROUPS:
            alive &= ~int.from_bytes(shut.arms, "little")
    windows = [window for window, _ in frozen(program, decision.now)] if alive and program.freezes else []
    found = {}
    spoken = program.pulled if decision.where else (0,) if decision.riding else program.own_channels
    on_channel = told_on(program, decision.where) if decision.where else program.on_channel
    for channel in spoken:
        open_arms = alive & on_channel[channel]
        if channel in program.own_channels and quiet_until(program.quiet_hours, decision.row, decision.now):
            open_arms &= ~program.quiet
        for window in windows:
            if channel in window.channels:
                open_arms &= ~window.arms
        if open_arms:
            found[channel] = open_arms
    return found


def would_say(program: Program, decision: Decision) -> tuple[int, int] | None:
    """The arm and the channel that marketing would have spoken with, by what was known at the moment; or None.

    A predicted ghost ad (Johnson, Lewis and Nubbemeyer, 2017), of what could have been said (see `could_say`). What
    comes first does so here, then the worth alone ranks, and the first arm breaks ties. Care is said to both groups,
    and is no marketing.
    """
    places = (
        (0 if program.rank is None else -int(program.rank[arm]), -float(program.worth[arm]), arm, channel)
        for channel, arms in could_say(program, decision).items()
        for arm in bits(arms & program.held_out)
    )
    best = min(places, default=None)
    return best and best[2:]


def kept_from(decision: Decision, group: str, arms: int) -> bool:
    """Whether a subscriber is in a group that some of these arms were kept from at a moment."""
    if not decision.gates:  # an older record
        return decision.gate == group
    return any(shut.rule == group and int.from_bytes(shut.arms, "little") & arms for shut in decision.gates)
