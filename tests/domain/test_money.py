"""Amounts are exact, whatever is written."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.domain.money import WHOLE, Currency, divide, parse_exact, split_tax


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


AMOUNTS = st.integers(-(2**62), 2**62)
RATES = st.integers(0, WHOLE - 1)


@given(AMOUNTS, st.integers(1, 2**40))
def test_a_quotient_is_rounded_as_on_a_bill(numerator: int, denominator: int) -> None:
    rounded = divide(numerator, denominator)
    exact = Fraction(numerator, denominator)
    assert abs(rounded - exact) <= Fraction(1, 2)
    if abs(rounded - exact) == Fraction(1, 2):
        assert abs(rounded) > abs(exact)
    assert divide(-numerator, denominator) == -rounded


@given(st.integers(0, 2**62), RATES)
def test_net_and_tax_are_the_price(price: int, rate: int) -> None:
    net, tax = split_tax(price, rate)
    assert net + tax == price
    assert 0 <= tax <= price
    exact = Fraction(price * rate, WHOLE + rate)
    assert abs(tax - exact) <= Fraction(1, 2)
    assert abs(tax - Fraction(net * rate, WHOLE)) <= 1  # and so the tax on the net, to a minor unit


@pytest.mark.parametrize(
    ("price", "rate", "net", "tax"),
    [
        (1000, "15", 870, 130),  # 130.43...
        (120, "20", 100, 20),
        (3, "20", 2, 1),  # 0.5: a half goes up
        (1, "15", 1, 0),
        (0, "15", 0, 0),
        (999, "0", 999, 0),
        (10_750, "7.5", 10_000, 750),
    ],
)
def test_parts_of_prices(price: int, rate: str, net: int, tax: int) -> None:
    assert split_tax(price, parse_exact(rate, 4)) == (net, tax)


@given(st.integers(0, 10**9), RATES)
def test_a_price_made_of_net_and_tax_is_split_into_them_again(net: int, rate: int) -> None:
    tax = divide(net * rate, WHOLE)
    assert abs(split_tax(net + tax, rate)[1] - tax) <= 1


@given(AMOUNTS, st.integers(1, 1000))
def test_what_can_be_charged_is_the_nearest_multiple(amount: int, step: int) -> None:
    currency = Currency("XTS", 2, step=step)
    near = currency.chargeable(amount)
    assert near % step == 0
    assert abs(near - amount) * 2 <= step
    assert currency.chargeable(near) == near
    assert near == int((Decimal(amount) / step).quantize(0, ROUND_HALF_UP)) * step


@pytest.mark.parametrize(
    ("digits", "amount", "shown"),
    [
        (0, 1250, "¤1250"),
        (2, 1250, "¤12.50"),
        (3, 1250, "¤1.250"),
        (3, 2000, "¤2"),
        (3, 1, "¤0.001"),
        (2, -5, "-¤0.05"),
        (4, 10001, "¤1.0001"),
    ],
)
def test_currencies_of_every_size_are_shown(digits: int, amount: int, shown: str) -> None:
    assert Currency("XTS", digits, "¤").show(amount) == shown
