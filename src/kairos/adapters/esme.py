"""The accounts that bind to us: charging systems submit their notifications here, and other services get their replies.

A notification that a pattern reads becomes an event; what is sent on is decided with it, and the submitter is answered
after the commit. Whatever else is submitted, or is not decided in time, goes to the SMSC as it came.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import msgspec
import structlog

from kairos.adapters.esme_messages import Ask
from kairos.adapters.esme_notifications import Came, Reader
from kairos.adapters.first_answers import FirstAnswers
from kairos.adapters.senders import RefusedError, Submissions, response_to
from kairos.adapters.smpp_attempt import attempt
from kairos.domain.inputs import Part
from kairos.domain.message import Carried, Text
from kairos.engine.loop import Loop, OverloadedError, Submission
from kairos.engine.work import Answer
from kairos.errors import KairosError
from kairos.ports import Clock, Outcome
from kairos.smpp import (
    TEMPORARY,
    CancelSm,
    Concatenation,
    DataSm,
    DeliverSm,
    MessageState,
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
    decode_pdu,
    encode_pdu,
    receipt_for,
    split,
)

log = structlog.get_logger("kairos.esme")

PATIENCE = 10.0  # seconds that another system's marketing waits for a decision
ALONE = 60.0  # seconds: the parts of one message come within them

# Send as it came, for this account, with the identity that a retry has too, and the time of the event loop until which
# the answer may wait for the store. SmppError: there is no answer.
Forward = Callable[[SubmitSm | DataSm, str, str, float], Awaitable[Pdu]]


class Esmes:
    """Handles what accounts submit; a Channel to them for receipts and relayed replies."""

    def __init__(
        self,
        reader: Reader,
        loop: Loop,
        clock: Clock,
        forward: Forward,
        decide_within: float,
        asked: Callable[[Ask, str], Awaitable[Pdu]],
        submissions: Submissions | None = None,
    ) -> None:
        self.reader, self.loop, self.clock = reader, loop, clock
        self.forward, self.decide_within = forward, decide_within
        self.asked = asked  # about a message that was submitted before
        self.submissions = submissions or Submissions({}, clock, reader.msisdn)
        self.first = FirstAnswers(loop, clock)
        self._alone: OrderedDict[str, float] = OrderedDict()  # messages whose parts go out by themselves, until when
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
        came = self.reader.came(session.account, pdu, asyncio.get_running_loop().time() + self.decide_within)
        while first := self.first.again(came.identity, session, own=came.own):
            message_id = await asyncio.shield(first.answer)
            if message_id:
                self.first.settle(first, message_id)
                return pdu.response(message_id=message_id)
        first = self.first.begin(came.identity, session.account, session, own=came.own)
        response = None
        try:
            response = await self._take(pdu, came)
        finally:
            message_id = getattr(response, "message_id", "")
            self.first.settle(first, message_id)
            if came.event and came.own and message_id == came.message_id:
                self.first.forget(came.identity, first)
        return response

    async def _take(self, pdu: SubmitSm | DataSm, came: Came) -> Pdu:
        if came.account in self.submissions.senders:
            return await self._of_others(pdu, came)
        if isinstance(pdu, SubmitSm) and (said := concatenation(pdu)) and self.reader.patterns.of(came.account):
            return await self._part(pdu, said, came)
        if came.event is None:
            self.counts["not_read"] += 1
            return await self._forward(pdu, came)
        self.counts["notifications"] += 1
        return await self._notify(pdu, came)

    async def _of_others(self, pdu: SubmitSm | DataSm, came: Came) -> Pdu:
        """Another system's message: answered as the contact policy says. Government, emergency and service go out
        though nobody can decide; of the rest, its sender hears that it should come back."""
        if not isinstance(pdu, SubmitSm):
            return pdu.response(Status.ESME_RINVCMDID)
        key = hashlib.blake2b(came.identity.encode(), digest_size=8).hexdigest() if came.own else uuid4().hex[:16]
        try:
            handed = self.submissions.handed(came.account, key, [pdu], came.identity)
        except RefusedError as error:
            self.counts["others_refused"] += 1
            log.info("not taken", account=came.account, reason=str(error))
            return pdu.response(error.status)
        said = concatenation(pdu)
        self.counts["of_others"] += 1
        if said and handed.always:
            return await self._part(pdu, said, came)
        part = self._one_of(pdu, said, came, handed.msisdn) if said else None
        try:
            submission = self.loop.post(part or handed, regulated=handed.always)
            await asyncio.wait({submission.answer}, timeout=self.decide_within if handed.always else PATIENCE)
            if not submission.answer.done():
                if handed.always:
                    return await self._overtake(pdu, replace(came, message_id=key), submission)
                submission.let_go()
                raise OverloadedError("it was not decided in time")
            answer = submission.answer.result()
        except Exception as error:
            if not isinstance(error, KairosError):
                log.exception("a message of another system was not decided", account=came.account)
            if handed.always:
                return await self._forward(pdu, came)
            return pdu.response(Status.ESME_RTHROTTLED)
        if part:
            return self._as_part(pdu, answer, part.carried.message_id)
        if answer.status == "duplicate":
            answer = await asyncio.to_thread(self._first_answer, key)
        return response_to(pdu, answer, key)

    def _first_answer(self, key: str) -> Answer:
        """How a message stands that came before."""
        known = self.loop.engine.store.passage(key)
        return Answer(known.stand, known.why, until=known.until) if known else Answer("accepted")

    def _as_part(self, pdu: SubmitSm | DataSm, answer: Answer, known: str) -> Pdu:
        """The answer to a part that was kept, or that completed its message."""
        if answer.status == "rejected":
            return pdu.response(Status.ESME_RINVDSTADR)
        if answer.status == "duplicate":
            return pdu.response(message_id=answer.reason or known)
        return response_to(pdu, answer, known)

    def _one_of(self, pdu: SubmitSm, said: Concatenation, came: Came, msisdn: str) -> Part:
        way = f"{came.account}/{pdu.source_addr}>{pdu.destination_addr}"
        key, known = f"{way} {said.kind} {said.reference}/{said.parts}", uuid4().hex[:16]
        return Part(key, came.account, msisdn, said.parts, said.part, Carried(known, encode_pdu(pdu, 0)))

    async def _part(self, pdu: SubmitSm, said: Concatenation, came: Came) -> Pdu:
        """One of several: answered when it is safe, or sent on by itself where it may not wait for the others."""
        try:
            msisdn = self.reader.msisdn(pdu.destination_addr)
        except KairosError:
            return await self._forward(pdu, came)
        part = self._one_of(pdu, said, came, msisdn)
        if self._alone.get(part.key, 0.0) > asyncio.get_running_loop().time():
            return await self._forward(pdu, came)
        known = part.carried.message_id
        try:
            submission = self.loop.post(part, regulated=True)
        except KairosError:
            self._goes_alone(part)
            return await self._forward(pdu, came)
        self.counts["parts"] += 1
        await asyncio.wait({submission.answer}, timeout=self.decide_within)
        if not submission.answer.done():
            response = await self._overtake(pdu, replace(came, message_id=known), submission)
            if response.ok and getattr(response, "message_id", known) != known:
                self._goes_alone(part)
            return response
        if error := submission.answer.exception():
            log.error("a part was not taken", reason=str(error))
            self.counts["undecided"] += 1
            self._goes_alone(part)
            return await self._forward(pdu, came)
        answer = submission.answer.result()
        if answer.status == "rejected":
            return await self._forward(pdu, came)
        return self._as_part(pdu, answer, known)

    def _goes_alone(self, part: Part) -> None:
        """A part goes out by itself: so do those that follow, and those that we have."""
        now = asyncio.get_running_loop().time()
        self._alone[part.key] = now + ALONE
        self._alone.move_to_end(part.key)
        while next(iter(self._alone.values())) < now:
            self._alone.popitem(last=False)
        if self.loop.waiting > 2 * self.loop.queue:  # those that we have go when their time is over
            return
        self.loop.post(msgspec.structs.replace(part, carried=Carried(part.carried.message_id, b"")), own=True).let_go()

    async def _notify(self, pdu: SubmitSm | DataSm, came: Came) -> Pdu:
        """Let the engine decide within the limit; else the plain text goes out, and the queued one is withdrawn."""
        assert came.event is not None
        accepted = pdu.response(message_id=came.message_id)
        try:
            submission = self.loop.post(came.event, regulated=True)
        except KairosError:
            return await self._forward(pdu, came)
        await asyncio.wait({submission.answer}, timeout=self.decide_within)
        if not submission.answer.done():
            return await self._overtake(pdu, came, submission)
        if error := submission.answer.exception():  # whatever broke, the notification must go out
            log.error("not decided", reason=str(error))
            self.counts["undecided"] += 1
            return await self._forward(pdu, came)
        return accepted

    async def _overtake(self, pdu: SubmitSm | DataSm, came: Came, submission: Submission) -> Pdu:
        """Too slow: send the plain notification now. If the SMSC will not have it, the queued copy stays."""
        self.counts["too_slow"] += 1
        submission.let_go()
        submission.overtaken = asyncio.get_running_loop().create_future()
        response = None
        try:
            response = await self.forward(pdu, came.account, came.identity, came.until)
        except SmppError as error:
            log.warning("not forwarded", account=came.account, reason=str(error))
        finally:
            submission.overtaken.set_result(response is not None and response.ok)
        if response is not None and response.ok:
            return own_answer(pdu, response)
        refused = pdu.response(response.status if response is not None else Status.ESME_RSYSERR)
        try:
            answer = await asyncio.shield(submission.answer)
        except Exception:
            return refused
        if not isinstance(submission.input, Part):
            return pdu.response(message_id=came.message_id)
        if answer.status == "rejected":  # nothing is kept of it
            return refused
        return self._as_part(pdu, answer, came.message_id)

    async def _forward(self, pdu: SubmitSm | DataSm, came: Came) -> Pdu:
        """As it came, to the SMSC; the submitter gets the SMSC's own answer."""
        self.counts["forwarded"] += 1
        try:
            response = await self.forward(pdu, came.account, came.identity, came.until)
        except SmppError as error:
            log.warning("not forwarded", account=came.account, reason=str(error))
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

        def meaning(response: Pdu) -> Outcome:
            if response.ok:
                return Outcome("sent")
            return Outcome("retry" if response.status in TEMPORARY else "failed", reason=f"status {response.status}")

        return await attempt(session.request(pdu), meaning)

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
