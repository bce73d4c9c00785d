"""A stand-in for kairos: enough SMPP and HTTP to give the operator somebody to talk to. It offers without thinking."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kairos.simulate.operator import Operator, OperatorSettings
from kairos.smpp import (
    BindTransceiver,
    Client,
    DeliverSm,
    MessageState,
    Pdu,
    Server,
    Session,
    Status,
    SubmitSm,
    parse_receipt,
    passwords,
    receipt_for,
    serve,
    split,
    text_of,
)


class Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class FakeKairos:
    """Forwards each notification with a line of its own, orders what is accepted, and answers.

    The line: an offer of T$1 with a number, or a promise where the main balance is below T$3.
    """

    def __init__(self, smsc_port: int, ocs_url: str) -> None:
        self._smsc_port = smsc_port
        self._ocs_url = ocs_url
        self.line: Callable[[str, int], str] = lambda _, number: f" Data 500MB T$1. Reply {number}"
        self.price, self.product = "1.00", "MARKET_DATA500_1D"
        self.repeat_notifications = 0  # so many are forwarded twice
        self.swallow_notifications = 0  # so many are acknowledged and forgotten
        self.refuse_submissions = 0  # so many get "not now"
        self.silent_replies = 0  # so many are not acknowledged
        self.events: dict[str, dict[str, Any]] = {}
        self.event_posts = 0
        self.replies: list[tuple[str, str]] = []
        self.receipts = 0
        self._seen: dict[str, str] = {}  # message id by text
        self._numbers: dict[str, int] = {}
        self._open: dict[tuple[str, str], str] = {}  # (MSISDN, number) -> key
        self._promised: dict[str, str] = {}  # MSISDN -> key
        self._taken: dict[str, str] = {}
        self._parts: dict[str, list[SubmitSm]] = {}
        self._reference = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.out = httpx.AsyncClient(trust_env=False, timeout=60)
        self.server: Server | None = None
        self.http: Quiet | None = None

    async def start(self, smpp_port: int = 0, http_port: int = 0) -> None:
        self.server = await serve("127.0.0.1", smpp_port, passwords({"ocs": "ocs", "info": "info"}), self._on_submit)
        bind = BindTransceiver(system_id="kairos", password="kairos")
        self.client = Client("127.0.0.1", self._smsc_port, bind, self._on_deliver)
        await self.client.start()
        self._socket = socket.create_server(("127.0.0.1", http_port))
        app = Starlette(routes=[Route("/v1/events", self._on_events, methods=["POST"])])
        self.http = Quiet(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        self._serving = asyncio.create_task(self.http.serve([self._socket]))

    @property
    def smpp(self) -> tuple[str, int]:
        assert self.server is not None
        return "127.0.0.1", self.server.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def stop(self) -> None:
        assert self.server is not None
        assert self.http is not None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.close()
        await self.server.close()
        self.http.should_exit = True
        await self._serving
        self._socket.close()
        await self.out.aclose()

    # --- SMPP -----------------------------------------------------------------------------------

    async def _on_submit(self, session: Session, pdu: Pdu) -> Pdu | None:
        assert isinstance(pdu, SubmitSm)
        if self.refuse_submissions:
            self.refuse_submissions -= 1
            return pdu.response(Status.ESME_RTHROTTLED)
        text = text_of([pdu])
        if text in self._seen:
            return pdu.response(message_id=self._seen[text])
        message_id = self._seen[text] = str(len(self._seen) + 1)
        if self.swallow_notifications:
            self.swallow_notifications -= 1
            return pdu.response(message_id=message_id)
        number = self._numbers[pdu.destination_addr] = self._numbers.get(pdu.destination_addr, 0) + 1
        line = self.line(text, number)
        if "Reply" in line:
            self._open[pdu.destination_addr, str(number)] = f"offer-{pdu.destination_addr}-{number}"
        elif "Top up" in line:
            self._promised[pdu.destination_addr] = f"promise-{pdu.destination_addr}-{number}"
        copies = 1 + (self.repeat_notifications > 0)
        self.repeat_notifications -= self.repeat_notifications > 0
        for _ in range(copies):
            await self.say(pdu.destination_addr, text + line)
        self._spawn(self._receipt(session, pdu, message_id))
        return pdu.response(message_id=message_id)

    async def _receipt(self, session: Session, pdu: SubmitSm, message_id: str) -> None:
        date = "2611220000"
        await session.request(receipt_for(pdu, message_id, MessageState.DELIVERED, submitted=date, done=date))

    async def say(self, msisdn: str, text: str) -> None:
        self._reference += 1
        for part in split(text, self._reference):
            await self.client.request(
                SubmitSm(
                    source_addr="5000",
                    destination_addr=msisdn,
                    esm_class=part.esm_class,
                    data_coding=part.data_coding,
                    short_message=part.short_message,
                    registered_delivery=1,
                )
            )

    async def _on_deliver(self, session: Session, pdu: Pdu) -> Pdu | None:
        assert isinstance(pdu, DeliverSm)
        if parse_receipt(pdu) is not None:
            self.receipts += 1
            return pdu.response()
        if self.silent_replies:
            self.silent_replies -= 1
            return pdu.response(Status.ESME_RX_T_APPN)
        text = text_of([pdu])
        self.replies.append((pdu.source_addr, text))
        self._spawn(self._on_reply(pdu, pdu.source_addr, text.strip()))
        return pdu.response()

    async def _on_reply(self, pdu: DeliverSm, msisdn: str, word: str) -> None:
        assert self.server is not None
        if word == "BAL":
            session = self.server.receiver("info")
            assert session is not None
            await session.request(pdu)
        elif (msisdn, word) in self._open:
            await self._order(self._open.pop((msisdn, word)), msisdn, self.price, self.product, charge=True)
        else:
            await self.say(msisdn, "There is no open offer for you right now. We charged nothing.")

    # --- HTTP -----------------------------------------------------------------------------------

    async def _order(self, key: str, msisdn: str, price: str, product: str, *, charge: bool) -> None:
        body = {"msisdn": msisdn, "product": product, "price": price, "currency": "XTS", "charge": charge}
        while True:
            with contextlib.suppress(
                httpx.TransportError
            ):  # a connection that rests for long is closed, perhaps just now
                answer = await self.out.post(self._ocs_url, json=body, headers={"Idempotency-Key": key})
                if answer.status_code != 503:
                    break
            await asyncio.sleep(0.05)
        done = answer.status_code == 200
        await self.say(msisdn, "It is active. Enjoy!" if done else "It costs more, and your balance is too low.")

    async def _on_events(self, request: Request) -> Response:
        self.event_posts += 1
        batch = msgspec.json.decode(await request.body())
        results = []
        for index, event in enumerate(batch):
            known = event["id"] in self.events
            self.events[event["id"]] = event
            results.append({"index": index, "id": event["id"], "status": "duplicate" if known else "applied"})
            msisdn = event["subject"].lstrip("+")
            if not known and event["type"].endswith(".recharge") and msisdn in self._promised:
                key = self._promised.pop(msisdn)
                self._spawn(self._order(key, msisdn, "0", "TOPUP_BONUS_15MIN", charge=False))
        return Response(msgspec.json.encode({"results": results}), media_type="application/json")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


Start = Callable[[OperatorSettings], Awaitable[tuple[Operator, FakeKairos]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start an operator and a stand-in, bound to each other."""
    running: list[tuple[Operator, FakeKairos]] = []

    async def begin(settings: OperatorSettings) -> tuple[Operator, FakeKairos]:
        operator = Operator(settings)
        await operator.start()
        fake = FakeKairos(operator.smsc_port, operator.ocs_url)
        await fake.start()
        running.append((operator, fake))
        await operator.connect(fake.smpp, fake.url)
        async with asyncio.timeout(60):
            await operator.bound()
        return operator, fake

    yield begin
    for operator, fake in running:
        await operator.stop()
        await fake.stop()


@pytest.fixture
async def fake_kairos() -> AsyncIterator[Callable[[int, str], Awaitable[FakeKairos]]]:
    """Start a stand-in for an operator that runs elsewhere: give it the SMSC's port and the URL for orders."""
    running: list[FakeKairos] = []

    async def begin(smsc_port: int, ocs_url: str) -> FakeKairos:
        fake = FakeKairos(smsc_port, ocs_url)
        await fake.start()
        running.append(fake)
        return fake

    yield begin
    for fake in running:
        await fake.stop()
