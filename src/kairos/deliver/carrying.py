"""A notification's own PDUs with our line in them: the text changes, and what has to change with it; nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from kairos.domain.message import Carried
from kairos.smpp import (
    Concatenation,
    Encoding,
    SubmitSm,
    Tag,
    TextError,
    concatenation,
    decode_pdu,
    encode,
    encoding_of,
    measure,
)
from kairos.smpp import split as split_text
from kairos.smpp.tlv import tlvs

UDHI: Final = 0x40  # esm_class: a user data header comes first
SAR: Final = (Tag.sar_msg_ref_num, Tag.sar_total_segments, Tag.sar_segment_seqnum)


def pdus_of(carried: Iterable[Carried]) -> list[SubmitSm]:
    """The PDUs of one message as an account submitted them."""
    return [decode_pdu(one.pdu) for one in carried]  # type: ignore[misc]


def with_text(pdus: Sequence[SubmitSm], text: str, reference: int) -> list[SubmitSm]:
    """The PDUs of one message (in the order of its parts) as they are sent with another text.

    Kept: every field but data_coding (only where the text needs another alphabet; its message class stays), the
    user data header and UDHI bit (where the number of parts changes), the text itself in the form that it came in
    (short_message or message_payload). Parts are told as they were (header of 8 or 16 bits, sar TLVs) under their own
    reference number; what becomes longer than one message takes `reference`. Of parts that are more than
    came, only the last asks for what the last asked for. Raises TextError for more than 255 parts.

    >>> [pdu.short_message for pdu in with_text([SubmitSm(short_message=b"Ref 1")], "Ref 1\\nMore?", 7)]
    [b'Ref 1\\nMore?']
    """
    first = pdus[0]
    encoding = _encoding(first.data_coding, text)
    coding = first.data_coding if encoding is encoding_of(first.data_coding) else recoded(first.data_coding, encoding)
    said = concatenation(first) or Concatenation("udh8", reference, 1, 1)
    if len(pdus) == 1 and _in_payload(first):  # the SMSC cuts it
        return [_put(replace(first, data_coding=coding), encode(text, encoding)[1])]
    segments = split_text(text, said.reference, encoding, wide=said.kind == "udh16")
    parts = []
    for segment in segments:
        pdu = pdus[min(segment.part, len(pdus)) - 1]
        if len(pdus) <= segment.part < len(segments):  # one more than came; what the last asks for, the last asks
            pdu = replace(pdu, registered_delivery=0)
        octets, esm_class = segment.short_message, pdu.esm_class & ~UDHI | segment.esm_class
        kept = tuple(one for one in pdu.tlvs if one[0] not in SAR)
        if said.kind == "sar" and len(segments) > 1:
            octets, esm_class = octets[octets[0] + 1 :], pdu.esm_class
            kept += tlvs(
                sar_msg_ref_num=said.reference, sar_total_segments=len(segments), sar_segment_seqnum=segment.part
            )
        parts.append(_put(replace(pdu, data_coding=coding, esm_class=esm_class, tlvs=kept), octets))
    return parts


def recoded(data_coding: int, encoding: Encoding) -> int:
    """The data_coding for another alphabet with the message class of this one (TS 23.038, section 4).

    >>> hex(recoded(0xF1, Encoding.UCS2)), hex(recoded(0x12, Encoding.UCS2)), recoded(3, Encoding.GSM7)
    ('0x19', '0x1a', 0)
    """
    if data_coding & 0xF0 == 0xF0 and encoding is Encoding.UCS2:
        return 0x18 | data_coding & 0x03
    if data_coding & 0xF0 in (0x10, 0x30):
        return data_coding & ~0x0C | encoding.data_coding
    return encoding.data_coding


def _encoding(data_coding: int, text: str) -> Encoding:
    """The message's own alphabet where that can say the text in no more parts than the one that suits it best."""
    own, best = encoding_of(data_coding), measure(text)
    if own is None or (data_coding == 0x01 and not text.isascii()):
        return best.encoding
    try:
        return own if measure(text, own).parts <= best.parts else best.encoding
    except TextError:
        return best.encoding


def _in_payload(pdu: SubmitSm) -> bool:
    return not pdu.short_message and pdu.tlv(Tag.message_payload) is not None


def _put(pdu: SubmitSm, octets: bytes) -> SubmitSm:
    if not _in_payload(pdu):
        return replace(pdu, short_message=octets)
    held = tuple((tag, octets if tag == Tag.message_payload else value) for tag, value in pdu.tlvs)
    return replace(pdu, tlvs=held)
