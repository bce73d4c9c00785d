"""The loop: gather a micro-batch, decide it while those before it commit, acknowledge after its commit."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf

import structlog

from kairos.domain.event import Event
from kairos.domain.inbound import Look, Visit, Word
from kairos.domain.message import Outgoing
from kairos.engine.aside import InThreads
from kairos.engine.engine import Engine
from kairos.engine.inbound import answer_at_once
from kairos.engine.program import Program
from kairos.engine.reads import Read, Reads, joined
from kairos.engine.timings import Timings
from kairos.engine.work import Answer, Input, Work
from kairos.errors import FallenError, KairosError, StoreError
from kairos.ports import Aside, Clock, Loaded

RESERVED = 0.25  # of the queue
FEW = 48  # inputs of a batch, at most, while somebody asks
SLICE = 12  # of them are decided without a pause
TURNS = 3  # batches of those who ask, one after the other, while others wait
ASKED_LATELY = 1.0  # seconds
COMMITS = 2  # under way, with which no other batch is begun
COMMITS_ASKED = 4  # with which none of those who ask is


class OverloadedError(KairosError):
    """More is waiting than the queue may hold: come back, or go on without a decision."""


@dataclass(slots=True, eq=False)
class Submission:
    """An input. `overtaken`: whoever brought it waits no longer, and tells whether it sent the notification itself.

    `followed`: a later input of its batch concerns the same subscriber, and may be a STOP. `read`: their state, read
    when it came.
    """

    input: Input
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    overtaken: asyncio.Future[bool] | None = None
    followed: bool = False
    read: Read | None = None
    posted: float = field(default_factory=time.perf_counter)

    async def withdrawn(self) -> bool:
        """Whether the notification went out without us; waits while that is being tried."""
        return self.overtaken is not None and await asyncio.shield(self.overtaken)

    def let_go(self) -> None:
        """Nobody waits for the answer any more: what fails is told where it does."""
        self.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())


@dataclass(slots=True)
class Gathered:
    """A batch that was taken from the queues, and the reading of its states; those who ask bring their own."""

    submissions: list[Submission] = field(default_factory=list)
    reading: asyncio.Task[Read] | None = None

    @property
    def ready(self) -> bool:
        return self.reading is None or self.reading.done()

    @property
    def reads(self) -> list[Read]:
        """Raises StoreError where they could not be read."""
        shared = [self.reading.result()] if self.reading else []
        return shared + [one.read for one in self.submissions if one.read]

    def __bool__(self) -> bool:
        return bool(self.submissions)


log = structlog.get_logger("kairos.loop")

Handed = Callable[[Sequence[tuple[Outgoing, Submission]]], None]


class Loop:
    """Runs an engine. Batches commit beside it, in their order, while the next is decided on top of them.

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
        self._reads = Reads(engine, self.aside)
        self._waiting: deque[Submission] = deque()
        self._asking: deque[Submission] = deque()  # somebody waits for the answer: they go first
        self._following: deque[Gathered] = deque()  # the next batches; their states are being read
        self._asks = 0  # under way
        self._asked = -inf  # when somebody last did
        self._turns = 0  # of theirs, one after the other
        self._stirred = asyncio.Event()  # what could not be taken yet may be now
        self._enough = 1  # of the others, to be taken at once
        self._commits: deque[asyncio.Task[None]] = deque()  # under way, the oldest first
        self._chain = 0  # batches that stand on one another
        self._fallen: list[Submission] | None = None  # what stood on a commit that failed, until it comes again
        self._untold = ""  # what broke last of telling what was committed
        self._closing = False
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
        if len(self._waiting) >= self._enough:
            self._stirred.set()
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
            read = await self._reads.read([source])
            self._reads.done([read])
            if answer := answer_at_once(self.engine, source, read.loaded, self.clock()):
                return answer
            submission = Submission(source, read=self._reads.keep(read))
            self._asking.append(submission)
            self._stirred.set()
            return await submission.answer
        finally:
            self._asks -= 1

    def use(self, program: Program) -> None:
        """From the next batch on, this playbook; no batch sees two."""
        self._next = program

    @property
    def waiting(self) -> int:
        return len(self._waiting) + len(self._asking)

    async def run(self) -> None:
        """Until closed: gather, decide, commit; then finish what is under way."""
        while batch := await self._gather():
            if self._next:
                self.engine.use(self._next)
                self._next = None
            await self._step(batch)
        await self.aside.close()

    def close(self) -> None:
        self._closing = True
        self._stirred.set()

    # -- whose turn it is ----------------------------------------------------------------------------------------------

    async def _gather(self) -> Gathered:
        """The next batch, as soon as it may be decided. None is left when all is closed and done."""
        while True:
            if self._fallen is not None:
                await self._come_again()
            while self._commits and self._commits[0].done():
                self._commits.popleft().result()
            self._stirred.clear()
            lingers = self._look_ahead()
            batch = self._take()
            if batch or (self._closing and not (self.waiting or self._following or self._commits)):
                return batch
            with suppress(TimeoutError):
                async with asyncio.timeout(lingers if lingers < inf else None):
                    await self._stirred.wait()

    def _look_ahead(self) -> float:
        """Those who wait become the next batch, whose states are read while others are decided.

        While something commits they let others join them, for as many seconds as this gives.
        """
        room = self._room(FEW)
        self._enough = room if self._waiting else 1
        if self._following or not self._waiting:
            return inf
        lingers = self.linger - (time.perf_counter() - self._waiting[0].posted)
        if self._commits and len(self._waiting) < room and lingers > 0:
            return lingers
        self._following.append(self._reading(_pop(self._waiting, room)))
        return inf

    def _reading(self, submissions: list[Submission]) -> Gathered:
        reading = asyncio.create_task(self._reads.read([one.input for one in submissions]))
        reading.add_done_callback(lambda _: self._stirred.set())
        return Gathered(submissions, reading)

    def _take(self) -> Gathered:
        """A batch of those who ask; or the others, who have every fourth turn at least, once their states are there."""
        commits, others = len(self._commits), bool(self._following) and self._following[0].ready
        if self._asking and commits < COMMITS_ASKED and not (others and self._turns == TURNS):
            self._turns += 1
            return Gathered(_pop(self._asking, SLICE))
        if others and commits < (COMMITS_ASKED if self._asking else COMMITS):
            self._turns = 0
            return self._following.popleft()
        return Gathered()

    def _room(self, few: int) -> int:
        """How many may go at a time: few while somebody asks, who would wait for them."""
        return few if time.perf_counter() - self._asked < ASKED_LATELY else self.batch

    # -- what is done with it ------------------------------------------------------------------------------------------

    async def _step(self, batch: Gathered) -> None:
        """Decide a batch on top of those that commit, and have it committed after them."""
        self._look_ahead()
        try:
            work = await self._decide(batch)
        except Exception as error:  # a bug must cost one input, not the batch and not the loop
            await self._broke(batch.submissions, error)
            return
        finally:
            self._forget(batch)
        before = self._commits[-1] if self._commits else None
        self._commits.append(asyncio.create_task(self._commit(batch.submissions, work, self._chain, before)))
        await asyncio.sleep(0)  # it is on its way

    async def _decide(self, batch: Gathered) -> Work:
        """In slices while somebody asks: between two of them others have their turn, and who asks joins the batch."""
        work, states, decided, took = self.engine.begin(self.clock()), joined(batch.reads), 0, 0.0
        while decided < len(batch.submissions):
            if decided:
                await asyncio.sleep(0)
                if self._asking:
                    states = self._joined(batch, decided)
            if self._fallen is not None:
                raise FallenError
            slice_ = batch.submissions[decided : decided + self._room(SLICE)]
            begun = time.perf_counter()
            self.engine.take(work, [one.input for one in slice_], states)
            took += time.perf_counter() - begun
            decided += len(slice_)
        self.engine.end(work)
        self.timings.deciding.append(took * 1000)
        return work

    def _joined(self, batch: Gathered, decided: int) -> Loaded:
        """Who asks ends the batch: the states to go on with. What is left of it is the next, and keeps its own."""
        left = batch.submissions[decided:]
        self._following.appendleft(Gathered(left, batch.reading))
        batch.submissions, batch.reading = batch.submissions[:decided] + _pop(self._asking, SLICE), None
        return joined(batch.reads)

    def _forget(self, batch: Gathered) -> None:
        """Its states have been used; should it come again, they are old."""
        with suppress(Exception):
            self._reads.done(batch.reads)
        for one in batch.submissions:
            one.read = None

    async def _commit(self, batch: list[Submission], work: Work, chain: int, before: asyncio.Task[None] | None) -> None:
        """Commit beside the loop and acknowledge; where this or a commit before it fails, what comes after it falls."""
        begun = time.perf_counter()
        try:
            if work.batch:
                await self.aside.commit(work.batch, chain)
            elif before:
                await before  # what it tells is as true as what it was decided on
                if self._fallen is not None:
                    raise FallenError
        except Exception as error:
            self.engine.flying.remove(work)
            if self._fallen is None:
                self._fallen, self._chain = [], self._chain + 1
                self._fail(batch, error)
            else:
                self._fallen += batch
        else:
            self.failure = None
            self.engine.land(work)
            self._reads.land(work)
            self._committed(batch, work, begun)
        finally:
            self._stirred.set()

    def _committed(self, batch: list[Submission], work: Work, begun: float) -> None:
        """Tell those who wait for it. It stands, so what breaks here ends nothing; who was not told yet hears that."""
        try:
            self._tell(batch, work, begun)
        except Exception as error:
            self.engine.statistics.counts["broke.telling"] += 1
            if repr(error) != self._untold:
                self._untold = repr(error)
                log.error("what was committed could not be told", what=type(batch[0].input).__name__, exc_info=error)
            for submission in batch:
                if not submission.answer.done():
                    submission.answer.set_exception(error)

    def _tell(self, batch: list[Submission], work: Work, begun: float) -> None:
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

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    async def _broke(self, batch: list[Submission], error: Exception) -> None:
        """It could not be decided. Unless what it stood on has fallen: one input fails alone, several one by one."""
        await self._ended()
        if self._fallen is not None:
            self._fallen += batch
        elif len(batch) == 1 or isinstance(error, StoreError):
            self._fail(batch, error)
        else:
            self._following.extendleft(self._reading([one]) for one in reversed(batch))

    async def _come_again(self) -> None:
        """What stood on a commit that failed is taken anew, in its order, once all that is under way has ended.

        What is left of a batch that was begun has seen states that are none: it is read anew.
        """
        await self._ended()
        fallen, self._fallen = self._fallen, None
        for place, left in enumerate(self._following):
            if left.ready:
                self._forget(left)
                self._following[place] = self._reading(left.submissions)
        if fallen:
            self._following.appendleft(self._reading(fallen))

    async def _ended(self) -> None:
        """No commit is under way any more."""
        while self._commits:
            await self._commits.popleft()

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


def _pop(queue: deque[Submission], most: int) -> list[Submission]:
    return [queue.popleft() for _ in range(min(most, len(queue)))]


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
