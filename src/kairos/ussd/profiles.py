"""USSD over SMPP 3.4 (service_type `USSD`, TLV ussd_service_op, sections 5.3.2.43 and 5.3.2.44), as each vendor means
it: where the session is, what ends it, which operation says what, and where the dialled code stands. All of it is data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from kairos.smpp import DataSm, DeliverSm, SubmitSm, Tag, message_bytes
from kairos.smpp.text import decode, encode
from kairos.smpp.tlv import Tlvs
from kairos.ussd.dialogue import Show
from kairos.ussd.steps import Heard, Kind

SERVICE_TYPE: Final = "USSD"
USER: Final = 1  # an international number in the ISDN plan


OPERATIONS: Final[Mapping[str, int]] = {  # ussd_service_op, by what it says
    "begin": 0x01,
    "answer": 0x12,
    "notified": 0x13,
    "abort": 0x81,
    "ask": 0x02,
    "end": 0x11,
    "notify": 0x03,
}


@dataclass(frozen=True, slots=True)
class Bits:
    """A number that is some bits (`mask`) of a TLV of two octets.

    >>> Bits(0x1383, 0xFFFE).read(((0x1383, b"\\x00\\x0f"),)), Bits(0x1383, 0x0001).value(1)
    (7, 1)
    """

    tag: int
    mask: int

    def read(self, tlvs: Tlvs) -> int | None:
        found = next((value for tag, value in tlvs if tag == self.tag), None)
        if not found:
            return None
        return (int.from_bytes(found[:2].rjust(2, b"\0"), "big") & self.mask) >> self._shift

    def value(self, number: int) -> int:
        return number << self._shift & self.mask

    @property
    def most(self) -> int:
        return self.mask >> self._shift

    @property
    def _shift(self) -> int:
        return (self.mask & -self.mask).bit_length() - 1


@dataclass(frozen=True, slots=True)
class Profile:
    """How one sort of gateway speaks.

    `step`: the number that we give a screen, and that the answer to it comes back with. `end`: set where a dialogue
    ends. Operations by what they say: in, `begin`, `answer`, `abort`, `notified`; out, `ask`, `end`, `notify`.
    """

    session: Bits
    step: Bits | None = None
    end: Bits | None = None
    code: Literal["short_message", "destination_addr"] = "short_message"
    operations: Mapping[str, int] = field(default_factory=lambda: OPERATIONS)
    gsm7: int = 0x00  # data_coding
    ucs2: int = 0x08
    renumbers: bool = False  # a dialogue that we begin comes back under a number of the gateway's own


PROFILES: Final[Mapping[str, Profile]] = {
    # as the standard has it: the session's number, the number of the unit, and the end
    "standard": Profile(
        Bits(Tag.its_session_info, 0xFF00), Bits(Tag.its_session_info, 0x00FE), Bits(Tag.its_session_info, 0x0001)
    ),
    "6d": Profile(Bits(Tag.its_session_info, 0xFFFE), end=Bits(Tag.its_session_info, 0x0001)),
    "mica": Profile(Bits(Tag.user_message_reference, 0xFFFF)),
}


@dataclass(frozen=True, slots=True)
class Line:
    """What an answer needs to find its way back: both addresses, the session's number, and that of the next screen."""

    msisdn: str
    address: str  # ours
    number: int | None
    screen: int = 1

    @property
    def session(self) -> str:
        return f"{self.msisdn}/{'' if self.number is None else self.number}"


def heard(profile: Profile, pdu: DeliverSm | DataSm) -> tuple[Heard, Line] | None:
    """What a gateway's PDU says; None where it asks for nothing (a notice was seen)."""
    operation = next((value[-1] for tag, value in pdu.tlvs if tag == Tag.ussd_service_op and value), None)
    text = decode(pdu.data_coding, message_bytes(pdu)[1]).strip().strip("\0")
    means = {number: name for name, number in profile.operations.items()}
    ended = bool(profile.end and profile.end.read(pdu.tlvs))
    said = means.get(operation, "") if operation is not None else "begin" if _dialled(text) else "answer"
    if said == "notified":
        return None
    kind: Kind = "abort" if said not in ("begin", "answer") or ended else "begin" if said == "begin" else "input"
    address = pdu.destination_addr
    code = text if profile.code == "short_message" else address
    line = Line(pdu.source_addr.lstrip("+"), address, profile.session.read(pdu.tlvs))
    step = profile.step.read(pdu.tlvs) if profile.step and kind == "input" else 0
    ahead = (text,) if kind == "begin" and profile.code == "destination_addr" and text and not _dialled(text) else ()
    whole = f"{code}#" if code and code[0] in "*#" and not code.endswith("#") else code
    dialled = whole if _dialled(whole) else f"*{whole}#"
    return Heard(line.session, line.msisdn, dialled if kind == "begin" else "", text, kind, step or -1, ahead), line


def _dialled(text: str) -> bool:
    return text[:1] in ("*", "#") and text.endswith("#")


def shown(profile: Profile, line: Line, show: Show, screen: int, *, pushed: bool = False) -> SubmitSm:
    """A screen as the gateway wants it; `pushed`: we began this dialogue, so what ends it asks for nothing."""
    operation = "ask" if show.more else "notify" if pushed else "end"
    data_coding, octets = encode(show.text)
    values: dict[int, int] = {}
    if line.number is not None:
        values[profile.session.tag] = profile.session.value(line.number)
    for bits, number in ((profile.step, screen), (profile.end, 0 if show.more else 1)):
        if bits:
            values[bits.tag] = values.get(bits.tag, 0) | bits.value(number & bits.most)
    return SubmitSm(
        service_type=SERVICE_TYPE,
        source_addr=line.address,
        dest_addr_ton=USER,
        dest_addr_npi=USER,
        destination_addr=line.msisdn,
        data_coding=profile.ucs2 if data_coding == 0x08 else profile.gsm7,
        short_message=octets,
        tlvs=(
            (int(Tag.ussd_service_op), bytes((profile.operations[operation],))),
            *((tag, number.to_bytes(2, "big")) for tag, number in values.items()),
        ),
    )
