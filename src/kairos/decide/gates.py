"""May we speak to them, and of what? Switches, freezes, consent, pauses, holdout; and where: quiet hours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from kairos.decide.freezes import frozen
from kairos.decide.limits import counted_out
from kairos.decide.program import Gated, Program
from kairos.decide.wall_clock import reads_at
from kairos.domain.decision import Decision, Shut
from kairos.domain.moment import Moment
from kairos.playbook.policy import Window, window_name

HOLDOUT = "holdout"
CONTROL = "control group"
QUIET = "quiet hours"
DAY = 86_400_000
MONDAY = 4 * DAY  # the first one, 1970-01-05
MINUTE = 60_000


def admit(program: Program, moment: Moment, decision: Decision, alive: int) -> int:
    """The arms that no gate is closed for; those that are closed are written down.

    A consent counts only where its rule is TRUE; a pause is lifted only where its rule is FALSE. A test subscriber has
    agreed by being one, unless a consent is FALSE; neither pauses nor the holdout nor control groups are for them.
    """
    if program.closed.all and not moment.past_switches:
        alive = _shut(decision, alive, program.switched, program.closed.all)
    for window, until in frozen(program, moment.now) if program.freezes else ():
        if window.whole:
            alive = _shut(decision, alive, window.arms, window.freeze.why, until)
    row = moment.row
    for gate in program.gates:
        if alive & gate.arms and not (gate.opens_to_tester if moment.test else gate.opens)(row):
            alive = _shut(decision, alive, gate.arms, gate.name)
    for gate in program.lists if not moment.test else ():
        if alive & gate.arms and on_list(program, gate, moment.state.msisdn) and not gate.opens(row):
            alive = _shut(decision, alive, gate.arms, gate.name)
    held = alive & program.held_out if program.holdout and not moment.test else 0
    if held and held_out(program.seed, moment.state.id, program.holdout):
        left = _shut(decision, alive, held, HOLDOUT)
        decision.listed = bool(moment.where and program.in_market)  # then it is noted, and a list for all is told
        alive = alive if decision.listed else left
    for arms, share, salt in program.controls if not moment.test else ():
        if alive & arms and held_out(salt, moment.state.id, share):
            alive = _shut(decision, alive, arms, CONTROL)
    return alive


def _shut(decision: Decision, alive: int, arms: int, rule: str, until: int = 0) -> int:
    """The arms that are left where a gate is closed for some."""
    hit = alive & arms
    if hit:
        if not decision.gates:
            decision.gate, decision.until = rule, until
        decision.gates.append(Shut(rule, until, hit.to_bytes((hit.bit_length() + 7) // 8, "little")))
    return alive & ~arms


def on_list(program: Program, gate: Gated, msisdn: str) -> bool:
    """Whether a number is on a register that is a file. Until that was read, every number is."""
    numbers = program.listed.get(gate.file)
    return numbers is None or msisdn in numbers


def held_out(seed: str, subscriber: int, share: float) -> bool:
    """Whether a subscriber belongs to the holdout: always the same one for the same seed.

    >>> sum(held_out("kairos", subscriber, 0.05) for subscriber in range(10_000)) / 10_000
    0.0523
    """
    digest = hashlib.blake2b(f"{seed}/{subscriber}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def closed_since(program: Program, action: str, channel: str, row: Sequence[Any], now: int, msisdn: str) -> str:
    """What has come between a decision and its message: a consent withdrawn, a register, a pause, the night.

    The rule, or an empty text. `row` is of no event, so what reads one is not asked again.
    """
    arms = program.of_action.get(action, 0)
    place = program.channels.index(channel) if channel in program.channels else 0
    tester = msisdn in program.testers
    for gate in (*program.gates, *program.gates_on[place]):
        if gate.anytime and arms & gate.arms and not (gate.opens_to_tester if tester else gate.opens)(row):
            return gate.name
    for gate in program.lists if not tester else ():
        if gate.anytime and arms & gate.arms and on_list(program, gate, msisdn) and not gate.opens(row):
            return gate.name
    return (
        resting(program, row, now, place)[0]
        if place in program.own_channels and arms & program.quiet and not tester
        else ""
    )


def closed_to(program: Program, moment: Moment, action: str, channel: str) -> str:
    """What keeps an offer that is open from being said once more, by a message of its own: a consent, a register, a
    pause, the night, a limit; or an empty text. Its channel must be one of the program's."""
    msisdn = moment.state.msisdn
    if why := closed_since(program, action, channel, moment.row, moment.now, msisdn):
        return why
    if msisdn in program.testers:
        return ""
    arms, place = program.of_action.get(action, 0), program.channels.index(channel)
    return next((rule for mask, rule, _ in counted_out(program, moment, place) if mask & arms), "")


def resting(program: Program, row: Sequence[Any], now: int, channel: int) -> tuple[str, int]:
    """Why no message of its own may go out on a channel at this time of day or week, and until when; or ("", 0)."""
    if quiet := quiet_until(program.quiet_hours, row, now):
        return QUIET, reads_at(program, row, row[-1] + quiet - now, now)
    if closed := closed_for(program.windows[channel], row[-1]):
        return window_name(program.channels[channel]), reads_at(program, row, row[-1] + closed, now)
    return "", 0


def closed_for(window: Window, local: int) -> int:
    """For how long (ms) the wall clock will show that a window is closed, from `local` (ms); 0 where it is open.

    >>> monday_and_tuesday_from_nine_to_five = ((540, 1020), (1980, 2460))
    >>> friday_at_five = 1 * DAY + 17 * 60 * MINUTE  # 1970-01-02
    >>> closed_for(monday_and_tuesday_from_nine_to_five, friday_at_five) / MINUTE / 60
    64.0
    """
    if not window:
        return 0
    at = (local - MONDAY) % (7 * DAY)
    if any((at - start * MINUTE) % (7 * DAY) < (end - start) * MINUTE for start, end in window):
        return 0
    return min((start * MINUTE - at) % (7 * DAY) for start, _ in window)


def quiet_until(quiet_hours: tuple[int, int] | None, row: Sequence[Any], now: int) -> int:
    """When quiet hours end (ms, UTC) if they hold where the subscriber is, else 0. The row's last value is local time.

    >>> quiet_until((21 * 60, 8 * 60), (22 * 3_600_000,), 0)  # at 22:00 local, ten hours remain
    36000000
    """
    if quiet_hours is None:
        return 0
    start, end = quiet_hours
    time_of_day = row[-1] % DAY
    since_start = (time_of_day - start * MINUTE) % DAY
    length = (end - start) * MINUTE % DAY
    return now + length - since_start if since_start < length else 0
