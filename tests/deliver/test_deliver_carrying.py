"""An account's PDUs with another text: what changes, and that nothing else does."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.deliver import with_text
from kairos.smpp import Concatenation, SubmitSm, Tag, concatenation, encode, split, text_of, tlvs

LONG = "Your call cost T$0.35. " * 9  # two parts
CHANGING = {"data_coding", "esm_class", "short_message", "tlvs", "registered_delivery", "sequence"}


def message(text: str, form: str = "short_message", **values: Any) -> list[SubmitSm]:
    """A text as an account submits it, in one of the forms that there are."""
    if form in ("short_message", "message_payload"):
        coding, octets = encode(text)
        held = {"short_message": octets} if form == "short_message" else {"tlvs": tlvs(message_payload=octets)}
        return [SubmitSm(**{"data_coding": coding, **held, **values})]
    cut = [
        SubmitSm(data_coding=s.data_coding, esm_class=s.esm_class, short_message=s.short_message)
        for s in parts(text, form)
    ]
    if form != "sar":
        return [replace(pdu, **values) for pdu in cut]
    told = [concatenation(pdu) for pdu in cut]
    return [
        replace(
            pdu,
            esm_class=0,
            short_message=pdu.short_message[6:],
            tlvs=tlvs(sar_msg_ref_num=one.reference, sar_total_segments=one.parts, sar_segment_seqnum=one.part),
            **values,
        )
        for pdu, one in zip(cut, told, strict=True)
        if one
    ]


def parts(text: str, form: str) -> Any:
    return split(text, 300 if form == "udh16" else 44, wide=form == "udh16")


@pytest.mark.parametrize("form", ["short_message", "message_payload"])
def test_the_text_stays_in_the_form_in_which_it_came(form: str) -> None:
    (pdu,) = with_text(message("Ref 1", form), "Ref 1\nMore?", 9)
    assert text_of([pdu]) == "Ref 1\nMore?"
    assert bool(pdu.short_message) == (form == "short_message")


@pytest.mark.parametrize(
    ("coding", "octets", "text", "becomes"),
    [
        (0, b"Ref", "Ref\nEté", 0),
        (0, b"Ref", "Ref\nда", 8),
        (3, b"Ref", "Ref\nmore", 3),
        (3, b"Ref", "Ref\n" + "x" * 150, 0),  # fits one message in GSM-7 alone
        (3, b"Ref", "Ref\n€", 0),
        (1, b"Ref", "Ref\nmore", 1),
        (1, b"Ref", "Ref\nEté", 0),
        (8, "Ref".encode("utf-16-be"), "Ref\nmore", 8),
        (0x11, b"Ref", "Ref\nmore", 0x11),
        (0x11, b"Ref", "Ref\nда", 0x19),
        (0xF2, b"Ref", "Ref\nда", 0x1A),
    ],
)
def test_another_alphabet_only_where_the_text_needs_it_and_the_class_stays(
    coding: int, octets: bytes, text: str, becomes: int
) -> None:
    (pdu,) = with_text([SubmitSm(data_coding=coding, short_message=octets)], text, 9)
    assert pdu.data_coding == becomes
    assert text_of([pdu]) == text


@pytest.mark.parametrize(("form", "reference"), [("udh8", 44), ("udh16", 300), ("sar", 44)])
def test_parts_are_told_as_they_were_told(form: str, reference: int) -> None:
    came = message(LONG, form, registered_delivery=1)
    went = with_text(came, LONG + "x" * 153, 9)
    assert text_of(went) == LONG + "x" * 153
    assert [concatenation(pdu) for pdu in went] == [Concatenation(form, reference, 3, n) for n in (1, 2, 3)]
    assert [pdu.registered_delivery for pdu in went] == [1, 0, 1]


def test_one_message_that_gets_longer_takes_our_reference() -> None:
    went = with_text(message("Ref 1", esm_class=0x03), LONG, 0x1234)
    assert [concatenation(pdu) for pdu in went] == [Concatenation("udh8", 0x34, 2, n) for n in (1, 2)]
    assert {pdu.esm_class for pdu in went} == {0x43}


def test_a_long_message_that_gets_short_is_one() -> None:
    for form in ("udh8", "sar"):
        (pdu,) = with_text(message(LONG, form), "short", 9)
        assert concatenation(pdu) is None
        assert text_of([pdu]) == "short"


octet = st.integers(0, 255)
text_fields = st.text("abc019+", max_size=5)


@given(
    values=st.fixed_dictionaries(
        {
            "service_type": text_fields,
            "source_addr_ton": octet,
            "source_addr_npi": octet,
            "source_addr": text_fields,
            "dest_addr_ton": octet,
            "dest_addr_npi": octet,
            "destination_addr": text_fields,
            "protocol_id": octet,
            "priority_flag": octet,
            "schedule_delivery_time": text_fields,
            "validity_period": text_fields,
            "registered_delivery": octet,
            "replace_if_present_flag": octet,
            "sm_default_msg_id": octet,
        }
    ),
    esm_class=octet.map(lambda bits: bits & ~0x40),
    form=st.sampled_from(["short_message", "message_payload", "udh8", "udh16", "sar"]),
    more=st.text(min_size=1, max_size=300).filter(lambda text: text.isprintable()),
    others=st.lists(st.tuples(st.integers(0x1400, 0x3FFF), st.binary(max_size=9)), max_size=3),
)
def test_nothing_else_changes(values: dict[str, Any], esm_class: int, form: str, more: str, others: Any) -> None:
    text = LONG if form in ("udh8", "udh16", "sar") else "Ref 1"
    came = [
        replace(pdu, **values, esm_class=pdu.esm_class | esm_class, tlvs=(*others, *pdu.tlvs))
        for pdu in message(text, form)
    ]
    went = with_text(came, text + "\n" + more, 9)
    assert text_of(went) == text + "\n" + more
    for place, pdu in enumerate(went):
        before = came[min(place, len(came) - 1)]
        for field in fields(SubmitSm):
            if field.name not in CHANGING:
                assert getattr(pdu, field.name) == getattr(before, field.name), field.name
        assert pdu.esm_class | 0x40 == before.esm_class | 0x40
        between = len(came) <= place + 1 < len(went)
        assert pdu.registered_delivery == (0 if between else before.registered_delivery)
        told = {Tag.message_payload, Tag.sar_msg_ref_num, Tag.sar_total_segments, Tag.sar_segment_seqnum}
        assert [one for one in pdu.tlvs if one[0] not in told] == others
