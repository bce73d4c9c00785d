"""Whoever asks is told one thing on every channel, and what they say there counts as by reply."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.decide import could_say, explain, kept_from, would_say
from kairos.domain.decision import Decision
from kairos.domain.inbound import Visit, Word
from kairos.domain.inputs import Change, Fulfilment
from kairos.domain.message import Order
from kairos.domain.subscriber import Bucket
from kairos.domain.switch import Switch, Switches
from kairos.engine.program import compile_program
from kairos.engine.work import Answer, Work
from kairos.playbook import read
from kairos.respond import LEAST_GAP

HOUR = 3_600_000
DAY = 24 * HOUR
NUMBER = "12025550123"
ASK = "treatments:\n  ask: {channel: inbound, message: booster_told}"
TALK = """
offer: talk
title: 30 minutes
issue: voice
product: {only: VOICE30}
variants: {only: {price: 3, value: 3}}
answers: {inbound: always}
treatments: {ask: {channel: inbound, message: talk_told}}
accept_within: 2 hours
after_decline: 14 days
fulfil: {charge: price, provision: product}
"""
ADVICE = """
action: advice
kind: care
title: cheaper nights
issue: care
variants: {night: {value: 1}}
answers: {inbound: always}
treatments: {ask: {channel: inbound, message: hint_line}}
accept_within: 1 hour
after_decline: never
"""
WORDS = """
booster_told: {en: "{title} at {price}, taken by {number}", fr: "{title} pour {price}"}
talk_told: {en: "30 minutes at {price}"}
confirm: {en: "Reply {number} again to buy {title}."}
"""
serial = itertools.count()


@pytest.fixture
def shop(bench_with: Callable[..., Any], texts: dict[str, str]) -> Callable[..., Any]:
    """A bench whose bundles and minutes are told to who asks; its subscriber has T$50 and little data."""

    def build(**changes: Any) -> Any:
        booster = texts["offers/booster.yaml"].replace("data_session: 5 minutes}", "inbound: always}")
        files = {
            "offers/booster.yaml": booster.replace("treatments:", ASK).replace(
                "accept_within", changes.get("add", "") + "accept_within"
            ),
            "offers/talk.yaml": TALK,
            "messages.yaml": texts["messages.yaml"] + WORDS,
        }
        files |= {"actions/advice.yaml": ADVICE} if changes.get("advice") else {}
        policy = texts["contact_policy.yaml"] + changes.get("policy", "")
        if "holdout" in changes:
            policy = policy.replace("holdout: 0%", f"holdout: {changes['holdout']}")
        bench = bench_with(files | {"contact_policy.yaml": policy})
        bench.profile()
        return bench

    return build


def wallet(bench: Any, main: int = 5000) -> list[Bucket]:
    return [Bucket("main", main), Bucket("data", 100_000, bench.now + DAY)]


def topped_up(bench: Any) -> Any:
    """Their balances are known, from an event that is too old to be answered."""
    event = bench.event("end_of_call", service="voice", cost=1, balances=wallet(bench))
    bench.apply(msgspec.structs.replace(event, happened=bench.now - HOUR))
    return bench


def ask(bench: Any, channel: str = "care", **more: Any) -> tuple[Answer, Work]:
    visit = Visit(more.pop("identity", f"v{next(serial)}"), more.pop("msisdn", NUMBER), channel, bench.now, **more)
    work = bench.apply(visit)
    return work.answers[0], work


def say(bench: Any, key: str, said: Any, channel: str = "app", **more: Any) -> tuple[Answer, Work]:
    word = Word(more.pop("identity", f"w{next(serial)}"), NUMBER, key, said, channel, bench.now, **more)
    work = bench.apply(word)
    return work.answers[0], work


def orders(work: Work) -> list[Order]:
    return [msgspec.msgpack.decode(r.payload, type=Order) for r in work.batch.outgoing if r.channel == "ocs"]


def names(answer: Answer) -> list[str]:
    return [f"{told.action}/{told.variant}" for told in answer.offers]


def test_the_best_offers_are_told_in_their_order_and_nothing_is_sent(shop: Any) -> None:
    bench = topped_up(shop())
    answer, work = ask(bench, "shop")
    assert names(answer) == ["booster/large", "talk/only"]
    large, talk = answer.offers
    assert (large.text, large.price, large.number) == ("2 GB for 7 days at T$45, taken by 1", 4500, 1)
    assert (large.until, talk.until) == (bench.now + DAY, bench.now + 2 * HOUR)
    assert (work.batch.outgoing, bench.state().contacts) == ([], [])
    records = [msgspec.msgpack.decode(blob, type=Decision) for *_, blob in work.batch.decisions]
    assert [(one.kind, one.where, one.chosen is not None) for one in records] == [
        ("inbound", "shop", True),
        ("inbound", "shop", True),
        ("inbound", "shop", False),
    ]


def test_no_more_than_were_asked_for(shop: Any) -> None:
    answer, work = ask(topped_up(shop()), at_most=1)
    assert (names(answer), len(work.batch.decisions)) == (["booster/large"], 1)


def test_who_is_french_is_told_in_french(shop: Any) -> None:
    bench = topped_up(shop())
    bench.profile(language="fr")
    answer, _ = ask(bench)
    assert answer.offers[0].text == "2 GB for 7 days pour T$45"


def test_advice_is_told_once_and_has_nothing_to_take(shop: Any) -> None:
    answer, _ = ask(topped_up(shop(advice=True)))
    assert names(answer) == ["advice/night", "booster/large", "talk/only"]
    assert (answer.offers[0].key, answer.offers[0].status) == ("", "said")


def test_neither_quiet_hours_nor_limits_of_messages_silence_who_asks(shop: Any) -> None:
    bench = shop()
    bench.now += 11 * HOUR  # 23:00
    assert names(ask(topped_up(bench))[0]) == ["booster/large", "talk/only"]


def test_an_open_offer_is_told_unchanged_on_every_channel_without_a_write(shop: Any) -> None:
    bench = shop()
    work = bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=wallet(bench)))
    assert [row.channel for row in work.batch.outgoing] == ["sms"]
    (offer,) = bench.state().offers
    for channel in ("care", "app", "shop"):
        bench.now += HOUR
        answer, work = ask(bench, channel)
        (told,) = answer.offers
        assert not work.batch
        assert (told.key, told.number, told.price, told.until) == (offer.key, offer.number, 4500, offer.expires)
        assert (told.channel, told.text) == ("sms", "2 GB for 7 days at T$45, taken by 1")
    bench.now = offer.expires
    answer, _ = ask(topped_up(bench))
    assert offer.key not in [told.key for told in answer.offers]


def test_a_repeated_request_makes_no_second_offer_and_is_answered_as_the_first(shop: Any) -> None:
    bench = topped_up(shop())
    first, _ = ask(bench, identity="request/1")
    say(bench, first.offers[0].key, "accept")
    say(bench, first.offers[1].key, "decline")
    again, work = ask(bench, identity="request/1")
    assert not work.batch
    assert [told.key for told in again.offers] == [told.key for told in first.offers]
    assert [told.status for told in again.offers] == ["accepted", "declined"]


def test_several_who_ask_in_one_batch_are_each_told_theirs(shop: Any) -> None:
    bench = topped_up(shop())
    other = "12025550124"
    data = {"plan": "prepaid", "language": "en", "marketing_consent": True}
    bench.apply(bench.event("profile", msisdn=other, **data))
    visits = [
        Visit("a", NUMBER, "app", bench.now),
        Visit("b", other, "web", bench.now),
        Visit("c", NUMBER, "web", bench.now),
    ]
    answers = bench.apply(*visits).answers
    assert [names(answer) for answer in answers] == [["booster/large", "talk/only"], ["talk/only"], names(answers[0])]
    assert [told.key for told in answers[0].offers] == [told.key for told in answers[2].offers]


def test_a_number_that_nobody_has_is_no_new_subscriber(shop: Any) -> None:
    answer, work = ask(shop(), msisdn="12025550199")
    assert (answer.status, answer.reason, bool(work.batch)) == ("rejected", "nobody is known by `12025550199`", False)


def test_an_event_of_the_vocabulary_may_be_why(shop: Any, texts: dict[str, str]) -> None:
    bench = topped_up(shop())
    answer, _ = ask(bench, kind="end_of_call", data={"service": "voice"})
    assert names(answer) == ["booster/large"]  # the minutes answer `inbound` alone


# -- what closes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "why"), [({"open_tickets": 1.0}, "open complaint"), ({"marketing_consent": False}, "marketing consent")]
)
def test_consent_and_pauses_are_minded_and_named(shop: Any, said: dict[str, Any], why: str) -> None:
    bench = topped_up(shop())
    bench.profile(**said)
    answer, _ = ask(bench)
    assert (answer.offers, answer.reason) == ((), why)


def test_what_is_open_is_not_spoken_of_while_a_pause_holds_and_is_the_same_after_it(shop: Any) -> None:
    bench = topped_up(shop())
    first, _ = ask(bench)
    bench.profile(open_tickets=1.0)
    assert ask(bench)[0].offers == ()
    bench.profile(open_tickets=0.0)
    again, _ = ask(bench)
    assert [told.key for told in again.offers] == [told.key for told in first.offers]


def test_a_switch_hides_what_is_open(shop: Any) -> None:
    bench = topped_up(shop())
    ask(bench)
    bench.engine.turn(Switches({"action:booster": Switch("action:booster", False, "wrong price", "ada", 0)}))
    assert names(ask(bench)[0]) == ["talk/only"]


def test_the_holdout_is_told_nothing(shop: Any) -> None:
    answer, _ = ask(topped_up(shop(holdout="99.9999%")))
    assert (answer.offers, answer.reason) == ((), "holdout")


# -- yes, no, not yet ----------------------------------------------------------------------------------------------


def test_a_yes_is_charged_once_whatever_is_repeated_and_whoever_says_it(shop: Any) -> None:
    bench = topped_up(shop())
    key = ask(bench)[0].offers[0].key
    bench.now += 1000
    yes, work = say(bench, key, "accept", "care", identity="yes/1", who="agent 17")
    assert yes.outcome == "accepted"
    (order,) = orders(work)
    assert (order.key, order.price) == (key, 4500)
    (purchase,) = bench.store.purchases("", 2)
    assert [(one.identity, one.text) for one in purchase.proof] == [("yes/1", "yes (care, agent 17)")]
    for identity in ("yes/1", "yes/2"):
        again, more = say(bench, key, "accept", "app", identity=identity)
        assert (again.outcome, bool(more.batch)) == ("accepted", False)
    assert orders(bench.apply(bench.reply("1"))) == []
    (row,) = work.batch.outgoing
    bench.apply(Fulfilment(row.id, row.subscriber, key, "done", bench.now, ""))
    assert say(bench, key, "accept")[0].outcome == "fulfilled"


def test_a_no_in_the_shop_keeps_it_from_being_said_by_sms_while_it_rests(shop: Any) -> None:
    bench = topped_up(shop())
    key = ask(bench)[0].offers[0].key
    declined, work = say(bench, key, "decline", "shop")
    assert (declined.outcome, work.batch.outgoing) == ("declined", [])
    bench.now += DAY
    silent = bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=wallet(bench)))
    assert silent.batch.outgoing == []
    assert "booster" not in {told.action for told in ask(bench)[0].offers}
    bench.now += 14 * DAY
    said = bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=wallet(bench)))
    assert [row.channel for row in said.batch.outgoing] == ["sms"]


def test_not_yet_changes_nothing(shop: Any) -> None:
    bench = topped_up(shop())
    key = ask(bench)[0].offers[0].key
    kept, work = say(bench, key, "keep")
    assert (kept.outcome, bool(work.batch)) == ("pending", False)
    assert say(bench, key, "accept")[0].outcome == "accepted"


def test_what_demands_two_yeses_gets_two_and_one_may_be_a_reply(shop: Any) -> None:
    bench = topped_up(shop(add="confirm: twice\n"))
    key = ask(bench)[0].offers[0].key
    first, work = say(bench, key, "accept", identity="one")
    assert (first.outcome, orders(work)) == ("confirm", [])
    bench.now += LEAST_GAP
    assert say(bench, key, "accept", identity="one")[0].outcome == "confirm"  # a repeat confirms nothing
    assert len(orders(bench.apply(bench.reply("1")))) == 1


@pytest.mark.parametrize("channel", ["care", "app", "ussd"])
def test_a_yes_to_a_text_that_has_ended_takes_nothing_that_was_told_elsewhere(shop: Any, channel: str) -> None:
    bench = shop()
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=wallet(bench)))
    bench.now += 25 * HOUR
    ask(bench, channel, at_most=1)
    texted, told = bench.state().offers
    assert (texted.channel, told.channel, told.status) == ("sms", channel, "open")
    assert orders(bench.apply(bench.reply("YES"))) == []
    bench.apply(bench.reply(str(told.number)))
    assert [one.status for one in bench.state().offers] == [texted.status, "accepted"]


def test_after_a_change_of_sim_nothing_is_charged_and_the_agent_is_told_why(shop: Any) -> None:
    bench = topped_up(shop(policy="after_sim_swap: 3 days\n"))
    key = ask(bench)[0].offers[0].key
    bench.apply(Change("swap", "sim_swapped", NUMBER, bench.now))
    refused, work = say(bench, key, "accept")
    assert (refused.outcome, orders(work)) == ("refused", [])
    assert "SIM" in refused.reason
    bench.now += 3 * DAY - 1
    assert bench.state().offers[0].status == "open"


def test_while_charging_is_off_a_yes_waits_for_a_later_one(shop: Any) -> None:
    bench = topped_up(shop())
    key = ask(bench)[0].offers[0].key
    bench.engine.turn(Switches({"charging": Switch("charging", False, "billing is down", "ada", 0)}))
    refused, work = say(bench, key, "accept")
    assert (refused.outcome, orders(work)) == ("refused", [])
    bench.engine.turn(Switches())
    assert say(bench, key, "accept")[0].outcome == "accepted"


def test_what_is_over_is_not_taken(shop: Any) -> None:
    bench = topped_up(shop())
    key = ask(bench)[0].offers[0].key
    bench.now += DAY
    late, work = say(bench, key, "accept")
    assert (late.outcome, bool(work.batch)) == ("expired", False)
    unknown, _ = say(bench, "nobody-7", "accept")
    assert (unknown.status, unknown.reason) == ("rejected", "there is no offer `nobody-7`")


def test_a_promise_is_told_and_taken_by_its_event_alone(shop: Any) -> None:
    bench = shop()
    bench.apply(bench.event("end_of_call", notification="Ref 1", service="voice", cost=1, balances=wallet(bench, 300)))
    (told,) = ask(bench)[0].offers
    assert (told.action, told.redeemed_by) == ("top_up", "recharge")
    refused, work = say(bench, told.key, "accept")
    assert (refused.outcome, bool(work.batch)) == ("refused", False)
    assert "recharge" in refused.reason


# -- a list for all ------------------------------------------------------------------------------------------------


def test_the_holdout_may_be_told_what_all_may_have_in_the_order_of_its_worth(shop: Any) -> None:
    bench = topped_up(shop(holdout="{share: 99.9999%, when_asked: in_market}"))
    plenty = [Bucket("main", 5000), Bucket("data", 900_000, bench.now + DAY)]  # no bundle matters to them
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=plenty))
    answer, work = ask(bench)
    assert names(answer) == ["booster/large", "talk/only"]
    record = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    assert (record.listed, record.gate, set(record.scores.propensity)) == (True, "holdout", {1.0})
    verdicts = {verdict.arm: (verdict.state, verdict.reason) for verdict in explain(bench.program.decide, record)}
    assert verdicts["booster/large"] == ("chosen", "")
    assert verdicts["booster/small"] == ("outranked", "outranked by booster/large")


def test_what_is_not_suitable_stands_on_no_list(shop: Any) -> None:
    bench = shop(holdout="{share: 99.9999%, when_asked: in_market}")
    poor = [Bucket("main", 2000), Bucket("data", 900_000, bench.now + DAY)]
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=poor))
    assert names(ask(bench)[0]) == ["booster/small", "talk/only"]


def test_the_holdout_is_sent_nothing_though_it_may_ask(shop: Any) -> None:
    bench = shop(holdout="{share: 99.9999%, when_asked: in_market}")
    work = bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=wallet(bench)))
    assert work.batch.outgoing == []


def test_nobody_else_is_told_the_list(shop: Any) -> None:
    bench = topped_up(shop(holdout="{share: 0%, when_asked: in_market}"))
    plenty = [Bucket("main", 5000), Bucket("data", 900_000, bench.now + DAY)]
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=plenty))
    assert names(ask(bench)[0]) == ["talk/only"]


def test_a_no_in_the_app_is_an_answer_and_a_look_at_it_is_none(shop: Any) -> None:
    bench = topped_up(shop(policy="saturation:\n  - {unanswered: 1, rest: 14 days}\n"))
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=wallet(bench)))
    (said,) = bench.state().contacts
    key = ask(bench)[0].offers[0].key
    assert bench.state().answered < said.decision
    say(bench, key, "keep")
    assert bench.state().answered < said.decision
    say(bench, key, "decline")
    assert bench.state().answered == said.decision


def test_a_limit_that_is_reached_silences_messages_and_not_who_asks(shop: Any) -> None:
    bench = shop()
    other = [Bucket("main", 5000), Bucket("data", 900_000, bench.now + DAY)]
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=wallet(bench)))
    key = bench.state().offers[0].key
    say(bench, key, "accept")
    assert len(bench.state().contacts) == 1  # of a message of its own, and no more today
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=other))
    assert names(ask(bench)[0]) == ["talk/only"]


def test_what_is_open_is_told_at_night_too(shop: Any) -> None:
    bench = shop()
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=wallet(bench)))
    bench.now += 11 * HOUR  # 23:00
    assert names(ask(bench)[0]) == ["booster/large"]


def test_an_open_offer_keeps_its_price_though_the_playbook_has_another(shop: Any, texts: dict[str, str]) -> None:
    bench = topped_up(shop())
    (before, _) = ask(bench)[0].offers
    files = {name: text.replace("price: 45", "price: 40") for name, text in bench.program.playbook.texts.items()}
    bench.engine.use(compile_program(read(files)))
    (after, _) = ask(bench)[0].offers
    assert (after.key, after.price, after.text) == (before.key, 4500, "2 GB for 7 days: T$45")


@pytest.mark.parametrize("holdout", ["0%", "99.9999%", "{share: 99.9999%, when_asked: in_market}"])
def test_whoever_asks_comes_into_the_same_comparison_on_either_side(shop: Any, holdout: str) -> None:
    bench = shop(holdout=holdout)
    bench.now += 11 * HOUR  # 23:00
    _, work = ask(topped_up(bench))
    record = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    program = bench.program.decide
    assert {program.channels[place] for place in could_say(program, record)} == {"inbound"}
    arm, channel = would_say(program, record) or (-1, -1)
    assert (program.arms[arm].name, program.channels[channel]) == ("booster/large", "inbound")
    assert kept_from(record, "holdout", program.held_out) == (holdout != "0%")
