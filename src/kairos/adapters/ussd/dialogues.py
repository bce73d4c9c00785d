"""Dialogues by USSD, whatever their gateway speaks: who is where, what the engine is asked, and an answer in time.

They stand in memory: a step of one that a restart has ended is told to dial again, and nothing that was taken is lost,
because a yes is answered after its commit.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

import structlog

from kairos import ussd
from kairos.domain.channel import USSD
from kairos.domain.inbound import Look, Recall, Told, Visit, Word
from kairos.domain.message import Text
from kairos.engine.loop import Loop
from kairos.engine.program import Program
from kairos.errors import KairosError
from kairos.ingest import read_name
from kairos.ports import Clock, Outcome
from kairos.ussd import SCREEN, Ask, Book, Do, Heard, Room, Say, Session, Show, Steps

log = structlog.get_logger("kairos.ussd")

CLOSED: Final = Show("This service is not available.", more=False)  # where a playbook has no menus, nor words for it
SILENT: Final = Show("", more=False)  # to what awaits no answer
MOST: Final = 100_000  # dialogues at a time
SWEPT_EVERY: Final = 1.0  # seconds
BUSY: Final = "they are in a dialogue"


class Systems(Protocol):
    """Other systems, to which a dialogue may be handed."""

    names: Collection[str]

    async def say(self, name: str, session: Session, dial: str, keys: tuple[str, ...]) -> tuple[Show, bool]:
        """What it shows, and whether it hands the dialogue back. Raises KairosError."""
        ...


class Talk:
    """One dialogue under way, or lately."""

    def __init__(self, key: str, session: Session, at: int) -> None:
        self.key, self.session, self.heard_at = key, session, at
        self.steps = Steps()
        self.lock = asyncio.Lock()
        self.saying = False  # a yes or a no is under way
        self.system, self.dial = "", ""  # that it was handed to
        self.keys: tuple[str, ...] = ()  # since then
        self.tasks: set[asyncio.Task[Show]] = set()


class Dialogues:
    """Hears steps and answers each within `within` seconds; breaks off what nobody goes on with for `ttl` seconds."""

    def __init__(
        self,
        loop: Loop,
        clock: Clock,
        *,
        systems: Systems | None = None,
        region: str = "",
        ttl: float = 180.0,
        within: float = 3.0,
        room: Room = SCREEN,
    ) -> None:
        self.loop, self.clock, self.systems, self.region = loop, clock, systems, region
        self.ttl, self.within, self.room = round(ttl * 1000), within, room
        self.settled = clock() + self.ttl  # until then a handset may show what was said before a restart
        self.counts: Counter[str] = Counter()
        self._talks: OrderedDict[str, Talk] = OrderedDict()  # the one that was heard of longest ago first
        self._of: dict[str, str] = {}  # a handset has one dialogue at a time: msisdn -> its key
        self._books: tuple[Program | None, Book | None] = (None, None)

    def book(self) -> Book | None:
        """The menus of the playbook in use."""
        program = self.loop.engine.program
        if self._books[0] is not program:
            playbook = program.playbook
            menus = playbook.ussd
            book = Book(menus, playbook.languages, playbook.currency.show, self.room) if menus else None
            self._books = program, book
        return self._books[1]

    async def hear(self, gateway: str, heard: Heard, hands: Collection[str] = ()) -> Show:
        """The answer to a step. `hands`: what this gateway's form can hand a dialogue to by itself.

        Raises EventError where a beginning names nobody; KairosError where a break could not be kept: bring it again.
        """
        book = self.book()
        if book is None:
            return CLOSED
        key = f"{gateway}:{heard.session}"
        if heard.kind in ("abort", "timeout"):
            await self._broken_off(key, heard.kind)
            return SILENT
        talk = self._talks.get(key)
        if talk and heard.msisdn and self._name(heard.msisdn) != talk.session.msisdn:
            talk = None
        if talk and talk.steps.anew(heard):
            talk = None
        if talk and (again := talk.steps.again(heard, self.clock())):
            self.counts["repeated"] += 1
            return again
        if heard.kind == "input" and talk is None:
            if heard.step < 0 or not heard.code:
                self.counts["unknown"] += 1
                return ussd.last_word(book, "again")
            heard = Heard(heard.session, heard.msisdn, heard.code, "", "begin", heard.step, (*heard.ahead, heard.text))
        if heard.kind == "begin":
            talk = self._begun(key, heard, hands)
            if talk is None:
                return ussd.last_word(book, "later")
        assert talk
        talk.heard_at = self.clock()
        self._talks.move_to_end(key)
        return await self._in_time(talk, heard, book)

    async def begin(self, key: str, text: Text, bring: Callable[[Show], Awaitable[Outcome]]) -> Outcome:
        """Begin one of our own: `bring` its first screen. What is said another way `instead` is not tried again."""
        if self.busy(text.destination):
            outcome = Outcome("retry", reason=BUSY)
        elif show := self.push(key, text):
            outcome = await bring(show)
            if outcome.status in ("retry", "failed"):
                self.forget(key)
        else:
            return Outcome("failed", reason="the playbook has no menus, nor words for a yes")
        return Outcome("failed", reason=outcome.reason) if outcome.status == "retry" and text.instead else outcome

    def push(self, key: str, text: Text) -> Show | None:
        """The first screen of a dialogue that we begin with an offer; None where the playbook has no words for it."""
        book = self.book()
        if not text.reply_in:
            return Show(ussd.cut(text.text, self.room), more=False)
        if book is None:
            return None
        session = Session(f"{key}/{self.clock()}", text.destination, "", text.reply_in, hands=frozenset())
        talk = self._enter(key, session)
        talk.session, show = ussd.pushed(book, session, _pushed(text))
        talk.steps.note(Heard(key, text.destination, "", "", "begin"), show, self.clock())
        self.counts["pushed"] += 1
        return show

    def forget(self, key: str) -> None:
        """A dialogue that we began never came to be; one that was dialled under its name meanwhile stays."""
        talk = self._talks.get(key)
        if talk and not talk.session.code:
            self._drop(talk)

    def busy(self, msisdn: str) -> bool:
        """Whether they are in a dialogue, or may be in one that a restart forgot: what they press next is meant for
        that one, and must not answer another."""
        if self.clock() < self.settled:
            return True
        talk = self._talks.get(self._of.get(msisdn, ""))
        return talk is not None and not talk.steps.ended

    def knows(self, key: str) -> bool:
        """Whether a dialogue has this key, or had it lately."""
        return key in self._talks

    def of(self, msisdn: str) -> str:
        """The key of a handset's dialogue; empty where it has none."""
        return self._of.get(msisdn, "")

    @property
    def open(self) -> int:
        return len(self._talks)

    async def run(self) -> None:
        """Until cancelled: what nobody goes on with is broken off."""
        while True:
            await asyncio.sleep(SWEPT_EVERY)
            await self.sweep()

    async def sweep(self) -> None:
        due = self.clock() - self.ttl
        while self._talks and (talk := next(iter(self._talks.values()))).heard_at <= due:
            try:
                await self._broken_off(talk.key, "abandoned")
            except Exception as error:  # what breaks the engine was told there, and ends this dialogue alone
                log.warning("an offer was not said again", reason=str(error))
                self._drop(talk)

    # -- one step ------------------------------------------------------------------------------------------------------

    def _begun(self, key: str, heard: Heard, hands: Collection[str]) -> Talk | None:
        msisdn = self._name(heard.msisdn)
        if len(self._talks) >= MOST:
            self.counts["overloaded"] += 1
            return None
        known = frozenset(self.systems.names if self.systems else ()) | frozenset(hands)
        session = Session(f"{key}/{self.clock()}", msisdn, heard.code, ahead=heard.ahead, hands=known)
        self.counts["begun"] += 1
        return self._enter(key, session)

    def _enter(self, key: str, session: Session) -> Talk:
        for left in (self._talks.get(self._of.get(session.msisdn, "")), self._talks.get(key)):
            self._drop(left)
        self._of[session.msisdn] = key
        talk = self._talks[key] = Talk(key, session, self.clock())
        return talk

    def _drop(self, talk: Talk | None) -> None:
        """It is over; another that has begun under its name meanwhile is not."""
        if talk is None or self._talks.get(talk.key) is not talk:
            return
        del self._talks[talk.key]
        if self._of.get(talk.session.msisdn) == talk.key:
            del self._of[talk.session.msisdn]

    def _name(self, written: str) -> str:
        return read_name(written, self.region)

    async def _in_time(self, talk: Talk, heard: Heard, book: Book) -> Show:
        """The answer, or a word that it takes longer: what is under way then goes on, and is not shown any more."""
        task = asyncio.create_task(self._step(talk, heard, book))
        talk.tasks.add(task)
        task.add_done_callback(talk.tasks.discard)
        await asyncio.wait({task}, timeout=self.within)
        if task.done():
            return task.result()
        self.counts["overdue"] += 1
        show = ussd.last_word(book, "working" if talk.saying else "later", talk.session.language)
        talk.steps.note(heard, show, self.clock())
        return show

    async def _step(self, talk: Talk, heard: Heard, book: Book) -> Show:
        async with talk.lock:
            if again := talk.steps.again(heard, self.clock()):  # it came while its like was under way
                self.counts["repeated"] += 1
                return again
            self.counts["steps"] += 1
            try:
                show = await self._answer(talk, heard, book)
            except KairosError as error:
                log.warning("a step has no answer", reason=str(error))
                show = ussd.last_word(book, "later", talk.session.language)
            except Exception:
                log.exception("a step broke")
                show = ussd.last_word(book, "later", talk.session.language)
            if again := talk.steps.again(heard, self.clock()):  # it took too long, and was told so
                return again
            talk.steps.note(heard, show, self.clock())
            return show

    async def _answer(self, talk: Talk, heard: Heard, book: Book) -> Show:
        if talk.system:
            talk.keys = (*talk.keys, heard.text)
            return await self._pass_on(talk, book)
        if heard.kind == "begin":
            session, do = ussd.begin(book, talk.session)
        else:
            missed = heard.ahead[max(talk.steps.answers) :] if heard.ahead else ()
            session, do = ussd.keyed(book, talk.session, (*missed, heard.text))
        return await self._until_shown(talk, session, do, book)

    async def _until_shown(self, talk: Talk, session: Session, do: Do, book: Book) -> Show:
        while not isinstance(do, Show):
            session, do = await self._asked(talk, session, do, book)
        talk.session = session
        if not do.to:
            return do
        self.counts["handed"] += 1
        if not self.systems or do.to not in self.systems.names:  # the gateway's form does it
            return do
        talk.system, talk.dial, talk.keys = do.to, do.dial, ()
        return await self._pass_on(talk, book)

    async def _pass_on(self, talk: Talk, book: Book) -> Show:
        assert self.systems
        show, returned = await self.systems.say(talk.system, talk.session, talk.dial, talk.keys)
        if not returned:
            return show
        talk.system = ""
        session, do = ussd.begin(book, talk.session)
        return await self._until_shown(talk, session, do, book)

    async def _asked(self, talk: Talk, session: Session, do: Do, book: Book) -> tuple[Session, Do]:
        """Ask the engine, and go on with what it says."""
        now, identity = self.clock(), f"ussd/{session.id}/{session.steps}"
        match do:
            case Ask():
                at_most = book.menus.at_most
                answer = await self.loop.ask(Visit(identity, session.msisdn, USSD, now, at_most=at_most))
                return ussd.asked(book, session, answer.language, answer.offers)
            case Say(offer, verb):
                talk.saying = True
                try:
                    answer = await self.loop.ask(Word(identity, session.msisdn, offer, verb, USSD, now, "ussd"))
                finally:
                    talk.saying = False
                if not answer.offers:
                    return session, ussd.last_word(book, "over", session.language)
                return ussd.said(book, session, answer.outcome, answer.offers[0])
            case ussd.Look(page):
                answer = await self.loop.ask(Look(session.msisdn, now, page))
                return ussd.looked(book, session, answer.language, answer.text)
        raise AssertionError(do)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _broken_off(self, key: str, how: str) -> None:
        """An offer that was in front of them is said by a message, where the playbook has it so."""
        talk = self._talks.get(key)
        if talk is None:
            return
        if not talk.steps.ended:
            self.counts[how] += 1
            offers = () if talk.system else ussd.chosen(talk.session)
            if offers:
                session = talk.session
                await self.loop.submit(Recall(f"ussd/{session.id}/recall", session.msisdn, offers, self.clock()))
        self._drop(talk)


def _pushed(text: Text) -> Told:
    """What a message that begins a dialogue tells of its offer."""
    return Told(
        key=text.offer,
        decision=text.decision,
        action=text.action,
        variant="",
        kind="",
        title="",
        text=text.text,
        language=text.reply_in,
        number=0,
        reply_to="",
        price=0,
        tax=0,
        charges=False,
        lasts=0,
        made=0,
        until=0,
        channel="",
        status="open",
    )
