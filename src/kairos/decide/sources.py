"""What a model may know of a subscriber: nothing of a source of data that they have not agreed to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from kairos.decide.program import Program
from kairos.domain.moment import Moment


def as_agreed(program: Program, moments: Sequence[Moment]) -> Sequence[Moment]:
    """The moments as a model may see them: without consent, words that use a source are unknown to it.

    Rules and messages that read them are bound by the gate of the same name; see `contact_policy.yaml`.
    """
    return [_as_agreed(program, moment) for moment in moments] if program.sources else moments


def _as_agreed(program: Program, moment: Moment) -> Moment:
    hidden = [
        place
        for source in program.sources
        if not (source.opens_to_tester if moment.test else source.opens)(moment.row)
        for place in source.places
        if moment.row[place] is not None
    ]
    if not hidden:
        return moment
    row = list(moment.row)
    for place in hidden:
        row[place] = None
    return replace(moment, row=tuple(row))
