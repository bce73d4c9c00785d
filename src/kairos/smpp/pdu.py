"""The PDUs of SMPP 3.4 (section 4) and their codec.

Each PDU is a dataclass whose fields are the standard's mandatory parameters, in the standard's order and with its
names; `decode` and `encode` follow tables made once from those fields. Texts (addresses, ids, times) are Latin-1
strings, so every octet of the wire survives a relay; `short_message` is bytes. Treat a PDU as a value: nothing here
changes one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from kairos.smpp.errors import EncodeError, PduError
from kairos.smpp.status import Status, status_name
from kairos.smpp.tlv import Tag, Tlvs

HEADER = struct.Struct(">IIII")  # command_length, command_id, command_status, sequence_number
RESPONSE_BIT = 0x80000000
MAX_SEQUENCE = 0x7FFFFFFF
UDHI = 0x40  # esm_class: the message begins with a user data header
_TLV_HEAD = struct.Struct(">HH")

# --- how a mandatory parameter is written ---------------------------------------------------------

_Read = Callable[[bytes, int], tuple[Any, int]]
_Write = Callable[[Any], bytes]


def _fault(status: Status, message: str) -> PduError:
    return PduError(message, status=status)


def _short(what: str) -> PduError:
    return _fault(Status.ESME_RINVCMDLEN, f"the PDU ends inside {what}")


def _octet(default: int = 0) -> int:
    """An integer of one octet."""
    return field(default=default, metadata={"octet": True})


def _text(size: int | None, status: Status = Status.ESME_RUNKNOWNERR) -> str:
    """A C-octet string of at most `size` octets with its NUL (None: any size); `status` answers a longer one."""
    return field(default="", metadata={"text": (size, status)})


def _counted() -> bytes:
    """sm_length and short_message."""
    return field(default=b"", metadata={"codec": (_read_counted, _write_counted)})


def _text_codec(name: str, size: int | None, status: Status) -> tuple[_Read, _Write]:
    def read(data: bytes, at: int) -> tuple[str, int]:
        end = data.find(0, at) if size is None else data.find(0, at, at + size)
        if end >= 0:
            return data[at:end].decode("latin-1"), end + 1
        if size is None or len(data) < at + size:
            raise _short(f"`{name}`")
        raise _fault(status, f"`{name}` is longer than {size - 1} octets")

    def unfit(value: str, because: str) -> EncodeError:
        shown = "this secret" if name == "password" else repr(value)
        return EncodeError(f"`{name}` cannot hold {shown}; {because}")

    def write(value: str) -> bytes:
        try:
            octets = value.encode("latin-1")
        except UnicodeEncodeError:
            raise unfit(value, "only Latin-1 characters are allowed") from None
        if 0 in octets:
            raise unfit(value, "a NUL would end it early")
        if size is not None and len(octets) >= size:
            raise unfit(value, f"it takes at most {size - 1} octets")
        return octets + b"\0"

    return read, write


def _read_counted(data: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(data):
        raise _short("`sm_length`")
    start = at + 1
    end = start + data[at]
    if end > len(data):
        raise _fault(Status.ESME_RINVMSGLEN, f"`sm_length` is {data[at]}, but only {len(data) - start} octets follow")
    return data[start:end], end


def _write_counted(value: bytes) -> bytes:
    if len(value) > 255:
        raise EncodeError(f"`short_message` takes at most 255 octets, not {len(value)}; use the message_payload TLV")
    return bytes((len(value),)) + value


# --- the PDUs -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pdu:
    """What every PDU has. Make one with keywords; a session gives it its sequence number when it sends it.

    `status` is an ESME_* code (0 in requests); `tlvs` are `(tag, value)` in the order of the wire.
    """

    command_id: ClassVar[int] = 0
    answer: ClassVar[type[Pdu] | None] = None  # the response's class, where there is one
    bare_when_refused: ClassVar[bool] = False  # the standard drops the body of an error response

    sequence: int = 0
    status: int = 0
    tlvs: Tlvs = ()

    @property
    def ok(self) -> bool:
        """Whether the command status says success."""
        return self.status == 0

    def tlv(self, tag: int) -> bytes | None:
        """The first TLV with this tag, or None."""
        return next((value for found, value in self.tlvs if found == tag), None)

    def response(self, status: int = 0, **values: Any) -> Pdu:
        """The answer to this request, with its sequence number: `pdu.response(message_id="7")`, `pdu.response(status)`.

        >>> SubmitSm(sequence=3).response(message_id="7")
        SubmitSmResp(sequence=3, status=0, tlvs=(), message_id='7')
        """
        if self.answer is None:
            raise TypeError(f"{type(self).__name__} is not a request that has a response")
        return self.answer(sequence=self.sequence, status=status, **values)

    def __str__(self) -> str:
        outcome = "" if self.status == 0 else f" {status_name(self.status)}"
        return f"{type(self).__name__}#{self.sequence}{outcome}"


@dataclass(slots=True)
class GenericNack(Pdu):
    """The answer to what could not be read or is not known; `status` says why."""

    command_id = 0x80000000


@dataclass(slots=True)
class BindResp(Pdu):
    """What the three bind responses share."""

    bare_when_refused = True

    system_id: str = _text(16, Status.ESME_RINVSYSID)


@dataclass(slots=True)
class BindReceiverResp(BindResp):
    command_id = 0x80000001


@dataclass(slots=True)
class BindTransmitterResp(BindResp):
    command_id = 0x80000002


@dataclass(slots=True)
class BindTransceiverResp(BindResp):
    command_id = 0x80000009


@dataclass(slots=True)
class Bind(Pdu):
    """What the three binds share. Passwords may be longer than the standard's 8 octets: operators use longer ones."""

    system_id: str = _text(16, Status.ESME_RINVSYSID)
    password: str = _text(None)
    system_type: str = _text(13, Status.ESME_RINVSYSTYP)
    interface_version: int = _octet(0x34)
    addr_ton: int = _octet()
    addr_npi: int = _octet()
    address_range: str = _text(41)

    def __repr__(self) -> str:  # never the password: PDUs end up in logs
        return f"{type(self).__name__}(sequence={self.sequence}, system_id={self.system_id!r}, password=...)"


@dataclass(slots=True, repr=False)
class BindReceiver(Bind):
    command_id = 0x00000001
    answer = BindReceiverResp


@dataclass(slots=True, repr=False)
class BindTransmitter(Bind):
    command_id = 0x00000002
    answer = BindTransmitterResp


@dataclass(slots=True, repr=False)
class BindTransceiver(Bind):
    command_id = 0x00000009
    answer = BindTransceiverResp


@dataclass(slots=True)
class Outbind(Pdu):
    """The SMSC asks the ESME to bind as a receiver. Has no response."""

    command_id = 0x0000000B

    system_id: str = _text(16, Status.ESME_RINVSYSID)
    password: str = _text(None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sequence={self.sequence}, system_id={self.system_id!r}, password=...)"


@dataclass(slots=True)
class UnbindResp(Pdu):
    command_id = 0x80000006


@dataclass(slots=True)
class Unbind(Pdu):
    command_id = 0x00000006
    answer = UnbindResp


@dataclass(slots=True)
class EnquireLinkResp(Pdu):
    command_id = 0x80000015


@dataclass(slots=True)
class EnquireLink(Pdu):
    command_id = 0x00000015
    answer = EnquireLinkResp


@dataclass(slots=True)
class SubmitSmResp(Pdu):
    command_id = 0x80000004
    bare_when_refused = True

    message_id: str = _text(65, Status.ESME_RINVMSGID)


@dataclass(slots=True)
class DeliverSmResp(Pdu):
    """`message_id` is unused: the standard wants it empty."""

    command_id = 0x80000005

    message_id: str = _text(65, Status.ESME_RINVMSGID)


@dataclass(slots=True)
class ShortMessage(Pdu):
    """What submit_sm and deliver_sm share: one message between two addresses.

    `esm_class` is a set of bits: mask them, never compare. `short_message` holds up to 255 octets, of which the user
    data header comes first where `esm_class & 0x40`; longer ones travel in the message_payload TLV (see
    `message_bytes`).
    """

    service_type: str = _text(6, Status.ESME_RINVSERTYP)
    source_addr_ton: int = _octet()
    source_addr_npi: int = _octet()
    source_addr: str = _text(21, Status.ESME_RINVSRCADR)
    dest_addr_ton: int = _octet()
    dest_addr_npi: int = _octet()
    destination_addr: str = _text(21, Status.ESME_RINVDSTADR)
    esm_class: int = _octet()
    protocol_id: int = _octet()
    priority_flag: int = _octet()
    schedule_delivery_time: str = _text(17, Status.ESME_RINVSCHED)
    validity_period: str = _text(17, Status.ESME_RINVEXPIRY)
    registered_delivery: int = _octet()
    replace_if_present_flag: int = _octet()
    data_coding: int = _octet()
    sm_default_msg_id: int = _octet()
    short_message: bytes = _counted()


@dataclass(slots=True)
class SubmitSm(ShortMessage):
    command_id = 0x00000004
    answer = SubmitSmResp


@dataclass(slots=True)
class DeliverSm(ShortMessage):
    command_id = 0x00000005
    answer = DeliverSmResp


@dataclass(slots=True)
class DataSmResp(Pdu):
    command_id = 0x80000103
    bare_when_refused = True

    message_id: str = _text(65, Status.ESME_RINVMSGID)


@dataclass(slots=True)
class DataSm(Pdu):
    """A message whose text is in the message_payload TLV."""

    command_id = 0x00000103
    answer = DataSmResp

    service_type: str = _text(6, Status.ESME_RINVSERTYP)
    source_addr_ton: int = _octet()
    source_addr_npi: int = _octet()
    source_addr: str = _text(65, Status.ESME_RINVSRCADR)
    dest_addr_ton: int = _octet()
    dest_addr_npi: int = _octet()
    destination_addr: str = _text(65, Status.ESME_RINVDSTADR)
    esm_class: int = _octet()
    registered_delivery: int = _octet()
    data_coding: int = _octet()


@dataclass(slots=True)
class QuerySmResp(Pdu):
    command_id = 0x80000003
    bare_when_refused = True

    message_id: str = _text(65, Status.ESME_RINVMSGID)
    final_date: str = _text(17)
    message_state: int = _octet()
    error_code: int = _octet()


@dataclass(slots=True)
class QuerySm(Pdu):
    command_id = 0x00000003
    answer = QuerySmResp

    message_id: str = _text(65, Status.ESME_RINVMSGID)
    source_addr_ton: int = _octet()
    source_addr_npi: int = _octet()
    source_addr: str = _text(21, Status.ESME_RINVSRCADR)


@dataclass(slots=True)
class CancelSmResp(Pdu):
    command_id = 0x80000008


@dataclass(slots=True)
class CancelSm(Pdu):
    command_id = 0x00000008
    answer = CancelSmResp

    service_type: str = _text(6, Status.ESME_RINVSERTYP)
    message_id: str = _text(65, Status.ESME_RINVMSGID)
    source_addr_ton: int = _octet()
    source_addr_npi: int = _octet()
    source_addr: str = _text(21, Status.ESME_RINVSRCADR)
    dest_addr_ton: int = _octet()
    dest_addr_npi: int = _octet()
    destination_addr: str = _text(21, Status.ESME_RINVDSTADR)


@dataclass(slots=True)
class ReplaceSmResp(Pdu):
    command_id = 0x80000007


@dataclass(slots=True)
class ReplaceSm(Pdu):
    command_id = 0x00000007
    answer = ReplaceSmResp

    message_id: str = _text(65, Status.ESME_RINVMSGID)
    source_addr_ton: int = _octet()
    source_addr_npi: int = _octet()
    source_addr: str = _text(21, Status.ESME_RINVSRCADR)
    schedule_delivery_time: str = _text(17, Status.ESME_RINVSCHED)
    validity_period: str = _text(17, Status.ESME_RINVEXPIRY)
    registered_delivery: int = _octet()
    sm_default_msg_id: int = _octet()
    short_message: bytes = _counted()


@dataclass(slots=True)
class AlertNotification(Pdu):
    """The SMSC says that a subscriber is reachable again. Has no response."""

    command_id = 0x00000102

    source_addr_ton: int = _octet()
    source_addr_npi: int = _octet()
    source_addr: str = _text(65, Status.ESME_RINVSRCADR)
    esme_addr_ton: int = _octet()
    esme_addr_npi: int = _octet()
    esme_addr: str = _text(65, Status.ESME_RINVDSTADR)


# --- submit_multi: the one PDU with lists in its body ---------------------------------------------


@dataclass(frozen=True, slots=True)
class SmeAddress:
    """One destination of a submit_multi (dest_flag 1)."""

    ton: int = 0
    npi: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class DistributionList:
    """A named list of destinations that the SMSC keeps (dest_flag 2)."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class UnsuccessSme:
    """A destination of a submit_multi that failed, and its ESME_* code."""

    ton: int = 0
    npi: int = 0
    address: str = ""
    status: int = 0


Destination = SmeAddress | DistributionList
_read_address, _write_address = _text_codec("destination_addr", 21, Status.ESME_RINVDSTADR)
_read_list_name, _write_list_name = _text_codec("dl_name", 21, Status.ESME_RINVDLNAME)


def _octets(data: bytes, at: int, count: int, what: str) -> bytes:
    if at + count > len(data):
        raise _short(f"`{what}`")
    return data[at : at + count]


def _read_destinations(data: bytes, at: int) -> tuple[tuple[Destination, ...], int]:
    count = _octets(data, at, 1, "number_of_dests")[0]
    at += 1
    found: list[Destination] = []
    for _ in range(count):
        flag = _octets(data, at, 1, "dest_flag")[0]
        at += 1
        if flag == 1:
            ton, npi = _octets(data, at, 2, "dest_addr_ton")
            address, at = _read_address(data, at + 2)
            found.append(SmeAddress(ton, npi, address))
        elif flag == 2:
            name, at = _read_list_name(data, at)
            found.append(DistributionList(name))
        else:
            raise _fault(Status.ESME_RINVDESTFLAG, f"`dest_flag` is {flag}; 1 (address) and 2 (list) are known")
    return tuple(found), at


def _write_destinations(value: tuple[Destination, ...]) -> bytes:
    if len(value) > 254:
        raise EncodeError(f"`dest_address` takes at most 254 destinations, not {len(value)}")
    parts = [bytes((len(value),))]
    for one in value:
        if isinstance(one, SmeAddress):
            parts.append(bytes((1, one.ton, one.npi)) + _write_address(one.address))
        else:
            parts.append(b"\x02" + _write_list_name(one.name))
    return b"".join(parts)


def _read_unsuccess(data: bytes, at: int) -> tuple[tuple[UnsuccessSme, ...], int]:
    count = _octets(data, at, 1, "no_unsuccess")[0]
    at += 1
    found = []
    for _ in range(count):
        ton, npi = _octets(data, at, 2, "dest_addr_ton")
        address, at = _read_address(data, at + 2)
        status = int.from_bytes(_octets(data, at, 4, "error_status_code"), "big")
        at += 4
        found.append(UnsuccessSme(ton, npi, address, status))
    return tuple(found), at


def _write_unsuccess(value: tuple[UnsuccessSme, ...]) -> bytes:
    if len(value) > 255:
        raise EncodeError(f"`unsuccess_sme` takes at most 255 entries, not {len(value)}")
    return bytes((len(value),)) + b"".join(
        bytes((one.ton, one.npi)) + _write_address(one.address) + one.status.to_bytes(4, "big") for one in value
    )


@dataclass(slots=True)
class SubmitMultiResp(Pdu):
    command_id = 0x80000021
    bare_when_refused = True

    message_id: str = _text(65, Status.ESME_RINVMSGID)
    unsuccess_sme: tuple[UnsuccessSme, ...] = field(default=(), metadata={"codec": (_read_unsuccess, _write_unsuccess)})


@dataclass(slots=True)
class SubmitMulti(Pdu):
    """One message to several destinations."""

    command_id = 0x00000021
    answer = SubmitMultiResp

    service_type: str = _text(6, Status.ESME_RINVSERTYP)
    source_addr_ton: int = _octet()
    source_addr_npi: int = _octet()
    source_addr: str = _text(21, Status.ESME_RINVSRCADR)
    dest_address: tuple[Destination, ...] = field(
        default=(), metadata={"codec": (_read_destinations, _write_destinations)}
    )
    esm_class: int = _octet()
    protocol_id: int = _octet()
    priority_flag: int = _octet()
    schedule_delivery_time: str = _text(17, Status.ESME_RINVSCHED)
    validity_period: str = _text(17, Status.ESME_RINVEXPIRY)
    registered_delivery: int = _octet()
    replace_if_present_flag: int = _octet()
    data_coding: int = _octet()
    sm_default_msg_id: int = _octet()
    short_message: bytes = _counted()


PDUS: Mapping[int, type[Pdu]] = {
    kind.command_id: kind
    for kind in (
        GenericNack,
        BindReceiver,
        BindReceiverResp,
        BindTransmitter,
        BindTransmitterResp,
        BindTransceiver,
        BindTransceiverResp,
        Outbind,
        Unbind,
        UnbindResp,
        EnquireLink,
        EnquireLinkResp,
        SubmitSm,
        SubmitSmResp,
        SubmitMulti,
        SubmitMultiResp,
        DeliverSm,
        DeliverSmResp,
        DataSm,
        DataSmResp,
        QuerySm,
        QuerySmResp,
        CancelSm,
        CancelSmResp,
        ReplaceSm,
        ReplaceSmResp,
        AlertNotification,
    )
}


# --- the codec ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """A PDU's body as steps; a run of octets is one step of several fields."""

    reads: tuple[tuple[int, _Read | None], ...]  # (width of a run of octets, None) or (0, reader)
    writes: tuple[tuple[tuple[str, ...], _Write | None], ...]
    empty: tuple[Any, ...]  # every field's default, for a body that is left out


def _layout(kind: type[Pdu]) -> _Layout:
    reads: list[tuple[int, _Read | None]] = []
    writes: list[tuple[tuple[str, ...], _Write | None]] = []
    body = [one for one in fields(kind) if one.metadata]
    for one in body:
        if "octet" in one.metadata:
            if reads and reads[-1][1] is None:
                reads[-1] = (reads[-1][0] + 1, None)
                writes[-1] = ((*writes[-1][0], one.name), None)
            else:
                reads.append((1, None))
                writes.append(((one.name,), None))
            continue
        codec = one.metadata.get("codec") or _text_codec(one.name, *one.metadata["text"])
        reads.append((0, codec[0]))
        writes.append(((one.name,), codec[1]))
    return _Layout(tuple(reads), tuple(writes), tuple(one.default for one in body))


_LAYOUTS = {kind: _layout(kind) for kind in PDUS.values()}


def decode(data: bytes) -> Pdu:
    """One whole PDU, from its command_length to its last octet.

    Raises PduError with the status, sequence number and command id to answer with. An empty body is taken as all
    defaults in a response: error responses leave it out, and some vendors' deliver_sm_resp does.

    >>> decode(bytes.fromhex("00000010 00000015 00000000 00000007"))
    EnquireLink(sequence=7, status=0, tlvs=())
    """
    if len(data) < 16:
        raise PduError(f"a PDU has at least 16 octets, not {len(data)}", status=Status.ESME_RINVCMDLEN)
    length, command_id, status, sequence = HEADER.unpack_from(data)
    kind = PDUS.get(command_id)
    try:
        if length != len(data):
            raise _fault(Status.ESME_RINVCMDLEN, f"command_length is {length}, but {len(data)} octets came")
        if kind is None:
            raise _fault(Status.ESME_RINVCMDID, f"unknown command 0x{command_id:08X}")
        if length == 16 and command_id & RESPONSE_BIT:
            return kind(sequence, status, ())
        return _decode_body(kind, data, sequence, status)
    except PduError as fault:
        name = kind.__name__ if kind else "PDU"
        raise PduError(
            f"{name}#{sequence}: {fault}", status=fault.status, sequence=sequence, command_id=command_id
        ) from None


def _decode_body(kind: type[Pdu], data: bytes, sequence: int, status: int) -> Pdu:
    values: list[Any] = []
    at = 16
    for width, read in _LAYOUTS[kind].reads:
        if read is None:
            end = at + width
            if end > len(data):
                raise _short("its mandatory parameters")
            values.extend(data[at:end])
            at = end
        else:
            value, at = read(data, at)
            values.append(value)
    tlvs = _decode_tlvs(data, at) if at < len(data) else ()
    return kind(sequence, status, tlvs, *values)


def _decode_tlvs(data: bytes, at: int) -> Tlvs:
    found = []
    size = len(data)
    while at < size:
        if at + 4 > size:
            raise _fault(Status.ESME_RINVOPTPARSTREAM, "the PDU ends inside a TLV's head")
        tag, length = _TLV_HEAD.unpack_from(data, at)
        at += 4
        if at + length > size:
            raise _fault(Status.ESME_RINVOPTPARSTREAM, f"TLV 0x{tag:04X} says {length} octets, {size - at} follow")
        found.append((tag, data[at : at + length]))
        at += length
    return tuple(found)


def encode(pdu: Pdu, sequence: int | None = None) -> bytes:
    """The PDU's octets, with `sequence` in place of its own where one is given. Raises EncodeError naming the field.

    >>> encode(EnquireLink(), 7).hex()
    '00000010000000150000000000000007'
    """
    try:
        body = _encode_body(pdu)
        number = pdu.sequence if sequence is None else sequence
        return HEADER.pack(16 + len(body), pdu.command_id, pdu.status, number) + body
    except (EncodeError, ValueError, OverflowError, struct.error, TypeError, AttributeError) as fault:
        raise EncodeError(f"{type(pdu).__name__}: {fault}") from fault


def _encode_body(pdu: Pdu) -> bytes:
    layout = _LAYOUTS[type(pdu)]
    if pdu.status and pdu.bare_when_refused and not pdu.tlvs and _is_bare(pdu, layout):
        return b""
    parts: list[bytes] = []
    for names, write in layout.writes:
        if write is None:
            parts.append(bytes([getattr(pdu, name) for name in names]))
        else:
            parts.append(write(getattr(pdu, names[0])))
    for tag, value in pdu.tlvs:
        parts.append(_TLV_HEAD.pack(tag, len(value)))
        parts.append(value)
    return b"".join(parts)


def _is_bare(pdu: Pdu, layout: _Layout) -> bool:
    names = (name for step in layout.writes for name in step[0])
    return all(getattr(pdu, name) == default for name, default in zip(names, layout.empty, strict=True))


def message_bytes(pdu: ShortMessage | DataSm | SubmitMulti | ReplaceSm) -> tuple[bytes, bytes]:
    """The message as (user data header with its length octet, or b""; the text's octets).

    Takes `short_message`, or the message_payload TLV where that is empty. A header that claims more octets than there
    are is no header: the whole is the text.

    >>> message_bytes(DeliverSm(esm_class=0x40, short_message=b"\\x05\\x00\\x03\\x07\\x02\\x01Hi"))
    (b'\\x05\\x00\\x03\\x07\\x02\\x01', b'Hi')
    """
    whole = getattr(pdu, "short_message", b"") or pdu.tlv(Tag.message_payload) or b""
    if not getattr(pdu, "esm_class", 0) & UDHI or not whole or whole[0] >= len(whole):
        return b"", whole
    size = whole[0] + 1
    return whole[:size], whole[size:]
