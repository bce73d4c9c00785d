"""Which language a subscriber is spoken to in, in which script, and how much room it takes."""

from __future__ import annotations

import pytest

from kairos.deliver import JOINT, Messages, compile_template
from kairos.smpp.text import Encoding, measure

BALKAN = ("en", "sr-Latn", "sr-Cyrl", "pt", "pt-BR", "zh-Hant")


@pytest.mark.parametrize(
    ("preferred", "spoken"),
    [
        ("pt-BR", "pt-BR"),
        ("pt-PT", "pt"),
        ("PT_br", "pt-BR"),
        ("pt-BR-x-old", "pt-BR"),
        ("sr-Cyrl", "sr-Cyrl"),
        ("sr-cyrl-RS", "sr-Cyrl"),
        ("sr_Latn_ME", "sr-Latn"),
        ("sr", "sr-Latn"),  # the first of its kinds
        ("sr-RS", "sr-Latn"),
        ("sr-Arab", "en"),  # a script that nobody asked for might not be read
        ("zh-Hans-CN", "en"),
        ("zh-TW", "zh-Hant"),
        ("srp", "en"),
        ("xx-YY", "en"),
        ("", "en"),
        ("-", "en"),
        ("sr-", "sr-Latn"),
    ],
)
def test_the_nearest_language_is_spoken(preferred: str, spoken: str) -> None:
    assert Messages(BALKAN, {}).language_for(preferred) == spoken


def test_a_kind_of_the_fallback_language_is_no_reason_to_fall_further() -> None:
    assert Messages(("fr", "en-GB", "en-US"), {}).language_for("en") == "en-GB"


ARABIC = "باقة 500 ميغا بسعر 10. أجب 1"
HEBREW = "\u200fחבילה 500MB ב-10. השב 1\u200f"
CYRILLIC = "Пакет 500 MB за 10. Одговорите 1"
EMOJI = "Data 500 MB \N{GRINNING FACE} reply 1"
LATIN = "Paket 500 MB za 10. Odgovorite 1"


@pytest.mark.parametrize(
    ("line", "notification", "fits"),
    [
        (LATIN, "x" * (160 - 1 - len(LATIN)), True),
        (LATIN, "x" * (160 - len(LATIN)), False),
        (CYRILLIC, "x" * (70 - 1 - len(CYRILLIC)), True),
        (CYRILLIC, "x" * (70 - len(CYRILLIC)), False),
        (ARABIC, "ا" * (70 - 1 - len(ARABIC)), True),
        (ARABIC, "ا" * (70 - len(ARABIC)), False),
        (HEBREW, "א" * (70 - 1 - len(HEBREW)), True),  # marks of direction are units like letters
        (HEBREW, "א" * (70 - len(HEBREW)), False),
        (EMOJI, "x" * (70 - 2 - len(EMOJI)), True),  # beyond the first plane: two units
        (EMOJI, "x" * (70 - 1 - len(EMOJI)), False),
        ("{" * 10, "x" * (160 - 1 - 20), True),  # of the GSM alphabet's second table: two units
        ("{" * 10, "x" * (160 - 20), False),
    ],
)
def test_a_line_fits_to_the_unit_in_every_script(line: str, notification: str, fits: bool) -> None:
    written = line.replace("{", "{{")
    messages = Messages(("en",), {"line": {"en": (compile_template(written),)}})
    whole = messages.line("line", "en", {}, notification)
    assert whole == (notification + JOINT + line if fits else None)
    assert (measure(notification + JOINT + line).parts == 1) is fits


def test_a_text_that_is_read_from_right_to_left_is_sent_as_it_was_written() -> None:
    messages = Messages(("he",), {"line": {"he": (compile_template(HEBREW.replace("10", "{price}")),)}})
    assert messages.text("line", "he", {"price": "10"}) == HEBREW
    assert measure(HEBREW).encoding is Encoding.UCS2
