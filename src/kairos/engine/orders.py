"""What was taken becomes a purchase, step by step; and its end the subscriber's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from kairos import enrich, fulfil, respond
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.inputs import Fulfilment, Reversal
from kairos.domain.purchase import Purchase
from kairos.domain.subscriber import OpenOffer, State
from kairos.engine.answers import answer
from kairos.engine.budgets import reversed_outside, settle, taken_by
from kairos.engine.work import DUPLICATE, Answer, Work, encode
from kairos.ports import OutgoingUpdate

if TYPE_CHECKING:
    from kairos.engine.engine import Engine


def accept(engine: Engine, work: Work, index: int, state: State, offer: OpenOffer, outcome: str) -> None:
    """An accepted or redeemed offer becomes a purchase, once, and its first step an order."""
    taken = respond.accept(state, offer.key, work.now)
    if taken is None:
        return
    engine.statistics.count(outcome, offer.test)
    work.log(state.id, offer.decision, offer.key, outcome, "" if taken.attempt == 1 else f"attempt {taken.attempt}")
    if taken.kind == "advance":  # one at a time: what is owed for it is known only when it is fulfilled
        for other in respond.withdraw_all(state, "advance", work.now):
            work.log(state.id, other.decision, other.key, "dropped", "another advance was taken")
    currency = engine.program.playbook.currency.code
    purchase = fulfil.begin(taken, state.id, state.msisdn, currency, work.now, engine.steps)
    if state.reserved:
        purchase = replace(purchase, taken=taken_by(state, taken.decision))
    _go_on(engine, work, index, state, purchase)


def refuse(engine: Engine, work: Work, index: int, state: State, offer: OpenOffer, reason: str, message: str) -> None:
    """Not now, and nothing is charged: the offer stays open, and a later yes is as good."""
    engine.statistics.count("refused", offer.test)
    work.log(state.id, offer.decision, offer.key, "refused", reason)
    answer(engine, work, index, state, message, offer, offer.short_code)


def take_fulfilment(engine: Engine, work: Work, index: int, fulfilment: Fulfilment) -> None:
    """A step has ended: begin the next, or say how all of it ended."""
    status = "failed" if fulfilment.status == "unanswered" else "delivered"
    work.batch.updates.append(OutgoingUpdate(fulfilment.outgoing, status, work.now, 0))
    state = engine.state(work, fulfilment.subscriber)
    purchase = _purchase(engine, work, state, fulfilment.offer)
    if purchase is None:
        return
    moved = fulfil.take(purchase, fulfilment.offer, fulfilment.status, fulfilment.reason, work.now)
    if moved:
        _go_on(engine, work, index, state, moved)


def take_reversal(engine: Engine, work: Work, index: int, reversal: Reversal) -> None:
    """Somebody outside says what became of a purchase: the record, the offer and what is owed follow."""
    state = engine.state(work, reversal.subscriber)
    purchase = _purchase(engine, work, state, reversal.key)
    if purchase is None:
        work.answers[index] = Answer("rejected", f"there is no purchase `{reversal.key}`")
        return
    moved = fulfil.reverse(purchase, reversal.status, reversal.reason, work.now, reversal.amount)
    if moved is None:
        agrees = purchase.status == reversal.status or (purchase.returned and purchase.returned == reversal.amount)
        work.answers[index] = DUPLICATE if agrees else Answer("rejected", _why_not(engine, purchase, reversal))
    elif purchase.status == "done":
        _undo_sale(engine, work, state, moved, moved.returned - purchase.returned)
    else:
        _go_on(engine, work, index, state, moved)


def _why_not(engine: Engine, purchase: Purchase, reversal: Reversal) -> str:
    show = engine.program.playbook.currency.show
    if reversal.amount is None:
        return f"purchase `{purchase.key}` is {purchase.status}: it cannot become {reversal.status}"
    went = f"{show(purchase.returned)} of {show(purchase.price)} went back"
    return f"purchase `{purchase.key}` is {purchase.status}, and {went}: it cannot be {show(reversal.amount)}"


def _purchase(engine: Engine, work: Work, state: State | None, step: str) -> Purchase | None:
    """The purchase that a step's key belongs to: under way in the state, else as it was kept."""
    key = fulfil.purchase_of(step)
    held = next((one for one in state.purchases if one.key == key), None) if state else None
    if held is None:
        held = next(
            (w.batch.purchases[key] for w in (work, *reversed(engine.flying)) if key in w.batch.purchases), None
        )
    held = held or engine.store.purchase(key)
    offer = respond.find(state, key) if state and held is None else None
    if state and offer and offer.status == "accepted":  # its order is older than the records of purchases
        return fulfil.begin(offer, state.id, state.msisdn, engine.program.playbook.currency.code, offer.changed)
    return held


def _go_on(engine: Engine, work: Work, index: int, state: State | None, purchase: Purchase) -> None:
    """Keep the record as it now is; send its next step, or close it."""
    if state and state.msisdn != purchase.msisdn:
        purchase = fulfil.go_back(purchase, fulfil.CHANGED_HANDS, work.now)
    _keep(work, state, purchase)
    step = fulfil.waiting(purchase)
    if step:
        work.send(index, purchase.subscriber, "ocs", fulfil.order(purchase, step))
        return
    if purchase.status == "stuck":
        engine.statistics.counts["stuck"] += 1  # a tester's too: somebody must look
        about, why = str(purchase.subscriber), purchase.reason or "it was not answered"
        work.batch.dead_letters.append(DeadLetter("purchase", purchase.key, work.now, about, why, encode(purchase)))
        work.log(purchase.subscriber, purchase.decision, purchase.offer, "stuck", purchase.reason)
        return
    settled = fulfil.settle(state, purchase, work.now) if state else None
    if state is None or settled is None:
        return
    engine.statistics.count(settled.outcome, purchase.test)
    work.log(state.id, settled.offer.decision, settled.offer.key, settled.outcome, purchase.reason)
    if purchase.status == "done":
        enrich.bought(state, settled.offer, work.now)
    if purchase.advance and purchase.status == "done":
        _owe(engine, state, purchase.price, work.now)
    if settled.offer.status == "unpaid" and state.reserved:  # should its timer have gone off while it was paid for
        work.wake(state.id, settled.offer.expires, settled.offer.key)
    answer(engine, work, index, state, settled.answer, settled.offer, settled.offer.short_code)


def _keep(work: Work, state: State | None, purchase: Purchase) -> None:
    """In the table of purchases for good, and in the state while it is under way."""
    work.batch.purchases[purchase.key] = purchase
    if state is None:  # a number that has another owner now
        return
    work.changed.add(state.id)
    others = [one for one in state.purchases if one.key != purchase.key]
    state.purchases = others if purchase.status in fulfil.ENDED else [*others, purchase]


def _undo_sale(engine: Engine, work: Work, state: State | None, purchase: Purchase, returned: int) -> None:
    """What was done was reversed outside: it is no sale, or less of one, and what went back now is not owed."""
    _keep(work, state, purchase)
    outcome = "reversed" if purchase.status == "reversed" else "partly_reversed"
    engine.statistics.count(outcome, purchase.test)
    if state:
        settle(engine, work, state)  # what it held may be spent only now
    if purchase.taken and purchase.status == "reversed":
        reversed_outside(engine, work, purchase.taken)
    work.log(purchase.subscriber, purchase.decision, purchase.offer, outcome, purchase.reason, test=purchase.test)
    if state is None:
        return
    if purchase.status == "reversed":
        respond.set_status(state, purchase.offer, "reversed", work.now)
        enrich.given_back(state, purchase.decision)
    if purchase.advance:
        _owe(engine, state, -returned, work.now)


def _owe(engine: Engine, state: State, amount: int, now: int) -> None:
    """Add to what the subscriber owes, if the vocabulary has a word for it."""
    plan, name = engine.program.plan, engine.program.playbook.vocabulary.owed
    if name:
        place = plan.places[name]
        known = state.attributes[place] or 0
        enrich.set_attribute(plan, state, name, max(0, known + amount), max(now, state.stamps[place]))
