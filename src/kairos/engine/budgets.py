"""Budgets in the transaction: what decisions reserve, and what becomes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

from kairos.decide import Ledger
from kairos.domain.budget import Key, Reserved, Standing, Taken
from kairos.domain.subscriber import State
from kairos.engine.work import Work

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

End = Literal["kept", "spent", "given back"]


def ledger_of(engine: Engine, work: Work) -> Ledger:
    """The budgets of the batch, as the one before it left them; read where it did not know them, which is once in a
    period, over what the batches in flight know better."""
    if work.ledger is None:
        known = next((one.ledger.known for one in reversed(engine.flying) if one.ledger), engine.standings)

        def read(keys: Collection[Key]) -> Mapping[Key, Standing]:
            found = {key: known[key] for key in keys if key in known}
            if len(found) < len(keys):
                found |= engine.store.budgets([key for key in keys if key not in known])
                for flying in engine.flying:
                    found |= {key: flying.batch.budgets[key] for key in keys if key in flying.batch.budgets}
            return found

        work.ledger = Ledger(engine.program.decide, work.now, read, engine.lease)
        work.batch.budgets = work.ledger.written
    return work.ledger


def settle(engine: Engine, work: Work, state: State, ended: int = 0) -> None:
    """Spend what was taken by the subscriber and give back what cannot be taken any more.

    `ended` is the decision whose offer has just come to its end by the clock.
    """
    kept = []
    for reserved in state.reserved:
        end = _end(state, reserved, ended)
        if end == "kept":
            kept.append(reserved)
        else:
            _move(engine, work, reserved.taken, -1, int(end == "spent"))
    state.reserved = kept


def _end(state: State, reserved: Reserved, ended: int) -> End:
    """What becomes of it, by the status of its offer. What is only said is spent once it had its time."""
    if not reserved.offers:
        return "spent" if reserved.decision == ended else "kept"
    offer = next((one for one in state.offers if one.decision == reserved.decision), None)
    if offer and (offer.status in ("open", "accepted") or (offer.status == "unpaid" and reserved.decision != ended)):
        return "kept"
    return "spent" if offer and offer.status == "fulfilled" else "given back"


def unsaid(engine: Engine, work: Work, state: State, decision: int) -> None:
    """Give back what a decision took for something that is only said, and was not."""
    for reserved in state.reserved:
        if reserved.decision == decision and not reserved.offers:
            _move(engine, work, reserved.taken, -1, 0)
            state.reserved = [one for one in state.reserved if one is not reserved]


def reversed_outside(engine: Engine, work: Work, taken: Collection[Taken]) -> None:
    """What was spent on a purchase that is none any more."""
    _move(engine, work, taken, 0, -1)


def taken_by(state: State, decision: int) -> tuple[Taken, ...]:
    """What an offer holds."""
    return tuple(one for reserved in state.reserved if reserved.decision == decision for one in reserved.taken)


def _move(engine: Engine, work: Work, taken: Collection[Taken], reserved: int, spent: int) -> None:
    ledger = ledger_of(engine, work)
    for one in taken:
        ledger.move(one, reserved * one.amount, spent * one.amount)
