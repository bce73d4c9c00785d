"""A no that came through another door: to an agent, in an app; an event tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos import respond
from kairos.domain.event import Event
from kairos.domain.subscriber import State
from kairos.engine.habits import note_answer
from kairos.engine.work import Work

if TYPE_CHECKING:
    from kairos.engine.engine import Engine


def take_no(engine: Engine, work: Work, state: State, event: Event) -> None:
    """What the event names is declined where it is open, and rests as after a reply, from when that happened."""
    name = event.data.get(engine.program.declines[event.kind])
    action = engine.program.playbook.action(name)
    if action is None:
        if name is not None:
            engine.tell([f"an event `{event.kind}` declines `{name}`, which is no offer of the playbook"])
        return
    offers = [one for one in state.offers if one.action == name and one.status in respond.TAKEABLE]
    for offer in offers:
        declined = respond.decline(state, offer.key, work.now)
        if declined:
            work.log(state.id, declined.decision, declined.key, "declined", event.identity)
    respond.answered(state)
    if offers:
        note_answer(engine, work, state, event.happened, offers[-1])
    respond.cool_down(state, action, action.name, min(event.happened, work.now), work.now)
