"""Marketers' tests of what is dialled: the real dialogue, over the subscriber that the test gives."""

from __future__ import annotations

from collections.abc import Callable

from kairos.decide import Decided
from kairos.domain.channel import USSD
from kairos.domain.inbound import Told
from kairos.domain.moment import Moment
from kairos.engine.program import Program
from kairos.playbook.playbook import PlaybookTest
from kairos.ussd import Ask, Book, Do, Look, Say, Session, Show, asked, begin, looked, pressed, said


def wrong_screen(program: Program, test: PlaybookTest, moment: Moment, decide: Callable[[Moment], Decided]) -> str:
    """What is wrong with the screen that the test's keys lead to; empty where it shows what it is to show."""
    menus = program.playbook.ussd
    if menus is None:
        return "there are no menus: add `ussd.yaml`"
    book = Book(menus, program.playbook.languages, program.playbook.currency.show)
    dialogue = _Dialogue(program, moment, decide, book)
    show = dialogue.go(*begin(book, Session("test", "15550100", test.dial, hands=menus.systems)))
    for number, key in enumerate(test.press, 1):
        if not show.more or show.to:
            return f"the dialogue ended before key {number}, with `{_words(show)}`"
        show = dialogue.go(*pressed(book, dialogue.session, key))
    return "" if test.shows in _words(show) else f"expected a screen with `{test.shows}`, got `{_words(show)}`"


def _words(show: Show) -> str:
    return f"handed to {show.to}" if show.to else show.text


class _Dialogue:
    """Answers what a dialogue asks as the engine would: offers by the real stages, a yes as accepted."""

    def __init__(self, program: Program, moment: Moment, decide: Callable[[Moment], Decided], book: Book) -> None:
        self.program, self.decide, self.book, self.moment = program, decide, book, moment
        self.moment.where, self.moment.riding = USSD, False
        self.language = program.language(self.moment.row)
        self.session = Session("", "", "")

    def go(self, session: Session, do: Do) -> Show:
        while not isinstance(do, Show):
            match do:
                case Ask():
                    session, do = asked(self.book, session, self.language, self._offers())
                case Look(page):
                    text = self.program.page_text(page, self.language, self.moment.row)
                    session, do = looked(self.book, session, self.language, text)
                case Say(key, verb):
                    offer = next(one for one in session.offers if one.key == key)
                    session, do = said(self.book, session, self._outcome(session, offer, verb), offer)
        self.session = session
        return do

    def _outcome(self, session: Session, offer: Told, verb: str) -> str:
        if verb == "decline":
            return "declined"
        return "confirm" if offer.twice and session.way[-1].kind != "sure" else "accepted"

    def _offers(self) -> list[Told]:
        """As many as are shown, each of which knows those before it."""
        found: list[Told] = []
        while len(found) < self.book.menus.at_most:
            made = self.decide(self.moment)
            if made.arm is None or made.composed is None:
                break
            found.append(self._told(made, self.moment, len(found)))
            self.moment.told |= self.program.decide.of_action[made.arm.action.name]
        return found

    def _told(self, made: Decided, moment: Moment, number: int) -> Told:
        assert made.arm
        assert made.composed
        action, variant = made.arm.action, made.arm.variant
        return Told(
            key=f"test-{number}" if action.makes_offer else "",
            decision=moment.id,
            action=action.name,
            variant=variant.name,
            kind=action.kind,
            title=self.program.offers[made.arm.bit]["title"] or action.title,
            text=made.composed.text,
            language=self.language,
            number=made.composed.number,
            reply_to="",
            price=variant.price,
            tax=0,
            charges=action.charges,
            lasts=variant.lasts,
            made=moment.now,
            until=moment.now + action.accept_within,
            channel=USSD,
            status="open",
            twice=self.program.playbook.policy.asks_twice(action, variant.price),
            redeemed_by=action.redeemed_by,
        )
