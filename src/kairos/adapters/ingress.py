"""Events that come in over HTTP, and what the door is told of how that goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

import msgspec

from kairos.decide import AMOUNTS, figures, periods
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.event import Event
from kairos.domain.inputs import Change
from kairos.engine.dead_letters import DeadLetters, opened
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
        if self.letters is None or not self.keep_rejected:
            return
        for entry in entries:
            sent = entry.written
            source = entry.sent.get("source", "") if isinstance(entry.sent, dict) else ""
            name = f"{source}/{entry.id}" if entry.id else blake2b(sent, digest_size=16).hexdigest()
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
        trouble = store_trouble(self.loop)
        return [trouble] if trouble else []

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


def store_trouble(loop: Loop) -> str:
    """That the store takes no batches, as far as the latest tell; else an empty text."""
    lately = loop.clock() - loop.failed_at < TROUBLE_LASTS
    return f"the store does not take batches: {loop.failure}" if loop.failure and lately else ""


def plain_letter(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as JSON can hold it, with its input as far as it can be read."""
    fields = msgspec.structs.asdict(letter)
    return fields | {"payload": msgspec.to_builtins(opened(letter), enc_hook=repr)}
