"""A gateway that speaks XML over HTTP: `<dialog type="Begin">` with the MAP operation inside, and a `<dialog>` back.

Python's expat expands entities that a document declares (its guards against their growth depend on the libexpat that
Python was built with) and never fetches external ones by itself. A dialog needs no document type: one that has any is
refused before a declaration in it is read, so there is nothing to expand. What is large, deep or long is refused, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from kairos.errors import EventError
from kairos.smpp.text import Encoding, measure
from kairos.ussd.dialogue import Show
from kairos.ussd.steps import Heard, Kind

LARGEST: Final = 16_384  # octets
DEEPEST: Final = 8  # elements
MOST: Final = 64
LONGEST: Final = 500  # characters of an attribute
GSM7, UCS2 = 15, 72  # dataCodingScheme, TS 23.038 section 5
BEGUN: Final = "processUnstructuredSSRequest_Request"
ANSWERED: Final = "unstructuredSSRequest_Response"
NOTIFIED: Final = "unstructuredSSNotify_Response"
BROKEN_OFF: Final = ("mapUserAbortChoice", "mapAbortProviderReason", "mapRefuseReason")
TIMED_OUT: Final = ("dialogTimedOut", "invokeTimedOut")
NUMBERS: Final = ("msisdn", "originationReference", "destinationReference")  # who it is, the likeliest first
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Dialog:
    """What a gateway's document says. `named` is our own word for the dialogue, which it brings back (userObject)."""

    kind: str = ""  # begin, input, notified, abort, timeout, or nothing
    local: str = ""
    named: str = ""
    msisdn: str = ""
    text: str = ""
    invoke: int = 0


@dataclass(slots=True)
class _Reading:
    dialog: dict[str, str] = field(default_factory=dict)
    operation: str = ""
    said: dict[str, str] = field(default_factory=dict)
    numbers: list[tuple[str, str]] = field(default_factory=list)
    errors: bool = False
    depth: int = 0
    elements: int = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        self.depth, self.elements = self.depth + 1, self.elements + 1
        if self.depth > DEEPEST or self.elements > MOST:
            raise EventError(f"a dialog has {DEEPEST} levels and {MOST} elements at most", "dialog")
        if any(len(value) > LONGEST for value in attributes.values()):
            raise EventError(f"an attribute of `{name}` has more than {LONGEST} characters", name)
        if self.depth == 1:
            if name != "dialog":
                raise EventError(f"the document is a `{name[:40]}`, and no `dialog`", "dialog")
            self.dialog = attributes
        elif name in (BEGUN, ANSWERED, NOTIFIED):
            self.operation, self.said = name, attributes
        elif name in NUMBERS:
            self.numbers.append((name, attributes.get("number", "")))
        elif name == "errorComponent":
            self.errors = True

    def end(self, _name: str) -> None:
        self.depth -= 1


def _refuse(*_about: Any) -> None:
    raise EventError("a document type is not allowed", "dialog")


def read(body: bytes) -> Dialog:
    """The dialog in a document. Raises EventError where it is none, is too large, or declares a document type."""
    if len(body) > LARGEST:
        raise EventError(f"the document is larger than {LARGEST} octets", "dialog")
    reading, parser = _Reading(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reading.start, reading.end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise EventError(f"this is no XML: {expat.ErrorString(error.code)}, line {error.lineno}", "dialog") from None
    except (ValueError, LookupError):  # an encoding that nobody knows
        raise EventError("the document cannot be read: its encoding", "dialog") from None
    return _dialog(reading)


def _dialog(reading: _Reading) -> Dialog:
    of, said = reading.dialog, reading.said
    kind = {BEGUN: "begin", ANSWERED: "input", NOTIFIED: "notified"}.get(reading.operation, "")
    if any(of.get(name, "").lower() == "true" for name in TIMED_OUT):
        kind = "timeout"
    elif of.get("type") == "Abort" or reading.errors or any(name in of for name in BROKEN_OFF):
        kind = "abort"
    invoke = said.get("invokeId", "0")
    numbers = dict(reversed(reading.numbers))  # the first of each
    return Dialog(
        kind,
        of.get("localId", ""),
        of.get("userObject", ""),
        next((numbers[name] for name in NUMBERS if numbers.get(name)), ""),
        said.get("string", "").strip(),
        int(invoke) if re.fullmatch(r"\d{1,6}", invoke, re.ASCII) else 0,
    )


def heard(dialog: Dialog, session: str) -> Heard | None:
    """What it says to a dialogue; None where it asks for nothing. Raises EventError."""
    if dialog.kind in ("", "notified"):
        return None
    kind: Kind = dialog.kind  # type: ignore[assignment]
    if kind == "begin" and not dialog.msisdn:
        raise EventError("`msisdn` is missing: nobody knows who dialled", "msisdn")
    code = dialog.text if kind == "begin" else ""
    if kind == "begin" and not re.fullmatch(r"[*#][\d*#]{1,39}", code, re.ASCII):
        raise EventError(f"`string`: `{code[:40]}` is no service code", "string")
    if kind == "begin" and not code.endswith("#"):
        code += "#"
    return Heard(session, dialog.msisdn, code, dialog.text, kind)


def answer(show: Show, named: str, invoke: int) -> bytes:
    """What goes back to a dialogue that a subscriber began; `invoke`: of the operation that began it."""
    if show.more:
        inside = _operation("unstructuredSSRequest_Request", show.text, invoke + 1)
        return _document("Continue", inside, named)
    return _document("End", _operation("processUnstructuredSSRequest_Response", show.text, invoke), named, end=True)


def push(text: str, named: str, msisdn: str, *, asks: bool, begins: bool) -> bytes:
    """A screen of a dialogue that we began: it `asks` for a key, or only tells."""
    name = "unstructuredSSRequest_Request" if asks else "unstructuredSSNotify_Request"
    whom = f'<msisdn nai="international_number" npi="ISDN" number={quoteattr(msisdn)}/>' if begins else ""
    return _document("Begin" if begins else "Continue", _operation(name, text, None, whom), named)


def release(named: str) -> bytes:
    """The end of a dialogue that we began, or of one that is answered with nothing."""
    return _document("End", "", named, end=True)


def _operation(name: str, text: str, invoke: int | None, inside: str = "") -> str:
    scheme = GSM7 if measure(text).encoding is Encoding.GSM7 else UCS2
    said = quoteattr(_NOT_IN_XML.sub(" ", text))
    numbered = "" if invoke is None else f'invokeId="{invoke}" '
    return f'<{name} {numbered}dataCodingScheme="{scheme}" string={said}>{inside}</{name}>'


def _document(kind: str, inside: str, named: str, *, end: bool = False) -> bytes:
    ends = ' prearrangedEnd="false"' if end else ""
    size = 1 if inside else 0
    opened = f'<dialog type="{kind}" mapMessagesSize="{size}"{ends} userObject={quoteattr(named)}>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opened}{inside}</dialog>\n'.encode()
