"""News for subscribers of events: what was offered, what became of it, and what was charged, by signed webhook.

The store is read beside the engine, by position: who decides, answers or charges waits for none of it, and where nobody
listens, nothing is read. Each target is told everything at least once, in order, with an id that stays the same; one
that hangs or is down holds up only itself, for as long as `keep` says, and then what it missed is a dead letter.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal, ParamSpec, TypeVar

import structlog

from kairos.adapters.sqlite.file import StoreFile
from kairos.adapters.trouble import Trouble
from kairos.adapters.webhooks import Target, body
from kairos.domain.decision import read_decision
from kairos.engine.dead_letters import DeadLetters
from kairos.engine.dispatch import Backoff
from kairos.engine.program import Program
from kairos.engine.work import decode_state
from kairos.errors import KairosError
from kairos.ports import Batch, Clock, Store

log = structlog.get_logger("kairos.news")

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["decisions", "responses", "fulfilments"]
FULFILMENTS: Final = frozenset({"fulfilled", "refused", "refunded", "stuck", "reversed", "partly_reversed"})
# The news in the tables of responses and of decisions, which are read each at a position of its own.
TABLES: Final[tuple[frozenset[Kind], ...]] = (frozenset(("responses", "fulfilments")), frozenset(("decisions",)))
PAGE: Final = 200
PATIENT: Final = Backoff(0.5, 300.0)
LOOK: Final = 0.5  # seconds between looks at a table that had nothing new


RESPONSES = "SELECT id, subscriber, decision, offer, outcome, reason, at FROM response WHERE id > ? ORDER BY id LIMIT ?"
DECISIONS = "SELECT id, record FROM decision WHERE id > ? ORDER BY id LIMIT ?"
POSITION = "SELECT position FROM input_position WHERE source = ? AND partition = ?"
NEWEST = ("SELECT ifnull(max(id), 0) FROM response", "SELECT ifnull(max(id), 0) FROM decision")


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of news. `position`: it was told once all before it were."""

    position: int
    id: str
    kind: Kind
    at: int
    subscriber: str
    data: dict[str, Any]


class SqliteNews:
    """The tables of a running kairos' store, read page by page, in a thread of its own."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        store: Store,
        program: Callable[[str], Program | None],
        wanted: Collection[str],
    ) -> None:
        self._path, self._opened = path, list[StoreFile]()
        self.store, self.program, self.wanted = store, program, wanted

    def _rows(self, sql: str, *values: object) -> list[Any]:
        if not self._opened:
            self._opened.append(StoreFile(self._path, writes=False))
        return self._opened[0].rows(sql, *values)

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def position(self, source: str, partition: int) -> int | None:
        """What was kept; None for a source that is new."""
        rows = self._rows(POSITION, source, partition)
        return int(rows[0][0]) if rows else None

    def newest(self, partition: int) -> int:
        return int(self._rows(NEWEST[partition])[0][0])

    def after(self, partition: int, position: int) -> tuple[list[Item], int]:
        """The next page of what is wanted, and the position behind it."""
        sql = (RESPONSES, DECISIONS)[partition]
        rows = self._rows(sql, position, PAGE)
        read = self._responses if partition == 0 else self._decisions
        return list(read(rows)), rows[-1][0] if rows else position

    def _responses(self, rows: list[Any]) -> Iterator[Item]:
        kinds: list[tuple[Any, Kind]] = [(row, "fulfilments" if row[4] in FULFILMENTS else "responses") for row in rows]
        told = [(row, kind) for row, kind in kinds if kind in self.wanted]
        numbers = self._numbers({row[1] for row, _ in told})
        for (id_, subscriber, decision, offer, outcome, reason, at), kind in told:
            data = {"subscriber": numbers.get(subscriber, ""), "decision": decision, "offer": offer, "outcome": outcome}
            yield Item(id_, f"{self.store.epoch}-r{id_}", kind, at, str(subscriber), data | {"reason": reason})

    def _decisions(self, rows: list[Any]) -> Iterator[Item]:
        records = [read_decision(record) for _, record in rows]
        said = [record for record in records if record.chosen and not record.test and "decisions" in self.wanted]
        numbers = self._numbers({record.subscriber for record in said})
        for record in said:
            assert record.chosen
            program = self.program(record.revision)
            data: dict[str, Any] = {
                "subscriber": numbers.get(record.subscriber, ""),
                "decision": record.id,
                "offer": f"{self.store.epoch_of(record.id)}-{record.id}",
                "event": record.kind,
                "revision": record.revision,
                "model": record.model,
            }
            if program:
                arm = program.decide.arms[record.chosen.arm]
                where = program.decide.channels[record.chosen.channel]
                data |= {"action": arm.action.name, "variant": arm.variant.name, "channel": record.where or where}
            id_ = f"{self.store.epoch}-d{record.id}"
            yield Item(record.id, id_, "decisions", record.now, str(record.subscriber), data)

    def _numbers(self, subscribers: Collection[int]) -> dict[int, str]:
        """The MSISDNs that they have now; who has none any more is left out."""
        states = self.store.load([], subscribers).states if subscribers else {}
        found = {id_: decode_state(blob).msisdn for id_, blob in states.items()}
        return {id_: f"+{msisdn}" for id_, msisdn in found.items() if msisdn}


class Teller:
    """Tells one target what is in one table, from where it last came to."""

    def __init__(
        self,
        name: str,
        partition: int,
        news: SqliteNews,
        target: Target,
        store: Store,
        letters: DeadLetters,
        clock: Clock,
        *,
        thread: ThreadPoolExecutor,
        keep: int,
        backoff: Backoff = PATIENT,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name, self.partition, self.news, self.target = name, partition, news, target
        self.store, self.letters, self.clock = store, letters, clock
        self.keep = keep  # ms that an item is tried for; 0: for ever
        self.backoff, self.chance = backoff, chance
        self.thread = thread  # that has the file open
        self.source = f"news/{name}"
        self.counts = {"told": 0, "lost": 0}
        self.untold: tuple[int, str] | None = None  # since when (ms) it does not take what it is told, and why

    async def run(self) -> None:
        """Until cancelled."""
        trouble, position = Trouble(log, "news cannot be read", target=self.name), -1
        while True:
            try:
                if position < 0:
                    position = await self._begin()
                position, more = await self._page(position)
                trouble.now("")
            except KairosError as error:
                more = False
                trouble.now(str(error))
            except Exception as error:  # what is wrong with one record must not end the server
                more = False
                if trouble.changes(repr(error)):
                    log.exception("news broke", target=self.name)
            if not more:
                await asyncio.sleep(LOOK)

    async def _begin(self) -> int:
        """Where it last came to; who is new is told what comes from now on. A restored store has fewer rows."""
        kept = await self._read(self.news.position, self.source, self.partition)
        newest = await self._read(self.news.newest, self.partition)
        if kept is None:
            await self._keep(newest)
        return newest if kept is None else min(kept, newest)

    async def _page(self, position: int) -> tuple[int, bool]:
        """Tell the next page; the new position, and whether there was anything."""
        items, reached = await self._read(self.news.after, self.partition, position)
        more = reached > position
        try:
            for item in items:
                await self._tell(item)
                position = item.position
            position = reached
        finally:  # a stop in the middle of a page repeats as little as it can
            if items and position >= items[0].position:
                await asyncio.shield(self._keep(position))
        return position, more

    async def _read(self, read: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, read, *args)

    async def _keep(self, position: int) -> None:
        await asyncio.to_thread(self.store.commit, Batch(positions=[(self.source, self.partition, position)]))

    async def _tell(self, item: Item) -> None:
        """Until it is taken, refused for good, or too old to be tried again."""
        content = body(item.kind, item.at, item.data)
        attempts = 0
        while True:
            outcome = await self.target.post(item.id, content)
            if outcome.status == "sent":
                self.counts["told"], self.untold = self.counts["told"] + 1, None
                return
            attempts += 1
            self.untold = (self.untold or (self.clock(), ""))[0], outcome.reason
            if outcome.status == "failed" or (self.keep and self.clock() - item.at > self.keep):
                self.counts["lost"] += 1
                self.letters.put("news", f"{self.name}/{item.id}", item.subscriber, outcome.reason, content)
                return
            await asyncio.sleep(max(outcome.after, self.backoff.seconds(attempts, self.chance())))
