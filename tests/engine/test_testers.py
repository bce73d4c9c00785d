"""Test subscribers: they get offers past limits, pauses and holdout, and stand in no figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.domain.decision import Decision
from kairos.domain.event import Event
from kairos.domain.inputs import Fulfilment, Reversal
from kairos.domain.message import Text
from kairos.domain.subscriber import Bucket
from kairos.domain.switch import Switch, Switches
from kairos.engine.explain import Explainer
from kairos.engine.program import compile_program
from kairos.playbook import read

DAY = 86_400_000
TESTER, OTHER = "12025550123", "12025550124"
STRICT = """
contact_only_when: {marketing consent: marketing_consent}
pause_while: {open complaint: open_tickets > 0}
quiet_hours: 21:00-08:00
limits: [{at_most: 1, per: 1 day}]
holdout: 99%
"""


@pytest.fixture
def bench(bench_with: Callable[..., Any]) -> Any:
    seeds = f'testers: [{{name: Ada, msisdn: "+{TESTER}"}}]'
    return bench_with({"contact_policy.yaml": STRICT, "seeds.yaml": seeds})


def call(bench: Any, msisdn: str = TESTER) -> Any:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    return bench.event("end_of_call", notification="Ref 1", msisdn=msisdn, service="voice", cost=100, balances=balances)


def trial(bench: Any, offer: str, msisdn: str = TESTER, past_switches: bool = False) -> Event:
    bench.serial += 1
    return Event(f"trial/{bench.serial}", "trial", msisdn, bench.now, {}, trial=offer, past_switches=past_switches)


def record(work: Any) -> Decision:
    ((*_, blob),) = work.batch.decisions
    return msgspec.msgpack.decode(blob, type=Decision)


def sent(work: Any) -> list[Text]:
    return [msgspec.msgpack.decode(row.payload, type=Text) for row in work.batch.outgoing]


def said(bench: Any, work: Any) -> str:
    made = record(work)
    return str(bench.program.decide.arms[made.chosen.arm].name) if made.chosen else made.gate


def test_past_limits_pauses_and_holdout_and_into_no_figure(bench: Any) -> None:
    known = {"plan": "prepaid", "language": "en", "open_tickets": 1.0}
    for msisdn in (TESTER, OTHER):
        bench.apply(bench.event("profile", msisdn=msisdn, **known))
    works = [bench.apply(call(bench)) for _ in range(3)]
    assert [said(bench, work) for work in works] == ["booster/large"] * 3  # nobody asked for consent: it is a test
    assert all(record(work).test for work in works)
    assert bench.state().contacts == []
    counts = bench.engine.statistics.counts
    assert (counts["test_decisions"], counts["decisions"], bench.engine.statistics.reasons()) == (3, 0, {})
    other = bench.apply(call(bench, OTHER))
    assert (said(bench, other), record(other).test, counts["decisions"]) == ("marketing consent", False, 1)


@pytest.mark.parametrize("rides", [True, False])
def test_a_bare_yes_takes_what_a_tester_was_texted(bench: Any, rides: bool) -> None:
    """Though no contact of theirs is kept."""
    bench.apply(bench.event("profile", msisdn=TESTER, plan="prepaid", language="en"))
    bench.apply(call(bench) if rides else trial(bench, "booster/large"))
    (offer,) = bench.state().offers
    assert (offer.channel, bench.state().contacts) == ("notification" if rides else "sms", [])
    bench.apply(bench.reply("YES"))
    assert bench.state().offers[0].status == "accepted"


def test_a_stop_is_a_no_for_a_tester_too(bench: Any) -> None:
    bench.profile()
    assert said(bench, bench.apply(call(bench))) == "booster/large"
    bench.apply(bench.reply("STOP"))
    assert said(bench, bench.apply(call(bench))) == "marketing consent"


def test_what_a_tester_answers_is_marked(bench: Any) -> None:
    bench.profile()
    bench.apply(call(bench))
    work = bench.apply(bench.reply("1"))
    assert [(r.outcome, r.test) for r in work.batch.responses] == [("accepted", True)]
    (order,) = work.batch.outgoing
    bench.apply(Fulfilment(order.id, order.subscriber, bench.state().offers[0].key, "done", bench.now))
    bench.apply(bench.reply("1"))
    bench.apply(bench.reply("HELP"))
    counts = bench.engine.statistics.counts
    counted = {"accepted": 1, "fulfilled": 1, "replies.accept": 1, "replies.taken": 1, "replies.help": 1}
    assert {name: counts[f"test_{name}"] for name in counted} == counted
    assert {name: counts[name] for name in counted} == dict.fromkeys(counted, 0)


def test_a_tester_of_one_offer_gets_it_past_its_rules(bench_with: Callable[..., Any]) -> None:
    seeds = f'testers: [{{name: Ada, msisdn: "+{TESTER}", offer: booster/small}}]'
    bench = bench_with({"seeds.yaml": seeds})
    bench.profile(plan="postpaid")  # not for them, as the rules go
    assert said(bench, bench.apply(call(bench))) == "booster/small"


@pytest.mark.parametrize(("offer", "message"), [("booster/small", "500 MB"), ("top_up", "Recharge T$10")])
def test_a_trial_is_sent_now_even_what_only_rides(bench: Any, offer: str, message: str) -> None:
    bench.now += 11 * 3_600_000  # quiet hours
    work = bench.apply(trial(bench, offer))
    (text,) = sent(work)
    assert message in text.text
    assert (text.marketing, text.destination) == (True, TESTER)
    bench.store.save_playbook(bench.program.playbook.revision, "layout", bench.program.playbook.texts)
    explained = Explainer(bench.store, lambda texts: compile_program(read(texts))).decision(work.answers[0].decision)
    assert explained is not None
    states = {verdict.action: verdict.state for verdict in explained.verdicts if verdict.state == "chosen"}
    assert states == {offer.partition("/")[0]: "chosen"}
    assert {v.reason for v in explained.verdicts if v.state == "moment"} == {f"`{offer}` was asked for"}


@pytest.mark.parametrize(
    ("offer", "msisdn", "reason"),
    [
        ("booster", OTHER, f"`{OTHER}` is no test subscriber; add it to seeds.yaml"),
        ("boster", TESTER, "unknown offer `boster`; did you mean `booster`?"),
    ],
)
def test_a_trial_that_is_refused(bench: Any, offer: str, msisdn: str, reason: str) -> None:
    work = bench.apply(trial(bench, offer, msisdn))
    assert (work.answers[0].status, work.answers[0].reason) == ("rejected", reason)
    assert not work.batch.outgoing


def test_a_trial_goes_past_a_switch_only_where_that_is_said(bench: Any) -> None:
    off = Switches({"marketing": Switch("marketing", False, "wrong prices", "ada", 0)})
    bench.engine.turn(off)
    stopped = bench.apply(trial(bench, "booster"))
    assert (said(bench, stopped), sent(stopped)) == ("switch marketing", [])
    (text,) = sent(bench.apply(trial(bench, "booster", past_switches=True)))
    assert bench.engine.halt(text, "sms", bench.now) is None
    assert bench.engine.halt(msgspec.structs.replace(text, past_switches=False), "sms", bench.now) is not None


def test_a_trial_that_comes_twice_is_sent_once(bench: Any) -> None:
    event = trial(bench, "booster")
    works = [bench.apply(event), bench.apply(event)]
    assert [len(sent(work)) for work in works] == [1, 0]


def test_a_testers_purchase_and_its_reversal_long_after_stand_in_no_figure(bench: Any) -> None:
    bench.apply(bench.event("profile", msisdn=TESTER, plan="prepaid", language="en", marketing_consent=True))
    bench.apply(call(bench))
    taken = bench.apply(bench.reply("1", msisdn=TESTER))
    (row,) = [row for row in taken.batch.outgoing if row.channel == "ocs"]
    (purchase,) = bench.store.purchases("", 2)
    assert purchase.test
    bench.apply(Fulfilment(row.id, row.subscriber, purchase.key, "done", bench.now))
    bench.now += 10 * DAY
    bench.apply(call(bench))
    assert all(offer.key != purchase.offer for offer in bench.state().offers)  # nothing is known of it any more
    bench.apply(Reversal(purchase.key, purchase.subscriber, "reversed", bench.now, "", 100))
    bench.apply(Reversal(purchase.key, purchase.subscriber, "reversed", bench.now))
    told = bench.store.responses(purchase.offer)
    assert [(one.outcome, one.test) for one in told] == [
        (outcome, True) for outcome in ("accepted", "fulfilled", "partly_reversed", "reversed")
    ]
    counts = bench.engine.statistics.counts
    assert [name for name in ("accepted", "fulfilled", "partly_reversed", "reversed") if counts[name]] == []
    assert [counts[f"test_{name}"] for name in ("accepted", "fulfilled", "partly_reversed", "reversed")] == [1] * 4
