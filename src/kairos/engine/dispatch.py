"""Sending what was committed: in order for each subscriber, with retries, and news of it back through the engine.
A counterpart that is away holds up nothing but what is for itself: each has a lane of its own for every subscriber.

Notifications go out at least once. A message that only carries an offer goes out at most once: `sending` is committed
before the attempt, and an attempt whose outcome is unknown is never repeated. An order is repeated until it is
answered, under the same key; where it may have arrived before, it is asked for first.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import msgspec
import structlog

from kairos.domain.event import Event
from kairos.domain.inputs import Delivery, Fulfilment, Part
from kairos.domain.message import Order, Outgoing, Text
from kairos.domain.passage import Handed
from kairos.engine.engine import Halt
from kairos.engine.loop import Loop, Submission
from kairos.engine.passages import owed_receipt
from kairos.engine.work import APPLIED, Answer, Input
from kairos.errors import KairosError
from kairos.fulfil import CHANGED_HANDS, takes
from kairos.ports import Channel, Clock, Fulfiller, Outcome, Room, Store
from kairos.respond import ANSWERABLE_FOR

log = structlog.get_logger("kairos.dispatch")

_text = msgspec.msgpack.Decoder(Text).decode
_order = msgspec.msgpack.Decoder(Order).decode

ORDERS = "ocs"
TRIES = 3  # attempts of this run, at least, before a call is given up: it may be old because we were down
STOPPED_WITHIN = 1.0  # seconds: then what goes on all the same is stopped once more
PAGE = 1000  # rows that are read from the store at once
OWED = frozenset({"receipt", "relay", "callback"})  # the channels to accounts and listeners, who may never come back
HANDSET = frozenset({"notification", "sms"})  # the channels whose order a subscriber sees


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before attempt n: doubling from `first` to `most` seconds, with full jitter."""

    first: float = 0.2
    most: float = 30.0

    def seconds(self, attempts: int, chance: float) -> float:
        """`chance` is 0..1.

        >>> Backoff(1, 30).seconds(3, 1.0), Backoff(1, 30).seconds(10_000, 1.0)
        (4.0, 30.0)
        """
        return float(min(self.most, self.first * 2 ** min(attempts - 1, 30)) * (0.5 + chance / 2))


@dataclass(frozen=True, slots=True)
class Patience:
    """How long (ms) a call to the charging system is tried for, before it is given up."""

    call: int = 24 * 3_600_000
    provision: int = 3_600_000

    def of(self, step: str) -> int:
        return self.provision if step == "provision" else self.call


@dataclass(slots=True)
class Backlog:
    """How far the rows of one lane were read from the store. `left`: there may be some that are not in memory."""

    held: int = 0
    blocked: int = 0  # of these: refused for now, or behind another of the same subscriber
    read_to: int = 0
    left: bool = True
    came: list[tuple[Outgoing, Submission]] | None = None  # while a page is read: what was handed over meanwhile

    def room(self, hold: int) -> bool:
        """Whether one more may be in memory. So many that are blocked leave the room to the others."""
        return self.held - min(self.blocked, hold) < hold


class Dispatcher:
    """Sends outbox rows. At most `hold` of a lane are in memory, and as many that are blocked; others wait."""

    def __init__(
        self,
        store: Store,
        loop: Loop,
        channels: Mapping[str, Channel],
        fulfiller: Fulfiller,
        clock: Clock,
        *,
        backoff: Backoff = Backoff(),
        patience: Patience = Patience(),
        hold: int = 10_000,
        owed_for: int = 3 * 86_400_000,
        refused_for: int = 600_000,
        chance: Callable[[], float] = random.random,
        rooms: Mapping[str, Room] = {},
    ) -> None:
        self.rooms = rooms  # by channel: what its offers wait for
        self.store, self.loop, self.channels, self.fulfiller, self.clock = store, loop, channels, fulfiller, clock
        self.backoff, self.patience, self.hold, self.chance = backoff, patience, hold, chance
        self.owed_for = owed_for  # ms that a receipt or a relayed reply waits for an account that is not bound
        self.refused_for = refused_for  # ms that a handset's message is refused for, while others' are taken
        self._taken = 0  # messages to handsets
        self._refused: dict[tuple[int | str, str], int] = {}  # since when (ms) all of a subscriber's were
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._last: dict[tuple[int | str, str], asyncio.Task[None]] = {}  # the latest row of a subscriber on a lane
        self._backlogs = {lane: Backlog() for lane in ("handset", ORDERS, *channels) if lane not in HANDSET}
        self._left_behind = store.next_ids().outgoing  # rows below are an earlier run's: they may have gone out
        self._handed_to = self._left_behind - 1  # rows above may be in the store, but are still to be handed to us
        self._overtaken: dict[int, Submission] = {}  # of rows that wait in the store
        self._taken_back: dict[int, asyncio.Future[bool]] = {}  # whether they are; it is being asked of some
        self._broken: set[tuple[str, str]] = set()  # channels whose rows cannot be sent, and why: told once
        self._coming_back: set[asyncio.Task[None]] = set()
        self._may_have_gone: set[int] = set()  # of those under way: the counterpart may have it, or gets it just now
        self._closing = False
        self.held_back: Counter[str] = Counter()  # messages of their own that wait for the end of a freeze, by channel
        self.charging = asyncio.Event()  # while it is not set, orders wait
        self.charging.set()

    def hand(self, rows: Iterable[tuple[Outgoing, Submission]]) -> None:
        """Take rows that were just committed. A notification that its bringer has sent meanwhile is dropped."""
        if self._closing:
            return
        for row, submission in rows:
            self._handed_to = row.id
            if lane := self._lane_or_none(row):
                self._take(row, submission, self._backlogs[lane])

    def _take(self, row: Outgoing, submission: Submission, backlog: Backlog) -> None:
        if backlog.left or not backlog.room(self.hold):
            backlog.left = True
            if backlog.came is not None and len(backlog.came) <= self.hold:
                backlog.came.append((row, submission))
            if submission.overtaken:  # told by now, if it ever is: the answer came before us
                self._overtaken[row.id] = submission
        else:
            backlog.read_to = row.id
            self._start(row, submission)

    async def take_back(self, id_: int) -> bool:
        """Withdraw a notification that surely did not go out: True when it is committed that it never will.

        Until that is known, it does not go out.
        """
        if id_ in self._taken_back:
            return await self._is_taken_back(id_)
        if id_ < self._left_behind or id_ in self._may_have_gone:
            return False
        known = self._taken_back[id_] = asyncio.get_running_loop().create_future()
        taken = False
        try:
            rows = await self.loop.aside.read(Store.outgoing, [id_])
            if rows and rows[0].status == "pending":
                await self._news(rows[0], _text(rows[0].payload), "dropped", reason="taken back")
                taken = True
        finally:
            known.set_result(taken)
            if not taken:
                del self._taken_back[id_]
        if id_ not in self._under_way:
            self._overtaken.pop(id_, None)
        return taken

    async def _is_taken_back(self, id_: int) -> bool:
        while asked := self._taken_back.get(id_):
            if await asyncio.shield(asked):
                return True
        return False

    async def run(self) -> None:
        """Until closed: fetch what is left in the store (all that a crash left behind, at the start)."""
        while not self._closing:
            for lane, backlog in [*self._backlogs.items()]:
                if backlog.left and backlog.room(self.hold):
                    await self._fetch(lane, backlog)
            for id_ in [id_ for id_, known in self._taken_back.items() if known.done() and id_ not in self._under_way]:
                del self._taken_back[id_]  # no page has it as pending any more
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Stop attempts; what is unsent stays in the store.

        One that had its answer at that very moment may go on as if nobody had stopped it, and wait for hours.
        """
        self._closing = True
        while tasks := list(self._under_way.values()):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=STOPPED_WITHIN)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    async def _fetch(self, lane: str, backlog: Backlog) -> None:
        """Start what one page of the store has for a lane, as far as there is room; with the last page, what was handed
        over while it was read, which it may not have."""
        came: list[tuple[Outgoing, Submission]] = []
        backlog.came = came
        try:
            rows = await self.loop.aside.read(Store.unsent, backlog.read_to, PAGE)
        except KairosError:
            return
        finally:
            backlog.came = None
        if self._closing:
            return
        for row in rows:
            if row.id > self._handed_to:  # just committed
                backlog.left = False
                return
            if self._lane_or_none(row) == lane:
                if not backlog.room(self.hold):
                    return
                self._start(row, self._overtaken.pop(row.id, None))
            backlog.read_to = row.id
        if len(rows) == PAGE:
            return
        for row, submission in came:
            if row.id > backlog.read_to:
                if not backlog.room(self.hold):
                    return
                self._overtaken.pop(row.id, None)
                self._start(row, submission)
                backlog.read_to = row.id
        backlog.left = False

    def _lane_or_none(self, row: Outgoing) -> str | None:
        """None for a row that cannot be sent: it holds up no other, and the next start tries again."""
        try:
            lane = self._lane(row)
            self._backlogs[lane]
        except Exception as error:
            if (known := (row.channel, repr(error))) not in self._broken:
                self._broken.add(known)
                self.loop.engine.statistics.counts["broke.outbox"] += 1
                log.exception("a row of the outbox cannot be sent", row=row.id, channel=row.channel)
            return None
        return lane

    def _lane(self, row: Outgoing) -> str:
        """Whom a row is for. What a handset gets has one order; else each channel is a lane, or each who is owed."""
        if row.channel in HANDSET:
            return "handset"
        if row.channel not in OWED:
            return row.channel
        text = _text(row.payload)
        lane = f"{row.channel}/{text.source if row.channel == 'callback' else text.account}"
        if lane not in self._backlogs:  # its first row: what the channel's own lane has passed by is not for it
            passed = self._backlogs[row.channel]
            self._backlogs[lane] = Backlog(read_to=passed.read_to, left=passed.left)
        return lane

    def _order(self, row: Outgoing) -> tuple[int | str, str]:
        """What goes out in order: a subscriber's rows of one lane.

        Those whom we do not know share none: one of them that cannot be reached must not hold up the others.
        """
        return (row.subscriber or f"row {row.id}", self._lane(row))

    def _start(self, row: Outgoing, submission: Submission | None) -> None:
        lane = self._order(row)
        before = self._last.get(lane)
        task = asyncio.create_task(self._row(row, submission, before))
        self._under_way[row.id] = self._last[lane] = task
        backlog = self._backlogs[self._lane(row)]
        backlog.held += 1

        def done(finished: asyncio.Task[None]) -> None:
            backlog.held -= 1
            self._taken_back.pop(row.id, None)
            self._may_have_gone.discard(row.id)
            self._under_way.pop(row.id, None)
            if self._last.get(lane) is finished:
                del self._last[lane]
                self._refused.pop(lane, None)
            if not finished.cancelled() and (error := finished.exception()):
                log.error("sending broke; the next start tries again", row=row.id, channel=row.channel, exc_info=error)

        task.add_done_callback(done)

    async def _row(self, row: Outgoing, submission: Submission | None, before: asyncio.Task[None] | None) -> None:
        waited = submission is None or submission.followed or (before is not None and not before.done())
        if before and not before.done():
            with self._blocked(row):
                await asyncio.wait({before})
        if row.channel == ORDERS:
            await self._fulfil(row, _order(row.payload), waited=waited)
            return
        text = _text(row.payload)
        if submission and (row.channel == "notification" or text.passage) and await submission.withdrawn():
            await self._without(row, text, _brought(submission.input))
        elif text.marketing:
            await self._once(row, text)
        else:
            await self._until_sent(row, text, waited=waited)

    async def _fulfil(self, row: Outgoing, order: Order, *, waited: bool) -> None:
        """Send until there is a final answer, or for so long that a person must look.

        A call that may have arrived (no answer; or an earlier run's) is asked for, and sent again only when the
        counterpart knows nothing of it: so nothing depends on its keeping the key alone. While charging is off nothing
        is tried, and nothing given up. One that waited is not sent to a number that has become another's meanwhile.
        """
        attempts, given_up = 0, False
        arrived = row.id < self._left_behind
        while True:
            if not self.charging.is_set():
                await self.charging.wait()
                attempts, waited = 0, True
            asked = arrived
            if not asked and (waited or attempts) and not await self._still_theirs(row, order):
                outcome = Outcome("refused", reason=CHANGED_HANDS)
                break
            outcome = await attempt(self.fulfiller.ask(order) if asked else self.fulfiller.fulfil(order))
            if outcome.status in ("done", "refused", "failed"):
                break
            arrived = outcome.status == "unknown" or (asked and outcome.status != "absent")
            if outcome.status == "absent":
                continue
            attempts += 1
            given_up = attempts >= TRIES and self.clock() - row.due > self.patience.of(order.step)
            if given_up:
                break
            await self._wait(attempts)
        status = "unanswered" if given_up else "done" if outcome.status == "done" else "refused"
        if given_up:
            log.error("a purchase was not answered", key=order.key, step=order.step, reason=outcome.reason)
        await self._post(Fulfilment(row.id, row.subscriber, order.key, status, self.clock(), outcome.reason))

    async def _still_theirs(self, row: Outgoing, order: Order) -> bool:
        """Whether whoever said yes still has the number that a call would charge or provision."""
        question = Delivery(row.id, row.subscriber, "line", self.clock(), destination=order.msisdn)
        return not takes(order.step) or not (await self._post(question)).reason

    async def _once(self, row: Outgoing, text: Text) -> None:
        """An offer of its own: marked before the attempt, dropped after its time, never sent twice."""
        if row.status == "sending":  # a crash, or a lost link, came between the mark and the outcome
            await self._news(row, text, "failed", reason="unknown")
            return
        attempts, room = row.attempts, self.rooms.get(row.channel)
        while True:
            async with room(row, text) if room else nullcontext():
                outcome = await self._marked(row, text)
            attempts += 1
            if outcome is None or outcome.status != "retry" or attempts == text.tries:
                break
            if outcome.after:  # it is not being sent meanwhile: after a crash it is still to be
                await self._news(row, text, "pending", reason=outcome.reason)
            left = max(0, text.send_by - self.clock()) / 1000 if text.send_by else outcome.after
            await self._wait(attempts, min(outcome.after, left))
        if outcome and outcome.status == "sent":
            await self._news(row, text, "sent", outcome)
        elif outcome:
            unknown = outcome.status == "unknown"
            reason, instead = ("unknown", "") if unknown else (outcome.reason, text.instead)
            await self._news(row, text, "failed", outcome, reason=reason, instead=instead)

    async def _marked(self, row: Outgoing, text: Text) -> Outcome | None:
        """One attempt, if it may still go out; None where what became of it is settled, or it is held back."""
        if text.send_by and self.clock() > text.send_by:
            await self._news(row, text, "dropped", reason="too late")
            return None
        if halt := self.loop.engine.halt(text, row.channel, self.clock()):
            await self._held_back(row, text, halt)
            return None
        answer = await self._news(row, text, "sending")
        if answer.status == "held":
            await self._held_back(row, text, Halt(answer.reason, answer.until))
            return None
        if answer.reason:  # asked each time: a STOP may have come between two tries
            return None
        return await attempt(self.channels[row.channel].send(text))

    async def _held_back(self, row: Outgoing, text: Text, halt: Halt) -> None:
        """Drop an offer that is stopped for its whole time; else come back to it, out of the way of what follows."""
        if halt.until is None or (text.send_by and halt.until > text.send_by):
            await self._news(row, text, "dropped", reason=halt.rule)
            return
        self.held_back[row.channel] += 1
        self._come_back(row.id, row.channel, self._backlogs[self._lane(row)], max(0, halt.until - self.clock()))

    def _come_back(self, id_: int, channel: str, backlog: Backlog, pause: int) -> None:
        """Start a row that is held back, as the store then has it, in `pause` ms and a little more.

        Until then it takes no room of its lane: a notification must not wait for the end of a freeze. Nor may those
        that come back together fill the lane.
        """

        async def again() -> None:
            try:
                rows = await self.loop.aside.read(Store.outgoing, [id_])
            except KairosError:
                self._come_back(id_, channel, backlog, 0)
                return
            self.held_back[channel] -= 1
            for row in rows if not self._closing else ():  # none: whoever it was for has been forgotten
                self._start(msgspec.structs.replace(row, status="pending"), None)  # if tried, it surely did not go

        def begin() -> None:
            if backlog.held + len(self._coming_back) > self.hold // 2:
                self._come_back(id_, channel, backlog, 0)
            elif not self._closing:
                self._coming_back.add(task := asyncio.create_task(again()))
                task.add_done_callback(self._coming_back.discard)

        asyncio.get_running_loop().call_later(pause / 1000 + self.backoff.seconds(5, self.chance()), begin)

    async def _until_sent(self, row: Outgoing, text: Text, *, waited: bool) -> None:
        """A notification, an answer, a receipt, a relayed reply: sent until the counterpart has it.

        A line that comes too late, or whose offer ended while it waited, is taken off as long as it surely did not go
        out; after that the same text is sent again, unless a switch was turned off or a freeze began. What is for an
        account that does not come back has its end (`owed_for`), and so has what the SMSC refuses while it takes others
        (`refused_for`): the subscriber's later messages wait behind it.
        """
        attempts = row.attempts
        may_have_gone = row.id < self._left_behind
        others_taken = False  # since the last try
        if text.plain and row.attempts:  # it lost its line in an earlier run: only that leaves a tried row pending
            text = msgspec.structs.replace(text, text=text.plain, plain="")
        while True:
            if text.plain and not await self._is_taken_back(row.id):
                asked = not may_have_gone and (waited or attempts > row.attempts)
                text = await self._with_its_line(row, text, may_have_gone, asked=asked)
            if await self._is_taken_back(row.id):
                return
            if text.passage and self.clock() > text.send_by:  # of another system: its own validity
                await self._news(row, text, "dropped", reason="too late")
                return
            self._may_have_gone.add(row.id)
            taken = self._taken
            outcome = await attempt(self.channels[row.channel].send(text))
            if outcome.status in ("sent", "failed"):
                if row.channel in HANDSET:
                    self._taken += outcome.status == "sent"
                    self._refused.pop(self._order(row), None)
                break
            if attempts + 1 == text.tries:
                outcome = replace(outcome, status="failed")
                break
            since = self._refused.setdefault(self._order(row), self.clock()) if outcome.refused else self.clock()
            if others_taken and self.clock() - since > self.refused_for:
                outcome = replace(outcome, status="failed", reason=f"refused for too long: {outcome.reason}")
                break
            if row.channel in OWED and self.clock() - row.due > self.owed_for:
                outcome = Outcome("failed", reason=f"not taken in time: {outcome.reason}")
                may_have_gone = False  # if it has, once more does no harm: it becomes a dead letter
                break
            may_have_gone = may_have_gone or outcome.status == "unknown"
            if not may_have_gone:
                self._may_have_gone.discard(row.id)
            attempts += 1
            with self._blocked(row) if outcome.refused else nullcontext():
                await self._wait(attempts)
            others_taken = self._taken > taken
        reason = "unknown" if may_have_gone else outcome.reason  # then its limit and its offer stay
        await self._news(row, text, outcome.status, outcome, reason=reason)

    def _unsaid(self, row: Outgoing, text: Text, may_have_gone: bool) -> str:
        """Why a notification goes out without its line, or an empty text.

        A switch takes the line off even where it may have gone out with it before: no marketing goes out again.
        """
        if self.clock() > text.send_by + (ANSWERABLE_FOR if may_have_gone else 0):
            return "too late"  # after so long its number may be another offer's
        halt = self.loop.engine.halt(text, row.channel, self.clock())
        return halt.rule if halt else ""

    async def _with_its_line(self, row: Outgoing, text: Text, may_have_gone: bool, *, asked: bool) -> Text:
        """The text, or the plain one where its line may not go out any more; `asked` if a STOP may have come."""
        why = self._unsaid(row, text, may_have_gone)
        if not why and asked:
            why = (await self._news(row, text, "line")).reason
        if not why:
            return text
        if not await self._is_taken_back(row.id):  # else it is dropped already
            await self._news(row, text, "plain", reason="unknown" if may_have_gone else why)
        return msgspec.structs.replace(text, text=text.plain, plain="")

    async def _without(self, row: Outgoing, text: Text, brought: str) -> None:
        """A notification that its bringer has sent is dropped; of several parts, it sent the one that it `brought`.

        That may be none of them: it ended the waiting of another message, and this is what came of that.
        """
        rest = tuple(one for one in text.carried if one.message_id != brought)
        if not rest:
            await self._news(row, text, "dropped", reason="sent plain by its bringer")
            return
        if text.plain:
            await self._news(row, text, "plain", reason="sent plain by its bringer")
        plain = msgspec.structs.replace(text, text=text.plain or text.text, plain="", carried=rest)
        await self._until_sent(row, plain, waited=False)

    @contextmanager
    def _blocked(self, row: Outgoing) -> Iterator[None]:
        """Meanwhile a handset's message leaves its room to others."""
        backlog = self._backlogs["handset"] if row.channel in HANDSET else Backlog()
        backlog.blocked += 1
        try:
            yield
        finally:
            backlog.blocked -= 1

    async def _wait(self, attempts: int, least: float = 0.0) -> None:
        await asyncio.sleep(max(least, self.backoff.seconds(attempts, self.chance())))

    async def _news(
        self,
        row: Outgoing,
        text: Text,
        status: str,
        outcome: Outcome | None = None,
        *,
        reason: str = "",
        instead: str = "",
    ) -> Answer:
        """Commit what became of a row; the answer's reason is why the engine says that it must not go out any more."""
        concerns_state = bool(text.decision) and status in ("sending", "line", "dropped", "failed", "plain")
        asks = status in ("sending", "line")
        news = Delivery(
            outgoing=row.id,
            subscriber=row.subscriber if concerns_state else 0,
            status=status,
            happened=self.clock(),
            peer_id=outcome.peer_id if outcome else "",
            attempts=row.attempts + 1,
            offer=text.offer,
            decision=text.decision,
            reason=reason,
            receipt=owed_receipt(text, status, reason, self.clock()) if text.passage else None,
            parts=outcome.parts if outcome else (),
            destination=(text.msisdn or text.destination) if asks else "",
            action=text.action if asks else "",
            channel=row.channel if asks else "",
            instead=instead,
            passage=text.passage,
            sender=text.account if text.passage else "",
            purpose=text.purpose if text.passage else "",
        )
        return await self._post(news)

    async def _post(self, news: Input) -> Answer:
        """Hand news to the engine until a commit took it; its reason is why it says no, or an empty text.

        What breaks the engine is left for the next start.
        """
        attempts = 0
        while True:
            try:
                answer = await self.loop.submit(news, own=True)
            except KairosError:
                attempts += 1
                await self._wait(attempts)
            except Exception:
                log.exception("news of the outbox broke the engine", news=news)
                return Answer("broken", "broken")
            else:
                return answer if answer.status in ("dropped", "held") else APPLIED


def _brought(source: Input) -> str:
    """The id of the message, or of the part of one, that an input is about."""
    if isinstance(source, Part):
        return source.carried.message_id
    if isinstance(source, Handed):
        return source.carried[-1].message_id if source.carried else ""
    return source.notification.message_id if isinstance(source, Event) and source.notification else ""


async def attempt(sending: Awaitable[Outcome]) -> Outcome:
    """One attempt; what broke on the way may still have happened."""
    try:
        return await sending
    except Exception as error:
        log.exception("an attempt to send broke")
        return Outcome("unknown", reason=repr(error))
