"""Numbers that change hands, SIMs that are swapped, persons who change their number, accounts with several numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos import enrich
from kairos.domain.event import Event
from kairos.domain.identity import Held, Party
from kairos.domain.inputs import Change, Delivery, Fulfilment
from kairos.domain.message import Order, Text
from kairos.domain.subscriber import Bucket, State
from kairos.engine.explain import Explainer
from kairos.engine.work import Work, decode_state
from kairos.fulfil import FORWARD

A, B, C = "12025550123", "12025550124", "12025550125"
HOUR, DAY = 3_600_000, 86_400_000
POLICY = """
contact_only_when: {marketing consent: marketing_consent}
limits:
  - {at_most: 2, per: 1 day, shared: yes, name: two a day for the account}
after_sim_swap: 3 days
"""


def change(bench: Any, kind: str, msisdn: str = A, *, number: str = "", at: int = 0, **named: str) -> Change:
    bench.serial += 1
    return Change(f"crm/{bench.serial}", kind, msisdn, at or bench.now, named, number)


def offered(bench: Any, msisdn: str = A, **named: str) -> Event:
    """An event after which the booster rides."""
    balances = [Bucket("main", 100_000), Bucket("data", 1000, bench.now + DAY)]
    event: Event = bench.event(
        "end_of_call", notification="x", msisdn=msisdn, service="data", cost=1, balances=balances
    )
    return msgspec.structs.replace(event, named=named or None)


def consenting(bench: Any, *msisdns: str) -> None:
    for msisdn in msisdns:
        known = {"plan": "prepaid", "language": "en", "marketing_consent": True}
        bench.apply(bench.event("profile", msisdn=msisdn, **known))


def by_id(bench: Any, id_: int) -> State:
    return decode_state(bench.store.load([], [id_]).states[id_])


def said(work: Work, channel: str) -> list[str]:
    rows = [row for row in work.batch.outgoing if row.channel == channel]
    return [msgspec.msgpack.decode(row.payload, type=Text).text for row in rows]


def orders(work: Work) -> int:
    return sum(row.channel == "ocs" for row in work.batch.outgoing)


def policed_bench(bench_with: Callable[..., Any]) -> Any:
    messages = bench_with().program.playbook.texts["messages.yaml"]
    messages += 'sim_changed: {en: "Your SIM is new: {title} cannot be bought yet."}\n'
    return bench_with({"contact_policy.yaml": POLICY, "messages.yaml": messages})


@pytest.fixture
def policed(bench_with: Callable[..., Any]) -> Any:
    bench = policed_bench(bench_with)
    consenting(bench, A)
    return bench


# --- recycling ----------------------------------------


def test_a_recycled_number_starts_empty(policed: Any) -> None:
    bench = policed
    bench.apply(offered(bench))
    old = bench.state()
    assert [offer.status for offer in old.offers] == ["open"]
    bench.now += HOUR
    work = bench.apply(change(bench, "number_recycled", imsi="001010000000002"))
    new = bench.state()
    assert new.id != old.id
    assert (set(new.attributes), new.offers, new.contacts) == ({None}, [], [])
    ended = by_id(bench, old.id)
    assert (ended.msisdn, ended.known and ended.known.ended) == ("", bench.now)
    assert [offer.status for offer in ended.offers] == ["withdrawn"]
    assert [(r.outcome, r.reason) for r in work.batch.responses] == [("withdrawn", "number_recycled")]
    assert bench.store.holders(A)[0].until == bench.now
    # without consent nothing is offered, and a reply to the old offer charges nobody
    assert said(bench.apply(offered(bench)), "notification") == ["x"]
    work = bench.apply(bench.reply("1"))
    assert (orders(work), said(work, "sms")) == (0, ["There is no open offer."])


def test_all_of_it_in_one_batch(policed: Any) -> None:
    bench = policed
    reply = bench.reply("yes")
    work = bench.apply(offered(bench), change(bench, "number_recycled"), reply, offered(bench), bench.reply("1"))
    assert orders(work) == 0
    assert said(work, "notification")[1] == "x"
    assert [answer.status for answer in work.answers] == ["applied"] * 5


def test_what_happened_before_belongs_to_the_old_subscription(policed: Any) -> None:
    bench = policed
    bench.apply(offered(bench))
    old = bench.state().id
    late_event = bench.event("recharge", amount=500)
    late_reply = bench.reply("1")
    bench.now += HOUR
    bench.apply(change(bench, "number_recycled"))
    work = bench.apply(late_event, late_reply)
    assert (orders(work), said(work, "sms")) == (0, [])  # nothing is said to the new owner
    assert enrich.counter_buckets(bench.state(), 0) == []
    assert enrich.counter_buckets(by_id(bench, old), 0)
    assert bench.state().seen != by_id(bench, old).seen


def test_in_flight_the_old_owner_is_still_found(policed: Any) -> None:
    bench = policed
    late = bench.event("recharge", amount=500)
    old = bench.state().id
    bench.now += HOUR
    first = bench.engine.apply([change(bench, "number_recycled")], bench.now)  # not yet committed
    second = bench.engine.apply([late, bench.event("recharge", amount=1)], bench.now)
    for work in (first, second):
        bench.store.commit(work.batch)
        bench.engine.flying.remove(work)
    assert enrich.counter_buckets(by_id(bench, old), 0)[1:] == [1]
    assert enrich.counter_buckets(bench.state(), 0)[1:] == [1]
    assert bench.state().id != old


def test_a_number_has_many_owners_one_after_the_other(policed: Any) -> None:
    bench = policed
    owners, dates = [bench.state().id], [bench.now]
    for _ in range(3):
        bench.now += DAY
        bench.apply(change(bench, "number_recycled"))
        owners.append(bench.state().id)
        dates.append(bench.now)
    assert [held.subscriber for held in bench.store.holders(A)] == owners
    for owner, date in zip(owners, dates, strict=True):
        bench.apply(msgspec.structs.replace(bench.event("recharge", amount=1), happened=date + HOUR))
        assert enrich.counter_buckets(by_id(bench, owner), 0)


def test_explain_says_who_had_the_number_and_when(policed: Any) -> None:
    bench = policed
    bench.store.save_playbook(bench.program.playbook.revision, "", bench.program.playbook.texts)
    explainer = Explainer(bench.store, lambda _texts: bench.program)
    bench.apply(offered(bench))
    first, old = explainer.latest(A), bench.state().id
    assert first
    assert explainer.decision(first[0]).held == ()  # type: ignore[union-attr]
    started = bench.store.holders(A)[0].since
    bench.now += HOUR
    bench.apply(change(bench, "number_recycled", imsi="001010000000002"))
    bench.apply(offered(bench))
    then, now = explainer.decision(first[0]), explainer.decision((explainer.latest("imsi:001010000000002") or [0])[0])
    assert then
    assert now
    assert (then.msisdn, then.ended, now.ended) == ("", bench.now, 0)
    assert now.held == (Held(old, started, bench.now), Held(bench.state().id, bench.now))


def test_a_disconnected_number_is_nobodys_until_it_is_used_again(policed: Any) -> None:
    bench = policed
    old = bench.state().id
    bench.now += HOUR
    assert bench.apply(change(bench, "number_disconnected")).answers[0].status == "applied"
    assert bench.store.load([A], []).subscribers == {A: 0}
    assert bench.apply(change(bench, "number_disconnected")).answers[0].status == "applied"  # nothing is left to end
    assert bench.apply(change(bench, "sim_swapped")).answers[0].reason == f"unknown subscriber `{A}`"
    bench.now += HOUR
    bench.apply(bench.event("recharge", amount=1))
    assert bench.state().id != old


def test_news_that_is_older_than_the_latest_change_is_refused(policed: Any) -> None:
    bench = policed
    bench.now += DAY
    bench.apply(change(bench, "number_recycled"))
    new = bench.state().id
    (answer,) = bench.apply(change(bench, "number_disconnected", at=bench.now - HOUR)).answers
    assert (answer.status, answer.reason) == ("rejected", f"`{A}` changed hands after that: it comes too late")
    assert bench.state().id == new


@pytest.mark.parametrize("kind", ["number_recycled", "number_assigned", "sim_swapped", "number_changed"])
def test_a_change_that_is_told_twice_happens_once(policed: Any, kind: str) -> None:
    bench = policed
    news = change(bench, kind, number=B if kind == "number_changed" else "", account="A-2")
    if kind == "number_changed":
        bench.apply(change(bench, "sim_swapped", imsi="001010000000009"))
        news = msgspec.structs.replace(news, msisdn="imsi:001010000000009")
    assert [answer.status for answer in bench.apply(news, news).answers] == ["applied", "duplicate"]
    before = bench.store.load([A, B], []).subscribers
    assert bench.apply(news).answers[0].status == "duplicate"
    assert bench.store.load([A, B], []).subscribers == before


def test_marketing_that_waits_for_an_old_number_is_dropped(policed: Any) -> None:
    bench = policed
    owner = bench.state().id

    def mark() -> str:
        mark = Delivery(1, owner, "sending", bench.now, destination=A)  # an advice: it carries no offer
        status: str = bench.apply(mark).answers[0].status
        return status

    assert mark() == "applied"
    bench.apply(change(bench, "number_changed", number=B))
    assert mark() == "dropped"


@pytest.mark.parametrize(
    ("known", "told", "new"),
    [
        ("A-1", {"account": "A-2"}, True),
        ("A-1", {"account": "A-1", "imsi": "001010000000002"}, False),
        ("A-1", {"imsi": "001010000000002"}, False),
        ("", {"account": "A-2"}, False),
    ],
)
def test_assigned_to_another_account_is_recycled(policed: Any, known: str, told: dict[str, str], new: bool) -> None:
    bench = policed
    if known:
        bench.apply(change(bench, "number_assigned", account=known, imsi="001010000000001"))
    before = bench.state()
    bench.now += HOUR
    bench.apply(msgspec.structs.replace(change(bench, "number_assigned"), named=told))
    after = bench.state()
    assert (after.id != before.id) is new
    assert after.known is not None
    assert bool(after.known.sim_changed) is (known != "" and not new)


def test_a_number_is_assigned_though_unknown_ones_are_rejected(bench_with: Callable[..., Any]) -> None:
    bench = bench_with(reject_unknown=True)
    assert bench.apply(bench.event("recharge", amount=1)).answers[0].status == "rejected"
    bench.apply(change(bench, "number_assigned"))
    assert bench.apply(bench.event("recharge", amount=1)).answers[0].status == "applied"


# --- names ----------------------------------------


def test_events_name_a_subscriber_by_imsi_or_account(policed: Any) -> None:
    bench = policed
    bench.apply(change(bench, "number_assigned", imsi="001010000000001", account="A-1", imei="35000000000001"))
    for name in ("imsi:001010000000001", "account:A-1"):
        assert bench.apply(bench.event("recharge", msisdn=name, amount=1)).answers[0].status == "applied"
    assert enrich.counter_buckets(bench.state(), 0)[1] == 2
    (answer,) = bench.apply(bench.event("recharge", msisdn="imsi:001010000000002", amount=1)).answers
    assert (answer.status, answer.reason) == ("rejected", "unknown subscriber `imsi:001010000000002`")
    assert bench.store.holders("imei:35000000000001") == [Held(bench.state().id, bench.now)]


def test_the_person_moves_with_their_number(policed: Any) -> None:
    bench = policed
    consenting(bench, B)
    other = bench.state(B).id
    bench.apply(offered(bench))
    mine = bench.state().id
    bench.now += HOUR
    late = msgspec.structs.replace(bench.event("recharge", amount=1), happened=bench.now - 1)
    bench.apply(change(bench, "number_changed", number=B))
    assert (bench.state(B).id, bench.state(B).msisdn) == (mine, B)
    assert by_id(bench, other).msisdn == ""
    assert bench.store.load([A], []).subscribers == {A: 0}
    bench.apply(late)
    assert enrich.counter_buckets(bench.state(B), 0)[1] == 1
    work = bench.apply(bench.reply("1", msisdn=B))
    assert orders(work) == 1


# --- SIM swaps ----------------------------------------


@pytest.mark.parametrize("seen", [True, False])
def test_a_sim_swap_keeps_a_yes_from_charging_for_a_while(policed: Any, seen: bool) -> None:
    bench = policed
    bench.apply(offered(bench, imsi="001010000000001"))
    assert not bench.state().known.sim_changed
    bench.now += 1000
    if seen:
        work = bench.apply(offered(bench, imsi="001010000000002"))
        assert said(work, "notification")  # notifications, and offers, go on
    else:
        bench.apply(change(bench, "sim_swapped", imsi="001010000000002"))
    swapped = bench.now
    work = bench.apply(bench.reply("1"))
    assert (orders(work), said(work, "sms")) == (0, ["Your SIM is new: 2 GB for 7 days cannot be bought yet."])
    assert [(r.outcome, r.reason) for r in work.batch.responses] == [("refused", "sim_swapped")]
    assert bench.state().known.sim_changed == swapped
    assert bench.store.load(["imsi:001010000000001"], []).subscribers == {"imsi:001010000000001": 0}
    bench.now = swapped + 3 * DAY
    bench.apply(offered(bench, imsi="001010000000002"))
    assert orders(bench.apply(bench.reply("yes"))) == 1


@pytest.mark.parametrize("after", [3 * DAY - 1, 3 * DAY])
def test_the_period_ends_to_the_millisecond(policed: Any, after: int) -> None:
    bench = policed
    bench.apply(change(bench, "sim_swapped"))
    bench.now += after - 1000
    bench.apply(offered(bench))
    bench.now += 1000
    assert orders(bench.apply(bench.reply("yes"))) == (after == 3 * DAY)


def test_an_imsi_from_before_the_swap_is_no_swap(policed: Any) -> None:
    bench = policed
    late = offered(bench, imsi="001010000000001")
    bench.now += HOUR
    bench.apply(offered(bench, imsi="001010000000002"))
    bench.apply(late)
    assert bench.state().known.sim_changed == 0
    assert bench.state().known.names["imsi"].value == "001010000000002"


def test_without_a_period_a_swap_matters_not(bench: Any) -> None:
    consenting(bench, A)
    bench.apply(change(bench, "sim_swapped"))
    bench.apply(offered(bench))
    assert orders(bench.apply(bench.reply("1"))) == 1


# --- accounts with several numbers ----------------------------------------


def riding(work: Work) -> list[bool]:
    return [text != "x" for text in said(work, "notification")]


def family(bench: Any, *msisdns: str) -> None:
    consenting(bench, *msisdns)
    for msisdn in msisdns:
        bench.apply(change(bench, "number_assigned", msisdn, account="A-1"))


@pytest.mark.parametrize("at_once", [True, False])
def test_the_numbers_of_an_account_share_limits(policed: Any, at_once: bool) -> None:
    bench = policed
    family(bench, A, B, C)
    events = [offered(bench, msisdn) for msisdn in (A, B, C)]
    works = [bench.apply(*events)] if at_once else [bench.apply(event) for event in events]
    assert [rode for work in works for rode in riding(work)] == [True, True, False]
    party = msgspec.msgpack.decode(bench.store.load([], [-bench.state().id]).states[-bench.state().id], type=Party)
    assert len(party.contacts) == 2
    assert party.members == [bench.state(msisdn).id for msisdn in (A, B, C)]
    bench.now += DAY
    assert riding(bench.apply(offered(bench, C))) == [True]


def test_in_flight_they_share_them_too(policed: Any) -> None:
    bench = policed
    family(bench, A, B, C)
    works = [bench.engine.apply([offered(bench, msisdn)], bench.now) for msisdn in (A, B, C)]
    assert [rode for work in works for rode in riding(work)] == [True, True, False]


def test_a_contact_that_never_went_out_is_given_back_to_all(policed: Any) -> None:
    bench = policed
    family(bench, A, B)
    bench.apply(offered(bench, A))
    work = bench.apply(offered(bench, B))
    decision = work.batch.decisions[0][0]
    offer = bench.state(B).offers[0].key
    news = Delivery(1, bench.state(B).id, "plain", bench.now, offer=offer, decision=decision, reason="too late")
    bench.apply(news)
    assert riding(bench.apply(offered(bench, B))) == [True]


def test_who_joins_brings_what_they_were_told(policed: Any) -> None:
    bench = policed
    consenting(bench, B)
    bench.apply(offered(bench, A), offered(bench, B))
    bench.apply(offered(bench, A, account="A-1"))
    bench.now += 1
    work = bench.apply(offered(bench, B, account="A-1"))
    assert riding(work) == [False]


def test_an_account_goes_on_without_its_first_number(policed: Any) -> None:
    bench = policed
    family(bench, A, B, C)
    bench.apply(offered(bench, A), offered(bench, B))
    bench.now += 1
    bench.apply(change(bench, "number_recycled", A, account="A-9"))
    assert bench.store.load(["account:A-1"], []).subscribers["account:A-1"] == bench.state(B).id
    assert bench.state(A).known.party == 0
    assert riding(bench.apply(offered(bench, C))) == [False]
    consenting(bench, A)
    assert riding(bench.apply(offered(bench, A))) == [True]


@settings(max_examples=60, deadline=None)
@given(told=st.lists(st.sampled_from([A, B, C]), max_size=12), size=st.integers(1, 6))
def test_however_they_are_batched_an_account_hears_no_more_than_its_limit(
    bench_with: Callable[..., Any], told: list[str], size: int
) -> None:
    bench = policed_bench(bench_with)
    owner = {A: "A-1", B: "A-1", C: "A-2"}
    consenting(bench, *owner)
    for msisdn, account in owner.items():
        bench.apply(change(bench, "number_assigned", msisdn, account=account))
    heard: list[str] = []
    events = [offered(bench, msisdn) for msisdn in told]
    for start in range(0, len(events), size):
        work = bench.apply(*events[start : start + size])
        texts = [msgspec.msgpack.decode(row.payload, type=Text) for row in work.batch.outgoing]
        heard += [text.destination for text in texts if text.text != "x"]
    for account in ("A-1", "A-2"):
        numbers = {msisdn for msisdn in told if owner[msisdn] == account}
        assert min(len(numbers), 2) <= sum(owner[msisdn] == account for msisdn in heard) <= 2


# --- purchases of a number that changes hands ----------------------------------------


def answered(bench: Any, work: Work, status: str = "done", reason: str = "") -> Work:
    row = next(row for row in work.batch.outgoing if row.channel == "ocs")
    key = msgspec.msgpack.decode(row.payload, type=Order).key
    settled: Work = bench.apply(Fulfilment(row.id, row.subscriber, key, status, bench.now, reason))
    return settled


def asked(work: Work) -> list[str]:
    rows = [msgspec.msgpack.decode(row.payload, type=Order) for row in work.batch.outgoing if row.channel == "ocs"]
    return [order.step for order in rows]


def test_what_was_refused_for_want_of_money_cannot_be_taken_once_the_number_is_anothers(policed: Any) -> None:
    bench = policed
    bench.apply(offered(bench))
    answered(bench, bench.apply(bench.reply("1")), "refused", "insufficient_funds")
    old, late_yes = bench.state(), bench.reply("1")
    assert [offer.status for offer in old.offers] == ["unpaid"]
    bench.now += HOUR
    bench.apply(change(bench, "number_recycled"))
    assert [offer.status for offer in by_id(bench, old.id).offers] == ["withdrawn"]
    assert orders(bench.apply(late_yes)) == 0


@pytest.mark.parametrize("kind", ["number_recycled", "number_disconnected", "number_changed"])
def test_a_purchase_goes_no_further_at_a_number_that_is_not_theirs_any_more(
    bench_with: Callable[..., Any], kind: str
) -> None:
    bench = bench_with(steps=FORWARD)
    consenting(bench, A)
    bench.apply(offered(bench))
    reserved = bench.apply(bench.reply("1"))
    bench.apply(change(bench, kind, number=B if kind == "number_changed" else ""))
    work = answered(bench, reserved)  # it is not charged: that would be the next owner's money
    assert asked(work) == ["release"]
    work = answered(bench, work)
    (purchase,) = bench.store.purchases("", 2)
    assert (purchase.status, purchase.reason) == ("refused", "number changed hands")


def test_what_was_charged_is_given_back_where_the_number_went_before_the_product_came(
    bench_with: Callable[..., Any],
) -> None:
    bench = bench_with(steps=FORWARD)
    consenting(bench, A)
    bench.apply(offered(bench))
    charging = answered(bench, bench.apply(bench.reply("1")))
    bench.apply(change(bench, "number_recycled"))
    work = answered(bench, charging)
    assert asked(work) == ["refund"]
    answered(bench, work)
    assert [purchase.status for purchase in bench.store.purchases("", 2)] == ["refunded"]


def test_an_order_that_waits_asks_whether_its_number_is_still_theirs(policed: Any) -> None:
    bench = policed
    owner = bench.state().id
    question = Delivery(1, owner, "line", bench.now, destination=A)
    assert bench.apply(question).answers[0].status == "applied"
    bench.apply(change(bench, "number_recycled"))
    assert bench.apply(question).answers[0].status == "dropped"


def test_a_swap_without_its_imsi_lets_the_old_one_go(policed: Any) -> None:
    bench = policed
    bench.apply(change(bench, "number_assigned", imsi="001010000000001"))
    bench.now += HOUR
    bench.apply(change(bench, "sim_swapped"))
    assert bench.store.load(["imsi:001010000000001"], []).subscribers == {"imsi:001010000000001": 0}
    bench.now += HOUR
    bench.apply(offered(bench, imsi="001010000000002"))
    seen = bench.state().known
    bench.apply(change(bench, "sim_swapped", at=bench.now - HOUR))  # late news of it: the IMSI is the new one
    assert bench.state().known.names == seen.names


@pytest.mark.parametrize("kind", ["number_recycled", "number_disconnected", "sim_swapped", "number_changed"])
def test_a_change_must_name_the_number_of_an_account_that_has_several(policed: Any, kind: str) -> None:
    bench = policed
    family(bench, A, B)
    (answer,) = bench.apply(change(bench, kind, "account:A-1", number=C)).answers
    assert (answer.status, answer.reason) == ("rejected", "`account:A-1` has 2 numbers: name the one that it is about")
    assert bench.state(A).msisdn == A
    bench.apply(change(bench, "number_disconnected", A))
    bench.now += 1
    assert bench.apply(change(bench, "number_changed", "account:A-1", number=C)).answers[0].status == "applied"
    assert bench.state(C).msisdn == C


# --- late news ----------------------------------------


def test_late_news_of_a_new_number_does_not_end_whoever_got_it_since(policed: Any) -> None:
    bench = policed
    consenting(bench, B)
    late = change(bench, "number_changed", A, number=B)
    bench.now += HOUR
    bench.apply(change(bench, "number_recycled", B))
    owner = bench.state(B).id
    (answer,) = bench.apply(late).answers
    assert (answer.status, answer.reason) == ("rejected", f"`{B}` changed hands after that: it comes too late")
    assert (bench.state(B).id, bench.state(B).msisdn, bench.state(A).msisdn) == (owner, B, A)


@pytest.mark.parametrize("recycled", [True, False])
def test_late_news_does_not_take_an_imsi_from_whoever_has_it_since(policed: Any, recycled: bool) -> None:
    bench = policed
    name = "001010000000001"
    late = offered(bench, A, imsi=name)
    bench.now += HOUR
    if recycled:
        bench.apply(change(bench, "number_assigned", C, imsi=name))
        bench.now += HOUR
    bench.apply(change(bench, "number_assigned", B, imsi=name))
    bench.apply(late)
    assert bench.store.load([f"imsi:{name}"], []).subscribers == {f"imsi:{name}": bench.state(B).id}
    assert "imsi" not in (bench.state(A).known.names if bench.state(A).known else {})


def test_late_news_of_a_subscription_that_ended_takes_no_imsi(policed: Any) -> None:
    bench = policed
    late = offered(bench, A, imsi="001010000000007")
    bench.now += HOUR
    bench.apply(change(bench, "number_recycled"))
    bench.apply(late)
    assert bench.store.load(["imsi:001010000000007"], []).subscribers == {}


def test_an_account_without_numbers_keeps_no_history(policed: Any) -> None:
    bench = policed
    family(bench, A, B)
    bench.apply(offered(bench, A))
    party = -bench.state(A).id
    bench.now += HOUR
    for left, msisdn in ((1, A), (0, B)):
        bench.apply(change(bench, "number_disconnected", msisdn))
        kept = msgspec.msgpack.decode(bench.store.load([], [party]).states[party], type=Party)
        assert (len(kept.members), len(kept.contacts)) == (left, left)


def test_want_of_money_that_is_told_after_the_number_went_makes_no_late_yes_good(policed: Any) -> None:
    bench = policed
    bench.apply(offered(bench))
    taken, late_yes = bench.apply(bench.reply("1")), bench.reply("1")
    bench.now += HOUR
    bench.apply(change(bench, "number_recycled"))
    answered(bench, taken, "refused", "insufficient_funds")
    work = bench.apply(late_yes)
    assert (orders(work), said(work, "sms")) == (0, [])
    assert [(r.outcome, r.reason) for r in work.batch.responses] == [("refused", "number changed hands")]
