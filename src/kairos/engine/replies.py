"""What a subscriber answered: understood, carried out, and answered with one clear text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kairos import enrich, respond
from kairos.domain.inputs import Answered, Reply
from kairos.domain.message import Text
from kairos.domain.purchase import Said
from kairos.domain.subscriber import OpenOffer, State
from kairos.domain.switch import CHARGING, stated
from kairos.engine.answers import answer, is_test, plain_row
from kairos.engine.habits import note_answer
from kairos.engine.orders import accept, refuse
from kairos.engine.subscriptions import PAYER_CHANGED, SIM_SWAPPED, payer_changed, refused_after_sim_swap
from kairos.engine.work import DUPLICATE, Answer, Work
from kairos.fulfil import CHANGED_HANDS

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

REPEATED = "may be a repeat"  # of the yes that was refused for want of money: it must not charge what came since
UNTAKEN = frozenset({"expired", "refused_before", "which_one", "nothing_open"})  # a yes that takes nothing
TOOK = frozenset({"accepted", "fulfilled", "refused", "unpaid"})  # what somebody said yes to
A_WHILE = 1_800_000  # ms; what may be a repeat was said before within it
OWES = "owes"  # and gets no other advance
PROOF = 160  # characters of a yes that are kept
HELP_EVERY = 3_600_000  # one help text an hour at most


def take_reply(engine: Engine, work: Work, index: int, reply: Reply) -> None:
    """Understand an answer and do what it means; every meaning but a relay gets one clear text back."""
    state = engine.subscriber(work, reply.msisdn, reply.happened)
    if state is None:
        work.answers[index] = Answer("rejected", f"unknown subscriber `{reply.msisdn}`")
        stranger = enrich.new_state(engine.program.plan, 0, reply.msisdn, work.now)
        _relay(work, index, stranger, reply, _understood(engine, stranger, reply, work.now))
        return
    if not engine.is_new(state, reply.identity, work.now):
        work.answers[index] = DUPLICATE
        return
    understood = _understood(engine, state, reply, work.now)
    if reply.repeated and understood.meaning == "accept" and _unclear(state, understood.offer, reply):
        understood = respond.Understood("which_one")
    elif reply.repeated and not _still_wanted(understood):
        engine.statistics.counts["duplicates"] += 1
        work.answers[index] = DUPLICATE
        return
    offer, meaning = understood.offer, understood.meaning
    work.changed.add(state.id)
    if reply.fingerprint and not reply.repeated:
        work.batch.answered.append(Answered("", reply.identity, "", reply.fingerprint, work.now))
    if meaning != "relay":
        respond.answered(state)
        note_answer(engine, work, state, reply.happened, offer)
    engine.statistics.count(f"replies.{meaning}", is_test(engine, state, offer))
    if meaning == "accept" and offer:
        refused = not_now(engine, work, state, offer, repeated=reply.repeated)
        if refused:
            refuse(engine, work, index, state, offer, *refused)
        else:
            _take_yes(engine, work, index, state, offer, reply)
    elif meaning == "relay":
        _relay(work, index, state, reply, understood)
    elif _may_answer(meaning, state, work.now):
        _carry_out(engine, work, state, understood, reply)
        answer(engine, work, index, state, respond.ANSWER[meaning], offer, reply.short_code)


def _still_wanted(understood: respond.Understood) -> bool:
    """Whether a reply that may be a repeat does something all the same.

    A yes to what is open and was not taken yet: the first would have taken it. A second yes that an offer asks for is
    never made of a repeat. A yes that takes nothing is told so once more: somebody may be waiting for it. A STOP, and a
    no to what is open, are never passed over: it may be a new one, to what came since.
    """
    offer = understood.offer
    if understood.meaning == "accept":
        return offer is not None and not (offer.twice and offer.proof)
    if understood.meaning == "decline":
        return offer is not None and offer.status in respond.TAKEABLE
    return understood.meaning == "stop" or understood.meaning in UNTAKEN


def _unclear(state: State, offer: OpenOffer | None, reply: Reply) -> bool:
    """Whether a yes that may be a repeat took something else the first time: what it does not name is not charged."""
    since = reply.happened - A_WHILE
    took = any(one.status in TOOK and one.changed > since for one in state.offers if one is not offer)
    return took and offer is not None and str(offer.number) not in reply.text


def not_now(engine: Engine, work: Work, state: State, offer: OpenOffer, *, repeated: bool) -> tuple[str, str] | None:
    """Why a yes is not taken now, and the message that says so."""
    if not state.msisdn:  # it came late, and what it takes was not settled when the subscription ended
        return CHANGED_HANDS, "refused"
    if not engine.switches.charging:
        return stated(CHARGING), "refused"
    if refused_after_sim_swap(engine, state, offer, work.now):
        return SIM_SWAPPED, "sim_changed"
    if offer.kind == "advance" and _owes(engine, state):
        return OWES, "refused"
    if payer_changed(engine, work, offer):
        return PAYER_CHANGED, "refused"
    if repeated and offer.status == "unpaid":
        return REPEATED, "refused_funds"
    return None


def _owes(engine: Engine, state: State) -> bool:
    """Whether they owe by now, or will when an advance that they took is answered."""
    owed = engine.program.playbook.vocabulary.owed
    known = state.attributes[engine.program.plan.places[owed]] if owed else 0
    return bool(known and known > 0) or any(o.kind == "advance" and o.status == "accepted" for o in state.offers)


def _take_yes(engine: Engine, work: Work, index: int, state: State, offer: OpenOffer, reply: Reply) -> None:
    """Order what was said yes to; or ask for a second yes, where the offer demands it."""
    said = Said(reply.identity, reply.text[:PROOF], reply.happened)
    if hear_yes(engine, work, index, state, offer, said) == "ask":
        answer(engine, work, index, state, "confirm", offer, reply.short_code)


def hear_yes(engine: Engine, work: Work, index: int, state: State, offer: OpenOffer, said: Said) -> respond.Weight:
    """A yes through any door is proof, and an order unless it must be said again."""
    weight = respond.weigh(offer, said)
    if weight == "repeat":
        engine.statistics.count("replies.repeat", offer.test)
        return weight
    respond.prove(state, offer.key, said, first=weight == "ask")
    if weight == "taken":
        accept(engine, work, index, state, offer, "accepted")
    return weight


def _understood(engine: Engine, state: State, reply: Reply, now: int) -> respond.Understood:
    language = engine.program.language(plain_row(engine, state, now))
    return respond.understand(engine.program.replies, reply, state, language, now)


def _relay(work: Work, index: int, state: State, reply: Reply, understood: respond.Understood) -> None:
    """Hand on what belongs to another service, whoever sent it."""
    if understood.meaning == "relay":
        text = Text(reply.msisdn, reply.short_code, reply.text, account=understood.account)
        work.send(index, state.id, "relay", text)


def _may_answer(meaning: str, state: State, now: int) -> bool:
    """Everything is answered, but what is unclear only so often: two machines must not talk for ever."""
    if meaning != "help":
        return True
    due = now - state.helped >= HELP_EVERY
    state.helped = now if due else state.helped
    return due


def _carry_out(engine: Engine, work: Work, state: State, understood: respond.Understood, reply: Reply) -> None:
    """What a decline or a STOP changes; other meanings change nothing."""
    if understood.meaning == "decline" and understood.offer:
        declined = respond.decline(state, understood.offer.key, work.now)
        if declined:
            work.log(state.id, declined.decision, declined.key, "declined")
    if understood.meaning == "stop":
        heed_stop(engine, work, state, understood.withdraws, reply.happened, reply.identity)


def heed_stop(
    engine: Engine, work: Work, state: State, withdraws: Iterable[str], happened: int, identity: str, channel: str = ""
) -> None:
    """No more offers, through whichever door it was said: what it withdraws is proved, what is open is withdrawn.

    With a `channel`, no more on that one: what is open from it alone.
    """
    for attribute in withdraws:
        known = state.stamps[engine.program.plan.places[attribute]]  # later than now where a clock went back
        at = max(happened, work.now, known)
        enrich.set_attribute(engine.program.plan, state, attribute, False, at)
        enrich.prove(state, [(attribute, engine.program.plan.places[attribute])], at, identity)
    for offer in respond.stop(state, work.now, channel):
        work.log(state.id, offer.decision, offer.key, "stopped")
