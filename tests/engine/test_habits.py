"""Which answers teach when and where a subscriber usually answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kairos.domain.subscriber import Bucket

HOUR = 3_600_000
DAY = 24 * HOUR
WORDS = "attributes:\n  away: {type: number, usual: hours_away}\n  where_to: {type: text, usual: channel}\n"
POLICY = """
contact_only_when: {marketing consent: marketing_consent}
declined_by: [agent.no]
bought_by: [app.bought]
"""
SEEDS = 'testers: [{name: Ada, msisdn: "+12025550123"}]'


def build(bench_with: Callable[..., Any], texts: dict[str, str], **files: str) -> Any:
    vocabulary = texts["vocabulary.yaml"].replace("events:\n", "events:\n  agent: {no: text}\n  app: {bought: text}\n")
    vocabulary = vocabulary.replace("attributes:\n", WORDS)
    return bench_with({"vocabulary.yaml": vocabulary, "contact_policy.yaml": POLICY} | files)


def offer(bench: Any, balance: int, rides: bool = True) -> None:
    balances = [Bucket("main", balance), Bucket("data", 100_000, bench.now + DAY)]
    text = "Ref 1" if rides else ""
    bench.apply(bench.event("end_of_call", notification=text, service="voice", cost=1, balances=balances))


def counted(bench: Any) -> tuple[dict[int, int], dict[str, int]]:
    habits = bench.state().habits
    if habits is None:
        return {}, {}
    return {hour: count for hour, count in enumerate(habits.hours) if count}, habits.channels


EVENTS: dict[str, dict[str, Any]] = {
    "agent": {"no": "booster"},
    "app": {"bought": "booster/large"},
    "recharge": {"amount": 1000},
}


ANSWERS = ["1", "no", "STOP", "what is this?", *EVENTS]


@pytest.mark.parametrize(("answer", "rides"), [*((one, True) for one in ANSWERS), ("1", False), ("app", False)])
def test_an_answer_counts_at_its_own_hour(
    bench_with: Callable[..., Any], texts: dict[str, str], answer: str, rides: bool
) -> None:
    bench = build(bench_with, texts)
    bench.profile()
    offer(bench, 400 if answer == "recharge" else 5000, rides)
    assert len(bench.state().offers) == 1
    assert counted(bench) == ({}, {})
    bench.now += 3 * HOUR  # it was noon
    told = bench.event(answer, **EVENTS[answer]) if answer in EVENTS else bench.reply(answer)
    bench.now += 2 * HOUR  # it arrives late
    bench.apply(told)
    about = answer in ("1", "no", *EVENTS)
    hours, channels = counted(bench)
    assert hours == {15: 1}
    assert channels == ({"notification" if rides else "sms": 1} if about else {})
    bench.apply(told)
    assert counted(bench) == (hours, channels), "a repeat"


@pytest.mark.parametrize("what", ["recharge", "BAL", "agent", "app"])
def test_what_is_no_answer_to_anything_does_not_count(
    bench_with: Callable[..., Any], texts: dict[str, str], what: str
) -> None:
    bench = build(bench_with, texts)
    bench.profile()
    bench.apply(bench.event(what, **EVENTS[what]) if what in EVENTS else bench.reply(what))
    assert counted(bench) == ({}, {})


@pytest.mark.parametrize("answer", ["1", "what is this?", *EVENTS])
def test_a_test_subscribers_answers_do_not_count(
    bench_with: Callable[..., Any], texts: dict[str, str], answer: str
) -> None:
    bench = build(bench_with, texts, **{"seeds.yaml": SEEDS})
    bench.profile()
    offer(bench, 400 if answer == "recharge" else 5000)
    assert bench.state().offers[0].test
    bench.apply(bench.event(answer, **EVENTS[answer]) if answer in EVENTS else bench.reply(answer))
    assert counted(bench) == ({}, {})


def test_a_rule_reads_it(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    booster = texts["offers/booster.yaml"].replace("data_left_mb < 200", "away IS NULL OR away <= 3")
    bench = build(bench_with, texts, **{"offers/booster.yaml": booster})
    bench.profile()
    for _ in range(3):
        bench.apply(bench.reply("hello"))
    bench.now += 4 * HOUR
    offer(bench, 5000)
    assert not bench.state().offers
    bench.now += 21 * HOUR
    offer(bench, 5000)
    assert [one.action for one in bench.state().offers] == ["booster"]
