"""Offers against their own control groups where the truth is known: as many A/A runs reject as should, a lift is found.

A playbook of many offers, each with a control group that its own salt draws: each is a run of its own.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import HOUR, NOON, TEXTS

from kairos.adapters.duckdb_uplift import DAY, Costs, Flows
from kairos.cli.uplift_controls import Own, against_controls
from kairos.domain.subscriber import Bucket
from kairos.engine.cohort import Cohort, gather

RUNS, PEOPLE, SHARE = 300, 1000, 0.2
LIFTED = "run_7"
LIFT = 500  # minor units, some five standard errors


@pytest.fixture(scope="module")
def cohort(bench_with: Any) -> Cohort:
    """Everybody has one moment, at which any of the offers could be said."""
    small = "  small: {size: 500 MB, validity: 1 day, price: 10, value: 5}\n"
    booster = TEXTS["offers/booster.yaml"].replace(small, "").replace("{small: DATA500, large: DATA2G}", "DATA2G")
    booster += f"control: {SHARE:.0%}\n"
    offers = {f"offers/run_{n}.yaml": booster.replace("offer: booster", f"offer: run_{n}") for n in range(RUNS)}
    bench = bench_with(offers)
    numbers = [f"1202555{number:04d}" for number in range(PEOPLE)]
    known = {"plan": "prepaid", "language": "en", "marketing_consent": True}
    bench.apply(*[bench.event("profile", msisdn=number, **known) for number in numbers])
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + HOUR)]
    called = {"notification": "Ref 1", "service": "voice", "cost": 100, "balances": balances}
    work = bench.apply(*[bench.event("end_of_call", msisdn=number, **called) for number in numbers])
    return gather((record for _, _, _, record in work.batch.decisions), lambda _revision: bench.program)


def compared(folder: Path, cohort: Cohort, lift: int) -> dict[str, Own]:
    """What they spent 20 days before and after, and `lift` more for whom the lifted offer was not kept from."""
    chance = np.random.default_rng(3)
    level = chance.exponential(1000, PEOPLE) * (chance.random(PEOPLE) < 0.7)
    before, after = (level * chance.uniform(0, 2, PEOPLE) for _ in range(2))
    met = cohort.controls
    mine = zip(met.offer, met.subscriber, met.held_out, strict=True)
    treated = {who for offer, who, held_out in mine if offer == LIFTED and not held_out}
    rows = ["subscriber,happened,kind,amount"]
    for who, (early, late) in enumerate(zip(before, after, strict=True), 1):
        rows.append(f"{who},{NOON - 20 * DAY},spend,{round(early)}")
        rows.append(f"{who},{NOON + 20 * DAY},spend,{round(late) + lift * (who in treated)}")
    file = folder / "extract.csv"
    file.write_text("\n".join(rows))
    with closing(Flows(file, {}, {})) as flows:
        flows.fill([], [], [], cohort, Costs())
        flows.enter(cohort, ["all"] * len(cohort.subscriber))
        own, checks = against_controls(flows, met, NOON + 30 * DAY, [30])
    assert all(check.sound for check in checks), checks
    return {one.offer: one for one in own}


def test_a_a_runs_reject_three_to_seven_in_a_hundred(cohort: Cohort, tmp_path: Path) -> None:
    own = compared(tmp_path, cohort, 0)
    assert len(own) == RUNS
    margins = [one.row.margin for one in own.values()]
    assert 0.03 <= np.mean([margin.p < 0.05 for margin in margins]) <= 0.07
    assert 0.03 <= np.mean([not margin.difference.covers(0) for margin in margins]) <= 0.07
    assert np.mean([margin.saved for margin in margins]) > 0.3  # CUPED is in it
    assert [name for name, one in own.items() if one.holds] == []
    sizes = [one.row.control for one in own.values()]
    assert np.mean(sizes) == pytest.approx(SHARE * PEOPLE, rel=0.01)
    assert np.std(sizes) == pytest.approx((PEOPLE * SHARE * (1 - SHARE)) ** 0.5, rel=0.15)  # each is drawn anew


def test_a_planted_lift_of_one_offer_is_found_and_of_no_other(cohort: Cohort, tmp_path: Path) -> None:
    own = compared(tmp_path, cohort, LIFT)
    assert [name for name, one in own.items() if one.holds] == [LIFTED]
    found = own[LIFTED].row.margin
    assert found.difference.covers(LIFT)
    assert found.difference.low > 0
