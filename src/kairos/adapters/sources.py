"""Systems that post JSON of their own: their mappings, compiled for the playbook in use, and their secrets."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

from kairos.adapters.ingress import HttpIngress
from kairos.domain.event import Event
from kairos.domain.inputs import Change
from kairos.domain.source import Mapping as SourceMapping
from kairos.domain.source import Source
from kairos.engine.program import Program
from kairos.engine.work import Answer
from kairos.ingest import EventReader, Mapped, Mappings, Passed, Unreadable, written

READ_WITHIN: Final = 2.0  # seconds; a mapping that takes longer on what came is not for this door
LARGE: Final = 16_384  # bytes: more is read in a thread, so that nothing else waits for it


def compile_mappings(mappings: Sequence[SourceMapping], program: Program, region: str) -> Mappings:
    """For a playbook. Raises SettingsError with everything that is wrong with any of them."""
    playbook = program.playbook
    reader = EventReader(playbook.vocabulary, playbook.currency, region)
    return Mappings(mappings, playbook.vocabulary, playbook.currency, reader)


class HttpSources:
    """Payloads in. What is read goes the way of all events, through `ingress`."""

    def __init__(self, ingress: HttpIngress, sources: Mapping[str, Source], mappings: Sequence[SourceMapping]) -> None:
        self.ingress, self.sources, self.mappings = ingress, sources, mappings
        self._compiled: tuple[Program, Mappings] | None = None

    def known(self, source: str) -> bool:
        return source in self.sources

    def opens(self, source: str, secret: str, client: str) -> bool:
        own = self.sources[source].secret
        if secret:
            return bool(own) and hmac.compare_digest(secret.encode(), own.encode())
        return not own or bool(client)

    def refused(self, source: str) -> int:
        return self.sources[source].refused

    def compiled(self) -> Mappings:
        program = self.ingress.loop.engine.program
        if self._compiled is None or self._compiled[0] is not program:
            self._compiled = (program, compile_mappings(self.mappings, program, self.ingress.region))
        return self._compiled[1]

    async def read(self, source: str, media: str, body: bytes) -> Sequence[tuple[int, Mapped | Unreadable | Passed]]:
        mappings, now, until = self.compiled(), self.ingress.loop.clock(), time.monotonic() + READ_WITHIN

        def late() -> bool:
            return time.monotonic() > until

        if len(body) > LARGE:
            return await asyncio.to_thread(mappings.read, source, media, body, now, late)
        return mappings.read(source, media, body, now, late)

    async def submit(self, events: Sequence[Event | Change]) -> Sequence[Answer]:
        return await self.ingress.submit(events)

    def count(self, source: str, results: Sequence[str], unread: Sequence[Unreadable]) -> None:
        counts = self.ingress.loop.engine.statistics.counts
        for status in results:
            counts[f"sources.{source}.{status}"] += 1
        letters = self.ingress.letters
        if letters is None or not self.ingress.keep_rejected:
            return
        for one in unread:
            payload = written(one.sent)
            name = f"{source}/{one.id}" if one.id else f"{source}: {blake2b(payload, digest_size=16).hexdigest()}"
            letters.put("unmapped", name[:1000], "", str(one.error), payload)
