"""Delivery receipts (SMPP 3.4, 5.3.2 and appendix B): read what SMSCs really send, and write one."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum

from kairos.smpp.pdu import DataSm, DeliverSm, SubmitSm, message_bytes
from kairos.smpp.text import Encoding, decode, encoding_of
from kairos.smpp.tlv import Tag, number, tlvs

TYPE_MASK = 0x3C  # esm_class: the message type
RECEIPT = 0x04
INTERMEDIATE = 0x20


class MessageState(IntEnum):
    """message_state (5.2.28)."""

    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8

    @property
    def final(self) -> bool:
        """Whether nothing more will be said about the message. Vendors use ACCEPTED for "on its way"."""
        return self not in (MessageState.ENROUTE, MessageState.UNKNOWN, MessageState.ACCEPTED)


# The text's seven letters, and what vendors write instead; compared by their first five letters.
_BY_TEXT = {
    "ENROU": MessageState.ENROUTE,
    "BUFFE": MessageState.ENROUTE,
    "DELIV": MessageState.DELIVERED,
    "EXPIR": MessageState.EXPIRED,
    "DELET": MessageState.DELETED,
    "UNDEL": MessageState.UNDELIVERABLE,
    "FAILE": MessageState.UNDELIVERABLE,
    "ACCEP": MessageState.ACCEPTED,
    "ACKED": MessageState.ACCEPTED,
    "UNKNO": MessageState.UNKNOWN,
    "REJEC": MessageState.REJECTED,
}
_TO_TEXT = {
    MessageState.ENROUTE: "ENROUTE",
    MessageState.DELIVERED: "DELIVRD",
    MessageState.EXPIRED: "EXPIRED",
    MessageState.DELETED: "DELETED",
    MessageState.UNDELIVERABLE: "UNDELIV",
    MessageState.ACCEPTED: "ACCEPTD",
    MessageState.UNKNOWN: "UNKNOWN",
    MessageState.REJECTED: "REJECTD",
}
_NAME = r"(?:id|sub|dlvrd|submit[ _]?date|done[ _]?date|stat|err)"
_FIELD = re.compile(rf"\b({_NAME})\s*[:=]\s*(?!{_NAME}\s*[:=])([^\s:]*)", re.IGNORECASE)
_ID = re.compile(r"(\bid\s*[:=]\s*)[^\s:]*", re.IGNORECASE)
_TEXT_FIELD = re.compile(r"\btext\s*[:=]\s?(.*)\Z", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says; "" where it says nothing.

    Dates are as written (YYMMDDhhmm, or with seconds), in the SMSC's own time zone.
    `error` is the network's or the SMSC's own code, as written; `intermediate` says that another receipt will follow.
    """

    message_id: str
    state: MessageState = MessageState.UNKNOWN
    error: str = ""
    submitted: str = ""
    done: str = ""
    text: str = ""
    intermediate: bool = False


def parse_receipt(pdu: DeliverSm | DataSm) -> Receipt | None:
    """The receipt in a PDU, None where it is a subscriber's message: TLVs count first, then the text.

    It is one if esm_class says so or the receipted_message_id TLV is there; a text alone, which anybody can type, is
    none. A receipt that names no message has the `message_id` "".
    """
    kind = pdu.esm_class & TYPE_MASK
    tagged = pdu.tlv(Tag.receipted_message_id)
    if kind not in (RECEIPT, INTERMEDIATE) and tagged is None:
        return None
    # SMSCs write ASCII under data_coding 0, where GSM-7 would read an underscore as a section sign
    coding = pdu.data_coding if encoding_of(pdu.data_coding) is Encoding.UCS2 else Encoding.LATIN1.data_coding
    said = _fields(decode(coding, message_bytes(pdu)[1]))
    state = _state(number(pdu.tlv(Tag.message_state))) or _BY_TEXT.get(said.get("stat", "")[:5].upper())
    return Receipt(
        message_id=tagged.rstrip(b"\0").decode("latin-1") if tagged is not None else said.get("id", ""),
        state=state or MessageState.UNKNOWN,
        error=said.get("err") or _network_error(pdu.tlv(Tag.network_error_code)),
        submitted=said.get("submitdate", ""),
        done=said.get("donedate", ""),
        text=said.get("text", ""),
        intermediate=kind == INTERMEDIATE,
    )


def _fields(text: str) -> dict[str, str]:
    found = {}
    tail = _TEXT_FIELD.search(text)
    if tail is not None:
        found["text"] = tail[1]
        text = text[: tail.start()]
    for name, value in _FIELD.findall(text):
        found.setdefault(re.sub("[ _]", "", name.lower()), value)
    return found


def _state(code: int | None) -> MessageState | None:
    return next((state for state in MessageState if state == code), None)


def _network_error(value: bytes | None) -> str:
    return str(int.from_bytes(value[1:3], "big")) if value and len(value) >= 3 else ""


def receipt_for(
    message: SubmitSm | DataSm,
    message_id: str,
    state: MessageState,
    *,
    submitted: str,
    done: str,
    error: str = "000",
    text: str = "",
) -> DeliverSm:
    """The deliver_sm that an SMSC sends back to the submitter; dates as YYMMDDhhmm[ss].

    >>> receipt_for(SubmitSm(source_addr="1234", destination_addr="15550100"), "7", MessageState.DELIVERED,
    ...             submitted="2601020304", done="2601020305").short_message
    b'id:7 sub:001 dlvrd:001 submit date:2601020304 done date:2601020305 stat:DELIVRD err:000 text:'
    """
    delivered = int(state is MessageState.DELIVERED)
    body = (
        f"id:{message_id} sub:001 dlvrd:{delivered:03d} submit date:{submitted} done date:{done} "
        f"stat:{_TO_TEXT[state]} err:{error} text:{text[:20]}"
    )
    return DeliverSm(
        service_type=message.service_type,
        source_addr_ton=message.dest_addr_ton,
        source_addr_npi=message.dest_addr_npi,
        source_addr=message.destination_addr,
        dest_addr_ton=message.source_addr_ton,
        dest_addr_npi=message.source_addr_npi,
        destination_addr=message.source_addr,
        esm_class=RECEIPT,
        short_message=body.encode("ascii", "replace"),
        tlvs=tlvs(receipted_message_id=message_id, message_state=int(state)),
    )


def with_message_id(pdu: DeliverSm | DataSm, message_id: str) -> DeliverSm | DataSm:
    """The same receipt of another message id, in its TLV and in its text; everything else is as it was.

    >>> with_message_id(DeliverSm(short_message=b"id:7 sub:001 stat:DELIVRD text:id:7"), "a1").short_message
    b'id:a1 sub:001 stat:DELIVRD text:id:7'
    """
    held = []
    for tag, value in pdu.tlvs:
        if tag == Tag.receipted_message_id:
            value = message_id.encode("latin-1", "replace") + (b"\0" if value.endswith(b"\0") or not value else b"")
        elif tag == Tag.message_payload and not getattr(pdu, "short_message", b""):
            value = _renamed(pdu.data_coding, value, message_id)
        held.append((tag, value))
    if isinstance(pdu, DataSm):
        return replace(pdu, tlvs=tuple(held))
    text = _renamed(pdu.data_coding, pdu.short_message, message_id)
    return replace(pdu, tlvs=tuple(held), short_message=text[:255])


def _renamed(data_coding: int, octets: bytes, message_id: str) -> bytes:
    codec = "utf-16-be" if encoding_of(data_coding) is Encoding.UCS2 and not len(octets) % 2 else "latin-1"
    text = octets.decode(codec, "surrogatepass")
    tail = _TEXT_FIELD.search(text)
    end = tail.start() if tail else len(text)
    return (_ID.sub(lambda found: found[1] + message_id, text[:end], count=1) + text[end:]).encode(
        codec, "surrogatepass" if codec != "latin-1" else "replace"
    )


def receipt_wanted(message: SubmitSm | DataSm, state: MessageState) -> bool:
    """Whether registered_delivery asks for a receipt of this final state (5.2.17).

    >>> receipt_wanted(SubmitSm(registered_delivery=2), MessageState.DELIVERED)
    False
    """
    asked = message.registered_delivery & 0x03
    return asked == 1 or (asked == 2 and state is not MessageState.DELIVERED)


def id_forms(message_id: str) -> tuple[str, ...]:
    """The ways an SMSC may write one message id, as written first: some answer in hex and send receipts in decimal.

    Look the forms up in this order, among ids of the same bind only.

    >>> id_forms("1F"), id_forms("0031")
    (('1F', '1f', '31'), ('0031', '31', '1f', '1F', '49'))
    """
    forms = [message_id]
    short = message_id.lstrip("0") or message_id
    forms += [short, short.lower(), short.upper()]
    if re.fullmatch(r"[0-9]{1,20}", message_id):
        forms += [f"{int(message_id):x}", f"{int(message_id):X}"]
    if re.fullmatch(r"[0-9a-fA-F]{1,16}", message_id):
        forms.append(str(int(message_id, 16)))
    return tuple(dict.fromkeys(forms))
