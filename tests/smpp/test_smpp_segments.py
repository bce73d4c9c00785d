"""Cutting texts, and putting the parts of different people's messages together without mixing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.smpp import (
    Assembled,
    DataSm,
    DeliverSm,
    Encoding,
    Reassembler,
    Segment,
    SubmitSm,
    TextError,
    concatenation,
    decode,
    message_bytes,
    split,
    tlvs,
)

ANN, BOB, CODE = "15550100", "15550101", "4040"
mixed = st.text(st.sampled_from("a€[д🎁é \n"), max_size=700)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def delivered(segment: Segment, source: str = ANN, destination: str = CODE) -> DeliverSm:
    return DeliverSm(
        source_addr=source,
        destination_addr=destination,
        esm_class=segment.esm_class | 0x03,  # as some gateways send it
        data_coding=segment.data_coding,
        short_message=segment.short_message,
    )


def delivered_by_sar(segment: Segment) -> DeliverSm:
    return DeliverSm(
        source_addr=ANN,
        destination_addr=CODE,
        data_coding=segment.data_coding,
        short_message=message_bytes(delivered(segment))[1],
        tlvs=tlvs(sar_msg_ref_num=7, sar_total_segments=segment.parts, sar_segment_seqnum=segment.part),
    )


def whole_texts(found: Sequence[Assembled]) -> list[str]:
    return [one.text() for one in found if one.complete]


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


@given(mixed, st.randoms(use_true_random=False), st.booleans())
@settings(deadline=None)
def test_any_order_and_repeats_give_the_text_once(text: str, rng: object, wide: bool) -> None:
    parts = [delivered(one) for one in split(text, 7, wide=wide)]
    parts += parts[:2] if len(parts) > 1 else []
    rng.shuffle(parts)  # type: ignore[attr-defined]
    reassembler = Reassembler(60, Clock())
    found = [text for pdu in parts for text in whole_texts(reassembler.add("bind", pdu))]
    assert found == [text]
    assert len(reassembler) == 0


@given(st.lists(st.integers(0, 5), min_size=30, max_size=60))
@settings(deadline=None)
def test_the_same_reference_of_others_never_mixes(turns: list[int]) -> None:
    """Two people, two binds, two codes, all with reference 7, in any interleaving."""
    reassembler = Reassembler(60, Clock())
    ways = [("x", ANN, CODE), ("x", BOB, CODE), ("y", ANN, CODE), ("x", ANN, "4041")]
    texts = [f"{number}" * 400 for number in range(4)]
    texts += ["w" * 400, "v" * 310]  # of other widths and sizes, from Ann on x
    waiting = [
        [(bind, delivered(one, source, code)) for one in split(text, 7)]
        for (bind, source, code), text in zip(ways, texts, strict=False)
    ]
    waiting.append([("x", delivered(one)) for one in split(texts[4], 7, wide=True)])
    waiting.append([("x", delivered_by_sar(one)) for one in split(texts[5], 7)])
    found = []
    for turn in [*turns, *(n for n in range(6) for _ in range(3))]:
        if waiting[turn]:
            bind, pdu = waiting[turn].pop()
            found += whole_texts(reassembler.add(bind, pdu))
    assert sorted(found) == sorted(texts)


def test_sar_tlvs_and_payload() -> None:
    reassembler = Reassembler(60, Clock())
    found: list[Assembled] = []
    for part, text in ((2, b"there"), (1, b"Hi ")):
        pdu = DataSm(
            source_addr=ANN,
            destination_addr=CODE,
            tlvs=tlvs(sar_msg_ref_num=7, sar_total_segments=2, sar_segment_seqnum=part, message_payload=text),
        )
        found += reassembler.add("bind", pdu)
    assert whole_texts(found) == ["Hi there"]


def test_what_is_whole_passes_at_once() -> None:
    reassembler = Reassembler(60, Clock())
    long = SubmitSm(tlvs=tlvs(message_payload=b"x" * 1000))
    assert reassembler.add("bind", long) == [Assembled((long,))]


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
    assert len(Reassembler(60, Clock()).add("bind", pdu)) == 1


def test_concatenation_stands_beside_other_elements() -> None:
    pdu = DeliverSm(esm_class=0x40, short_message=bytes.fromhex("0b 0504 158a 0000 0003 07 02 01") + b"Hi")
    found = concatenation(pdu)
    assert found is not None
    assert (found.reference, found.parts, found.part) == (7, 2, 1)


def test_time_is_over_for_what_stays_incomplete() -> None:
    clock = Clock()
    reassembler = Reassembler(60, clock)
    first, second = (delivered(one) for one in split("a" * 200, 7))
    assert reassembler.add("bind", first) == []
    clock.now = 59.9
    assert reassembler.expire() == []
    clock.now = 60.0
    assert reassembler.expire() == [Assembled((first,), complete=False)]
    assert reassembler.add("bind", second) == []  # begins anew: the first will not come back
    assert len(reassembler) == 1


def test_memory_is_bounded_and_nothing_is_lost() -> None:
    reassembler = Reassembler(60, Clock(), limit=10)
    left: list[Assembled] = []
    for number in range(100):
        left += reassembler.add("bind", delivered(split("a" * 200, number)[0], source=f"1555{number:04d}"))
        assert len(reassembler) <= 10
    assert [one.pdus[0].source_addr for one in left] == [f"1555{number:04d}" for number in range(90)]


def test_a_reference_that_is_used_again_starts_a_new_message() -> None:
    reassembler = Reassembler(60, Clock())
    old, new = split("old" * 80, 7), split("new" * 80, 7)
    assert reassembler.add("bind", delivered(old[0])) == []
    assert reassembler.add("bind", delivered(new[0])) == [Assembled((delivered(old[0]),), complete=False)]
    assert whole_texts(reassembler.add("bind", delivered(new[1]))) == ["new" * 80]
    assert reassembler.add("bind", delivered(new[1])) == []  # repeated after the end
    for part, expected in zip(old, ([], ["old" * 80]), strict=True):
        assert whole_texts(reassembler.add("bind", delivered(part))) == expected


def test_a_sender_that_never_changes_its_reference_and_begins_alike() -> None:
    """The parts that two such messages share must not be taken for repeats."""
    reassembler = Reassembler(60, Clock())
    head = "Dear customer, " * 21
    found = []
    for tail in ("one", "two", "three"):
        for number, one in enumerate(split(head[:306] + tail * 60, 7)):
            pdu = replace(delivered(one), sequence=number)
            found += whole_texts(reassembler.add("bind", pdu))
    assert found == [head[:306] + tail * 60 for tail in ("one", "two", "three")]
    assert len(reassembler) == 0


@given(st.lists(st.integers(1, 3), max_size=8))
@settings(deadline=None)
def test_any_repeats_of_a_finished_message_are_silent(repeats: list[int]) -> None:
    reassembler = Reassembler(60, Clock())
    old = [delivered(one) for one in split("old" * 130, 7)]
    new = [delivered(one) for one in split("new" * 130, 7)]
    found = [text for pdu in old for text in whole_texts(reassembler.add("bind", pdu))]
    for part in repeats:
        assert reassembler.add("bind", old[part - 1]) == []
    found += [text for pdu in new for text in whole_texts(reassembler.add("bind", pdu))]
    assert found == ["old" * 130, "new" * 130]


def test_what_was_finished_is_forgotten_in_time_and_number() -> None:
    clock = Clock()
    reassembler = Reassembler(60, clock, limit=4)
    for number in range(50):
        for one in split("a" * 200, number):
            reassembler.add("bind", delivered(one))
    assert len(reassembler._finished) <= 2
    clock.now = 61
    reassembler.expire()
    assert not reassembler._finished


def test_a_character_that_spans_two_parts_is_read_whole() -> None:
    """Other senders do cut inside a surrogate pair."""
    octets = "🎁".encode("utf-16-be")
    parts = [
        DeliverSm(esm_class=0x40, data_coding=8, short_message=bytes((5, 0, 3, 7, 2, part)) + half)
        for part, half in ((1, octets[:2]), (2, octets[2:]))
    ]
    reassembler = Reassembler(60, Clock())
    assert [text for pdu in parts for text in whole_texts(reassembler.add("bind", pdu))] == ["🎁"]


def test_parts_of_two_codings_are_each_read_in_their_own() -> None:
    parts = (DeliverSm(short_message=b"Hi "), DeliverSm(data_coding=8, short_message=b"\x044"))
    assert Assembled(parts).text() == "Hi д"
