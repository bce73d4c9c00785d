"""Cutting texts, telling which parts belong together, and reading them as one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.smpp import (
    Concatenation,
    DataSm,
    DeliverSm,
    Encoding,
    Segment,
    TextError,
    concatenation,
    decode,
    message_bytes,
    split,
    text_of,
    tlvs,
)

ANN, BOB, CODE = "15550100", "15550101", "4040"
mixed = st.text(st.sampled_from("a€[д🎁é \n"), max_size=700)


def delivered(segment: Segment, source: str = ANN, destination: str = CODE) -> DeliverSm:
    return DeliverSm(
        source_addr=source,
        destination_addr=destination,
        esm_class=segment.esm_class | 0x03,  # as some gateways send it
        data_coding=segment.data_coding,
        short_message=segment.short_message,
    )


def octets_on_the_air(segment: Segment) -> int:
    if segment.data_coding != 0:
        return len(segment.short_message)
    header = message_bytes(delivered(segment))[0]
    septets = len(segment.short_message) - len(header) + -(-len(header) * 8 // 7)
    return -(-septets * 7 // 8)


@given(mixed, st.integers(0, 70_000), st.booleans())
@settings(deadline=None)
def test_split_keeps_the_text_and_every_limit(text: str, reference: int, wide: bool) -> None:
    segments = split(text, reference, wide=wide)
    bodies = [message_bytes(delivered(one))[1] for one in segments]
    assert "".join(decode(one.data_coding, body) for one, body in zip(segments, bodies, strict=True)) == text
    for segment, body in zip(segments, bodies, strict=True):
        assert octets_on_the_air(segment) <= 140
        assert segment.data_coding == 8 or not body.endswith(b"\x1b")
        said = concatenation(delivered(segment))
        if len(segments) == 1:
            assert said is None
            assert segment.esm_class == 0
        else:
            assert said is not None
            assert (said.part, said.parts) == (segment.part, len(segments))
            assert said.reference == reference % (65_536 if wide else 256)


def test_split_in_latin1_and_beyond_255_parts() -> None:
    assert [len(one.short_message) for one in split("é" * 141, 1, Encoding.LATIN1)] == [140, 13]
    assert len(split("a" * 153 * 255, 1)) == 255
    with pytest.raises(TextError, match="255"):
        split("a" * (153 * 255 + 1), 1)


def test_sar_tlvs_and_payload() -> None:
    parts = [
        DataSm(
            source_addr=ANN,
            destination_addr=CODE,
            tlvs=tlvs(sar_msg_ref_num=7, sar_total_segments=2, sar_segment_seqnum=part, message_payload=text),
        )
        for part, text in ((1, b"Hi "), (2, b"there"))
    ]
    assert [concatenation(pdu) for pdu in parts] == [Concatenation("sar", 7, 2, part) for part in (1, 2)]
    assert text_of(parts) == "Hi there"


@pytest.mark.parametrize(
    "header",
    [
        "050003070200",  # part 0
        "050003070203",  # part 3 of 2
        "050003070000",  # none at all
        "050003070101",  # 1 of 1
        "0500020702ff",  # a length that is wrong for the element
        "05700307",  # another element, cut short
        "03240101",  # a national language table
    ],
)
def test_headers_that_make_no_sense_are_no_parts(header: str) -> None:
    pdu = DeliverSm(esm_class=0x40, short_message=bytes.fromhex(header) + b"Hi")
    assert concatenation(pdu) is None


def test_concatenation_stands_beside_other_elements() -> None:
    pdu = DeliverSm(esm_class=0x40, short_message=bytes.fromhex("0b 0504 158a 0000 0003 07 02 01") + b"Hi")
    found = concatenation(pdu)
    assert found is not None
    assert (found.reference, found.parts, found.part) == (7, 2, 1)


def test_a_character_that_spans_two_parts_is_read_whole() -> None:
    """Other senders do cut inside a surrogate pair."""
    octets = "🎁".encode("utf-16-be")
    parts = [
        DeliverSm(esm_class=0x40, data_coding=8, short_message=bytes((5, 0, 3, 7, 2, part)) + half)
        for part, half in ((1, octets[:2]), (2, octets[2:]))
    ]
    assert text_of(parts) == "🎁"


def test_parts_of_two_codings_are_each_read_in_their_own() -> None:
    parts = (DeliverSm(short_message=b"Hi "), DeliverSm(data_coding=8, short_message=b"\x044"))
    assert text_of(parts) == "Hi д"
