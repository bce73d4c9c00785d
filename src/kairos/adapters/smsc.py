"""The operator's SMSC: texts go out through one bind, and replies and receipts come back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

import msgspec
import structlog

from kairos.deliver import with_text
from kairos.domain.inputs import Delivery, Reply
from kairos.domain.message import Text
from kairos.engine.loop import Loop
from kairos.errors import EventError, KairosError, StoreError
from kairos.ports import Clock, Outcome, Store
from kairos.smpp import (
    TEMPORARY,
    Assembled,
    Client,
    DataSm,
    DeliverSm,
    EncodeError,
    Handler,
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
    id_forms,
    parse_receipt,
    split,
    status_name,
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
        client: Callable[[Handler], Client],
        loop: Loop,
        store: Store,
        clock: Clock,
        msisdn: Callable[[str], str],
        receipts_to: Callable[[str, DeliverSm], object],
    ) -> None:
        self.client = client(self.handle)
        self.loop, self.store, self.clock, self.msisdn = loop, store, clock, msisdn
        self.receipts_to = receipts_to  # (account, receipt): of messages that were forwarded plain
        self._reference = itertools.count(1)
        self._replies = Reassembler(ttl=120.0, clock=time.monotonic, limit=10_000)
        self._owed: list[Assembled] = []  # acknowledged, and not taken by the engine yet
        self._forwarded: OrderedDict[str, str] = OrderedDict()  # the SMSC's message id -> account
        self._submitted: OrderedDict[str, None] = OrderedDict()  # ids of our own messages, committed or not yet

    # -- out -----------------------------------------------------------------------------------------------------------

    async def send(self, text: Text) -> Outcome:
        """Submit a text, in as many parts as it needs. `unknown`: a part may have been taken and was not confirmed."""
        try:
            pdus = carried(text) or [_submit_sm(text, one) for one in split(text.text, next(self._reference))]
        except (TextError, PduError) as error:
            return Outcome("failed", reason=str(error))
        message_id = ""
        for place, pdu in enumerate(pdus):
            outcome = await self._submit(pdu)
            if outcome.status != "sent":
                begun = place and outcome.status == "retry"
                return Outcome("unknown", reason=outcome.reason) if begun else outcome
            message_id = outcome.peer_id
        _keep(self._submitted, message_id, None)
        return Outcome("sent", message_id)

    async def forward(self, pdu: SubmitSm | DataSm, account: str) -> Pdu:
        """Send somebody's PDU as it came, and give back the SMSC's own answer. Raises SmppError where there is none."""
        response = await self.client.request(replace(pdu, sequence=0))
        if response.ok:
            _keep(self._forwarded, getattr(response, "message_id", ""), account)
        return response

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

    async def handle(self, _session: Session, pdu: Pdu) -> Pdu:
        """Take a deliver_sm or data_sm: acknowledged after the commit, or refused so that the SMSC tries again."""
        if not isinstance(pdu, DeliverSm | DataSm):
            return pdu.response(Status.ESME_RINVCMDID)
        receipt = parse_receipt(pdu)
        try:
            if receipt:
                await self._receipt(pdu, receipt)
            else:
                await self._texts(pdu)
        except EventError as error:
            log.warning("reply refused", reason=str(error))
            return pdu.response(Status.ESME_RINVSRCADR)
        except KairosError as error:
            log.warning("not taken", reason=str(error))
            return pdu.response(Status.ESME_RX_T_APPN)
        return pdu.response()

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
        await self.loop.submit(
            Reply(f"smsc/{uuid4().hex}", msisdn, first.destination_addr, message.text(), self.clock())
        )

    async def _receipt(self, pdu: DeliverSm | DataSm, receipt: Receipt) -> None:
        """Note a receipt, and pass it on to the account that asked, under the id that it knows."""
        forms = id_forms(receipt.message_id)  # as written first: another form may be another message's id
        for wait in (0.0, *RECEIPT_WAIT):
            await asyncio.sleep(wait)
            for form in forms:
                if form in self._forwarded:
                    if isinstance(pdu, DeliverSm):
                        self.receipts_to(self._forwarded[form], pdu)
                    return
                if row := self.store.outgoing_by_peer_id(form):
                    news = _delivery(row.id, row.subscriber, _text(row.payload), receipt, self.clock())
                    await self.loop.submit(news, own=True)
                    return
                if form in self._submitted:
                    break
        if any(form in self._submitted for form in forms):
            raise StoreError(f"the id `{receipt.message_id}` of its message is not committed yet")
        log.info("receipt of an unknown message", id=receipt.message_id)


def _keep(latest: OrderedDict[str, T], message_id: str, value: T) -> None:
    """Note an id, and forget the oldest beyond `IDS_KEPT`."""
    latest[message_id] = value
    if len(latest) > IDS_KEPT:
        latest.popitem(last=False)


def _delivery(row: int, subscriber: int, text: Text, receipt: Receipt, now: int) -> Delivery:
    delivered = receipt.state is MessageState.DELIVERED
    passed_on = None
    if text.receipt:
        said = datetime.fromtimestamp(now / 1000, UTC).strftime("%y%m%d%H%M%S")
        passed_on = Text(
            source=text.destination,
            destination=text.source,
            text=f"{receipt.state.name} {receipt.error} {receipt.submitted or said} {receipt.done or said}",
            account=text.account,
            message_id=text.message_id,
        )
    status = "delivered" if delivered else "failed" if receipt.state.final else "sent"
    return Delivery(row, subscriber if passed_on else 0, status, now, receipt=passed_on, reason="unknown")


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
