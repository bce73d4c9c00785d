"""An event becomes a moment, the moment a decision, and the decision what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from kairos import enrich, respond
from kairos.decide import Arm, Decided, decide
from kairos.domain.budget import Reserved
from kairos.domain.channel import LONG, NOTIFICATION, USSD_PUSH
from kairos.domain.event import Event
from kairos.domain.inbound import Visit
from kairos.domain.inputs import Answered
from kairos.domain.message import Text
from kairos.domain.moment import Moment
from kairos.domain.money import split_tax
from kairos.domain.purpose import recorded
from kairos.domain.subscriber import Contact, OpenOffer, State
from kairos.engine.budgets import ledger_of
from kairos.engine.compose import Composer, language_of, short_code_of, spoken_in
from kairos.engine.declines import take_no
from kairos.engine.dialogues import as_dialogue
from kairos.engine.elsewhere import take_purchase, take_return
from kairos.engine.habits import note_answer
from kairos.engine.inbound import next_moment, tell
from kairos.engine.orders import accept
from kairos.engine.program import Program
from kairos.engine.subscriptions import learn
from kairos.engine.work import DUPLICATE, Answer, Work, count_contact, encode
from kairos.playbook.action import Action
from kairos.rules import to_text

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

DECISIONS_KEPT = 5  # ids of the latest decisions in a state, for `explain`


def take_event(engine: Engine, work: Work, index: int, event: Event) -> Moment | None:
    """Fold an event, redeem what it redeems, and make a moment where some action answers its kind."""
    state = engine.subscriber(work, event.msisdn, event.happened)
    if state is None:
        work.answers[index] = Answer("rejected", f"unknown subscriber `{event.msisdn}`")
        plain(work, index, event, 0)
        return None
    program, now = engine.program, work.now
    if not engine.is_new(state, event.identity, now):
        work.answers[index] = DUPLICATE
        return None
    work.changed.add(state.id)
    engine.statistics.counts["events"] += 1
    if event.notification and event.notification.fingerprint:
        told = event.notification
        work.batch.answered.append(Answered(told.account, told.message_id, "", told.fingerprint, now))
    enrich.fold(program.plan, state, event)
    if event.kind in program.heeded:
        _heed(engine, work, state, event)
    if event.named and state.msisdn:
        learn(engine, work, state, event.named, event.happened)
    asked = event.kind in program.decide.answers
    promised = bool(state.offers) and any(offer.redeemed_by == event.kind for offer in state.offers)
    if not (asked or promised) or not state.msisdn:  # late news of a subscription that has ended only folds
        plain(work, index, event, state.id)
        return None
    row = enrich.row(program.plan, state, event.kind, event.data, event.happened, now)
    for offer in respond.redeemed(program.replies, state, event.kind, row, event.happened) if promised else ():
        respond.answered(state)
        note_answer(engine, work, state, event.happened, offer)
        accept(engine, work, index, state, offer, "redeemed")
    if program.replies.unreadable:
        engine.tell(f"a promise waits that cannot be redeemed: {why}" for why in program.replies.unreadable.values())
    if not asked:
        plain(work, index, event, state.id)
        return None
    riding = event.notification is not None and event.notification.rides
    language = event.notification.language if event.notification else ""
    decision = work.ids.take("decision")
    moment = Moment(decision, event.identity, event.kind, min(event.happened, now), now, row, state, riding, language)
    if program.decide.testers and state.msisdn in program.decide.testers:
        moment.test = True
        moment.wanted, moment.asked = program.decide.testers[state.msisdn]
    return moment


def _heed(engine: Engine, work: Work, state: State, event: Event) -> None:
    """What an event says of consents is proved; a no that it tells is one, and so is a purchase."""
    program = engine.program
    if event.kind in program.consents:
        enrich.prove(state, program.consents[event.kind], event.happened, event.identity)
    if event.kind in program.declines:
        take_no(engine, work, state, event)
    if event.kind in program.buys:
        take_purchase(engine, work, state, event)
    if event.kind in program.returns:
        take_return(engine, work, state, event)


def decide_moments(engine: Engine, work: Work, moments: dict[int, Moment]) -> None:
    for moment in moments.values():
        if moment.state.known:
            moment.party = engine.party_of(work, moment.state)
    notifications = {moment.id: work.inputs[index].notification for index, moment in moments.items()}  # type: ignore[union-attr]
    compose = Composer(engine.program, notifications, engine.parts_at_most, engine.link_of)
    program = engine.program.decide
    ledger = ledger_of(engine, work) if program.budgets else None
    decided = decide(program, list(moments.values()), engine.scorer, engine.draw, compose, ledger)
    for (index, moment), made in zip(moments.items(), decided, strict=True):
        _say(engine, work, index, moment, made)
    more = {
        index: found
        for index, moment in moments.items()
        if moment.where and (found := next_moment(engine, work, index, moment))
    }
    if more:
        decide_moments(engine, work, more)


def _say(engine: Engine, work: Work, index: int, moment: Moment, made: Decided) -> None:
    """Keep the record; reserve the contact, open the offer, and write what goes out."""
    decision, state, event = made.decision, moment.state, work.inputs[index]
    assert isinstance(event, (Event, Visit))
    state.decisions = [*state.decisions[1 - DECISIONS_KEPT :], decision.id]
    work.batch.decisions.append((decision.id, state.id, decision.now, encode(decision)))
    engine.statistics.decided(engine.program.decide, decision)
    if made.arm is None or made.composed is None or decision.chosen is None:
        if moment.where:
            tell(engine, work, index, moment, made, None)
        plain(work, index, event, state.id)
        return
    action, channel = made.arm.action, engine.program.decide.channels[decision.chosen.channel]
    purpose = recorded(action.purpose)
    if not moment.test and not moment.where:  # who asks is not interrupted
        contact = Contact(work.now, decision.id, channel, action.name, action.issue, moment.riding, purpose)
        count_contact(state, moment.party, contact)
    key = f"{engine.epoch}-{decision.id}"
    offers = action.makes_offer
    if made.taken:
        state.reserved.append(Reserved(decision.id, offers, made.taken))
    offer = _offer(engine, made.arm, made.composed.number, key, moment, event, channel) if offers else None
    if offer:
        respond.open_offer(state, offer)
    if offers or made.taken:
        work.wake(state.id, work.now + action.accept_within, key)
    if moment.where:
        tell(engine, work, index, moment, made, offer)
        return
    send_by = work.now + min(action.send_within, action.accept_within)
    if moment.riding:
        line = Line(key, decision.id, send_by, action, purpose, made.composed.template_id)
        _notify(work, index, event, state.id, made.composed.text, line)
        return
    plain(work, index, event, state.id)
    sender = short_code_of(engine.program, event.notification)
    work.send(index, state.id, channel, _own_message(engine.program, moment, made, channel, sender, key, send_by))


def _own_message(
    program: Program, moment: Moment, made: Decided, channel: str, sender: str, key: str, send_by: int
) -> Text:
    assert made.arm
    assert made.composed
    action, composed, msisdn = made.arm.action, made.composed, moment.state.msisdn
    place = program.decide.address_at.get(channel, -1)
    text = Text(
        sender,
        msisdn if place < 0 else str(moment.row[place]),
        composed.text,
        True,
        send_by,
        key,
        made.decision.id,
        action=action.name,
        issue=action.issue,
        past_switches=moment.past_switches,
        purpose=recorded(action.purpose),
        template_id=composed.template_id,
        entity_id=program.entity(sender),
        msisdn="" if place < 0 else msisdn,
        subject=composed.subject,
        html=composed.html,
        media=composed.media,
    )
    if channel == USSD_PUSH:
        return as_dialogue(text, action, language_of(program, moment))
    if channel in LONG:
        return msgspec.structs.replace(text, reply_in=spoken_in(program, moment, action, channel))
    return text


def _offer(
    engine: Engine, arm: Arm, number: int, key: str, moment: Moment, event: Event | Visit, channel: str
) -> OpenOffer:
    action, variant = arm.action, arm.variant
    payer = moment.row[engine.program.places[action.paid_by]] if action.paid_by else action.payer
    return OpenOffer(
        number=number,
        key=key,
        decision=moment.id,
        action=action.name,
        variant=variant.name,
        kind=action.kind,
        title=engine.program.offers[arm.bit]["title"] or action.title,
        price=variant.price,
        product=variant.product if action.provisions else "",
        charges=action.charges,
        language=language_of(engine.program, moment),
        short_code=short_code_of(engine.program, event.notification),
        channel=moment.where or channel,
        made=moment.now,
        expires=moment.now + action.accept_within,
        after_decline=action.after_decline,
        redeemed_by=action.redeemed_by,
        redeemed_when=to_text(variant.redeemed_when) if variant.redeemed_when else "",
        changed=moment.now,
        test=moment.test,
        products=variant.products if action.provisions and len(variant.products) > 1 else (),
        payer=str(payer).lstrip("+"),
        twice=engine.program.playbook.policy.asks_twice(action, variant.price),
        lasts=variant.lasts,
        tax=split_tax(variant.price, action.tax)[1],
        payer_since=moment.state.stamps[engine.program.plan.places[action.paid_by]] if action.paid_by else 0,
        issue=action.issue,
        issue_after_decline=action.issue_after_decline,
        all_after_decline=action.all_after_decline,
        asked=moment.identity if moment.where else "",
    )


def plain(work: Work, index: int, event: Event | Visit, subscriber: int) -> None:
    """The notification, if the event came in one, as it came."""
    if event.notification:
        _notify(work, index, event, subscriber, event.notification.text)


class Line(NamedTuple):
    """What a notification carries of ours."""

    offer: str
    decision: int
    send_by: int
    action: Action
    purpose: str
    template_id: str


def _notify(
    work: Work,
    index: int,
    event: Event | Visit,
    subscriber: int,
    text: str,
    line: Line | None = None,
) -> None:
    notification = event.notification
    assert notification is not None
    payload = Text(
        source=notification.source,
        destination=notification.destination,
        text=text,
        account=notification.account,
        message_id=notification.message_id,
        receipt=notification.receipt,
        carried=notification.carried,
    )
    if line:
        payload = msgspec.structs.replace(
            payload,
            send_by=line.send_by,
            offer=line.offer,
            decision=line.decision,
            plain=notification.text,
            action=line.action.name,
            issue=line.action.issue,
            purpose=line.purpose,
            template_id=line.template_id,
        )
    work.send(index, subscriber, NOTIFICATION, payload)
