"""The loop: gather a micro-batch, decide it while the last one commits, acknowledge after the commit."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

import structlog

from kairos.domain.event import Event
from kairos.domain.inbound import Look, Visit, Word
from kairos.domain.message import Outgoing
from kairos.engine.engine import Engine, wanted
from kairos.engine.inbound import answer_at_once
from kairos.engine.program import Program
from kairos.engine.timings import Timings
from kairos.engine.work import Answer, Input, Work
from kairos.errors import KairosError, StoreError
from kairos.ports import Aside, Batch, Clock, Loaded, Store

RESERVED = 0.25  # of the queue
FEW = 48  # inputs of a batch, at most, while somebody asks; a quarter of them where nothing piles up
TURNS = 3  # batches of those who ask, one after the other, while others wait
ASKED_LATELY = 1.0  # seconds


class OverloadedError(KairosError):
    """More is waiting than the queue may hold: come back, or go on without a decision."""


@dataclass(slots=True, eq=False)
class Submission:
    """An input. `overtaken`: whoever brought it waits no longer, and tells whether it sent the notification itself.

    `followed`: a later input of its batch concerns the same subscriber, and may be a STOP. `loaded`: their state, read
    when it came, and kept as fresh as the store until its turn.
    """

    input: Input
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    overtaken: asyncio.Future[bool] | None = None
    followed: bool = False
    loaded: Loaded | None = None
    posted: float = field(default_factory=time.perf_counter)

    async def withdrawn(self) -> bool:
        """Whether the notification went out without us; waits while that is being tried."""
        return self.overtaken is not None and await asyncio.shield(self.overtaken)


@dataclass(slots=True)
class Ahead:
    """A batch that was taken from the queues, and its states if they were read ahead."""

    submissions: list[Submission] = field(default_factory=list)
    loaded: Loaded | None = None

    def __bool__(self) -> bool:
        return bool(self.submissions)


class InThreads:
    """A `kairos.ports.Aside` for any store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        return await asyncio.get_running_loop().run_in_executor(None, self.store.load, names, subscribers)

    async def commit(self, batch: Batch) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.store.commit, batch)

    async def close(self) -> None:
        """The store is another's to close."""


log = structlog.get_logger("kairos.loop")

Handed = Callable[[Sequence[tuple[Outgoing, Submission]]], None]


class Loop:
    """Runs an engine. One batch commits beside it while the next is decided on top of that; none overtakes.

    `handed` gets every new outbox row after its commit, with the submission that caused it; `broken` every input that
    breaks the engine.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        handed: Handed,
        *,
        aside: Aside | None = None,
        batch: int = 500,
        linger: float = 0.002,
        queue: int = 20_000,
        broken: Callable[[Input, Exception], None] = lambda _input, _error: None,
    ) -> None:
        self.engine, self.clock, self.handed = engine, clock, handed
        self.aside = aside or InThreads(engine.store)
        self.batch, self.linger, self.queue = batch, linger, queue
        self.broken = broken
        self.failure: Exception | None = None  # of the latest batch; None while the store is well
        self.failed_at = 0  # ms
        self.timings = Timings()
        self._waiting: deque[Submission] = deque()
        self._asking: deque[Submission] = deque()  # somebody waits for the answer: they go first
        self._prepared: set[Submission] = set()  # whose states were read when they came
        self._reading: list[list[Work]] = []  # for each read under way: what was committed meanwhile
        self._asks = 0  # under way
        self._asked = -inf  # when somebody last did
        self._turns = 0  # of theirs, one after the other
        self._hurry: asyncio.Future[None] | None = None  # done when somebody asks
        self._arrived = asyncio.Event()
        self._committing: asyncio.Task[bool] | None = None
        self._closing = False
        self._suspects = 0  # how many of the next were in a batch that broke
        self._following = Ahead()  # its states are being read beside the commit
        self._next: Program | None = None

    def post(self, source: Input, *, own: bool = False, regulated: bool = False) -> Submission:
        """Queue an input; its answer comes after the commit. Our `own` news is never turned away.

        A share of the queue (`RESERVED`) is for notifications (`regulated`) alone. Raises OverloadedError where there
        is no room. The answer raises StoreError where the commit failed.
        """
        room = self.queue if regulated else self.queue - int(self.queue * RESERVED)
        if len(self._waiting) >= room and not own:
            self.engine.statistics.counts["overloaded"] += 1
            raise OverloadedError(f"{room} inputs are waiting; slow down and send again")
        submission = Submission(source)
        self._waiting.append(submission)
        self._arrived.set()
        return submission

    async def submit(self, source: Input, *, own: bool = False) -> Answer:
        """Queue an input and wait for its answer."""
        return await self.post(source, own=own).answer

    async def ask(self, source: Visit | Word | Look) -> Answer:
        """Somebody waits for this answer: what needs no write is told from their state as it is, without waiting for
        any batch, and the rest goes before what nobody waits for.

        Raises OverloadedError where there is no room, StoreError where the state cannot be read or the commit failed.
        """
        if self._asks >= self.queue * RESERVED:
            self.engine.statistics.counts["overloaded"] += 1
            raise OverloadedError(f"{self._asks} requests are waiting; slow down and send again")
        self._asked = time.perf_counter()
        self._asks += 1
        try:
            loaded = await self._read([source])
            return answer_at_once(self.engine, source, loaded, self.clock()) or await self._first(source, loaded)
        finally:
            self._asks -= 1

    async def _first(self, source: Visit | Word | Look, loaded: Loaded) -> Answer:
        submission = Submission(source, loaded=loaded)
        self._prepared.add(submission)
        self._asking.append(submission)
        self._arrived.set()
        if self._hurry and not self._hurry.done():
            self._hurry.set_result(None)
        return await submission.answer

    def use(self, program: Program) -> None:
        """From the next batch on, this playbook; no batch sees two."""
        self._next = program

    @property
    def waiting(self) -> int:
        return len(self._waiting) + len(self._asking)

    async def run(self) -> None:
        """Until closed: gather, decide, commit; then finish what is under way."""
        batch = Ahead()
        while batch or self.waiting or not self._closing:
            if not batch:
                batch = Ahead(await self._gather())
            if self._next:
                self.engine.use(self._next)
                self._next = None
            if batch:
                batch = await self._step(batch)
        await self._settled()
        await self.aside.close()

    def close(self) -> None:
        self._closing = True
        self._arrived.set()

    async def _gather(self) -> list[Submission]:
        """What waits, up to a batch; a short linger lets more join unless a commit is under way anyway."""
        if not self.waiting:
            self._arrived.clear()
            if not self._closing:
                await self._arrived.wait()
        if self._committing and not self._asking and len(self._waiting) < self._room():
            self._hurry = asyncio.get_running_loop().create_future()
            ends: set[asyncio.Future[Any]] = {self._committing, self._hurry}
            await asyncio.wait(ends, timeout=self.linger, return_when=asyncio.FIRST_COMPLETED)
        return self._take()

    def _take(self) -> list[Submission]:
        """A batch of those who ask, or of the others in the order of arrival, who have every fourth turn at least.

        Those of a batch that broke come one by one, so that only the culprit fails.
        """
        if self._suspects:
            self._suspects -= 1
            return [self._waiting.popleft()]
        asked = bool(self._asking) and not (self._turns == TURNS and self._waiting)
        self._turns = self._turns + 1 if asked else 0
        queue = self._asking if asked else self._waiting
        return [queue.popleft() for _ in range(min(self._room(), len(queue)))]

    def _room(self) -> int:
        """How many may be in a batch: few while somebody asks, who would wait for them; more where many wait."""
        if time.perf_counter() - self._asked > ASKED_LATELY:
            return self.batch
        return min(self.batch, FEW, max(FEW // 4, len(self._waiting) // 4))

    def _look_ahead(self) -> Ahead:
        """A whole batch that waits already: under load its states are read before its turn comes."""
        return Ahead(self._take() if len(self._waiting) >= self.batch and not self._asking else [])

    async def _step(self, batch: Ahead) -> Ahead:
        """Decide one batch on top of the one that commits; if that fails, this one is taken anew. Gives the next.

        What was read ahead was read after the commit of the batch before the last, so that only the last is in flight.
        """
        work, error = await self._apply(batch)
        committed = await self._settled()
        following, self._following = self._following, Ahead()
        if not committed:
            self.engine.flying.clear()
            self._waiting.extendleft(reversed(batch.submissions + following.submissions))
            return Ahead()
        if work is None and (len(batch.submissions) == 1 or isinstance(error, StoreError)):
            self._fail(batch.submissions, error)
            return Ahead(following.submissions)  # what was read for it may be old by now
        if work is None:
            self._waiting.extendleft(reversed(batch.submissions + following.submissions))
            self._suspects = len(batch.submissions)
            return Ahead()
        following = following or self._look_ahead()
        self._following = self._look_ahead() if following else Ahead()
        self._committing = asyncio.create_task(self._commit(batch.submissions, work, self._following))
        await asyncio.sleep(0)
        return following

    async def _apply(self, batch: Ahead) -> tuple[Work | None, Exception]:
        inputs = [submission.input for submission in batch.submissions]
        try:
            loaded = await self._loaded(batch)
            begun = time.perf_counter()
            work = self.engine.apply(inputs, self.clock(), loaded)
            self.timings.deciding.append((time.perf_counter() - begun) * 1000)
            return work, StoreError("")
        except Exception as error:  # a bug must cost one input, not the batch and not the loop
            return None, error
        finally:
            for one in batch.submissions:
                self._prepared.discard(one)
                one.loaded = None  # should it come again, it is old

    async def _loaded(self, batch: Ahead) -> Loaded:
        """A batch's states: some were read when who asks came, all of them ahead, or they are read now."""
        unread = [one.input for one in batch.submissions if one.loaded is None]
        loaded = batch.loaded or (await self._read(unread) if unread else Loaded({}, {}))
        for known in (one.loaded for one in batch.submissions if one.loaded):
            loaded.subscribers.update(known.subscribers)
            loaded.states.update(known.states)
            loaded.moved.update(known.moved)
        return loaded

    async def _read(self, inputs: Sequence[Input]) -> Loaded:
        """Beside the loop: a disk that hangs must not hold up what goes out plain meanwhile."""
        landed: list[Work] = []
        self._reading.append(landed)
        try:
            loaded = await self.aside.load(*wanted(inputs))
        finally:
            self._reading = [one for one in self._reading if one is not landed]
        self.engine.overlay(loaded, inputs, landed)
        return loaded

    async def _settled(self) -> bool:
        """Whether the commit under way, if any, went well."""
        committed = await self._committing if self._committing else True
        self._committing = None
        return committed

    async def _commit(self, batch: list[Submission], work: Work, following: Ahead) -> bool:
        """Commit beside the loop, acknowledge, and read ahead."""
        begun = time.perf_counter()
        try:
            if work.batch:
                await self.aside.commit(work.batch)
        except Exception as error:
            self.engine.flying.remove(work)
            self._fail(batch, error)
            return False
        self.failure = None
        self.engine.flying.remove(work)
        for landed in self._reading:
            landed.append(work)
        for one in self._prepared:
            assert one.loaded
            self.engine.overlay(one.loaded, [one.input], [work])
        for submission, answer in zip(batch, work.answers, strict=True):
            if not submission.answer.done():
                submission.answer.set_result(answer)
        ended = time.perf_counter()
        self.timings.committing.append((ended - begun) * 1000)
        self.timings.answering.append((ended - batch[0].posted) * 1000)
        if isinstance(first := batch[0].input, Event):
            self.timings.happened.append(work.now - first.happened)
        if work.batch.outgoing:
            latest = work.latest_inputs() if len(batch) > 1 else {}
            for row in work.batch.outgoing:
                cause = work.caused_by[row.id]
                batch[cause].followed = latest.get(row.subscriber, 0) > cause
            self.handed([(row, batch[work.caused_by[row.id]]) for row in work.batch.outgoing])
        if following:
            with suppress(Exception):  # its turn will tell; the commit stands
                inputs = [submission.input for submission in following.submissions]
                following.loaded = await self.aside.load(*wanted(inputs))
        return True

    def _fail(self, batch: Sequence[Submission], error: Exception) -> None:
        if isinstance(error, StoreError):
            self.failure, self.failed_at = error, self.clock()
        else:
            log.error("an input broke the engine", what=type(batch[0].input).__name__, exc_info=error)
            for submission in batch:
                self.broken(submission.input, error)
        self.engine.statistics.counts["failed_batches"] += 1
        for submission in batch:
            if not submission.answer.done():
                submission.answer.set_exception(error)


def tune_interpreter() -> None:
    """Look for garbage cycles rarely, for records have none, and let a commit's thread have its turn soon.

    What awaits does leave some, a few for each input: at 1,000,000 objects between two looks a server grew by 22 MB a
    minute at 2,000 events a second.

    Looking for cycles cost a fifth of deciding; with the usual 5 ms a commit waited for the thread that decides.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    sys.setswitchinterval(0.0005)
