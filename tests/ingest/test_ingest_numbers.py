"""Phone numbers: many ways to write one, one way to keep it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.errors import EventError
from kairos.ingest import normalise


@pytest.mark.parametrize(
    ("written", "region", "msisdn"),
    [
        ("447700900123", "", "447700900123"),
        ("+447700900123", "", "447700900123"),
        ("+44 7700 900123", "", "447700900123"),
        ("+44 (0) 7700-900123", "", "447700900123"),
        (" 00447700900123 ", "", "447700900123"),
        ("00447700900123", "GB", "447700900123"),
        ("07700900123", "GB", "447700900123"),
        ("07700 900 123", "GB", "447700900123"),
        ("011447700900123", "US", "447700900123"),
        ("(202) 555-0123", "US", "12025550123"),
        ("+12025550123", "GB", "12025550123"),
        ("tel:+1-202-555-0123", "", "12025550123"),
    ],
)
def test_ways_to_write_a_number(written: str, region: str, msisdn: str) -> None:
    assert normalise(written, region) == msisdn


@pytest.mark.parametrize(
    "written",
    [
        "",
        "+",
        "anonymous",
        "07700900123",
        "+0",
        "12",
        "5000",
        "1" * 16,
        "1" * 5000,
        "+4477009001230000000",
        "+44 7700 900123 ext. 5",
    ],
)
def test_what_is_no_number_is_refused_in_the_senders_words(written: str) -> None:
    with pytest.raises(EventError, match="is not an international phone number") as error:
        normalise(written)
    assert f"`{written[:40]}`" in str(error.value)
    assert str(error.value).endswith("; write `+` and its country code first")  # no number, which a log would mask


def test_the_region_is_named() -> None:
    with pytest.raises(EventError, match="`12` is not a phone number in GB or an international one"):
        normalise("12", "GB")


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60), st.sampled_from(["", "GB", "US", "ZZ"]))
def test_any_text_gives_digits_or_a_clear_error(text: str, region: str) -> None:
    try:
        digits = normalise(text, region)
    except EventError:
        return
    assert digits.isascii()
    assert digits.isdigit()
    assert len(digits) <= 17
    assert normalise(f"+{digits}") == digits or len(digits) < 7
