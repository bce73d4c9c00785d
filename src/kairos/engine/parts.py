"""Messages that come in several parts: each is kept in its subscriber's state until the others have come.

So a part may be acknowledged after its commit. The part that completes a message makes the event, or the reply, in the
same transaction; what is not complete within its time goes out as it came, or is read as far as it came.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kairos.deliver import pdus_of
from kairos.domain.channel import NOTIFICATION
from kairos.domain.inputs import Part, Reply
from kairos.domain.message import Carried, Text
from kairos.domain.moment import Moment
from kairos.domain.passage import Handed
from kairos.domain.subscriber import Gathering, State
from kairos.engine.moments import take_event
from kairos.engine.passages import take_handed
from kairos.engine.replies import take_reply
from kairos.engine.work import Answer, Work
from kairos.smpp import DeliverSm, decode_pdu, text_of

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

PARTS: Final = "parts "  # what a timer says that ends the waiting: this, since when, and the key
REPLY_WITHIN: Final = 120_000  # ms from the first part of a reply
REPEATS_FOR: Final = 120_000  # ms that the parts of a finished message are known again
HELD: Final = 64  # parts of one subscriber that wait; more make the oldest message leave


def take_part(engine: Engine, work: Work, index: int, part: Part) -> Moment | None:
    """Keep a part; with the last of its message, take the message."""
    state = engine.subscriber(work, part.msisdn, work.now) if _may_come(engine, work, part) else None
    if state is None:
        work.answers[index] = Answer("rejected", f"unknown subscriber `{part.msisdn}`")
        return None
    found = next((one for one in state.gatherings if one.key == part.key), None)
    if found and (known := found.parts.get(part.part)) and known.pdu == _held(found, part.carried.pdu):
        work.answers[index] = Answer("duplicate", known.message_id)
        return None
    work.changed.add(state.id)
    if not part.carried.pdu:
        _goes_alone(engine, work, index, state, found, part.part)
        return None
    if found and (found.done or part.part in found.parts):  # the reference number was taken again
        _leave(engine, work, index, state, found)
        found = None
    if found is None:
        found = _begin(engine, work, index, state, part)
    found.parts[part.part] = part.carried
    engine.statistics.counts["parts"] += 1
    return _whole(engine, work, index, state, found, part) if len(found.parts) == found.total else None


def _may_come(engine: Engine, work: Work, part: Part) -> bool:
    """Who is only another system's number is no new subscriber."""
    return part.account not in engine.senders or bool(work.subscribers.get(part.msisdn))


def end_waiting(engine: Engine, work: Work, index: int, state: State, timer: str) -> None:
    """The time of a message is over: what came of it goes on."""
    for found in state.gatherings:
        if not found.done and timer == _timer(found):
            work.changed.add(state.id)
            engine.statistics.counts["parts_incomplete"] += 1
            _leave(engine, work, index, state, found)
            return


def _begin(engine: Engine, work: Work, index: int, state: State, part: Part) -> Gathering:
    waiting = [one for one in state.gatherings if not one.done]
    if sum(len(one.parts) for one in waiting) >= HELD:
        _leave(engine, work, index, state, waiting[0])
    begun = Gathering(part.key, part.account, part.msisdn, part.parts, work.now)
    state.gatherings = [one for one in state.gatherings if not one.done or work.now - one.since < REPEATS_FOR] + [begun]
    work.wake(state.id, work.now + (engine.parts_within if part.account else REPLY_WITHIN), _timer(begun))
    return begun


def _timer(found: Gathering) -> str:
    return f"{PARTS}{found.since} {found.key}"


def _whole(engine: Engine, work: Work, index: int, state: State, found: Gathering, part: Part) -> Moment | None:
    """The message is complete. Its parts are known again for a while."""
    carried = _in_order(found)
    told = {number: Carried(one.message_id, _digest(one.pdu)) for number, one in found.parts.items()}
    done = replace(found, parts=told, done=True)
    state.gatherings = [done if one is found else one for one in state.gatherings]
    if not part.account:
        _read(engine, work, index, found, carried)
        return None
    event = engine.read_whole(part.account, part.carried.message_id, carried)
    if isinstance(event, Handed):
        take_handed(engine, work, index, event)
        return None
    if event is None:
        _send(work, index, state, found, carried, part.carried.message_id)
        return None
    work.inputs[index] = event
    return take_event(engine, work, index, event)


def _goes_alone(engine: Engine, work: Work, index: int, state: State, found: Gathering | None, part: int) -> None:
    """A part went out without us, because we were too slow: the others follow it as they came."""
    if found and not found.done:
        found.parts.pop(part, None)
        _leave(engine, work, index, state, found)


def _leave(engine: Engine, work: Work, index: int, state: State, found: Gathering) -> None:
    """Let a message go as far as it came; a finished one is only forgotten."""
    state.gatherings = [one for one in state.gatherings if one is not found]
    carried = _in_order(found)
    if found.done or not carried:
        return
    handed = (
        engine.read_whole(found.account, carried[-1].message_id, carried) if found.account in engine.senders else None
    )
    if isinstance(handed, Handed):
        take_handed(engine, work, index, handed)
    elif found.account:
        _send(work, index, state, found, carried)
    else:
        _read(engine, work, index, found, carried)


def _read(engine: Engine, work: Work, index: int, found: Gathering, carried: tuple[Carried, ...]) -> None:
    pdus: list[DeliverSm] = [decode_pdu(one.pdu) for one in carried]  # type: ignore[misc]
    reply = Reply(carried[-1].message_id, found.msisdn, pdus[0].destination_addr, text_of(pdus), work.now)
    take_reply(engine, work, index, reply)


def _send(
    work: Work, index: int, state: State, found: Gathering, carried: tuple[Carried, ...], brought: str = ""
) -> None:
    """The parts as they came, in their order."""
    pdus = pdus_of(carried)
    text = Text(
        source=pdus[0].source_addr,
        destination=pdus[0].destination_addr,
        text=text_of(pdus),
        account=found.account,
        message_id=brought or carried[-1].message_id,
        receipt=any(pdu.registered_delivery & 0x13 for pdu in pdus),
        carried=carried,
    )
    work.send(index, state.id, NOTIFICATION, text)


def _in_order(found: Gathering) -> tuple[Carried, ...]:
    return tuple(found.parts[number] for number in sorted(found.parts))


def _held(found: Gathering, pdu: bytes) -> bytes:
    return _digest(pdu) if found.done else pdu


def _digest(pdu: bytes) -> bytes:
    return hashlib.blake2b(pdu, digest_size=8).digest()
