"""An offer by e-mail, at a real mail server: what is sent, what is tried again, and what never is."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.ahead import ahead

from kairos.adapters.mail import Mail, written
from kairos.adapters.tls import to_server
from kairos.domain.address import usable
from kairos.domain.message import Text
from kairos.ports import Outcome

NOW = 1_795_543_200_000
TIMEOUT = 30.0  # of an attempt
SENDER = "Fictel <offers@fictel.example>"
TEXT = Text(
    "5000",
    "ada@mail.example",
    "More data for T$5.\nText 1 to 5000.",
    True,
    offer="5da2-17",
    msisdn="12025550123",
    subject="Plus de données",
    html="<p>More data for <b>T$5</b></p>",
)


@asynccontextmanager
async def mailing(port: int, tls: ssl.SSLContext | None = None, **more: Any) -> AsyncIterator[Mail]:
    mail = Mail("127.0.0.1", port, SENDER, lambda: NOW, tls=tls, timeout_s=TIMEOUT, **more)
    try:
        yield mail
    finally:
        await mail.close()


async def test_a_message_has_both_forms_and_its_id_is_the_offers(mail: Any) -> None:
    async with mail() as server, mailing(server.port) as channel:
        assert await channel.send(TEXT) == Outcome("sent", "<5da2-17@fictel.example>")
        (got,) = server.got
    assert (got["From"], got["To"], got["Subject"]) == (SENDER, "ada@mail.example", "Plus de données")
    assert got["Date"] == "Tue, 24 Nov 2026 18:00:00 +0000"
    assert got.get_body(("plain",)).get_content().splitlines() == TEXT.text.splitlines()
    assert got.get_body(("html",)).get_content().strip() == TEXT.html
    assert "List-Unsubscribe" not in got


async def test_one_click_ends_all_offers_but_is_not_offered_for_service(mail: Any) -> None:
    link = lambda key: f"https://offers.example/u/{key}"  # noqa: E731
    async with mail() as server, mailing(server.port, unsubscribe=link) as channel:
        await channel.send(TEXT)
        await channel.send(Text("5000", "ada@mail.example", "x", True, offer="5da2-18", subject="x", purpose="care"))
        marketing, care = server.got
    assert marketing["List-Unsubscribe"] == "<https://offers.example/u/5da2-17>"
    assert marketing["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "List-Unsubscribe" not in care


async def test_a_connection_is_used_again(mail: Any) -> None:
    async with mail() as server, mailing(server.port) as channel:
        for _ in range(5):
            assert (await channel.send(TEXT)).status == "sent"
        assert server.connections == 1


@pytest.mark.parametrize(
    ("step", "answer", "status"),
    [
        ("rcpt", "451 4.7.1 greylisted", "retry"),
        ("rcpt", "550 5.1.1 <ada@mail.example> no such mailbox", "failed"),
        ("data", "452 4.2.2 mailbox full", "retry"),
        ("data", "554 5.7.1 looks like spam", "failed"),
        ("rcpt", "drop", "retry"),
        ("data", "drop", "unknown"),
        ("data", "lost", "unknown"),
        ("rcpt", "hang", "retry"),
        ("data", "hang", "unknown"),
    ],
)
async def test_what_may_have_gone_is_never_said_to_be_tried_again(
    mail: Any, step: str, answer: str, status: str
) -> None:
    async with mail() as server, mailing(server.port) as channel:
        server.answers, server.hangs = {step: [answer]}, lambda: ahead(TIMEOUT)
        outcome = await channel.send(TEXT)
        assert outcome.status == status, outcome
        assert "ada@" not in outcome.reason
        assert answer != "hang" or outcome.reason == f"no answer within {TIMEOUT:g} s"
        assert outcome.after == (60 if answer.startswith("4") else 0)
        server.hanging.set()
        assert (await channel.send(TEXT)).status == "sent"


async def test_a_server_that_is_away_is_tried_again() -> None:
    async with mailing(1) as channel:
        assert (await channel.send(TEXT)).status == "retry"


async def test_it_logs_in_over_tls_and_a_wrong_password_fails_no_message(
    mail: Any, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    ours = to_server("channels.email", str(ca_file))
    async with mail(server_tls, login=True) as server:
        async with mailing(server.port, ours, user="kairos", password="secret") as channel:
            assert (await channel.send(TEXT)).status == "sent"
        async with mailing(server.port, ours, user="kairos", password="wrong") as channel:
            outcome = await channel.send(TEXT)
            assert outcome.status == "retry"
            assert "535" in outcome.reason
            assert "wrong" not in outcome.reason
        assert server.logins == ["kairos", "kairos"] or len(server.logins) >= 2


async def test_nothing_is_said_to_a_server_whose_name_nobody_vouches_for(mail: Any, server_tls: ssl.SSLContext) -> None:
    async with mail(server_tls) as server, mailing(server.port, to_server("channels.email", "")) as channel:
        assert (await channel.send(TEXT)).status == "retry"
        assert server.got == []


async def test_without_tls_nothing_is_said_where_it_is_demanded(mail: Any, ca_file: Path) -> None:
    """A server, or somebody before it, that does not offer STARTTLS gets no password and no message."""
    ours = to_server("channels.email", str(ca_file))
    async with mail() as server, mailing(server.port, ours, user="kairos", password="secret") as channel:
        assert (await channel.send(TEXT)).status == "retry"
        assert (server.got, server.logins) == ([], [])


@given(st.text(max_size=60), st.text(min_size=1, max_size=40))
def test_nothing_that_is_filled_in_becomes_a_header_or_another_recipient(subject: str, word: str) -> None:
    text = Text("5000", "ada@mail.example", word, True, offer=word, subject=subject)
    head = written(text, SENDER, NOW).as_bytes().partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    allowed = {b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted", b"MIME-Version"}
    assert set(names) <= allowed | {b"Content-Type", b"Content-Transfer-Encoding"}
    assert len(names) == len(set(names))


BREAKING = [
    "=?utf-8?q?=2C_=0D=0ABcc=3Aeve=40evil.example@x.example",
    "=?utf-8?q?=2C_=0D=0A=0D=0AFree_money=3A_evil.example=0D=0A@x.example",
    "=?utf-8?q?=2C_=0D=0AReply-To=3Aeve=40evil.example=0D=0AX=3A@x.example",
]


@pytest.mark.parametrize("address", BREAKING)
async def test_an_address_that_would_decode_to_a_header_is_none_and_nothing_goes(mail: Any, address: str) -> None:
    assert not usable("email", address)
    async with mail() as server, mailing(server.port) as channel:
        assert (await channel.send(msgspec.structs.replace(TEXT, destination=address))).status == "failed"
        assert server.got == []


PIECES = ["=?utf-8?q?", "=?utf-8?b?DQpCY2M6IHg=?=", "=0D=0A", "=0A", "_", "Bcc:_x@y.example", "?=", " ", "\u00e9", "a"]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_no_subject_decodes_to_a_header(subject: str) -> None:
    message = written(msgspec.structs.replace(TEXT, subject=subject, html=""), SENDER, NOW).as_bytes()
    head, _, body = message.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    assert names[:6] == [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted"]
    assert body.startswith(b"More data")


LOCAL = st.text("!#$%&'*+/^_`{|}~-aZ0.=?", min_size=1, max_size=64)
DOMAIN = st.lists(st.text("aZ0-", min_size=1, max_size=63), min_size=1, max_size=4).map(".".join)


@example("0" * 33 + "@" + "0" * 33)
@given(st.tuples(LOCAL, DOMAIN).map("@".join).filter(lambda address: usable("email", f"{address}.example")))
def test_every_address_that_is_used_is_written_as_it_is(before: str) -> None:
    address = f"{before}.example"
    head = written(msgspec.structs.replace(TEXT, destination=address), SENDER, NOW).as_bytes()
    assert f"\r\nTo: {address}\r\nSubject: ".encode() in head.replace(b"\r\n ", b" ")  # a long one has its own line


@given(st.text(), st.sampled_from('\r\n\0 <>,;:\t"\\\u2028\u0085'), st.text())
def test_no_address_with_a_break_a_blank_or_a_second_address_is_used(before: str, character: str, after: str) -> None:
    for channel in ("email", "push", "whatsapp", "mms", "webhook", "ivr", "calls"):
        where = f"{before}{character}{after}"
        assert not usable(channel, f"ada{where}@mail.example") or channel in ("push", "webhook")
        if character in "\r\n\0 \t\u2028\u0085":
            assert not usable(channel, where)
