"""The saga by itself: whatever answers come, in whatever order, the money and the products agree in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.domain.purchase import Purchase, Step
from kairos.domain.subscriber import OpenOffer
from kairos.fulfil import ENDED, FORWARD, begin, reverse, take, waiting
from kairos.fulfil.ledger import Entry, differences

NOW = 1_772_625_600_000
Make = Callable[..., OpenOffer]


@dataclass
class Counterpart:
    """What took effect, by the key of the call: at a counterpart that keeps keys, each once."""

    done: list[str] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)

    def carry_out(self, step: Step) -> None:
        if step.key in self.done:
            return
        self.done.append(step.key)
        if not step.undoes:
            self.effects[step.name if step.name != "provision" else step.key] += 1
        elif step.undoes in self.done:
            self.effects[{"refund": "charge", "release": "reserve"}.get(step.name, step.undoes)] -= 1


def run(purchase: Purchase, news: list[tuple[str, bool, bool]]) -> tuple[Purchase, Counterpart]:
    """Play the answers of each step in turn: what is said of it, whether it took effect all the same, and whether the
    news comes twice. Where the answers run out, all is done."""
    counterpart, answers = Counterpart(), iter(news)
    while step := waiting(purchase):
        status, effect, twice = next(answers, ("done", True, False))
        if status == "done" or (status == "unanswered" and effect):
            counterpart.carry_out(step)
        before = purchase
        moved = take(purchase, step.key, status, "why", NOW)
        assert moved is not None
        purchase = moved
        if twice:  # a crash before the answer was taken note of, and a repeat: nothing moves
            counterpart.carry_out(step) if status == "done" else None
            repeated = take(purchase, step.key, status, "why", NOW)
            assert repeated is None or purchase.status == "stuck"
        assert take(before, "another key", "done", "", NOW) is None
    return purchase, counterpart


ANSWERS = st.tuples(st.sampled_from(["done", "done", "done", "refused", "unanswered"]), st.booleans(), st.booleans())


@settings(deadline=None, max_examples=500)
@given(st.lists(ANSWERS, max_size=12), st.integers(1, 3), st.booleans())
def test_never_charged_twice_and_never_charged_without_all_of_it_or_nothing(
    offer: Make, news: list[tuple[str, bool, bool]], products: int, charges: bool
) -> None:
    of = offer(products=tuple(f"P{n}" for n in range(products)), charges=charges)
    ended, counterpart = run(begin(of, 1, "12025550123", "XTS", NOW, FORWARD), news)
    effects = counterpart.effects
    assert all(0 <= count <= 1 for count in effects.values())
    assert ended.status in (*ENDED, "stuck")
    provisioned = sum(effects[f"k1.provision{n}"] for n in range(1, products + 1))
    if ended.status == "done":
        assert (effects["charge"], provisioned) == (int(charges), products)
    if ended.status in ("refused", "refunded"):
        assert (effects["charge"], provisioned) == (0, 0)
    if ended.status == "stuck":  # somebody is told which step
        assert any(step.status == "unanswered" or (step.undoes and step.status == "refused") for step in ended.steps)


@settings(deadline=None, max_examples=200)
@given(st.lists(ANSWERS, max_size=4), st.sampled_from(["done", "refused", "reversed"]))
def test_a_stuck_purchase_goes_on_when_somebody_says_how(
    offer: Make, news: list[tuple[str, bool, bool]], said: str
) -> None:
    stuck, _ = run(begin(offer(), 1, "12025550123", "XTS", NOW, FORWARD), news)
    if stuck.status != "stuck":
        return
    moved = reverse(stuck, said, "by hand", NOW)
    if said == "reversed":
        assert moved is not None
        assert moved.status == "reversed"
    elif moved is not None:
        ended, _ = run(moved, [])
        assert ended.status in ENDED


@pytest.mark.parametrize(
    ("answers", "went"),
    [
        ([], "reserve charge provision confirm"),
        (["refused"], "reserve"),
        (["done", "refused"], "reserve charge release"),
        (["done", "done", "refused"], "reserve charge provision refund"),
        (["done", "done", "unanswered"], "reserve charge provision deprovision refund"),
        (["done", "done", "done", "refused"], "reserve charge provision confirm deprovision refund"),
        (["done", "unanswered"], "reserve charge"),
    ],
)
def test_the_way_forward_and_back(offer: Make, answers: list[str], went: str) -> None:
    ended, _ = run(begin(offer(), 1, "1", "XTS", NOW, FORWARD), [(answer, False, False) for answer in answers])
    assert " ".join(step.name for step in ended.steps if step.status != "planned") == went


def test_what_is_undone_names_what_it_undoes_in_reverse_order(offer: Make) -> None:
    of = offer(products=("A", "B", "C"))
    news = [("done", True, False)] * 4 + [("refused", False, False)]
    ended, _ = run(begin(of, 1, "1", "XTS", NOW, FORWARD), news)
    assert [(step.key, step.undoes, step.product) for step in ended.steps if step.undoes] == [
        ("k1.deprovision2", "k1.provision2", "B"),
        ("k1.deprovision1", "k1.provision1", "A"),
        ("k1.refund", "k1.charge", ""),
    ]
    assert (ended.status, ended.reason) == ("refunded", "why")


def test_one_call_is_done_refused_or_stuck(offer: Make) -> None:
    for said, status in (("done", "done"), ("refused", "refused"), ("unanswered", "stuck")):
        moved = take(begin(offer(), 1, "1", "XTS", NOW), "k1", said, "", NOW)
        assert moved is not None
        assert moved.status == status


def test_a_reversal_counts_once_and_only_for_what_was_done(offer: Make) -> None:
    bought: Any = take(begin(offer(), 1, "1", "XTS", NOW), "k1", "done", "", NOW)
    back = reverse(bought, "reversed", "complaint", NOW + 5)
    assert back is not None
    assert (back.status, back.reason, back.changed) == ("reversed", "complaint", NOW + 5)
    assert reverse(back, "reversed", "again", NOW) is None
    assert reverse(begin(offer(), 1, "1", "XTS", NOW), "reversed", "", NOW) is None
    assert reverse(bought, "refused", "", NOW) is None


def test_a_part_that_is_given_back_leaves_the_rest_a_sale(offer: Make) -> None:
    bought: Any = take(begin(offer(), 1, "1", "XTS", NOW), "k1", "done", "", NOW)
    assert bought.kept == 1050
    part = reverse(bought, "reversed", "complaint", NOW + 5, 400)
    assert part is not None
    assert (part.status, part.returned, part.kept, part.changed) == ("done", 400, 650, NOW + 5)
    for amount in (400, 399, 1051, 0, -1):  # what was said before, and what cannot be
        assert reverse(part, "reversed", "again", NOW, amount) is None
    more = reverse(part, "reversed", "again", NOW, 401)
    assert more is not None
    assert (more.returned, more.kept) == (401, 649)
    for rest in (1050, None):
        whole = reverse(more, "reversed", "all of it", NOW, rest)
        assert whole is not None
        assert (whole.status, whole.returned, whole.kept) == ("reversed", 1050, 0)


def test_no_part_is_given_back_of_what_cost_nothing_or_is_stuck(offer: Make) -> None:
    free: Any = take(begin(offer(charges=False), 1, "1", "XTS", NOW), "k1", "done", "", NOW)
    stuck: Any = take(begin(offer(), 1, "1", "XTS", NOW), "k1", "unanswered", "", NOW)
    assert (free.kept, stuck.kept) == (0, 0)
    assert reverse(free, "reversed", "", NOW, 400) is None
    assert reverse(stuck, "reversed", "", NOW, 400) is None


BOOKED = {"charge": "charged", "provision": "provisioned", "refund": "refunded", "deprovision": "deprovisioned"}


@settings(deadline=None, max_examples=400)
@given(st.lists(ANSWERS, max_size=12), st.integers(1, 3), st.booleans(), st.sampled_from([0, 1, 400, 1049]))
def test_what_the_counterpart_booked_is_what_reconcile_expects_and_each_row_counts(
    offer: Make, news: list[tuple[str, bool, bool]], products: int, charges: bool, returned: int
) -> None:
    """Whatever way a purchase went, its own bookings are no difference; and no one of them can be missing."""
    of = offer(products=tuple(f"P{n}" for n in range(products)), charges=charges)
    ended, counterpart = run(begin(of, 1, "12025550123", "XTS", NOW, FORWARD), news)
    if ended.status == "stuck":
        return
    by_key = {step.key: step for step in ended.steps}
    done = [by_key[key] for key in counterpart.done]
    took_effect = [step for step in done if not step.undoes or step.undoes in counterpart.done]
    prices = {"charge": ended.price, "refund": ended.price}
    rows = [
        Entry(step.key, BOOKED[step.name], "12025550123", step.product, prices.get(step.name), "XTS")
        for step in took_effect
        if step.name in BOOKED
    ]
    if returned and ended.kept:
        moved = reverse(ended, "reversed", "complaint", NOW, returned)
        assert moved is not None
        ended, rows = moved, [*rows, Entry(ended.key, "refunded", price=returned)]
    assert list(differences(ended, rows)) == []
    for place, row in enumerate(rows):
        if row.status == "provisioned" and ended.status != "done":
            continue  # taken back, and never given: nobody lost anything
        assert list(differences(ended, [*rows[:place], *rows[place + 1 :]])) != []
