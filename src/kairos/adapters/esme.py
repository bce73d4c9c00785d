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
from dataclasses import dataclass
from uuid import uuid4

import structlog

from kairos.domain.event import Event, Notification
from kairos.domain.message import Carried, Text
from kairos.engine.loop import Loop, Submission
from kairos.errors import EventError, KairosError
from kairos.ingest import Matched, Patterns, refusal
from kairos.ports import Clock, Outcome
from kairos.smpp import (
    TEMPORARY,
    DataSm,
    DeliverSm,
    EncodeError,
    MessageState,
    NotSent,
    Pdu,
    Server,
    Session,
    SmppError,
    Status,
    SubmitSm,
    TextError,
    concatenation,
    decode,
    encode_pdu,
    message_bytes,
    receipt_for,
    split,
)

log = structlog.get_logger("kairos.esme")

RECEIPTS = 0x13  # registered_delivery: a final or an intermediate receipt is asked for (SMPP 3.4, 5.2.17)

Forward = Callable[[SubmitSm | DataSm, str], Awaitable[Pdu]]  # as it came, for this account; SmppError: no answer


@dataclass(frozen=True, slots=True)
class Account:
    """An ESME's rights: `rides` says whether offers ride on its notifications or follow as messages of their own;
    `rides_on_flash`, whether also on those of class 0.
    """

    name: str
    rides: bool = True
    rides_on_flash: bool = False


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
        unread: Callable[[str, SubmitSm, str], None] = lambda _account, _pdu, _text: None,
    ) -> None:
        self.accounts: Mapping[str, Account] = {account.name: account for account in accounts}
        self.patterns, self.loop, self.clock, self.msisdn = patterns, loop, clock, msisdn
        self.forward, self.decide_within = forward, decide_within
        self.unread = unread  # (account, PDU, text): what no pattern reads
        self.counts: Counter[str] = Counter()
        self.server: Server | None = None
        self._reference = itertools.count(1)
        self._passing: set[asyncio.Task[Outcome]] = set()

    # -- in ------------------------------------------------------------------------------------------------------------

    async def handle(self, session: Session, pdu: Pdu) -> Pdu:
        """Answer a submit_sm after its notification is safe, or with the SMSC's own answer."""
        if not isinstance(pdu, SubmitSm | DataSm):
            return pdu.response(Status.ESME_RINVCMDID)
        event = self._event(session.account, pdu) if isinstance(pdu, SubmitSm) else None
        if event is None or isinstance(pdu, DataSm):
            self.counts["not_read"] += 1
            return await self._forward(pdu, session.account)
        self.counts["notifications"] += 1
        return await self._notify(pdu, event, session.account)

    def _event(self, account: str, pdu: SubmitSm) -> Event | None:
        """The event that a notification announces; None where no pattern reads it, or it is a part of a longer one."""
        try:
            if concatenation(pdu):
                return None
            text = decode(pdu.data_coding, message_bytes(pdu)[1])
            matched = self.patterns.match(account, text)
            if matched is None:
                self.unread(account, pdu, text)
                return None
            return self._read(account, pdu, text, matched, self.msisdn(pdu.destination_addr))
        except EventError:
            return None
        except Exception:  # whatever breaks, the notification must go out
            log.exception("a notification could not be read", account=account)
            return None

    def _read(self, account: str, pdu: SubmitSm, text: str, matched: Matched, msisdn: str) -> Event:
        identity = f"{account}/{msisdn}/{matched.id or uuid4().hex}"
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

    async def _notify(self, pdu: SubmitSm, event: Event, account: str) -> Pdu:
        """Let the engine decide within the limit; else the plain text goes out, and the queued one is withdrawn."""
        assert event.notification is not None
        accepted = pdu.response(message_id=event.notification.message_id)
        try:
            submission = self.loop.post(event)
        except KairosError:
            return await self._forward(pdu, account)
        await asyncio.wait({submission.answer}, timeout=self.decide_within)
        if not submission.answer.done():
            return await self._overtake(pdu, submission, account, accepted)
        if error := submission.answer.exception():  # whatever broke, the notification must go out
            log.error("not decided", reason=str(error))
            self.counts["undecided"] += 1
            return await self._forward(pdu, account)
        return accepted

    async def _overtake(self, pdu: SubmitSm, submission: Submission, account: str, accepted: Pdu) -> Pdu:
        """Too slow: send the plain notification now. If the SMSC will not have it, the queued copy stays."""
        self.counts["too_slow"] += 1
        submission.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        submission.overtaken = asyncio.get_running_loop().create_future()
        response = None
        try:
            response = await self.forward(pdu, account)
        except SmppError as error:
            log.warning("not forwarded", account=account, reason=str(error))
        finally:
            submission.overtaken.set_result(response is not None and response.ok)
        if response is not None and response.ok:
            return pdu.response(message_id=getattr(response, "message_id", ""))
        try:
            await asyncio.shield(submission.answer)
        except Exception:
            return pdu.response(response.status if response is not None else Status.ESME_RSYSERR)
        return accepted

    async def _forward(self, pdu: SubmitSm | DataSm, account: str) -> Pdu:
        """As it came, to the SMSC; the submitter gets the SMSC's own answer."""
        self.counts["forwarded"] += 1
        try:
            response = await self.forward(pdu, account)
        except SmppError as error:
            log.warning("not forwarded", account=account, reason=str(error))
            return pdu.response(Status.ESME_RSYSERR)
        if not response.ok:
            return pdu.response(response.status)
        return pdu.response(message_id=getattr(response, "message_id", ""))

    # -- out -----------------------------------------------------------------------------------------------------------

    async def send(self, text: Text) -> Outcome:
        """Deliver a receipt (it names a message id) or a relayed reply to an account that is bound as a receiver."""
        try:
            for pdu in [_receipt(text)] if text.message_id else self._relayed(text):
                outcome = await self._deliver(text.account, pdu)
                if outcome.status != "sent":
                    return outcome
        except TextError as error:
            return Outcome("failed", reason=str(error))
        return Outcome("sent")

    def pass_on(self, account: str, receipt: DeliverSm) -> None:
        """A receipt for a message that was forwarded as it came: the SMSC's own words, while the account is bound."""
        task = asyncio.create_task(self._deliver(account, receipt))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _deliver(self, account: str, pdu: DeliverSm) -> Outcome:
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


def _receipt(text: Text) -> DeliverSm:
    state, error, submitted, done = text.text.split(" ")  # none of them has a space
    about = SubmitSm(source_addr=text.destination, destination_addr=text.source, dest_addr_ton=1, dest_addr_npi=1)
    return receipt_for(
        about, text.message_id, MessageState[state], submitted=submitted, done=done, error=error or "000"
    )
