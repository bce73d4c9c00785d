"""Optional parameters (TLVs) of SMPP 3.4: their tags, and how their values are written (section 5.3.2).

A PDU holds its TLVs as a tuple of `(tag, value)` in the order of the wire, so unknown and repeated ones survive a
relay.
"""

from __future__ import annotations

from enum import IntEnum

from kairos.smpp.errors import EncodeError

Tlvs = tuple[tuple[int, bytes], ...]


class Tag(IntEnum):
    """Every tag of the standard, and the one of USSD gateways' ITS sessions."""

    dest_addr_subunit = 0x0005
    dest_network_type = 0x0006
    dest_bearer_type = 0x0007
    dest_telematics_id = 0x0008
    source_addr_subunit = 0x000D
    source_network_type = 0x000E
    source_bearer_type = 0x000F
    source_telematics_id = 0x0010
    qos_time_to_live = 0x0017
    payload_type = 0x0019
    additional_status_info_text = 0x001D
    receipted_message_id = 0x001E
    ms_msg_wait_facilities = 0x0030
    privacy_indicator = 0x0201
    source_subaddress = 0x0202
    dest_subaddress = 0x0203
    user_message_reference = 0x0204
    user_response_code = 0x0205
    source_port = 0x020A
    destination_port = 0x020B
    sar_msg_ref_num = 0x020C
    language_indicator = 0x020D
    sar_total_segments = 0x020E
    sar_segment_seqnum = 0x020F
    sc_interface_version = 0x0210
    callback_num_pres_ind = 0x0302
    callback_num_atag = 0x0303
    number_of_messages = 0x0304
    callback_num = 0x0381
    dpf_result = 0x0420
    set_dpf = 0x0421
    ms_availability_status = 0x0422
    network_error_code = 0x0423
    message_payload = 0x0424
    delivery_failure_reason = 0x0425
    more_messages_to_send = 0x0426
    message_state = 0x0427
    ussd_service_op = 0x0501
    display_time = 0x1201
    sms_signal = 0x1203
    ms_validity = 0x1204
    alert_on_message_delivery = 0x130C
    its_reply_type = 0x1380
    its_session_info = 0x1383


_TEXT = {Tag.additional_status_info_text, Tag.receipted_message_id}  # C-octet strings
_OCTETS = {  # octet strings, taken as they are
    Tag.callback_num,
    Tag.callback_num_atag,
    Tag.dest_subaddress,
    Tag.source_subaddress,
    Tag.its_session_info,
    Tag.message_payload,
    Tag.network_error_code,
}
_WIDTH = {  # integers of more than one octet
    Tag.dest_telematics_id: 2,
    Tag.qos_time_to_live: 4,
    Tag.user_message_reference: 2,
    Tag.source_port: 2,
    Tag.destination_port: 2,
    Tag.sar_msg_ref_num: 2,
    Tag.sms_signal: 2,
}


def tlvs(**named: int | str | bytes) -> Tlvs:
    """TLVs by their standard names: numbers in the tag's own width, texts with their closing NUL, bytes as they are.

    >>> tlvs(sar_msg_ref_num=7, receipted_message_id="ab", ussd_service_op=b"\\x02")
    ((524, b'\\x00\\x07'), (30, b'ab\\x00'), (1281, b'\\x02'))
    """
    return tuple(
        (int(tag), _value(tag, value)) for tag, value in ((_tag(name), value) for name, value in named.items())
    )


def number(value: bytes | None) -> int | None:
    """A TLV's value read as an unsigned number; None where there is none.

    >>> number(b"\\x01\\x00"), number(None), number(b"")
    (256, None, None)
    """
    return int.from_bytes(value, "big") if value else None


def _tag(name: str) -> Tag:
    try:
        return Tag[name]
    except KeyError:
        raise EncodeError(f"unknown TLV `{name}`; give the tag's number and bytes yourself") from None


def _value(tag: Tag, value: int | str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("latin-1", "replace") + (b"\0" if tag in _TEXT else b"")
    if tag in _TEXT or tag in _OCTETS:
        raise EncodeError(f"TLV `{tag.name}` takes bytes, not the number {value}")
    try:
        return value.to_bytes(_WIDTH.get(tag, 1), "big")
    except OverflowError:
        raise EncodeError(f"TLV `{tag.name}` cannot hold {value}; it has {_WIDTH.get(tag, 1)} octet(s)") from None
