"""Dead letters: what could not be handled is kept, and replayed as an ordinary input when somebody asks.

Keeping one must never break the path that it comes from: letters wait in memory for a moment, as many as there is room
for, and a task of its own writes them. What is lost all the same, because the store is down, is counted.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from kairos.domain.dead_letter import DeadLetter
from kairos.domain.event import Event
from kairos.domain.inbound import Word
from kairos.domain.inputs import Change, Delivery, Fulfilment, Reply, Resend, Reversal, Timer
from kairos.domain.message import Text
from kairos.domain.passage import Handed
from kairos.domain.purchase import Purchase
from kairos.engine.loop import Loop
from kairos.engine.work import Input, encode, identity, subscriber_of
from kairos.errors import EventError, KairosError
from kairos.ports import Batch, Clock, Store

log = structlog.get_logger("kairos.dead_letters")

INPUTS: Final[dict[str, type[Input]]] = {
    kind.__name__.lower(): kind
    for kind in (Event, Reply, Word, Change, Delivery, Fulfilment, Reversal, Timer, Resend, Handed)
}
LONGEST_REASON, LONGEST_TRACE = 500, 6000  # characters that are kept
LARGEST = 65_536  # bytes of a payload that are kept
ROOM = 1000  # letters that wait to be written
AT_ONCE = 100  # letters that are replayed in one round
COUNTED_EVERY = 5_000  # ms: others change letters beside us


class DeadLetters:
    """`keep`: letters of each kind, at most. `read` makes events of a rejected one's JSON. `counts` is added to."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        counts: Counter[str],
        *,
        keep: int = 1000,
        read: Callable[[bytes], Event | Change] | None = None,
    ) -> None:
        self.store, self.clock, self.counts, self.keep, self.read = store, clock, counts, keep, read
        self.figures: dict[str, float] = {}  # how many new ones there are of each kind
        self._queue: dict[tuple[str, str], DeadLetter] = {}
        self._timers: set[int] = set()  # that break the engine: done once they are letters
        self._due = True  # something changed since letters were counted
        self._counted = 0  # when they were, in ms

    # -- in ------------------------------------------------------------------------------------------------------------

    def broke(self, source: Input, error: Exception) -> None:
        """An input that breaks the engine. A timer is woken no more: else it would break it every second."""
        try:
            name = type(source).__name__.lower()
            trace = "".join(traceback.format_exception(error))[-LONGEST_TRACE:]
            about = str(subscriber_of(source) or "")
            self.put(name, identity(source), about, f"{type(error).__name__}: {error}", encode(source), trace)
            if isinstance(source, Timer):
                self._timers.add(source.id)
        except Exception:
            log.exception("no dead letter could be made of an input", what=type(source).__name__)
            self.counts["dead_letters.lost"] += 1

    def put(self, kind: str, name: str, subscriber: str, reason: str, payload: bytes, trace: str = "") -> None:
        """Keep a letter. Never raises and never waits."""
        now = self.clock()
        self.counts[f"dead_letters.{kind}"] += 1
        waiting = self._queue.get((kind, name))
        if waiting is None and len(self._queue) >= ROOM:
            self.counts["dead_letters.lost"] += 1
            return
        first, times = (waiting.at, waiting.times + 1) if waiting else (now, 1)
        self._queue[kind, name] = DeadLetter(
            kind, name, first, subscriber, reason[:LONGEST_REASON], payload[:LARGEST], trace, times, now
        )

    # -- into the store, and back into the engine ----------------------------------------------------------------------

    async def run(self, loop: Loop, *, every: float = 1.0) -> None:
        """Until cancelled: write what came, drop what is too much, replay what somebody asked for."""
        trouble = ""
        while True:
            try:
                await self.write()
                await self.replay(loop)
                trouble = ""
            except KairosError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    log.warning("dead letters cannot be written", reason=trouble, waiting=len(self._queue))
            await asyncio.sleep(every)

    async def write(self) -> None:
        """Write what waits, and count anew. What came meanwhile waits for the next time."""
        letters, timers = list(self._queue.values()), list(self._timers)
        if letters:
            await asyncio.to_thread(self.store.commit, Batch(dead_letters=letters, timers_done=timers))
            for one in letters:
                waiting = self._queue.pop((one.kind, one.identity))
                if waiting is not one:  # it came again meanwhile
                    again = msgspec.structs.replace(waiting, times=waiting.times - one.times)
                    self._queue[one.kind, one.identity] = again
            self._timers.difference_update(timers)
            self._due = True
        now = self.clock()
        if self._due or abs(now - self._counted) >= COUNTED_EVERY:
            self.counts["dead_letters.dropped"] += await asyncio.to_thread(self.store.trim_dead_letters, self.keep)
            found = await asyncio.to_thread(self.store.count_dead_letters)
            self.figures = {f"dead_letters.{kind}": n for (kind, status), n in found.items() if status == "new"}
            self._due, self._counted = False, now

    async def replay(self, loop: Loop) -> None:
        """Take what somebody asked to have replayed, the oldest first."""
        asked = await asyncio.to_thread(self.store.dead_letters, "", "replay", AT_ONCE)
        for letter in reversed(asked):
            status = await self._replayed(loop, letter)
            await asyncio.to_thread(self.store.commit, Batch(letters_marked=[(letter.id, status)]))
        self._due = self._due or bool(asked)

    async def _replayed(self, loop: Loop, letter: DeadLetter) -> str:
        """Hand one to the engine; its status then. Raises KairosError where the engine takes nothing now."""
        try:
            source = await asyncio.to_thread(self.input, letter)  # it may read the store
            answer = await loop.submit(source, own=True)
        except EventError as error:  # it cannot be read, still
            log.warning("a dead letter cannot be replayed", letter=letter.id, kind=letter.kind, reason=str(error))
            return "new"
        except KairosError:
            raise
        except Exception:  # it broke the engine again, which has kept and logged it
            return "new"
        if answer.status == "rejected" and not isinstance(source, Reply):  # a stranger's reply was relayed all the same
            log.warning("a dead letter was refused again", letter=letter.id, kind=letter.kind, reason=answer.reason)
            return "new"
        log.info("a dead letter was replayed", letter=letter.id, kind=letter.kind, answer=answer.status)
        self.counts["dead_letters.replayed"] += 1
        return "replayed"

    def input(self, letter: DeadLetter) -> Input:
        """What the engine is handed for it. Raises EventError where there is nothing that it could be handed.

        A notification is not sent anew: where its event broke the engine, it went out plain.
        """
        if letter.kind == "rejected" and self.read:
            return self.read(letter.payload)
        if letter.kind == "text":
            return self._resend(letter)
        kind = INPUTS.get(letter.kind)
        if kind is None:
            raise EventError(f"a letter of the kind `{letter.kind}` is there to be read, not to be replayed")
        try:
            source = msgspec.msgpack.decode(letter.payload, type=kind)
        except msgspec.DecodeError as error:
            raise EventError(f"its input cannot be read: {error}") from None
        return msgspec.structs.replace(source, notification=None) if isinstance(source, Event) else source

    def _resend(self, letter: DeadLetter) -> Resend:
        """A text to be sent once more, from the outbox row that failed."""
        failed = msgspec.msgpack.decode(letter.payload, type=Delivery)
        rows = self.store.outgoing([failed.outgoing])
        if not rows:
            raise EventError(f"row {failed.outgoing} of the outbox is gone; there is nothing left to send")
        if msgspec.msgpack.decode(rows[0].payload, type=Text).marketing:
            raise EventError("an offer is not sent again: it was withdrawn when it failed")
        return Resend(letter.id, rows[0].subscriber, rows[0].channel, rows[0].payload)


def opened(letter: DeadLetter) -> Any:
    """What a letter holds: an input as a dictionary, or text; bytes where it can be neither."""
    kind: Any = {"text": Delivery, "purchase": Purchase, **INPUTS}.get(letter.kind)
    try:
        return msgspec.structs.asdict(msgspec.msgpack.decode(letter.payload, type=kind)) if kind else _text(letter)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return letter.payload


def _text(letter: DeadLetter) -> Any:
    return msgspec.json.decode(letter.payload) if letter.kind in ("rejected", "unmapped") else letter.payload.decode()
