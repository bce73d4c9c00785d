"""The MMSC over MM7 (3GPP TS 23.140, section 8.7; schema REL-6-MM7-1-4): an offer as an MMS. docs/channels.md

One SOAP request with its content as multipart/related (RFC 2387): a SMIL page with the text and, where the message has
one, a file. The MMSC's own status decides, whatever HTTP status it comes with (SOAP 1.1 sends faults as 500).

1000 1100                           sent
3001 4001 4005 4006, 401 403 429    not now, or between us and the MMSC: come back
503, no connection                  come back
any other status of its own, 4xx    refused for good
other 5xx, no answer                it may have gone
"""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx
import structlog

from kairos.adapters.http_attempt import Attempts
from kairos.adapters.rfc3339 import iso
from kairos.adapters.trouble import Trouble
from kairos.adapters.webhooks import COME_BACK
from kairos.domain.message import Text
from kairos.ports import Outcome

log = structlog.get_logger("kairos.mmsc")

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
MM7: Final = "http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-6-MM7-1-4"
VERSION: Final = "6.8.0"
TAKEN: Final = frozenset({"1000", "1100"})
NOT_NOW: Final = frozenset({"3001", "4001", "4005", "4006"})
LARGEST: Final = 300_000  # octets of a file, which handsets are sure to take (OMA MMS Conformance: Image Rich)

ET.register_namespace("env", SOAP)
ET.register_namespace("mm7", MM7)


class Mmsc:
    """A Channel over MM7. `media`: the folder of the files that messages name; `vasp` and `vas`: who we are to it."""

    def __init__(
        self,
        url: str,
        vasp: str,
        vas: str,
        media: Path,
        timeout_s: float,
        at_once: int,
        *,
        login: tuple[str, str] | None,
    ) -> None:
        self.url, self.vasp, self.vas, self.media = url, vasp, vas, media
        kinds = {"SOAPAction": '""', "Accept-Encoding": "identity"}
        host = httpx.URL(url).host
        trouble = Trouble(log, "the MMSC does not take all", "the MMSC takes messages", host=host)
        self.attempts = Attempts(timeout_s, at_once, trouble, auth=login, headers=kinds)

    async def send(self, text: Text) -> Outcome:
        """One attempt. Never raises for what the network, the MMSC or the folder of files does."""
        try:
            file = await asyncio.to_thread(self._file, text.media)
        except OSError as error:
            return Outcome("failed", reason=f"`{text.media}` cannot be read: {error.strerror or error}")
        kind, body = request(text, self.vasp, self.vas, file)
        return await self.attempts.call(
            "POST",
            self.url,
            lambda response, answer: outcome(response.status_code, answer),
            content=body,
            headers={"Content-Type": kind},
        )

    async def close(self) -> None:
        await self.attempts.close()

    def _file(self, name: str) -> tuple[str, bytes] | None:
        if not name:
            return None
        content = (self.media / name).read_bytes()
        if len(content) > LARGEST:
            raise OSError(0, f"it has more than {LARGEST} octets")
        return name, content


def outcome(status: int, answer: bytes) -> Outcome:
    """What an answer means: by the MMSC's own status, else by HTTP's.

    >>> outcome(503, b"").status, outcome(500, b"<html>").status, outcome(404, b"").status, outcome(200, b"").status
    ('retry', 'unknown', 'failed', 'unknown')
    """
    found = _found(answer)
    code = found.get("StatusCode", "")
    if code:
        reason = f"MM7 {code} {found.get('StatusText', '')}".strip()
        if code in TAKEN:
            return Outcome("sent", found.get("MessageID", ""))
        return Outcome("retry" if code in NOT_NOW else "failed", reason=reason[:200])
    if 300 <= status < 400 or status in COME_BACK:
        return Outcome("retry", reason=f"HTTP {status}")
    return Outcome("failed" if 400 <= status < 500 else "unknown", reason=f"HTTP {status}")


def _found(answer: bytes) -> dict[str, str]:
    """The elements of an answer by their names, whatever namespace its schema's version has; none that is no XML."""
    try:
        root = ET.fromstring(answer)
    except (ET.ParseError, ValueError):
        return {}
    words = {one.tag.rpartition("}")[2]: " ".join((one.text or "").split()) for one in root.iter()}
    return {name: word for name, word in words.items() if word}


def request(text: Text, vasp: str, vas: str, file: tuple[str, bytes] | None) -> tuple[str, bytes]:
    """The content type and the body of a SubmitReq. Its TransactionID is the offer's key."""
    content = [
        ("text.txt", "text/plain; charset=utf-8", text.text.encode()),
        *([(file[0], mimetypes.guess_type(file[0])[0] or "application/octet-stream", file[1])] if file else []),
    ]
    page = [("page.smil", "application/smil", smil([(name, kind) for name, kind, _ in content]))]
    kind, parts = related([*page, *content], "application/smil")
    return related([("soap", "text/xml; charset=utf-8", submit(text, vasp, vas)), ("mms", kind, parts)], "text/xml")


def submit(text: Text, vasp: str, vas: str) -> bytes:
    """The SOAP envelope, its elements in the schema's order."""
    envelope = ET.Element(f"{{{SOAP}}}Envelope")
    head = ET.SubElement(envelope, f"{{{SOAP}}}Header")
    ET.SubElement(head, f"{{{MM7}}}TransactionID", {f"{{{SOAP}}}mustUnderstand": "1"}).text = text.offer
    asked = ET.SubElement(ET.SubElement(envelope, f"{{{SOAP}}}Body"), f"{{{MM7}}}SubmitReq")

    def add(parent: ET.Element, name: str, value: str = "") -> ET.Element:
        made = ET.SubElement(parent, f"{{{MM7}}}{name}")
        made.text = value or None
        return made

    add(asked, "MM7Version", VERSION)
    sender = add(asked, "SenderIdentification")
    for name, value in (("VASPID", vasp), ("VASID", vas)):
        if value:
            add(sender, name, value)
    add(add(sender, "SenderAddress"), "ShortCode", text.source)
    add(add(add(asked, "Recipients"), "To"), "Number", text.destination)
    if text.send_by:
        add(asked, "ExpiryDate", iso(text.send_by))
    add(asked, "DeliveryReport", "false")
    if text.subject:
        add(asked, "Subject", text.subject)
    add(asked, "Content").set("href", "cid:mms")
    octets: bytes = ET.tostring(envelope, encoding="utf-8", xml_declaration=True)
    return octets


def smil(parts: Sequence[tuple[str, str]]) -> bytes:
    """One page with all parts on it (SMIL 2.0, as OMA MMS Conformance has it)."""
    page = ET.Element("smil")
    slide = ET.SubElement(ET.SubElement(page, "body"), "par", dur="8000ms")
    for name, kind in parts:
        family = kind.partition("/")[0]
        ET.SubElement(slide, {"image": "img", "audio": "audio", "video": "video"}.get(family, "text"), src=name)
    octets: bytes = ET.tostring(page, encoding="utf-8")
    return octets


def related(parts: Sequence[tuple[str, str, bytes]], type_: str) -> tuple[str, bytes]:
    """multipart/related of (id, content type, octets), the first of which is its root."""
    boundary = f"kairos-{uuid4().hex}"
    body = bytearray()
    for id_, kind, content in parts:
        head = f"--{boundary}\r\nContent-Type: {kind}\r\nContent-ID: <{id_}>\r\nContent-Location: {id_}\r\n"
        body += f"{head}Content-Transfer-Encoding: binary\r\n\r\n".encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return f'multipart/related; boundary="{boundary}"; type="{type_}"; start="<{parts[0][0]}>"', bytes(body)
