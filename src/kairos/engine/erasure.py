"""A person is forgotten: their number is nobody's, nothing is open, and their state is empty from this transaction on.

What else the store has of them goes beside the engine soon after (`kairos.adapters.sqlite.sweep`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kairos import enrich, respond
from kairos.domain.erasure import Erased, Erasure
from kairos.domain.identity import name_of
from kairos.domain.subscriber import KnownBy, Proof, State
from kairos.engine.budgets import settle
from kairos.engine.subscriptions import find, leave_account
from kairos.engine.work import Answer, Work

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

UNKNOWN: Final = "unknown"
HELD: Final = "held"  # something is under way: finish it first
SUPPRESSED: Final = "suppressed"  # whose proof a consent is that was withdrawn before they were forgotten


def take_erasure(engine: Engine, work: Work, index: int, erasure: Erasure) -> None:
    """It stands alone in its slice, as a change of who has a number does."""
    known = find(engine, work, erasure.msisdn)
    state = engine.state(work, known) if known else None
    if state is None or not state.msisdn:
        work.answers[index] = Answer("rejected", f"nobody is known by `{erasure.msisdn}`", outcome=UNKNOWN)
        return
    why, forced = _held(engine, state, work.now)
    if why and not (forced and erasure.force):
        work.answers[index] = Answer("rejected", why, outcome=HELD)
        return
    consents = _withdrawn(engine, state)
    mark = engine.suppression.mark(state.msisdn) if consents else b""
    if mark:
        engine.suppression.known[mark] = consents
    names = _forget_names(engine, work, state)
    for offer in [one for one in state.offers if one.status in respond.TAKEABLE]:
        respond.withdraw(state, offer.key, work.now)
    settle(engine, work, state)
    empty = enrich.new_state(engine.program.plan, state.id, "", state.created)
    empty.known = KnownBy(ended=work.now)
    work.states[state.id] = empty
    work.changed.add(state.id)
    work.batch.erased.append(Erased(state.id, work.now, erasure.reason, names, mark, consents))
    engine.statistics.counts["erased"] += 1
    work.answers[index] = Answer("applied", outcome=SUPPRESSED if mark else "")


def suppress(engine: Engine, state: State, now: int) -> None:
    """A number comes anew whose owner said STOP and was forgotten then: they have still said it."""
    plan = engine.program.plan
    for consent in engine.suppression.withdrawn(state.msisdn):
        if consent in plan.places:
            enrich.set_attribute(plan, state, consent, False, now)
            state.proofs[consent] = Proof(False, now, SUPPRESSED)


def _held(engine: Engine, state: State, now: int) -> tuple[str, bool]:
    """Why they cannot be forgotten now, and whether that may be overruled."""
    if any(not one.done for one in state.gatherings):
        return "parts of a message for them are still coming: ask again in some seconds", False
    for purchase in state.purchases:
        return (
            f"purchase `{purchase.key}` is {purchase.status}: let it end, or `force`, and what is left is undone",
            True,
        )
    for offer in state.offers:
        if offer.redeemed_by and respond.is_open(offer, now):
            return f"`{offer.title}` is promised until its end: wait, or `force`, and it is taken back", True
    if state.passing and state.passing.waiting:
        return "a message of another system waits for them: let it go, or `force`, and it is dropped", True
    owed = engine.program.playbook.vocabulary.owed
    if owed and (state.attributes[engine.program.plan.places[owed]] or 0) > 0:
        return (
            "they owe for an advance: let it be paid back, or `force`, and only the charging system knows of it",
            True,
        )
    return "", False


def _withdrawn(engine: Engine, state: State) -> tuple[str, ...]:
    """The consents, by attribute, that they do not give."""
    places, policy = engine.program.plan.places, engine.program.playbook.policy
    words = {word for gate in policy.consents for word in gate.condition.names if word in places}
    return tuple(sorted(word for word in words if state.attributes[places[word]] is False))


def _forget_names(engine: Engine, work: Work, state: State) -> tuple[tuple[str, str], ...]:
    """Their number and the names that are theirs alone; nobody has them, for the inputs that follow, too."""
    names = [("msisdn", state.msisdn)]
    if state.known:
        leave_account(engine, work, state, work.now)
        several = ((kind, dated.value) for kind, dated in state.known.names.items())
        names += [one for one in several if find(engine, work, name_of(*one)) == state.id]
    for kind, value in names:
        work.subscribers[name_of(kind, value)] = 0
    gone = {(kind, value) for kind, value in names}
    work.batch.identities = [one for one in work.batch.identities if one[2] != state.id or one[:2] not in gone]
    return tuple(names)
