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
from kairos.ports import Aside, Clock

RESERVED = 0.25  # of the queue
import os

FEW = int(
    os.environ.get("FEW", 48)
)  # inputs of a batch, at most, while somebody asks; a quarter of them where nothing piles up
TURNS = 3  # batches of those who ask, one after the other, while others wait
ASKED_LATELY = 1.0  # seconds
COMMITS = int(os.environ.get("CO", 2))  # under way, with which no other batch is begun
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


@dataclass(slots=True)
class Gathered:
    """A batch that was taken from the queues. `ahead`: the read of its states, where that was begun before its turn."""

    submissions: list[Submission] = field(default_factory=list)
    ahead: asyncio.Task[Read] | None = None
    read: Read | None = None

    @property
    def reads(self) -> list[Read]:
        return [read for read in (self.read, *(one.read for one in self.submissions)) if read]

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
        self._following = Gathered()  # under load: the next batch, its states are being read
        self._asks = 0  # under way
        self._asked = -inf  # when somebody last did
        self._turns = 0  # of theirs, one after the other
        self._suspects = 0  # how many of the next were in a batch that broke
        self._stirred = asyncio.Event()  # what could not be taken yet may be now
        self._enough = 1  # of the others, to be taken at once
        self._commits: deque[asyncio.Task[None]] = deque()  # under way, the oldest first
        self._chain = 0  # batches that stand on one another
        self._fallen: list[Submission] | None = None  # what stood on a commit that failed, until it comes again
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
            if answer := answer_at_once(self.engine, source, read.loaded, self.clock()):
                self._reads.done([read])
                return answer
            submission = Submission(source, read=read)
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
        """The next batch, as soon as it may be taken: beside a commit, a short linger lets more join. None is left when
        all is closed and done."""
        lingers = inf  # until when
        while True:
            if self._fallen is not None:
                await self._come_again()
            while self._commits and self._commits[0].done():
                self._commits.popleft().result()
            self._stirred.clear()
            now = time.perf_counter()
            batch = self._take(lingered=now >= lingers)
            if batch or (self._closing and not (self.waiting or self._commits)):
                return batch
            if self._waiting:
                lingers = min(lingers, now + self.linger)
            self._enough = self._room() if self._waiting else 1
            with suppress(TimeoutError):
                async with asyncio.timeout(lingers - now if now < lingers < inf else None):
                    await self._stirred.wait()

    def _take(self, *, lingered: bool) -> Gathered:
        """A batch of those who ask, or of the others in the order of arrival, who have every fourth turn at least.

        Those of a batch that broke come one by one, so that only the culprit fails.
        """
        commits, room, asking = len(self._commits), self._room(), bool(self._asking)
        others = bool(self._waiting or self._following)
        if commits >= (COMMITS_ASKED if asking else COMMITS) or not (asking or others):
            return Gathered()
        if asking and not (others and self._turns == TURNS):
            self._turns += 1
            return Gathered(_pop(self._asking, room))
        if commits and not (asking or lingered or self._following or len(self._waiting) >= room):
            return Gathered()
        self._turns = 0
        batch, self._following = self._following, Gathered()
        if not batch:
            batch = Gathered(_pop(self._waiting, 1 if self._suspects else room))
            self._suspects = max(0, self._suspects - 1)
        if len(self._waiting) >= self.batch and not asking and not self._suspects:
            ahead = _pop(self._waiting, room)
            self._following = Gathered(ahead, asyncio.create_task(self._reads.read([one.input for one in ahead])))
        return batch

    def _room(self) -> int:
        """How many may be in a batch: few while somebody asks, who would wait for them; more where many wait."""
        if time.perf_counter() - self._asked > ASKED_LATELY:
            return self.batch
        return min(self.batch, FEW, max(int(os.environ.get('FLOOR', FEW // 4)), len(self._waiting) // int(os.environ.get('DIV', 4))))

    # -- what is done with it ------------------------------------------------------------------------------------------

    async def _step(self, batch: Gathered) -> None:
        """Decide a batch on top of those that commit, and have it committed after them."""
        try:
            await self._read(batch)
            work = self._decide(batch)
        except Exception as error:  # a bug must cost one input, not the batch and not the loop
            await self._broke(batch.submissions, error)
            return
        finally:
            self._reads.done(batch.reads)
            for one in batch.submissions:
                one.read = None  # should it come again, it is old
        before = self._commits[-1] if self._commits else None
        self._commits.append(asyncio.create_task(self._commit(batch.submissions, work, self._chain, before)))
        await asyncio.sleep(0)  # it is on its way

    async def _read(self, batch: Gathered) -> None:
        """A batch's states: some were read when who asks came, all of them ahead, or they are read now."""
        if batch.ahead:
            with suppress(Exception):  # it is tried again
                batch.read = await batch.ahead
        unread = [one.input for one in batch.submissions if one.read is None]
        if unread and not batch.read:
            batch.read = await self._reads.read(unread)

    def _decide(self, batch: Gathered) -> Work:
        if self._fallen is not None:
            raise FallenError
        begun = time.perf_counter()
        work = self.engine.apply([one.input for one in batch.submissions], self.clock(), joined(batch.reads))
        self.timings.deciding.append((time.perf_counter() - begun) * 1000)
        return work

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
            self._committed(batch, work, begun)
        finally:
            self._stirred.set()

    def _committed(self, batch: list[Submission], work: Work, begun: float) -> None:
        self.failure = None
        self.engine.flying.remove(work)
        self._reads.land(work)
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
            await self._put_back(batch)
            self._suspects = len(batch)

    async def _come_again(self) -> None:
        """What stood on a commit that failed is taken anew, in its order, on top of what is committed."""
        await self._ended()
        fallen, self._fallen = self._fallen or [], None
        await self._put_back(fallen)

    async def _put_back(self, batch: list[Submission]) -> None:
        """Before all that waits; what was read ahead of it is read anew at its turn."""
        following, self._following = self._following, Gathered()
        if following.ahead:
            await asyncio.wait([following.ahead])
            with suppress(Exception):
                self._reads.done([following.ahead.result()])
        self._waiting.extendleft(reversed(batch + following.submissions))

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
