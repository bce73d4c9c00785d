"""May we speak to this subscriber at all? Switches, freezes, consent, pauses, holdout; and where: quiet hours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from kairos.decide.freezes import frozen
from kairos.decide.program import Program
from kairos.domain.moment import Moment

HOLDOUT = "holdout"
QUIET = "quiet hours"
DAY = 86_400_000
MINUTE = 60_000


class Shut(NamedTuple):
    """A gate that is closed: the rule that closes it, until when (ms, 0: nobody knows), and whether for care too."""

    rule: str
    until: int = 0
    care_too: bool = False


OPEN = Shut("")


def gate(program: Program, moment: Moment) -> Shut:
    """The first gate that is closed, or OPEN.

    A consent counts only where its rule is TRUE; a pause is lifted only where its rule is FALSE. A test subscriber has
    agreed by being one, unless a consent is FALSE; neither pauses nor the holdout are for them.
    """
    if program.closed.all and not moment.past_switches:
        return Shut(program.closed.all, care_too=True)
    if program.freezes:
        whole = [(window.freeze, until) for window, until in frozen(program, moment.now) if window.whole]
        if whole:
            freeze, until = min(whole, key=lambda one: one[0].except_care)  # of several, one that stops care, too
            return Shut(freeze.why, until, not freeze.except_care)
    row = moment.row
    if moment.test:
        return next((Shut(name) for name, refuses in program.withdrawn if refuses(row)), OPEN)
    for name, agreed in program.consents:
        if not agreed(row):
            return Shut(name)
    for name, lifted in program.pauses:
        if not lifted(row):
            return Shut(name)
    if program.holdout and held_out(program.seed, moment.state.id, program.holdout):
        return Shut(HOLDOUT)
    return OPEN


def held_out(seed: str, subscriber: int, share: float) -> bool:
    """Whether a subscriber belongs to the holdout: always the same one for the same seed.

    >>> sum(held_out("kairos", subscriber, 0.05) for subscriber in range(10_000)) / 10_000
    0.0523
    """
    digest = hashlib.blake2b(f"{seed}/{subscriber}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


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
