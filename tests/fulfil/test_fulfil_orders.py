"""Orders and their end: exactly what was offered, settled once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.domain.inputs import Fulfilment
from kairos.domain.message import Order
from kairos.domain.subscriber import SCHEMA, OpenOffer, State
from kairos.fulfil import INSUFFICIENT_FUNDS, order, settle
from kairos.playbook.playbook import ANSWERS

NOW = 1_772_625_600_000
MSISDN = "12025550123"


def offer(key: str = "k1", status: str = "accepted", **changes: Any) -> OpenOffer:
    known: dict[str, Any] = {
        "number": 1,
        "key": key,
        "decision": 1,
        "action": "booster",
        "variant": "small",
        "kind": "sell",
        "title": "500 MB for 1 day",
        "price": 1050,
        "product": "DATA500_1D",
        "charges": True,
        "language": "en",
        "short_code": "5000",
        "channel": "sms",
        "made": NOW - 1000,
        "expires": NOW + 1000,
        "after_decline": 0,
        "status": status,
    }
    return OpenOffer(**(known | changes))


def fulfilment(status: str = "done", reason: str = "", key: str = "k1") -> Fulfilment:
    return Fulfilment(7, 1, key, status, NOW, reason)


def state(*offers: OpenOffer) -> State:
    return State(SCHEMA, 1, MSISDN, "", 0, offers=list(offers))


def test_an_order_is_what_was_offered() -> None:
    assert order(offer(), MSISDN, "XTS") == Order(
        "k1", MSISDN, "DATA500_1D", 1050, "XTS", charges=True, action="booster", variant="small"
    )
    assert order(offer(charges=False, price=0), MSISDN, "XTS").charges is False


@pytest.mark.parametrize(
    ("status", "reason", "answer", "after"),
    [
        ("done", "", "confirmed", "fulfilled"),
        ("done", "whatever", "confirmed", "fulfilled"),
        ("refused", INSUFFICIENT_FUNDS, "refused_funds", "refused"),
        ("refused", "not_in_this_plan", "refused", "refused"),
        ("refused", "", "refused", "refused"),
    ],
)
def test_settling(status: str, reason: str, answer: str, after: str) -> None:
    held = state(offer("k0"), offer(), offer("k2", "open"))
    settled = settle(held, fulfilment(status, reason), NOW)
    assert settled is not None
    assert (settled.answer, settled.offer.status, settled.offer.changed) == (answer, after, NOW)
    assert settled.answer in ANSWERS
    assert held.offers == [offer("k0"), settled.offer, offer("k2", "open")]


@pytest.mark.parametrize("status", ["open", "fulfilled", "refused", "declined", "expired", "withdrawn"])
def test_only_an_accepted_offer_is_settled(status: str) -> None:
    held = state(offer(status=status))
    assert settle(held, fulfilment(), NOW) is None
    assert held.offers == [offer(status=status)]


def test_an_offer_that_is_not_there_is_not_settled() -> None:
    assert settle(state(), fulfilment(), NOW) is None
    assert settle(state(offer()), fulfilment(key="another"), NOW) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["done", "refused"]), st.sampled_from(["", INSUFFICIENT_FUNDS, "x"])), min_size=1
    )
)
@settings(deadline=None, max_examples=50)
def test_the_first_answer_stays(answers: list[tuple[str, str]]) -> None:
    held = state(offer())
    settled = [settle(held, fulfilment(status, reason), NOW + at) for at, (status, reason) in enumerate(answers)]
    assert settled[0] is not None
    assert settled[1:] == [None] * (len(answers) - 1)
    assert held.offers == [settled[0].offer]
