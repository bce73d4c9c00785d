"""On which messages a line may ride: a table of what each field forbids."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from kairos.ingest import refusal
from kairos.smpp import SubmitSm, tlvs

NOW = 1_772_625_600_000  # Wednesday 2026-03-04 12:00 UTC
PLAIN = SubmitSm(source_addr="5000", destination_addr="12025550123", short_message=b"Ref 8f3a21")
CONCATENATED = b"\x05\x00\x03\x07\x02\x01Ref"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"service_type": "CMT"},
        {"data_coding": 3, "short_message": b"caf\xe9"},
        {"data_coding": 8, "short_message": "да".encode("utf-16-be")},
        {"data_coding": 0x11},  # class 1: kept on the handset
        {"data_coding": 0xF2},
        {"esm_class": 0x40, "short_message": CONCATENATED},
        {"esm_class": 0x40, "short_message": b"\x06\x08\x04\x00\x07\x02\x01Ref"},
        {"esm_class": 0x03, "priority_flag": 3, "registered_delivery": 0x11},
        {"validity_period": "000001000000000R"},
        {"validity_period": "260304121500000+"},
        {"tlvs": tlvs(sar_msg_ref_num=7, sar_total_segments=2, sar_segment_seqnum=1)},
        {"tlvs": ((0x1500, b"own"), *tlvs(user_message_reference=9))},
        {"short_message": b"", "tlvs": tlvs(message_payload=b"Ref 8f3a21")},
    ],
)
def test_a_line_may_ride_on(fields: dict[str, Any]) -> None:
    assert refusal(replace(PLAIN, **fields), NOW) == ""


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("flash", {"data_coding": 0x10}),
        ("flash", {"data_coding": 0xF0}),
        ("flash", {"tlvs": tlvs(dest_addr_subunit=1)}),
        ("binary", {"data_coding": 0x04}),
        ("binary", {"data_coding": 0xF6}),
        ("binary", {"data_coding": 0x21}),
        ("binary", {"data_coding": 0x0E}),
        ("message waiting", {"data_coding": 0xC8}),
        ("message waiting", {"data_coding": 0xE8}),
        ("message waiting", {"tlvs": tlvs(ms_msg_wait_facilities=0x80)}),
        ("header", {"esm_class": 0x40, "short_message": b"\x06\x05\x04\x0b\x84\x23\xf0Ref"}),
        ("header", {"esm_class": 0x40, "short_message": b"\x08\x00\x03\x07\x02\x01\x24\x01\x03Ref"}),
        ("header", {"esm_class": 0x40, "short_message": b"\xffRef"}),
        ("elsewhere", {"service_type": "WAP"}),
        ("elsewhere", {"service_type": "USSD"}),
        ("elsewhere", {"tlvs": tlvs(destination_port=5000)}),
        ("elsewhere", {"tlvs": tlvs(ussd_service_op=2)}),
        ("elsewhere", {"tlvs": tlvs(dest_addr_subunit=3)}),
        ("protocol", {"protocol_id": 0x41}),
        ("protocol", {"protocol_id": 0x7F}),
        ("protocol", {"esm_class": 0x08}),
        ("replaced", {"replace_if_present_flag": 1}),
        ("replaced", {"sm_default_msg_id": 4}),
        ("scheduled", {"schedule_delivery_time": "000001000000000R"}),
        ("short-lived", {"validity_period": "000000000500000R"}),
        ("short-lived", {"validity_period": "260304120500000+"}),
        ("short-lived", {"validity_period": "tomorrow"}),
        ("inexact", {"data_coding": 1, "short_message": b"caf\xe9"}),
        ("inexact", {"short_message": b"Ref \x80"}),
        ("inexact", {"data_coding": 8, "short_message": b"\xd8\x00"}),
        ("inexact", {"tlvs": tlvs(message_payload=b"and another text")}),
    ],
)
def test_no_line_rides_on(reason: str, fields: dict[str, Any]) -> None:
    assert refusal(replace(PLAIN, **fields), NOW) == reason


def test_an_account_may_permit_flash_and_nothing_else_with_it() -> None:
    assert refusal(replace(PLAIN, data_coding=0x10), NOW, flash=True) == ""
    assert refusal(replace(PLAIN, data_coding=0x10, protocol_id=1), NOW, flash=True) == "protocol"


def test_the_least_validity_is_counted_from_now() -> None:
    later = NOW + int(
        (datetime(2026, 3, 4, 13, tzinfo=UTC) - datetime(2026, 3, 4, 12, tzinfo=UTC)).total_seconds() * 1000
    )
    until = replace(PLAIN, validity_period="260304130500000+")
    assert (refusal(until, NOW), refusal(until, later)) == ("", "short-lived")
