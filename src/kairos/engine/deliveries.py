"""News of what was sent: an outbox row changes, and what never went out is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kairos import respond
from kairos.decide import closed_since
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.inputs import Delivery, Resend
from kairos.domain.message import Text
from kairos.domain.subscriber import State
from kairos.engine.answers import plain_row
from kairos.engine.budgets import unsaid
from kairos.engine.dialogues import say_instead
from kairos.engine.passages import note_delay, note_delivery, stopped
from kairos.engine.work import Answer, Work, encode
from kairos.ports import OutgoingUpdate

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

decode_text = msgspec.msgpack.Decoder(Text).decode


def take_delivery(engine: Engine, work: Work, index: int, delivery: Delivery) -> None:
    """Keep the outbox row's news; what was dropped unsent gives its limit back and takes its offer away."""
    state = engine.state(work, delivery.subscriber)
    if state and delivery.status in ("line", "sending"):
        marked = _marked(engine, work, index, state, delivery)
        if marked is None:
            return
        delivery = marked
    status = delivery.status
    if status == "line":
        return
    if delivery.outgoing:
        row_status = "pending" if status == "plain" else status
        update = OutgoingUpdate(delivery.outgoing, row_status, work.now, delivery.attempts, delivery.peer_id)
        work.batch.updates.append(update)
        engine.statistics.counts[f"outgoing.{status}"] += 1
    elif delivery.receipt:
        engine.statistics.counts["receipts_passed_on"] += 1
    work.batch.answered.extend(delivery.parts)
    if delivery.passage:
        note_delivery(engine, work, index, delivery, status)
    if delivery.receipt and status != "sending":
        work.send(index, delivery.subscriber, "receipt", delivery.receipt)
    if delivery.instead and state and status == "failed" and in_place(engine, work, index, state, delivery):
        return
    if status == "failed" and delivery.reason not in ("", "unknown"):
        _keep(work, delivery)
    if state and status in ("dropped", "failed", "plain") and delivery.reason != "unknown":
        _take_back(engine, work, state, delivery)


def _marked(engine: Engine, work: Work, index: int, state: State, delivery: Delivery) -> Delivery | None:
    """The news of a mark, or of a question about a line: it may go, or is dropped; None where it waits for its time."""
    if delivery.passage:
        verdict = stopped(engine, work, state, delivery)
        if verdict.waits and verdict.until:
            note_delay(engine, work, index, delivery, verdict)
            work.answers[index] = Answer("held", verdict.rule, until=verdict.until)
            return None
        why = verdict.rule
    else:
        why = _stopped(engine, state, delivery, work.now)
    if not why:
        return delivery
    work.answers[index] = Answer("dropped", why)
    status = "dropped" if delivery.status == "sending" else delivery.status
    return msgspec.structs.replace(delivery, reason=why, status=status)


def take_resend(work: Work, index: int, resend: Resend) -> None:
    """A row of its own for a text that had failed; its dead letter is done in the same transaction."""
    work.send(index, resend.subscriber, resend.channel, decode_text(resend.payload))
    work.batch.letters_marked.append((resend.letter, "replayed"))


def _keep(work: Work, delivery: Delivery) -> None:
    """A text that the counterpart refused for good becomes a dead letter, with the news of it."""
    about, row = str(delivery.subscriber or ""), f"outgoing/{delivery.outgoing}"
    work.batch.dead_letters.append(DeadLetter("text", row, work.now, about, delivery.reason, encode(delivery)))


def in_place(engine: Engine, work: Work, index: int, state: State, delivery: Delivery) -> bool:
    """Whether what surely never reached the handset goes out on another channel: it counts there, and not here."""
    offer = respond.find(state, delivery.offer)
    if offer is None:
        return False
    kept = state.contacts
    state.contacts = [contact for contact in kept if contact.decision != delivery.decision]
    why = say_instead(engine, work, index, state, offer, delivery.instead)
    if why:
        state.contacts = kept
        return False
    work.changed.add(state.id)
    return True


def _take_back(engine: Engine, work: Work, state: State, delivery: Delivery) -> None:
    work.changed.add(state.id)
    state.contacts = [contact for contact in state.contacts if contact.decision != delivery.decision]
    if party := engine.party_of(work, state):
        party.contacts = [contact for contact in party.contacts if contact.decision != delivery.decision]
    unsaid(engine, work, state, delivery.decision)
    offer = respond.find(state, delivery.offer)
    bought = offer is not None and offer.status == "bought"  # elsewhere, and not because of what nobody has read
    if bought or respond.withdraw(state, delivery.offer, work.now):
        work.log(state.id, delivery.decision, delivery.offer, "dropped", delivery.reason)


def _stopped(engine: Engine, state: State, delivery: Delivery, now: int) -> str:
    """Why it must not go out any more, or an empty text: its number, its offer, or what was said meanwhile."""
    if delivery.destination not in ("", state.msisdn) or not _still_open(state, delivery.offer, now):
        return "withdrawn"
    if not delivery.action:
        return ""
    row = plain_row(engine, state, now)
    return closed_since(engine.program.decide, delivery.action, delivery.channel, row, now, state.msisdn)


def _still_open(state: State, offer: str, now: int) -> bool:
    """Whether a marketing message may still go out: its offer was not withdrawn or taken meanwhile."""
    return not offer or all(
        open_.key != offer or (open_.status == "open" and open_.expires > now) for open_ in state.offers
    )
