"""Messages of other systems: let through, put off, merged or refused, by the contact policy that holds for all.

What waits for its time waits in the subscriber's state, with a timer, and is decided anew when that is due: what came
meanwhile counts. What passes is a row of the outbox, and, where its purpose minds limits, a contact like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from kairos import enrich
from kairos.decide import PASSES, passes, still_passes
from kairos.decide.passing import KIND, Verdict
from kairos.domain.inputs import Answered, Delivery, Timer
from kairos.domain.instant import date_time
from kairos.domain.message import Carried, Text
from kairos.domain.moment import Moment
from kairos.domain.passage import (
    CANCELLED,
    CHANGED_HANDS,
    EMERGENCY,
    EXPIRED,
    SCHEDULED,
    SENDER,
    TOO_MANY,
    UNKNOWN,
    Communication,
    Handed,
    Hub,
    Passage,
    PassageNews,
    Passed,
    Passing,
    Stand,
    Withdrawal,
    told_why,
)
from kairos.domain.purpose import Purpose, minding
from kairos.domain.subscriber import Contact, State
from kairos.engine.answers import plain_row
from kairos.engine.work import Answer, Work, count_contact
from kairos.smpp import MessageState, SubmitSm, decode_pdu, encode_pdu, receipt_for

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

WAITING: Final = "message "  # what a timer says that ends the waiting: this, and the key
URGENT: Final = "urgent"  # the channel of what the government sends, which waits for nothing of ours
FIRST: Final[Mapping[str, str]] = {EMERGENCY: EMERGENCY, "government": URGENT}  # the channels of what goes out first
SMS: Final = "sms"
WAIT_AT_MOST: Final = 20  # messages of one subscriber
LATELY: Final = 20  # texts of one subscriber that are known again
LOST: Final[frozenset[Stand]] = frozenset({"refused", "expired", "cancelled", "failed"})  # it does not go out
RECEIPTS: Final = 0x03  # of registered_delivery: a final receipt is asked for

# How a receipt names what never reached the SMSC: its state, and its network error.
ENDS: Final[Mapping[Stand, tuple[MessageState, str]]] = {
    "refused": (MessageState.REJECTED, "901"),
    "merged": (MessageState.REJECTED, "902"),
    "expired": (MessageState.EXPIRED, "903"),
    "failed": (MessageState.UNDELIVERABLE, "904"),
}
# What the dispatcher says when it drops a row, where that is no rule's name.
DROPPED: Final[Mapping[str, tuple[Stand, str]]] = {
    "too late": ("expired", EXPIRED),
    "taken back": ("cancelled", CANCELLED),
    "sent plain by its bringer": ("sent", "sent as it came"),
    "withdrawn": ("refused", CHANGED_HANDS),
}


def take_communication(_engine: Engine, work: Work, _index: int, communication: Communication) -> None:
    """What was asked over TMF681, beside its messages."""
    work.batch.communications.append(communication)


def take_handed(engine: Engine, work: Work, index: int, handed: Handed) -> None:
    """Decide a message that comes in; whoever brought it is answered with how it stands."""
    known = work.subscribers.get(handed.msisdn)
    state = engine.subscriber(work, handed.msisdn, handed.happened) if known else None
    if state is not None and not state.msisdn:
        state = None
    if state is not None:
        remembered = enrich.remember(state, handed.identity, work.now)
        engine.statistics.counts["identities_evicted"] += remembered.evicted
        if not remembered.new:
            work.answers[index] = Answer("duplicate")
            return
        work.changed.add(state.id)
    if handed.fingerprint:
        work.batch.answered.append(Answered(handed.sender, handed.key, "", handed.fingerprint, work.now))
    engine.statistics.counts["gateway"] += 1
    work.batch.passages.append(_record(handed, state, work.now))
    stand, why, until = _weighed(engine, work, index, state, handed)
    work.answers[index] = Answer(stand, why, until=until)
    if stand == "merged":
        _owe_receipt(work, index, state, handed, stand, why)


def end_of_waiting(engine: Engine, work: Work, index: int, state: State, timer: Timer) -> None:
    """The time that a message waited for has come: it is decided anew, and its sender is told by a receipt."""
    handed = _take_out(state, timer.payload.removeprefix(WAITING))
    if handed is None:  # it was taken back
        return
    work.changed.add(state.id)
    owner = state if state.msisdn == handed.msisdn else None
    stand, why, until = _weighed(engine, work, index, owner, handed, anew=True)
    _owe_receipt(work, index, state, handed, stand, told_why(stand, why, until))


def take_withdrawal(engine: Engine, work: Work, index: int, withdrawal: Withdrawal) -> None:
    """Only what waits here can be taken back; what is on its way is not ours any more."""
    state = engine.state(work, withdrawal.subscriber)
    handed = _take_out(state, withdrawal.key) if state else None
    if state is None or handed is None or handed.sender != withdrawal.sender:
        if state and handed:
            _put_in(state, handed)
        work.answers[index] = Answer("rejected", "it does not wait any more")
        return
    work.changed.add(state.id)
    _stands(engine, work, index, state.id, handed.key, handed.sender, "cancelled", CANCELLED)


# -- deciding ----------------------------------------------------------------------------------------------------------


def _weighed(
    engine: Engine, work: Work, index: int, state: State | None, handed: Handed, *, anew: bool = False
) -> tuple[Stand, str, int]:
    """How a message stands from now on, why, and until when; all of that is written down."""
    stand, why, until = _found(engine, work, state, handed, anew=anew)
    outgoing = 0
    if stand == "accepted":
        outgoing = _go(engine, work, index, state, handed)
    elif stand == "delayed" and state:
        _put_in(state, handed)
        work.wake(state.id, until, f"{WAITING}{handed.key}")
    if state and not anew and stand in ("accepted", "delayed"):
        _remember_text(engine, work, state, handed)
    subscriber = state.id if state else 0
    _stands(engine, work, index, subscriber, handed.key, handed.sender, stand, why, until, outgoing)
    return stand, why, until


def _found(engine: Engine, work: Work, state: State | None, handed: Handed, *, anew: bool) -> tuple[Stand, str, int]:
    now = work.now
    if now >= handed.until:
        return "expired", EXPIRED, handed.until
    if anew and state is None:
        return "refused", CHANGED_HANDS, 0
    if state is None:
        return ("accepted", "", 0) if handed.always else ("refused", UNKNOWN, 0)
    urgent = handed.purpose == "regulatory"
    # Before the policy: else the first one's own contact would refuse its repetition. It tells a sender only of itself.
    if not urgent and not anew and (first := _told_lately(engine, work, state, handed)):
        return "merged", first.key, 0
    verdict = Verdict(SCHEDULED, handed.not_before, waits=True) if handed.not_before > now else PASSES
    if verdict is PASSES and not urgent:
        verdict = passes(engine.program.passing, _moment(engine, work, state, handed.key), handed.purpose)
    if not verdict.rule:
        return "accepted", "", 0
    if not (verdict.waits and now < verdict.until < handed.until):
        return "refused", verdict.rule, verdict.until
    if not anew and state.passing and len(state.passing.waiting) >= WAIT_AT_MOST:
        return "refused", TOO_MANY, verdict.until
    return "delayed", verdict.rule, verdict.until


def stopped(engine: Engine, work: Work, state: State, delivery: Delivery) -> Verdict:
    """What has come since a message was let through, and stops it before it is sent."""
    if delivery.destination not in ("", state.msisdn):
        return Verdict("withdrawn")
    purpose: Purpose = delivery.purpose  # type: ignore[assignment]
    return still_passes(engine.program.passing, _moment(engine, work, state, delivery.passage), purpose)


def _moment(engine: Engine, work: Work, state: State, key: str) -> Moment:
    row = plain_row(engine, state, work.now)
    return Moment(0, key, KIND, work.now, work.now, row, state, False, party=engine.party_of(work, state))


def _go(engine: Engine, work: Work, index: int, state: State | None, handed: Handed) -> int:
    """Write the row of the outbox, and the contact that limits count; the row's id."""
    row: int = work.ids.outgoing  # the next that is written
    purpose = handed.purpose
    counted = state is not None and purpose in minding("limits")
    if state and counted:
        contact = Contact(work.now, -row, SMS, f"{SENDER}{handed.sender}", "", False, purpose)
        count_contact(state, engine.party_of(work, state), contact)
    text = Text(
        handed.source,
        handed.msisdn,
        handed.text,
        marketing=not handed.always,
        send_by=handed.until,
        decision=-row if counted else 0,
        account=handed.sender,
        message_id=handed.key,
        receipt=bool(handed.receipt & RECEIPTS),
        carried=handed.carried,
        purpose=purpose,
        passage=handed.key,
        priority=handed.priority,
        tries=handed.tries,
        emergency=handed.sends == EMERGENCY,
    )
    work.send(index, state.id if state else 0, FIRST.get(handed.sends, SMS), text)
    return row


# -- what a subscriber's state keeps of it -----------------------------------------------------------------------------


def _take_out(state: State, key: str) -> Handed | None:
    waiting = state.passing.waiting if state.passing else []
    found = next((one for one in waiting if one.key == key), None)
    if found and state.passing:
        state.passing = Passing([one for one in waiting if one is not found], state.passing.lately) or None
    return found


def _put_in(state: State, handed: Handed) -> None:
    passing = state.passing or Passing()
    state.passing = Passing([*passing.waiting, handed], passing.lately)


def _digest(handed: Handed) -> bytes:
    """Of a text and its sender: across senders, `merged` would tell one what another has sent, and swallow it."""
    said = f"{handed.sender}\n{' '.join(handed.text.split())}"  # a sender's name has no line
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _told_lately(engine: Engine, work: Work, state: State, handed: Handed) -> Passed | None:
    """The message of the same sender that said the same a short while ago."""
    since, digest = work.now - engine.merge_within, _digest(handed)
    lately = state.passing.lately if state.passing else []
    return next((one for one in lately if one.digest == digest and one.at > since), None)


def _remember_text(engine: Engine, work: Work, state: State, handed: Handed) -> None:
    passing, since = state.passing or Passing(), work.now - engine.merge_within
    lately = [one for one in passing.lately if one.at > since][1 - LATELY :]
    state.passing = Passing(passing.waiting, [*lately, Passed(_digest(handed), handed.key, work.now)])


def _forget_text(work: Work, state: State, key: str) -> None:
    """What does not go out swallows nothing: its sender's next try is a message of its own."""
    passing = state.passing or Passing()
    lately = [one for one in passing.lately if one.key != key]
    if len(lately) < len(passing.lately):
        state.passing = Passing(passing.waiting, lately) or None
        work.changed.add(state.id)


# -- the record, and whom it is told -----------------------------------------------------------------------------------


def _record(handed: Handed, state: State | None, now: int) -> Passage:
    return Passage(
        key=handed.key,
        sender=handed.sender,
        communication=handed.communication,
        subscriber=state.id if state else 0,
        msisdn=handed.msisdn,
        source=handed.source,
        sends=handed.sends,
        stand="accepted",
        at=now,
        changed=now,
        valid=handed.until,
        receipt=handed.receipt,
    )


def _stands(
    engine: Engine,
    work: Work,
    index: int,
    subscriber: int,
    key: str,
    sender: str,
    stand: Stand,
    why: str = "",
    until: int = 0,
    outgoing: int = 0,
) -> None:
    """Write down how a message stands, count it, and tell those who listen."""
    work.batch.passage_news.append(PassageNews(key, stand, work.now, why, until, outgoing))
    engine.statistics.counts[f"gateway.{stand}"] += 1
    if stand in LOST and (state := engine.state(work, subscriber)):
        _forget_text(work, state, key)
    if not engine.listeners:
        return
    communication = key.rpartition(".")[0]
    for listener in _listening(engine.listeners, sender) if communication else ():
        told = msgspec.json.encode({"key": key, "stand": stand, "at": work.now}).decode()
        text = Text(listener.id, listener.callback, told, account=sender, message_id=communication)
        work.send(index, subscriber, "callback", text)


def _listening(listeners: Mapping[str, tuple[Hub, ...]], sender: str) -> tuple[Hub, ...]:
    """The sender's own; and, while the door has no lock, those who came in by it."""
    return (*listeners.get(sender, ()), *listeners.get("", ()))


def note_delivery(engine: Engine, work: Work, index: int, delivery: Delivery, status: str) -> None:
    """What the way out says of a message."""
    if status in ("sent", "delivered"):
        stand, why = status, ""
    elif status == "failed":
        stand, why = "failed", delivery.told or delivery.reason
    elif status == "dropped":
        stand, why = DROPPED.get(delivery.reason, ("refused", delivery.reason))
    else:
        return
    _stands(engine, work, index, delivery.subscriber, delivery.passage, delivery.sender, stand, why)  # type: ignore[arg-type]


def note_delay(engine: Engine, work: Work, index: int, delivery: Delivery, verdict: Verdict) -> None:
    """It was about to go, and waits in the outbox now."""
    told = (delivery.subscriber, delivery.passage, delivery.sender, "delayed", verdict.rule, verdict.until)
    _stands(engine, work, index, *told)  # type: ignore[arg-type]


def _owe_receipt(work: Work, index: int, state: State | None, handed: Handed, stand: Stand, why: str) -> None:
    text = Text(handed.source, handed.msisdn, "", account=handed.sender, message_id=handed.key, carried=handed.carried)
    if handed.receipt & RECEIPTS and stand in ENDS:
        work.send(index, state.id if state else 0, "receipt", receipt_of(text, stand, why, work.now))


def receipt_of(about: Text, stand: Stand, why: str, now: int) -> Text:
    """The receipt of a message that the SMSC never had, in the words of one of its own."""
    state, error = ENDS[stand]
    first = decode_pdu(about.carried[0].pdu) if about.carried else None
    submitted = first if isinstance(first, SubmitSm) else SubmitSm(source_addr=about.source)
    date = f"{date_time(now):%y%m%d%H%M}"
    pdu = receipt_for(submitted, about.message_id, state, submitted=date, done=date, error=error, text=why)
    return Text(
        source=about.destination,
        destination=about.source,
        text=state.name,
        account=about.account,
        message_id=about.message_id,
        carried=(Carried(about.message_id, encode_pdu(pdu, 0)),),
    )


def owed_receipt(text: Text, status: str, reason: str, now: int) -> Text | None:
    """The receipt that a sender is owed when its row ends here; None where it asked for none.

    Of a mark before an attempt: what it is owed should that be refused.
    """
    if not (text.passage and text.receipt):
        return None
    stand: Stand = "refused" if status == "sending" else "failed"
    why = "" if status == "sending" else reason
    if status == "dropped":
        stand, why = DROPPED.get(reason, ("refused", reason))
    why = told_why(stand, why)
    return receipt_of(text, stand, why, now) if stand in ENDS and status in ("sending", "dropped", "failed") else None
