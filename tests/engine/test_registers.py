"""Registers of those who are not to be disturbed; and what comes between a decision and its message stops it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.engine.test_dispatch import RETRY, SENT, Handset, held, running, status
from tests.waiting import until

from kairos.decide import Verdict, explain
from kairos.domain.decision import Decision
from kairos.domain.inputs import Delivery
from kairos.domain.message import Outgoing, Text
from kairos.domain.subscriber import Bucket
from kairos.errors import PlaybookError

HOUR = 3_600_000
DAY = 24 * HOUR
POLICY = """
contact_only_when: {marketing consent: marketing_consent}
registers:
  national register: {when: listed, stops: {issues: [upsell]}, unless: asked_for}
  blocked: {when: "categories LIKE '%%7%%'"}
pause_while: {open complaint: open_tickets > 0, dear call: "end_of_call.cost > 1000"}
limits: [{at_most: 1, per: 1 day, riding: no}, {at_most: 9, per: 1 day, riding: yes}]
%s
"""


def changes(texts: dict[str, str], more: str = "") -> dict[str, str]:
    fields = "{plan: text, listed: boolean, asked_for: boolean, categories: text,"
    vocabulary = texts["vocabulary.yaml"].replace("{plan: text,", fields)
    attributes = """attributes:
  listed: {type: boolean, from: [profile.listed], default: no}
  asked_for: {type: boolean, from: [profile.asked_for]}
  categories: {type: text, from: [profile.categories], default: none}
"""
    return {"vocabulary.yaml": vocabulary.replace("attributes:\n", attributes), "contact_policy.yaml": POLICY % more}


def call(bench: Any, *, riding: bool = False, balance: int = 5000) -> Any:
    balances = [Bucket("main", balance), Bucket("data", 100_000, bench.now + DAY)]
    text = "Ref 1" if riding else ""
    return bench.event("end_of_call", notification=text, service="voice", cost=1, balances=balances)


def decided(bench: Any, **how: Any) -> dict[str, Verdict]:
    work = bench.apply(call(bench, **how))
    made = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    return {v.action: v for v in explain(bench.program.decide, made)}


@pytest.mark.parametrize(
    ("profile", "booster", "top_up"),
    [
        ({}, "", ""),
        ({"listed": True}, "national register", ""),
        ({"listed": True, "asked_for": True}, "", ""),
        ({"listed": True, "asked_for": False}, "national register", ""),
        ({"categories": "3,7"}, "blocked", "blocked"),
        ({"categories": "3,7", "asked_for": True}, "blocked", "blocked"),
    ],
)
def test_a_register_stops_what_it_names(
    bench_with: Callable[..., Any], texts: dict[str, str], profile: dict[str, Any], booster: str, top_up: str
) -> None:
    bench = bench_with(changes(texts))
    bench.profile(**profile)
    verdicts = decided(bench, riding=True, balance=300)
    for action, reason in (("booster", booster), ("top_up", top_up)):
        assert verdicts[action].reason == reason if reason else verdicts[action].state != "gate"


BETWEEN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a STOP": (lambda bench: bench.reply("STOP"), "withdrawn"),
    "a consent": (lambda bench: bench.event("profile", marketing_consent=False), "marketing consent"),
    "a register": (lambda bench: bench.event("profile", listed=True), "national register"),
    "a complaint": (lambda bench: bench.event("profile", open_tickets=1.0), "open complaint"),
}


@pytest.mark.parametrize("what", BETWEEN)
async def test_what_came_after_deciding_stops_an_own_message(
    bench_with: Callable[..., Any], texts: dict[str, str], what: str
) -> None:
    bench = bench_with(changes(texts))
    bench.profile()
    news, why = BETWEEN[what]
    handset = Handset(RETRY, SENT)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) == 1)
        await loop.submit(news(bench))
        again.set()
        await until(lambda: status(bench, 1) == "dropped")
    assert [text.text for text in handset.got if text.marketing] == [handset.got[0].text]
    state = bench.state()
    assert state.contacts == [], "what was not said counts in no limit"
    assert state.offers[0].status == "withdrawn"
    if what != "a STOP":
        assert [r.reason for r in bench.store.responses(state.offers[0].key)] == [why]


@pytest.mark.parametrize("what", BETWEEN)
async def test_what_came_after_deciding_takes_a_line_off(
    bench_with: Callable[..., Any], texts: dict[str, str], what: str
) -> None:
    bench = bench_with(changes(texts))
    bench.profile()
    handset = Handset(RETRY, SENT)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(call(bench, riding=True))
        await until(lambda: len(handset.got) == 1)
        await loop.submit(BETWEEN[what][0](bench))
        again.set()
        await until(lambda: status(bench, 1) == "sent")
    said = [text.text for text in handset.got if text.destination and "Ref 1" in text.text]
    assert "\n" in said[0]
    assert said[-1] == "Ref 1", "the notification goes out all the same"
    assert bench.state().contacts == []


async def test_an_own_message_does_not_go_out_when_the_night_has_come(
    bench_with: Callable[..., Any], texts: dict[str, str]
) -> None:
    bench = bench_with(changes(texts, "quiet_hours: 21:00-08:00"))
    bench.now += 9 * HOUR - 1000
    bench.profile()
    handset = Handset(RETRY, SENT)
    async with running(bench, handset) as (loop, dispatcher):
        again = held(dispatcher)
        await loop.submit(call(bench))
        await until(lambda: len(handset.got) == 1)
        bench.now += 1000
        again.set()
        await until(lambda: status(bench, 1) == "dropped")
    assert len(handset.got) == 1


def test_a_rule_that_reads_the_event_is_not_asked_again(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = bench_with(changes(texts))
    bench.profile()
    work = bench.apply(call(bench))
    (row,) = [row for row in work.batch.outgoing if row.channel == "sms"]
    assert bench.apply(mark(row)).answers[0].status == "applied"


def mark(row: Outgoing) -> Any:
    text = msgspec.msgpack.decode(row.payload, type=Text)
    asked = Delivery(row.id, row.subscriber, "sending", 0, offer=text.offer, decision=text.decision)
    return msgspec.structs.replace(asked, destination=text.destination, action=text.action, channel=row.channel)


WRONG = {
    "registers: {a: {stops: {issues: [upsell]}}}": "`when` is missing",
    "registers: {a: {when: open_tickets > 0, stops: {issues: [upsel]}}}": "issues: unknown issue `upsel`; did you mean",
    "registers: {a: {when: open_tickets > 0, unless: lstd}}": "unknown name `lstd`",
    "registers: {marketing consent: {when: open_tickets > 0}}": "stands under `contact_only_when` already; rename one",
    "registers: {a: open_tickets > 0}": "a table of keys and values is wanted here",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_register_that_cannot_be_is_refused(bench_with: Callable[..., Any], line: str) -> None:
    with pytest.raises(PlaybookError) as raised:
        bench_with({"contact_policy.yaml": "contact_only_when: {marketing consent: marketing_consent}\n" + line})
    found = raised.value.diagnostics[0]
    assert (found.file, found.line) == ("contact_policy.yaml", 2)
    assert WRONG[line] in str(found)


LISTED = (
    "contact_only_when: {marketing consent: marketing_consent}\nregisters: {blocked: {file: blocked, unless: asked}}\n"
)


def on_file(bench_with: Callable[..., Any], texts: dict[str, str], asked: bool | None = None) -> Any:
    vocabulary = texts["vocabulary.yaml"].replace("{plan: text,", "{plan: text, asked: boolean,")
    vocabulary = vocabulary.replace("attributes:\n", "attributes:\n  asked: {type: boolean, from: [profile.asked]}\n")
    bench = bench_with({"vocabulary.yaml": vocabulary, "contact_policy.yaml": LISTED})
    bench.profile(asked=asked)
    return bench


def test_a_register_in_a_file_stops_its_numbers_and_everybody_until_it_was_read(
    bench_with: Callable[..., Any], texts: dict[str, str]
) -> None:
    bench = on_file(bench_with, texts)
    assert decided(bench)["booster"].reason == "blocked"
    bench.engine.register({"blocked": {"12025550199"}})
    assert decided(bench)["booster"].state == "chosen"
    bench.engine.register({"blocked": {"12025550123"}})
    assert decided(bench)["booster"].reason == "blocked"
    assert decided(on_file(bench_with, texts, asked=True))["booster"].state == "chosen"


def test_who_comes_on_a_file_after_deciding_gets_no_message(
    bench_with: Callable[..., Any], texts: dict[str, str]
) -> None:
    bench = on_file(bench_with, texts)
    bench.engine.register({"blocked": ()})
    work = bench.apply(call(bench))
    (row,) = [row for row in work.batch.outgoing if row.channel == "sms"]
    bench.engine.register({"blocked": {"12025550123"}})
    answer = bench.apply(mark(row)).answers[0]
    assert (answer.status, answer.reason) == ("dropped", "blocked")


def test_a_file_goes_with_no_rule(bench_with: Callable[..., Any]) -> None:
    line = "registers: {a: {file: blocked, when: open_tickets > 0}}"
    with pytest.raises(PlaybookError, match="`when` and `file` exclude each other; keep one"):
        bench_with({"contact_policy.yaml": line})
