"""What the HTTP door asks of a running kairos about a person's own data; and the sweep that follows an erasure."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any, Final, TypeVar

import structlog

from kairos.adapters.sqlite.person import SqlitePerson
from kairos.adapters.sqlite.sweep import SqliteSweep
from kairos.adapters.trouble import Trouble
from kairos.domain.erasure import Erasure
from kairos.engine.erasure import SUPPRESSED, UNKNOWN
from kairos.engine.loop import Loop
from kairos.errors import KairosError
from kairos.ingest import read_name

log = structlog.get_logger("kairos.privacy")

R = TypeVar("R")
EVERY: Final = 60.0  # seconds between looks at who is not swept up yet


class HttpPrivacy:
    """Reads the store's file at `path` in a thread of its own; forgets through the engine, as everything changes."""

    def __init__(self, loop: Loop, path: str | os.PathLike[str], region: str = "") -> None:
        self.loop, self.path, self.region = loop, path, region
        self._thread = ThreadPoolExecutor(1, "kairos-privacy")
        self._asked = asyncio.Event()

    async def export(self, name: str) -> Mapping[str, Any] | None:
        known_as, now = read_name(name, self.region), self.loop.clock()

        def exported() -> Mapping[str, Any] | None:
            with closing(SqlitePerson(self.path)) as person:
                return person.export(known_as, now)

        return await self._do(exported)

    async def erase(self, name: str, reason: str, force: bool) -> Mapping[str, Any] | str:
        known_as, now = read_name(name, self.region), self.loop.clock()
        answer = await self.loop.submit(Erasure(f"erase/{uuid.uuid4().hex}", known_as, now, reason, force))
        if answer.outcome == UNKNOWN:
            raise LookupError(answer.reason)
        if answer.status == "rejected":
            return answer.reason
        log.info("somebody was forgotten", reason=reason, force=force)
        self._asked.set()
        return {"status": "erased", "at": now, "no_is_kept": answer.outcome == SUPPRESSED}

    async def erasures(self) -> Sequence[Mapping[str, Any]]:
        def latest() -> Sequence[Mapping[str, Any]]:
            with closing(SqliteSweep(self.path)) as sweep:
                return sweep.latest()

        return await self._do(latest)

    async def run(self) -> None:
        """Until cancelled: sweep up what is left of those who were forgotten, those of an earlier run first."""
        trouble = Trouble(log, "those who were forgotten are not swept up yet")
        while True:
            self._asked.clear()
            try:
                done = await self._do(self._sweep)
                if done:
                    log.info("nothing is left of those who were forgotten", subscribers=done)
                trouble.now("")
            except KairosError as error:
                trouble.now(str(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), EVERY)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _sweep(self) -> list[int]:
        with closing(SqliteSweep(self.path)) as sweep:
            return sweep.sweep(self.loop.clock())

    async def _do(self, what: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, what)
