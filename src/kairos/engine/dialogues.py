"""What dialogues by USSD ask of the engine: a look at a text, and that an offer is said by SMS where they broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kairos import respond
from kairos.decide import closed_to
from kairos.deliver import Row
from kairos.domain.channel import USSD, USSD_PUSH
from kairos.domain.inbound import Look, Recall
from kairos.domain.message import Text
from kairos.domain.moment import Moment
from kairos.domain.purpose import recorded
from kairos.domain.subscriber import Contact, OpenOffer, State
from kairos.engine.answers import plain_row
from kairos.engine.compose import wording
from kairos.engine.work import DUPLICATE, Answer, Work, count_contact
from kairos.playbook.action import Action

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

SAID_BEFORE = "said by a message already"
NO_WORDS = "it has no words there, or another price by now"


def as_dialogue(text: Text, action: Action, language: str) -> Text:
    """A message that begins a dialogue: in which language it asks for a yes or no, and what goes out if it cannot."""
    treatment = next(one for one in action.treatments if one.channel == USSD_PUSH)
    reply_in = language if action.taken_by_reply else ""
    return msgspec.structs.replace(text, reply_in=reply_in, instead=treatment.fallback)


def take_look(engine: Engine, work: Work, index: int, look: Look) -> None:
    """Reads and writes nothing; of somebody who is not known there is no language."""
    state = _known(engine, work, index, look.msisdn)
    if state:
        work.answers[index] = look_up(engine, state, look, work.now)


def _known(engine: Engine, work: Work, index: int, msisdn: str) -> State | None:
    known = work.subscribers.get(msisdn)
    state = engine.state(work, known) if known else None
    if state is None or not state.msisdn:
        work.answers[index] = Answer("rejected", f"nobody is known by `{msisdn}`")
        return None
    return state


def look_up(engine: Engine, state: State, look: Look, now: int) -> Answer:
    """Their language, and what the text says to them."""
    program = engine.program
    row = plain_row(engine, state, now)
    language = program.language(row)
    return Answer("applied", language=language, text=program.page_text(look.page, language, row))


def take_recall(engine: Engine, work: Work, index: int, recall: Recall) -> None:
    """The first of the offers that has words for it, is open, and passes the contact policy is said by a message."""
    state = _known(engine, work, index, recall.msisdn)
    if state is None:
        return
    if not engine.is_new(state, recall.identity, work.now):
        work.answers[index] = DUPLICATE
        return
    work.changed.add(state.id)
    why = "nothing of it falls back"
    for key in recall.offers:
        offer = respond.find(state, key)
        channel = _fallback(engine, offer) if offer else ""
        if offer and channel:
            why = say_instead(engine, work, index, state, offer, channel)
            if not why:
                engine.statistics.count("dialogues.recalled", offer.test)
                return
    work.answers[index] = Answer("applied", why)


def _fallback(engine: Engine, offer: OpenOffer) -> str:
    """The channel on which an offer is said where a dialogue about it broke off; empty where it is not."""
    action = engine.program.playbook.action(offer.action)
    treatments = action.treatments if action else ()
    wanted = USSD_PUSH if offer.channel == USSD_PUSH else USSD
    return next((one.fallback for one in treatments if one.channel == wanted), "")


def say_instead(engine: Engine, work: Work, index: int, state: State, offer: OpenOffer, channel: str) -> str:
    """Say an open offer by a message of its own, once at most; why not, or an empty text.

    It is a contact like any other: consents, pauses, switches, freezes, quiet hours and limits are asked again.
    """
    program, deciding, now = engine.program, engine.program.decide, work.now
    if not respond.is_open(offer, now) or offer.proof:
        return "it is not open"
    if any(one.decision == offer.decision and one.channel == channel for one in state.contacts):
        return SAID_BEFORE
    row = plain_row(engine, state, now)
    said = wording(program, offer, channel, offer.expires + row[-1] - row[-2], Row(program.places, row))
    words = said and program.messages.text(said.message, offer.language, said.values)
    if not said or not words:
        return NO_WORDS
    action = said.action
    purpose = recorded(action.purpose)
    text = Text(
        offer.short_code,
        state.msisdn,
        words,
        True,
        min(now + action.send_within, offer.expires),
        offer.key,
        offer.decision,
        action=action.name,
        issue=action.issue,
        purpose=purpose,
        template_id=program.messages.template_id(said.message, offer.language, said.values, words),
        entity_id=program.entity(offer.short_code),
    )
    if not offer.test:
        halt = engine.halt(text, channel, now)
        moment = Moment(offer.decision, "", "", now, now, row, state, False)
        moment.party = engine.party_of(work, state)
        if why := halt.rule if halt else closed_to(deciding, moment, action.name, channel):
            return why
        contact = Contact(now, offer.decision, channel, action.name, action.issue, False, purpose)
        count_contact(state, moment.party, contact)
    work.send(index, state.id, channel, text)
    return ""
