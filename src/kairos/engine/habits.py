"""An answer, through whatever door, teaches when and where they usually answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos import enrich
from kairos.domain.subscriber import OpenOffer, State
from kairos.engine.answers import is_test
from kairos.engine.work import Work

if TYPE_CHECKING:
    from kairos.engine.engine import Engine


def note_answer(engine: Engine, work: Work, state: State, happened: int, offer: OpenOffer | None) -> None:
    """Count it at its own time, and for the channel of the offer that it is about; not where it is a test."""
    if not is_test(engine, state, offer):
        enrich.answered(engine.program.plan, state, min(happened, work.now), offer.channel if offer else "")
