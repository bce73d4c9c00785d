"""The margin floor: what is not worth selling is never said, and everybody can see why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.decide import Verdict, explain
from kairos.domain.decision import Decision
from kairos.domain.money import WHOLE, split_tax
from kairos.domain.subscriber import Bucket
from kairos.errors import PlaybookError
from kairos.playbook import check, read
from kairos.playbook.margin import BELOW, Floor, margin

GIFT = """
offer: present
kind: gift
title: a present
issue: upsell
product: GIFT
variants: {one: {value: 1, cost: 3}}
answers: {end_of_call: 5 minutes}
treatments: {own: {channel: sms, message: booster_line}}
accept_within: 1 hour
after_decline: never
fulfil: {provision: product}
"""


def changed(
    texts: dict[str, str], *, policy: str = "", offer: str = "", small: str = "cost: 4", large: str = "cost: 20"
) -> dict[str, str]:
    """The small playbook, whose booster sells for 10 and 45."""
    booster = texts["offers/booster.yaml"]
    for price, cost in (("price: 10", small), ("price: 45", large)):
        booster = booster.replace(price, f"{price}, {cost}" if cost else price)
    made = dict(texts) | {"offers/booster.yaml": booster + offer}
    made["contact_policy.yaml"] += policy
    return made


def below(texts: dict[str, str]) -> set[str]:
    """The variants that are below a floor."""
    return {
        f"{action.name}/{variant.name}"
        for action in read(texts).actions
        for variant in action.variants
        if any(rule.rule.name == BELOW for rule in variant.rules)
    }


@pytest.mark.parametrize(
    ("floors", "refused"),
    [
        ({"policy": "margin_floor: 6"}, set()),
        ({"policy": "margin_floor: 6.01"}, {"booster/small"}),
        ({"policy": "margin_floor: 55.5%"}, set()),
        ({"policy": "margin_floor: 55.6%"}, {"booster/large"}),
        ({"policy": "margin_floor: 60.0001%"}, {"booster/small", "booster/large"}),
        ({"offer": "margin_floor: 7"}, {"booster/small"}),
        ({"policy": "margin_floor: 2", "offer": "margin_floor: 7"}, {"booster/small"}),
        ({"policy": "margin_floor: 7", "offer": "margin_floor: 2"}, {"booster/small"}),
        ({"policy": "margin_floor: 56%", "offer": "margin_floor: 7"}, {"booster/small", "booster/large"}),
        ({"offer": "margin_floor: 5\ntax: 10%"}, set()),  # of 10, 9.09 less 4 is 5.09
        ({"offer": "margin_floor: 5.09\ntax: 10%"}, set()),
        ({"offer": "margin_floor: 5.10\ntax: 10%"}, {"booster/small"}),
        ({"policy": "margin_floor: 0", "small": "cost: 10"}, set()),
        ({"policy": "margin_floor: 0", "small": "cost: 10.01"}, {"booster/small"}),
    ],
)
def test_a_floor_is_held_to_the_last_unit(texts: dict[str, str], floors: dict[str, str], refused: set[str]) -> None:
    assert below(changed(texts, **floors)) == refused


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 990_000), st.integers(0, 990_000))
def test_a_share_is_exact(price: int, cost: int, tax: int, share: int) -> None:
    left = split_tax(price, tax)[0] - cost
    assert (margin(price, tax, cost) >= Floor(share=share).least(price)) == (left * WHOLE >= price * share)


def test_what_is_not_sold_has_only_a_floor_of_its_own(texts: dict[str, str]) -> None:
    for purpose in ("marketing", "third_party", "care"):
        sold = changed(texts, policy="margin_floor: 9", offer=f"purpose: {purpose}")
        assert below(sold) == ({"booster/small"} if purpose != "care" else set())
    given_away = texts | {"offers/present.yaml": GIFT, "contact_policy.yaml": "margin_floor: 0"}
    assert "present/one" not in below(changed(given_away))
    assert below(texts | {"offers/present.yaml": GIFT + "margin_floor: 0"}) == {"present/one"}


def call(bench: Any) -> dict[str, Verdict]:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + 3_600_000)]
    work = bench.apply(bench.event("end_of_call", notification="Ref 1", service="voice", cost=1, balances=balances))
    made = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    return {verdict.arm: verdict for verdict in explain(bench.program.decide, made)}


def test_the_others_compete_as_ever_and_the_refusal_has_its_name(
    bench_with: Callable[..., Any], texts: dict[str, str]
) -> None:
    bench = bench_with(changed(texts, policy="margin_floor: 58%"))
    bench.profile(plan="postpaid")
    refused = call(bench)
    assert (refused["booster/large"].state, refused["booster/large"].reason) == ("rule", BELOW)
    assert refused["booster/small"].reason == "prepaid customer"
    bench.profile()
    verdicts = call(bench)
    assert (verdicts["booster/large"].state, verdicts["booster/large"].reason) == ("rule", BELOW)
    assert verdicts["booster/small"].state == "chosen"
    assert bench.engine.statistics.reasons()[BELOW] == 2


def test_a_tester_may_look_at_it(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    seeds = 'testers: [{name: Ada, msisdn: "+12025550123", offer: booster/large}]'
    bench = bench_with(changed(texts, policy="margin_floor: 58%") | {"seeds.yaml": seeds})
    bench.profile()
    assert call(bench)["booster/large"].state == "chosen"


def test_it_costs_nothing_at_an_event(texts: dict[str, str], bench_with: Callable[..., Any]) -> None:
    """What runs for each row is the same code, but for the constant that it starts with."""

    def source(made: dict[str, str]) -> list[str]:
        written: str = bench_with(made).program.decide.check.source
        return [line for line in written.splitlines() if not line.strip().startswith("return")]

    assert len(source(changed(texts))) == len(source(changed(texts, policy="margin_floor: 58%")))


def test_a_test_may_name_it(texts: dict[str, str]) -> None:
    test = "{test: t, given: {balance: 9}, when: recharge, then: {offer: none, because: {booster: %s}}}"
    playbook = read(changed(texts, policy="margin_floor: 58%") | {"tests/t.yaml": test % BELOW})
    assert playbook.tests[0].because == {"booster": BELOW}


@pytest.mark.parametrize(
    ("floors", "warned"),
    [
        (
            {"policy": "margin_floor: 58%"},
            "offers/booster.yaml:2: variant `large` of `booster` is below the margin floor and can never be said; "
            "of T$45 it leaves T$25, and T$26.10 are wanted",
        ),
        (
            {"policy": "margin_floor: 5", "offer": "margin_floor: 5"},
            "offers/booster.yaml:19: the margin floor of `booster` changes nothing: the contact policy's is as strict; "
            "an offer's own can only be stricter; leave it out",
        ),
    ],
)
def test_what_is_probably_not_meant_is_said(texts: dict[str, str], floors: dict[str, str], warned: str) -> None:
    found = [str(one) for one in check(read(changed(texts, **floors))) if "margin floor" in one.message]
    assert found == [warned]


@pytest.mark.parametrize(
    ("floors", "line", "message"),
    [
        ({"policy": "margin_floor: 5", "small": ""}, "offers/booster.yaml:2", "nothing tells what its variant `small`"),
        ({"offer": "margin_floor: 5", "large": ""}, "offers/booster.yaml:19", "add what a yes costs you, as in `cost:"),
        ({"policy": "margin_floor: 100%"}, "contact_policy.yaml:9", "margin_floor: `100%` is no rate"),
        ({"policy": "margin_floor: T$5"}, "contact_policy.yaml:9", "margin_floor: `T$5` is no amount"),
        ({"offer": "margin_floor: -5"}, "offers/booster.yaml:19", "margin_floor: `-5` is negative"),
        ({"offer": "margin_flor: 5"}, "offers/booster.yaml:19", "did you mean `margin_floor`?"),
    ],
)
def test_what_is_wrong_is_said(texts: dict[str, str], floors: dict[str, str], line: str, message: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        read(changed(texts, **floors))
    (found,) = caught.value.diagnostics
    assert f"{found.file}:{found.line}" == line
    assert message in str(found)
