"""Who does not answer is left alone for a time, exactly; any answer clears it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.decide import explain
from kairos.domain.decision import Decision
from kairos.domain.inputs import Delivery
from kairos.domain.message import Text
from kairos.domain.subscriber import Bucket
from kairos.errors import PlaybookError
from kairos.playbook import read

HOUR = 3_600_000
DAY = 24 * HOUR
CONSENT = "contact_only_when: {marketing consent: marketing_consent}\n"


def saturated(bench_with: Callable[..., Any], texts: dict[str, str], *rules: str, limits: str = "") -> Any:
    """A bench whose booster is open for an hour, and may be said again after it."""
    booster = texts["offers/booster.yaml"].replace("accept_within: 24 hours", "accept_within: 1 hour")
    vocabulary = texts["vocabulary.yaml"].replace("events:\n", "events:\n  agent: {no: text}\n  app: {bought: text}\n")
    policy = (
        CONSENT
        + "declined_by: [agent.no]\nbought_by: [app.bought]\n"
        + limits
        + "saturation:\n"
        + "".join(f"  - {r}\n" for r in rules)
    )
    booster = booster.replace("after_decline: 14 days", "after_decline: {issue: 1 hour}")
    files = {"offers/booster.yaml": booster, "vocabulary.yaml": vocabulary, "contact_policy.yaml": policy}
    bench = bench_with(files)
    bench.profile()
    return bench


def call(bench: Any, *, rides: bool = True, balance: int = 5000, cost: int = 1) -> dict[str, tuple[str, int]]:
    """Why each action is not said, and until when; what is chosen has ("", 0)."""
    balances = [Bucket("main", balance), Bucket("data", 100_000, bench.now + DAY)]
    text = "Ref 1" if rides else ""
    work = bench.apply(bench.event("end_of_call", notification=text, service="voice", cost=cost, balances=balances))
    made = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    seen: dict[str, tuple[str, int]] = {}
    for verdict in explain(bench.program.decide, made):
        if verdict.state == "chosen" or verdict.action not in seen or seen[verdict.action] != ("", 0):
            seen[verdict.action] = (verdict.reason, verdict.until)
    return seen


def ignore(bench: Any, times: int, **how: Any) -> None:
    """Say the booster so many times, two hours apart, without an answer."""
    for _ in range(times):
        assert call(bench, **how)["booster"] == ("", 0)
        bench.now += 2 * HOUR


RULE = "{unanswered: 3, rest: 5 days}"


def test_after_so_many_without_an_answer_nothing_is_said_until_the_rest_is_over(
    bench_with: Callable[..., Any], texts: dict[str, str]
) -> None:
    bench = saturated(bench_with, texts, RULE)
    ignore(bench, 3)
    until = bench.now - 2 * HOUR + 5 * DAY
    assert call(bench)["booster"] == ("3 contacts unanswered", until)
    bench.now = until - 1
    assert call(bench)["booster"] == ("3 contacts unanswered", until)
    bench.now = until
    assert call(bench)["booster"] == ("", 0)
    bench.now += 2 * HOUR
    assert call(bench)["booster"] == ("3 contacts unanswered", until + 5 * DAY), "one more, and the next rest begins"


ANSWERS = ["1", "no", "STOP", "what is this?", "HELP", "agent", "app", "recharge"]


@pytest.mark.parametrize("answer", ANSWERS)
def test_any_answer_clears_it(bench_with: Callable[..., Any], texts: dict[str, str], answer: str) -> None:
    bench = saturated(bench_with, texts, RULE)
    bench.now -= 2 * HOUR
    assert call(bench, balance=400)["top_up"] == ("", 0), "a promise that a recharge redeems"
    bench.now += 2 * HOUR
    ignore(bench, 2)
    assert call(bench)["booster"][0] == "3 contacts unanswered"
    told: dict[str, dict[str, Any]] = {
        "agent": {"no": "booster"},
        "app": {"bought": "booster/large"},
        "recharge": {"amount": 1000},
    }
    if answer in told:
        bench.apply(bench.event(answer, **told[answer]))
    else:
        bench.apply(bench.reply(answer))
    bench.profile()  # after a STOP
    bench.now += 25 * HOUR  # what was taken or declined may be said again
    ignore(bench, 3)
    assert call(bench)["booster"][0] == "3 contacts unanswered"


@pytest.mark.parametrize("what", ["recharge", "BAL", "duplicate", "unasked"])
def test_what_is_no_answer_clears_nothing(bench_with: Callable[..., Any], texts: dict[str, str], what: str) -> None:
    bench = saturated(bench_with, texts, RULE)
    first = bench.reply("hello")
    bench.apply(first)
    ignore(bench, 3)
    told = {"recharge": bench.event("recharge", amount=1000), "BAL": bench.reply("BAL"), "duplicate": first}
    told["unasked"] = bench.event("app", bought="top_up")
    bench.apply(told[what])
    assert call(bench)["booster"][0] == "3 contacts unanswered"


def test_an_answer_and_the_next_contact_in_one_batch_are_told_apart(
    bench_with: Callable[..., Any], texts: dict[str, str]
) -> None:
    """Both have the same time: which came first decides."""
    bench = saturated(bench_with, texts, "{unanswered: 1, rest: 5 days}")
    ignore(bench, 1)
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    said = bench.event("end_of_call", notification="Ref 1", service="voice", cost=1, balances=balances)
    bench.apply(bench.reply("hello"), said)
    assert [contact.decision > bench.state().answered for contact in bench.state().contacts] == [True]
    bench.now += 2 * HOUR
    assert call(bench)["booster"][0] == "1 contact unanswered"
    bench.apply(bench.reply("hello"))
    assert call(bench)["booster"] == ("", 0)


@pytest.mark.parametrize(
    ("rule", "rides", "refused"),
    [
        ("{unanswered: 2, rest: 5 days, riding: yes}", True, True),
        ("{unanswered: 2, rest: 5 days, riding: yes}", False, False),
        ("{unanswered: 2, rest: 5 days, riding: no}", True, False),
        ("{unanswered: 2, rest: 5 days, channel: notification}", True, True),
        ("{unanswered: 2, rest: 5 days, offer: booster}", False, True),
        ("{unanswered: 2, rest: 5 days, offer: top_up}", True, False),
        ("{unanswered: 2, rest: 5 days, issue: upsell}", True, True),
        ("{unanswered: 2, rest: 5 days, issue: top_up}", True, False),
        ("{unanswered: 2, rest: 5 days, each: offer}", True, True),
        ("{unanswered: 2, rest: 5 days, each: issue, purpose: marketing}", True, True),
        ("{unanswered: 2, rest: 5 days, purpose: [care, third_party]}", True, False),
        ("{unanswered: 2, rest: 5 days, name: left alone}", True, True),
    ],
)
def test_it_counts_what_it_names(
    bench_with: Callable[..., Any], texts: dict[str, str], rule: str, rides: bool, refused: bool
) -> None:
    bench = saturated(bench_with, texts, rule)
    ignore(bench, 2)
    reason = call(bench, rides=rides)["booster"][0]
    assert (reason in [limit.name for limit in bench.program.playbook.policy.saturation]) == refused
    assert (reason == "") != refused


def test_each_offer_waits_on_its_own(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = saturated(bench_with, texts, "{unanswered: 2, rest: 5 days, each: offer}")
    ignore(bench, 2)
    assert call(bench)["booster"][0] == "2 contacts of each offer unanswered"
    assert call(bench, balance=400)["top_up"] == ("", 0)


def test_an_advice_that_nobody_can_answer_does_not_count(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = saturated(bench_with, texts, RULE)
    for _ in range(4):
        assert call(bench, cost=400)["off_peak_hint"] == ("", 0)
    ignore(bench, 3)
    assert call(bench, cost=400)["off_peak_hint"][0] == "3 contacts unanswered", "but it, too, is left away"


def test_what_was_never_sent_is_no_contact(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = saturated(bench_with, texts, RULE)
    ignore(bench, 2)
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    work = bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=balances))
    (row,) = work.batch.outgoing
    text = msgspec.msgpack.decode(row.payload, type=Text)
    assert call(bench)["booster"][0] in ("3 contacts unanswered", "already open")
    news = Delivery(row.id, row.subscriber, "dropped", bench.now, reason="too late")
    bench.apply(msgspec.structs.replace(news, offer=text.offer, decision=text.decision))
    assert call(bench)["booster"] == ("", 0)


def test_contacts_wait_for_an_answer_when_no_limit_counts_them_any_more(
    bench_with: Callable[..., Any], texts: dict[str, str]
) -> None:
    limits = "limits: [{at_most: 9, per: 1 day}]\n"
    bench = saturated(bench_with, texts, "{unanswered: 3, rest: 60 days}", limits=limits)
    for _ in range(3):
        ignore(bench, 1)
        bench.now += 20 * DAY
    assert call(bench)["booster"][0] == "3 contacts unanswered"
    bench.now += 60 * DAY
    for _ in range(6):
        ignore(bench, 1)
        bench.now += 60 * DAY
    bench.profile()
    assert len(bench.state().contacts) == 3, "only the last three are asked for"
    bench.apply(bench.reply("hello"))
    assert bench.state().contacts == []


def test_nothing_is_kept_longer_where_nobody_asks(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = saturated(bench_with, texts, "{unanswered: 2, rest: 1 day, issue: top_up}")
    ignore(bench, 1)
    bench.profile()
    assert bench.state().contacts == []
    old = saturated(bench_with, texts, RULE)
    ignore(old, 1)
    old.now += 400 * DAY
    old.profile()
    assert old.state().contacts == []


def test_a_playbook_tests_it(texts: dict[str, str]) -> None:
    rule = CONSENT + "saturation: [{unanswered: 2, rest: 5 days, riding: no}]\n"
    test = """
test: t
given: {balance: 90, unanswered: {booster: [1 day, 3 days], top_up: 2 days}}
when: {end_of_call: {cost: 1}}
then: {offer: none, because: {booster: 2 own messages unanswered}}
"""
    playbook = read(texts | {"contact_policy.yaml": rule, "tests/t.yaml": test})
    assert playbook.tests[0].unanswered == {"booster": (DAY, 3 * DAY), "top_up": (2 * DAY,)}


WRONG = {
    "{rest: 5 days}": "`unanswered` is missing; add it, as in `unanswered: 5`",
    "{unanswered: 3}": "`rest` is missing; add it, as in `rest: 14 days`",
    "{unanswered: 0, rest: 5 days}": "unanswered: `0` is no whole number from 1 to 50",
    "{unanswered: 3, rest: 401 days}": "rest: `401 days` is longer than 400 days",
    "{unanswered: 3, rest: 5 days, purpose: service}": "purpose: unknown purpose `service`; there are `care`",
    "{unanswered: 3, rest: 5 days, offer: boster}": "offer: unknown offer `boster`; did you mean `booster`?",
    "{unanswered: 3, rest: 5 days, shared: yes}": "unknown key `shared`",
    "{unanswered: 3, rest: 5 days, riding: yes, channel: sms}": "no contact is ever both",
}


@pytest.mark.parametrize("rule", WRONG)
def test_what_is_wrong_is_said(texts: dict[str, str], rule: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        read(texts | {"contact_policy.yaml": f"{CONSENT}saturation:\n  - {rule}"})
    (found,) = caught.value.diagnostics
    assert (found.file, found.line) == ("contact_policy.yaml", 3)
    assert WRONG[rule] in str(found)


def test_a_name_stands_for_one_rule_of_both_lists(texts: dict[str, str]) -> None:
    lists = "limits: [{at_most: 2, per: 1 day, name: x}]\nsaturation: [{unanswered: 2, rest: 1 day, name: x}]"
    with pytest.raises(PlaybookError, match=r"contact_policy.yaml:3: there are two limits `x`"):
        read(texts | {"contact_policy.yaml": CONSENT + lists})


def test_what_a_test_gives_must_be_an_offer(texts: dict[str, str]) -> None:
    test = "{test: t, given: {unanswered: {boster: 1 day}}, when: recharge, then: {offer: none}}"
    with pytest.raises(PlaybookError, match=r"tests/t.yaml:1: unknown offer `boster`; did you mean `booster`?"):
        read(texts | {"tests/t.yaml": test})
