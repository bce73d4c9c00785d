"""TLS in both roles, with and without certificates of clients."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trustme

from kairos.smpp import (
    Backoff,
    BindTransceiver,
    Client,
    NotSent,
    Pdu,
    Server,
    Session,
    SessionOptions,
    SubmitSm,
    passwords,
    serve,
)

QUICK = SessionOptions(response_timeout=5, grace=0.3, bind_within=5)
BIND = BindTransceiver(system_id="ocs", password="x" * 300)
HELLO = SubmitSm(source_addr="4040", destination_addr="15550100", short_message=b"Hi")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@dataclass
class Ends:
    """Servers and clients that end with the test."""

    authority: trustme.CA
    stack: AsyncExitStack

    async def server(self, *, clients: trustme.CA | None = None, options: SessionOptions = QUICK) -> Server:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("smsc.example").configure_cert(tls)
        if clients is not None:
            tls.verify_mode = ssl.CERT_REQUIRED
            clients.configure_trust(tls)
        server = await serve("127.0.0.1", 0, passwords({"ocs": BIND.password}), answer, options, tls=tls)
        self.stack.push_async_callback(server.close)
        return server

    async def client(self, port: int, tls: ssl.SSLContext | None, **more: Any) -> Client:
        more.setdefault("server_name", "smsc.example")
        client = Client("127.0.0.1", port, BIND, answer, QUICK, tls=tls, backoff=Backoff(first=0.01, most=0.01), **more)
        self.stack.push_async_callback(client.close)
        await client.start()
        return client

    def trust(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        tls = ssl.create_default_context()
        self.authority.configure_trust(tls)
        if certificate is not None:
            certificate.configure_cert(tls)
        return tls


async def answer(session: Session, pdu: Pdu) -> Pdu:
    return pdu.response()


@pytest.fixture
async def ends(authority: trustme.CA) -> AsyncIterator[Ends]:
    async with AsyncExitStack() as stack:
        yield Ends(authority, stack)


async def bound(client: Client) -> Session:
    async with asyncio.timeout(60):
        return await client.bound()


async def refused(client: Client, because: str = "") -> None:
    async with asyncio.timeout(60):
        while not client.last_error or because not in client.last_error:
            await asyncio.sleep(0.005)
    with pytest.raises(NotSent):
        await client.request(HELLO)


async def test_requests_go_over_tls_whatever_their_size(ends: Ends) -> None:
    client = await ends.client((await ends.server()).port, ends.trust())
    await bound(client)
    long = replace(HELLO, short_message=b"", tlvs=((0x0424, b"x" * 60_000),))
    answers = await asyncio.gather(*(client.request(long) for _ in range(50)))
    assert all(one.ok for one in answers)


async def test_a_server_that_is_somebody_else_is_not_bound_to(ends: Ends) -> None:
    client = await ends.client((await ends.server()).port, ends.trust(), server_name="other.example")
    await refused(client, "certificate")


async def test_a_server_that_nobody_vouches_for_is_not_bound_to(ends: Ends) -> None:
    client = await ends.client((await ends.server()).port, ssl.create_default_context())
    await refused(client, "certificate")


async def test_a_client_shows_its_certificate_where_it_must(ends: Ends) -> None:
    server = await ends.server(clients=ends.authority)
    await bound(await ends.client(server.port, ends.trust(ends.authority.issue_cert("ocs.example"))))
    stranger = await ends.client(server.port, ends.trust(trustme.CA().issue_cert("ocs.example")))
    nobody = await ends.client(server.port, ends.trust())
    await refused(stranger)
    await refused(nobody)
    assert server.accounts == ("ocs",)


async def test_plain_talk_to_a_tls_door_leaves_nothing_behind(ends: Ends) -> None:
    server = await ends.server(options=replace(QUICK, bind_within=0.2))
    client = await ends.client(server.port, None)
    _, silent = await asyncio.open_connection("127.0.0.1", server.port)
    await refused(client)
    silent.close()
    assert not server._open


async def test_both_sides_unbind_over_tls(ends: Ends) -> None:
    server = await ends.server()
    client = await ends.client(server.port, ends.trust())
    session = await bound(client)
    await server.close()
    assert session.close_reason == "the peer unbound"
