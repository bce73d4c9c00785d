"""Decisions end to end through the pure stages: what is chosen, what refuses the rest, and until when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.decide import Composed, Verdict, explain
from kairos.decide.decide import decide, keyed_draw
from kairos.decide.gates import held_out, quiet_until
from kairos.decide.program import Program, bits
from kairos.domain.decision import Decision
from kairos.domain.moment import Moment
from kairos.domain.subscriber import Bucket, Contact, Cooldown
from kairos.learn import FixedPropensity

HOUR = 3_600_000
DAY = 24 * HOUR
TEXT = "Your call cost T$1. Ref 1"


def decisions(bench: Any) -> list[Decision]:
    return [msgspec.msgpack.decode(bench.store.decision(n), type=Decision) for n in range(1, bench.engine.ids.decision)]


def verdicts(bench: Any) -> dict[str, Verdict]:
    """The verdicts of the latest decision, by arm."""
    return {v.arm: v for v in explain(bench.program.decide, decisions(bench)[-1])}


def call(
    bench: Any, *, text: str = TEXT, balance: int = 5000, data: int = 100_000, cost: int = 100, **more: Any
) -> Any:
    balances = [Bucket("main", balance), Bucket("data", data, bench.now + DAY)]
    event = bench.event("end_of_call", notification=text, service="voice", cost=cost, balances=balances, **more)
    return bench.apply(event)


def test_the_best_by_chance_value_and_weight_is_chosen(bench: Any) -> None:
    bench.profile()
    call(bench)
    seen = verdicts(bench)
    assert seen["booster/large"].state == "chosen"
    assert seen["booster/small"].reason == "outranked by booster/large"
    assert seen["booster/large"].priority == pytest.approx(0.05 * 2400)


@pytest.mark.parametrize(
    ("profile", "situation", "arm", "state", "reason"),
    [
        ({}, {"balance": 1500}, "booster/large", "rule", "can afford it"),
        ({}, {"data": 200_000}, "booster/small", "rule", "running low"),
        ({"plan": "postpaid"}, {}, "booster/small", "rule", "prepaid customer"),
        ({"plan": None}, {}, "booster/small", "rule", "prepaid customer"),
        ({"marketing_consent": False}, {}, "booster/small", "gate", "marketing consent"),
        ({"marketing_consent": None}, {}, "booster/small", "gate", "marketing consent"),
        ({"open_tickets": 1.0}, {}, "booster/small", "gate", "open complaint"),
        ({}, {}, "off_peak_hint/night", "rule", "dear call"),
    ],
)
def test_each_refusal_has_its_name(
    bench: Any, profile: dict[str, Any], situation: dict[str, Any], arm: str, state: str, reason: str
) -> None:
    bench.profile(**profile)
    call(bench, **situation)
    assert (verdicts(bench)[arm].state, verdicts(bench)[arm].reason) == (state, reason)


def test_care_passes_the_gates_that_close_sales(bench: Any) -> None:
    bench.profile(open_tickets=1.0, marketing_consent=False)
    call(bench, cost=500)
    assert verdicts(bench)["off_peak_hint/night"].state == "chosen"
    assert verdicts(bench)["booster/large"].reason == "marketing consent"


def test_a_limit_says_until_when_and_lifts_then(bench: Any) -> None:
    bench.profile()
    first = bench.now
    for hour in range(3):
        bench.now = first + hour * HOUR
        state = bench.state()
        state.offers.clear()  # only the limit is looked at
        bench.store.commit(_states(bench, state))
        call(bench)
        assert verdicts(bench)["booster/large"].state == "chosen"
    bench.now = first + 3 * HOUR
    state = bench.state()
    state.offers.clear()
    bench.store.commit(_states(bench, state))
    call(bench)
    refused = verdicts(bench)["booster/large"]
    assert (refused.state, refused.reason, refused.until) == ("limit", "3 riding lines per 1 day", first + DAY)
    bench.now = first + DAY  # the first contact leaves the window
    call(bench)
    assert verdicts(bench)["booster/large"].state == "chosen"


def _states(bench: Any, state: Any) -> Any:
    from kairos.ports import Batch

    return Batch(states={state.id: msgspec.msgpack.encode(state)})


def test_an_open_offer_is_not_made_again(bench: Any) -> None:
    bench.profile()
    call(bench)
    call(bench)
    again = verdicts(bench)["booster/large"]
    assert (again.state, again.reason, again.until) == ("limit", "already open", bench.now + DAY)


def test_what_was_just_taken_is_not_offered_again(bench: Any) -> None:
    bench.profile()
    call(bench)
    bench.apply(bench.reply("1"))
    call(bench)
    again = verdicts(bench)["booster/large"]
    assert (again.state, again.reason, again.until) == ("limit", "already taken", bench.now + DAY)
    bench.now += DAY
    state = bench.state()
    state.offers = [msgspec.structs.replace(offer, status="fulfilled") for offer in state.offers]
    bench.store.commit(_states(bench, state))
    call(bench)
    assert verdicts(bench)["booster/large"].state == "chosen"


def test_a_declined_offer_rests_for_two_weeks(bench: Any) -> None:
    bench.profile()
    call(bench)
    bench.apply(bench.reply("no"))
    bench.now += HOUR
    call(bench)
    again = verdicts(bench)["booster/large"]
    assert (again.state, again.reason) == ("limit", "declined")
    assert again.until == bench.now - HOUR + 14 * DAY
    bench.now += 14 * DAY
    call(bench)
    assert verdicts(bench)["booster/large"].state == "chosen"


def test_never_again_is_kept(bench: Any) -> None:
    bench.profile()
    state = bench.state()
    state.cooldowns.append(Cooldown("booster", -1))
    bench.store.commit(_states(bench, state))
    bench.now += 5000 * DAY
    call(bench)
    assert (verdicts(bench)["booster/large"].reason, verdicts(bench)["booster/large"].until) == ("declined", -1)


def test_an_old_moment_is_not_answered(bench: Any) -> None:
    bench.profile()
    event = bench.event("data_session", app="video", bytes=1.0)
    bench.now += 6 * 60_000
    bench.apply(event)
    assert verdicts(bench)["booster/large"].reason == "the moment was too old"
    assert verdicts(bench)["top_up/ten"].reason == "does not answer this moment"


def test_quiet_hours_bind_own_messages_and_not_riding_lines(bench: Any) -> None:
    bench.profile()
    bench.now += 10 * HOUR  # 22:00
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=balances))
    quiet = verdicts(bench)["booster/large"]
    assert (quiet.reason, quiet.until) == ("quiet hours", bench.now + 10 * HOUR)
    call(bench)
    assert verdicts(bench)["booster/large"].state == "chosen"


def test_where_nothing_fits_the_next_best_is_tried_and_the_record_says_so(bench: Any) -> None:
    bench.profile()
    call(bench, text="x" * 139, cost=300)  # 20 units of room: no booster text, and no hint
    assert verdicts(bench)["booster/large"].reason == "no text fits"
    assert verdicts(bench)["off_peak_hint/night"].reason == "no text fits"
    assert decisions(bench)[-1].chosen is None


@given(st.lists(st.tuples(st.integers(0, 3 * DAY), st.booleans()), max_size=12), st.integers(0, 4 * DAY))
@settings(deadline=None, max_examples=200)
def test_limits_agree_with_a_plain_count(
    bench_with: Callable[..., Any], times: list[tuple[int, bool]], now: int
) -> None:
    bench = _shared(bench_with)
    program: Program = bench.program.decide
    state = bench.state()
    base = bench.now
    state.contacts = [Contact(base + at, 1, "notification" if r else "sms", "x", "y", r) for at, r in sorted(times)]
    moment = base + now
    for riding in (True, False):
        at_most = 3 if riding else 1
        inside = sorted(base + at for at, r in times if r == riding and moment - DAY < base + at <= moment)
        made = _decide(program, bench, state, moment, riding=riding)
        limited = [refusal for refusal in made.limits if "per 1 day" in refusal.rule]
        future = [base + at for at, r in times if r == riding and base + at > moment]
        if len(inside) + len(future) >= at_most:
            assert {refusal.until for refusal in limited} == {sorted(inside + future)[-at_most] + DAY}
        else:
            assert not limited


_benches: list[Any] = []


def _shared(bench_with: Callable[..., Any]) -> Any:
    if not _benches:
        bench = bench_with({"contact_policy.yaml": _NO_QUIET})
        bench.profile()
        _benches.append(bench)
    return _benches[0]


_NO_QUIET = """
contact_only_when: {marketing consent: marketing_consent}
limits:
  - {at_most: 3, per: 1 day, riding: yes}
  - {at_most: 1, per: 1 day, riding: no}
"""


def _decide(program: Program, bench: Any, state: Any, now: int, *, riding: bool) -> Decision:
    from kairos import enrich

    state.announced = {"main": 1, "data": 1}
    state.buckets = [Bucket("main", 5000), Bucket("data", 100_000)]
    row = enrich.row(bench.program.plan, state, "end_of_call", {"cost": 1, "service": "voice"}, now, now)
    moment = Moment(1, "i", "end_of_call", now, now, row, state, riding)
    return decide(program, [moment], FixedPropensity(), keyed_draw("s"), lambda *_: None)[0].decision


def test_equal_priorities_are_drawn_by_key_and_always_alike(bench_with: Callable[..., Any]) -> None:
    twins = "".join(f"  v{n}: {{size: {n}, validity: 1 day, price: 1, value: 5}}\n" for n in range(5))
    offer = _TWINS.format(variants=twins, products=", ".join(f"v{n}: P{n}" for n in range(5)))
    bench = bench_with({"offers/booster.yaml": offer})
    bench.profile()
    draw = keyed_draw("seed")
    firsts = [_first(bench, draw, number) for number in range(60)]
    assert set(firsts) == {0, 1, 2, 3, 4}
    assert firsts == [_first(bench, draw, number) for number in range(60)]
    assert firsts != [_first(bench, keyed_draw("other"), number) for number in range(60)]


_TWINS = """
offer: booster
title: twin
issue: upsell
product: {{{products}}}
variants:
{variants}
answers: {{end_of_call: 5 minutes}}
treatments: {{ride: {{channel: notification, message: booster_line}}}}
accept_within: 1 hour
after_decline: never
fulfil: {{charge: price, provision: product}}
"""


def _first(bench: Any, draw: Any, number: int) -> int:
    from kairos import enrich

    state, now = bench.state(), bench.now
    row = enrich.row(bench.program.plan, state, "end_of_call", {"cost": 1}, now, now)
    moment = Moment(number, "i", "end_of_call", now, now, row, state, True)
    made = decide(bench.program.decide, [moment], FixedPropensity(), draw, lambda *_: Composed("x", 1))[0]
    assert made.decision.chosen is not None
    return made.decision.chosen.arm


def test_a_batch_decides_as_its_moments_alone(bench: Any) -> None:
    from kairos import enrich

    bench.profile()
    program, now, moments = bench.program, bench.now, []
    for number in range(40):
        state = bench.state()
        state.id = number
        state.announced = {"main": 1, "data": 1}
        state.buckets = [Bucket("main", 400 * number), Bucket("data", 20_000 * (number % 13))]
        row = enrich.row(program.plan, state, "end_of_call", {"cost": 100 * (number % 5)}, now, now)
        moments.append(Moment(number, "i", "end_of_call", now, now, row, state, True))

    def run(some: list[Moment]) -> list[Decision]:
        made = decide(program.decide, some, FixedPropensity(), keyed_draw("s"), lambda *_: Composed("x", 1))
        return [decided.decision for decided in made]

    assert run(moments) == [run([moment])[0] for moment in moments]


def test_the_holdout_is_stable_salted_and_of_its_size(bench: Any) -> None:
    held = [n for n in range(20_000) if held_out("a", n, 0.05)]
    assert 800 < len(held) < 1200
    assert held == [n for n in range(20_000) if held_out("a", n, 0.05)]
    other = [n for n in range(20_000) if held_out("b", n, 0.05)]
    assert len(set(held) & set(other)) < 200
    bench.profile()
    bench.engine.program = replace(bench.program, decide=replace(bench.program.decide, holdout=1.0))
    call(bench, cost=500)
    made = decisions(bench)[-1]
    assert made.gate == "holdout"
    assert made.chosen is not None  # care is no marketing
    assert bench.program.decide.arms[made.chosen.arm].action.kind == "care"


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 2 * DAY))
def test_quiet_hours_end_where_they_say(start: int, end: int, local: int) -> None:
    until = quiet_until((start, end), (local,), 0)
    minute = local % DAY / 60_000
    inside = start <= minute < end if start <= end else minute >= start or minute < end
    assert (until > 0) == inside
    if until:
        assert quiet_until((start, end), (local + until,), 0) == 0
        assert (local + until) % DAY == end * 60_000


@given(st.integers(0, 2**200))
def test_bits_are_those_that_are_set(mask: int) -> None:
    assert sum(1 << bit for bit in bits(mask)) == mask


def test_a_record_of_another_revision_is_not_explained(bench: Any) -> None:
    bench.profile()
    call(bench)
    record = msgspec.structs.replace(decisions(bench)[-1], revision="other")
    with pytest.raises(ValueError, match="other"):
        explain(bench.program.decide, record)
