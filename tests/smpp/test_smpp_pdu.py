"""The codec against bytes checked by hand, and against anything at all."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.smpp import (
    AlertNotification,
    BindReceiver,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    CancelSm,
    DataSm,
    DeliverSm,
    DeliverSmResp,
    DistributionList,
    EncodeError,
    EnquireLink,
    GenericNack,
    Outbind,
    Pdu,
    PduError,
    QuerySm,
    QuerySmResp,
    ReplaceSm,
    SmeAddress,
    Status,
    SubmitMulti,
    SubmitMultiResp,
    SubmitSm,
    SubmitSmResp,
    Tag,
    Unbind,
    UnsuccessSme,
    decode_pdu,
    encode_pdu,
    message_bytes,
    status_name,
    tlvs,
)
from kairos.smpp.pdu import PDUS

GOLDEN: list[tuple[str, str, Pdu]] = [
    (
        "the standard's own example (3.2.3)",
        "0000002F 00000002 00000000 00000001"
        "53 4D 50 50 33 54 45 53 54 00  73 65 63 72 65 74 30 38 00  53 55 42 4D 49 54 31 00  00 01 01 00",
        BindTransmitter(
            sequence=1,
            system_id="SMPP3TEST",
            password="secret08",
            system_type="SUBMIT1",
            interface_version=0,
            addr_ton=1,
            addr_npi=1,
        ),
    ),
    (
        "bind_receiver of a range",
        "0000001B 00000001 00000000 00000002  61 00 62 00 00 34 01 01 31 2A 00",
        BindReceiver(sequence=2, system_id="a", password="b", addr_ton=1, addr_npi=1, address_range="1*"),
    ),
    (
        "bind_transceiver",
        "0000001A 00000009 00000000 00000003  61 00 62 00 63 00 34 00 00 00",
        BindTransceiver(sequence=3, system_id="a", password="b", system_type="c"),
    ),
    (
        "bind_transceiver_resp with sc_interface_version",
        "0000001A 80000009 00000000 00000001  6B 61 69 72 00  0210 0001 34",
        BindTransceiverResp(sequence=1, system_id="kair", tlvs=((0x0210, b"\x34"),)),
    ),
    (
        "bind_transceiver_resp that refuses has no body",
        "00000010 80000009 0000000E 00000001",
        BindTransceiverResp(sequence=1, status=Status.ESME_RINVPASWD),
    ),
    ("unbind", "00000010 00000006 00000000 0000000A", Unbind(sequence=10)),
    ("enquire_link", "00000010 00000015 00000000 7FFFFFFF", EnquireLink(sequence=0x7FFFFFFF)),
    ("generic_nack", "00000010 80000000 00000003 00000005", GenericNack(sequence=5, status=3)),
    (
        "submit_sm",
        "0000003A 00000004 00000000 00000002"
        "00 05 00 4B 00 01 01 31 35 35 35 30 31 30 30 00 43 12 02"  # type, source, destination, esm, protocol, priority
        "00 30 30 30 30 30 30 30 30 30 31 30 30 30 30 30 52 00"  # schedule, validity (one minute)
        "01 00 00 00 00",  # receipt asked for, replace, coding, default message, length
        SubmitSm(
            sequence=2,
            source_addr_ton=5,
            source_addr="K",
            dest_addr_ton=1,
            dest_addr_npi=1,
            destination_addr="15550100",
            esm_class=0x43,
            protocol_id=0x12,
            priority_flag=2,
            validity_period="000000000100000R",
            registered_delivery=1,
        ),
    ),
    ("submit_sm_resp", "00000012 80000004 00000000 00000002  37 00", SubmitSmResp(sequence=2, message_id="7")),
    ("submit_sm_resp, throttled", "00000010 80000004 00000058 00000002", SubmitSmResp(sequence=2, status=0x58)),
    (
        "deliver_sm",
        "0000002B 00000005 00000000 00000003"
        "00 00 00 31 00 00 00 32 00 04 00 00 00 00 00 00 08 00 02 04 34  0204 0002 0007",
        DeliverSm(
            sequence=3,
            source_addr="1",
            destination_addr="2",
            esm_class=4,
            data_coding=8,
            short_message=b"\x044",
            tlvs=((0x0204, b"\0\7"),),
        ),
    ),
    ("deliver_sm_resp", "00000011 80000005 00000000 00000003  00", DeliverSmResp(sequence=3)),
    (
        "data_sm",
        "00000022 00000103 00000000 00000004  00 00 00 31 00 00 00 32 00 00 01 00  0424 0002 4869",
        DataSm(sequence=4, source_addr="1", destination_addr="2", registered_delivery=1, tlvs=((0x0424, b"Hi"),)),
    ),
    (
        "query_sm",
        "00000016 00000003 00000000 00000006  37 00 01 01 39 00",
        QuerySm(sequence=6, message_id="7", source_addr_ton=1, source_addr_npi=1, source_addr="9"),
    ),
    (
        "query_sm_resp",
        "00000025 80000003 00000000 00000006  37 00 32 36 30 31 30 32 30 33 30 34 30 35 30 30 30 2B 00 02 00",
        QuerySmResp(sequence=6, message_id="7", final_date="260102030405000+", message_state=2),
    ),
    (
        "cancel_sm",
        "0000001B 00000008 00000000 00000007  00 37 00 01 01 31 00 01 01 32 00",
        CancelSm(
            sequence=7,
            message_id="7",
            source_addr_ton=1,
            source_addr_npi=1,
            source_addr="1",
            dest_addr_ton=1,
            dest_addr_npi=1,
            destination_addr="2",
        ),
    ),
    (
        "replace_sm",
        "0000001D 00000007 00000000 00000008  37 00 00 00 31 00 00 00 01 00 02 48 69",
        ReplaceSm(sequence=8, message_id="7", source_addr="1", registered_delivery=1, short_message=b"Hi"),
    ),
    (
        "alert_notification",
        "0000001D 00000102 00000000 00000009  01 01 31 00 00 00 32 00  0422 0001 00",
        AlertNotification(
            sequence=9,
            source_addr_ton=1,
            source_addr_npi=1,
            source_addr="1",
            esme_addr="2",
            tlvs=((Tag.ms_availability_status, b"\0"),),
        ),
    ),
    ("outbind", "00000014 0000000B 00000000 00000001  61 00 62 00", Outbind(sequence=1, system_id="a", password="b")),
    (
        "submit_multi to an address and a list",
        "00000029 00000021 00000000 0000000B00 00 00 31 00 02 01 01 01 32 00 02 4C 00 00 00 00 00 00 00 00 00 00 01 41",
        SubmitMulti(
            sequence=11,
            source_addr="1",
            dest_address=(SmeAddress(1, 1, "2"), DistributionList("L")),
            short_message=b"A",
        ),
    ),
    (
        "submit_multi_resp",
        "0000001B 80000021 00000000 0000000B  37 00 01 01 01 32 00 0000000B",
        SubmitMultiResp(sequence=11, message_id="7", unsuccess_sme=(UnsuccessSme(1, 1, "2", Status.ESME_RINVDSTADR),)),
    ),
]


def hexed(octets: str) -> bytes:
    return bytes.fromhex(octets.replace(" ", ""))


@pytest.mark.parametrize(("octets", "pdu"), [(o, p) for _, o, p in GOLDEN], ids=[name for name, _, _ in GOLDEN])
def test_golden_both_ways(octets: str, pdu: Pdu) -> None:
    assert encode_pdu(pdu).hex() == hexed(octets).hex()
    assert decode_pdu(hexed(octets)) == pdu


def test_every_request_of_the_standard_is_among_them() -> None:
    shown = {type(pdu) for _, _, pdu in GOLDEN}
    assert {kind for command_id, kind in PDUS.items() if command_id < 0x80000000} <= shown
    assert len(PDUS) == 27


REFUSED: list[tuple[str, str, Status]] = [
    ("shorter than a header", "00000010 00000015 0000", Status.ESME_RINVCMDLEN),
    ("command_length says more", "00000011 00000015 00000000 00000007", Status.ESME_RINVCMDLEN),
    ("unknown command", "00000010 00000099 00000000 00000007", Status.ESME_RINVCMDID),
    ("ends in an address", "00000014 00000004 00000000 00000007 00 00 00 31", Status.ESME_RINVCMDLEN),
    ("ends before octets", "00000012 00000004 00000000 00000007 00 00", Status.ESME_RINVCMDLEN),
    (
        "service_type too long",
        "0000001A 00000004 00000000 00000007 41 42 43 44 45 46 47 48 49 00",
        Status.ESME_RINVSERTYP,
    ),
    (
        "source too long",
        "0000002B 00000004 00000000 00000007 00 00 00" + "31" * 23 + "00",
        Status.ESME_RINVSRCADR,
    ),
    (
        "destination too long",
        "00000030 00000004 00000000 00000007 00 00 00 00 00 00" + "31" * 25 + "00",
        Status.ESME_RINVDSTADR,
    ),
    (
        "sm_length beyond the end",
        "00000023 00000005 00000000 00000007 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 05 48 69",
        Status.ESME_RINVMSGLEN,
    ),
    ("half a TLV head", "00000013 00000015 00000000 00000007 02 04 00", Status.ESME_RINVOPTPARSTREAM),
    ("TLV beyond the end", "00000015 00000015 00000000 00000007 0204 0002 00", Status.ESME_RINVOPTPARSTREAM),
    (
        "unknown dest_flag",
        "00000016 00000021 00000000 00000007 00 00 00 00 01 03",
        Status.ESME_RINVDESTFLAG,
    ),
    ("system_id too long", "00000022 00000009 00000000 00000007" + "41" * 17 + "00", Status.ESME_RINVSYSID),
]


@pytest.mark.parametrize(("octets", "status"), [(o, s) for _, o, s in REFUSED], ids=[name for name, _, _ in REFUSED])
def test_refused_with_the_status_to_answer(octets: str, status: Status) -> None:
    raw = hexed(octets)
    if status is not Status.ESME_RINVCMDLEN:
        raw = len(raw).to_bytes(4, "big") + raw[4:]
    with pytest.raises(PduError) as caught:
        decode_pdu(raw)
    assert caught.value.status == status
    assert caught.value.sequence == (7 if len(raw) >= 16 else 0)


@pytest.mark.parametrize(
    ("pdu", "word"),
    [
        (SubmitSm(destination_addr="1" * 21), "`destination_addr`"),
        (SubmitSm(source_addr="a\0b"), "`source_addr`"),
        (SubmitSm(service_type="€"), "`service_type`"),
        (SubmitSm(short_message=b"x" * 256), "`short_message`"),
        (SubmitSm(esm_class=256), "SubmitSm"),
        (SubmitSm(tlvs=((0x424, b"x" * 65_536),)), "SubmitSm"),
        (SubmitMulti(dest_address=(SmeAddress(),) * 255), "`dest_address`"),
        (SubmitMultiResp(unsuccess_sme=(UnsuccessSme(),) * 256), "`unsuccess_sme`"),
        (SubmitMultiResp(unsuccess_sme=(UnsuccessSme(ton=300),)), "SubmitMultiResp"),
    ],
)
def test_what_does_not_fit_is_named(pdu: Pdu, word: str) -> None:
    with pytest.raises(EncodeError, match=word):
        encode_pdu(pdu)


def test_an_empty_body_is_all_defaults_in_a_response_and_an_error_in_a_request() -> None:
    assert decode_pdu(hexed("00000010 80000005 00000000 00000003")) == DeliverSmResp(sequence=3)
    with pytest.raises(PduError):
        decode_pdu(hexed("00000010 00000005 00000000 00000003"))


def test_an_error_response_keeps_what_it_was_given() -> None:
    reply = SubmitSmResp(sequence=1, status=Status.ESME_RDELIVERYFAILURE, tlvs=tlvs(delivery_failure_reason=1))
    assert decode_pdu(encode_pdu(reply)) == reply


def test_passwords_of_any_length_and_never_in_a_log() -> None:
    bind = BindTransceiver(system_id="ocs", password="a rather long passphrase of the operator " * 4)
    assert decode_pdu(encode_pdu(bind)) == bind
    with pytest.raises(EncodeError, match="password") as caught:
        encode_pdu(BindTransceiver(password="passphrase €"))
    assert "passphrase" not in str(caught.value)
    assert "passphrase" not in repr(bind) + str(bind) + repr(Outbind(password="passphrase"))


def test_repeated_and_unknown_tlvs_keep_their_order() -> None:
    pairs = ((0x0381, b"1"), (0x3FFF, b""), (0x0381, b"2"), (0x1400, b"vendor"))
    pdu = decode_pdu(encode_pdu(SubmitSm(tlvs=pairs)))
    assert pdu.tlvs == pairs
    assert pdu.tlv(0x0381) == b"1"
    assert pdu.tlv(0x0999) is None


def test_response_takes_the_sequence_and_only_requests_have_one() -> None:
    assert SubmitSm(sequence=9).response(Status.ESME_RMSGQFUL) == SubmitSmResp(sequence=9, status=0x14)
    with pytest.raises(TypeError):
        AlertNotification().response()


def test_vendor_status_survives_and_is_named_by_its_number() -> None:
    reply = decode_pdu(hexed("00000010 80000004 0000045F 00000002"))
    assert reply.status == 0x45F
    assert not reply.ok
    assert "0x0000045F" in str(reply)
    assert status_name(0) == "ESME_ROK"


@pytest.mark.parametrize(
    ("pdu", "expected"),
    [
        (SubmitSm(short_message=b"Hi"), (b"", b"Hi")),
        (SubmitSm(esm_class=0x43, short_message=b"\x05\0\x03\x01\x02\x01Hi"), (b"\x05\0\x03\x01\x02\x01", b"Hi")),
        (SubmitSm(esm_class=0x40, short_message=b"\x05"), (b"", b"\x05")),
        (SubmitSm(esm_class=0x40), (b"", b"")),
        (DataSm(tlvs=tlvs(message_payload=b"long")), (b"", b"long")),
        (DeliverSm(esm_class=0x40, tlvs=tlvs(message_payload=b"\x00Hi")), (b"\x00", b"Hi")),
    ],
)
def test_message_bytes(pdu: Any, expected: tuple[bytes, bytes]) -> None:
    assert message_bytes(pdu) == expected


@pytest.mark.parametrize(
    "wrong", [{"no_such_tag": 1}, {"sar_total_segments": 256}, {"message_payload": 3}, {"receipted_message_id": 3}]
)
def test_tlvs_by_name_refuse_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(EncodeError, match=next(iter(wrong))):
        tlvs(**wrong)


# --- anything at all ---

latin = st.characters(min_codepoint=1, max_codepoint=255)
octet = st.integers(0, 255)
word = st.integers(0, 0xFFFFFFFF)


def value_of(one: Any) -> st.SearchStrategy[Any]:
    if "octet" in one.metadata:
        return octet
    if "text" in one.metadata:
        size = one.metadata["text"][0] or 60
        return st.text(latin, max_size=size - 1)
    if one.name == "short_message":
        return st.binary(max_size=255)
    address = st.text(latin, max_size=20)
    if one.name == "unsuccess_sme":
        return st.lists(st.builds(UnsuccessSme, octet, octet, address, word), max_size=4).map(tuple)
    some = st.one_of(st.builds(SmeAddress, octet, octet, address), st.builds(DistributionList, address))
    return st.lists(some, max_size=4).map(tuple)


def pdus(kind: type[Pdu]) -> st.SearchStrategy[Pdu]:
    body = {one.name: value_of(one) for one in fields(kind) if one.metadata}
    pairs = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=4).map(tuple)
    return st.builds(kind, sequence=word, status=word, tlvs=pairs, **body)


def read_or_refused(octets: bytes) -> Pdu | PduError:
    try:
        return decode_pdu(octets)
    except PduError as fault:
        return fault


any_pdu = st.sampled_from(list(PDUS.values())).flatmap(pdus)


@given(any_pdu)
@settings(deadline=None, max_examples=400)
def test_encode_then_decode_is_the_same(pdu: Pdu) -> None:
    octets = encode_pdu(pdu)
    again = decode_pdu(octets)
    assert again == pdu
    assert encode_pdu(again) == octets


@given(any_pdu, st.data())
@settings(deadline=None, max_examples=400)
def test_damaged_pdus_are_read_or_refused(pdu: Pdu, data: st.DataObject) -> None:
    octets = bytearray(encode_pdu(pdu))
    del octets[data.draw(st.integers(0, len(octets))) :]
    for at in data.draw(st.lists(st.integers(0, max(0, len(octets) - 1)), max_size=4)):
        if octets:
            octets[at] = data.draw(octet)
    if len(octets) >= 4 and data.draw(st.booleans()):
        octets[:4] = len(octets).to_bytes(4, "big")
    read = read_or_refused(bytes(octets))
    if isinstance(read, PduError):
        assert read.status != 0
        assert len(octets) < 16 or read.sequence == int.from_bytes(octets[12:16], "big")
    else:
        assert decode_pdu(encode_pdu(read)) == read


@given(st.sampled_from(sorted(PDUS)), st.binary(max_size=120))
@settings(deadline=None, max_examples=400)
def test_any_body_is_read_or_refused(command_id: int, body: bytes) -> None:
    header = (16 + len(body)).to_bytes(4, "big") + command_id.to_bytes(4, "big") + bytes(8)
    read = read_or_refused(header + body)
    if isinstance(read, PduError):
        assert read.command_id == command_id
    else:
        assert type(read) is PDUS[command_id]
