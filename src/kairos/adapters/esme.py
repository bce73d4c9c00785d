"""The accounts that bind to us: charging systems submit their notifications here, and other services get their replies.

A notification that a pattern reads becomes an event; what is sent on is decided with it, and the submitter is answered
after the commit. Whatever else is submitted, or is not decided in time, goes to the SMSC as it came.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import structlog

from kairos.adapters.first_answers import FirstAnswers, fingerprint
from kairos.domain.event import Event, Notification
from kairos.domain.message import Carried, Text
from kairos.engine.loop import Loop, Submission
from kairos.errors import EventError, KairosError
from kairos.ingest import Matched, Patterns, refusal
from kairos.ports import Clock, Outcome
from kairos.smpp import (
    TEMPORARY,
    CancelSm,
    DataSm,
    DeliverSm,
    EncodeError,
    MessageState,
    NotSent,
    Pdu,
    QuerySm,
    ReplaceSm,
    Server,
    Session,
    SmppError,
    Status,
    SubmitSm,
    TextError,
    concatenation,
    decode,
    decode_pdu,
    encode_pdu,
    message_bytes,
    receipt_for,
    split,
)

log = structlog.get_logger("kairos.esme")

RECEIPTS = 0x13  # registered_delivery: a final or an intermediate receipt is asked for (SMPP 3.4, 5.2.17)

Ask = QuerySm | CancelSm | ReplaceSm

# Send as it came, for this account, with the identity that a retry has too, and the time of the event loop until which
# the answer may wait for the store. SmppError: there is no answer.
Forward = Callable[[SubmitSm | DataSm, str, str, float], Awaitable[Pdu]]


@dataclass(frozen=True, slots=True)
class Account:
    """An ESME's rights: `rides` says whether offers ride on its notifications or follow as messages of their own;
    `rides_on_flash`, whether also on those of class 0.
    """

    name: str
    rides: bool = True
    rides_on_flash: bool = False
    identity_tlv: int = 0  # the TLV that names a message, the same on every try; 0: none does


@dataclass(frozen=True, slots=True)
class Came:
    """What an account submitted: `own` says that its identity is its own; `until`, when it has to be answered."""

    identity: str
    own: bool
    until: float
    event: Event | None = None
    message_id: str = ""  # that we answer with, where the event is taken


class Esmes:
    """Handles what accounts submit; a Channel to them for receipts and relayed replies."""

    def __init__(
        self,
        accounts: Sequence[Account],
        patterns: Patterns,
        loop: Loop,
        clock: Clock,
        msisdn: Callable[[str], str],
        forward: Forward,
        decide_within: float,
        asked: Callable[[Ask, str], Awaitable[Pdu]],
        unread: Callable[[str, SubmitSm, str], None] = lambda _account, _pdu, _text: None,
    ) -> None:
        self.accounts: Mapping[str, Account] = {account.name: account for account in accounts}
        self.patterns, self.loop, self.clock, self.msisdn = patterns, loop, clock, msisdn
        self.forward, self.decide_within = forward, decide_within
        self.asked = asked  # about a message that was submitted before
        self.first = FirstAnswers(clock)
        self.unread = unread  # (account, PDU, text): what no pattern reads
        self.counts: Counter[str] = Counter()
        self.server: Server | None = None
        self._reference = itertools.count(1)

    # -- in ------------------------------------------------------------------------------------------------------------

    async def handle(self, session: Session, pdu: Pdu) -> Pdu:
        """Answer a submit_sm after its notification is safe, or with the SMSC's own answer; a retry, as the first."""
        if isinstance(pdu, QuerySm | CancelSm | ReplaceSm):
            return await self.asked(pdu, session.account)
        if not isinstance(pdu, SubmitSm | DataSm):
            return pdu.response(Status.ESME_RINVCMDID)
        came = self._came(session.account, pdu)
        while first := self.first.again(came.identity, session, own=came.own):
            message_id = await asyncio.shield(first.answer)
            if message_id:
                self.first.settle(first, message_id)
                return pdu.response(message_id=message_id)
        first = self.first.begin(came.identity, session.account, session)
        response = None
        try:
            response = await self._take(pdu, came, session.account)
        finally:
            message_id = getattr(response, "message_id", "")
            self.first.settle(first, message_id)
            if came.event and came.own and message_id == came.message_id:
                self.first.forget(came.identity, first)
        return response

    async def _take(self, pdu: SubmitSm | DataSm, came: Came, account: str) -> Pdu:
        if came.event is None:
            self.counts["not_read"] += 1
            return await self._forward(pdu, came, account)
        self.counts["notifications"] += 1
        return await self._notify(pdu, came, account)

    def _came(self, account: str, pdu: SubmitSm | DataSm) -> Came:
        """What a PDU is, and by what a retry of it is known."""
        tag = self.accounts[account].identity_tlv
        value = (pdu.tlv(tag) or b"").hex() if tag else ""
        event = self._event(account, pdu, value) if isinstance(pdu, SubmitSm) else None
        until = asyncio.get_running_loop().time() + self.decide_within
        if event and event.notification:
            told = event.notification
            return Came(told.fingerprint or event.identity, not told.fingerprint, until, event, told.message_id)
        if value:
            return Came(f"{account}/tlv:{value}", True, until)
        return Came(f"{account}/{fingerprint(pdu)}", False, until)

    def _event(self, account: str, pdu: SubmitSm, identity: str) -> Event | None:
        """The event that a notification announces; None where no pattern reads it, or it is a part of a longer one."""
        try:
            if concatenation(pdu):
                return None
            text = decode(pdu.data_coding, message_bytes(pdu)[1])
            matched = self.patterns.match(account, text)
            if matched is None:
                self.unread(account, pdu, text)
                return None
            reference = matched.id or (f"tlv:{identity}" if identity else "")
            return self._read(account, pdu, text, matched, reference)
        except EventError:
            return None
        except Exception:  # whatever breaks, the notification must go out
            log.exception("a notification could not be read", account=account)
            return None

    def _read(self, account: str, pdu: SubmitSm, text: str, matched: Matched, reference: str) -> Event:
        msisdn = self.msisdn(pdu.destination_addr)
        identity = f"{account}/{msisdn}/{reference or uuid4().hex}"
        message_id = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
        now = self.clock()
        notification = Notification(
            account=account,
            message_id=message_id,
            source=pdu.source_addr,
            destination=pdu.destination_addr,
            text=text,
            language=matched.language,
            receipt=bool(pdu.registered_delivery & RECEIPTS),
            rides=self._rides(account, pdu, now),
            carried=(Carried(message_id, encode_pdu(pdu, 0)),),
            fingerprint="" if reference else f"{account}/{fingerprint(pdu)}",
        )
        return Event(identity, matched.kind, msisdn, now, matched.data, notification)

    def _rides(self, account: str, pdu: SubmitSm, now: int) -> bool:
        """Whether a line may go with it: the account permits it, and the message can carry it."""
        permits = self.accounts[account]
        if not permits.rides:
            return False
        reason = refusal(pdu, now, flash=permits.rides_on_flash)
        if reason:
            self.counts[f"no_line.{reason}"] += 1
        return not reason

    async def _notify(self, pdu: SubmitSm | DataSm, came: Came, account: str) -> Pdu:
        """Let the engine decide within the limit; else the plain text goes out, and the queued one is withdrawn."""
        assert came.event is not None
        accepted = pdu.response(message_id=came.message_id)
        try:
            submission = self.loop.post(came.event)
        except KairosError:
            return await self._forward(pdu, came, account)
        await asyncio.wait({submission.answer}, timeout=self.decide_within)
        if not submission.answer.done():
            return await self._overtake(pdu, came, submission, account)
        if error := submission.answer.exception():  # whatever broke, the notification must go out
            log.error("not decided", reason=str(error))
            self.counts["undecided"] += 1
            return await self._forward(pdu, came, account)
        return accepted

    async def _overtake(self, pdu: SubmitSm | DataSm, came: Came, submission: Submission, account: str) -> Pdu:
        """Too slow: send the plain notification now. If the SMSC will not have it, the queued copy stays."""
        self.counts["too_slow"] += 1
        submission.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        submission.overtaken = asyncio.get_running_loop().create_future()
        response = None
        try:
            response = await self.forward(pdu, account, came.identity, came.until)
        except SmppError as error:
            log.warning("not forwarded", account=account, reason=str(error))
        finally:
            submission.overtaken.set_result(response is not None and response.ok)
        if response is not None and response.ok:
            return own_answer(pdu, response)
        try:
            await asyncio.shield(submission.answer)
        except Exception:
            return pdu.response(response.status if response is not None else Status.ESME_RSYSERR)
        return pdu.response(message_id=came.message_id)

    async def _forward(self, pdu: SubmitSm | DataSm, came: Came, account: str) -> Pdu:
        """As it came, to the SMSC; the submitter gets the SMSC's own answer."""
        self.counts["forwarded"] += 1
        try:
            response = await self.forward(pdu, account, came.identity, came.until)
        except SmppError as error:
            log.warning("not forwarded", account=account, reason=str(error))
            return pdu.response(Status.ESME_RSYSERR)
        return own_answer(pdu, response)

    # -- out -----------------------------------------------------------------------------------------------------------

    async def send(self, text: Text) -> Outcome:
        """Deliver a receipt (it names a message id) or a relayed reply to an account that is bound as a receiver."""
        try:
            for pdu in self._pdus(text):
                outcome = await self.deliver(text.account, pdu)
                if outcome.status != "sent":
                    return outcome
        except TextError as error:
            return Outcome("failed", reason=str(error))
        return Outcome("sent")

    def _pdus(self, text: Text) -> list[DeliverSm | DataSm]:
        """A receipt in the SMSC's own words (those of an earlier release kept but its figures), or a relayed reply."""
        if text.carried:
            return [decode_pdu(one.pdu) for one in text.carried]  # type: ignore[misc]
        return [_receipt(text)] if text.message_id else [*self._relayed(text)]

    async def deliver(self, account: str, pdu: DeliverSm | DataSm) -> Outcome:
        """Hand something to an account that is bound as a receiver."""
        session = self.server.receiver(account) if self.server else None
        if session is None:
            return Outcome("retry", reason=f"account `{account}` is not bound as a receiver")
        try:
            response = await session.request(pdu)
        except NotSent as error:
            return Outcome("retry", reason=str(error))
        except EncodeError as error:
            return Outcome("failed", reason=str(error))
        except SmppError as error:
            return Outcome("unknown", reason=str(error))
        if response.ok:
            return Outcome("sent")
        return Outcome("retry" if response.status in TEMPORARY else "failed", reason=f"status {response.status}")

    def _relayed(self, text: Text) -> list[DeliverSm]:
        return [
            DeliverSm(
                source_addr_ton=1,
                source_addr_npi=1,
                source_addr=text.source,
                destination_addr=text.destination,
                esm_class=segment.esm_class,
                data_coding=segment.data_coding,
                short_message=segment.short_message,
            )
            for segment in split(text.text, next(self._reference))
        ]


def own_answer(pdu: Pdu, response: Pdu) -> Pdu:
    """The SMSC's own answer as the answer to the account's request."""
    if type(response) is not pdu.answer:  # a generic_nack
        return pdu.response(response.status or Status.ESME_RSYSERR)
    return replace(response, sequence=pdu.sequence)


def _receipt(text: Text) -> DeliverSm:
    state, error, submitted, done = text.text.split(" ")  # none of them has a space
    about = SubmitSm(source_addr=text.destination, destination_addr=text.source, dest_addr_ton=1, dest_addr_npi=1)
    return receipt_for(
        about, text.message_id, MessageState[state], submitted=submitted, done=done, error=error or "000"
    )
