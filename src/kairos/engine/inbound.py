"""Whoever asks is told what is open, else what is best now; and their yes or no is a yes or a no as by reply."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from kairos import enrich, respond
from kairos.decide import Decided, closed_since
from kairos.deliver import Known, Row
from kairos.domain.channel import EMAIL, INBOUND, PAGE, USSD
from kairos.domain.inbound import Look, Recall, Told, Visit, Word
from kairos.domain.message import Text
from kairos.domain.moment import Moment
from kairos.domain.purchase import Said
from kairos.domain.purpose import MARKETING, recorded
from kairos.domain.subscriber import OpenOffer, State
from kairos.domain.switch import CHARGING, stated
from kairos.engine.answers import is_test, plain_row
from kairos.engine.compose import wording
from kairos.engine.dialogues import look_up, take_look, take_recall
from kairos.engine.habits import note_answer
from kairos.engine.program import Program
from kairos.engine.replies import OWES, hear_yes, heed_stop, not_now
from kairos.engine.subscriptions import PAYER_CHANGED, SIM_SWAPPED
from kairos.engine.work import APPLIED, DUPLICATE, Answer, Asking, Work, decode_state
from kairos.fulfil import CHANGED_HANDS
from kairos.playbook.page_words import LINK
from kairos.ports import Loaded

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

UNKNOWN_OFFER: Final = "unknown offer"
CALLED: Final = ("calls", "ivr")  # where others say whose call it was: its offer must be theirs, for a STOP, too

# How an offer stands, by its status: what it is called over HTTP, and in words for an agent.
STANDS: Final = {
    "open": ("pending", "it is open: it can be taken until its end"),
    "unpaid": ("pending", "the balance was too low, and nothing was charged: it can be taken again until its end"),
    "accepted": ("accepted", "it is being fulfilled: a message tells the subscriber when it is done"),
    "fulfilled": ("fulfilled", "they have it, and it was charged once"),
    "refused": ("refused", "it was taken, and the charging system refused it: nothing was charged"),
    "declined": ("declined", "they said no: it is not offered again while that rests"),
    "bought": ("fulfilled", "they bought it through another door: nothing is charged for the offer"),
    "expired": ("expired", "its time has passed: nothing is charged"),
    "withdrawn": ("withdrawn", "it was taken back: nothing is charged"),
    "reversed": ("reversed", "they had it, and it was reversed outside"),
}
AGAIN: Final = "nothing is ordered yet: ask whether they are sure, and send the yes again, as another request"
REFUSED: Final = {
    CHANGED_HANDS: "the number is not theirs any more",
    stated(CHARGING): "nothing is charged at the moment: it was switched off; the offer stays open",
    SIM_SWAPPED: "their SIM was changed a short while ago, so nothing is charged: check who they are; it stays open",
    OWES: "they owe for an advance: that comes first; the offer stays open",
    PAYER_CHANGED: "the number that would pay is another person's now",
}


def answer_at_once(engine: Engine, source: Visit | Word | Look, loaded: Loaded, now: int) -> Answer | None:
    """What is open, told from a state as it was read: it writes nothing, so it waits for no batch. None: it must be
    taken as any input is."""
    if isinstance(source, Word) or source.msisdn in loaded.moved:
        return None
    blob = loaded.states.get(loaded.subscribers.get(source.msisdn, 0))
    state = decode_state(blob) if blob else None
    if state is None or state.layout != engine.program.plan.layout:
        return None
    if isinstance(source, Look):
        return look_up(engine, state, source, now)
    told = _open(engine, state, now, source.channel) if state.offers else []
    if not told:
        return None
    engine.statistics.counts["inbound.open"] += 1
    return Answer("applied", offers=tuple(told[: source.at_most]), language=told[0].language)


def take_inbound(engine: Engine, work: Work, index: int, source: Asking) -> Moment | None:
    """Who asks makes a moment, unless they are told what is open; who answers makes none."""
    match source:
        case Visit():
            return take_visit(engine, work, index, source)
        case Word():
            take_word(engine, work, index, source)
        case Look():
            take_look(engine, work, index, source)
        case Recall():
            take_recall(engine, work, index, source)
    return None


def take_visit(engine: Engine, work: Work, index: int, visit: Visit) -> Moment | None:
    """What is open is told as it was, without a write; else a moment is made, and what is decided is told."""
    state = _known(engine, work, index, visit)
    if state is None:
        return None
    told = _open(engine, state, work.now, visit.channel)
    if told:
        engine.statistics.counts["inbound.open"] += 1
        work.answers[index] = Answer("applied", offers=tuple(told[: visit.at_most]), language=told[0].language)
        return None
    if not engine.is_new(state, visit.identity, work.now):
        work.answers[index] = Answer("duplicate", offers=tuple(_told_to(engine, state, visit, work.now)))
        return None
    engine.statistics.counts["inbound"] += 1
    work.changed.add(state.id)
    row = enrich.row(engine.program.plan, state, visit.kind, visit.data, visit.happened, work.now)
    moment = Moment(
        work.ids.take("decision"),
        visit.identity,
        visit.kind,
        work.now,
        work.now,
        row,
        state,
        False,
        where=visit.channel,
    )
    testers = engine.program.decide.testers
    if testers and state.msisdn in testers:
        moment.test = True
        moment.wanted, moment.asked = testers[state.msisdn]
    return moment


def tell(engine: Engine, work: Work, index: int, moment: Moment, made: Decided, offer: OpenOffer | None) -> None:
    """What was decided becomes a part of the answer."""
    said, before = "", work.answers[index].offers
    if made.arm and made.composed:
        said = made.composed.text
        told = _told(offer, said, "open") if offer else _only_said(engine, moment, made)
        first = before[0].decision if before else moment.id
        work.answers[index] = Answer("applied", decision=first, offers=(*before, told), language=told.language)
    elif not before:
        language = engine.program.language(moment.row)
        work.answers[index] = Answer("applied", made.decision.gate, moment.id, language=language)


def next_moment(engine: Engine, work: Work, index: int, moment: Moment) -> Moment | None:
    """As many offers are as many decisions, each of which knows those before it; None where all is told."""
    visit, told = work.inputs[index], work.answers[index].offers
    assert isinstance(visit, Visit)
    if moment.test or len(told) >= visit.at_most or not told or told[-1].decision != moment.id:
        return None
    following = Moment(
        work.ids.take("decision"),
        moment.identity,
        moment.kind,
        moment.happened,
        moment.now,
        moment.row,
        moment.state,
        False,
        where=moment.where,
        told=moment.told,
    )
    if not told[-1].key:
        following.told |= engine.program.decide.of_action[told[-1].action]
    return following


def take_word(engine: Engine, work: Work, index: int, word: Word) -> None:
    """A yes is a purchase, a no rests, each as by reply; the answer says how the offer stands then, and why."""
    state = _known(engine, work, index, word)
    if state is None:
        return
    offer = respond.find(state, word.offer)
    if word.said == "stop" and (offer or word.channel not in CALLED):
        work.answers[index] = _stop(engine, work, state, offer, word)
        return
    if offer is None:
        work.answers[index] = Answer("rejected", f"there is no offer `{word.offer}`", outcome=UNKNOWN_OFFER)
        return
    if word.said in ("called", "called_before"):
        work.answers[index] = _called(engine, work, state, word)
        return
    why = ""
    if word.said == "accept" and offer.redeemed_by:
        why = f"no yes takes it: a `{offer.redeemed_by}` does"
    elif respond.is_open(offer, work.now) and word.said != "keep" and engine.is_new(state, word.identity, work.now):
        work.changed.add(state.id)
        respond.answered(state)
        note_answer(engine, work, state, word.happened, offer)
        engine.statistics.count(f"inbound.{word.said}", offer.test)
        if word.said == "decline":
            _decline(work, state, offer, word)
        else:
            why = _accept(engine, work, index, state, offer, word)
    work.answers[index] = _stands(engine, state, respond.find(state, word.offer) or offer, why, work.now, word.channel)


def _accept(engine: Engine, work: Work, index: int, state: State, offer: OpenOffer, word: Word) -> str:
    """Why it is not taken now, in words for an agent; empty where it is, or is to be said once more."""
    refused = not_now(engine, work, state, offer, repeated=False)
    if refused:
        reason, _ = refused
        engine.statistics.count("refused", offer.test)
        work.log(state.id, offer.decision, offer.key, "refused", reason)
        return REFUSED.get(reason, reason)
    said = Said(word.identity, f"yes ({_by(word)})", word.happened)
    hear_yes(engine, work, index, state, offer, said)
    return ""


def _decline(work: Work, state: State, offer: OpenOffer, word: Word) -> None:
    declined = respond.decline(state, offer.key, work.now)
    if declined:
        work.log(state.id, declined.decision, declined.key, "declined", _by(word))


def _stop(engine: Engine, work: Work, state: State, offer: OpenOffer | None, word: Word) -> Answer:
    """No more offers: what a STOP there withdraws, else what one to the offer's short code does.

    A link says the same STOP whenever it is opened: that is a repeat while all is still withdrawn.
    """
    code = offer.short_code if offer and offer.short_code else engine.program.short_code
    words = engine.program.playbook.replies.get(code)
    where = EMAIL if word.channel == PAGE else word.channel  # only e-mails have a link that says it
    own = engine.program.playbook.policy.stop_on.get(where)
    withdraws = own or (words.withdraws if words else ())
    repeated = not engine.is_new(state, word.identity, work.now)
    if repeated and (word.channel != PAGE or _withdrawn(engine, state, withdraws)):
        return DUPLICATE
    work.changed.add(state.id)
    respond.answered(state)
    note_answer(engine, work, state, word.happened, offer)
    engine.statistics.count("inbound.stop", is_test(engine, state, offer))
    heed_stop(engine, work, state, withdraws, word.happened, word.identity, where if own else "")
    return APPLIED


def _called(engine: Engine, work: Work, state: State, word: Word) -> Answer:
    """Whether what came of a call is brought once more; noted where it is not, and somebody has the call."""
    if enrich.knows(state, word.identity, work.now):
        return DUPLICATE
    if word.said == "called_before":
        return Answer("rejected", "nobody has this call: its lease has ended, or nobody claimed it; claim another")
    engine.is_new(state, word.identity, work.now)
    work.changed.add(state.id)
    return APPLIED


def _withdrawn(engine: Engine, state: State, attributes: Collection[str]) -> bool:
    places = engine.program.plan.places
    return bool(attributes) and all(state.attributes[places[one]] is False for one in attributes)


def _by(word: Word) -> str:
    return f"{word.channel}, {word.who}" if word.who else word.channel


def _stands(engine: Engine, state: State, offer: OpenOffer, why: str, now: int, where: str) -> Answer:
    """How an offer stands; `why` a yes to it was refused."""
    status = respond.status_at(offer, now)
    outcome, words = STANDS[status]
    if why:
        outcome, words = "refused", why
    elif status == "open" and offer.twice and offer.proof:
        outcome, words = "confirm", AGAIN
    row = plain_row(engine, state, now)
    return Answer("applied", words, outcome=outcome, offers=(_told(offer, _words(engine, offer, row, where), outcome),))


def _known(engine: Engine, work: Work, index: int, source: Visit | Word) -> State | None:
    """Whoever asks must be known: a number that was mistyped is no new subscriber."""
    known = work.subscribers.get(source.msisdn)
    state = engine.subscriber(work, source.msisdn, source.happened) if known else None
    if state is None or not state.msisdn:
        work.answers[index] = Answer("rejected", f"nobody is known by `{source.msisdn}`")
        return None
    return state


# -- in words ----------------------------------------------------------------------------------------------------------


def _open(engine: Engine, state: State, now: int, where: str) -> list[Told]:
    """What is open and may still be spoken of, the first that was made first: the best was made first."""
    waiting = [one for one in state.offers if respond.is_open(one, now)]
    if not waiting:
        return []
    row = plain_row(engine, state, now)
    spoken = [one for one in waiting if one.test or not closed_now(engine, state, one, row, now, where)]
    return [_told(one, _words(engine, one, row, where), "open") for one in sorted(spoken, key=_made)]


def _told_to(engine: Engine, state: State, visit: Visit, now: int) -> list[Told]:
    """What a request was told, as it stands now."""
    row = plain_row(engine, state, now)
    made = sorted((one for one in state.offers if one.asked == visit.identity), key=_made)
    return [_told(one, _words(engine, one, row, visit.channel), STANDS[respond.status_at(one, now)][0]) for one in made]


def _made(offer: OpenOffer) -> tuple[int, int]:
    return offer.made, offer.decision


def closed_now(engine: Engine, state: State, offer: OpenOffer, row: tuple[Any, ...], now: int, where: str) -> str:
    """Why an open offer is not spoken of: a consent withdrawn, a pause, a switch, a freeze; else an empty text."""
    channel = _channel(engine.program, offer, where)
    action = engine.program.playbook.action(offer.action)
    purpose = recorded(action.purpose if action else MARKETING)
    halt = engine.halt(Text("", "", "", action=offer.action, issue=offer.issue, purpose=purpose), channel, now)
    return halt.rule if halt else closed_since(engine.program.decide, offer.action, channel, row, now, state.msisdn)


def _channel(program: Program, offer: OpenOffer, where: str) -> str:
    """The channel whose words tell an offer to who asks: in a USSD menu its own, where it has any."""
    deciding = program.decide
    if where == USSD and USSD in deciding.channels:
        arm = deciding.named.get((offer.action, offer.variant))
        if arm and arm.bit in deciding.message[deciding.channels.index(USSD)]:
            return USSD
    return INBOUND


def _words(engine: Engine, offer: OpenOffer, row: tuple[Any, ...], where: str) -> str:
    """An offer as its own message tells it, else its title and price."""
    expires = offer.expires + row[-1] - row[-2]
    text = own_words(engine.program, offer, expires, Row(engine.program.places, row), engine.link, where)
    if text:
        return text
    return f"{offer.title}: {engine.program.playbook.currency.show(offer.price)}" if offer.price else offer.title


def own_words(
    program: Program,
    offer: OpenOffer,
    expires: int,
    row: Known,
    link: Callable[[str], str] | None = None,
    where: str = "",
) -> str | None:
    """What its own message tells whoever asks, with no more than `row` knows; None where that is another price's."""
    said = wording(program, offer, _channel(program, offer, where), expires, row)
    if said is None:
        return None
    if link and offer.number and said.message in program.linked:
        said.values[LINK] = link(offer.key)
    return program.messages.text(said.message, offer.language, said.values)


def _told(offer: OpenOffer, text: str, status: str) -> Told:
    return Told(
        key=offer.key,
        decision=offer.decision,
        action=offer.action,
        variant=offer.variant,
        kind=offer.kind,
        title=offer.title,
        text=text,
        language=offer.language,
        number=offer.number,
        reply_to=offer.short_code if offer.number else "",
        price=offer.price,
        tax=offer.tax,
        charges=offer.charges,
        lasts=offer.lasts,
        made=offer.made,
        until=offer.expires,
        channel=offer.channel,
        status=status,
        twice=offer.twice,
        redeemed_by=offer.redeemed_by,
    )


def _only_said(engine: Engine, moment: Moment, made: Decided) -> Told:
    """Advice: there is nothing to take."""
    assert made.arm
    assert made.composed
    action = made.arm.action
    return Told(
        key="",
        decision=moment.id,
        action=action.name,
        variant=made.arm.variant.name,
        kind=action.kind,
        title=engine.program.offers[made.arm.bit]["title"] or action.title,
        text=made.composed.text,
        language=engine.program.language(moment.row),
        number=0,
        reply_to="",
        price=made.arm.variant.price,
        tax=0,
        charges=False,
        lasts=0,
        made=moment.now,
        until=moment.now + action.accept_within,
        channel=moment.where,
        status="said",
    )
