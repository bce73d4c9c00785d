"""GSM 03.38, UCS-2 and Latin-1, and what fits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.smpp import Encoding, TextError, decode, encode, encoding_of, measure, room
from kairos.smpp.text import BASIC, ESCAPE, EXTENSION

GSM = "".join(char for char in BASIC if char != "\x1b") + "".join(EXTENSION.values())


def test_the_tables_are_whole() -> None:
    assert len(BASIC) == 128
    assert len(set(GSM)) == 127 + 10


@pytest.mark.parametrize(
    ("char", "octets"),
    [  # TS 23.038, tables of 6.2.1 and 6.2.1.1, picked where national editors go wrong
        ("@", "00"),
        ("$", "02"),
        ("Ç", "09"),
        ("Δ", "10"),
        ("_", "11"),
        ("Ξ", "1a"),
        ("É", "1f"),
        (" ", "20"),
        ("¤", "24"),
        ("¡", "40"),
        ("Ä", "5b"),
        ("§", "5f"),
        ("¿", "60"),
        ("à", "7f"),
        ("\f", "1b0a"),
        ("^", "1b14"),
        ("{", "1b28"),
        ("}", "1b29"),
        ("\\", "1b2f"),
        ("[", "1b3c"),
        ("~", "1b3d"),
        ("]", "1b3e"),
        ("|", "1b40"),
        ("€", "1b65"),
    ],
)
def test_gsm_characters(char: str, octets: str) -> None:
    assert encode(char) == (0, bytes.fromhex(octets))
    assert decode(0, bytes.fromhex(octets)) == char


LANGUAGES = [
    ("Your call cost 0.35. Reply 1 for 500 MB.", Encoding.GSM7),
    ("Dein Guthaben beträgt 4,20 €. Größe zählt.", Encoding.GSM7),
    ("Il vous reste 12 Mo. À bientôt", Encoding.UCS2),
    ("Υπόλοιπο", Encoding.UCS2),
    ("ΔΦΓΛΩΠΨΣΘΞ", Encoding.GSM7),
    ("Баланс 12 руб.", Encoding.UCS2),
    ("رصيدك ١٢", Encoding.UCS2),
    ("शेष राशि", Encoding.UCS2),
    ("ยอดเงิน", Encoding.UCS2),
    ("Façade", Encoding.UCS2),
    ("Two emoji 🎁🎉", Encoding.UCS2),
    ("Salio lako ni 500/=", Encoding.GSM7),
]


@pytest.mark.parametrize(("text", "encoding"), LANGUAGES)
def test_languages(text: str, encoding: Encoding) -> None:
    data_coding, octets = encode(text)
    assert data_coding == encoding.data_coding
    assert decode(data_coding, octets) == text
    assert measure(text).encoding is encoding


def test_an_encoding_asked_for_is_kept_or_refused_by_character() -> None:
    assert encode("é", Encoding.LATIN1) == (3, b"\xe9")
    assert encode("a", Encoding.UCS2) == (8, b"\0a")
    with pytest.raises(TextError, match="`ж`"):
        encode("aж", Encoding.GSM7)
    with pytest.raises(TextError, match="`€`"):
        measure("5 €", Encoding.LATIN1)


@pytest.mark.parametrize(
    ("text", "units", "parts", "left"),
    [
        ("", 0, 1, 160),
        ("a" * 160, 160, 1, 0),
        ("a" * 161, 161, 2, 145),
        ("€" * 80, 160, 1, 0),
        ("a" * 152 + "€" + "a" * 10, 164, 2, 153 - 12),  # the escape moves to the second part whole
        ("a" * 306, 306, 2, 0),
        ("a" * 307, 307, 3, 152),
        ("д" * 70, 70, 1, 0),
        ("д" * 71, 71, 2, 63),
        ("🎁" * 35, 70, 1, 0),
        ("д" * 66 + "🎁" + "д" * 10, 78, 2, 67 - 12),
    ],
)
def test_measure(text: str, units: int, parts: int, left: int) -> None:
    measured = measure(text)
    assert (measured.units, measured.parts, measured.room) == (units, parts, left)


def test_wide_references_cost_a_unit_a_part() -> None:
    assert measure("a" * 306, wide=True).parts == 3
    assert measure("a" * 304, wide=True).room == 0
    assert room("a" * 200, 2, wide=True) == 104


def test_latin1_measures_in_octets() -> None:
    assert measure("é" * 141, Encoding.LATIN1).parts == 2
    assert measure("é" * 140, Encoding.LATIN1).room == 0


@pytest.mark.parametrize(
    ("data_coding", "encoding"),
    [
        (0x00, Encoding.GSM7),
        (0x01, Encoding.LATIN1),
        (0x02, None),
        (0x03, Encoding.LATIN1),
        (0x04, None),
        (0x08, Encoding.UCS2),
        (0x10, Encoding.GSM7),
        (0x18, Encoding.UCS2),
        (0x14, None),
        (0x20, None),
        (0xC8, Encoding.GSM7),
        (0xE0, Encoding.UCS2),
        (0xF0, Encoding.GSM7),
        (0xF5, None),
        (0x80, None),
    ],
)
def test_data_codings(data_coding: int, encoding: Encoding | None) -> None:
    assert encoding_of(data_coding) is encoding


def test_reading_what_should_not_be_there() -> None:
    assert decode(0, b"a\x1b") == "a "
    assert decode(0, b"\x1b\x1bA") == " A"
    assert decode(0, b"\x1bA") == "A"
    assert decode(0, b"\xe9") == "\ufffd"
    assert decode(0, b"\xe9", default=Encoding.LATIN1) == "é"
    assert decode(8, b"\x04") == "\ufffd"
    assert encode("\ud83d")[1] == b"\0?"


@given(st.text(st.sampled_from(GSM)))
@settings(deadline=None)
def test_gsm_texts_come_back(text: str) -> None:
    data_coding, octets = encode(text)
    assert data_coding == 0
    assert max(octets, default=0) < 128
    assert decode(0, octets) == text


@given(st.text())
@settings(deadline=None)
def test_any_text_comes_back(text: str) -> None:
    assert decode(*encode(text)) == text


@given(st.integers(0, 255), st.binary(max_size=80), st.sampled_from(Encoding))
@settings(deadline=None)
def test_any_octets_can_be_read(data_coding: int, octets: bytes, default: Encoding) -> None:
    assert isinstance(decode(data_coding, octets, default), str)


@given(st.text(st.sampled_from("ab€д🎁"), max_size=400), st.integers(1, 4))
@settings(deadline=None)
def test_room_is_what_can_follow(text: str, parts: int) -> None:
    left = room(text, parts)
    encoding = measure(text).encoding
    filler = "a" if encoding is Encoding.GSM7 else "д"
    if left >= 0 and text:
        assert measure(text + filler * left).parts <= parts
        assert measure(text + filler * (left + 1)).parts > parts
    elif text:
        assert measure(text).parts > parts


def test_the_escape_is_no_character() -> None:
    assert BASIC[ESCAPE] == "\x1b"
    assert encode("\x1b")[0] == 8
