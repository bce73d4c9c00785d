"""Which order belongs to which yes: tables for what must be told apart."""

from __future__ import annotations

import random

from kairos.simulate.figures import settle
from kairos.simulate.handsets import Answer, Handset, Meaning, Offer, Seen
from kairos.simulate.ocs import Balances, Order, OrderRequest, Recharge
from kairos.simulate.smsc import Arrival
from kairos.simulate.subscribers import population

NUMBER = "12025550100"
LEFT = Balances(0, 0, 0, 0, 0)


def yes(at: int, text: str = "T$1. Reply 1", meaning: Meaning = "accept", told: str = "It is active.") -> Answer:
    answer = Answer(NUMBER, meaning, at, Offer(NUMBER, text, "1", 0, "bundle", "", 0.0), None)
    if told:
        answer.answered.append(Seen(0.0, told, "answer"))
    return answer


def order(at: int, charged: int = 100, kind: str = "bundle", status: int = 200, reason: str = "") -> Order:
    request = OrderRequest(NUMBER, "P", "1.00", "XTS", True)
    return Order(f"k{at}", request, at, status, reason, kind, charged)


def test_each_yes_has_the_order_after_it() -> None:
    accepted, unasked = settle([yes(1), yes(5)], [order(2), order(6)], [])
    assert [one.order.at for one in accepted if one.order] == [2, 6]
    assert unasked == []


def test_an_order_before_any_yes_and_one_too_many_are_unasked() -> None:
    _, unasked = settle([yes(3)], [order(2), order(4), order(5)], [])
    assert [one.at for one in unasked] == [2, 5]


def test_the_price_decides_between_two_that_wait() -> None:
    accepted, _ = settle([yes(1, "T$2. Reply 1"), yes(1, "T$1. Reply 2")], [order(3, 100), order(3, 200)], [])
    assert [one.order.charged for one in accepted if one.order] == [200, 100]


def test_a_yes_that_was_refused_without_an_order_does_not_take_the_next_ones() -> None:
    refused = yes(1, told="Talk 60 costs T$1, and your balance is too low.")
    accepted, unasked = settle([refused, yes(5)], [order(6)], [])
    assert (accepted[0].reason, accepted[0].fulfilled, accepted[1].fulfilled) == ("insufficient_funds", False, True)
    assert unasked == []


def test_a_refused_order_counts_as_refused_once_the_subscriber_was_told() -> None:
    refusal = order(2, 0, status=402, reason="insufficient_funds")
    for told, reason in (("Your balance is too low.", "insufficient_funds"), ("", "")):
        (one,), _ = settle([yes(1, told=told)], [refusal], [])
        assert (one.fulfilled, one.reason) == (False, reason)


def test_an_answer_that_says_nothing_known_settles_nothing() -> None:
    (one,), _ = settle([yes(1, told="Have a nice day.")], [], [])
    assert (one.fulfilled, one.reason) == (False, "")


def test_a_promise_is_redeemed_by_a_recharge_and_not_by_a_reply() -> None:
    promise = order(9, 0, "top_up")
    accepted, unasked = settle([yes(1)], [promise], [])
    assert (accepted[0].order, unasked) == (None, [promise])
    recharge = Recharge(NUMBER, 500, 2, LEFT)
    accepted, unasked = settle([yes(2, meaning="recharge")], [promise], [recharge])
    assert (len(accepted), accepted[0].fulfilled, unasked) == (1, True, [])


def test_a_promise_taken_before_it_was_seen_is_still_a_yes_but_only_once() -> None:
    recharge = Recharge(NUMBER, 500, 2, LEFT)
    accepted, unasked = settle([], [order(3, 0, "top_up"), order(4, 0, "top_up")], [recharge])
    assert (len(accepted), accepted[0].fulfilled, len(unasked)) == (1, True, 1)


def test_of_offers_at_one_price_the_one_whose_answer_named_it_was_charged() -> None:
    """The first yes crossed a no, and took the no's answer for its own."""
    crossed = yes(1, "Talk 150min, T$1.50. Reply 2", told="All right, no Talk 150min for now.")
    taken = yes(5, "Data 1GB, T$1.50. Reply 7", told="Data 1GB is active. Price: T$1.50.")
    (first, second), _ = settle([crossed, taken], [order(6, 150)], [])
    assert (first.order, second.fulfilled) == (None, True)


def test_an_offer_on_a_screen_is_not_taken_for_another_at_its_price() -> None:
    handset = Handset(population(1, 1)[0], random.Random(1))
    night = "Your evenings online: 3GB until 6 in the morning for T$1.20. Reply 1 to take it."
    handset.receive(Arrival((), "5000", handset.msisdn, night, 0.0), {})
    games = handset.shown("Play on with 7 days of gaming data: Games Pass for T$1.20?", 1.0)
    handset.answer("accept", 1, games, None, "ussd")
    assert handset.read_reply("1")[0] == "accept", "the night is still to be had, and what it costs was asked for"
    assert handset.shown("3GB until 6 in the morning T$1.20", 2.0).text == night
