"""Retention: what is older than it is to be kept goes, in small shares, while the engine has little to do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import structlog

from kairos.engine.loop import Loop
from kairos.errors import KairosError
from kairos.ports import Clock, Store

log = structlog.get_logger("kairos.retention")

# Measured beside commits of 500 decisions and 500 rows of the outbox: shares of 1,000 with rests twice as long did not
# keep up with 17,000 of each a second; these did with 23,000, and commits were no slower (p99 66 ms, 98 without).
SHARE = 3000  # rows in one transaction
PATIENCE = 50  # looks at a loop that is behind, before one share goes all the same: else a busy store only grew
REST = 1.0  # times as long as a share took


class Retention:
    """`ages` in ms by what is kept (see `kairos.ports.Store.forget`); what has none, or 0, is kept for ever."""

    def __init__(self, store: Store, clock: Clock, ages: Mapping[str, int], counts: Counter[str]) -> None:
        self.store, self.clock, self.counts = store, clock, counts
        self.ages = {what: age for what, age in ages.items() if age}

    async def run(self, loop: Loop, *, every: float = 60.0) -> None:
        """Until cancelled: one pass after another."""
        trouble = ""
        while True:
            try:
                await self.once(loop)
                trouble = ""
            except KairosError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    log.warning("what is old could not be deleted", reason=trouble)
            await asyncio.sleep(every)

    async def once(self, loop: Loop) -> None:
        """One pass over everything."""
        for what, age in self.ages.items():
            after = 0
            while True:
                await self._turn(loop)
                took = -asyncio.get_running_loop().time()
                gone = await asyncio.to_thread(self.store.forget, what, self.clock() - age, after, SHARE)
                took += asyncio.get_running_loop().time()
                self.counts[f"forgotten.{what}"] += gone.deleted
                after = gone.reached
                if not after:
                    break
                await asyncio.sleep(REST * took)
        if "decisions" in self.ages:
            gone = await asyncio.to_thread(self.store.forget, "playbooks", 0, 0, SHARE)
            self.counts["forgotten.playbooks"] += gone.deleted

    async def _turn(self, loop: Loop) -> None:
        """Wait while the loop is behind, but not for ever."""
        for _ in range(PATIENCE):
            if loop.waiting < loop.batch:
                return
            await asyncio.sleep(0.1)
