"""The charging system in steps, and what can go wrong at its door: by the ledger, and over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ahead import ahead

from kairos.simulate.ocs import Ocs, OrderRequest
from kairos.simulate.ocs_door import FAULTS, OrderDoor
from kairos.simulate.subscribers import population

NOW = 1_800_000_000_000
ONE, OTHER, *_ = [one.msisdn for one in population(4, seed=3)]
DATA = "MARKET_DATA500_1D"


def request(**changes: Any) -> OrderRequest:
    known: dict[str, Any] = {
        "msisdn": ONE,
        "product": DATA,
        "price": "1.00",
        "currency": "XTS",
        "charge": True,
        "purchase": "k",
    }
    return OrderRequest(**(known | changes))


def rich() -> Ocs:
    ocs = Ocs(population(4, seed=3), lambda: NOW)
    for msisdn in (ONE, OTHER):
        ocs.accounts[msisdn].main = ocs.accounts[msisdn].opening = 150
    return ocs


def test_a_purchase_in_steps_charges_once_and_holds_what_it_reserved() -> None:
    ocs = rich()
    assert ocs.call("reserve", "k.1", request()).status == 200
    assert ocs.call("reserve", "j.1", request(purchase="j")).reason == "insufficient_funds"
    assert ocs.accounts[ONE].main == 150
    for _ in range(2):
        assert ocs.call("charge", "k.2", request()).status == 200
        assert ocs.call("provision", "k.3", request()).status == 200
        assert ocs.call("confirm", "k.4", request()).status == 200
    assert (ocs.accounts[ONE].main, ocs.accounts[ONE].passes) == (50, [DATA])
    assert (ocs.orders["k"].done, ocs.orders["k"].charged, ocs.charges_repeated()) == (True, 100, 0)
    assert ocs.unbalanced() == []


def test_everything_that_was_done_can_be_undone_once() -> None:
    ocs = rich()
    ocs.call("charge", "k.2", request())
    ocs.call("provision", "k.3", request())
    before = ocs.accounts[ONE].data_kb
    for _ in range(2):
        ocs.call("deprovision", "k.-3", request(undoes="k.3"))
        ocs.call("refund", "k.-2", request(undoes="k.2"))
    assert (ocs.accounts[ONE].main, ocs.accounts[ONE].passes) == (150, [])
    assert ocs.accounts[ONE].data_kb == before - 500_000
    assert ocs.charges()["k"] == 0
    assert ocs.unbalanced() == []


def test_what_never_was_is_undone_without_effect() -> None:
    ocs = rich()
    for step in ("release", "refund", "deprovision"):
        assert ocs.call(step, f"k.{step}", request(undoes="k.never")).status == 200
    assert (ocs.accounts[ONE].main, ocs.entries) == (150, [])


def test_a_gift_is_charged_at_its_payer() -> None:
    ocs = rich()
    ocs.order("a", request(payer=OTHER))
    ocs.order("b", request(payer="promotions", price="99.00"))
    assert (ocs.accounts[ONE].main, ocs.accounts[OTHER].main, ocs.sponsors["promotions"]) == (150, 50, -9900)
    assert ocs.accounts[ONE].passes == [DATA, DATA]


def test_a_counterpart_that_does_not_honour_keys_is_caught() -> None:
    ocs = rich()
    ocs.honours_keys = False
    ocs.order("a", request(price="0.10"))
    ocs.order("a", request(price="0.10"))
    assert ocs.charges_repeated() == 1
    assert ocs.unbalanced() == ["a"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["reserve", "charge", "provision", "confirm"]), st.integers(0, 2))))
def test_money_is_conserved_in_steps(steps: list[tuple[str, int]]) -> None:
    ocs = rich()
    for step, purchase in steps:
        ocs.call(step, f"{purchase}.{step}", request(purchase=str(purchase), price="0.60"))
        account = ocs.accounts[ONE]
        assert account.main == 150 + sum(entry.amount for entry in ocs.entries) >= 0
    assert ocs.charges_repeated() == 0


@pytest.fixture
async def door() -> AsyncIterator[tuple[Ocs, OrderDoor, httpx.AsyncClient]]:
    ocs = rich()
    opened = OrderDoor(ocs)
    opened.faults.late = 10 * PATIENCE
    await opened.start()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{opened.port}/v1", trust_env=False, timeout=PATIENCE
    ) as http:
        yield ocs, opened, http
    await opened.stop()


PATIENCE = 30.0  # seconds
BODY = {"msisdn": ONE, "product": DATA, "price": "0.10", "currency": "XTS", "charge": True, "purchase": "k"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_does_what_it_says(fault: str, door: tuple[Ocs, OrderDoor, httpx.AsyncClient]) -> None:
    ocs, opened, http = door
    opened.faults.coming["charge"].append(fault)

    async def nobody_waits_any_more(step: str, when: str) -> None:
        if (fault, when) == ("late", "after"):
            ahead(PATIENCE)

    opened.faults.when = nobody_waits_any_more
    try:
        status = (await http.post("/orders/charge", json=BODY, headers={"Idempotency-Key": "k.1"})).status_code
    except httpx.TimeoutException:
        status = -1
    except httpx.HTTPError:
        status = 0
    said = {"error": 500, "ignored": 0, "late": -1, "lost": 0, "error_after": 500, "twice": 200, "pending": 202}
    assert status == said[fault]
    done = fault not in ("error", "ignored")
    assert len(ocs.entries) == done
    asked = await http.get("/orders/charge/k.1")
    assert (asked.status_code, asked.json()) == (
        (200, {"status": "done"}) if done else (404, {"reason": "unknown_key"})
    )
    assert opened.faults.happened == {("charge", fault): 1}
    assert (await http.post("/orders/charge", json=BODY, headers={"Idempotency-Key": "k.1"})).status_code == 200
    assert len(ocs.entries) == 1
    ahead(opened.faults.late)  # it is answered


async def test_what_was_refused_can_be_asked_for(door: tuple[Ocs, OrderDoor, httpx.AsyncClient]) -> None:
    ocs, _, http = door
    assert (
        await http.post("/orders", json=BODY | {"price": "9.00"}, headers={"Idempotency-Key": "a~2"})
    ).status_code == 402
    answer = await http.get("/orders/a~2")
    assert (answer.status_code, answer.json()) == (200, {"status": "refused", "reason": "insufficient_funds"})
    assert (await http.post("/orders/pay", json=BODY, headers={"Idempotency-Key": "b"})).status_code == 404
    assert ocs.orders.keys() == {"a~2"}
