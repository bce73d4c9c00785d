"""The HTTP fulfiller against a real server on loopback: answers, garbage, silence, and nobody there."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.ahead import ahead
from tests.serving import serving

from kairos.adapters.http_attempt import MAX_ANSWER, Attempts
from kairos.adapters.ocs import MAX_REASON, HttpFulfiller, document, log, outcome
from kairos.adapters.trouble import Trouble
from kairos.domain.message import Order
from kairos.errors import SettingsError
from kairos.ports import Fulfiller, Outcome

ORDER = Order("epoch-17", "12025550123", "DATA500_1D", 1000, "XTS", charges=True, action="booster", variant="small")
FUNDS = b'{"reason": "insufficient_funds"}'
LONG = 30.0  # seconds: never waited for

Behaviour = Callable[["Ocs", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Ocs:
    """A charging system of a few lines, that answers as it is told to and keeps what it was asked."""

    behave: Behaviour
    port: int = 0
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    connections: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").strip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append((first, headers, json.loads(body or b"{}")))
                await self.behave(self, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def answer(status: int, body: bytes = b"{}", *, headers: str = "") -> Behaviour:
    async def behave(_: Ocs, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    return behave


def octets(sent: bytes) -> Behaviour:
    """These octets, and the connection is closed."""

    async def behave(_: Ocs, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()

    return behave


def silence(before: bytes = b"") -> Behaviour:
    async def behave(ocs: Ocs, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        await ocs.released.wait()

    return behave


async def dribble(ocs: Ocs, writer: asyncio.StreamWriter) -> None:
    """An answer that keeps coming, too slowly: no single read ever times out."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not ocs.released.is_set():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood(ocs: Ocs, writer: asyncio.StreamWriter) -> None:
    """A refusal without end."""
    writer.write(b"HTTP/1.1 422 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not ocs.released.is_set():
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


Start = Callable[..., Awaitable[tuple[Ocs, HttpFulfiller]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started: list[tuple[Ocs, HttpFulfiller, asyncio.Server]] = []

    async def begin(behave: Behaviour) -> tuple[Ocs, HttpFulfiller]:
        ocs = Ocs(behave)
        server = await asyncio.start_server(ocs.talk, "127.0.0.1", 0)
        ocs.port = server.sockets[0].getsockname()[1]
        fulfiller = HttpFulfiller(f"http://127.0.0.1:{ocs.port}/v1/orders", LONG, 2)
        started.append((ocs, fulfiller, server))
        return ocs, fulfiller

    yield begin
    for ocs, fulfiller, server in started:
        ocs.released.set()
        await fulfiller.close()
        server.close()
        await server.wait_closed()


async def test_what_is_asked(start: Start) -> None:
    ocs, fulfiller = await start(answer(200, b'{"status": "done"}'))
    port: Fulfiller = fulfiller
    assert await port.fulfil(ORDER) == Outcome("done")
    ((first, headers, body),) = ocs.requests
    assert first == "POST /v1/orders HTTP/1.1"
    assert headers["idempotency-key"] == "epoch-17"
    assert headers["content-type"] == "application/json"
    assert body == {
        "msisdn": "12025550123",
        "product": "DATA500_1D",
        "price": "10.00",
        "currency": "XTS",
        "charge": True,
        "action": "booster",
        "variant": "small",
    }


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, b'{"status": "done"}', Outcome("done")),
        (201, b"", Outcome("done")),
        (200, b"<html>thank you</html>", Outcome("done")),
        (200, b'{"status": "pending"}', Outcome("unknown", reason="HTTP 200: not done yet")),
        (202, b'{"status": "done"}', Outcome("unknown", reason="HTTP 202: not done yet")),
        (402, FUNDS, Outcome("refused", reason="insufficient_funds")),
        (402, b"", Outcome("refused", reason="insufficient_funds")),
        (402, b'{"reason": "credit_is_blocked"}', Outcome("refused", reason="credit_is_blocked")),
        (409, b'{"reason": "already_has_it"}', Outcome("refused", reason="already_has_it")),
        (422, b'{"reason": "  no such\\n product "}', Outcome("refused", reason="no such product")),
        (422, b'{"reason": 7}', Outcome("refused", reason="HTTP 422")),
        (422, b'{"reason": "\xff"}', Outcome("refused", reason="HTTP 422")),
        (422, b"[" * 60_000, Outcome("refused", reason="HTTP 422")),
        (404, b"not here", Outcome("refused", reason="HTTP 404")),
        (400, b'{"reason": "' + b"y" * 5000 + b'"}', Outcome("refused", reason="y" * MAX_REASON)),
        (429, FUNDS, Outcome("retry", reason="HTTP 429")),
        (401, b"", Outcome("retry", reason="HTTP 401")),
        (408, b"", Outcome("retry", reason="HTTP 408")),
        (302, b"", Outcome("retry", reason="HTTP 302")),
        (500, FUNDS, Outcome("unknown", reason="HTTP 500")),
        (504, b"", Outcome("unknown", reason="HTTP 504")),
        (503, b"", Outcome("retry", reason="HTTP 503")),
    ],
)
async def test_what_an_answer_means(start: Start, status: int, body: bytes, found: Outcome) -> None:
    _, fulfiller = await start(answer(status, body))
    assert await fulfiller.fulfil(ORDER) == found


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, b'{"status": "done"}', "done"),
        (200, b'{"status": "refused", "reason": "insufficient_funds"}', "refused"),
        (200, b'{"status": "pending"}', "unknown"),
        (200, b"<html>", "unknown"),
        (201, b'{"status": "done"}', "unknown"),
        (404, b"", "absent"),
        (405, b"", "absent"),
        (501, b"", "absent"),
        (402, FUNDS, "unknown"),
        (503, b"", "unknown"),
    ],
)
async def test_what_was_sent_is_asked_for(start: Start, status: int, body: bytes, found: str) -> None:
    ocs, fulfiller = await start(answer(status, body))
    assert (await fulfiller.ask(replace(ORDER, key="a/17~2"))).status == found
    assert (await fulfiller.ask(replace(ORDER, key="a.charge", step="charge"))).status == found
    first = [request[0] for request in ocs.requests]
    assert first == ["GET /v1/orders/a%2F17~2 HTTP/1.1", "GET /v1/orders/charge/a.charge HTTP/1.1"]


async def test_a_step_is_sent_to_an_address_of_its_own(start: Start) -> None:
    ocs, fulfiller = await start(answer(200))
    refund = Order("k.refund", "1", "P", 70, "XTS", True, "a", "v", "refund", "k", "k.charge", "promotions")
    assert await fulfiller.fulfil(refund) == Outcome("done")
    ((first, headers, body),) = ocs.requests
    assert (first, headers["idempotency-key"]) == ("POST /v1/orders/refund HTTP/1.1", "k.refund")
    assert {name: body[name] for name in ("step", "purchase", "undoes", "payer", "price")} == {
        "step": "refund",
        "purchase": "k",
        "undoes": "k.charge",
        "payer": "promotions",
        "price": "0.70",
    }


async def test_an_answer_that_comes_twice_is_one_answer(start: Start) -> None:
    """The second lies on the connection: where it says whose it is, no other order takes it for its own."""

    async def twice(ocs: Ocs, writer: asyncio.StreamWriter) -> None:
        key = ocs.requests[-1][1]["idempotency-key"]
        writer.write(f"HTTP/1.1 422 X\r\nContent-Length: 2\r\nIdempotency-Key: {key}\r\n\r\n{{}}".encode() * 2)

    ocs, fulfiller = await start(twice)
    assert (await fulfiller.fulfil(ORDER)).status == "refused"
    assert (await fulfiller.fulfil(replace(ORDER, key="another"))).status == "unknown"
    assert (await fulfiller.fulfil(replace(ORDER, key="third"))).status == "refused"
    assert ocs.connections == 2


async def test_a_question_does_not_take_the_answer_to_another(start: Start) -> None:
    """What was answered twice lies there when the next thing asked is a question."""

    async def twice(ocs: Ocs, writer: asyncio.StreamWriter) -> None:
        key = ocs.requests[-1][1]["idempotency-key"]
        head = f"HTTP/1.1 200 OK\r\nContent-Length: 18\r\nIdempotency-Key: {key}\r\n\r\n"
        writer.write((head + '{"status": "done"}').encode() * 2)

    _, fulfiller = await start(twice)
    assert (await fulfiller.fulfil(ORDER)).status == "done"
    assert (await fulfiller.ask(replace(ORDER, key="another"))).status == "unknown"


async def test_a_redirect_is_not_followed(start: Start) -> None:
    elsewhere, _ = await start(answer(200))
    _, fulfiller = await start(answer(307, headers=f"Location: http://127.0.0.1:{elsewhere.port}/\r\n"))
    assert (await fulfiller.fulfil(ORDER)).status == "retry"
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"SSH-2.0-nothing_of_http\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{",
        b"HTTP/1.1 402 X\r\nContent-Length: 20\r\n\r\n{",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000,
        b"\x00\xff" * 50_000,
    ],
)
async def test_half_an_answer_is_asked_for_again(start: Start, sent: bytes) -> None:
    ocs, fulfiller = await start(octets(sent))
    assert (await fulfiller.fulfil(ORDER)).status == "unknown"
    assert len(ocs.requests) == 1  # nothing below repeats it on its own
    ocs.behave = answer(200)
    assert (await fulfiller.fulfil(ORDER)).status == "done"
    assert {headers["idempotency-key"] for _, headers, _ in ocs.requests} == {"epoch-17"}


@pytest.mark.parametrize("behave", [silence(), silence(b"HTTP/1.1 200 OK\r\n"), dribble])
async def test_an_attempt_ends(start: Start, behave: Behaviour) -> None:
    async def until_nobody_waits(ocs: Ocs, writer: asyncio.StreamWriter) -> None:
        asyncio.get_running_loop().call_later(0.05, ahead, LONG)
        await behave(ocs, writer)

    ocs, fulfiller = await start(until_nobody_waits)
    assert (await fulfiller.fulfil(ORDER)).status == "unknown"
    assert len(ocs.requests) == 1


@pytest.mark.parametrize("warm", [False, True], ids=["a new connection", "one that rested"])
async def test_what_is_cut_short_at_any_step_leaves_its_place_to_the_next(warm: bool) -> None:
    """A time-out of ours strikes wherever the call stands, the more so where the machine is busy."""
    ocs = Ocs(answer(200))
    async with serving(ocs.talk) as url:
        done, steps = False, 0
        while not done:
            attempts = Attempts(LONG, 1, Trouble(log, "nobody answers"))

            async def call(attempts: Attempts = attempts) -> Outcome:
                return await attempts.call("GET", url, lambda *_: Outcome("done"))

            if warm:
                await call()
            cut = asyncio.create_task(call())
            for _ in range(steps):
                await asyncio.sleep(0)
            done, steps = cut.done(), steps + 1
            cut.cancel()
            await asyncio.gather(cut, return_exceptions=True)
            assert await call() == Outcome("done"), f"after {steps} steps"
            await attempts.close()
    assert steps > 5


async def test_an_answer_without_end_is_read_to_its_bound(start: Start) -> None:
    _, fulfiller = await start(flood)
    assert await fulfiller.fulfil(ORDER) == Outcome("refused", reason="HTTP 422")


async def test_a_large_answer_is_cut(start: Start) -> None:
    late = b'{"reason": "too_late", "padding": "' + b"x" * MAX_ANSWER + b'"}'
    _, fulfiller = await start(answer(409, late))
    assert await fulfiller.fulfil(ORDER) == Outcome("refused", reason="HTTP 409")


async def test_nobody_is_there(unused_port: int) -> None:
    fulfiller = HttpFulfiller(f"http://127.0.0.1:{unused_port}/", LONG, 2)
    found = await fulfiller.fulfil(ORDER)
    await fulfiller.close()
    assert found.status == "retry"
    assert found.reason.startswith("no connection")


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is ours, and that we do not listen on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


async def test_a_connection_is_used_again(start: Start) -> None:
    ocs, fulfiller = await start(answer(402, FUNDS))
    for _ in range(5):
        await fulfiller.fulfil(ORDER)
    assert (len(ocs.requests), ocs.connections) == (5, 1)


async def test_many_orders_at_once(start: Start) -> None:
    ocs, fulfiller = await start(answer(200))
    orders = [Order(f"k{n}", "12025550123", "P", n, "XTS", True, "a", "v") for n in range(200)]
    found = await asyncio.gather(*map(fulfiller.fulfil, orders))
    assert [one.status for one in found] == ["done"] * 200
    asked = {headers["idempotency-key"]: body["price"] for _, headers, body in ocs.requests}
    assert asked == {f"k{n}": f"{n // 100}.{n % 100:02d}" for n in range(200)}
    assert ocs.connections <= 64


async def test_no_proxy_of_the_environment_is_asked(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    _, fulfiller = await start(answer(200))
    assert (await fulfiller.fulfil(ORDER)).status == "done"


@pytest.mark.parametrize("url", ["", "127.0.0.1:80/x", "ftp://ocs.example/", "http://", "/v1/orders", "http://[::1"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(SettingsError, match="no HTTP address"):
        HttpFulfiller(url, 1.0, 2)


@pytest.mark.parametrize(
    ("price", "digits", "text"),
    [
        (1000, 2, "10.00"),
        (5, 2, "0.05"),
        (0, 2, "0.00"),
        (1000, 0, "1000"),
        (1, 3, "0.001"),
        (2**63 - 1, 2, "92233720368547758.07"),
    ],
)
def test_prices_are_exact(price: int, digits: int, text: str) -> None:
    order = Order("k", "1", "p", price, "XTS", True, "a", "v")
    assert document(order, digits)["price"] == text


@given(st.integers(0, 999), st.binary(max_size=300))
@settings(deadline=None, max_examples=200)
def test_any_answer_has_a_meaning(status: int, body: bytes) -> None:
    found = outcome(status, body)
    assert found.status in ("done", "refused", "retry", "unknown")
    assert (found.status == "refused") <= (400 <= status < 500)
    assert (found.status == "done") <= (200 <= status < 300)
    assert len(found.reason) <= MAX_REASON
