"""Messages in several parts: cutting a text, telling which parts belong together, and reading them as one.

Parts are told by the user data header's concatenation elements (3GPP TS 23.040, 9.2.3.24.1 and .8) or by sar_* TLVs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from kairos.smpp import text as texts
from kairos.smpp.errors import TextError
from kairos.smpp.pdu import UDHI, DataSm, DeliverSm, SubmitSm, message_bytes
from kairos.smpp.text import MAX_PARTS, Encoding
from kairos.smpp.tlv import Tag, number

MessagePdu = SubmitSm | DeliverSm | DataSm


@dataclass(frozen=True, slots=True)
class Segment:
    """One part as fields of a submit_sm or deliver_sm. `short_message` begins with the header where there is one."""

    esm_class: int
    data_coding: int
    short_message: bytes
    part: int
    parts: int


def split(text: str, reference: int, encoding: Encoding | None = None, *, wide: bool = False) -> list[Segment]:
    """The text as the messages to send, one if it fits: at most 140 octets each on the air, header included.

    `reference` (modulo 256, or 65536 if `wide`) must differ between messages under way to one subscriber. Raises
    TextError for more than 255 parts, or a character that the encoding lacks.

    >>> [(s.esm_class, len(s.short_message)) for s in split("a" * 161, reference=7)]
    [(64, 159), (64, 14)]
    """
    data_coding, octets = texts.encode(text, encoding)
    chosen = encoding or (Encoding.GSM7 if data_coding == 0 else Encoding.UCS2)
    if len(octets) <= chosen.single * chosen.unit:
        return [Segment(0, data_coding, octets, 1, 1)]
    pieces = texts.cut(octets, chosen, wide=wide)
    if len(pieces) > MAX_PARTS:
        raise TextError(f"the text needs {len(pieces)} parts; {MAX_PARTS} is the most there can be")
    return [
        Segment(UDHI, data_coding, _header(reference, len(pieces), part, wide) + piece, part, len(pieces))
        for part, piece in enumerate(pieces, 1)
    ]


def _header(reference: int, parts: int, part: int, wide: bool) -> bytes:
    if wide:
        return b"\x06\x08\x04" + (reference % 65536).to_bytes(2, "big") + bytes((parts, part))
    return bytes((5, 0, 3, reference % 256, parts, part))


@dataclass(frozen=True, slots=True)
class Concatenation:
    """What a part says of itself. `kind` (udh8, udh16 or sar) keeps references of different widths apart."""

    kind: str
    reference: int
    parts: int
    part: int


def concatenation(pdu: MessagePdu) -> Concatenation | None:
    """How the PDU belongs to a longer message; None where it is whole, or where what it says cannot be.

    >>> concatenation(DeliverSm(esm_class=0x43, short_message=b"\\x05\\x00\\x03\\x07\\x02\\x01Hi"))
    Concatenation(kind='udh8', reference=7, parts=2, part=1)
    """
    found = _from_header(message_bytes(pdu)[0]) or _from_tlvs(pdu)
    return found if found and 1 <= found.part <= found.parts and found.parts > 1 else None


def _from_header(header: bytes) -> Concatenation | None:
    at = 1
    found = None  # an element that is repeated counts by its last (TS 23.040, 9.2.3.24)
    while at + 2 <= len(header):
        kind, length = header[at], header[at + 1]
        value = header[at + 2 : at + 2 + length]
        at += 2 + length
        if kind == 0x00 and length == 3 and len(value) == 3:
            found = Concatenation("udh8", value[0], value[1], value[2])
        elif kind == 0x08 and length == 4 and len(value) == 4:
            found = Concatenation("udh16", int.from_bytes(value[:2], "big"), value[2], value[3])
    return found


def _from_tlvs(pdu: MessagePdu) -> Concatenation | None:
    if not pdu.tlvs:
        return None
    reference = number(pdu.tlv(Tag.sar_msg_ref_num))
    parts = number(pdu.tlv(Tag.sar_total_segments))
    part = number(pdu.tlv(Tag.sar_segment_seqnum))
    if reference is None or parts is None or part is None:
        return None
    return Concatenation("sar", reference, parts, part)


def text_of(pdus: Sequence[MessagePdu]) -> str:
    """The text of a message's PDUs, in the order of its parts. Those of one coding are joined first: a character may
    span two."""
    runs = groupby(pdus, key=lambda pdu: pdu.data_coding)
    return "".join(texts.decode(coding, b"".join(message_bytes(pdu)[1] for pdu in run)) for coding, run in runs)
