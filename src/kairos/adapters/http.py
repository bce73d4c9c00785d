"""The HTTP door's far side: what the API asks of a running engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from hashlib import blake2b
from typing import Any, Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kairos.adapters.purchases import shown
from kairos.decide import AMOUNTS, figures, periods
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.event import Event
from kairos.domain.inputs import Change
from kairos.engine.dead_letters import DeadLetters, opened
from kairos.engine.explain import Explainer, Explanation
from kairos.engine.loop import Loop
from kairos.engine.program import Program
from kairos.engine.work import Answer
from kairos.errors import KairosError
from kairos.ingest import EventReader, Unreadable
from kairos.ports import Store

# An event that breaks the engine costs itself and no other of its request.
BROKEN: Final = Answer("failed", "this event could not be applied, and the server's log says why; send it again later")
LOOKS_FOR: Final = 1.0  # seconds
TROUBLE_LASTS: Final = 10_000  # ms: then only a new event can tell whether the store is well again


class HttpIngress:
    """Events in, figures out. `gauges` names what is counted elsewhere (queues, binds).

    `letters` keeps what could not be handled, events that could not be read only where `keep_rejected` says so.
    """

    def __init__(
        self,
        loop: Loop,
        region: str,
        gauges: Callable[[], Mapping[str, float]],
        letters: DeadLetters | None = None,
        *,
        keep_rejected: bool = False,
    ) -> None:
        self.loop, self.region, self.gauges = loop, region, gauges
        self.letters, self.keep_rejected = letters, keep_rejected
        self._reader: tuple[Program, EventReader] | None = None
        self._budgets: dict[str, dict[str, int]] = {}

    def reader(self) -> EventReader:
        program = self.loop.engine.program
        if self._reader is None or self._reader[0] is not program:
            playbook = program.playbook
            self._reader = (program, EventReader(playbook.vocabulary, playbook.currency, self.region))
        return self._reader[1]

    async def submit(self, events: Sequence[Event | Change]) -> Sequence[Answer]:
        submissions = [self.loop.post(event) for event in events]
        answers = await asyncio.gather(*(submission.answer for submission in submissions), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, KairosError):
                raise answer
        return [answer if isinstance(answer, Answer) else BROKEN for answer in answers]

    def rejected(self, entries: Sequence[Unreadable]) -> None:
        for entry in entries if self.letters and self.keep_rejected else ():
            sent = entry.written
            source = entry.sent.get("source", "") if isinstance(entry.sent, dict) else ""
            name = f"{source}/{entry.id}" if entry.id else blake2b(sent, digest_size=16).hexdigest()
            assert self.letters is not None
            self.letters.put("rejected", name[:1000], "", str(entry.error), sent)

    def event(self, sent: bytes) -> Event | Change:
        """An event that was rejected before, read with the playbook of today. Raises EventError."""
        (entry,) = self.reader().read("application/cloudevents+json", {}, sent, self.loop.clock())
        if isinstance(entry, Unreadable):
            raise entry.error
        return entry.event

    async def dead_letters(self, kind: str, limit: int) -> Sequence[Any]:
        found = await asyncio.to_thread(self.loop.engine.store.dead_letters, kind, "", limit)
        return [plain_letter(one) for one in found]

    def troubles(self) -> Sequence[str]:
        failure = self.loop.failure
        lately = self.loop.clock() - self.loop.failed_at < TROUBLE_LASTS
        return [f"the store does not take batches: {failure}"] if failure and lately else []

    def stats(self) -> Mapping[str, Any]:
        statistics = self.loop.engine.statistics
        gauges = {"waiting": self.loop.waiting, **self.gauges()}
        counts = {"counts": dict(statistics.counts), "refusals": statistics.reasons()}
        return counts | {"gauges": gauges, "budgets": self._budgets}

    async def look(self) -> None:
        """How each budget stands; none where the store cannot be read, which is told elsewhere."""
        program, now, self._budgets = self.loop.engine.program.decide, self.loop.clock(), {}
        if not program.budgets:
            return
        with suppress(KairosError, TimeoutError):
            async with asyncio.timeout(LOOKS_FOR):
                standings = await self.loop.aside.read(Store.budgets, periods(program, now))
            found = figures(program, now, lambda _: standings)
            self._budgets = {one.name: {what: getattr(one, what) for what in AMOUNTS} for one in found}


def plain_letter(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as JSON can hold it, with its input as far as it can be read."""
    fields = msgspec.structs.asdict(letter)
    return fields | {"payload": msgspec.to_builtins(opened(letter), enc_hook=repr)}


class EngineCollector(Collector):
    """The engine's figures for Prometheus."""

    def __init__(self, ingress: HttpIngress) -> None:
        self.ingress = ingress

    def collect(self) -> Iterable[Metric]:
        stats = self.ingress.stats()
        counted = CounterMetricFamily("kairos_engine", "What the engine counted since it started", labels=["what"])
        for name, count in stats["counts"].items():
            counted.add_metric([name], count)
        refused = CounterMetricFamily("kairos_refusals", "Refusals by gate, rule or limit", labels=["reason"])
        for name, count in stats["refusals"].items():
            refused.add_metric([name], count)
        gauge = GaugeMetricFamily("kairos_now", "How things stand", labels=["what"])
        for name, value in stats["gauges"].items():
            gauge.add_metric([name], value)
        budgets = GaugeMetricFamily("kairos_budget", "Budgets: minor units, or offers", labels=["budget", "what"])
        for name, amounts in stats["budgets"].items():
            for what, amount in amounts.items():
                budgets.add_metric([name, what], amount)
        return [counted, refused, gauge, budgets]


class HttpExplanations:
    """Explanations as plain data, read in threads."""

    def __init__(self, explainer: Explainer) -> None:
        self.explainer = explainer

    async def decision(self, number: int) -> Any | None:
        return await asyncio.to_thread(self._decision, number)

    async def subscriber(self, msisdn: str) -> Sequence[Any] | None:
        return await asyncio.to_thread(self._subscriber, msisdn)

    def _decision(self, number: int) -> Any | None:
        found = self.explainer.decision(number)
        return plain(found) if found else None

    def _subscriber(self, msisdn: str) -> Sequence[Any] | None:
        numbers = self.explainer.latest(msisdn)
        if numbers is None:
            return None
        return [plain(found) for number in numbers if (found := self.explainer.decision(number))]


def plain(found: Explanation) -> dict[str, Any]:
    """An explanation as JSON can hold it; `known` as it was compared, `shown` as it is read (T$12.40)."""
    decision = found.decision
    return {
        "decision": decision.id,
        "subscriber": decision.subscriber,
        "msisdn": found.msisdn,
        "held": [msgspec.structs.asdict(held) for held in found.held],
        "ended": found.ended,
        "kind": decision.kind,
        "happened": decision.happened,
        "decided": decision.now,
        "playbook": found.playbook,
        "revision": decision.revision,
        "model": decision.model,
        "reasons": [{"word": word, "log_odds": round(added, 4)} for word, added in found.reasons],
        "drawn": found.drawn and {name: getattr(found.drawn, name) for name in ("probability", "method", "error")},
        "code": decision.code,
        "said": next((verdict.arm for verdict in found.verdicts if verdict.state == "chosen"), ""),
        "channel": found.channel,
        "asked_on": decision.where,
        "verdicts": [msgspec.to_builtins(verdict) for verdict in found.verdicts],
        "known": found.known,
        "budgets": [asdict(one) | {"shown": dict(shown)} for one, shown in found.budgets],
        "consents": {name: msgspec.structs.asdict(proof) for name, proof in found.consents.items()},
        "shown": found.shown,
        "responses": [msgspec.structs.asdict(response) for response in found.responses],
        "purchases": [shown(purchase) for purchase in found.purchases],
    }
