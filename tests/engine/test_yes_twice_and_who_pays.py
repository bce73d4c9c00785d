"""A second yes and its proof; advances and what is owed; gifts that another pays; bundles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.domain.inputs import Change, Fulfilment, Reversal
from kairos.domain.message import Order, Text
from kairos.domain.subscriber import Bucket
from kairos.engine.work import Work
from kairos.errors import PlaybookError
from kairos.fulfil import FORWARD
from kairos.respond import CONFIRM_WITHIN, LEAST_GAP

DAY = 86_400_000
MORE = (
    'confirm: {en: "Reply {number} again to buy {title} for {price}."}\nrefunded: {en: "{title}: {price} is back."}\n'
)
QUESTION = "Reply 1 again to buy 2 GB for 7 days for T$45."


def orders(work: Work) -> list[Order]:
    return [msgspec.msgpack.decode(r.payload, type=Order) for r in work.batch.outgoing if r.channel == "ocs"]


def said(work: Work) -> list[str]:
    return [msgspec.msgpack.decode(r.payload, type=Text).text for r in work.batch.outgoing if r.channel == "sms"]


def answered(bench: Any, work: Work, status: str = "done") -> Work:
    row = next(row for row in work.batch.outgoing if row.channel == "ocs")
    key = msgspec.msgpack.decode(row.payload, type=Order).key
    settled: Work = bench.apply(Fulfilment(row.id, row.subscriber, key, status, bench.now, ""))
    return settled


def call(bench: Any, balance: int = 5000) -> Work:
    balances = [Bucket("main", balance), Bucket("data", 100_000, bench.now + DAY)]
    work: Work = bench.apply(
        bench.event("end_of_call", notification="hello", service="voice", cost=100, balances=balances)
    )
    return work


@pytest.fixture
def changed(bench_with: Callable[..., Any], texts: dict[str, str]) -> Callable[..., Any]:
    """A bench on the small playbook with words replaced in its files."""

    def build(*changes: tuple[str, str, str], **options: Any) -> Any:
        files = texts | {"messages.yaml": texts["messages.yaml"] + MORE}
        for file, old, new in changes:
            assert old in files[file]
            files[file] = files[file].replace(old, new)
        return bench_with(files, **options)

    return build


TWICE = ("offers/booster.yaml", "accept_within", "confirm: twice\naccept_within")
ABOVE = ("contact_policy.yaml", "holdout: 0%", "holdout: 0%\nconfirm_above: 44.99")


@pytest.mark.parametrize("why", [TWICE, ABOVE])
def test_the_second_yes_orders_and_both_are_kept(changed: Any, why: tuple[str, str, str]) -> None:
    bench = changed(why)
    bench.profile()
    call(bench)
    first = bench.apply(bench.reply("1"))
    assert (orders(first), said(first)) == ([], [QUESTION])
    bench.now += LEAST_GAP
    second = bench.apply(bench.reply(" Yes 1"))
    assert [order.price for order in orders(second)] == [4500]
    (purchase,) = bench.store.purchases("", 2)
    assert [(one.identity, one.text, one.at) for one in purchase.proof] == [
        ("reply/3", "1", bench.now - LEAST_GAP),
        ("reply/4", " Yes 1", bench.now),
    ]


def test_a_price_that_is_not_above_is_taken_at_once(changed: Any) -> None:
    bench = changed(("contact_policy.yaml", "holdout: 0%", "holdout: 0%\nconfirm_above: 45"))
    bench.profile()
    call(bench)
    assert orders(bench.apply(bench.reply("1")))


def test_the_first_yes_again_is_no_second_one(changed: Any) -> None:
    bench = changed(TWICE)
    bench.profile()
    call(bench)
    first = bench.reply("1")
    works = [bench.apply(first, bench.reply("1")), bench.apply(first)]
    bench.now += LEAST_GAP - 1
    works += [bench.apply(bench.reply("yes"))]
    assert [text for work in works for text in said(work)] == [QUESTION]
    assert not any(orders(work) for work in works)
    bench.now += 1  # after the first, not after the repeats
    assert orders(bench.apply(bench.reply("1")))


def test_a_second_yes_that_is_late_is_a_first_one(changed: Any) -> None:
    bench = changed(TWICE)
    bench.profile()
    call(bench)
    bench.apply(bench.reply("1"))
    bench.now += CONFIRM_WITHIN + 1
    assert said(bench.apply(bench.reply("1"))) == [QUESTION]
    bench.now += CONFIRM_WITHIN
    work = bench.apply(bench.reply("1"))
    assert orders(work)
    assert len(bench.store.purchases("", 1)[0].proof) == 2


def test_a_clock_that_goes_back_does_not_confirm(changed: Any) -> None:
    bench = changed(TWICE)
    bench.profile()
    call(bench)
    bench.apply(bench.reply("1"))
    bench.now -= 60_000
    assert said(bench.apply(bench.reply("1"))) == [QUESTION]


def test_a_decline_between_two_yeses_ends_it(changed: Any) -> None:
    bench = changed(TWICE)
    bench.profile()
    call(bench)
    bench.apply(bench.reply("1"))
    bench.now += LEAST_GAP
    bench.apply(bench.reply("no"))
    assert not orders(bench.apply(bench.reply("1")))


def test_another_attempt_after_want_of_money_asks_twice_again(changed: Any) -> None:
    bench = changed(TWICE)
    bench.profile()
    call(bench)
    bench.apply(bench.reply("1"))
    bench.now += LEAST_GAP
    taken = bench.apply(bench.reply("1"))
    (row,) = [row for row in taken.batch.outgoing if row.channel == "ocs"]
    bench.apply(Fulfilment(row.id, row.subscriber, orders(taken)[0].key, "refused", bench.now, "insufficient_funds"))
    bench.now += LEAST_GAP
    assert said(bench.apply(bench.reply("1"))) == [QUESTION]


def test_a_playbook_that_asks_twice_needs_the_question(bench_with: Any, texts: dict[str, str]) -> None:
    offer = texts["offers/booster.yaml"].replace(TWICE[1], TWICE[2])
    with pytest.raises(PlaybookError, match="`booster` asks for a second yes, and there is no message `confirm`"):
        bench_with({"offers/booster.yaml": offer})


ADVANCE = {
    "offers/credit.yaml": """
offer: credit
kind: advance
title: "Credit {size}"
issue: credit
product: CREDIT5
variants:
  five: {size: T$5, price: 5.50, value: 20}
answers: {end_of_call: 5 minutes}
relevant_when: {nearly empty: balance < 1}
treatments: {ride: {channel: notification, message: credit_line}}
accept_within: 24 hours
after_decline: 14 days
fulfil: {provision: product}
""",
    "offers/top_up.yaml": "",
}


@pytest.fixture
def lender(bench_with: Callable[..., Any], texts: dict[str, str]) -> Any:
    words = texts["vocabulary.yaml"].replace("recharge:     {amount: money}", "recharge: {amount: money, debt: money}")
    words = words.replace("attributes:\n", "attributes:\n  debt: {type: money, from: [recharge.debt], owed: yes}\n")
    lines = texts["messages.yaml"] + 'credit_line: {en: "Credit? Reply {number}."}\n'
    del texts["offers/top_up.yaml"]
    changes = ADVANCE | {"vocabulary.yaml": words, "messages.yaml": lines}
    changes["offers/top_up.yaml"] = texts["offers/hint.yaml"].replace("off_peak_hint", "other_hint")
    bench = bench_with(changes)
    bench.profile()
    return bench


def debt(bench: Any) -> Any:
    place = list(bench.program.playbook.vocabulary.attributes).index("debt")
    return bench.state().attributes[place]


def line(work: Work) -> str:
    (sent,) = [msgspec.msgpack.decode(r.payload, type=Text) for r in work.batch.outgoing if r.channel == "notification"]
    return sent.text.partition("\n")[2]


def test_an_advance_is_owed_and_nobody_who_owes_gets_another(lender: Any) -> None:
    assert line(call(lender, 50)) == "Credit? Reply 1."
    taken = lender.apply(lender.reply("1"))
    (order,) = orders(taken)
    assert (order.charges, order.price, order.product) == (False, 550, "CREDIT5")
    assert debt(lender) is None
    answered(lender, taken)
    assert debt(lender) == 550
    lender.now += 2 * DAY
    assert line(call(lender, 50)) == ""
    lender.apply(lender.event("recharge", amount=1000, debt=0))
    assert line(call(lender, 50)).startswith("Credit?")


def test_an_advance_that_is_reversed_is_not_owed(lender: Any) -> None:
    call(lender, 50)
    answered(lender, lender.apply(lender.reply("1")))
    key = lender.store.purchases("", 1)[0].key
    lender.apply(Reversal(key, lender.state().id, "reversed", lender.now))
    assert debt(lender) == 0


def test_an_advance_cannot_charge(bench_with: Any) -> None:
    offer = ADVANCE["offers/credit.yaml"].replace("{provision: product}", "{charge: price, provision: product}")
    with pytest.raises(PlaybookError, match="an advance cannot charge"):
        bench_with({"offers/credit.yaml": offer})


def test_a_gift_is_charged_at_its_payer_who_must_be_known(changed: Any) -> None:
    payer = ("offers/booster.yaml", "provision: product}", "provision: product, payer: {attribute: parent}}")
    words = ("vocabulary.yaml", "attributes:\n", "attributes:\n  parent: {type: text, from: [profile.parent]}\n")
    field = ("vocabulary.yaml", "{plan: text,", "{parent: text, plan: text,")
    bench = changed(payer, words, field)
    bench.profile()
    assert line(call(bench)) == ""
    bench.now += 1
    bench.profile(parent="+12025550177")
    assert line(call(bench)) != ""
    (order,) = orders(bench.apply(bench.reply("1")))
    assert (order.payer, order.msisdn) == ("12025550177", "12025550123")


def test_a_bundle_is_provisioned_whole_or_given_back(changed: Any) -> None:
    bundle = ("offers/booster.yaml", "large: DATA2G}", "large: [DATA2G, TALK60]}")
    bench = changed(bundle, steps=FORWARD)
    bench.profile()
    call(bench)
    work = bench.apply(bench.reply("1"))
    for _ in range(3):
        work = answered(bench, work)
    assert [(order.step, order.product) for order in orders(work)] == [("provision", "TALK60")]
    work = answered(bench, work, "refused")
    undone = []
    while orders(work):
        undone.append((orders(work)[0].step, orders(work)[0].product))
        work = answered(bench, work)
    assert undone == [("deprovision", "DATA2G"), ("refund", "DATA2G")]
    assert said(work) == ["2 GB for 7 days: T$45 is back."]


def test_a_bundle_in_one_call_names_all_its_products(changed: Any) -> None:
    bench = changed(("offers/booster.yaml", "large: DATA2G}", "large: [DATA2G, TALK60]}"))
    bench.profile()
    call(bench)
    taken = bench.apply(bench.reply("1"))
    assert orders(taken)[0].products == ("DATA2G", "TALK60")
    answered(bench, taken)
    assert [owned.product for owned in bench.state().products] == ["DATA2G", "TALK60"]


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("accept_within", "confirm: thrice\naccept_within", "unknown confirm `thrice`"),
        ("large: DATA2G}", "large: [DATA2G, DATA2G]}", "a bundle is a list of different products"),
        ("provision: product}", "provision: product, payer: {attribute: plon}}", "`plon` is no text attribute.*`plan`"),
        (
            "{charge: price, provision: product}",
            "{provision: product, payer: x}",
            "nobody pays for what is not charged",
        ),
    ],
)
def test_what_cannot_be_is_said(bench_with: Any, texts: dict[str, str], old: str, new: str, wrong: str) -> None:
    with pytest.raises(PlaybookError, match=wrong):
        bench_with({"offers/booster.yaml": texts["offers/booster.yaml"].replace(old, new)})


def advances(lender: Any) -> list[Any]:
    return [offer for offer in lender.state().offers if offer.kind == "advance"]


def test_who_has_come_to_owe_since_it_was_offered_gets_no_advance(lender: Any) -> None:
    call(lender, 50)
    lender.apply(lender.event("recharge", amount=100, debt=300))  # another way to credit, not ours
    refused = lender.apply(lender.reply("1"))
    assert (orders(refused), said(refused)) == ([], ["Sorry, Credit T$5 is not possible."])
    assert [(r.outcome, r.reason) for r in refused.batch.responses] == [("refused", "owes")]
    lender.now += 1
    lender.apply(lender.event("recharge", amount=1000, debt=0))
    assert orders(lender.apply(lender.reply("1")))


def test_one_advance_at_a_time_while_the_first_is_not_answered(bench_with: Callable[..., Any], lender: Any) -> None:
    files = dict(lender.program.playbook.texts)
    files["offers/more.yaml"] = files["offers/credit.yaml"].replace("offer: credit", "offer: more_credit")
    bench = bench_with(files)
    bench.profile()
    call(bench, 50)
    first = bench.apply(bench.reply("1"))
    bench.now += 1
    call(bench, 50)  # the other one is offered: nothing is owed yet
    assert [offer.status for offer in advances(bench)] == ["accepted", "open"]
    assert orders(bench.apply(bench.reply("2"))) == []
    answered(bench, first, "refused")
    assert orders(bench.apply(bench.reply("2")))


def test_a_sim_swap_keeps_an_advance_from_being_owed(bench_with: Callable[..., Any], lender: Any) -> None:
    policy = lender.program.playbook.texts["contact_policy.yaml"] + "after_sim_swap: 3 days\n"
    bench = bench_with(dict(lender.program.playbook.texts) | {"contact_policy.yaml": policy})
    bench.profile()
    call(bench, 50)
    bench.apply(Change("crm/1", "sim_swapped", "12025550123", bench.now))
    work = bench.apply(bench.reply("1"))
    assert orders(work) == []
    assert [(r.outcome, r.reason) for r in work.batch.responses] == [("refused", "sim_swapped")]


def test_a_part_of_an_advance_that_is_forgiven_is_not_owed(lender: Any) -> None:
    call(lender, 50)
    answered(lender, lender.apply(lender.reply("1")))
    key, subscriber = lender.store.purchases("", 1)[0].key, lender.state().id
    for amount, left in ((100, 450), (100, 450), (250, 300), (550, 0)):
        lender.apply(Reversal(key, subscriber, "reversed", lender.now, "", amount))
        assert debt(lender) == left


@pytest.mark.parametrize("offered_first", [True, False])
def test_a_gift_is_not_charged_at_a_number_that_is_another_persons_now(changed: Any, offered_first: bool) -> None:
    payer = ("offers/booster.yaml", "provision: product}", "provision: product, payer: {attribute: parent}}")
    words = ("vocabulary.yaml", "attributes:\n", "attributes:\n  parent: {type: text, from: [profile.parent]}\n")
    field = ("vocabulary.yaml", "{plan: text,", "{parent: text, plan: text,")
    bench = changed(payer, words, field)
    bench.profile(parent="+12025550177")
    bench.apply(bench.event("recharge", msisdn="12025550177", amount=1))
    bench.now += 1000
    recycled = Change("crm/1", "number_recycled", "12025550177", bench.now)
    if offered_first:
        call(bench)
        bench.apply(recycled)
    else:
        bench.apply(recycled)
        bench.now += 1
        call(bench)
    work = bench.apply(bench.reply("1"))
    assert (orders(work), [(r.outcome, r.reason) for r in work.batch.responses]) == (
        [],
        [("refused", "payer changed hands")],
    )
    bench.now += 2 * DAY
    bench.profile(parent="+12025550177")  # said anew: now it is whoever has it now
    call(bench)
    assert [order.payer for order in orders(bench.apply(bench.reply("yes")))] == ["12025550177"]
