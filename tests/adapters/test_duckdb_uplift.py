"""Whose a row is, when it counts, and what is taken back: flows of a few subscribers, summed by DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kairos.adapters.duckdb_uplift import DAY, PARTS, Costs, Extracted, Flows, Group
from kairos.domain.money import split_tax
from kairos.domain.purchase import Purchase
from kairos.engine.cohort import Cohort
from kairos.evaluate import Summary

AT = 1_772_625_600_000
HELD = [("12025550101", 1, AT, 0), ("12025550102", 2, AT, 0)]


def purchase(subscriber: int, status: str = "done", price: int = 1000, **changes: Any) -> Purchase:
    known = {"key": f"k{subscriber}", "offer": f"k{subscriber}", "decision": subscriber, "msisdn": "", "payer": ""}
    bought = {"action": "booster", "variant": "small", "products": (), "price": price, "currency": "XTS"}
    return Purchase(subscriber=subscriber, charges=True, made=AT, steps=(), status=status, **known | bought | changes)  # type: ignore[arg-type]


def summed(
    folder: Path,
    rows: Sequence[str],
    *,
    days: int = 10,
    head: str = "msisdn,happened,kind,amount",
    held: Sequence[tuple[str, int, int, int]] = HELD,
    purchases: Sequence[Purchase] = (),
    outcomes: Sequence[tuple[int, int, int, str, str, int]] = (),
    said: Sequence[tuple[int, int, str, int]] = (),
    costs: Costs = Costs(),  # noqa: B008
) -> tuple[Group, Extracted]:
    """Subscriber 1 is treated, 2 held out; both came at AT. The extract ends 40 days later."""
    file = folder / "extract.csv"
    file.write_text("\n".join([head, *rows]) + "\n")
    cohort = Cohort([1, 2], [AT, AT], [False, True], ["booster"] * 2, ["sms"] * 2, ["m"] * 2, [None] * 2)
    cohort.said = list(said)
    with closing(Flows(file, {}, {})) as flows:
        extracted = flows.fill(held, purchases, outcomes, cohort, costs)
        flows.enter(cohort, ["all", "all"])
        return flows.within(days, AT + 40 * DAY)["", ""], extracted


def row(number: int, day: float, kind: str, amount: int, *more: object) -> str:
    return ",".join(map(str, (f"+1202555010{number}", round(AT + day * DAY), kind, amount, *more)))


def test_a_row_counts_within_its_window(tmp_path: Path) -> None:
    days = (-31, -30, -1, 0, 9.99, 10)
    group, _ = summed(tmp_path, [row(1, day, "spend", 10**place) for place, day in enumerate(days)])
    assert group.treated["margin"].y == 11_000
    assert group.treated["margin"].x == 110
    assert (group.control["margin"].y, group.control["margin"].n) == (0, 1)


def test_a_row_is_of_whoever_had_the_number_then(tmp_path: Path) -> None:
    """2 has 1's number since day 5; what was before anybody is known to have had it, is the first one's."""
    moved = [("12025550101", 1, AT, AT + 5 * DAY), ("12025550101", 2, AT + 5 * DAY, 0)]
    group, extracted = summed(
        tmp_path, [row(1, day, "spend", 100) for day in (-3, 4, 6)] + [row(9, 1, "spend", 7)], held=moved
    )
    assert (group.treated["net spend"].x, group.treated["net spend"].y, group.control["net spend"].y) == (100, 100, 100)
    assert (extracted.rows, extracted.strangers) == (4, 1)


def test_a_column_with_our_own_ids_goes_before_numbers(tmp_path: Path) -> None:
    group, _ = summed(tmp_path, [f"2,2026-03-05T12:00:00+02:00,recharge,{500}"], head="subscriber,happened,kind,amount")
    assert (group.treated["recharges"].y, group.control["recharges"].y) == (0, 500)


@pytest.mark.parametrize("amount", [1000, 1, 3, -1000, 4599, 12_345_678_901_234])
def test_tax_is_split_as_everywhere(tmp_path: Path, amount: int) -> None:
    """To the minor unit, halves away from zero; a column of the extract goes before the rate."""
    group, _ = summed(tmp_path, [row(1, 1, "spend", amount)], costs=Costs(tax=150_000))
    assert group.treated["net spend"].y == split_tax(amount, 150_000)[0]
    head = "msisdn,happened,kind,amount,tax"
    group, _ = summed(tmp_path, [row(1, 1, "spend", amount, 1)], head=head, costs=Costs(tax=150_000))
    assert group.treated["net spend"].y == amount - 1


def test_what_was_undone_is_no_revenue_and_no_acceptance(tmp_path: Path) -> None:
    ended = ("done", "refunded", "reversed", "stuck", "under_way")
    half, tester = purchase(1, key="h", tax=200, returned=500), purchase(1, key="t", test=True)
    group, _ = summed(
        tmp_path,
        [row(1, 40, "spend", 0)],
        purchases=[*(purchase(1, status, key=status, tax=200) for status in ended), half, tester],
        outcomes=[
            (1, 1, 5, "a", "accepted", AT + DAY),
            (2, 1, 5, "a", "fulfilled", AT + 12 * DAY),  # counts when it was accepted
            (3, 1, 6, "b", "accepted", AT + DAY),
            (4, 1, 6, "b", "reversed", AT + 2 * DAY),
            (5, 1, 7, "c", "declined", AT),
            (6, 1, 8, "d", "redeemed", AT),
            (7, 1, 9, "e", "accepted", AT + 11 * DAY),  # too late for this window
            (8, 1, 10, "f", "accepted", AT),
            (9, 1, 10, "f", "partly_reversed", AT + DAY),
        ],
        costs=Costs({"booster": 300 * PARTS, "booster/large": 900 * PARTS}),
    )
    assert group.treated["offers' revenue"].y == 800 + 400
    assert group.treated["offers' cost"].y == 600
    assert group.treated["accepted"].y == 3


def test_a_message_that_was_dropped_costs_nothing(tmp_path: Path) -> None:
    said = [(1, AT, "sms", 11), (1, AT + DAY, "sms", 12), (1, AT + DAY, "notification", 13), (2, AT, "sms", 14)]
    dropped = [(1, 1, 12, "k-12", "dropped", AT + DAY)]
    costs = Costs({"sms": 2 * PARTS + PARTS // 4})
    group, _ = summed(tmp_path, [row(1, 40, "spend", 0)], said=said, outcomes=dropped, costs=costs)
    assert (group.treated["channel cost"].y, group.control["channel cost"].y) == (2.25, 2.25)
    assert group.treated["margin"].y == -2.25


def test_orders_that_the_extract_does_not_know_are_counted(tmp_path: Path) -> None:
    rows = [row(1, 0.5, "spend", 1000), row(2, 0.5, "spend", 999), row(2, 39, "call", 5), row(2, 40, "spend", 0)]
    _, extracted = summed(tmp_path, [row(1, -1, "spend", 0), *rows], purchases=[purchase(1), purchase(2)])
    assert (extracted.orders, extracted.orders_missed) == (2, 1)
    assert extracted.other_kinds == {"call": 1}


def test_the_sums_are_those_of_columns(tmp_path: Path) -> None:
    """Means, variances and covariances as NumPy has them: what CUPED and every interval rest on."""
    chance = np.random.default_rng(1)
    people, held_out = 200, chance.random(200) < 0.3
    before, after = chance.integers(1, 10_000, (2, people))
    lines = [
        f"{who},{AT + day * DAY},spend,{paid[who - 1]}"
        for who in range(1, people + 1)
        for day, paid in ((-2, before), (2, after))
    ]
    file = tmp_path / "extract.csv"
    file.write_text("\n".join(["subscriber,happened,kind,amount", *lines]))
    everybody = list(range(1, people + 1))
    words = ["x"] * people
    cohort = Cohort(everybody, [AT] * people, held_out.tolist(), words, words, words, words)
    with closing(Flows(file, {}, {})) as flows:
        flows.fill([], [], [], cohort, Costs())
        flows.enter(cohort, ["en" if who % 2 else "fr" for who in everybody])
        found = flows.within(5, AT + 5 * DAY)
    odd = np.arange(people) % 2 == 0
    for name, mine in (("", ""), np.ones(people, bool)), (("segment", "en"), odd), (("segment", "fr"), ~odd):
        for summary, side in (found[name].treated["margin"], ~held_out), (found[name].control["margin"], held_out):
            y, x = after[mine & side].astype(float), before[mine & side].astype(float)
            assert astuple(summary) == pytest.approx(astuple(Summary.of(y, x)))
