"""Subscribers with planted tastes, before an engine on a store's file; and what is learned from it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from tests.conftest import NOON, TEXTS, compiled

from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.lessons import SqliteLessons
from kairos.decide import Arm
from kairos.domain.decision import Decision, read_decision
from kairos.domain.event import Event
from kairos.domain.inputs import Delivery, Reply
from kairos.domain.message import Outgoing, Text
from kairos.domain.subscriber import Bucket
from kairos.engine.engine import Engine
from kairos.engine.lessons import Lessons
from kairos.engine.program import Program
from kairos.engine.work import Input
from kairos.learn import FixedPropensity

DAY = 86_400_000
WEEK = 7 * DAY
TEN = Bucket("main", 10_000), Bucket("data", 100_000, NOON + WEEK)

_text = msgspec.msgpack.Decoder(Text).decode


def texts(**files: str) -> dict[str, str]:
    """Two bundles for everybody: whoever speaks French takes the large one, whoever speaks English the small one."""
    offers = TEXTS["offers/booster.yaml"].replace("price: 45, value: 24", "price: 10, value: 5")
    kept = {name: text for name, text in TEXTS.items() if name not in ("offers/top_up.yaml", "offers/hint.yaml")}
    policy = "contact_only_when: {marketing consent: marketing_consent}\nholdout: 0%\n"
    return kept | {"offers/booster.yaml": offers, "contact_policy.yaml": policy} | files


class Town:
    """An engine on a store's file, whose subscribers answer by their tastes."""

    def __init__(self, path: Path, playbook: Mapping[str, str] | None = None) -> None:
        self.store = SqliteStore(path)
        written = playbook or texts()
        self.program = compiled(written)
        self.store.save_playbook(self.program.playbook.revision, self.program.playbook.vocabulary.layout, written)
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
            made = {decision.id: decision for *_, blob in work.batch.decisions if (decision := read_decision(blob))}
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


def heard(path: Path, program: Program, now: int) -> Lessons:
    lessons = Lessons(program, WEEK, 60 * DAY)
    with closing(SqliteLessons(path)) as store:
        lessons.hear(store, now)
    return lessons
