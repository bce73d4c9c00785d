"""The operator's SMSC: texts go out through one bind, and replies and receipts come back."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4
from zlib import crc32

import msgspec
import structlog

from kairos.adapters.first_answers import FirstAnswers, fingerprint
from kairos.adapters.smpp_attempt import attempt
from kairos.deliver import pdus_of, with_text
from kairos.domain.inputs import Answered, Delivery, Part, Reply
from kairos.domain.message import Carried, Outgoing, Text
from kairos.engine.loop import Loop
from kairos.engine.work import Answer
from kairos.errors import EventError, KairosError, StoreError
from kairos.ports import Clock, Outcome, Store
from kairos.smpp import (
    EMERGENCY,
    TEMPORARY,
    DataSm,
    DeliverSm,
    Handler,
    Link,
    MessageState,
    Pdu,
    PduError,
    Receipt,
    Segment,
    Session,
    Status,
    SubmitSm,
    TextError,
    concatenation,
    encode_pdu,
    id_forms,
    parse_receipt,
    split,
    status_name,
    text_of,
    with_message_id,
)

log = structlog.get_logger("kairos.smsc")

ALPHANUMERIC, INTERNATIONAL, NETWORK_SPECIFIC = 5, 1, 3  # type of number, SMPP 3.4 section 5.2.5
ISDN = 1  # numbering plan, section 5.2.6
MESSAGE_TYPE = 0x3C  # bits of esm_class, section 5.2.12
ACKNOWLEDGEMENTS = (0x08, 0x10)  # of a handset or its user; they name no message, and are no reply
IDS_KEPT = 100_000  # of the latest messages, for their receipts
REFUSES_ALL = 5_000  # ms in which nothing that was submitted was taken, until the log says so
RECEIPT_WAIT = (0.02, 0.1, 0.5, 2.0)  # seconds: a receipt may overtake the commit of its message's id
FROM_SUBSCRIBERS = ""  # for an account: replies are nobody's

K = TypeVar("K")
T = TypeVar("T")

_text = msgspec.msgpack.Decoder(Text).decode


class Smsc:
    """A Channel to handsets (`send`), a way for plain notifications (`forward`), and the handler of what comes back."""

    def __init__(
        self,
        client: Callable[[Handler], Link],
        loop: Loop,
        clock: Clock,
        msisdn: Callable[[str], str],
        receipts_to: Callable[[str, DeliverSm | DataSm], Awaitable[Outcome]],
        *,
        identity_tlv: int = 0,
        entity_tlv: int = 0,
        template_tlv: int = 0,
    ) -> None:
        self.client = client(self.handle)
        self.loop, self.clock, self.msisdn = loop, clock, msisdn
        self.receipts_to = receipts_to  # (account, receipt): at once, while the store takes nothing
        self.identity_tlv = identity_tlv  # the TLV that names a reply, the same on every try; 0: none does
        self.entity_tlv, self.template_tlv = entity_tlv, template_tlv  # what carries the regulator's ids; 0: nothing
        self.first = FirstAnswers(loop, clock)  # of replies
        self.counts: Counter[str] = Counter()
        # What waited in the store must not stand by thousands before a notification whose account waits for an answer.
        at_once = 2 * sum(one.window for one in self.client.statistics())
        self._ahead = {True: asyncio.Semaphore(at_once), EMERGENCY: asyncio.Semaphore(at_once)}  # by urgency
        self._reference = itertools.count(1)
        self._refused_since, self._refuses = 0, False  # since the latest that it took; whether the log said so
        self._begun: OrderedDict[tuple[str, str], list[str]] = OrderedDict()  # ids of the parts that have gone
        self._forwarded: OrderedDict[str, Answered] = OrderedDict()  # by the SMSC's message id
        self._answering: set[str] = set()  # ids whose receipts wait: they must not overtake the answer to the account
        self._submitted: OrderedDict[str, None] = OrderedDict()  # ids that owe us a receipt, committed or not yet

    # -- out -----------------------------------------------------------------------------------------------------------

    async def send(self, text: Text) -> Outcome:
        """Submit a text, in as many parts as it needs. `unknown`: a part may have been taken and was not confirmed."""
        try:
            pdus = carried(text) or [_submit_sm(text, one) for one in split(text.text, next(self._reference))]
            if text.plain or not text.carried:  # else they are the account's own, as they came
                pdus = [self._registered(pdu, text) for pdu in pdus]
        except (TextError, PduError) as error:
            return Outcome("failed", reason=str(error))
        urgent: int = text.purpose == "regulatory" if text.passage else bool(text.carried)
        urgent = EMERGENCY if text.emergency else urgent
        key = (text.message_id, text.text)
        ids = self._begun.pop(key, []) if text.carried else []  # the parts that went out before go no second time
        for pdu in pdus[len(ids) :]:
            async with self._ahead.get(urgent, nullcontext()):
                outcome = await self._submit(pdu, urgent=urgent)
            if outcome.status != "sent":
                if text.carried and ids:
                    _keep(self._begun, key, ids)
                status = "unknown" if ids and outcome.status == "retry" else outcome.status
                parts = self._parts(text, ids, last=False)  # they are there, and have their receipts
                return replace(outcome, status=status, parts=parts)
            ids.append(outcome.peer_id)
            if pdu.registered_delivery:
                _keep(self._submitted, outcome.peer_id, None)
            self._forwarded.pop(outcome.peer_id, None)  # the SMSC gives its ids anew
        return Outcome("sent", ids[-1], parts=self._parts(text, ids))

    def _registered(self, pdu: SubmitSm, text: Text) -> SubmitSm:
        """With the ids under which the regulator knows the sender and the text, in the place of other ones."""
        ids = ((self.entity_tlv, text.entity_id), (self.template_tlv, text.template_id))
        told = {tag: id_.encode() for tag, id_ in ids if tag and id_}
        if not told:
            return pdu
        return replace(pdu, tlvs=(*(one for one in pdu.tlvs if one[0] not in told), *told.items()))

    def _parts(self, text: Text, ids: list[str], *, last: bool = True) -> tuple[Answered, ...]:
        """Under which ids of the SMSC's the account's parts are there, its `last` too or those before it."""
        known = [one.message_id for one in text.carried]
        if known in ([], [text.message_id]):
            return ()
        now = self.clock()
        pairs = [*zip(known[:-1], ids, strict=False), *([(known[-1], ids[-1])] if last else [])]
        return tuple(Answered(text.account, ours, id_, "", now) for ours, id_ in pairs)

    async def forward(self, pdu: SubmitSm | DataSm, account: str, identity: str = "", until: float = 0.0) -> Pdu:
        """Send somebody's PDU as it came, and give back the SMSC's own answer. Raises SmppError where there is none.

        Whose it is goes into the store, so that its receipts find their way after a restart. The answer waits for that
        until `until` (the event loop's clock) at most: a store that is slow or down holds nothing up.
        """
        response = await self.client.request(replace(pdu, sequence=0), urgent=True)
        self._note(response)
        message_id = getattr(response, "message_id", "")
        if response.ok and message_id:
            told = Answered(account, message_id, message_id, identity, self.clock())
            _keep(self._forwarded, message_id, told)
            self._answering.add(message_id)
            try:
                await self._save(told, until - asyncio.get_running_loop().time())
            finally:
                self._answering.discard(message_id)
        return response

    async def _save(self, told: Answered, within: float) -> None:
        try:
            answer = self.loop.post(told, regulated=True).answer
        except KairosError:
            self.counts["forwarded_unsaved"] += 1
            return
        answer.add_done_callback(self._saved)
        if within > 0:
            await asyncio.wait({answer}, timeout=within)

    def _saved(self, answer: asyncio.Future[Answer]) -> None:
        if answer.cancelled() or answer.exception():
            self.counts["forwarded_unsaved"] += 1

    def remember(self, records: Sequence[Answered], ended: int) -> None:
        """What earlier runs answered, oldest first, and when the last of them wrote anything."""
        for told in records:
            if told.peer_id:
                _keep(self._forwarded, told.peer_id, told)
        self.first.remember([told for told in records if told.account == FROM_SUBSCRIBERS], ended)

    def forwarded(self, account: str, message_id: str) -> bool:
        """Whether this is an account's message that was forwarded lately, under the SMSC's own id."""
        told = self._forwarded.get(message_id)
        return told is not None and (told.account, told.message_id) == (account, message_id)

    async def _submit(self, pdu: SubmitSm, *, urgent: int) -> Outcome:
        def meaning(response: Pdu) -> Outcome:
            self._note(response)
            if response.ok:
                return Outcome("sent", getattr(response, "message_id", ""))
            temporary = response.status in TEMPORARY
            reason = status_name(response.status)
            refused = temporary and response.status != Status.ESME_RTHROTTLED  # that is said of all that we send
            return Outcome("retry" if temporary else "failed", reason=reason, refused=refused)

        return await attempt(self.client.request(pdu, urgent=urgent), meaning)

    def _note(self, response: Pdu) -> None:
        """Log when it begins to take nothing, and when it takes something again; not what it refuses now and then."""
        if response.ok:
            if self._refuses:
                log.info("the SMSC takes messages again", refused_for_s=(self.clock() - self._refused_since) // 1000)
            self._refused_since, self._refuses = 0, False
            return
        self._refused_since = self._refused_since or self.clock()
        if not self._refuses and self.clock() - self._refused_since >= REFUSES_ALL:
            self._refuses = True
            log.warning("the SMSC refuses all that we submit", status=status_name(response.status))

    # -- in ------------------------------------------------------------------------------------------------------------

    async def handle(self, session: Session, pdu: Pdu) -> Pdu:
        """Take a deliver_sm or data_sm: acknowledged after the commit, or refused so that the SMSC tries again."""
        if not isinstance(pdu, DeliverSm | DataSm):
            return pdu.response(Status.ESME_RINVCMDID)
        receipt = parse_receipt(pdu)
        if not receipt and pdu.esm_class & MESSAGE_TYPE in ACKNOWLEDGEMENTS:
            self.counts["acknowledgements_dropped"] += 1
            return pdu.response()
        try:
            if receipt:
                await self._receipt(pdu, receipt)
            else:
                await self._once(session, pdu)
        except EventError as error:
            log.warning("reply refused", reason=str(error))
            return pdu.response(Status.ESME_RINVSRCADR)
        except KairosError as error:
            log.warning("not taken", reason=str(error))
            return pdu.response(Status.ESME_RX_T_APPN)
        return pdu.response()

    async def _once(self, session: Session, pdu: DeliverSm | DataSm) -> None:
        """Take a text, unless the SMSC brings it again because it may not have seen that we took it."""
        name = self._name(pdu)
        identity = fingerprint(pdu, name)
        repeated = False
        while first := self.first.again(identity, session, own=bool(name)):
            if await asyncio.shield(first.answer):
                self.first.settle(first, "taken")
                if name:
                    return
                repeated = True  # it looks like one: what may still be wanted of it, the engine knows
                break
        else:
            first = self.first.begin(identity, FROM_SUBSCRIBERS, session, own=bool(name))
        taken = ""
        try:
            await self._text(pdu, repeated=repeated)
            taken = "taken"
        finally:
            self.first.settle(first, taken)

    async def _text(self, pdu: DeliverSm | DataSm, *, repeated: bool) -> None:
        """Take a reply, or a part of one: the engine keeps it until the others have come."""
        msisdn = self.msisdn(pdu.source_addr)
        said = concatenation(pdu)
        if said:
            key = f"{pdu.source_addr}>{pdu.destination_addr} {said.kind} {said.reference}/{said.parts}"
            kept = Carried(f"smsc/{uuid4().hex}", encode_pdu(pdu, 0))
            answer = await self.loop.submit(Part(key, FROM_SUBSCRIBERS, msisdn, said.parts, said.part, kept))
            if answer.status != "rejected":  # of whom we do not know nothing is kept: each part is a reply
                return
        name = self._name(pdu)
        told = fingerprint(pdu, name)
        identity = f"smsc/{told}" if name else f"smsc/{uuid4().hex}"
        text = text_of([pdu])
        told = "" if name else told
        await self.loop.submit(Reply(identity, msisdn, pdu.destination_addr, text, self.clock(), told, repeated))

    def _name(self, pdu: DeliverSm | DataSm) -> bytes:
        """What the SMSC calls a reply, where it does."""
        return (pdu.tlv(self.identity_tlv) or b"") if self.identity_tlv else b""

    async def _receipt(self, pdu: DeliverSm | DataSm, receipt: Receipt) -> None:
        """Note a receipt, and pass it on to the account that asked, under the id that it knows."""
        forms = id_forms(receipt.message_id)  # as written first: another form may be another message's id
        for wait in (0.0, *RECEIPT_WAIT):
            await asyncio.sleep(wait)
            for form in forms:
                if form in self._answering:
                    break
                if told := self._forwarded.get(form):
                    await self._pass_on(told, pdu, receipt)
                    return
                if row := await self.loop.aside.read(Store.outgoing_by_peer_id, form):
                    self._submitted.pop(form, None)
                    await self.loop.submit(await self._delivery(row, pdu, receipt), own=True)
                    return
                if told := await self.loop.aside.read(Store.answered_by_peer_id, form):
                    self._submitted.pop(form, None)
                    await self._pass_on(told, pdu, receipt)
                    return
                if form in self._submitted:
                    break
        if any(form in self._submitted or form in self._answering for form in forms):
            raise StoreError(f"the id `{receipt.message_id}` of its message is not committed yet")
        log.info("receipt of an unknown message", id=receipt.message_id)

    async def _pass_on(self, told: Answered, pdu: DeliverSm | DataSm, receipt: Receipt) -> None:
        """A receipt of a message that no outbox row knows: by the outbox; where the store is down, at once."""
        passed = self._passed(told.account, told.message_id, pdu, receipt)
        try:
            await self.loop.submit(Delivery(0, 0, "receipt", self.clock(), receipt=passed), own=True)
        except StoreError as error:
            outcome = await self.receipts_to(told.account, with_message_id(pdu, told.message_id))
            if outcome.status != "sent":
                raise error from None

    def _passed(self, account: str, message_id: str, pdu: DeliverSm | DataSm, receipt: Receipt) -> Text:
        """The SMSC's own words, under the id that the account knows."""
        named = encode_pdu(with_message_id(pdu, message_id), 0)
        return Text(
            source=pdu.source_addr,
            destination=pdu.destination_addr,
            text=receipt.state.name,
            account=account,
            message_id=message_id,
            carried=(Carried(message_id, named),),
        )

    async def _delivery(self, row: Outgoing, pdu: DeliverSm | DataSm, receipt: Receipt) -> Delivery:
        """What a receipt says of an outbox row: only a final one changes what is known of it."""
        text = _text(row.payload)
        status = "delivered" if receipt.state is MessageState.DELIVERED else "failed"
        final = receipt.state.final and not receipt.intermediate
        known = text.message_id
        if len(text.carried) > 1 and (told := await self.loop.aside.read(Store.answered_by_peer_id, row.peer_id)):
            known = told.message_id
        passed = self._passed(text.account, known, pdu, receipt) if text.receipt else None
        return Delivery(
            row.id if final else 0,
            row.subscriber if passed else 0,
            status if final else "receipt",
            self.clock(),
            receipt=passed,
            reason="unknown",
            passage=text.passage if final else "",
            sender=text.account if text.passage else "",
            told="" if status == "delivered" else f"{receipt.state.name.lower()} {receipt.error}".strip(),
        )


def _keep(latest: OrderedDict[K, T], key: K, value: T) -> None:
    """Note something, and forget the oldest beyond `IDS_KEPT`."""
    latest[key] = value
    if len(latest) > IDS_KEPT:
        latest.popitem(last=False)


def carried(text: Text) -> list[SubmitSm]:
    """A notification's own PDUs, with its line in them if it has one; none where the text is ours alone.

    What gets longer than one message keeps one reference number on every try: a handset takes a repeat for one.
    """
    pdus = pdus_of(text.carried)
    if not pdus or not text.plain:
        return pdus
    return with_text(pdus, text.text, crc32(text.message_id.encode()))


def _submit_sm(text: Text, segment: Segment) -> SubmitSm:
    return SubmitSm(
        source_addr_ton=type_of_number(text.source),
        source_addr_npi=ISDN if text.source.isdigit() else 0,
        source_addr=text.source,
        dest_addr_ton=INTERNATIONAL,
        dest_addr_npi=ISDN,
        destination_addr=text.destination,
        esm_class=segment.esm_class,
        priority_flag=text.priority,
        registered_delivery=int(bool(text.receipt or text.marketing or text.passage) and segment.part == segment.parts),
        data_coding=segment.data_coding,
        short_message=segment.short_message,
    )


def type_of_number(address: str) -> int:
    """What kind of sender an address is.

    >>> type_of_number("Kairos"), type_of_number("5000"), type_of_number("12025550123")
    (5, 3, 1)
    """
    if not address.isdigit():
        return ALPHANUMERIC
    return NETWORK_SPECIFIC if len(address) <= 8 else INTERNATIONAL
