"""Trust first: what the policy names goes before the rest of its purpose, whatever that is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import TEXTS

from kairos.decide import Verdict, explain, highest, would_say
from kairos.domain.decision import Decision
from kairos.domain.purpose import STANDINGS
from kairos.domain.subscriber import Bucket
from kairos.errors import PlaybookError
from kairos.playbook import read

POLICY = "contact_only_when: {marketing consent: marketing_consent}\n"
OTHER = """
offer: %s
purpose: %s
title: another
issue: %s
variants: {one: {price: 1, value: %s}, two: {price: 2, value: %s}}
answers: {end_of_call: 5 minutes}
treatments: {ride: {channel: notification, message: booster_line}}
accept_within: 1 hour
after_decline: never
fulfil: {charge: price}
"""


def bench_first(bench_with: Callable[..., Any], first: str, purpose: str = "marketing") -> Any:
    policy = POLICY + (f"say_first: {first}\n" if first else "")
    bench = bench_with({"contact_policy.yaml": policy, "offers/cheap.yaml": OTHER % ("cheap", purpose, "fit", 1, 2)})
    bench.profile()
    return bench


def decision(bench: Any) -> Decision:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + 3_600_000)]
    work = bench.apply(bench.event("end_of_call", notification="Ref 1", service="voice", cost=1, balances=balances))
    return msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)


def verdicts(bench: Any) -> dict[str, Verdict]:
    return {verdict.arm: verdict for verdict in explain(bench.program.decide, decision(bench))}


@pytest.mark.parametrize(
    ("first", "chosen"),
    [
        ("", "booster/large"),
        ("cheap", "cheap/two"),
        ("fit", "cheap/two"),
        ("cheap/one", "cheap/one"),
        ("[cheap/one, cheap]", "cheap/one"),
        ("[cheap, cheap/one]", "cheap/two"),
        ("[top_up, booster/small, fit]", "booster/small"),
        ("[fit, upsell]", "cheap/two"),
    ],
)
def test_what_is_named_first_is_said(bench_with: Callable[..., Any], first: str, chosen: str) -> None:
    seen = verdicts(bench_first(bench_with, first))
    assert [arm for arm, verdict in seen.items() if verdict.state == "chosen"] == [chosen]


def test_explanations_say_so(bench_with: Callable[..., Any]) -> None:
    seen = verdicts(bench_first(bench_with, "cheap"))
    assert seen["booster/large"].reason == "outranked by cheap/two, which comes first"
    assert seen["cheap/one"].reason == "outranked by cheap/two"
    assert seen["booster/large"].priority > seen["cheap/two"].priority


@pytest.mark.parametrize("purpose", ["care", "third_party"])
def test_a_higher_purpose_still_comes_first(bench_with: Callable[..., Any], purpose: str) -> None:
    first = "booster/small" if purpose == "care" else "cheap"
    seen = verdicts(bench_first(bench_with, first, purpose))
    chosen = next(arm for arm, verdict in seen.items() if verdict.state == "chosen")
    assert chosen == ("cheap/two" if purpose == "care" else "booster/large")
    assert STANDINGS["care"].rank > STANDINGS["marketing"].rank > STANDINGS["third_party"].rank


def test_what_could_have_been_said_and_whom_the_holdout_is_compared_with_follow(
    bench_with: Callable[..., Any],
) -> None:
    bench = bench_first(bench_with, "cheap/one")
    made, program = decision(bench), bench.program.decide
    names = {arm.name: arm.bit for arm in program.arms if arm.action.purpose == "marketing"}
    assert highest(program, [(bit, 0) for bit in names.values()]) == [(names["cheap/one"], 0)]
    assert would_say(program, made) == (names["cheap/one"], 0)


NAMES = ("booster", "booster/small", "booster/large", "upsell", "cheap", "cheap/one", "cheap/two", "fit")


@given(st.permutations(NAMES), st.integers(0, len(NAMES)))
@settings(deadline=None, max_examples=60)
def test_the_order_is_that_of_the_list(bench_with: Callable[..., Any], names: list[str], many: int) -> None:
    first = names[:many]
    seen = verdicts(bench_first(bench_with, f"[{', '.join(first)}]" if first else ""))

    def place(verdict: Verdict) -> int:
        issue = {"booster": "upsell", "cheap": "fit"}[verdict.action]
        return min((n for n, name in enumerate(first) if name in (verdict.arm, verdict.action, issue)), default=99)

    asked = [one for one in seen.values() if one.state in ("chosen", "outranked")]
    best = min(asked, key=lambda one: (place(one), -one.priority))
    assert best.state == "chosen"


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("boster", "say_first: unknown offer or issue `boster`; did you mean `booster`?"),
        ("booster/medium", "unknown offer or issue `booster/medium`"),
        ("[booster, booster]", "say_first: `booster` stands here twice"),
        ("[]", "say_first: the list is empty"),
    ],
)
def test_what_is_wrong_is_said(first: str, message: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        read(TEXTS | {"contact_policy.yaml": f"{POLICY}say_first: {first}"})
    (found,) = caught.value.diagnostics
    assert (found.file, found.line) == ("contact_policy.yaml", 2)
    assert message in str(found)


def test_an_offer_and_an_issue_of_one_name_are_both_meant() -> None:
    assert read(TEXTS | {"contact_policy.yaml": f"{POLICY}say_first: top_up"}).policy.say_first == ("top_up",)
