"""The synthetic SMSC: kairos binds to it; it takes messages to handsets and brings back receipts and replies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kairos.smpp import (
    Authenticate,
    DataSm,
    DeliverSm,
    GenericNack,
    MessageState,
    NotSent,
    Pdu,
    ResponseLost,
    Server,
    Session,
    SessionOptions,
    Status,
    SubmitSm,
    TextError,
    concatenation,
    encode,
    measure,
    passwords,
    receipt_for,
    receipt_wanted,
    serve,
    text_of,
)

Submitted = SubmitSm | DataSm

# A refusal for good: the same again would be refused again.
_FINAL = {Status.ESME_RX_P_APPN, Status.ESME_RX_R_APPN, Status.ESME_RINVDSTADR, Status.ESME_RINVSRCADR}


@dataclass(slots=True)
class Accepted:
    """One submitted PDU, by the id that the SMSC gave it."""

    id: str
    pdu: Submitted
    at: int  # ms
    delivered: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """A whole message at a handset: `ids` are its parts' ids, `at` seconds of the clock that never goes back."""

    ids: tuple[str, ...]
    source: str
    destination: str
    text: str
    at: float


@dataclass(slots=True)
class Sent:
    """A text that a subscriber sent. `acknowledged` is when kairos took it (0.0: not yet)."""

    id: str
    msisdn: str
    text: str
    at: float
    attempts: int = 0
    acknowledged: float = 0.0
    refused: str = ""


@dataclass(slots=True)
class _Gathering:
    total: int
    parts: dict[int, tuple[str, Submitted]] = field(default_factory=dict)


class Smsc:
    """An SMSC with one account. `clock`: ms since the epoch; `timer`: seconds that never go back; `ids`: fresh ids;
    `latency`: seconds from here to a handset; `receipt_after`: seconds from the handset to its receipt.

    A repeated submission is another message, as on real ones: the handset sees it again. What kairos does not
    acknowledge (replies, receipts) is sent again until it does.
    """

    def __init__(
        self,
        to_handset: Callable[[Arrival], None],
        *,
        clock: Callable[[], int],
        timer: Callable[[], float],
        ids: Iterator[str],
        account: str = "kairos",
        password: str = "",
        short_code: str = "5000",
        latency: float = 0.0,
        receipt_after: float = 0.0,
        retry_every: float = 0.2,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._to_handset = to_handset
        self._clock = clock
        self._timer = timer
        self._ids = ids
        self._account = account
        self._authenticate: Authenticate = passwords({account: password})
        self._short_code = short_code
        self._latency = latency
        self._receipt_after = receipt_after
        self._retry_every = retry_every
        self._host = host
        self.port = port
        self.accepted: dict[str, Accepted] = {}
        self.sent: list[Sent] = []
        self.receipts_sent = 0
        self._gathering: dict[tuple[str, str, str, int, int], _Gathering] = {}
        self._carriers: set[asyncio.Task[None]] = set()
        self._server: Server | None = None

    async def start(self) -> None:
        """Listen; a stopped one listens on the same port again and goes on with what it had not got rid of."""
        options = SessionOptions(response_timeout=5.0, window=64, grace=1.0)
        self._server = await serve(
            self._host, self.port, self._authenticate, self._handle, options, system_id="synthetic"
        )
        self.port = self._server.port

    async def stop(self) -> None:
        """Unbind and stop listening; the ledger and what is under way stay."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def close(self) -> None:
        """Stop for good."""
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)
        await self.stop()

    @property
    def bound(self) -> bool:
        """Whether kairos is here to receive."""
        return self._server is not None and any(one.receives for one in self._server.sessions(self._account))

    @property
    def under_way(self) -> int:
        """Replies and receipts that are not acknowledged."""
        return len(self._carriers)

    # --- from kairos to handsets ----------------------------------------------------------------

    async def _handle(self, _: Session, pdu: Pdu) -> Pdu | None:
        if not isinstance(pdu, SubmitSm | DataSm):
            return pdu.response(Status.ESME_RINVCMDID) if pdu.answer is not None else None
        message = Accepted(next(self._ids), pdu, self._clock())
        self.accepted[message.id] = message
        asyncio.get_running_loop().call_later(self._latency, self._deliver, message)
        return pdu.response(message_id=message.id)

    def _deliver(self, message: Accepted) -> None:
        message.delivered = True
        whole = self._whole(message)
        if whole is not None:
            parts = tuple(whole.parts[number] for number in sorted(whole.parts))
            self._to_handset(
                Arrival(
                    ids=tuple(id_ for id_, _ in parts),
                    source=message.pdu.source_addr,
                    destination=message.pdu.destination_addr.lstrip("+"),
                    text=text_of([pdu for _, pdu in parts]),
                    at=self._timer(),
                )
            )
        if receipt_wanted(message.pdu, MessageState.DELIVERED):
            asyncio.get_running_loop().call_later(self._receipt_after, self._report, message)

    def _report(self, message: Accepted) -> None:
        self._carry(self._receipt(message), self._count_receipt)

    def _whole(self, message: Accepted) -> _Gathering | None:
        """The message that this part completes. A part that comes again after that begins it anew."""
        said = concatenation(message.pdu)
        if said is None:
            return _Gathering(1, {1: (message.id, message.pdu)})
        pdu = message.pdu
        key = (pdu.source_addr, pdu.destination_addr, said.kind, said.reference, said.parts)
        gathering = self._gathering.setdefault(key, _Gathering(said.parts))
        gathering.parts[said.part] = (message.id, pdu)
        return self._gathering.pop(key) if len(gathering.parts) == gathering.total else None

    # --- from handsets and the SMSC to kairos ---------------------------------------------------

    def send(self, msisdn: str, text: str) -> Sent:
        """A subscriber's text to the short code. Raises TextError where it is longer than one message."""
        if measure(text).parts > 1:
            raise TextError(f"a reply of {len(text)} characters is longer than one message")
        sent = Sent(next(self._ids), msisdn, text, self._timer())
        data_coding, octets = encode(text)
        pdu = DeliverSm(
            source_addr_ton=1,
            source_addr_npi=1,
            source_addr=msisdn,
            destination_addr=self._short_code,
            data_coding=data_coding,
            short_message=octets,
        )
        self.sent.append(sent)
        self._carry(pdu, lambda status: self._acknowledge(sent, status), sent)
        return sent

    def _receipt(self, message: Accepted) -> DeliverSm:
        return receipt_for(
            message.pdu,
            message.id,
            MessageState.DELIVERED,
            submitted=_date(message.at),
            done=_date(self._clock()),
        )

    def _count_receipt(self, status: int) -> None:
        self.receipts_sent += status == 0

    def _acknowledge(self, sent: Sent, status: int) -> None:
        sent.acknowledged = self._timer()
        sent.refused = "" if status == 0 else Status(status).name

    def _carry(self, pdu: DeliverSm, done: Callable[[int], None], sent: Sent | None = None) -> None:
        carrier = asyncio.get_running_loop().create_task(self._until_taken(pdu, done, sent))
        self._carriers.add(carrier)
        carrier.add_done_callback(self._carriers.discard)

    async def _until_taken(self, pdu: DeliverSm, done: Callable[[int], None], sent: Sent | None) -> None:
        while True:
            session = self._server.receiver(self._account) if self._server is not None else None
            if session is not None:
                if sent is not None:
                    sent.attempts += 1
                with contextlib.suppress(NotSent, ResponseLost):
                    answer = await session.request(pdu)
                    if answer.ok or (answer.status in _FINAL and not isinstance(answer, GenericNack)):
                        done(answer.status)
                        return
            await asyncio.sleep(self._retry_every)


def _date(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%y%m%d%H%M%S")
