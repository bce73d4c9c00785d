"""How likely each choice was: told by a named method, kept beside the decisions, and used when the model is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.conftest import HOUR, Bench
from tests.engine.town import DAY, WEEK, Town, heard

from kairos.adapters.sqlite.lessons import SqliteLessons
from kairos.adapters.sqlite.records import SqliteRecords
from kairos.cli.explanation import picture
from kairos.cli.learn import tell_choices
from kairos.decide.decide import NO_ROOM
from kairos.domain.decision import Choice, Decision, Drawn, Refusal
from kairos.domain.subscriber import Bucket
from kairos.engine.choices import Choices, versions_in
from kairos.engine.explain import Explainer
from kairos.engine.lessons import SAMPLE
from kairos.engine.program import compile_program
from kairos.engine.propensities import scorer_of
from kairos.engine.replay import Replay, Target, outcomes_of, replay
from kairos.learn import LearnedPropensity, freeze
from kairos.playbook import read


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path / "kairos.db")
    yield town
    town.store.close()


def learned(town: Town, path: Path) -> list[Decision]:
    """Decisions by a model that explores widely; it is in the store."""
    town.meet(SAMPLE)
    version = heard(path, town.program, town.now).publish(town.now)
    assert version is not None
    version = replace(version, explore=12.0)
    with closing(SqliteLessons(path)) as lessons:
        lessons.save_model(LearnedPropensity(version, ()).version, town.now, freeze(version), 0)
    scorer = scorer_of(version, town.program)
    assert scorer is not None
    town.engine.scorer = scorer
    return town.meet(300)


def tell(town: Town, path: Path) -> None:
    with closing(SqliteLessons(path)) as lessons:
        tell_choices(lessons, Choices({town.program.decide.revision: town.program}.get, versions_in(lessons.model)))


def without_model(town: Town) -> None:
    town.store._writer.execute("DELETE FROM model")


def replayed(path: Path, town: Town, target: Target) -> Replay:
    with closing(SqliteRecords(path)) as records:
        return replay(
            records.decisions(0, 2**62),
            {town.program.decide.revision: town.program}.get,
            versions_in(records.model),
            outcomes_of(records.outcomes()),
            target,
            window=WEEK,
            end=2**62,
            kept=records.choices,
        )


def test_what_is_told_of_a_model_is_what_is_told_when_its_version_is_gone(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    by_model = learned(town, path)
    computed = replayed(path, town, Target(explore=0.0))
    tell(town, path)
    kept = town.store.choices([decision.id for decision in by_model])
    assert {(one.method, one.error) for one in kept.values()} == {("thompson-quadrature", 0.001)}
    assert len(kept) == 300
    assert 0.05 < min(one.probability for one in kept.values()) < 0.5 < max(one.probability for one in kept.values())
    without_model(town)
    own = replayed(path, town, Target(explore=0.0))
    assert (own.unversioned, len(own.reward)) == (300, SAMPLE), "its own policy is gone with its version"
    other = replayed(path, town, Target(model="fixed-0.05"))
    assert (other.unversioned, len(other.reward)) == (0, SAMPLE + 300)
    assert list(other.probability) == pytest.approx(list(computed.probability))
    town.store._writer.execute("DELETE FROM choice WHERE decision = ?", (by_model[0].id,))
    assert replayed(path, town, Target(model="fixed-0.05")).unversioned == 1


def test_what_was_kept_goes_before_what_is_computed(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    learned(town, path)
    tell(town, path)
    town.store._writer.execute("UPDATE choice SET probability = 0.25")
    assert set(replayed(path, town, Target(explore=0.0)).probability) == {0.25}
    with closing(SqliteRecords(path)) as records:
        found = explainer(records).decision(1)
    assert found is not None
    assert found.drawn == Drawn(1, 0.25, "exact", 0.0)


def explainer(records: SqliteRecords) -> Explainer:
    return Explainer(records, lambda texts: compile_program(read(texts)))


def shown(path: Path, decision: int) -> tuple[Drawn | None, str]:
    from rich.console import Console

    with closing(SqliteRecords(path)) as records:
        found = explainer(records).decision(decision)
    assert found is not None
    console = Console(width=200, file=None, record=True, quiet=True)
    console.quiet = False
    with console.capture() as said:
        console.print(picture(found))
    return found.drawn, said.get()


def test_explaining_says_how_likely_the_choice_was_or_that_nobody_knows_any_more(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    decision = learned(town, path)[0].id
    computed, said = shown(path, decision)
    assert computed is not None
    assert f"with probability {computed.probability:.3f} (thompson-quadrature, within 0.001)" in said
    without_model(town)
    assert shown(path, decision)[0] is None
    assert (
        "not replayable: the model's version is gone, and how likely this was is not logged" in shown(path, decision)[1]
    )
    assert "with probability 0.500 (exact)" in shown(path, 1)[1], "of two that are alike one was drawn"


def test_telling_goes_on_where_it_ended_and_no_choice_is_told_twice(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    town.meet(200)
    tell(town, path)
    with closing(SqliteLessons(path)) as lessons:
        assert lessons.untold() == []
        town.meet(100)
        assert len(lessons.untold()) == 100
        assert lessons.untold() == []
    with closing(SqliteLessons(path)) as lessons:
        assert len(lessons.untold()) == 100, "they were read, and not told"


def test_it_goes_with_its_decision(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    first = [decision.id for decision in town.meet(100)]
    town.now += DAY
    later = [decision.id for decision in town.meet(100)]
    tell(town, path)
    assert len(town.store.choices(first + later)) == 200
    town.store._writer.execute("DELETE FROM timer WHERE id > 40")  # of those the offers are open still
    assert town.store.forget("decisions", town.now - HOUR, 0, 1000).deleted == 60
    assert set(town.store.choices(first + later)) == {*first[:40], *later}


def test_a_version_stays_while_decisions_that_it_made_may(town: Town, tmp_path: Path) -> None:
    with closing(SqliteLessons(tmp_path / "kairos.db")) as lessons:
        for at, keep in ((1, 0), (2, 0), (3, 0), (9, 8)):
            lessons.save_model(f"learned-{at}", at, b"", keep)
        kept = [version for (version,) in town.store._read("SELECT version FROM model ORDER BY id")]
    assert kept == ["learned-3", "learned-9"], "the third was in force at the eighth"


def decided(bench: Bench) -> Decision:
    """booster/small and booster/large may be said, and the large one is worth more."""
    bench.profile()
    balances = [Bucket("main", 5000), Bucket("data", 1000, bench.now + HOUR)]
    work = bench.apply(
        bench.event("end_of_call", notification="Your call.", service="voice", cost=100, balances=balances)
    )
    ((_, _, _, record),) = work.batch.decisions
    return msgspec.msgpack.decode(record, type=Decision)


def told(bench: Bench, decision: Decision, **change: Any) -> list[Drawn]:
    choices = Choices({bench.program.decide.revision: bench.program}.get, lambda _: None)
    return choices.of([replace(decision, **change)])


def test_a_fixed_propensity_is_exact(bench: Bench) -> None:
    one = decided(bench)
    assert told(bench, one) == [Drawn(one.id, 1.0, "exact", 0.0)]
    assert told(bench, one, chosen=None) == []
    assert told(bench, one, model="learned-1-gone") == []
    assert told(bench, one, revision="gone") == []
    small = Choice(0, 0, "booster_line", 1)
    small = replace(small, arm=min(one.scores.arm))
    assert told(bench, one, chosen=small) == [Drawn(one.id, 0.0, "exact", 0.0)], "no rule of ours chose it"


@pytest.mark.parametrize(("channel", "rule"), [(0, NO_ROOM), (-1, "volume of booster")])
def test_what_was_refused_after_it_was_scored_could_not_have_been_chosen(bench: Bench, channel: int, rule: str) -> None:
    one = decided(bench)
    assert one.chosen is not None
    refused = Refusal(one.chosen.arm, channel, rule, 0)
    other = next(arm for arm in one.scores.arm if arm != one.chosen.arm)
    next_best = Choice(other, 0, "booster_line", 1)
    assert told(bench, one, limits=[refused], chosen=next_best) == [Drawn(one.id, 1.0, "exact", 0.0)]
