"""Prices that include tax, and that a coin can pay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.domain.message import Text
from kairos.domain.subscriber import Bucket
from kairos.errors import PlaybookError
from kairos.playbook import read

CURRENCY = "currency: {code: XTS, digits: 2, sign: T$}"
LINE = "booster_line:\n  en:\n"


def changed(texts: dict[str, str], *, playbook: str = "", currency: str = "", offer: str = "", line: str = "") -> Any:
    made = dict(texts)
    made["playbook.yaml"] = made["playbook.yaml"].replace(CURRENCY, currency or CURRENCY) + playbook
    made["offers/booster.yaml"] += offer
    if line:
        made["messages.yaml"] = made["messages.yaml"].replace(LINE, f'{LINE}    - "{line}"\n')
    return made


@pytest.mark.parametrize(
    ("playbook", "offer", "rate"),
    [("", "", 0), ("tax: 15%", "", 150_000), ("tax: 15%", "tax: 7.5%", 75_000), ("tax: 15%", "tax: 0%", 0)],
)
def test_an_offers_rate_is_its_own_or_the_playbooks(
    texts: dict[str, str], playbook: str, offer: str, rate: int
) -> None:
    actions = read(changed(texts, playbook=playbook, offer=offer)).actions
    assert next(action for action in actions if action.name == "booster").tax == rate


def test_messages_say_the_parts_of_the_price_as_it_was_offered(
    bench_with: Callable[..., Any], texts: dict[str, str]
) -> None:
    line = "Running low on data? {title} for just {price} ({net} and {tax} tax), until {expires}. Reply {number}."
    made = changed(texts, playbook="tax: 15%", line=line)
    made["messages.yaml"] = made["messages.yaml"].replace('"Done: {title} for {price}."', '"{title}: {net} + {tax}."')
    bench = bench_with(made)
    bench.profile()
    balances = [Bucket("main", 100_000), Bucket("data", 1000, bench.now + 86_400_000)]
    work = bench.apply(bench.event("end_of_call", notification="x", service="data", cost=1, balances=balances))
    (text,) = [msgspec.msgpack.decode(row.payload, type=Text).text for row in work.batch.outgoing]
    assert "for just T$45 (T$39.13 and T$5.87 tax)" in text
    assert bench.state().offers[0].tax == 587


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"playbook": "tax: 15"}, "`15` is no rate; write it as in `15%` or `7.5%`, from 0% to below 100%"),
        ({"offer": "tax: 100%"}, "`100%` is no rate"),
        ({"offer": "tax: -1%"}, "`-1%` is no rate"),
        ({"line": "{price}, of which tax {tax}"}, "`{tax}` has no value: `booster` has no tax"),
        (
            {"currency": "currency: {code: XTS, digits: 2, sign: T$, rounding: 20}"},
            "`10` is no multiple of T$20; the nearest one is 20",
        ),
        ({"currency": "currency: {code: XTS, rounding: 0}"}, "`rounding` is 0"),
        ({"currency": "currency: {code: XTS, digits: 0, rounding: 0.5}"}, "`0.5` has more than 0 decimals"),
    ],
)
def test_what_is_wrong_is_said(texts: dict[str, str], change: dict[str, str], message: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        read(changed(texts, **change))
    assert message in str(caught.value)


@pytest.mark.parametrize("digits", [0, 2, 3])
def test_prices_in_currencies_of_every_size(texts: dict[str, str], digits: int) -> None:
    made = changed(texts, currency=f"currency: {{code: XTS, digits: {digits}, sign: T$, rounding: 5}}")
    (booster,) = [action for action in read(made).actions if action.name == "booster"]
    assert [variant.price for variant in booster.variants] == [10 * 10**digits, 45 * 10**digits]
