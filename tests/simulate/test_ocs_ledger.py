"""The charging system's ledger: money is conserved, and an order has its effect once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.simulate.ocs import CONTENTS, TARIFF, Ocs, OrderRequest, product, read_amount, show
from kairos.simulate.ocs_door import OrderDoor
from kairos.simulate.subscribers import population

NOW = 1_800_000_000_000
PEOPLE = population(4, seed=3)
NUMBERS = [one.msisdn for one in PEOPLE]


def request(msisdn: str, price: str = "1.00", product: str = "MARKET_DATA500_1D", charge: bool = True) -> OrderRequest:
    return OrderRequest(msisdn, product, price, "XTS", charge)


STEPS: dict[str, Any] = {
    "use": st.tuples(st.sampled_from(NUMBERS), st.sampled_from(sorted(TARIFF)), st.integers(1, 50_000)),
    "recharge": st.tuples(st.sampled_from(NUMBERS), st.integers(1, 5_000)),
    "give_away": st.tuples(st.sampled_from(NUMBERS)),
    "order": st.tuples(
        st.integers(0, 9),
        st.sampled_from([*NUMBERS, "+" + NUMBERS[0], "15550100"]),
        st.integers(0, 3_000),
        st.booleans(),
    ),
}
DO: dict[str, Callable[..., Any]] = {
    "use": lambda ocs, msisdn, service, quantity: ocs.use(msisdn, service, quantity, "ref"),
    "recharge": lambda ocs, msisdn, amount: ocs.recharge(msisdn, amount),
    "give_away": lambda ocs, msisdn: ocs.give_away(msisdn),
    "order": lambda ocs, key, msisdn, price, charge: ocs.order(
        f"key-{key}", request(msisdn, show(price), charge=charge)
    ),
}
STEP = st.one_of(*(st.tuples(st.just(name), values) for name, values in STEPS.items()))


@settings(deadline=None, max_examples=150)
@given(st.lists(STEP, max_size=60))
def test_money_is_conserved_and_never_owed(steps: list[tuple[str, tuple[Any, ...]]]) -> None:
    ocs = Ocs(PEOPLE, lambda: NOW)
    for name, values in steps:
        DO[name](ocs, *values)
        assert all(
            account.main >= 0 and account.data_kb >= 0 and account.voice_min >= 0 for account in ocs.accounts.values()
        )
    for msisdn, account in ocs.accounts.items():
        entries = [entry for entry in ocs.entries if entry.msisdn == msisdn]
        assert account.main == account.opening + sum(entry.amount for entry in entries)
        assert [entry.balance for entry in entries[-1:]] in ([], [account.main])
    charged = sum(order.charged for order in ocs.orders.values())
    assert -charged == sum(entry.amount for entry in ocs.entries if entry.reason == "order")
    assert ocs.charges_repeated() == 0


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(0, 600))
def test_the_same_key_gets_the_same_answer_and_changes_nothing(keys: list[int], price: int) -> None:
    ocs = Ocs(PEOPLE, lambda: NOW)
    answers: dict[int, tuple[int, str]] = {}
    for key in keys:
        known, before = key in answers, ocs.balances(NUMBERS[0])
        order = ocs.order(str(key), request(NUMBERS[0], show(price)))
        assert answers.setdefault(key, (order.status, order.reason)) == (order.status, order.reason)
        assert not known or ocs.balances(NUMBERS[0]) == before
    assert {key: order.asked for key, order in ocs.orders.items()} == {str(key): keys.count(key) for key in answers}


def test_a_repeated_charge_would_be_seen() -> None:
    ocs = Ocs(PEOPLE, lambda: NOW)
    ocs.recharge(NUMBERS[0], 1000)
    ocs.order("a", request(NUMBERS[0]))
    ocs._book(NUMBERS[0], "order", -100, "a")
    assert ocs.charges_repeated() == 1


@pytest.mark.parametrize(
    ("wrong", "status", "reason"),
    [
        ({"msisdn": "12025550199"}, 422, "unknown_subscriber"),
        ({"product": "GOLD_1"}, 422, "unknown_product"),
        ({"currency": "XXX"}, 422, "unknown_currency"),
        ({"price": "1.005"}, 422, "bad_price"),
        ({"price": "-1"}, 422, "bad_price"),
        ({"price": "ten"}, 422, "bad_price"),
        ({"price": "NaN"}, 422, "bad_price"),
        ({"price": "99999.00"}, 402, "insufficient_funds"),
        ({"price": "99999.00", "charge": False}, 200, ""),
    ],
)
def test_an_order_is_refused_for_good_with_its_reason(wrong: dict[str, Any], status: int, reason: str) -> None:
    ocs = Ocs(PEOPLE, lambda: NOW)
    body: dict[str, Any] = {
        "msisdn": NUMBERS[0],
        "product": "CARE_X",
        "price": "0.01",
        "currency": "XTS",
        "charge": True,
    } | wrong
    order = ocs.order("k", OrderRequest(**body))
    assert (order.status, order.reason) == (status, reason)


def test_a_key_cannot_carry_another_order() -> None:
    ocs = Ocs(PEOPLE, lambda: NOW)
    ocs.recharge(NUMBERS[0], 1000)
    assert ocs.order("k", request(NUMBERS[0])).status == 200
    assert ocs.order("k", request(NUMBERS[0], "2.00")).reason == "idempotency_key_reused"
    assert len(ocs.entries) == 2


def test_use_takes_the_allowance_first_and_is_cut_off_with_the_money() -> None:
    ocs = Ocs(PEOPLE, lambda: NOW)
    account = ocs.accounts[NUMBERS[0]]
    account.main, account.voice_min, account.voice_until = 12, 3, NOW + 1
    used = ocs.use(NUMBERS[0], "voice", 20, "r")
    assert used is not None
    assert (used.quantity, used.cost, used.balances.main, used.balances.voice_min) == (5, 10, 2, 0)
    assert ocs.use(NUMBERS[0], "voice", 1, "r") is None


def test_what_is_over_is_gone() -> None:
    now = [NOW]
    ocs = Ocs(PEOPLE, lambda: now[0])
    ocs.order("k", request(NUMBERS[0], "0", charge=False))
    assert ocs.balances(NUMBERS[0]).data_kb >= 500_000
    now[0] += 100 * 3_600_000
    assert ocs.balances(NUMBERS[0]).data_kb == 0


def test_every_product_has_a_kind() -> None:
    assert all(product(one) is not None for one in CONTENTS)


@given(st.integers(0, 10**12))
def test_amounts_are_exact_on_the_wire(amount: int) -> None:
    assert read_amount(show(amount)) == amount


async def test_orders_over_http() -> None:
    ocs = Ocs(PEOPLE, lambda: NOW)
    ocs.recharge(NUMBERS[0], 1000)
    door = OrderDoor(ocs)
    await door.start()
    body = {"msisdn": NUMBERS[0], "product": "CONTENT_VIDEO_7D", "price": "2.00", "currency": "XTS", "charge": True}
    url = f"http://127.0.0.1:{door.port}/v1/orders"

    async def post(key: str, json: dict[str, Any]) -> tuple[int, dict[str, str]]:
        answer = await http.post(url, json=json, headers={"Idempotency-Key": key} if key else {})
        return answer.status_code, answer.json()

    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        assert await post("a", {**body, "action": "video_pass", "variant": "week"}) == (200, {"status": "done"})
        assert (await post("a", {**body, "action": "video_pass", "variant": "week"}))[0] == 200
        assert await post("b", {**body, "price": "500.00"}) == (402, {"reason": "insufficient_funds"})
        assert await post("", body) == (400, {"reason": "idempotency_key_missing"})
        assert (await post("c", {"msisdn": NUMBERS[0]}))[0] == 422
        ocs.out_of_service = True
        assert (await post("d", body))[0] == 503
        ocs.out_of_service = False
        assert (await post("d", body))[0] == 200
    await door.stop()
    assert {key: order.asked for key, order in ocs.orders.items()} == {"a": 2, "b": 1, "d": 1}
    assert sum(entry.amount for entry in ocs.entries if entry.reason == "order") == -400
