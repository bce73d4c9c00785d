"""Other systems that may send through kairos, and what each may: the same over SMPP and HTTP."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from kairos.deliver import pdus_of
from kairos.domain.message import Carried
from kairos.domain.passage import EXPIRED, TOO_MANY, UNKNOWN, Handed
from kairos.engine.work import Answer
from kairos.errors import EventError, KairosError
from kairos.ports import Clock
from kairos.smpp import (
    EncodeError,
    Pdu,
    PduError,
    Status,
    SubmitSm,
    TextError,
    encode_pdu,
    measure,
    message_bytes,
    text_of,
)
from kairos.smpp.times import absolute, parse_time

PARTS_AT_MOST: Final = 10  # SMS of one message
OCTETS: Final = 140  # of one SMS

# How a submit_sm is answered that is refused at once, where it is no rule of the contact policy.
STATUSES: Final[Mapping[str, Status]] = {
    UNKNOWN: Status.ESME_RINVDSTADR,
    EXPIRED: Status.ESME_RINVEXPIRY,
    TOO_MANY: Status.ESME_RMSGQFUL,
}


@dataclass(frozen=True, slots=True)
class Sender:
    """`sends`: words of `kairos.domain.passage.SENDS`, the first where a message says nothing; `validity` in ms."""

    name: str
    ids: frozenset[str]
    sends: tuple[str, ...] = ("third_party",)
    validity: int = 86_400_000
    priority: int = 0
    callbacks: tuple[str, ...] = ()


class RefusedError(KairosError):
    """A submit_sm is refused with a status."""

    def __init__(self, status: Status, why: str) -> None:
        super().__init__(why)
        self.status = status


class Submissions:
    """Makes messages of what senders submit over SMPP."""

    def __init__(self, senders: Mapping[str, Sender], clock: Clock, msisdn: Callable[[str], str]) -> None:
        self.senders, self.clock, self.msisdn = senders, clock, msisdn

    def handed(self, account: str, key: str, pdus: Sequence[SubmitSm], fingerprint: str = "") -> Handed:
        """A message, or a part of one, with its fields as they go on to the SMSC. Raises RefusedError."""
        sender, first, now = self.senders[account], pdus[0], self.clock()
        if first.source_addr not in sender.ids:
            raise RefusedError(Status.ESME_RINVSRCADR, f"`{first.source_addr}` is no sender id of `{account}`")
        try:
            msisdn = self.msisdn(first.destination_addr)
        except EventError as error:
            raise RefusedError(Status.ESME_RINVDSTADR, str(error)) from None
        later, until = times(first, sender, now)
        valid = absolute(datetime.fromtimestamp(until / 1000, UTC))
        passed_on = [  # what it waits for, it has waited for here
            dataclasses.replace(
                pdu,
                schedule_delivery_time="",
                validity_period=valid,
                priority_flag=min(pdu.priority_flag, sender.priority),
            )
            for pdu in pdus
        ]
        return Handed(
            key,
            account,
            msisdn,
            first.source_addr,
            _text(pdus),
            sender.sends[0],
            now,
            until,
            later,
            receipt=max(pdu.registered_delivery for pdu in pdus),
            carried=tuple(Carried(key, encode_pdu(pdu, 0)) for pdu in passed_on),
            fingerprint=fingerprint,
        )

    def whole(self, account: str, key: str, carried: tuple[Carried, ...]) -> Handed | None:
        """A message in several parts. Each was looked at when it came: what is wrong now became so since."""
        pdus = pdus_of(carried)
        try:
            made = self.handed(account, key, pdus)
        except RefusedError:
            return None
        named = (Carried(one.message_id, new.pdu) for one, new in zip(carried, made.carried, strict=True))
        return replace(made, carried=tuple(named))


def times(pdu: SubmitSm, sender: Sender, now: int) -> tuple[int, int]:
    """When it may go at the soonest, and until when (ms). Raises RefusedError."""
    at = datetime.fromtimestamp(now / 1000, UTC)
    try:
        scheduled = parse_time(pdu.schedule_delivery_time, at)
    except (PduError, OverflowError) as error:
        raise RefusedError(Status.ESME_RINVSCHED, str(error)) from None
    try:
        valid = parse_time(pdu.validity_period, at)
    except (PduError, OverflowError) as error:
        raise RefusedError(Status.ESME_RINVEXPIRY, str(error)) from None
    later = _ms(scheduled) if scheduled and _ms(scheduled) > now else 0
    until = min(_ms(valid) if valid else 2**62, (later or now) + sender.validity)
    if until <= now:
        raise RefusedError(Status.ESME_RINVEXPIRY, "its validity has passed")
    if later >= until:
        raise RefusedError(Status.ESME_RINVSCHED, "it is scheduled after its validity")
    return later, until


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _text(pdus: Sequence[SubmitSm]) -> str:
    """What it says; of octets that are no text, themselves. Raises RefusedError for one that is too long."""
    octets = sum(len(message_bytes(pdu)[1]) for pdu in pdus)
    try:
        text = text_of(pdus)
        parts = measure(text).parts
    except (TextError, EncodeError, PduError):
        text, parts = b"".join(message_bytes(pdu)[1] for pdu in pdus).hex(), -(-octets // OCTETS)
    if parts > PARTS_AT_MOST or len(pdus) > PARTS_AT_MOST:
        raise RefusedError(Status.ESME_RINVMSGLEN, f"it is longer than {PARTS_AT_MOST} SMS")
    return text


def status_of(answer: Answer) -> Status:
    """How a submit_sm is answered, as its message stands."""
    if answer.status not in ("refused", "expired"):
        return Status.ESME_ROK
    return STATUSES.get(answer.reason, Status.ESME_RSUBMITFAIL)


def response_to(pdu: Pdu, answer: Answer, message_id: str) -> Pdu:
    status = status_of(answer)
    return pdu.response(status) if status else pdu.response(message_id=message_id)
