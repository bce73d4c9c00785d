"""Purchases through the engine: steps one after another, compensation, another yes after want of money, reversals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.domain.inputs import Fulfilment, Reversal
from kairos.domain.message import Order, Outgoing, Text
from kairos.domain.purchase import Purchase
from kairos.domain.subscriber import Bucket
from kairos.engine.work import Work
from kairos.fulfil import FORWARD
from kairos.ports import Batch

DAY = 86_400_000


def orders(work: Work) -> list[Order]:
    return [msgspec.msgpack.decode(r.payload, type=Order) for r in work.batch.outgoing if r.channel == "ocs"]


def said(work: Work) -> list[str]:
    return [msgspec.msgpack.decode(r.payload, type=Text).text for r in work.batch.outgoing if r.channel == "sms"]


def offered(bench: Any) -> None:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    bench.profile()
    bench.apply(bench.event("end_of_call", notification="hello", service="voice", cost=100, balances=balances))


def answered(bench: Any, work: Work, status: str = "done", reason: str = "") -> Work:
    """The answer to the order that a work sent."""
    row: Outgoing = next(row for row in work.batch.outgoing if row.channel == "ocs")
    key = msgspec.msgpack.decode(row.payload, type=Order).key
    settled: Work = bench.apply(Fulfilment(row.id, row.subscriber, key, status, bench.now, reason))
    return settled


def kept(bench: Any) -> Purchase:
    (purchase,) = bench.store.purchases("", 2)
    assert isinstance(purchase, Purchase)
    return purchase


def outcomes(bench: Any) -> list[tuple[str, str]]:
    key = bench.store.purchases("", 1)[0].offer
    return [(response.outcome, response.reason) for response in bench.store.responses(key)]


@pytest.fixture
def stepped(bench_with: Callable[..., Any]) -> Any:
    bench = bench_with(steps=FORWARD)
    offered(bench)
    return bench


def test_the_simple_path_writes_one_order_and_one_record(bench: Any) -> None:
    offered(bench)
    taken = bench.apply(bench.reply("1"))
    assert len(taken.batch.outgoing) == len(taken.batch.purchases) == 1
    assert [one.status for one in bench.state().purchases] == ["under_way"]
    answered(bench, taken)
    assert (kept(bench).status, kept(bench).products, kept(bench).price) == ("done", ("DATA2G",), 4500)
    assert [one.text for one in kept(bench).proof] == ["1"]
    assert bench.state().purchases == []


def test_each_step_begins_when_the_one_before_is_kept(stepped: Any) -> None:
    work = stepped.apply(stepped.reply("1"))
    steps = []
    while orders(work):
        (order,) = orders(work)
        steps.append((order.step, order.key.removeprefix(order.purchase)))
        assert [step.name for step in kept(stepped).steps if step.status == "under_way"] == [order.step]
        work = answered(stepped, work)
    assert steps == [
        ("reserve", ".reserve"),
        ("charge", ".charge"),
        ("provision", ".provision1"),
        ("confirm", ".confirm"),
    ]
    assert said(work) == ["Done: 2 GB for 7 days for T$45."]
    assert outcomes(stepped) == [("accepted", ""), ("fulfilled", "")]
    assert stepped.state().products[-1].product == "DATA2G"


def test_news_that_comes_twice_moves_nothing(stepped: Any) -> None:
    work = stepped.apply(stepped.reply("1"))
    answered(stepped, work)
    again = answered(stepped, work)
    assert not again.batch.outgoing
    assert not again.batch.purchases


def test_what_cannot_be_provisioned_is_given_back_with_one_text(stepped: Any) -> None:
    work = stepped.apply(stepped.reply("1"))
    for _ in range(2):
        work = answered(stepped, work)
    work = answered(stepped, work, "unanswered", "HTTP 500")
    assert [(order.step, order.undoes.rpartition(".")[2]) for order in orders(work)] == [("deprovision", "provision1")]
    assert said(work) == []
    work = answered(stepped, work)
    assert [(order.step, order.undoes.rpartition(".")[2]) for order in orders(work)] == [("refund", "charge")]
    work = answered(stepped, work)
    assert said(work) == ["Sorry, 2 GB for 7 days is not possible."]
    assert outcomes(stepped) == [("accepted", ""), ("refunded", "HTTP 500")]
    assert (kept(stepped).status, stepped.state().offers[0].status) == ("refunded", "refused")


def test_a_call_without_an_answer_is_stuck_until_somebody_says_how_it_ended(bench: Any) -> None:
    offered(bench)
    taken = bench.apply(bench.reply("1"))
    stuck = answered(bench, taken, "unanswered", "no answer within 10 s")
    assert said(stuck) == []
    assert all(row.channel != "ocs" for row in bench.store.unsent(0, 10))
    assert (kept(bench).status, bench.engine.statistics.counts["stuck"]) == ("stuck", 1)
    assert outcomes(bench)[-1] == ("stuck", "no answer within 10 s")
    subscriber = bench.state().id
    told = bench.apply(Reversal(kept(bench).key, subscriber, "done", bench.now, "seen in the ledger"))
    assert said(told) == ["Done: 2 GB for 7 days for T$45."]
    assert kept(bench).status == "done"
    assert bench.apply(Reversal(kept(bench).key, subscriber, "done", bench.now)).answers[0].status == "duplicate"


def test_another_yes_after_want_of_money_is_another_purchase(bench: Any) -> None:
    offered(bench)
    first = bench.apply(bench.reply("1"))
    refused = answered(bench, first, "refused", "insufficient_funds")
    assert said(refused) == ["Not enough balance for 2 GB for 7 days."]
    second = bench.apply(bench.reply("1"), bench.reply("yes"))
    (one,), (two,) = orders(first), orders(second)
    assert two.key == f"{one.key}~2"
    assert said(second) == ["You have 2 GB for 7 days already."]
    assert not orders(answered(bench, first, "done"))  # the first is refused for ever
    assert said(answered(bench, second)) == ["Done: 2 GB for 7 days for T$45."]
    purchases = bench.store.purchases_of(one.key)
    assert [(purchase.status, purchase.key) for purchase in purchases] == [("refused", one.key), ("done", two.key)]


@pytest.mark.parametrize("why", ["time", "stop", "barred"])
def test_a_refused_offer_cannot_be_taken_again(bench: Any, why: str) -> None:
    offered(bench)
    answered(bench, bench.apply(bench.reply("1")), "refused", "barred" if why == "barred" else "insufficient_funds")
    if why == "time":
        bench.now += DAY
    if why == "stop":
        bench.apply(bench.reply("STOP"))
    again = bench.apply(bench.reply("1"))
    assert not orders(again)
    assert len(said(again)) == 1


def test_a_reversal_takes_the_sale_back_once(bench: Any) -> None:
    offered(bench)
    answered(bench, bench.apply(bench.reply("1")))
    reversal = Reversal(kept(bench).key, bench.state().id, "reversed", bench.now, "complaint 7")
    works = [bench.apply(reversal, reversal), bench.apply(reversal)]
    assert [answer.status for work in works for answer in work.answers] == ["applied", "duplicate", "duplicate"]
    assert outcomes(bench) == [("accepted", ""), ("fulfilled", ""), ("reversed", "complaint 7")]
    assert kept(bench).status == "reversed"
    assert bench.state().products == []
    assert said(bench.apply(bench.reply("1"))) == ["2 GB for 7 days has ended."]


@pytest.mark.parametrize("status", ["under_way", "refused"])
def test_only_what_was_done_can_be_reversed(bench: Any, status: str) -> None:
    offered(bench)
    taken = bench.apply(bench.reply("1"))
    if status == "refused":
        answered(bench, taken, "refused", "barred")
    told = bench.apply(Reversal(kept(bench).key, bench.state().id, "reversed", bench.now))
    assert told.answers[0].status == "rejected"
    assert f"is {status}" in told.answers[0].reason
    unknown = bench.apply(Reversal("nothing", bench.state().id, "reversed", bench.now))
    assert unknown.answers[0].status == "rejected"


def test_an_order_that_is_older_than_its_record_is_settled_all_the_same(bench: Any) -> None:
    offered(bench)
    taken = bench.apply(bench.reply("1"))
    state = bench.state()
    state.purchases = []
    bench.store._purchases.clear()
    bench.store.commit(Batch(states={state.id: msgspec.msgpack.encode(state)}))
    assert said(answered(bench, taken)) == ["Done: 2 GB for 7 days for T$45."]
    assert kept(bench).status == "done"


def test_a_purchase_ends_for_a_subscriber_who_is_not_there_any_more(stepped: Any) -> None:
    work = stepped.apply(stepped.reply("1"))
    state = stepped.state()
    state.purchases, state.offers = [], []  # the number has another owner
    stepped.store.commit(Batch(states={state.id: msgspec.msgpack.encode(state)}))
    for _ in range(4):
        work = answered(stepped, work)
    assert kept(stepped).status == "done"
    assert said(work) == []


def test_a_part_of_the_price_goes_back_and_the_rest_is_still_a_sale(bench: Any) -> None:
    offered(bench)
    answered(bench, bench.apply(bench.reply("1")))

    def told(amount: int) -> tuple[str, str]:
        news = Reversal(kept(bench).key, bench.state().id, "reversed", bench.now, "complaint 7", amount)
        answer = bench.apply(news).answers[0]
        return answer.status, answer.reason.removeprefix(f"purchase `{kept(bench).key}` ")

    assert told(1500) == ("applied", "")
    assert told(1500) == ("duplicate", "")
    assert told(1000) == ("rejected", "is done, and T$15 of T$45 went back: it cannot be T$10")
    assert told(4501) == ("rejected", "is done, and T$15 of T$45 went back: it cannot be T$45.01")
    assert outcomes(bench)[-1] == ("partly_reversed", "complaint 7")
    assert (kept(bench).status, kept(bench).kept) == ("done", 3000)
    assert [owned.product for owned in bench.state().products] == ["DATA2G"]
    assert bench.state().offers[0].status == "fulfilled"
    assert told(4500) == ("applied", "")
    assert (kept(bench).status, bench.state().products) == ("reversed", [])
    assert bench.engine.statistics.counts["reversed"] == bench.engine.statistics.counts["partly_reversed"] == 1


def test_what_can_still_be_taken_after_want_of_money_is_not_said_a_second_time(bench_with: Any, texts: Any) -> None:
    """Else both are taken after one top-up, whatever `repurchase` says."""
    bench = bench_with({"offers/booster.yaml": texts["offers/booster.yaml"] + "repurchase: never\n"})
    offered(bench)
    answered(bench, bench.apply(bench.reply("1")), "refused", "insufficient_funds")
    bench.now += 1
    offered(bench)
    assert [offer.status for offer in bench.state().offers] == ["unpaid"]
    bench.now += DAY
    offered(bench)
    assert [offer.status for offer in bench.state().offers] == ["unpaid", "open"]
