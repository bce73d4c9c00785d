"""Connections of the HTTP door, on either parser of uvicorn: what does not come whole is let go, all else is served."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from tests.ahead import ahead

from kairos.api.connection import HEADERS_LIMIT, H11Connection
from kairos.api.connection_fast import HttpToolsConnection
from kairos.bootstrap.doors import http_server
from kairos.settings.sections import Http

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The body; where it stops, nothing. At /long, that takes longer than a request may."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if scope["path"] == "/long":
        ahead(40)
        await asyncio.sleep(0.01)
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@pytest_asyncio.fixture(params=[H11Connection, HttpToolsConnection], scope="module", loop_scope="module")
async def talk(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Any]]:
    """Send these octets, with pauses where there are numbers; all that came back until the connection ended.

    `late`: when all of them are there, the time for a request to come whole is over.
    """
    there: list[int] = []

    class Counting(request.param):  # type: ignore[misc, name-defined]
        most = 3

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            there.append(0)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            there.append(len(data))

    kind: Any = Counting
    config = uvicorn.Config(echo, port=0, http=kind, ws="none", log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    async def say(*octets: bytes | float, late: bool = False) -> bytes:
        there.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        heard = b""
        with suppress(ConnectionError):
            for one in octets:
                if isinstance(one, bytes):
                    writer.write(one)
                    await writer.drain()
                else:
                    await asyncio.sleep(one)
            async with asyncio.timeout(60):
                said = sum(len(one) for one in octets if isinstance(one, bytes))
                while late and (not there or sum(there) < said):
                    await asyncio.sleep(0.005)
                if late:
                    ahead(kind.within)
                heard = await reader.read(-1)
        writer.close()
        return heard

    yield say
    server.should_exit = True
    await task


POST = b"POST / HTTP/1.1\r\nhost: k\r\nconnection: close\r\ncontent-length: 4\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: k\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
KEPT = b"POST / HTTP/1.1\r\nhost: k\r\ncontent-length: 4\r\n\r\nfour"


@pytest.mark.parametrize(
    "octets",
    [
        (POST + b"four",),
        (POST, 0.02, b"fo", 0.02, b"ur"),
        (POST[:30], 0.02, POST[30:], 0.02, b"four"),
        (CHUNKED, 0.02, b"4\r\nfo", 0.02, b"ur\r\n0\r\n\r\n"),
        (KEPT, 0.02, POST + b"four"),
        (KEPT + POST + b"four",),
        (POST.replace(b" / ", b" /long ") + b"four",),
    ],
)
async def test_what_comes_whole_is_served_however_it_is_cut(talk: Any, octets: Any) -> None:
    assert (await talk(*octets)).endswith(b"\r\n\r\nfour")


@pytest.mark.parametrize(
    "octets", [(POST[:30],), (POST,), (POST, 0.1, b"fo", 0.05, b"u"), (CHUNKED, b"4\r\nfo"), (KEPT, 0.05, POST[:30])]
)
async def test_what_does_not_is_told_so_and_let_go(talk: Any, octets: Any) -> None:
    answer = await talk(*octets, late=True)
    last = answer[answer.rindex(b"HTTP/1.1") :]
    assert last.startswith(b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json")
    assert b"did not come whole within 30 s" in last


@pytest.mark.parametrize(
    "octets",
    [
        POST.replace(b"content-length: 4", b"content-length: 4\r\ncontent-length: 5") + b"four",
        POST.replace(b"content-length: 4", b"content-length: 4\r\ntransfer-encoding: chunked") + b"0\r\n\r\n",
        CHUNKED.replace(b"chunked", b"xchunked") + b"0\r\n\r\n",
        CHUNKED + b"4;\nx\r\nfour\r\n0\r\n\r\n",
        POST.replace(b"host: k", b"host : k") + b"four",
        POST.replace(b"host: k\r\n", b"x: a\n b: c\r\n") + b"four",
    ],
)
async def test_what_two_readers_could_read_in_two_ways_is_refused(talk: Any, octets: bytes) -> None:
    """Request smuggling (RFC 9112, 11.2) is the parsers' to prevent, and they do."""
    answer = await talk(octets)
    assert not answer.endswith(b"four")
    assert answer.count(b"HTTP/1.1") <= 1


async def test_who_says_nothing_is_let_go(talk: Any) -> None:
    assert await talk(late=True) == b""


async def test_there_are_not_more_than_the_most(talk: Any) -> None:
    answers = await asyncio.gather(*(talk(POST, 0.2, b"four") for _ in range(5)))
    assert sorted(map(bool, answers)) == [False, False, True, True, True]


async def test_headers_have_an_end(talk: Any) -> None:
    line = b"x: " + b"y" * 8000 + b"\r\n"
    answer = await talk(POST[:30], *[line, 0.01] * (HEADERS_LIMIT // 8000 + 3))
    assert b"408" not in answer
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


async def test_a_connection_at_rest_is_kept_longer_than_who_calls_keeps_one() -> None:
    """Else a request may meet its end; proxies keep theirs for a minute, HTTP libraries for five seconds."""
    assert Http().idle_s > 60
    door = socket.create_server(("127.0.0.1", 0))
    server = http_server(echo, Http(idle_s=40), None)
    task = asyncio.create_task(server.serve([door]))
    while not server.started:
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*door.getsockname())
    for rests in (20, 20, 40):
        writer.write(KEPT)
        assert (await reader.readuntil(b"four")).startswith(b"HTTP/1.1 200")
        ahead(rests)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        assert await reader.read(-1) == b""
    writer.close()
    server.should_exit = True
    await task
