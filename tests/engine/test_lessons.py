"""From the store's own records to a model in force: planted tastes are learned; what teaches nothing is left out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.conftest import NOON, TEXTS

from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite_lessons import RECEIPT, SqliteLessons
from kairos.decide import Arm
from kairos.domain.decision import Decision
from kairos.domain.event import Event
from kairos.domain.inputs import Delivery, Reply
from kairos.domain.message import Outgoing, Text
from kairos.domain.subscriber import Bucket
from kairos.engine.engine import Engine
from kairos.engine.lessons import SAMPLE, Lessons
from kairos.engine.program import Program, compile_program
from kairos.engine.propensities import Propensities
from kairos.engine.work import Input
from kairos.learn import FixedPropensity, LearnedPropensity, Version, freeze
from kairos.playbook import read

DAY = 86_400_000
WEEK = 7 * DAY
TEN = Bucket("main", 10_000), Bucket("data", 100_000, NOON + WEEK)

_record = msgspec.msgpack.Decoder(Decision).decode
_text = msgspec.msgpack.Decoder(Text).decode


def texts(**files: str) -> dict[str, str]:
    """Two bundles for everybody: whoever speaks French takes the large one, whoever speaks English the small one."""
    offers = TEXTS["offers/booster.yaml"].replace("price: 45, value: 24", "price: 10, value: 5")
    kept = {name: text for name, text in TEXTS.items() if name not in ("offers/top_up.yaml", "offers/hint.yaml")}
    policy = "contact_only_when: {marketing consent: marketing_consent}\nholdout: 0%\n"
    return kept | {"offers/booster.yaml": offers, "contact_policy.yaml": policy} | files


class Town:
    """An engine on a store's file, whose subscribers answer by their tastes."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)
        self.program = compile_program(read(texts()))
        self.store.save_playbook(self.program.playbook.revision, self.program.playbook.vocabulary.layout, texts())
        self.engine = Engine(self.store, self.program, FixedPropensity())
        self.chance = random.Random(5)
        self.now = NOON
        self.people = 0

    def take(self, *inputs: Input) -> Any:
        work = self.engine.apply(inputs, self.now)
        self.store.commit(work.batch)
        self.engine.flying.clear()
        return work

    def meet(self, many: int, *, delivered: str = "delivered") -> list[Decision]:
        """So many new subscribers end a call, read what is offered, and answer within the minute, or not."""
        decisions: list[Decision] = []
        for _ in range(0, many, 100):
            people = range(self.people, self.people + 100)
            self.people += 100
            profile = [self.profile(one) for one in people]
            self.take(*profile)
            calls = [self.call(one) for one in people]
            work = self.take(*calls)
            made = {decision.id: decision for *_, blob in work.batch.decisions if (decision := _record(blob))}
            sent = [(row, _text(row.payload)) for row in work.batch.outgoing]
            self.take(*(self.news(row, text, delivered) for row, text in sent))
            if delivered == "delivered":
                arms = [self.engine.program.decide.arms[made[text.decision].chosen.arm] for _, text in sent]  # type: ignore[union-attr]
                self.take(*(self.yes(one) for one, arm in zip(people, arms, strict=True) if self.likes(one, arm)))
            decisions += made.values()
            self.now += 1000
        return decisions

    def news(self, row: Outgoing, text: Text, status: str) -> Delivery:
        return Delivery(row.id, row.subscriber, status, self.now, offer=text.offer, decision=text.decision)

    def likes(self, one: int, arm: Arm) -> bool:
        return self.chance.random() < (0.5 if arm.variant.name == ("large" if one % 2 else "small") else 0.02)

    def yes(self, one: int) -> Reply:
        return Reply(f"r{one}", number(one), "5000", "YES", self.now)

    def profile(self, one: int) -> Event:
        data = {"plan": "prepaid", "language": "fr" if one % 2 else "en", "marketing_consent": True}
        return Event(f"p{one}", "profile", number(one), self.now, data)

    def call(self, one: int) -> Event:
        return Event(f"c{one}", "end_of_call", number(one), self.now, {"service": "voice", "balances": list(TEN)})


def number(one: int) -> str:
    return f"1202555{one:06d}"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path / "kairos.db")
    yield town
    town.store.close()


def heard(path: Path, program: Program, now: int) -> Lessons:
    lessons = Lessons(program, WEEK, 60 * DAY)
    with closing(SqliteLessons(path)) as store:
        hear(store, lessons, now)
    return lessons


def hear(store: SqliteLessons, lessons: Lessons, now: int) -> None:
    while records := store.decisions():
        lessons.decided(records)
    for decision, at in store.arrivals(now):
        lessons.sent(decision, at) if at else lessons.came_to_nothing(decision)
    while responses := store.responses():
        for response in responses:
            lessons.answered(response)


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
        hear(store, late, town.now + RECEIPT)  # without a receipt for so long, it is taken to have arrived
    assert late.learner is not None
    assert late.learner.answers.weights(town.now + 2 * WEEK).sum() == SAMPLE


def test_heard_in_two_sittings_or_in_one_the_lessons_are_the_same(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    first = Lessons(town.program, WEEK, 60 * DAY)
    with closing(SqliteLessons(path)) as store:
        town.meet(SAMPLE)
        hear(store, first, town.now)
        town.meet(500)
        hear(store, first, town.now)
    second = heard(path, town.program, town.now)
    assert first.learner is not None
    assert second.learner is not None
    columns = ["id", "arm", "status", "delay"]
    rows = [one.answers.rows[: one.answers.count][columns].tolist() for one in (first.learner, second.learner)]
    assert rows[0][:SAMPLE] == rows[1][:SAMPLE]
    assert len(rows[0]) == len(rows[1]) == SAMPLE + 500
