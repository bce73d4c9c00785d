"""No limit is ever exceeded, and nobody who said no, has answered nothing, is paused or held out is spoken to: whatever
comes in which order.

Events, replies and news of messages come in batches, of which several are under way at once and some fail to commit.
The ledger here counts what was written to go out and was not taken back; it shares no code with what it checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kairos.domain.event import Event
from kairos.domain.inputs import Delivery, Reply
from kairos.domain.message import Outgoing, Text
from kairos.domain.subscriber import Bucket
from kairos.engine.work import Input, Work

HOUR = 3_600_000
DAY = 24 * HOUR
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
NUMBERS = ("12025550101", "12025550102")
ISSUES = {"booster": "upsell", "extra": "upsell", "top_up": "top_up", "partner": "partner", "off_peak_hint": "care"}
PURPOSES = {"partner": "third_party", "off_peak_hint": "care"}
OWN, RIDING = False, True

PARTNER = """
offer: %s
purpose: %s
title: more
issue: %s
variants: {one: {price: 1, value: %s}}
answers: {end_of_call: 5 minutes, data_session: 5 minutes}
treatments:
  ride: {channel: notification, message: booster_line}
  own: {channel: sms, message: booster_line}
accept_within: 30 minutes
after_decline: %s
fulfil: {charge: price}
"""
POLICY = """
contact_only_when: {marketing consent: marketing_consent}
pause_while: {open complaint: {when: open_tickets > 0, except: [top_up]}}
limits:
%s
holdout: %s
"""


@dataclass
class Said:
    """Something of ours that was written to go out."""

    at: int
    msisdn: str
    action: str
    riding: bool
    channel: str
    offer: str
    decision: int
    row: Outgoing
    status: str = "pending"
    order: tuple[int, int] = (0, 0)  # the batch that it was decided in, and the place of its input there

    @property
    def issue(self) -> str:
        return ISSUES[self.action]

    @property
    def purpose(self) -> str:
        return PURPOSES.get(self.action, "marketing")


@dataclass(frozen=True)
class Rule:
    """A limit as it is written, and what it means: at most so many in a window (ms, or of a calendar) of each group."""

    written: str
    at_most: int
    per: int | str
    counts: Callable[[Said], bool] = lambda _: True
    group: Callable[[Said], str] = lambda _: ""


@dataclass(frozen=True)
class Rest:
    """A rest (ms) after so many contacts of a group without an answer."""

    written: str
    unanswered: int
    rest: int
    counts: Callable[[Said], bool] = lambda _: True
    group: Callable[[Said], str] = lambda _: ""


RESTS = (
    Rest("{unanswered: 4, rest: 15 hours}", 4, 15 * HOUR),
    Rest("{unanswered: 2, rest: 1 day, each: offer}", 2, DAY, group=lambda s: s.action),
    Rest("{unanswered: 1, rest: 5 hours, riding: no}", 1, 5 * HOUR, lambda s: not s.riding),
    Rest("{unanswered: 2, rest: 9 hours, issue: upsell}", 2, 9 * HOUR, lambda s: s.issue == "upsell"),
    Rest("{unanswered: 1, rest: 2 days, purpose: third_party}", 1, 2 * DAY, lambda s: s.purpose == "third_party"),
)
ADVICE = Rule("{at_most: 2, per: 1 day, offer: off_peak_hint}", 2, DAY, lambda s: s.action == "off_peak_hint")
STRICT = (
    Rule("{at_most: 5, per: 1 day, riding: yes}", 5, DAY, lambda s: s.riding),
    Rule("{at_most: 2, per: 1 day, riding: no}", 2, DAY, lambda s: not s.riding),
    Rule("{at_most: 1, per: 3 hours, channel: sms}", 1, 3 * HOUR, lambda s: s.channel == "sms"),
    Rule("{at_most: 4, per: calendar day}", 4, "day"),
    Rule("{at_most: 2, per: 1 day, each: offer}", 2, DAY, group=lambda s: s.action),
)
LOOSE = (
    Rule("{at_most: 3, per: 2 days, issue: upsell}", 3, 2 * DAY, lambda s: s.issue == "upsell"),
    Rule("{at_most: 1, per: 2 days, purpose: third_party}", 1, 2 * DAY, lambda s: s.purpose == "third_party"),
    Rule("{at_most: 4, per: calendar week, purpose: marketing}", 4, "week", lambda s: s.purpose == "marketing"),
    Rule("{at_most: 1, per: 4 hours, each: issue, riding: yes}", 1, 4 * HOUR, lambda s: s.riding, lambda s: s.issue),
    Rule("{at_most: 2, per: 1 day, offer: partner}", 2, DAY, lambda s: s.action == "partner"),
)


def texts_of(
    texts: dict[str, str], rules: tuple[Rule, ...], holdout: str, rests: tuple[Rest, ...] = ()
) -> dict[str, str]:
    booster = (
        texts["offers/booster.yaml"]
        .replace("accept_within: 24 hours", "accept_within: 30 minutes")
        .replace("relevant_when: {running low: data_left_mb < 200}\n", "")
    )
    return {
        "offers/booster.yaml": booster.replace("decline: 14 days", "decline: {offer: 5 days, issue: 1 day}"),
        "offers/extra.yaml": PARTNER % ("extra", "marketing", "upsell", 3, "{everything: 8 hours, offer: never}"),
        "offers/partner.yaml": PARTNER % ("partner", "third_party", "partner", 9, "2 days"),
        "offers/top_up.yaml": texts["offers/top_up.yaml"].replace("balance < 5", "balance >= 0").replace("24 h", "1 h"),
        "contact_policy.yaml": POLICY % ("\n".join(f"  - {rule.written}" for rule in rules), holdout)
        + "".join(["saturation:\n"] * bool(rests) + [f"  - {rest.written}\n" for rest in rests]),
    }


@dataclass
class World:
    bench: Any
    said: list[Said] = field(default_factory=list)
    under_way: list[Work] = field(default_factory=list)
    declined: list[tuple[int, str, str]] = field(default_factory=list)  # when, who, which action
    answers: list[tuple[tuple[int, int], str]] = field(default_factory=list)  # the order, as of what is said, and who
    batches: int = 0

    def take(self, *inputs: Input) -> None:
        """A batch, decided on top of those that are under way."""
        self.under_way.append(self.bench.engine.apply(inputs, self.bench.now))

    def fail(self) -> None:
        """A commit fails: all that are under way are taken anew, from what the store has."""
        again, self.under_way = self.under_way, []
        self.bench.engine.flying.clear()
        for work in again:
            self.take(*work.inputs)
        self.commit()

    def commit(self) -> None:
        for work in self.under_way:
            self.bench.store.commit(work.batch)
            self.bench.engine.flying.remove(work)
            self.batches += 1
            for row in work.batch.outgoing:
                self._write(row, work.now, (self.batches, work.caused_by[row.id]))
            redeemed = set()
            for response in work.batch.responses:
                said = next(one for one in self.said if one.decision == response.decision)
                if response.outcome == "declined":
                    self.declined.append((response.at, said.msisdn, said.action))
                redeemed |= {said.msisdn} if response.outcome == "redeemed" else set()
            for place, source in enumerate(work.inputs):
                recharge = isinstance(source, Event) and source.kind == "recharge" and source.msisdn in redeemed
                if recharge or isinstance(source, Reply):
                    self.answers.append(((self.batches, place), source.msisdn))  # type: ignore[union-attr]
        self.under_way.clear()

    def _write(self, row: Outgoing, now: int, order: tuple[int, int]) -> None:
        if row.channel in ("sms", "notification"):
            text = msgspec.msgpack.decode(row.payload, type=Text)
            if text.decision:
                riding = row.channel == "notification"
                self.said.append(
                    Said(
                        now,
                        text.destination,
                        text.action,
                        riding,
                        row.channel,
                        text.offer,
                        text.decision,
                        row,
                        order=order,
                    )
                )

    def news(self, said: Said, status: str, reason: str = "") -> str:
        """News of a message, as the dispatcher gives it; what the engine answered."""
        asks = status in ("sending", "line")
        delivery = Delivery(said.row.id, said.row.subscriber, status, self.bench.now, reason=reason)
        delivery = msgspec.structs.replace(
            delivery,
            offer=said.offer,
            decision=said.decision,
            destination=said.msisdn if asks else "",
            action=said.action if asks else "",
            channel=said.channel if asks else "",
        )
        self.take(delivery)
        answer: str = self.under_way[-1].answers[0].status
        self.commit()
        return answer

    def send(self, said: Said, outcome: str) -> None:
        """What becomes of a message that was written, in the dispatcher's order; none waits for longer than a day."""
        if said.status != "pending" or self.bench.now - said.at > DAY:
            return
        said.status = "went"
        if outcome == "dropped":
            self.news(said, "plain" if said.riding else "dropped", "too late")
            said.status = "dropped"
        elif said.riding:
            if self.news(said, "line") == "dropped":
                self.news(said, "plain", "withdrawn")
                said.status = "dropped"
        elif self.news(said, "sending") == "dropped":
            said.status = "dropped"
        elif outcome == "failed":
            self.news(said, "failed", "refused by the SMSC")
            said.status = "dropped"
        else:
            self.news(said, "failed" if outcome == "unknown" else "sent", outcome if outcome == "unknown" else "")
        if said.status == "went" and said.purpose != "care":
            self.may_be_spoken_to(said)

    def may_be_spoken_to(self, said: Said) -> None:
        """What has just gone out: its subscriber agrees, and no pause holds for it."""
        state = self.bench.state(said.msisdn)
        known = dict(zip(self.bench.program.playbook.vocabulary.attributes, state.attributes, strict=True))
        assert known["marketing_consent"] is True, said
        assert not known["open_tickets"] or said.issue == "top_up", said


def spans(per: int | str, at: int) -> tuple[int, int]:
    """The window that ends with a contact; or the day or week in UTC that it is in."""
    if isinstance(per, int):
        return at - per + 1, at
    day = at // DAY * DAY
    day -= DAY * datetime.fromtimestamp(at // 1000, UTC).weekday() if per == "week" else 0
    return day, day + (7 if per == "week" else 1) * DAY - 1


def broken_limits(said: list[Said], rules: tuple[Rule, ...]) -> Iterator[str]:
    for msisdn in NUMBERS:
        mine = [one for one in said if one.msisdn == msisdn and one.status != "dropped"]
        for rule in rules:
            counted = [one for one in mine if rule.counts(one)]
            for last in counted:
                first, end = spans(rule.per, last.at)
                inside = [s.at for s in counted if rule.group(s) == rule.group(last) and first <= s.at <= end]
                if len(inside) > rule.at_most:
                    yield f"{rule.written}: {inside}"


def broken_declines(world: World) -> Iterator[str]:
    rests = {
        "booster": (5 * DAY, 1 * DAY, 0),
        "extra": (10**15, 0, 8 * HOUR),
        "partner": (2 * DAY, 0, 0),
        "top_up": (14 * DAY, 0, 0),
    }
    for at, msisdn, action in world.declined:
        offer, issue, everything = rests[action]
        for said in world.said:
            since = said.at - at
            if said.msisdn != msisdn or since <= 0:
                continue
            if since < everything or (said.issue == ISSUES[action] and since < issue):
                yield f"{said.action} {since} after a no to {action}"
            if said.action == action and since < offer:
                yield f"{action} {since} after a no to it"


def broken_rests(world: World, rests: tuple[Rest, ...]) -> Iterator[str]:
    for msisdn in NUMBERS:
        mine = [one for one in world.said if one.msisdn == msisdn and one.status != "dropped"]
        answered = [order for order, who in world.answers if who == msisdn]
        for rest in rests:
            for one in filter(rest.counts, mine):
                since = max((order for order in answered if order < one.order), default=(0, 0))
                waiting = [
                    before.at
                    for before in mine
                    if since < before.order < one.order
                    and before.action != "off_peak_hint"  # an advice: nobody can answer it
                    and rest.counts(before)
                    and rest.group(before) == rest.group(one)
                ]
                if len(waiting) >= rest.unanswered and one.at < max(waiting) + rest.rest:
                    yield f"{rest.written}: {one.action} at {one.at} after {waiting}"


def events(world: World, msisdn: str, kinds: list[str]) -> Iterator[Input]:
    bench = world.bench
    for kind in kinds:
        known = {"msisdn": msisdn}
        match kind:
            case "rides" | "own":
                balances = [Bucket("main", 5000), Bucket("data", 1000)]
                text = "Ref" if kind == "rides" else ""
                yield bench.event("end_of_call", notification=text, service="v", cost=400, balances=balances, **known)
            case "session":
                yield bench.event("data_session", app="video", bytes=1.0, **known)
            case "recharge":
                yield bench.event("recharge", amount=1000, **known)
            case "agrees" | "refuses":
                yield bench.event("profile", marketing_consent=kind == "agrees", **known)
            case "complains" | "content":
                yield bench.event("profile", open_tickets=float(kind == "complains"), **known)
            case _:
                yield bench.reply(kind, **known)


KINDS = ["rides", "own", "session", "recharge", "agrees", "refuses", "complains", "content"]
KINDS += ["yes", "1", "no", "2 no", "STOP"]
LIKELY = [*["rides", "own", "session"] * 4, *["agrees", "content"] * 3]
OUTCOMES = ["sent", "sent", "dropped", "failed", "unknown"]
BATCH = st.lists(
    st.tuples(st.sampled_from(NUMBERS), st.lists(st.sampled_from(KINDS + LIKELY), min_size=1, max_size=4)),
    min_size=1,
    max_size=4,
)
AFTER = (
    st.tuples(st.just("commit"), st.none()),
    st.tuples(st.just("fail"), st.none()),
    st.tuples(
        st.just("send"),
        st.tuples(st.integers(0, 50), st.sampled_from(OUTCOMES)),
    ),
)
STEP = st.one_of(
    st.tuples(st.just("take"), BATCH),
    st.tuples(st.just("take"), BATCH),
    st.tuples(st.just("pass"), st.one_of(st.integers(0, 2 * HOUR), st.integers(0, 9 * HOUR))),
    *AFTER,
)


SILENT = st.tuples(  # few answers, and days go by
    st.sampled_from(NUMBERS),
    st.lists(st.sampled_from([*["rides", "own", "session"] * 7, *KINDS]), min_size=1, max_size=4),
)
SILENT_STEP = st.one_of(
    st.tuples(st.just("take"), st.lists(SILENT, min_size=1, max_size=4)),
    st.tuples(st.just("pass"), st.integers(0, 40).map(lambda hours: hours * HOUR)),
    *AFTER,
)


def run(bench: Any, steps: list[Any]) -> World:
    world = World(bench)
    for number in NUMBERS:
        bench.profile(msisdn=number)
    for what, how in steps:
        match what:
            case "take":
                world.take(*[one for msisdn, kinds in how for one in events(world, msisdn, kinds)])
            case "pass":
                world.commit()
                bench.now += how
            case "commit":
                world.commit()
            case "fail":
                world.fail()
            case "send":
                world.commit()
                pending = [said for said in world.said if said.status == "pending"]
                if pending:
                    world.send(pending[how[0] % len(pending)], how[1])
    world.commit()
    return world


@given(st.lists(STEP, min_size=30, max_size=90))
@settings(deadline=None, max_examples=70, suppress_health_check=SLOW)
@pytest.mark.parametrize("rules", [STRICT, LOOSE], ids=["strict", "loose"])
def test_no_limit_is_exceeded_and_a_no_is_heeded(
    bench_with: Callable[..., Any], texts: dict[str, str], rules: tuple[Rule, ...], steps: list[Any]
) -> None:
    world = run(_bench(bench_with, texts, rules, "0%"), steps)
    assert list(broken_limits(world.said, rules)) == []
    assert list(broken_declines(world)) == []


@given(st.lists(SILENT_STEP, min_size=30, max_size=90))
@settings(deadline=None, max_examples=70, suppress_health_check=SLOW)
@pytest.mark.parametrize("rests", [RESTS[:2], RESTS[2:]], ids=["everything", "parts"])
def test_who_answers_nothing_is_left_alone(
    bench_with: Callable[..., Any], texts: dict[str, str], rests: tuple[Rest, ...], steps: list[Any]
) -> None:
    world = run(_bench(bench_with, texts, (ADVICE,), "0%", rests), steps)
    assert list(broken_rests(world, rests)) == []


@given(st.lists(STEP, min_size=30, max_size=90))
@settings(deadline=None, max_examples=30, suppress_health_check=SLOW)
def test_the_held_out_get_care_alone_on_any_path(
    bench_with: Callable[..., Any], texts: dict[str, str], steps: list[Any]
) -> None:
    world = run(_bench(bench_with, texts, LOOSE, "99%"), steps)
    assert {said.purpose for said in world.said} <= {"care"}


_programs: dict[Any, Any] = {}


def _bench(
    bench_with: Callable[..., Any],
    texts: dict[str, str],
    rules: tuple[Rule, ...],
    holdout: str,
    rests: tuple[Rest, ...] = (),
) -> Any:
    """A new engine and store on one program."""
    key = (rules[0].written, holdout, *(rest.written for rest in rests))
    if key not in _programs:
        _programs[key] = bench_with(texts_of(texts, rules, holdout, rests))
    return type(_programs[key])(_programs[key].program)


def test_the_ledger_finds_what_is_broken() -> None:
    """It could fail: three own messages within a day, and one soon after a no."""
    row = Outgoing(1, "k", 1, "sms", b"", 0)
    said = [Said(n * 7 * HOUR, NUMBERS[0], "partner", False, "sms", "", n, row, "went") for n in range(3)]
    broken = " ".join([*broken_limits(said, STRICT), *broken_limits(said, LOOSE)])
    for written in ("riding: no", "third_party", "offer: partner", "each: offer"):
        assert written in broken
    assert "channel: sms" not in broken
    world = World(None, said, declined=[(1, NUMBERS[0], "partner")])
    assert len(list(broken_declines(world))) == 2
    said[1].status = said[2].status = "dropped"
    assert list(broken_limits(said, STRICT)) == []


def test_the_ledger_finds_who_was_not_left_alone() -> None:
    row = Outgoing(1, "k", 1, "sms", b"", 0)
    world = World(
        None, [Said(n * HOUR, NUMBERS[0], "extra", False, "sms", "", n, row, "went", (n, 0)) for n in (1, 2, 3)]
    )
    broken = list(broken_rests(world, RESTS))
    for written, times in {"each: offer": 1, "riding: no": 2, "issue: upsell": 1, "third_party": 0}.items():
        assert len([one for one in broken if written in one]) == times
    world.answers = [((1, 1), NUMBERS[0]), ((2, 1), NUMBERS[1])]
    (found,) = broken_rests(world, RESTS)
    assert "riding: no" in found
    world.said[1].status = "dropped"
    assert list(broken_rests(world, RESTS)) == []
