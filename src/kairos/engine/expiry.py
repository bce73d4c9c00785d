"""What a timer that is due ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos import respond
from kairos.domain.inputs import Timer
from kairos.engine.budgets import settle
from kairos.engine.parts import PARTS, end_waiting
from kairos.engine.passages import WAITING, end_of_waiting
from kairos.engine.work import Work

if TYPE_CHECKING:
    from kairos.engine.engine import Engine


def take_timer(engine: Engine, work: Work, index: int, timer: Timer) -> None:
    """The end of an open offer, of the wait for a message's other parts, or of another system's message."""
    work.batch.timers_done.append(timer.id)
    state = engine.state(work, timer.subscriber)
    if state and timer.payload.startswith(PARTS):
        end_waiting(engine, work, index, state, timer.payload)
        return
    if state and timer.payload.startswith(WAITING):
        end_of_waiting(engine, work, index, state, timer)
        return
    offer = respond.expire(state, timer.payload, work.now) if state else None
    if state and offer:
        work.changed.add(state.id)
        work.log(state.id, offer.decision, offer.key, "expired")
    if state and state.reserved:
        work.changed.add(state.id)
        settle(engine, work, state, ended=int(timer.payload.rpartition("-")[2]))
