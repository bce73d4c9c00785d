"""Amounts are exact, whatever is written."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.domain.money import Currency, parse_exact


@pytest.mark.parametrize(
    ("text", "digits", "amount"),
    [
        ("12.50", 2, 1250),
        ("-0.35", 2, -35),
        ("7", 2, 700),
        (" 1.500 ", 2, 150),
        (".5", 1, 5),
        ("3.", 0, 3),
        ("+1", 0, 1),
    ],
)
def test_what_is_read(text: str, digits: int, amount: int) -> None:
    assert parse_exact(text, digits) == amount


@pytest.mark.parametrize(
    "text", ["", "abc", "1e5", "1e99999999", "1e-99999999", "NaN", "1.001", "9" * 30, "1,5", "--1", "."]
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="`"):
        parse_exact(text, 2)


@given(st.integers(-(2**62), 2**62), st.integers(0, 6))
def test_every_amount_comes_back(amount: int, digits: int) -> None:
    text = format(Decimal(amount).scaleb(-digits), "f") if digits else str(amount)
    assert parse_exact(text, digits) == amount


@given(st.integers(-(10**12), 10**12), st.integers(0, 3))
def test_what_is_shown_is_what_is_read(amount: int, digits: int) -> None:
    currency = Currency("XTS", digits)
    assert currency.parse(currency.show(amount)) == amount
