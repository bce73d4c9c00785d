"""Real counterparts on loopback: a mail server that can be told to misbehave, and an HTTP server likewise."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from tests.conftest import Bench, compiled
from tests.serving import serving

HOST = "127.0.0.1"


def cut(server: SMTP) -> None:
    assert isinstance(server.transport, asyncio.Transport)
    server.transport.abort()


@dataclass
class MailServer:
    """aiosmtpd's. `answers` are taken in turn, for RCPT or for DATA: a reply, "hang", "drop"; then all is accepted."""

    answers: dict[str, list[str]] = field(default_factory=dict)
    got: list[EmailMessage] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    hangs: Callable[[], None] = lambda: None  # called when it begins to

    async def _told(self, server: SMTP, step: str) -> str:
        answer = self.answers.get(step, []).pop(0) if self.answers.get(step) else ""
        if answer == "hang":
            self.hangs()
            await self.hanging.wait()
        if answer == "drop":
            cut(server)
            await asyncio.sleep(0.05)
        return answer

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        told = await self._told(server, "rcpt")
        if told:
            return told
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802
        told = await self._told(server, "data")
        if told and told != "lost":
            return told
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        message["X-To"] = ", ".join(envelope.rcpt_tos)
        self.got.append(message)
        if told == "lost":
            cut(server)
            await asyncio.sleep(0.05)
        return "250 queued"

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        return AuthResult(success=data.password == b"secret", handled=False)


@asynccontextmanager
async def mail_server(tls: ssl.SSLContext | None = None, *, login: bool = False) -> AsyncIterator[MailServer]:
    world = MailServer()

    def connection() -> SMTP:
        world.connections += 1
        return SMTP(
            world,
            hostname="mail.example",
            tls_context=tls,
            require_starttls=tls is not None,
            auth_required=login,
            authenticator=world.login if login else None,
        )

    server = await asyncio.get_running_loop().create_server(connection, HOST, 0)
    world.port = server.sockets[0].getsockname()[1]
    try:
        yield world
    finally:
        world.hanging.set()
        server.close()


@pytest.fixture
def mail() -> Callable[..., AbstractAsyncContextManager[MailServer]]:
    return mail_server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    return context


@dataclass
class Web:
    """An HTTP server that keeps what it got. `answers` are taken in turn: a status, "hang", "drop", or a response."""

    answers: list[Any] = field(default_factory=list)
    usual: tuple[int, bytes] = (200, b"")
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)  # path, headers, body
    url: str = ""
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    hangs: Callable[[], None] = lambda: None  # called when it begins to

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.got.append((first.split()[1], headers, body))
        answer = self.answers.pop(0) if self.answers else self.usual
        if answer == "hang":
            self.hangs()
            await self.hanging.wait()
            return False
        if answer == "drop":
            return False
        status, content = answer if isinstance(answer, tuple) else (answer, b"")
        location = "location: /elsewhere\r\n" if 300 <= status < 400 else ""
        writer.write(f"HTTP/1.1 {status} X\r\n{location}content-length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        return True


@asynccontextmanager
async def web_server() -> AsyncIterator[Web]:
    world = Web()
    async with serving(world.serve) as world.url:
        yield world


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with web_server() as world:
        yield world


def by_mail(texts: dict[str, str]) -> dict[str, str]:
    """The small playbook with its booster sold by e-mail, after a data session."""
    profile = "open_tickets: number}"
    vocabulary = texts["vocabulary.yaml"].replace(profile, "open_tickets: number, email: text, mail_consent: boolean}")
    attributes = """attributes:
  email_address: {type: text, from: [profile.email]}
  mail_consent:  {type: boolean, from: [profile.mail_consent], default: yes}
"""
    booster = """
offer: booster
title: "{size} for {validity}"
issue: upsell
product: {small: DATA500}
variants:
  small: {size: 500 MB, validity: 1 day, price: 10, value: 5}
answers: {data_session: 5 minutes}
treatments:
  mail: {channel: email, message: booster_mail}
accept_within: 24 hours
after_decline: 14 days
fulfil: {charge: price, provision: product}
"""
    message = """
booster_mail:
  en:
    subject: "{title}"
    text: "Running low? {title} for {price}. Text {number} to {short_code}."
    html: "<p>{title} for <b>{price}</b>, {plan}</p>"
"""
    policy = """
contact_only_when:
  marketing consent: marketing_consent
  mail consent: {when: mail_consent, for: {channels: [email]}}
addresses: {email: email_address}
stop_on: {email: mail_consent}
limits: [{at_most: 2, per: 1 day, channel: email}]
holdout: 0%
"""
    return texts | {
        "vocabulary.yaml": vocabulary.replace("attributes:\n", attributes),
        "offers/booster.yaml": booster,
        "messages.yaml": texts["messages.yaml"] + message,
        "contact_policy.yaml": policy,
    }


def bench_of(files: dict[str, str]) -> Bench:
    return Bench(compiled(files))


@pytest.fixture
def mail_bench(texts: dict[str, str]) -> Bench:
    return bench_of(by_mail(texts))
