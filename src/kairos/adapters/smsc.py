"""The operator's SMSC: texts go out through one bind, and replies and receipts come back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

import msgspec
import structlog

from kairos.adapters.first_answers import FirstAnswers, fingerprint
from kairos.deliver import with_text
from kairos.domain.inputs import Answered, Delivery, Reply
from kairos.domain.message import Carried, Outgoing, Text
from kairos.engine.loop import Loop
from kairos.engine.work import Answer
from kairos.errors import EventError, KairosError, StoreError
from kairos.ports import Clock, Outcome, Store
from kairos.smpp import (
    TEMPORARY,
    Assembled,
    DataSm,
    DeliverSm,
    EncodeError,
    Handler,
    Link,
    MessageState,
    NotSent,
    Pdu,
    PduError,
    Reassembler,
    Receipt,
    Segment,
    Session,
    SmppError,
    Status,
    SubmitSm,
    TextError,
    decode_pdu,
    encode_pdu,
    id_forms,
    parse_receipt,
    split,
    status_name,
    with_message_id,
)

log = structlog.get_logger("kairos.smsc")

ALPHANUMERIC, INTERNATIONAL, NETWORK_SPECIFIC = 5, 1, 3  # type of number, SMPP 3.4 section 5.2.5
ISDN = 1  # numbering plan, section 5.2.6
IDS_KEPT = 100_000  # of the latest messages, for their receipts
RECEIPT_WAIT = (0.02, 0.1, 0.5, 2.0)  # seconds: a receipt may overtake the commit of its message's id
ACCOUNT_OF_ALL = "smsc"

T = TypeVar("T")

_text = msgspec.msgpack.Decoder(Text).decode


class Smsc:
    """A Channel to handsets (`send`), a way for plain notifications (`forward`), and the handler of what comes back."""

    def __init__(
        self,
        client: Callable[[Handler], Link],
        loop: Loop,
        store: Store,
        clock: Clock,
        msisdn: Callable[[str], str],
        receipts_to: Callable[[str, DeliverSm | DataSm], Awaitable[Outcome]],
        *,
        hold_receipts: int = 3 * 86_400_000,
        identity_tlv: int = 0,
    ) -> None:
        self.client = client(self.handle)
        self.loop, self.store, self.clock, self.msisdn = loop, store, clock, msisdn
        self.receipts_to = receipts_to  # (account, receipt): at once, while the store takes nothing
        self.identity_tlv = identity_tlv  # the TLV that names a reply, the same on every try; 0: none does
        self.hold_receipts = hold_receipts  # ms that one waits for its account
        self.first = FirstAnswers(clock)  # of replies
        self.counts: Counter[str] = Counter()
        self._reference = itertools.count(1)
        self._replies = Reassembler(ttl=120.0, clock=time.monotonic, limit=10_000)
        self._owed: list[Assembled] = []  # acknowledged, and not taken by the engine yet
        self._forwarded: OrderedDict[str, Answered] = OrderedDict()  # by the SMSC's message id
        self._submitted: OrderedDict[str, None] = OrderedDict()  # ids of our own messages, committed or not yet

    # -- out -----------------------------------------------------------------------------------------------------------

    async def send(self, text: Text) -> Outcome:
        """Submit a text, in as many parts as it needs. `unknown`: a part may have been taken and was not confirmed."""
        try:
            pdus = carried(text) or [_submit_sm(text, one) for one in split(text.text, next(self._reference))]
        except (TextError, PduError) as error:
            return Outcome("failed", reason=str(error))
        message_id, parts = "", []
        for place, pdu in enumerate(pdus):
            outcome = await self._submit(pdu)
            if outcome.status != "sent":
                begun = place and outcome.status == "retry"
                return Outcome("unknown", reason=outcome.reason) if begun else outcome
            message_id = outcome.peer_id
            if place < len(pdus) - 1 and place < len(text.carried):
                known = text.carried[place].message_id
                parts.append(Answered(text.account, known, message_id, "", self.clock()))
        _keep(self._submitted, message_id, None)
        return Outcome("sent", message_id, parts=tuple(parts))

    async def forward(self, pdu: SubmitSm | DataSm, account: str, identity: str = "", until: float = 0.0) -> Pdu:
        """Send somebody's PDU as it came, and give back the SMSC's own answer. Raises SmppError where there is none.

        Whose it is goes into the store, so that its receipts find their way after a restart. The answer waits for that
        until `until` (the event loop's clock) at most: a store that is slow or down holds nothing up.
        """
        response = await self.client.request(replace(pdu, sequence=0))
        message_id = getattr(response, "message_id", "")
        if response.ok and message_id:
            told = Answered(account, message_id, message_id, identity, self.clock())
            _keep(self._forwarded, message_id, told)
            await self._save(told, until - asyncio.get_running_loop().time())
        return response

    async def _save(self, told: Answered, within: float) -> None:
        try:
            answer = self.loop.post(told).answer
        except KairosError:
            self.counts["forwarded_unsaved"] += 1
            return
        answer.add_done_callback(self._saved)
        if within > 0:
            await asyncio.wait({answer}, timeout=within)

    def _saved(self, answer: asyncio.Future[Answer]) -> None:
        if answer.cancelled() or answer.exception():
            self.counts["forwarded_unsaved"] += 1

    def remember(self, records: Sequence[Answered]) -> None:
        """What an earlier run answered, oldest first."""
        for told in records:
            if told.peer_id:
                _keep(self._forwarded, told.peer_id, told)
        self.first.remember(told for told in records if told.account == ACCOUNT_OF_ALL)

    def forwarded(self, account: str, message_id: str) -> bool:
        """Whether this is an account's message that was forwarded lately, under the SMSC's own id."""
        told = self._forwarded.get(message_id)
        return told is not None and (told.account, told.message_id) == (account, message_id)

    async def _submit(self, pdu: SubmitSm) -> Outcome:
        try:
            response = await self.client.request(pdu)
        except NotSent as error:
            return Outcome("retry", reason=str(error))
        except EncodeError as error:
            return Outcome("failed", reason=str(error))
        except SmppError as error:
            return Outcome("unknown", reason=str(error))
        if response.ok:
            return Outcome("sent", getattr(response, "message_id", ""))
        return Outcome("retry" if response.status in TEMPORARY else "failed", reason=status_name(response.status))

    # -- in ------------------------------------------------------------------------------------------------------------

    async def handle(self, session: Session, pdu: Pdu) -> Pdu:
        """Take a deliver_sm or data_sm: acknowledged after the commit, or refused so that the SMSC tries again."""
        if not isinstance(pdu, DeliverSm | DataSm):
            return pdu.response(Status.ESME_RINVCMDID)
        receipt = parse_receipt(pdu)
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
        named = (pdu.tlv(self.identity_tlv) or b"") if self.identity_tlv else b""
        identity = fingerprint(pdu, named)
        while first := self.first.again(identity, session, own=bool(named)):
            if await asyncio.shield(first.answer):
                self.first.settle(first, "taken")
                return
        first = self.first.begin(identity, ACCOUNT_OF_ALL, session)
        taken = ""
        try:
            await self._texts(pdu)
            taken = "taken"
        finally:
            self.first.settle(first, taken)

    async def _texts(self, pdu: DeliverSm | DataSm) -> None:
        """Take the texts that a PDU is, completes, or makes leave unfinished; the last were acknowledged long ago."""
        owed, self._owed = self._owed, []
        for message in owed + self._replies.add(ACCOUNT_OF_ALL, pdu):
            ours = any(part is pdu for part in message.pdus)
            try:
                await self._reply(message)
            except EventError:
                if ours:
                    raise
            except Exception as error:
                if ours:
                    self._replies.reopen(ACCOUNT_OF_ALL, pdu)
                    raise
                if isinstance(error, KairosError):
                    self._owed.append(message)
                else:  # it broke the engine, and would again
                    log.exception("reply not taken", source=message.pdus[0].source_addr)

    async def _reply(self, message: Assembled) -> None:
        first = message.pdus[0]
        msisdn = self.msisdn(first.source_addr)
        named = (first.tlv(self.identity_tlv) or b"") if self.identity_tlv else b""
        told = fingerprint(first, named)
        identity = f"smsc/{told}" if named else f"smsc/{uuid4().hex}"
        text = message.text()
        await self.loop.submit(
            Reply(identity, msisdn, first.destination_addr, text, self.clock(), "" if named else told)
        )

    async def _receipt(self, pdu: DeliverSm | DataSm, receipt: Receipt) -> None:
        """Note a receipt, and pass it on to the account that asked, under the id that it knows."""
        forms = id_forms(receipt.message_id)  # as written first: another form may be another message's id
        for wait in (0.0, *RECEIPT_WAIT):
            await asyncio.sleep(wait)
            for form in forms:
                if told := self._forwarded.get(form):
                    await self._pass_on(told, pdu, receipt)
                    return
                if row := self.store.outgoing_by_peer_id(form):
                    await self.loop.submit(self._delivery(row, pdu, receipt), own=True)
                    return
                if told := self.store.answered_by_peer_id(form):
                    await self._pass_on(told, pdu, receipt)
                    return
                if form in self._submitted:
                    break
        if any(form in self._submitted for form in forms):
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
            send_by=self.clock() + self.hold_receipts,
            account=account,
            message_id=message_id,
            carried=(Carried(message_id, named),),
        )

    def _delivery(self, row: Outgoing, pdu: DeliverSm | DataSm, receipt: Receipt) -> Delivery:
        """What a receipt says of an outbox row: only a final one changes what is known of it."""
        text = _text(row.payload)
        status = "delivered" if receipt.state is MessageState.DELIVERED else "failed"
        final = receipt.state.final and not receipt.intermediate
        last = text.carried[-1].message_id if text.carried else text.message_id
        passed = self._passed(text.account, last, pdu, receipt) if text.receipt else None
        return Delivery(
            row.id if final else 0,
            row.subscriber if passed else 0,
            status if final else "receipt",
            self.clock(),
            receipt=passed,
            reason="unknown",
        )


def _keep(latest: OrderedDict[str, T], message_id: str, value: T) -> None:
    """Note an id, and forget the oldest beyond `IDS_KEPT`."""
    latest[message_id] = value
    if len(latest) > IDS_KEPT:
        latest.popitem(last=False)


def carried(text: Text) -> list[SubmitSm]:
    """A notification's own PDUs, with its line in them if it has one; none where the text is ours alone.

    What gets longer than one message keeps one reference number on every try: a handset takes a repeat for one.
    """
    pdus: list[SubmitSm] = [decode_pdu(one.pdu) for one in text.carried]  # type: ignore[misc]
    if not pdus or not text.plain:
        return pdus
    return with_text(pdus, text.text, int.from_bytes(text.message_id.encode()[-2:], "big"))


def _submit_sm(text: Text, segment: Segment) -> SubmitSm:
    return SubmitSm(
        source_addr_ton=type_of_number(text.source),
        source_addr_npi=ISDN if text.source.isdigit() else 0,
        source_addr=text.source,
        dest_addr_ton=INTERNATIONAL,
        dest_addr_npi=ISDN,
        destination_addr=text.destination,
        esm_class=segment.esm_class,
        registered_delivery=int((text.receipt or text.marketing) and segment.part == segment.parts),
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
