"""An MMS over MM7: a stand-in reads the request as an MMSC does, and answers as one."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import HTTP
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace
from tests.ahead import ahead
from tests.channels.conftest import Web

from kairos.adapters.mmsc import LARGEST, MM7, SOAP, Mmsc
from kairos.domain.message import Text

TIMEOUT = 30.0  # of an attempt
PICTURE = bytes(range(256)) * 4 + b"\r\n--kairos-\r\n"
TEXT = Text(
    "5000",
    "12025550123",
    "500 Mo à 1 T$, répondez 1 <maintenant>",
    True,
    1_795_543_800_000,
    "5da2-17",
    subject="Plus de données & plus",
    media="beach.jpg",
)


def answer(status: str, *, fault: bool = False) -> bytes:
    told = f"<Status><StatusCode>{status}</StatusCode><StatusText>said so</StatusText></Status>"
    inner = f'<SubmitRsp xmlns="{MM7}">{told}<MessageID>m-77</MessageID></SubmitRsp>'
    if fault:
        detail = f'<RSErrorRsp xmlns="{MM7}">{told}</RSErrorRsp>'
        inner = f"<env:Fault><faultcode>env:Client</faultcode><detail>{detail}</detail></env:Fault>"
    return f'<env:Envelope xmlns:env="{SOAP}"><env:Body>{inner}</env:Body></env:Envelope>'.encode()


@pytest.fixture
def media(tmp_path: Path) -> Path:
    (tmp_path / "beach.jpg").write_bytes(PICTURE)
    (tmp_path / "huge.jpg").write_bytes(b"x" * (LARGEST + 1))
    return tmp_path


def opened(got: tuple[str, dict[str, str], bytes]) -> EmailMessage:
    """The request as MIME."""
    _, headers, body = got
    whole = f"Content-Type: {headers['content-type']}\r\nMIME-Version: 1.0\r\n\r\n".encode() + body
    message = message_from_bytes(whole, policy=HTTP)
    assert isinstance(message, EmailMessage)
    return message


def channel(web: Web, media: Path) -> Mmsc:
    return Mmsc(web.url, "fictel", "offers", media, TIMEOUT, 4, login=("kairos", "secret"))


async def test_a_request_is_what_the_standard_says(web: Web, media: Path) -> None:
    web.usual = (200, answer("1000"))
    mmsc = channel(web, media)
    outcome = await mmsc.send(TEXT)
    await mmsc.close()
    assert (outcome.status, outcome.peer_id) == ("sent", "m-77")
    (got,) = web.got
    assert got[1]["soapaction"] == '""'
    assert got[1]["authorization"].startswith("Basic ")
    message = opened(got)
    assert (message.get_content_type(), message.get_param("start")) == ("multipart/related", "<soap>")
    soap, content = message.iter_parts()
    assert isinstance(soap, EmailMessage)
    assert (soap.get_content_type(), soap["Content-ID"], content["Content-ID"]) == ("text/xml", "<soap>", "<mms>")
    envelope = ET.fromstring(soap.get_payload(decode=True))  # type: ignore[arg-type]
    assert envelope.findtext(f"{{{SOAP}}}Header/{{{MM7}}}TransactionID") == "5da2-17"
    asked = envelope.find(f"{{{SOAP}}}Body/{{{MM7}}}SubmitReq")
    assert asked is not None
    names = [one.tag.removeprefix(f"{{{MM7}}}") for one in asked]
    order = ["MM7Version", "SenderIdentification", "Recipients", "ExpiryDate", "DeliveryReport", "Subject", "Content"]
    assert names == order
    assert asked.findtext(f"{{{MM7}}}Recipients/{{{MM7}}}To/{{{MM7}}}Number") == "12025550123"
    assert asked.findtext(f"{{{MM7}}}Subject") == TEXT.subject
    href = asked.find(f"{{{MM7}}}Content")
    assert href is not None
    assert href.get("href") == "cid:mms"
    assert isinstance(content, EmailMessage)
    page, text, picture = content.iter_parts()
    assert [one.get("src") for one in ET.fromstring(page.get_payload(decode=True)).iter() if one.get("src")] == [  # type: ignore[arg-type]
        "text.txt",
        "beach.jpg",
    ]
    assert text.get_payload(decode=True) == TEXT.text.encode()
    assert (picture.get_content_type(), picture.get_payload(decode=True)) == ("image/jpeg", PICTURE)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ((200, answer("1100")), "sent"),
        ((200, answer("2002")), "failed"),
        ((500, answer("2004", fault=True)), "failed"),
        ((500, answer("4006", fault=True)), "retry"),
        ((200, answer("4001")), "retry"),
        ((500, b"<html>oops</html>"), "unknown"),
        ((200, b"not XML"), "unknown"),
        (503, "retry"),
        (401, "retry"),
        (413, "failed"),
        ("drop", "unknown"),
        ("hang", "unknown"),
    ],
)
async def test_the_mmscs_own_status_decides(web: Web, media: Path, said: Any, status: str) -> None:
    web.answers = [said]
    web.hangs = lambda: ahead(TIMEOUT)
    mmsc = channel(web, media)
    outcome = await mmsc.send(TEXT)
    await mmsc.close()
    assert (outcome.status, len(web.got)) == (status, 1)


@pytest.mark.parametrize(("name", "says"), [("gone.jpg", "`gone.jpg` cannot be read"), ("huge.jpg", "octets")])
async def test_a_file_that_cannot_go_is_said(web: Web, media: Path, name: str, says: str) -> None:
    mmsc = channel(web, media)
    outcome = await mmsc.send(replace(TEXT, media=name))
    await mmsc.close()
    assert outcome.status == "failed"
    assert says in outcome.reason
    assert web.got == []
