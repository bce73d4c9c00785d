"""Products that are owned: what they refuse, until when, and how they are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kairos import enrich
from kairos.domain.inputs import Fulfilment
from kairos.domain.subscriber import Bucket, Owned
from kairos.engine.explain import Explainer
from kairos.engine.playbook_tests import run_tests
from kairos.engine.program import compile_program
from kairos.errors import PlaybookError
from kairos.playbook import read

DAY = 86_400_000
VOCABULARY = "  profile:      {"
BOUGHT = "  activated: {items: products}\n" + VOCABULARY

Texts = Mapping[str, str]


def booster(texts: Texts, *lines: str) -> dict[str, str]:
    """The small playbook with more lines in its booster, a vocabulary of products, and no hint."""
    changed = dict(texts)
    changed["offers/booster.yaml"] += "\n".join(lines) + "\n"
    changed["vocabulary.yaml"] = changed["vocabulary.yaml"].replace(VOCABULARY, BOUGHT)
    return changed


def moment(bench: Any) -> Any:
    """One moment at which the booster could ride."""
    money = Bucket("main", 100_000)
    data = Bucket("data", 100_000, bench.now + DAY)
    work = bench.apply(bench.event("end_of_call", notification="x", service="data", cost=1, balances=[money, data]))
    (decision,) = work.batch.decisions
    return Explainer(bench.store, lambda _texts: bench.program).decision(decision[0])


def verdict(bench: Any, arm: str = "booster/small") -> tuple[str, str, int]:
    bench.store.save_playbook(bench.program.playbook.revision, "", bench.program.playbook.texts)
    found = next(v for v in moment(bench).verdicts if v.arm == arm)
    return found.state, found.reason, found.until


def buy(bench: Any) -> None:
    """Take the offer that a moment brings, and let the charging system do it."""
    bench.store.save_playbook(bench.program.playbook.revision, "", bench.program.playbook.texts)
    moment(bench)
    work = bench.apply(bench.reply("yes"))
    (row,) = [row for row in work.batch.outgoing if row.channel == "ocs"]
    (offer,) = [offer for offer in bench.state().offers if offer.status == "accepted"]
    bench.apply(Fulfilment(row.id, row.subscriber, offer.key, "done", bench.now))


@pytest.fixture
def made(bench_with: Callable[..., Any], texts: dict[str, str]) -> Callable[..., Any]:
    def build(*lines: str) -> Any:
        bench = bench_with(booster(texts, *lines))
        bench.profile()
        return bench

    return build


def test_an_announced_product_refuses_until_it_ends(made: Callable[..., Any]) -> None:
    bench = made("not_with: [DATA10G]")
    end = bench.now + 2 * DAY
    bench.apply(bench.event("activated", items=[Owned("DATA10G", end)]))
    assert verdict(bench) == ("limit", "already owned", end)
    bench.now = end - 1
    assert verdict(bench) == ("limit", "already owned", end)
    bench.now = end
    assert verdict(bench, "booster/large")[0] != "limit"
    bench.now += 2 * DAY
    bench.profile()
    assert bench.state().products == []


@pytest.mark.parametrize("late", [False, True])
def test_the_word_that_happened_last_counts(made: Callable[..., Any], late: bool) -> None:
    bench = made("not_with: [DATA10G]")
    first = bench.event("activated", items=[Owned("DATA10G", bench.now + 2 * DAY)])
    bench.now += 1000
    cancelled = bench.event("activated", items=[Owned("DATA10G", bench.now)])
    for event in [cancelled, first] if late else [first, cancelled]:
        bench.apply(event)
    assert verdict(bench)[1] != "already owned"


def test_a_bought_product_refuses_its_offer_until_its_validity_ends(made: Callable[..., Any]) -> None:
    bench = made("repurchase: after expiry")
    buy(bench)
    (owned,) = bench.state().products
    lasts = {"DATA500": DAY, "DATA2G": 7 * DAY}[owned.product]
    assert (owned.action, owned.since, owned.until) == ("booster", bench.now, bench.now + lasts)
    bench.now += DAY  # the offer itself has ended, and was what refused it so far
    if lasts > DAY:
        assert verdict(bench) == ("limit", "already owned", owned.until)
        assert verdict(bench, "booster/large") == ("limit", "already owned", owned.until)


@pytest.mark.parametrize(
    ("rule", "purchases", "after", "refused"),
    [
        ("never", 1, 300 * DAY, -1),
        ("at most 1 per 3 days", 1, DAY, 2 * DAY),
        ("at most 1 per 3 days", 1, 3 * DAY, None),
        ("at most 2 per 30 days", 1, DAY, None),
        ("at most 2 per 30 days", 2, DAY, 28 * DAY),
    ],
)
def test_purchases_are_counted(
    made: Callable[..., Any], rule: str, purchases: int, after: int, refused: int | None
) -> None:
    bench = made(f"repurchase: {rule}")
    for turn in range(purchases):
        bench.now += DAY * (turn > 0)
        buy(bench)
    bench.now += after
    state, reason, until = verdict(bench)
    if refused is None:
        assert reason != "bought often enough"
    else:
        assert (state, reason, until) == ("limit", "bought often enough", -1 if refused < 0 else bench.now + refused)


def test_an_order_that_is_given_back_was_not_bought(made: Callable[..., Any]) -> None:
    bench = made("repurchase: never")
    buy(bench)
    state = bench.state()
    enrich.given_back(state, state.products[0].decision)
    assert state.products == []


@pytest.mark.parametrize("who", ["booster", "top_up"])
def test_offers_that_exclude_each_other(bench_with: Callable[..., Any], texts: dict[str, str], who: str) -> None:
    changed = dict(texts)
    changed[f"offers/{who}.yaml"] += f"excludes: [{'top_up' if who == 'booster' else 'booster'}]\n"
    bench = bench_with(changed)
    bench.profile()
    bench.store.save_playbook(bench.program.playbook.revision, "", bench.program.playbook.texts)
    assert next(v for v in moment(bench).verdicts if v.state == "chosen").action == "booster"
    money = Bucket("main", 100)
    work = bench.apply(bench.event("end_of_call", notification="x", service="data", cost=1, balances=[money]))
    found = Explainer(bench.store, lambda _texts: bench.program).decision(work.batch.decisions[0][0])
    assert found
    (refused,) = [v for v in found.verdicts if v.action == "top_up"]
    assert (refused.reason, refused.until) == ("excluded by booster", bench.now + DAY)


@pytest.mark.parametrize(
    ("lines", "given", "because"),
    [
        ("not_with: [DATA10G]", "products: [DATA10G]", "already owned"),
        ("repurchase: after expiry", "products: [DATA2G]", "already owned"),
        ("repurchase: never", "products: [DATA500]", "bought often enough"),
        ("excludes: [top_up]", "products: VOICE30", "excluded"),
        ("only_on: [flex, it's]", "balance: 50", "compatible tariff"),
    ],
)
def test_playbook_tests_know_products(texts: dict[str, str], lines: str, given: str, because: str) -> None:
    known = {"balance: 50"} | {given}
    changed = booster(texts, lines)
    changed["tests/own.yaml"] = (
        f"test: refused\ngiven: {{plan: prepaid, marketing_consent: yes, data_left_mb: 1, "
        f"{', '.join(sorted(known))}}}\n"
        f"when: {{end_of_call: {{service: data, cost: 0.1}}}}\nthen: {{offer: none, because: {{booster: {because}}}}}\n"
    )
    assert run_tests(compile_program(read(changed))) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("repurchase: sometimes", "`sometimes` does not say when it may be bought again"),
        ("repurchase: at most 0 per 1 day", "`at most 0 per 1 day` does not say"),
        ("repurchase: at most 2 per moon", "`moon` is no duration"),
        ("excludes: [toop_up]", "`toop_up` is no other offer; did you mean `top_up`?"),
        ("excludes: booster", "`booster` is no other offer"),
    ],
)
def test_what_is_wrong_is_said(texts: dict[str, str], line: str, message: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        read(booster(texts, line))
    assert message in str(caught.value)
    assert "offers/booster.yaml" in str(caught.value)


def test_a_validity_that_names_no_duration_cannot_expire(texts: dict[str, str]) -> None:
    changed = dict(texts)
    changed["offers/booster.yaml"] = changed["offers/booster.yaml"].replace("1 day", "until Sunday")
    changed["offers/booster.yaml"] += "repurchase: after expiry\n"
    with pytest.raises(PlaybookError, match="nothing tells when the product of variant `small` ends"):
        read(changed)
    read(booster(changed))  # events say when


def test_only_on_needs_the_attribute_plan(texts: dict[str, str]) -> None:
    changed = {k: v.replace("plan:    ", "tariff:").replace("plan = ", "tariff = ") for k, v in texts.items()}
    changed["offers/booster.yaml"] += "only_on: [flex]\n"
    with pytest.raises(PlaybookError, match="`only_on` reads the attribute `plan`, and there is none"):
        read(changed)
