"""What was taken becomes an order, and the charging system's answer to it the subscriber's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos import enrich, fulfil, respond
from kairos.domain.inputs import Fulfilment
from kairos.domain.subscriber import OpenOffer, State
from kairos.engine.answers import answer
from kairos.engine.work import Work
from kairos.ports import OutgoingUpdate

if TYPE_CHECKING:
    from kairos.engine.engine import Engine


def accept(engine: Engine, work: Work, index: int, state: State, offer: OpenOffer, outcome: str) -> None:
    """An accepted or redeemed offer becomes an order, once: its key is the order's Idempotency-Key."""
    taken = respond.accept(state, offer.key, work.now)
    if taken is None:
        return
    engine.statistics.counts[outcome] += 1
    work.log(state.id, offer.decision, offer.key, outcome)
    order = fulfil.order(taken, state.msisdn, engine.program.playbook.currency.code)
    work.send(index, state.id, "ocs", order)


def refuse(engine: Engine, work: Work, index: int, state: State, offer: OpenOffer, reason: str) -> None:
    """Not now, and nothing is charged: the offer stays open, and a later yes is as good."""
    engine.statistics.counts["refused"] += 1
    work.log(state.id, offer.decision, offer.key, "refused", reason)
    answer(engine, work, index, state, "refused", offer, offer.short_code)


def take_fulfilment(engine: Engine, work: Work, index: int, fulfilment: Fulfilment) -> None:
    work.batch.updates.append(OutgoingUpdate(fulfilment.outgoing, "delivered", 0, 0))
    state = engine.state(work, fulfilment.subscriber)
    settled = fulfil.settle(state, fulfilment, work.now) if state else None
    if state is None or settled is None:
        return
    work.changed.add(state.id)
    outcome = "fulfilled" if fulfilment.status == "done" else "refused"
    if outcome == "fulfilled":
        enrich.bought(state, settled.offer, work.now)
    engine.statistics.counts[outcome] += 1
    work.log(state.id, settled.offer.decision, settled.offer.key, outcome, fulfilment.reason)
    answer(engine, work, index, state, settled.answer, settled.offer, settled.offer.short_code)
