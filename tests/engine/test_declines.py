"""After a no: the offer rests, its issue, or everything, each for its own time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.decide import explain
from kairos.domain.decision import Decision
from kairos.domain.subscriber import Bucket, Cooldown, State
from kairos.errors import PlaybookError

HOUR = 3_600_000
DAY = 24 * HOUR
NOTICE = """
action: notice
kind: care
purpose: %s
title: a notice
issue: upsell
variants: {only: {value: 1}}
answers: {end_of_call: 5 minutes}
treatments: {ride: {channel: notification, message: hint_line}}
accept_within: 1 hour
after_decline: never
"""


def call(bench: Any, balance: int = 300) -> dict[str, tuple[str, int]]:
    """Why each action is not said, and until when; chosen is "" and 0."""
    balances = [Bucket("main", balance), Bucket("data", 100_000, bench.now + DAY)]
    work = bench.apply(bench.event("end_of_call", notification="Ref 1", service="voice", cost=1, balances=balances))
    made = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    return {v.action: (v.reason, v.until) for v in explain(bench.program.decide, made)}


def declining(bench_with: Callable[..., Any], texts: dict[str, str], rests: str, **more: str) -> Any:
    """A bench where the booster, which anybody can afford, was said and declined, two hours ago."""
    offer = texts["offers/booster.yaml"].replace("after_decline: 14 days", f"after_decline: {rests}")
    bench = bench_with({"offers/booster.yaml": offer.replace("balance >= price", "balance > 0")} | more)
    bench.profile()
    assert call(bench)["booster"] == ("", 0)
    bench.apply(bench.reply("no"))
    bench.now += 2 * HOUR
    return bench


@pytest.mark.parametrize(
    ("rests", "booster", "top_up"),
    [
        ("14 days", ("declined", 14 * DAY), None),
        ("never", ("declined", -1), None),
        ("{offer: never}", ("declined", -1), None),
        ("{issue: 14 days}", ("issue declined", 14 * DAY), None),
        ("{issue: never, offer: 14 days}", ("declined", 14 * DAY), None),
        ("{everything: 2 days}", ("everything declined", 2 * DAY), ("everything declined", 2 * DAY)),
        (
            "{offer: never, issue: 14 days, everything: 2 days}",
            ("declined", -1),
            ("everything declined", 2 * DAY),
        ),
    ],
)
def test_each_rests_for_its_own_time(
    bench_with: Callable[..., Any],
    texts: dict[str, str],
    rests: str,
    booster: tuple[str, int],
    top_up: tuple[str, int] | None,
) -> None:
    bench = declining(bench_with, texts, rests)
    told = bench.now - 2 * HOUR
    verdicts = call(bench)
    for action, expected in (("booster", booster), ("top_up", top_up)):
        if expected:
            reason, until = expected
            assert verdicts[action] == (reason, until if until < 0 else told + until)
        else:
            assert "declined" not in verdicts[action][0]


def test_what_rests_is_said_again_to_the_millisecond(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = declining(bench_with, texts, "{issue: 2 days}")
    bench.now += 2 * DAY - 2 * HOUR - 1
    assert call(bench)["booster"][0] == "issue declined"
    bench.now += 1
    assert "declined" not in call(bench)["booster"][0]


@pytest.mark.parametrize(("purpose", "rests"), [("care", True), ("service", False), ("regulatory", False)])
def test_service_and_regulation_go_on_after_a_no(
    bench_with: Callable[..., Any], texts: dict[str, str], purpose: str, rests: bool
) -> None:
    bench = bench_with({"actions/notice.yaml": NOTICE % purpose})
    bench.profile()
    state: State = bench.state()
    for cooldown in (Cooldown("", bench.now + DAY, "upsell"), Cooldown("", bench.now + DAY)):
        state.cooldowns = [cooldown]
        bench.store._states[state.id] = msgspec.msgpack.encode(state)
        assert (call(bench)["notice"][0] in ("issue declined", "everything declined")) == rests


def test_an_older_cool_down_still_holds() -> None:
    old = msgspec.msgpack.encode(["booster", -1])
    assert msgspec.msgpack.decode(old, type=Cooldown) == Cooldown("booster", -1)


AGENT = "contact_only_when: {marketing consent: marketing_consent}\ndeclined_by: [agent.no]\n"


def with_agent(bench_with: Callable[..., Any], texts: dict[str, str]) -> Any:
    vocabulary = texts["vocabulary.yaml"].replace("events:\n", "events:\n  agent: {no: text, note: number}\n")
    bench = bench_with({"vocabulary.yaml": vocabulary, "contact_policy.yaml": AGENT})
    bench.profile()
    return bench


def test_a_no_through_another_door_counts(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = with_agent(bench_with, texts)
    told = bench.event("agent", identity="crm/1", no="booster")
    bench.now += HOUR
    bench.apply(told)
    bench.apply(bench.event("agent", no="booster", identity="again"))
    assert call(bench, balance=9000)["booster"] == ("declined", bench.now + 14 * DAY)
    assert [cooldown.until for cooldown in bench.state().cooldowns] == [bench.now + 14 * DAY]
    late = with_agent(bench_with, texts)
    late.now += HOUR
    late.apply(msgspec.structs.replace(told, happened=late.now - HOUR))
    assert call(late, balance=9000)["booster"] == ("declined", late.now - HOUR + 14 * DAY), "from when it was said"


def test_what_is_open_is_declined_with_it(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = with_agent(bench_with, texts)
    balances = [Bucket("main", 9000), Bucket("data", 100_000, bench.now + DAY)]
    bench.apply(bench.event("end_of_call", notification="Ref 1", service="voice", cost=1, balances=balances))
    bench.apply(bench.event("agent", identity="crm/7", no="booster"))
    (offer,) = bench.state().offers
    assert (offer.action, offer.status) == ("booster", "declined")
    assert [(r.outcome, r.reason) for r in bench.store.responses(offer.key)] == [("declined", "crm/7")]
    assert bench.apply(bench.reply("1")).batch.outgoing[-1].channel == "sms", "nothing is ordered"


def test_a_no_to_what_nobody_knows_is_told(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = with_agent(bench_with, texts)
    notes: list[str] = []
    bench.engine.note = notes.append
    bench.apply(bench.event("agent", no="boster"), bench.event("agent", note=1.0))
    assert notes == ["an event `agent` declines `boster`, which is no offer of the playbook"]
    assert bench.state().cooldowns == []


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("agent.not", "unknown field `agent.not`; did you mean"),
        ("agent.note", "`agent.note` is no text"),
        ("agent.happened", "`agent.happened` is no text"),
        ("[agent.no, agent.no]", "`agent` stands here twice"),
    ],
)
def test_an_event_that_tells_no_offer_is_refused(
    bench_with: Callable[..., Any], texts: dict[str, str], written: str, why: str
) -> None:
    vocabulary = texts["vocabulary.yaml"].replace("events:\n", "events:\n  agent: {no: text, note: number}\n")
    with pytest.raises(PlaybookError) as raised:
        bench_with({"vocabulary.yaml": vocabulary, "contact_policy.yaml": AGENT.replace("[agent.no]", written)})
    (found,) = raised.value.diagnostics
    assert found.line == 2
    assert why in str(found)


WRONG = {
    "{}": "after_decline: nothing rests after a no; add it, as in `after_decline: {offer: never",
    "{offers: never}": "unknown key `offers`; did you mean `offer`?",
    "{offer: sometime}": "offer: `sometime` is no duration; write it as in `5 minutes` or `7 days`, or `never`",
}


@pytest.mark.parametrize("rests", WRONG)
def test_a_rest_that_cannot_be_is_refused(bench_with: Callable[..., Any], texts: dict[str, str], rests: str) -> None:
    offer = texts["offers/booster.yaml"].replace("after_decline: 14 days", f"after_decline: {rests}")
    with pytest.raises(PlaybookError) as raised:
        bench_with({"offers/booster.yaml": offer})
    found = raised.value.diagnostics[0]
    assert (found.file, found.line) == ("offers/booster.yaml", 17)
    assert WRONG[rests] in str(found)
