"""Who comes into a cohort, when, and on which side; and how fairness counts the same records."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import HOUR, TEXTS

from kairos.domain.subscriber import Bucket
from kairos.engine.cohort import Cohort, gather
from kairos.engine.fairness import EVERY, OFFERED, count
from kairos.errors import KairosError

DAY = 24 * HOUR
HALF = {"contact_policy.yaml": TEXTS["contact_policy.yaml"].replace("holdout: 0%", "holdout: 50%")}


def lived(bench: Any, people: int = 40, **data: Any) -> list[bytes]:
    """Everybody calls twice, a day apart; the records of both."""
    records = []
    numbers = [f"120255501{number:02d}" for number in range(people)]
    for number in numbers:
        bench.apply(profile(bench, number))
    for _ in range(2):
        for number in numbers:
            balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + HOUR)]
            known = {"service": "voice", "cost": 100, "balances": balances} | data
            work = bench.apply(bench.event("end_of_call", notification="Ref 1", msisdn=number, **known))
            records += [record for _, _, _, record in work.batch.decisions]
        bench.now += DAY
    return records


def profile(bench: Any, number: str) -> Any:
    language = "en" if int(number) % 2 else "fr"
    return bench.event("profile", msisdn=number, plan="prepaid", language=language, marketing_consent=True)


def found(bench: Any, records: list[bytes], by: str = "") -> Cohort:
    revision = bench.program.decide.revision
    return gather(records, lambda wanted: bench.program if wanted == revision else None, by)


def test_everybody_comes_in_once_at_their_first_moment(bench_with: Any) -> None:
    bench = bench_with(HALF)
    start = bench.now
    cohort = found(bench, lived(bench), "language")
    assert len(set(cohort.subscriber)) == len(cohort.subscriber) == 40
    assert set(cohort.since) == {start}
    assert 10 < sum(cohort.held_out) < 30
    assert cohort.share == 0.5
    assert (set(cohort.offer), set(cohort.channel)) == ({"booster"}, {"notification"})
    assert set(cohort.trait) == {"en", "fr"}
    assert cohort.agreed == 1
    treated = {who for who, held in zip(cohort.subscriber, cohort.held_out, strict=True) if not held}
    assert {who for who, *_ in cohort.said} == treated


def test_who_could_not_have_been_spoken_to_is_not_in(bench_with: Any) -> None:
    bench = bench_with(HALF)
    cohort = found(bench, lived(bench, balances=[Bucket("main", 5000), Bucket("data", 900_000, bench.now + 3 * DAY)]))
    assert (cohort.subscriber, cohort.moments) == ([], 80)


def test_records_of_a_forgotten_playbook_are_counted(bench_with: Any) -> None:
    bench = bench_with(HALF)
    records = lived(bench)
    cohort = gather(records, lambda _revision: None)
    assert (cohort.moments, cohort.forgotten, cohort.subscriber) == (80, 80, [])


def test_an_attribute_that_is_none_is_an_error(bench_with: Any) -> None:
    bench = bench_with(HALF)
    with pytest.raises(KairosError, match="no attribute `langage`; did you mean `language`"):
        found(bench, lived(bench), "langage")


def test_fairness_counts_each_offer_by_its_first_refusal(bench_with: Any) -> None:
    bench = bench_with(HALF)
    tally = count(lived(bench), lambda _revision: bench.program, "language")
    cohort = found(bench, lived(bench))
    held = {who for who, out in zip(cohort.subscriber, cohort.held_out, strict=True) if out}
    for who in tally.trait:
        assert tally.asked[EVERY, who] == 2
        assert tally.happened[EVERY, "holdout", who] == (2 if who in held else 0)
        assert tally.happened[EVERY, OFFERED, who] == (0 if who in held else 2)
        assert tally.happened["top_up", "nearly empty", who] == (0 if who in held else 2)
        assert tally.happened["off_peak_hint", "dear call", who] == 2  # care is asked for the held out, too
