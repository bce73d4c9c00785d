"""Purchases and their end: exactly what was offered, settled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from kairos.domain.message import Order
from kairos.domain.purchase import Purchase
from kairos.domain.subscriber import SCHEMA, OpenOffer, State
from kairos.fulfil import INSUFFICIENT_FUNDS, begin, order, settle, waiting
from kairos.playbook.playbook import ANSWERS, MAY_ANSWER

NOW = 1_772_625_600_000
MSISDN = "12025550123"
Make = Callable[..., OpenOffer]


def purchase(of: OpenOffer, *steps: str, **changes: Any) -> Purchase:
    return replace(begin(of, 1, MSISDN, "XTS", NOW, steps or ("order",)), **changes)


def first(made: Purchase) -> Order:
    step = waiting(made)
    assert step is not None
    return order(made, step)


def state(*offers: OpenOffer) -> State:
    return State(SCHEMA, 1, MSISDN, "", 0, offers=list(offers))


def test_an_order_is_what_was_offered(offer: Make) -> None:
    assert first(purchase(offer())) == Order(
        "k1", MSISDN, "DATA500_1D", 1050, "XTS", True, "booster", "small", purchase="k1"
    )
    assert first(purchase(offer(charges=False, price=0))).charges is False
    assert first(purchase(offer(attempt=3))).key == "k1~3"


def test_a_bundle_and_a_payer_go_with_the_order(offer: Make) -> None:
    asked = first(purchase(offer(products=("A", "B"), payer="promotions")))
    assert (asked.product, asked.products, asked.payer) == ("A", ("A", "B"), "promotions")


def test_the_tax_in_a_price_goes_wherever_the_price_goes(offer: Make) -> None:
    asked = [first(purchase(offer(tax=137), step)) for step in ("order", "charge", "provision", "confirm")]
    assert {(order.price, order.tax) for order in asked} == {(1050, 137)}


@pytest.mark.parametrize(
    ("of", "steps"),
    [
        ({}, ["k1.reserve", "k1.charge", "k1.provision1", "k1.confirm"]),
        ({"products": ("A", "B")}, ["k1.reserve", "k1.charge", "k1.provision1", "k1.provision2", "k1.confirm"]),
        ({"charges": False}, ["k1.provision1", "k1.confirm"]),
        ({"product": ""}, ["k1.reserve", "k1.charge", "k1.confirm"]),
        ({"attempt": 2}, ["k1~2.reserve", "k1~2.charge", "k1~2.provision1", "k1~2.confirm"]),
    ],
)
def test_the_steps_are_what_the_counterpart_has_and_the_offer_needs(
    offer: Make, of: dict[str, Any], steps: list[str]
) -> None:
    made = purchase(offer(**of), "reserve", "charge", "provision", "confirm")
    assert [step.key for step in made.steps] == steps
    assert [step.status for step in made.steps] == ["under_way"] + ["planned"] * (len(steps) - 1)


@pytest.mark.parametrize(
    ("status", "reason", "outcome", "answer", "after"),
    [
        ("done", "", "fulfilled", "confirmed", "fulfilled"),
        ("refused", INSUFFICIENT_FUNDS, "refused", "refused_funds", "unpaid"),
        ("refused", "not_in_this_plan", "refused", "refused", "refused"),
        ("refunded", "no_such_product", "refunded", "refunded", "refused"),
        ("reversed", "by hand", "reversed", "refunded", "refused"),
    ],
)
def test_settling(offer: Make, status: str, reason: str, outcome: str, answer: str, after: str) -> None:
    held = state(offer("k0"), offer(), offer("k2", "open"))
    ended = purchase(offer(), status=status, reason=reason)
    settled = settle(held, ended, NOW)
    assert settled is not None
    assert (settled.outcome, settled.answer, settled.offer.status) == (outcome, answer, after)
    assert settled.answer in (*ANSWERS, *MAY_ANSWER)
    assert held.offers == [offer("k0"), settled.offer, offer("k2", "open")]
    assert settle(held, ended, NOW) is None


@pytest.mark.parametrize("changes", [{"expires": NOW}, {"kind": "promise"}])
def test_what_is_over_cannot_be_taken_again_for_money(offer: Make, changes: dict[str, Any]) -> None:
    held = state(offer(**changes))
    settled = settle(held, purchase(offer(), status="refused", reason=INSUFFICIENT_FUNDS), NOW)
    assert settled is not None
    assert (settled.answer, settled.offer.status) == ("refused_funds", "refused")


@pytest.mark.parametrize("status", ["open", "fulfilled", "refused", "declined", "expired", "withdrawn"])
def test_only_an_accepted_offer_is_settled(offer: Make, status: str) -> None:
    held = state(offer(status=status))
    assert settle(held, purchase(offer(), status="done"), NOW) is None
    assert held.offers == [offer(status=status)]


def test_an_offer_that_is_not_there_is_not_settled(offer: Make) -> None:
    assert settle(state(), purchase(offer(), status="done"), NOW) is None
    assert settle(state(offer()), purchase(offer("another"), status="done"), NOW) is None
