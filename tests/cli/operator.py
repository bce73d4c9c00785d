"""A small operator in a store on disk: some thousand subscribers, a moment and an answer each, and what they spent."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from tests.conftest import HOUR, NOON, TEXTS, compiled

from kairos.adapters.sqlite import SqliteStore
from kairos.decide.gates import held_out
from kairos.domain.event import Event, Notification
from kairos.domain.inputs import Fulfilment, Reply
from kairos.domain.message import Order
from kairos.domain.subscriber import Bucket
from kairos.engine.engine import Engine
from kairos.engine.work import Input, Work
from kairos.learn import FixedPropensity

DAY = 24 * HOUR
SHARE = 0.2


@dataclass
class Operator:
    """`lift`: minor units that the treated spend more in the 40 days after, besides what they buy.

    Every third whom something is offered takes it; `loyal` buyers would have spent as much anyway.
    """

    folder: Path
    subscribers: int = 1500
    lift: int = 0
    loyal: bool = False
    holdout: float = SHARE
    control: float = 0.0  # of the booster
    before: float = 1.0  # how many times as much the treated spent before
    seed: int = 1
    fair: bool = True  # else who speaks French has mostly more data left than the offer asks for
    bought: dict[str, int] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / "kairos.db"

    @property
    def extract(self) -> Path:
        return self.folder / "events.csv"

    def msisdn(self, number: int) -> str:
        return f"1202555{number:04d}"

    def live(self) -> None:
        """The store, with a moment for everybody, and answers; then the extract."""
        chance = random.Random(self.seed)
        policy = TEXTS["contact_policy.yaml"].replace("holdout: 0%", f"holdout: {self.holdout:.0%}")
        booster = TEXTS["offers/booster.yaml"] + (f"control: {self.control:.0%}\n" if self.control else "")
        texts = TEXTS | {"contact_policy.yaml": policy, "offers/booster.yaml": booster}
        program = compiled(texts)
        numbers = [self.msisdn(number) for number in range(self.subscribers)]
        with closing(SqliteStore(self.store)) as store:
            store.save_playbook(
                program.playbook.revision,
                program.playbook.vocabulary.layout,
                dict(texts),
            )
            engine = Engine(store, program, FixedPropensity())

            def apply(inputs: Sequence[Input]) -> Work:
                work = engine.apply(inputs, NOON)
                store.commit(work.batch)
                engine.flying.remove(work)
                return work

            def profile(number: str) -> Event:
                known = {"plan": "prepaid", "language": chance.choice(("en", "fr")), "marketing_consent": True}
                self.bought[number] = 0
                return Event(f"p/{number}", "profile", number, NOON, known)

            profiles = [profile(number) for number in numbers]
            apply(profiles)
            calls = []
            for one in profiles:
                rich = not self.fair and one.data["language"] == "fr" and chance.random() < 0.7
                balances = [Bucket("main", 5000), Bucket("data", 900_000 if rich else 100_000, NOON + DAY)]
                text = Notification("ocs", f"m{one.msisdn}", "5000", one.msisdn, "Your call cost T$1.", "en", True)
                data = {"service": "voice", "cost": 100, "balances": balances}
                calls.append(Event(f"c/{one.msisdn}", "end_of_call", one.msisdn, NOON, data, text))
            apply(calls)
            replies = [Reply(f"r/{number}", number, "5000", "1", NOON) for number in numbers if chance.random() < 1 / 3]
            orders = [row for row in apply(replies).batch.outgoing if row.channel == "ocs"]
            settled = []
            for row in orders:
                order = msgspec.msgpack.decode(row.payload, type=Order)
                self.bought[order.msisdn] = order.price
                settled.append(Fulfilment(row.id, row.subscriber, order.key, "done", NOON))
            apply(settled)
        self._spend(chance)

    def _spend(self, chance: random.Random) -> None:
        """Forty days before and after: a level of their own, what they bought, and the lift of who was treated."""
        with self.extract.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("msisdn", "happened", "kind", "amount"))
            for place, (number, price) in enumerate(self.bought.items(), 1):
                level = chance.uniform(50, 400)
                groups = (("kairos", self.holdout), ("kairos/booster", self.control))
                treated = not any(held_out(salt, place, share) for salt, share in groups)
                more = self.lift / 40 if treated else 0.0
                less = price / 40 if self.loyal else 0.0
                for day in range(-40, 40, 4):
                    usual = level * chance.uniform(0.5, 1.5) * (self.before if treated and day < 0 else 1)
                    amount = 4 * (usual + (more - less if day >= 0 else 0))
                    at = NOON + day * DAY + HOUR
                    rows.writerow((f"+{number}", at, "spend", round(amount)))
                    rows.writerow((f"+{number}", at, "recharge", round(amount)))
                if price:
                    rows.writerow((f"+{number}", NOON, "spend", price))
            rows.writerow(("+12025559999", NOON + 41 * DAY, "spend", 1))
