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


def test_the_held_out_are_known_whatever_else_was_closed_to_them(bench_with: Any) -> None:
    """A pause that lets one issue pass comes before the holdout, and is the gate that the record names."""
    policy = HALF["contact_policy.yaml"].replace("open_tickets > 0", "{when: open_tickets > 0, except: [top_up]}")
    bench = bench_with({"contact_policy.yaml": policy})
    bench.apply(*[bench.event("profile", msisdn=f"120255501{one:02d}", open_tickets=1.0) for one in range(40)])
    balances = [Bucket("main", 400), Bucket("data", 100_000, bench.now + HOUR)]
    cohort = found(bench, lived(bench, balances=balances))
    assert set(cohort.offer) == {"top_up"}
    held = {who for who, out in zip(cohort.subscriber, cohort.held_out, strict=True) if out}
    assert 10 < len(held) < 30
    assert held & {who for who, *_ in cohort.said} == set()


def controlled(policy: str = "holdout: 0%", control: str = "50%") -> dict[str, str]:
    """The booster has a control group, and another offer is said in its place."""
    booster = TEXTS["offers/booster.yaml"]
    other = booster.replace("offer: booster", "offer: other").replace("value: 24", "value: 1")
    texts = {"offers/booster.yaml": f"{booster}control: {control}\n", "offers/other.yaml": other}
    return texts | {"contact_policy.yaml": TEXTS["contact_policy.yaml"].replace("holdout: 0%", policy)}


def test_an_offer_is_compared_on_those_whom_it_could_have_been_said_to(bench_with: Any) -> None:
    bench = bench_with(controlled())
    start = bench.now
    cohort = found(bench, lived(bench, 200))
    met = cohort.controls
    assert (set(met.offer), set(met.share), set(met.since)) == ({"booster"}, {0.5}, {start})
    assert len(set(met.subscriber)) == len(met.subscriber) == 200
    kept = {who for who, out in zip(met.subscriber, met.held_out, strict=True) if out}
    assert 70 < len(kept) < 130
    assert met.told == {("booster", who) for who in set(met.subscriber) - kept} | {("other", who) for who in kept}
    booster = met.offers()["booster"]
    assert (booster.treated, booster.control) == (200 - len(kept), len(kept))
    assert (booster.told, booster.told_of_control, booster.share) == (200 - len(kept), 0, 0.5)
    # All of them could have been spoken to, and nobody was held out from everything.
    assert (len(cohort.subscriber), sum(cohort.held_out)) == (200, 0)


def test_who_is_in_a_control_group_is_in_the_cohort_of_all_marketing_as_anybody(bench_with: Any) -> None:
    """The held out are, too: of them nobody says whether they would have been in that group."""
    bench = bench_with({"offers/booster.yaml": TEXTS["offers/booster.yaml"] + "control: 50%\n"})
    cohort = found(bench, lived(bench))
    assert len(cohort.subscriber) == 40
    assert 5 < len({who for who, *_ in cohort.said}) < 35


def test_the_held_out_are_on_neither_side_of_an_offer(bench_with: Any) -> None:
    bench = bench_with(controlled("holdout: 50%"))
    cohort = found(bench, lived(bench, 200))
    held = {who for who, out in zip(cohort.subscriber, cohort.held_out, strict=True) if out}
    assert 70 < len(held) < 130
    assert set(cohort.controls.subscriber) == set(cohort.subscriber) - held
    assert 20 < sum(cohort.controls.held_out) < 80


def test_who_could_not_have_met_an_offer_is_not_compared(bench_with: Any) -> None:
    bench = bench_with(controlled())
    rich = [Bucket("main", 5000), Bucket("data", 900_000, bench.now + 3 * DAY)]
    assert found(bench, lived(bench, balances=rich)).controls.subscriber == []


def test_an_offer_is_met_when_it_could_have_been_said_first_though_another_was(bench_with: Any) -> None:
    """Until then the group made no difference; from then on it may."""
    better = TEXTS["offers/booster.yaml"].replace("offer: booster", "offer: better").replace("value: 24", "value: 99")
    bench = bench_with(controlled() | {"offers/better.yaml": better})
    start = bench.now
    cohort = found(bench, lived(bench, 60))
    assert {what for what, _ in cohort.controls.told} >= {"better"}
    assert (set(cohort.controls.since), len(cohort.controls.since)) == ({start}, 60)
    assert cohort.controls.offers()["booster"].told < 60 - sum(cohort.controls.held_out) + 1


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
