"""The operator's two systems that bind to kairos: the charging system with its notifications, and another service.

Account `ocs` submits notifications and hears their receipts; account `info` is told of replies that are not for kairos.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from kairos.simulate.eocn import Notification
from kairos.smpp import (
    Backoff,
    BindTransceiver,
    Client,
    DeliverSm,
    NotBound,
    NotSent,
    Pdu,
    ResponseLost,
    Session,
    SessionOptions,
    Status,
    SubmitSm,
    encode,
    measure,
    message_bytes,
    parse_receipt,
    split,
    status_name,
    text_of,
    tlvs,
)

# Try again: the receiver said "not now".
_LATER = {
    Status.ESME_RTHROTTLED,
    Status.ESME_RMSGQFUL,
    Status.ESME_RSYSERR,
    Status.ESME_RSUBMITFAIL,
    Status.ESME_RX_T_APPN,
    Status.ESME_RINVBNDSTS,
}
_OPTIONS = SessionOptions(response_timeout=5.0, grace=1.0)
_BACKOFF = Backoff(first=0.1, most=0.5)


@dataclass(frozen=True, slots=True)
class Account:
    """How a system binds to kairos."""

    system_id: str
    password: str


class Esme:
    """One of the operator's systems: bound to kairos wherever that is now."""

    def __init__(self, account: Account, window: int = 64) -> None:
        self._account = account
        self._options = replace(_OPTIONS, window=window)
        self._client: Client | None = None

    async def connect(self, host: str, port: int) -> None:
        """Leave where it was and bind there, again and again until it holds. Returns at once; see `bound`."""
        await self.close()
        bind = BindTransceiver(system_id=self._account.system_id, password=self._account.password)
        self._client = Client(host, port, bind, self._handle, self._options, backoff=_BACKOFF)
        await self._client.start()

    async def bound(self) -> None:
        """Wait until it is bound. Raises NotBound before `connect`."""
        if self._client is None:
            raise NotBound(f"`{self._account.system_id}` was told of no kairos to bind to")
        await self._client.bound()

    @property
    def is_bound(self) -> bool:
        return self._client is not None and self._client.session is not None

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _request(self, pdu: Pdu) -> Pdu:
        if self._client is None:
            raise NotBound("no kairos to send to")
        return await self._client.request(pdu)

    async def _handle(self, _: Session, pdu: Pdu) -> Pdu | None:
        if isinstance(pdu, DeliverSm):
            self._on_deliver(pdu)
            return pdu.response()
        return pdu.response(Status.ESME_RINVCMDID) if pdu.answer is not None else None

    def _on_deliver(self, pdu: DeliverSm) -> None:
        raise NotImplementedError


class ChargingEsme(Esme):
    """Submits notifications until each is acknowledged or refused for good; the same Ref on every try.

    `parted` sends a long text as several messages with a header; without it a long text goes in message_payload.
    """

    def __init__(
        self,
        account: Account,
        *,
        source: str,
        timer: Callable[[], float],
        parted: bool = False,
        retry_every: float = 0.2,
        window: int = 64,
    ) -> None:
        super().__init__(account, window)
        self._source = source
        self._timer = timer
        self._parted = parted
        self._retry_every = retry_every
        self._references = 0
        self.receipts: defaultdict[str, list[str]] = defaultdict(list)  # states by message id, in the order they came

    async def submit(self, notification: Notification) -> None:
        """Returns when it was acknowledged or refused for good."""
        notification.submitted = notification.submitted or self._timer()
        pdus = self._pdus(notification)
        while pdus:
            notification.attempts += 1
            status = await self._try(pdus[0], notification)
            if status == 0:
                pdus.pop(0)
            elif status is not None and status not in _LATER:
                notification.refused = status_name(status)
                return
            else:
                await asyncio.sleep(self._retry_every)
        notification.acknowledged = self._timer()

    async def _try(self, pdu: SubmitSm, notification: Notification) -> int | None:
        """The answer's status; None where there was none."""
        try:
            answer = await self._request(pdu)
        except (NotSent, ResponseLost):
            return None
        if answer.ok:
            notification.message_id = getattr(answer, "message_id", "")
        return answer.status

    def _pdus(self, notification: Notification) -> list[SubmitSm]:
        if self._parted:
            self._references += 1
            return [
                self._pdu(notification, part.esm_class, part.data_coding, part.short_message)
                for part in split(notification.text, self._references)
            ]
        data_coding, octets = encode(notification.text)
        return [self._pdu(notification, 0, data_coding, octets)]

    def _pdu(self, notification: Notification, esm_class: int, data_coding: int, octets: bytes) -> SubmitSm:
        fits = esm_class or measure(notification.text).parts == 1
        return SubmitSm(
            source_addr=self._source,
            dest_addr_ton=1,
            dest_addr_npi=1,
            destination_addr=notification.msisdn,
            esm_class=esm_class,
            registered_delivery=1,
            data_coding=data_coding,
            short_message=octets if fits else b"",
            tlvs=() if fits else tlvs(message_payload=octets),
        )

    def _on_deliver(self, pdu: DeliverSm) -> None:
        receipt = parse_receipt(pdu)
        if receipt is not None:
            self.receipts[receipt.message_id].append(receipt.state.name.lower())


@dataclass(frozen=True, slots=True)
class Relayed:
    """A reply that kairos passed on unchanged."""

    msisdn: str
    short_code: str
    text: str


class InfoEsme(Esme):
    """Another service of the operator behind the same short code."""

    def __init__(self, account: Account, on_relayed: Callable[[Relayed], None]) -> None:
        super().__init__(account)
        self._on_relayed = on_relayed
        self.relayed: list[Relayed] = []

    def _on_deliver(self, pdu: DeliverSm) -> None:
        if parse_receipt(pdu) is None and message_bytes(pdu)[1]:
            told = Relayed(pdu.source_addr.lstrip("+"), pdu.destination_addr, text_of([pdu]))
            self.relayed.append(told)
            self._on_relayed(told)
