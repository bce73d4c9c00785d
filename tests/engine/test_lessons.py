"""From the store's own records to a model in force: planted tastes are learned; what teaches nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.conftest import TEXTS
from tests.engine.town import DAY, WEEK, Town, heard, texts

from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.lessons import RECEIPT, SqliteLessons
from kairos.adapters.sqlite.records import SqliteRecords
from kairos.decide import moment_of
from kairos.domain.pairs import Pairs
from kairos.engine.explain import Explainer
from kairos.engine.lessons import SAMPLE, Lessons
from kairos.engine.program import compile_program
from kairos.engine.propensities import Propensities
from kairos.engine.work import encode
from kairos.learn import FixedPropensity, LearnedPropensity, Version, freeze, on_channels, reasons, variants_of
from kairos.learn.answers import OFFERED, TAKEN, WAITING
from kairos.playbook import read


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path / "kairos.db")
    yield town
    town.store.close()


async def test_planted_tastes_are_learned_and_rule_from_the_next_batch_on(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    before = town.meet(SAMPLE + 1000)
    taken_by_chance = town.engine.statistics.counts["accepted"] / len(before)
    version = heard(path, town.program, town.now).publish(town.now)
    assert version is not None
    with closing(SqliteLessons(path)) as store:
        store.save_model(LearnedPropensity(version, ()).version, town.now, freeze(version), 0)
    propensities = Propensities(town.store, town.engine, FixedPropensity())
    await propensities.look()
    town.engine.statistics.counts.clear()
    after = town.meet(1000)
    assert {decision.model[:8] for decision in before} == {"fixed-0."}
    assert {decision.model for decision in after} == {town.store.model()[0]}  # type: ignore[index]
    names = [arm.variant.name for arm in town.program.decide.arms]
    large = [names[decision.chosen.arm] == "large" for decision in after if decision.chosen]
    assert len(large) == 1000
    assert taken_by_chance < 0.3 < 0.4 < town.engine.statistics.counts["accepted"] / len(after)


def test_who_asked_was_told_at_once_and_a_list_for_all_teaches_nothing(town: Town) -> None:
    marks: list[dict[str, Any]] = [{"where": "app"}, {"where": ""}, {"where": "shop", "listed": True}]
    lessons = Lessons(town.program, WEEK, 60 * DAY)
    records = [
        msgspec.structs.replace(one, **marks[place % 3]) for place, one in enumerate(town.meet(SAMPLE * 3 // 2 + 100))
    ]
    lessons.decided(map(encode, records))
    assert lessons.learner is not None
    answers = lessons.learner.answers
    statuses = dict(zip(answers.rows["id"][: answers.count].tolist(), answers.rows["status"].tolist(), strict=False))
    assert {statuses[one.id] for one in records if one.where == "app"} == {WAITING}
    assert {statuses[one.id] for one in records if not one.where} == {OFFERED}
    assert not any(one.id in statuses for one in records if one.listed)


async def test_of_a_model_that_is_known_only_the_name_is_asked_for(town: Town, tmp_path: Path) -> None:
    town.meet(SAMPLE)
    version = heard(tmp_path / "kairos.db", town.program, town.now).publish(town.now)
    assert version is not None
    fetched: list[str] = []

    class Counting(SqliteStore):
        def model(self, version: str = "") -> tuple[str, bytes] | None:
            fetched.append(version)
            return super().model(version)

    town.store.__class__ = Counting
    propensities = Propensities(town.store, town.engine, FixedPropensity())
    await propensities.look()
    assert fetched == [], "there is none"
    with closing(SqliteLessons(tmp_path / "kairos.db")) as store:
        store.save_model("learned-1-a", town.now, freeze(version), 0)
    for _ in range(3):
        await propensities.look()
    assert fetched == ["learned-1-a"]
    assert town.store.newest_model() == "learned-1-a"


async def test_another_playbook_is_scored_as_its_arms_stand_and_another_vocabulary_not_at_all(town: Town) -> None:
    town.meet(SAMPLE)
    version = heard(town.store._path, town.program, town.now).publish(town.now)
    assert isinstance(version, Version)
    propensities = Propensities(town.store, town.engine, FixedPropensity())
    propensities._version = version
    more = TEXTS["offers/booster.yaml"].replace("offer: booster", "offer: another")
    town.engine.use(compile_program(read(texts(**{"offers/a.yaml": more}))))
    assert town.engine.scorer.version.startswith("learned-1-")
    assert len(town.meet(100)) == 100
    words = TEXTS["vocabulary.yaml"].replace("profile:      {", "profile:      {town: text, ")
    town.engine.use(compile_program(read(texts(**{"vocabulary.yaml": words}))))
    assert town.engine.scorer.version == "fixed-0.05"


def test_no_answer_is_taken_for_a_no_before_the_message_arrived(town: Town, tmp_path: Path) -> None:
    town.meet(SAMPLE, delivered="sent")
    lessons = heard(tmp_path / "kairos.db", town.program, town.now)
    assert lessons.learner is not None
    assert lessons.learner.answers.weights(town.now + WEEK).sum() == 0
    with closing(SqliteLessons(tmp_path / "kairos.db")) as store:
        late = Lessons(town.program, WEEK, 60 * DAY)
        late.hear(store, town.now + RECEIPT)  # without a receipt for so long, it is taken to have arrived
    assert late.learner is not None
    assert late.learner.answers.weights(town.now + 2 * WEEK).sum() == SAMPLE


@pytest.mark.parametrize("sittings", [(SAMPLE, 500), (300, SAMPLE - 1000, 1200), (100,) * 25])
def test_heard_in_any_sittings_or_in_one_the_lessons_are_the_same(
    town: Town, tmp_path: Path, sittings: tuple[int, ...]
) -> None:
    path = tmp_path / "kairos.db"
    first = Lessons(town.program, WEEK, 60 * DAY)
    with closing(SqliteLessons(path)) as store:
        for many in sittings:
            town.meet(many)
            first.hear(store, town.now)
    second = heard(path, town.program, town.now)
    assert lessons_of(first) == lessons_of(second)
    assert len(lessons_of(first)) == SAMPLE + 500
    assert sum(status == TAKEN for *_, status, _ in lessons_of(first)) > 500


def test_what_is_said_yes_to_while_it_is_being_heard_is_no_no(town: Town, tmp_path: Path) -> None:
    class Busy(SqliteLessons):
        def decisions(self) -> list[bytes]:
            page = super().decisions()
            if not page and town.people < SAMPLE + 500:
                town.meet(500)
            return page

    town.meet(SAMPLE)
    lessons = Lessons(town.program, WEEK, 60 * DAY)
    with closing(Busy(tmp_path / "kairos.db")) as store:
        lessons.hear(store, town.now)
    assert lessons_of(lessons) == lessons_of(heard(tmp_path / "kairos.db", town.program, town.now))


def lessons_of(lessons: Lessons) -> list[tuple[object, ...]]:
    assert lessons.learner is not None
    answers = lessons.learner.answers
    return sorted(answers.rows[: answers.count][["id", "arm", "status", "delay"]].tolist())


async def test_what_counted_most_is_said_when_somebody_asks_why(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    town.meet(SAMPLE + 500)
    version = heard(path, town.program, town.now).publish(town.now)
    assert version is not None
    name = LearnedPropensity(version, ()).version
    with closing(SqliteLessons(path)) as store:
        store.save_model(name, town.now, freeze(version), 0)
    await Propensities(town.store, town.engine, FixedPropensity()).look()
    decision = town.meet(100)[0]
    with closing(SqliteRecords(path)) as records:
        found = Explainer(records, lambda texts: compile_program(read(texts))).decision(decision.id)
    assert found is not None
    assert found.decision.model == name
    assert found.reasons[0][0] == "language"  # what tastes were planted by
    assert found.reasons[0][1] > 0.5


def test_reasons_add_up_to_what_sets_a_moment_apart(town: Town, tmp_path: Path) -> None:
    decisions = town.meet(SAMPLE + 500)
    version = heard(tmp_path / "kairos.db", town.program, town.now).publish(town.now)
    assert version is not None
    variants = on_channels(variants_of(town.program.playbook), town.program.decide.channels)
    scorer = LearnedPropensity(version, variants_of(town.program.playbook), channels=town.program.decide.channels)
    odds = []
    for decision in decisions[:20]:
        moment = moment_of(decision)
        first, own = np.array([0], np.int32), np.array([1], np.int32)  # the first arm, in a message of its own
        pairs = Pairs(first, first, own, np.zeros(1), np.zeros(1))
        (mean,), _ = scorer.belief(pairs, version.features.levels([moment]))
        told = reasons(version, moment, variants[len(town.program.decide.arms)], at_most=999)
        odds.append(mean - sum(added for _, added in told))
    assert max(odds) - min(odds) < 0.2  # the constant, but for what is too small to be told
