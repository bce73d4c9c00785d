"""The main job through the engine: event, offer, answer, order, confirmation; and all that can go otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.conftest import TEXTS

from kairos import enrich
from kairos.domain.inputs import Delivery, Fulfilment, Timer
from kairos.domain.message import Order, Text
from kairos.domain.subscriber import SCHEMA, Bucket
from kairos.engine.work import Work, decode_state

HOUR = 3_600_000
DAY = 24 * HOUR
TEXT = "Your call cost T$1. Ref 1"


def texts(work: Work, channel: str) -> list[Text]:
    return [msgspec.msgpack.decode(r.payload, type=Text) for r in work.batch.outgoing if r.channel == channel]


def orders(work: Work) -> list[Order]:
    return [msgspec.msgpack.decode(r.payload, type=Order) for r in work.batch.outgoing if r.channel == "ocs"]


def outcomes(work: Work) -> list[str]:
    return [response.outcome for response in work.batch.responses]


def call(bench: Any, balance: int = 5000, text: str = TEXT, data: int = 100_000, **more: Any) -> Work:
    balances = [Bucket("main", balance), Bucket("data", data, bench.now + DAY)]
    event = bench.event("end_of_call", notification=text, service="voice", cost=100, balances=balances, **more)
    work: Work = bench.apply(event)
    return work


def own_message(bench: Any) -> Work:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    work: Work = bench.apply(bench.event("end_of_call", service="voice", cost=100, balances=balances))
    return work


def fulfilled(bench: Any, work: Work, status: str = "done", reason: str = "") -> Work:
    row = next(row for row in work.batch.outgoing if row.channel == "ocs")
    offer = msgspec.msgpack.decode(row.payload, type=Order).key
    settled: Work = bench.apply(Fulfilment(row.id, row.subscriber, offer, status, bench.now, reason))
    return settled


def test_the_whole_way(bench: Any) -> None:
    bench.profile()
    (line,) = texts(call(bench), "notification")
    assert line.text == (
        "Your call cost T$1. Ref 1\nRunning low? 2 GB for 7 days for T$45 until 2026-03-05 12:00. Reply 1 to 5000."
    )
    assert line.plain == TEXT
    taken = bench.apply(bench.reply(" yes 1 "))
    (order,) = orders(taken)
    assert (order.product, order.price, order.currency, order.charges) == ("DATA2G", 4500, "XTS", True)
    assert outcomes(taken) == ["accepted"]
    done = fulfilled(bench, taken)
    assert [text.text for text in texts(done, "sms")] == ["Done: 2 GB for 7 days for T$45."]
    assert outcomes(done) == ["fulfilled"]
    assert bench.state().offers[0].status == "fulfilled"


def test_an_offer_is_charged_once_however_often_it_is_answered(bench: Any) -> None:
    bench.profile()
    call(bench)
    works = [bench.apply(bench.reply("1"), bench.reply("yes"), bench.reply("1")), bench.apply(bench.reply("1"))]
    assert sum(len(orders(work)) for work in works) == 1
    answers = [text.text for work in works for text in texts(work, "sms")]
    assert answers == ["You have 2 GB for 7 days already."] * 3


def test_what_may_be_a_repeat_of_a_refused_yes_charges_nobody_and_is_answered(bench: Any) -> None:
    bench.profile()
    call(bench)
    fulfilled(bench, bench.apply(bench.reply("1")), "refused", "insufficient_funds")
    doubtful = bench.apply(msgspec.structs.replace(bench.reply("1"), repeated=True))
    assert orders(doubtful) == []
    assert [text.text for text in texts(doubtful, "sms")] == ["Not enough balance for 2 GB for 7 days."]
    assert len(orders(bench.apply(bench.reply("1")))) == 1


@pytest.mark.parametrize(("end", "reason"), [("", ""), ("done", ""), ("refused", "insufficient_funds")])
def test_what_may_be_a_repeat_of_a_yes_takes_nothing_that_was_offered_since(
    bench_with: Callable[..., Any], end: str, reason: str
) -> None:
    other = TEXTS["offers/booster.yaml"].replace("booster\n", "other\n").replace("DATA", "MORE").replace("24}", "6}")
    bench = bench_with({"offers/other.yaml": other})
    bench.profile()
    call(bench)
    taken = bench.apply(bench.reply("yes"))
    if end:
        fulfilled(bench, taken, end, reason)
    call(bench)
    assert [(one.action, one.number) for one in bench.state().offers] == [("booster", 1), ("other", 2)]
    doubtful = bench.apply(msgspec.structs.replace(bench.reply("yes"), repeated=True))
    assert orders(doubtful) == []
    assert [text.text for text in texts(doubtful, "sms")] == ["Which one? Reply with its number."]
    numbered = bench.apply(msgspec.structs.replace(bench.reply("2"), repeated=True))
    assert [order.product for order in orders(numbered)] == ["MORE2G"], "the number says which"


@pytest.mark.parametrize(("word", "outcome"), [("no", "declined"), ("stop", "stopped")])
def test_a_no_to_what_is_open_is_heeded_though_it_may_be_a_repeat(bench: Any, word: str, outcome: str) -> None:
    """The first may have been said to another offer, or before they agreed anew."""
    bench.profile()
    call(bench)
    doubtful = msgspec.structs.replace(bench.reply(word), repeated=True)
    assert outcomes(bench.apply(doubtful)) == [outcome]
    assert bench.state().offers[0].status in ("declined", "withdrawn")


def test_a_no_that_may_be_a_repeat_of_one_that_was_heeded_is_not_answered_twice(bench: Any) -> None:
    bench.profile()
    call(bench)
    bench.apply(bench.reply("no"))
    again = bench.apply(msgspec.structs.replace(bench.reply("no"), repeated=True))
    assert [answer.status for answer in again.answers] == ["duplicate"]
    assert texts(again, "sms") == []


def test_settling_twice_says_and_changes_nothing(bench: Any) -> None:
    bench.profile()
    call(bench)
    taken = bench.apply(bench.reply("1"))
    fulfilled(bench, taken)
    again = fulfilled(bench, taken)
    assert not again.batch.states
    assert not again.batch.outgoing


@pytest.mark.parametrize(
    ("reason", "answer"),
    [
        ("insufficient_funds", "Not enough balance for 2 GB for 7 days."),
        ("barred", "Sorry, 2 GB for 7 days is not possible."),
    ],
)
def test_a_refusal_is_told(bench: Any, reason: str, answer: str) -> None:
    bench.profile()
    call(bench)
    refused = fulfilled(bench, bench.apply(bench.reply("1")), "refused", reason)
    assert [text.text for text in texts(refused, "sms")] == [answer]


def test_an_expired_offer_is_not_charged(bench: Any) -> None:
    bench.profile()
    work = call(bench)
    (timer,) = work.batch.timers
    bench.now = timer.due
    assert outcomes(bench.apply(Timer(timer.id, timer.due, timer.subscriber, timer.payload))) == ["expired"]
    late = bench.apply(bench.reply("1"))
    assert not orders(late)
    assert [text.text for text in texts(late, "sms")] == ["2 GB for 7 days has ended."]


def test_an_offer_past_its_time_is_not_charged_even_before_its_timer_fired(bench: Any) -> None:
    bench.profile()
    call(bench)
    bench.now += DAY
    assert not orders(bench.apply(bench.reply("1")))


def test_a_repeated_event_changes_nothing(bench: Any) -> None:
    bench.profile()
    event = bench.event("recharge", identity="crm/7", amount=1000)
    assert bench.apply(event).answers[0].status == "applied"
    again = bench.apply(event, event)
    assert [answer.status for answer in again.answers] == ["duplicate", "duplicate"]
    assert not again.batch.states
    within = bench.apply(*[bench.event("recharge", identity="crm/8", amount=1000)] * 3)
    assert [answer.status for answer in within.answers] == ["applied", "duplicate", "duplicate"]


def test_a_promise_is_redeemed_once_by_a_qualifying_recharge_and_by_nothing_else(bench: Any) -> None:
    bench.profile()
    (line,) = texts(call(bench, balance=300), "notification")
    assert line.text.endswith("Recharge T$10 and get 30 minutes.")
    assert not orders(bench.apply(bench.reply("1")))
    assert not orders(bench.apply(bench.event("recharge", amount=999)))
    redeemed = bench.apply(bench.event("recharge", amount=1000))
    (order,) = orders(redeemed)
    assert (order.product, order.price, order.charges) == ("VOICE30", 0, False)
    assert outcomes(redeemed) == ["redeemed"]
    assert not orders(bench.apply(bench.event("recharge", amount=1000)))


def test_a_promise_keeps_its_terms_when_the_playbook_changes(bench_with: Callable[..., Any]) -> None:
    bench = bench_with()
    bench.profile()
    call(bench, balance=300)
    dearer = {k: v.replace("top_up: 10,", "top_up: 20,") for k, v in bench.program.playbook.texts.items()}
    bench.engine.use(bench_with(dearer).program)
    assert orders(bench.apply(bench.event("recharge", amount=1000)))


def test_stop_withdraws_consent_and_open_offers_but_never_a_notification(bench: Any) -> None:
    bench.profile()
    call(bench)
    stopped = bench.apply(bench.reply("Stop"))
    assert [text.text for text in texts(stopped, "sms")] == ["No more offers."]
    assert not orders(bench.apply(bench.reply("1")))
    (plain,) = texts(call(bench), "notification")
    assert plain.text == TEXT


def test_an_unclear_reply_gets_one_polite_help_an_hour(bench: Any) -> None:
    bench.profile()
    answers = [texts(bench.apply(bench.reply("what is this about then")), "sms") for _ in range(3)]
    assert [len(answer) for answer in answers] == [1, 0, 0]
    bench.now += HOUR
    assert len(texts(bench.apply(bench.reply("what is this about then")), "sms")) == 1


def test_another_services_reply_is_relayed_unchanged(bench: Any) -> None:
    bench.profile()
    (relayed,) = texts(bench.apply(bench.reply("bal  Now!")), "relay")
    assert (relayed.text, relayed.account, relayed.source) == ("bal  Now!", "info", "12025550123")


def test_a_message_of_its_own_carries_its_time_and_its_offer(bench: Any) -> None:
    bench.profile()
    (text,) = texts(own_message(bench), "sms")
    assert text.marketing
    assert text.send_by == bench.now + 600_000
    assert text.offer == bench.state().offers[0].key


def test_a_message_dropped_unsent_gives_its_limit_back_and_takes_its_offer_away(bench: Any) -> None:
    bench.profile()
    work = own_message(bench)
    (row,) = work.batch.outgoing
    (text,) = texts(work, "sms")
    news = Delivery(
        row.id, row.subscriber, "dropped", bench.now, offer=text.offer, decision=text.decision, reason="late"
    )
    assert outcomes(bench.apply(news)) == ["dropped"]
    assert bench.state().contacts == []
    assert len(texts(own_message(bench), "sms")) == 1
    assert not texts(own_message(bench), "sms")  # and now the limit of one a day holds


def test_what_may_have_gone_out_keeps_its_limit_and_its_offer(bench: Any) -> None:
    bench.profile()
    work = own_message(bench)
    (row,) = work.batch.outgoing
    (text,) = texts(work, "sms")
    bench.apply(
        Delivery(
            row.id, row.subscriber, "failed", bench.now, offer=text.offer, decision=text.decision, reason="unknown"
        )
    )
    assert len(bench.state().contacts) == 1
    assert len(orders(bench.apply(bench.reply("1")))) == 1


def test_a_queued_offer_does_not_go_out_after_a_stop(bench: Any) -> None:
    bench.profile()
    work = own_message(bench)
    (row,) = work.batch.outgoing
    (text,) = texts(work, "sms")
    bench.apply(bench.reply("stop"))
    mark = Delivery(row.id, row.subscriber, "sending", bench.now, offer=text.offer, decision=text.decision)
    assert bench.apply(mark).answers[0].status == "dropped"


def test_an_open_offer_keeps_its_price_when_the_playbook_changes(bench_with: Callable[..., Any]) -> None:
    bench = bench_with()
    bench.profile()
    call(bench)
    dearer = {k: v.replace("price: 45", "price: 99") for k, v in bench.program.playbook.texts.items()}
    bench.engine.use(bench_with(dearer).program)
    (order,) = orders(bench.apply(bench.reply("1")))
    assert order.price == 4500


def test_an_unknown_subscriber_is_created_without_consent(bench: Any) -> None:
    (plain,) = texts(call(bench, msisdn="12025550199"), "notification")
    assert plain.text == TEXT
    assert bench.state("12025550199").attributes[2] is None


def test_an_unknown_subscriber_is_rejected_by_setting_but_gets_the_notification(bench_with: Callable[..., Any]) -> None:
    bench = bench_with(reject_unknown=True)
    work = call(bench)
    assert work.answers[0].status == "rejected"
    assert [text.text for text in texts(work, "notification")] == [TEXT]
    assert not work.batch.states


def test_a_hot_subscribers_inputs_are_taken_one_after_another(bench: Any) -> None:
    bench.profile()
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    calls = [
        bench.event("end_of_call", notification=TEXT, service="voice", cost=1, balances=balances) for _ in range(10)
    ]
    work = bench.apply(*calls)
    lines = [text for text in texts(work, "notification") if text.offer]
    assert len(texts(work, "notification")) == 10
    assert len(lines) == 1  # the second call already sees the first one's open offer


def test_the_next_batch_reads_states_in_flight(bench: Any) -> None:
    bench.profile()
    first = bench.engine.apply([bench.event("recharge", amount=100)], bench.now)
    second = bench.engine.apply([bench.event("recharge", amount=100)], bench.now)
    unknown = bench.engine.apply([bench.event("recharge", amount=1, msisdn="12025550150")], bench.now)
    known = bench.engine.apply([bench.event("recharge", amount=1, msisdn="12025550150")], bench.now)
    for work in (first, second, unknown, known):
        bench.store.commit(work.batch)
    assert enrich.counter_buckets(bench.state(), 0)[1] == 2
    assert enrich.counter_buckets(bench.state("12025550150"), 0)[1] == 2
    assert not known.batch.identities


def test_a_changed_counter_restarts_and_says_so(bench_with: Callable[..., Any]) -> None:
    notes: list[str] = []
    bench = bench_with(note=notes.append)
    bench.profile()
    bench.apply(bench.event("recharge", amount=100))
    old = bench.program.playbook.vocabulary
    changed = {k: v.replace("over: 30 days", "over: 7 days") for k, v in bench.program.playbook.texts.items()}
    bench.engine.old_vocabulary = lambda layout: old if layout == old.layout else None
    bench.engine.use(bench_with(changed).program)
    bench.apply(bench.event("recharge", amount=100))
    assert enrich.counter_buckets(bench.state(), 0)[1] == 1
    assert bench.state().attributes[0] == "prepaid"
    assert any("recharges_30d" in note for note in notes)


def test_a_state_of_another_schema_is_refused_and_not_guessed_at(bench: Any) -> None:
    bench.profile()
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(bench.state()))
    assert fields[0] == SCHEMA
    assert decode_state(msgspec.msgpack.encode(fields)) == bench.state()
    for schema in (SCHEMA + 1, 0, "1", None):
        fields[0] = schema
        with pytest.raises(msgspec.ValidationError):
            decode_state(msgspec.msgpack.encode(fields))
