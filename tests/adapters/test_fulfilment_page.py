"""docs/fulfilment.md shows the order as it is sent, and each answer as it is taken."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from kairos.adapters.extract import COLUMNS
from kairos.adapters.ocs import AT_ONCE, document, known, outcome
from kairos.domain.message import Order
from kairos.fulfil import FORWARD
from kairos.fulfil.ledger import MEANINGS

PAGE = (Path(__file__).parents[2] / "docs" / "fulfilment.md").read_text(encoding="utf-8")
ORDER = Order("5da2-4447", "447700900123", "DATA500_1D", 100, "XTS", True, "booster", "small")


def test_the_order_is_shown_as_it_is_sent() -> None:
    shown = re.search(r"^\{.*?\}$", PAGE, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert json.loads(shown[0]) == document(ORDER, 2)


def test_every_field_is_explained() -> None:
    whole = replace(ORDER, tax=13, payer="promotions", products=("A", "B"))
    assert document(whole, 2)["tax"] == "0.13"
    assert [name for name in document(whole, 2) if not re.search(rf"^\| .*`{name}`.* \|", PAGE, re.MULTILINE)] == []


@pytest.mark.parametrize(
    ("row", "statuses", "taken"),
    [
        ("2xx", (200, 201, 204), "done"),
        ("202", (202,), "unknown"),
        ("402", (402,), "refused"),
        ("other 4xx", (400, 403, 404, 409, 422), "refused"),
        ("401, 407, 408, 425, 429, 3xx, 503", (401, 407, 408, 425, 429, 302, 503), "retry"),
        ("other 5xx", (500, 502, 504), "unknown"),
    ],
)
def test_each_answer_is_taken_as_the_page_says(row: str, statuses: tuple[int, ...], taken: str) -> None:
    assert f"\n| {row}" in PAGE
    assert {outcome(status, b"").status for status in statuses} == {taken}


def test_what_is_asked_for_is_answered_as_the_page_says() -> None:
    rows = re.findall(r"^\| (\d{3})(?: `(.*?)`)?.*? \| `(done|refused|absent)`", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for status, body, taken in rows:
        assert known(int(status), body.encode()).status == taken


def test_every_step_is_explained() -> None:
    steps = [*FORWARD, "release", "refund", "deprovision"]
    assert [step for step in steps if not re.search(rf"^\| `{step}` \|", PAGE, re.MULTILINE)] == []


def test_every_difference_and_column_of_an_extract_is_explained() -> None:
    assert [kind for kind, means in MEANINGS.items() if f"| {kind} | {means} |" not in PAGE] == []
    assert [column for column in COLUMNS if f"\n| `{column}` |" not in PAGE.partition("## kairos reconcile")[2]] == []


def test_reasons_and_bounds_are_true() -> None:
    assert outcome(402, b"").reason == outcome(409, b'{"reason": "insufficient_funds"}').reason == "insufficient_funds"
    assert outcome(402, b'{"reason": "not_in_this_plan"}').reason == "not_in_this_plan"
    assert f"At most {AT_ONCE} orders" in PAGE
