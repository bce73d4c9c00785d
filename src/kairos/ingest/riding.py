"""Whether a line may ride on a message: only where everything else that the message says stays true with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from kairos.domain.instant import date_time
from kairos.smpp import Encoding, PduError, SubmitSm, Tag, TextError, decode, encode, encoding_of, message_bytes
from kairos.smpp.times import parse_time

SHORTEST_VALIDITY: Final = timedelta(minutes=10)  # an offer that is gone before it can be read is none
OTHER_SERVICES: Final = frozenset({"CPT", "VMN", "VMA", "WAP", "USSD"})  # of 5.2.11: paging, voice mail, WAP, USSD
OTHER_BEARERS: Final = (  # what these name takes the text for something else than a message to be read
    Tag.source_port,
    Tag.destination_port,
    Tag.ussd_service_op,
    Tag.its_session_info,
    Tag.payload_type,
)
CONCATENATION: Final = frozenset({0x00, 0x08})  # elements of a user data header, TS 23.040, 9.2.3.24


def message_class(data_coding: int) -> int | None:
    """The class that a data_coding names (TS 23.038, section 4); 0 is shown at once and not kept.

    >>> message_class(0xF0), message_class(0x18), message_class(0x08)
    (0, 0, None)
    """
    group = data_coding & 0xF0
    return data_coding & 0x03 if group in (0x10, 0x30, 0x50, 0x70, 0xF0) else None


def _flash(pdu: SubmitSm, _now: int) -> bool:
    return message_class(pdu.data_coding) == 0 or pdu.tlv(Tag.dest_addr_subunit) == b"\x01"


def _binary(pdu: SubmitSm, _now: int) -> bool:
    return encoding_of(pdu.data_coding) is None


def _waiting(pdu: SubmitSm, _now: int) -> bool:
    return 0xC0 <= pdu.data_coding < 0xF0 or pdu.tlv(Tag.ms_msg_wait_facilities) is not None


def _header(pdu: SubmitSm, _now: int) -> bool:
    header, _ = message_bytes(pdu)
    if not header:
        return bool(pdu.esm_class & 0x40)  # it promises one that is not there
    at = 1
    while at + 2 <= len(header):
        if header[at] not in CONCATENATION:
            return True
        at += 2 + header[at + 1]
    return at != len(header)


def _elsewhere(pdu: SubmitSm, _now: int) -> bool:
    subunit = pdu.tlv(Tag.dest_addr_subunit)
    return (
        pdu.service_type.upper() in OTHER_SERVICES
        or any(pdu.tlv(tag) is not None for tag in OTHER_BEARERS)
        or (subunit is not None and subunit not in (b"\x00", b"\x01"))
    )


def _protocol(pdu: SubmitSm, _now: int) -> bool:
    return pdu.protocol_id != 0 or bool(pdu.esm_class & 0x3C)


def _replaced(pdu: SubmitSm, _now: int) -> bool:
    return pdu.replace_if_present_flag != 0 or pdu.sm_default_msg_id != 0


def _scheduled(pdu: SubmitSm, _now: int) -> bool:
    return bool(pdu.schedule_delivery_time)


def _short_lived(pdu: SubmitSm, now: int) -> bool:
    if not pdu.validity_period:
        return False
    at = date_time(now)
    try:
        until = parse_time(pdu.validity_period, at)
    except (PduError, OverflowError):
        return True
    return until is None or until - at < SHORTEST_VALIDITY


def _inexact(pdu: SubmitSm, _now: int) -> bool:
    octets, encoding = message_bytes(pdu)[1], encoding_of(pdu.data_coding)
    if encoding is None or (pdu.short_message and pdu.tlv(Tag.message_payload) is not None):
        return True
    if pdu.data_coding == 0x01 and not octets.isascii():
        return True
    try:
        return encode(decode(pdu.data_coding, octets, Encoding.GSM7), encoding)[1] != octets
    except TextError:
        return True


REASONS: Final[tuple[tuple[str, Callable[[SubmitSm, int], bool]], ...]] = (
    ("flash", _flash),  # shown at once and not kept: nobody could look the offer up again
    ("binary", _binary),  # 8-bit data, compressed, an alphabet that is not spoken here
    ("message waiting", _waiting),  # it switches an indicator
    ("header", _header),  # ports, pictures, national tables: whatever is no mere concatenation
    ("elsewhere", _elsewhere),  # WAP push, USSD, voice mail, an application's port, the SIM card
    ("protocol", _protocol),  # replace types, telematic devices, silent ones, acknowledgements
    ("replaced", _replaced),  # it replaces one that waits, or is to be replaced; or it is a text kept in the SMSC
    ("scheduled", _scheduled),  # it is read at another time than this
    ("short-lived", _short_lived),
    ("inexact", _inexact),  # what could not be written again, octet for octet
)


def refusal(pdu: SubmitSm, now: int, *, flash: bool = False) -> str:
    """Why no line may ride on this message, "" where one may. `flash`: the account permits it on class 0.

    >>> refusal(SubmitSm(short_message=b"Ref 1"), 0), refusal(SubmitSm(short_message=b"Ref 1", data_coding=0x10), 0)
    ('', 'flash')
    """
    for name, holds in REASONS:
        if holds(pdu, now) and not (flash and name == "flash"):
            return name
    return ""
