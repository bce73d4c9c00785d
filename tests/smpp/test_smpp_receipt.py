"""Receipts as SMSCs really write them, and the one we write; times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.smpp import (
    DataSm,
    DeliverSm,
    EncodeError,
    MessageState,
    PduError,
    Receipt,
    SubmitSm,
    id_forms,
    parse_receipt,
    receipt_for,
    receipt_wanted,
    tlvs,
)
from kairos.smpp.times import absolute, parse_time, relative

S = MessageState
VENDORS: list[tuple[str, str, Receipt]] = [
    (
        "the standard's own form",
        "id:0123456789 sub:001 dlvrd:001 submit date:2601020304 done date:2601020305 stat:DELIVRD err:000 "
        "text:Hello you",
        Receipt("0123456789", S.DELIVERED, "000", "2601020304", "2601020305", "Hello you"),
    ),
    (
        "capitals, underscores, seconds",
        "ID:c449ab9744f4 SUB:001 DLVRD:001 SUBMIT_DATE:260102030405 DONE_DATE:260102030406 STAT:DELIVRD ERR:0 TEXT:",
        Receipt("c449ab9744f4", S.DELIVERED, "0", "260102030405", "260102030406"),
    ),
    ("only what matters", "id:7 stat:UNDELIV err:069", Receipt("7", S.UNDELIVERABLE, "069")),
    ("full words", "id:7 stat:DELIVERED", Receipt("7", S.DELIVERED)),
    ("lower case", "id:7 stat:expired err:011", Receipt("7", S.EXPIRED, "011")),
    (
        "no dates' spaces",
        "id:7 submitdate:2601020304 donedate:2601020305 stat:REJECTD",
        Receipt("7", S.REJECTED, "", "2601020304", "2601020305"),
    ),
    ("equals signs", "id=7 stat=ACCEPTD err=000", Receipt("7", S.ACCEPTED, "000")),
    ("spaces after colons", "id: 7 stat: DELIVRD err: 000", Receipt("7", S.DELIVERED, "000")),
    (
        "a uuid",
        "id:0b7ad1e4-3c5d-4a55-9a3e-0c8f8f1a8b2e stat:DELETED",
        Receipt("0b7ad1e4-3c5d-4a55-9a3e-0c8f8f1a8b2e", S.DELETED),
    ),
    ("a state of its own", "id:7 stat:FAILED err:500", Receipt("7", S.UNDELIVERABLE, "500")),
    ("an unheard-of state", "id:7 stat:WHATEVER", Receipt("7", S.UNKNOWN)),
    (
        "the text repeats fields",
        "id:7 stat:DELIVRD text:id:8 stat:REJECTD",
        Receipt("7", S.DELIVERED, text="id:8 stat:REJECTD"),
    ),
    ("the text has a line break", "id:7 stat:DELIVRD Text:one\ntwo", Receipt("7", S.DELIVERED, text="one\ntwo")),
    ("an empty field", "id:7 sub: dlvrd: submit date: done date: stat:DELIVRD err: text:", Receipt("7", S.DELIVERED)),
    ("nothing to read", "delivered, thanks", Receipt("")),
    ("empty", "", Receipt("")),
]


@pytest.mark.parametrize(("text", "expected"), [(t, r) for _, t, r in VENDORS], ids=[name for name, _, _ in VENDORS])
def test_vendors(text: str, expected: Receipt) -> None:
    assert parse_receipt(DeliverSm(esm_class=0x04, short_message=text.encode())) == expected


def test_tlvs_count_before_the_text() -> None:
    pdu = DeliverSm(
        esm_class=0x04,
        short_message=b"id:999 stat:REJECTD",
        tlvs=tlvs(receipted_message_id="1f", message_state=2, network_error_code=b"\x03\x01\x02"),
    )
    assert parse_receipt(pdu) == Receipt("1f", S.DELIVERED, "258")


def test_a_receipt_by_tlvs_alone() -> None:
    pdu = DataSm(tlvs=tlvs(receipted_message_id="1f", message_state=5))
    assert parse_receipt(pdu) == Receipt("1f", S.UNDELIVERABLE)


def test_an_unknown_message_state_falls_back_on_the_text() -> None:
    pdu = DeliverSm(esm_class=4, short_message=b"id:1 stat:DELIVRD", tlvs=tlvs(message_state=99))
    assert parse_receipt(pdu) == Receipt("1", S.DELIVERED)


def test_ucs2_receipts_are_read_too() -> None:
    pdu = DeliverSm(esm_class=4, data_coding=8, short_message="id:1 stat:DELIVRD".encode("utf-16-be"))
    assert parse_receipt(pdu) == Receipt("1", S.DELIVERED)


@pytest.mark.parametrize(
    ("esm_class", "is_receipt", "intermediate"),
    [
        (0x00, False, False),
        (0x03, False, False),
        (0x40, False, False),
        (0x04, True, False),
        (0x07, True, False),
        (0x44, True, False),
        (0x20, True, True),
        (0x08, False, False),
        (0x10, False, False),
    ],
)
def test_the_message_type_bits_decide(esm_class: int, is_receipt: bool, intermediate: bool) -> None:
    """A subscriber can type a receipt's text; that must never count as one."""
    found = parse_receipt(DeliverSm(esm_class=esm_class, short_message=b"id:7 stat:DELIVRD"))
    assert (found is not None) == is_receipt
    assert found is None or found.intermediate == intermediate


@pytest.mark.parametrize("state", list(MessageState))
def test_ours_comes_back(state: MessageState) -> None:
    sent = SubmitSm(source_addr_ton=5, source_addr="kairos", dest_addr_ton=1, destination_addr="15550100")
    pdu = receipt_for(sent, "1f", state, submitted="2601020304", done="2601020305", error="017", text="Hello")
    assert (pdu.source_addr, pdu.destination_addr) == ("15550100", "kairos")
    assert (pdu.source_addr_ton, pdu.dest_addr_ton) == (1, 5)
    expected = Receipt("1f", state, "017", "2601020304", "2601020305", "Hello")
    assert parse_receipt(pdu) == expected
    pdu.tlvs = ()
    assert parse_receipt(pdu) == expected


@pytest.mark.parametrize(
    ("registered_delivery", "delivered", "failed"),
    [(0, False, False), (1, True, True), (2, False, True), (0x11, True, True), (0x10, False, False), (3, False, False)],
)
def test_who_wants_a_receipt(registered_delivery: int, delivered: bool, failed: bool) -> None:
    message = SubmitSm(registered_delivery=registered_delivery)
    assert receipt_wanted(message, S.DELIVERED) is delivered
    assert receipt_wanted(message, S.EXPIRED) is failed


@pytest.mark.parametrize(
    ("answered", "in_receipt"),
    [
        ("1F", "31"),
        ("1f", "0000000031"),
        ("31", "1F"),
        ("000031", "31"),
        ("abc-7", "abc-7"),
        ("DEADBEEF", "3735928559"),
    ],
)
def test_hex_and_decimal_ids_meet(answered: str, in_receipt: str) -> None:
    assert answered in id_forms(in_receipt) or in_receipt in id_forms(answered)
    assert id_forms(answered)[0] == answered


def test_which_states_are_final() -> None:
    assert [state.name for state in S if state.final] == [
        "DELIVERED",
        "EXPIRED",
        "DELETED",
        "UNDELIVERABLE",
        "REJECTED",
    ]


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=255))
@settings(deadline=None)
def test_any_octets_are_read_or_are_no_receipt(esm_class: int, data_coding: int, octets: bytes) -> None:
    parse_receipt(DeliverSm(esm_class=esm_class | 4, data_coding=data_coding, short_message=octets))


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("000000001000000R", NOW + timedelta(minutes=10)),
        ("000001000000000R", NOW + timedelta(days=1)),
        ("260102030405000+", NOW),
        ("260102050405008+", NOW),
        ("260102010405108-", NOW + timedelta(milliseconds=100)),
    ],
)
def test_times(text: str, expected: datetime | None) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize("text", ["tomorrow", "261302030405000+", "260102030405099+", "000000001000000"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(PduError, match="no SMPP time"):
        parse_time(text, NOW)


@given(st.integers(0, 8_000_000))
@settings(deadline=None)
def test_relative_times_come_back(seconds: int) -> None:
    assert parse_time(relative(seconds), NOW) == NOW + timedelta(seconds=seconds)


def test_absolute_times_come_back() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert parse_time(absolute(east), NOW) == NOW
    with pytest.raises(EncodeError):
        absolute(east.replace(tzinfo=None))
    with pytest.raises(EncodeError):
        relative(100 * 86_400)
