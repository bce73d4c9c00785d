"""Freeze windows: when they hold, what they stop, and what waits for their end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.test_dispatch import SENT, Handset, running, status
from tests.waiting import until

from kairos.decide.freezes import frozen_until
from kairos.domain.decision import Decision
from kairos.domain.subscriber import Bucket
from kairos.engine.playbook_tests import run_tests
from kairos.engine.program import compile_program
from kairos.playbook import read
from kairos.playbook.policy import WEEK, Freeze

DAY = 86_400_000
HOUR = 3_600_000
TEXT = "Your call cost T$1. Ref 1"


def ms(word: str) -> int:
    moment = datetime.fromisoformat(word)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


# -- when --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-06 21:59", ""),  # a Friday, London, winter time
        ("2026-03-06 22:00", "2026-03-08 06:00"),
        ("2026-03-08 05:59", "2026-03-08 06:00"),
        ("2026-03-08 06:00", ""),
        ("2026-03-28 12:00", "2026-03-29 05:00"),  # the night in which summer time begins: the wall clock counts
        ("2026-07-03 21:00", "2026-07-05 05:00"),
        ("2026-07-03 20:59", ""),
    ],
)
def test_a_weekly_window_is_of_the_wall_clock(now: str, until: str) -> None:
    window = Freeze("billing", (4 * 24 + 22) * 60, (6 * 24 + 6) * 60, True, "Europe/London")
    assert frozen_until(window, ms(now)) == (ms(until) if until else 0)


@given(
    st.integers(0, WEEK - 1),
    st.integers(0, WEEK - 1),
    st.sampled_from(["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"]),
    st.integers(0, 4_000_000_000_000),
)
def test_a_weekly_window_holds_where_the_wall_clock_is_between_its_ends(
    start: int, end: int, zone: str, now: int
) -> None:
    if start == end:
        return
    wall = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now)
    local = wall.astimezone(ZoneInfo(zone))
    offsets = {(wall + timedelta(days=n)).astimezone(ZoneInfo(zone)).utcoffset() for n in range(-8, 9)}
    if len(offsets) > 1:
        return  # clocks change: the table has that
    minute = (local.weekday() * 24 + local.hour) * 60 + local.minute
    inside = (minute - start) % WEEK < (end - start) % WEEK
    until = frozen_until(Freeze("why", start, end, True, zone), now)
    assert (until > now) == inside
    if inside:
        over = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=until)).astimezone(ZoneInfo(zone))
        assert (over.weekday() * 24 + over.hour) * 60 + over.minute == end


# -- what --------------------------------------------------------------------------------------------------------------

POLICY = "contact_only_when: {marketing consent: marketing_consent}\nfreeze:\n  - "


def call(bench: Any, *, text: str = TEXT, cost: int = 100) -> Any:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    return bench.event("end_of_call", notification=text, service="voice", cost=cost, balances=balances)


def made(bench: Any, **how: Any) -> tuple[str, Decision]:
    ((*_, blob),) = bench.apply(call(bench, **how)).batch.decisions
    record = msgspec.msgpack.decode(blob, type=Decision)
    arms = bench.program.decide.arms
    return (arms[record.chosen.arm].action.name if record.chosen else ""), record


@pytest.mark.parametrize(
    ("window", "text", "cost", "said", "why"),
    [
        ("{from: 2026-03-04 00:00, to: 2026-03-05 00:00, why: freeze}", TEXT, 100, "", "gate"),
        ("{from: 2026-03-04 00:00, to: 2026-03-05 00:00, why: freeze}", TEXT, 400, "off_peak_hint", "gate"),
        ("{from: 2026-03-04 00:00, to: 2026-03-05 00:00, why: freeze, except_care: no}", TEXT, 400, "", "gate"),
        ("{from: wed 00:00, to: thu 00:00, why: freeze}", TEXT, 100, "", "gate"),
        (
            "{from: wed 00:00, to: thu 00:00, why: mild}\n  - "
            "{from: wed 00:00, to: thu 00:00, why: freeze, except_care: no}",
            TEXT,
            400,
            "",
            "gate",
        ),
        ("{from: 2026-03-04 14:00, to: 2026-03-05 02:00, why: freeze, zone: Europe/Kyiv}", TEXT, 100, "", "gate"),
        ("{from: 2026-03-04T14:00+02:00, to: 2026-03-05T00:00Z, why: freeze}", TEXT, 100, "", "gate"),
        ("{from: 2026-03-04 12:01, to: 2026-03-05 00:00, why: freeze}", TEXT, 100, "booster", ""),
        ("{from: 2026-03-03 00:00, to: 2026-03-04 12:00, why: freeze}", TEXT, 100, "booster", ""),
        ("{from: wed 00:00, to: thu 00:00, why: freeze, channels: sms}", TEXT, 100, "booster", ""),
        ("{from: wed 00:00, to: thu 00:00, why: freeze, channels: sms}", "", 100, "", "limit"),
        ("{from: wed 00:00, to: thu 00:00, why: freeze, issues: [upsell]}", TEXT, 100, "", "limit"),
        ("{from: wed 00:00, to: thu 00:00, why: freeze, issues: [care]}", TEXT, 400, "off_peak_hint", ""),
        ("{from: wed 00:00, to: thu 00:00, why: freeze, issues: [top_up]}", TEXT, 100, "booster", ""),
    ],
)
def test_what_a_window_stops(
    bench_with: Callable[..., Any], window: str, text: str, cost: int, said: str, why: str
) -> None:
    bench = bench_with({"contact_policy.yaml": POLICY + window + "\n"})
    bench.profile()
    chosen, record = made(bench, text=text, cost=cost)
    assert chosen == said
    assert ("freeze" in [shut.rule for shut in record.gates]) == (why == "gate")
    refused = {(refusal.rule, refusal.until) for refusal in record.limits}
    assert refused == ({("freeze", ms("2026-03-05"))} if why == "limit" else set())
    assert record.until == (ms("2026-03-05") if why == "gate" else 0)


def test_a_playbooks_own_test_can_stand_in_a_window(texts: dict[str, str]) -> None:
    texts["playbook.yaml"] = texts["playbook.yaml"].replace("time_zone: UTC", "time_zone: Asia/Kathmandu")
    texts["contact_policy.yaml"] = POLICY + "{from: 2026-12-24 00:00, to: 2026-12-25 00:00, why: network freeze}\n"
    test = "given: {plan: prepaid, marketing_consent: yes, balance: 50, data_left_mb: 1}\n  when: end_of_call\n"
    expected = {
        "2026-12-23 23:59": "{offer: booster}",
        "2026-12-24 00:00": "{offer: none, because: {booster: network freeze}}",
        "2026-12-24 23:59": "{offer: none, because: {booster: network freeze}}",
        "2026-12-25 00:00": "{offer: booster}",
    }
    texts["tests/freeze.yaml"] = "".join(
        f"- test: at {at}\n  {test}  at: {at}\n  then: {then}\n" for at, then in expected.items()
    )
    assert [str(failure) for failure in run_tests(compile_program(read(texts)))] == []


# -- what waits --------------------------------------------------------------------------------------------------------


def made_before(bench_with: Callable[..., Any], window: str, *, text: str) -> Any:
    """A bench with one message in the outbox, made before a window that then begins."""
    bench = bench_with()
    bench.profile()
    bench.apply(call(bench, text=text))
    policy = {"contact_policy.yaml": POLICY + window + "\n"}
    bench.engine.use(bench_with(policy).program)
    return bench


async def test_a_message_that_waits_for_the_end_of_a_window_holds_up_no_notification(
    bench_with: Callable[..., Any],
) -> None:
    window = "{from: 2026-03-04 12:00, to: 2026-03-04 12:05, why: freeze}"
    bench = made_before(bench_with, window, text="")
    bench.now += 5 * 60_000 - 20  # the message's time is 10 minutes
    handset = Handset(SENT)
    async with running(bench, handset) as (loop, _):
        loop.post(call(bench))
        await until(lambda: len(handset.got) == 1)
        assert [text.text for text in handset.got] == [TEXT]
        assert status(bench, 1) == "pending"
        bench.now += 20
        await until(lambda: status(bench, 1) == "sent")
    assert len(handset.got) == 2


async def test_however_many_messages_wait_for_the_end_of_a_window_notifications_go_out(
    bench_with: Callable[..., Any],
) -> None:
    others = [f"120255501{n:02d}" for n in range(30, 39)]
    bench = bench_with()
    for msisdn in others:
        bench.apply(bench.event("profile", msisdn=msisdn, plan="prepaid", language="en", marketing_consent=True))
        bench.apply(msgspec.structs.replace(call(bench, text=""), msisdn=msisdn))
    window = "{from: 2026-03-04 12:00, to: 2026-03-04 12:05, why: freeze}"
    bench.engine.use(bench_with({"contact_policy.yaml": POLICY + window}).program)
    bench.now += 5 * 60_000 - 20
    handset = Handset(SENT)
    async with running(bench, handset) as (loop, dispatcher):
        dispatcher.hold = 3
        await until(lambda: dispatcher.held_back["sms"] == len(others))
        loop.post(call(bench))
        await until(lambda: [text.text for text in handset.got] == [TEXT])
        bench.now += 20
        await until(lambda: len(handset.got) == 1 + len(others))
        await until(lambda: not bench.store.unsent(0, 100))
        assert dispatcher.held_back["sms"] == 0


async def test_a_message_whose_time_is_over_before_the_window_is_dropped(bench_with: Callable[..., Any]) -> None:
    window = "{from: 2026-03-04 12:00, to: 2026-03-04 13:00, why: freeze}"
    bench = made_before(bench_with, window, text="")
    handset = Handset(SENT)
    async with running(bench, handset):
        await until(lambda: status(bench, 1) == "dropped")
    assert (handset.got, bench.state().contacts) == ([], [])
    (offer,) = bench.state().offers
    assert [(r.outcome, r.reason) for r in bench.store.responses(offer.key)] == [("dropped", "freeze")]


@pytest.mark.parametrize(("issue", "line"), [("upsell", False), ("care", True)])
async def test_a_line_that_waits_is_taken_off_where_the_window_concerns_it(
    bench_with: Callable[..., Any], issue: str, line: bool
) -> None:
    window = f"{{from: 2026-03-04 12:00, to: 2026-03-04 13:00, why: freeze, issues: [{issue}], except_care: no}}"
    bench = made_before(bench_with, window, text=TEXT)
    handset = Handset(SENT)
    async with running(bench, handset):
        await until(lambda: status(bench, 1) == "sent")
    assert (handset.got[0].text != TEXT) == line
