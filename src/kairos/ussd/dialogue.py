"""A dialogue as a value: what was pressed goes in, and out comes a screen, or what is to be asked before there is one.

`begin`, `pressed` and `pushed` give a session and what to do. Whoever is told to `Look`, `Ask` or `Say` does so and
hands back what came of it to `looked`, `asked` or `said`, until there is something to `Show`. Nothing here waits or is
remembered elsewhere.

A yes takes two keys, the offer's and its own, and its own is none that was pressed before in the dialogue: a gateway
that brings a key again, however late, cannot take what nobody has read. So, too, what is dialled ahead leads to the
offers and not into them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from kairos.domain.inbound import Told, Verb
from kairos.playbook.placeholders import filled
from kairos.playbook.ussd import OFFERS, Menu, Menus, Said
from kairos.ussd.screens import BACKWARDS, DIGITS, ONWARDS, SCREEN, Page, Room, cut, pages

SHORT: Final = 40  # characters of an offer's words that stand in a list; what is longer stands there as title and price
DEEPEST: Final = 20  # screens on the way back
YES, NO = "accept", "decline"
AVOIDED: Final = len(DIGITS) - len((YES, NO))  # keys, pressed lately, that are no yes

Kind = Literal["menu", "text", "offers", "offer", "sure"]


class Spot(Struct, frozen=True, gc=False):
    """Where they are: a menu (`name`), a text, the offers, one of them (`at`), or the question for a second yes."""

    kind: Kind
    name: str = ""
    at: int = 0
    text: str = ""
    page: int = 0
    avoid: tuple[str, ...] = ()  # the keys that led here


class Session(Struct, frozen=True, gc=False):
    """What a dialogue has come to. `id` is its own for good; `hands` are the systems that it can be handed to."""

    id: str
    msisdn: str
    code: str  # as it was dialled; empty: we began
    language: str = ""
    way: tuple[Spot, ...] = ()  # the last is where they are
    offers: tuple[Told, ...] = ()
    pressed: tuple[str, ...] = ()  # each of the digits once, the latest last
    ahead: tuple[str, ...] = ()  # dialled together with the code, and not looked at yet
    hands: frozenset[str] = frozenset()
    steps: int = 0  # that asked the engine


class Show(NamedTuple):
    """A screen; `more`: a key is awaited. Without a text, the dialogue is handed `to` another system, which was
    `dial`led."""

    text: str
    more: bool
    to: str = ""
    dial: str = ""


class Look(NamedTuple):
    """Their language is asked for, and what a text (by its key) says to them."""

    page: str


class Ask(NamedTuple):
    """What is open for them, else best, is asked for."""


class Say(NamedTuple):
    """They take or decline an offer."""

    offer: str
    said: Verb


Do = Show | Look | Ask | Say


class Book(NamedTuple):
    """A playbook's menus, its languages (the first is the fallback), how a price is shown, and the size of a screen."""

    menus: Menus
    languages: tuple[str, ...]
    show: Callable[[int], str]
    room: Room = SCREEN

    def text(self, said: Said, language: str) -> str:
        texts = said.get(language) or said.get(self.languages[0]) or ("",)
        return texts[0]

    def word(self, name: str, language: str, offer: Told | None = None) -> str:
        """One of the words that every dialogue says; of an offer, with its title and price."""
        text = self.text(self.menus.words.get(name, {}), language)
        values = {"title": offer.title, "price": self.show(offer.price)} if offer else {}
        return filled(text, values)

    def entry(self, code: str) -> tuple[str, tuple[str, ...]] | None:
        """Where a dialled code leads, and what is left of it as keys; None where nothing begins so.

        >>> menus = Menus({"*123#": "main", "*123*4#": "offers"}, {}, {})
        >>> book = Book(menus, ("en",), str)
        >>> book.entry("*123*4#"), book.entry("*123*2*1#"), book.entry("*99#")
        (('offers', ()), ('main', ('2', '1')), None)
        """
        parts = code.removesuffix("#").split("*")
        for length in range(len(parts), 0, -1):
            target = self.menus.entries.get("*".join(parts[:length]) + "#")
            if target:
                return target, tuple(parts[length:])
        return None


# -- what comes in -----------------------------------------------------------------------------------------------------


def begin(book: Book, session: Session) -> tuple[Session, Do]:
    """A code was dialled. One that leads nowhere leads to the first menu."""
    target, rest = book.entry(session.code) or (next(iter(book.menus.entries.values())), ())
    session = replace(session, ahead=(*rest, *session.ahead))
    if target == OFFERS:
        return _counted(replace(session, way=(Spot("offers"),))), Ask()
    return _counted(replace(session, way=(Spot("menu", target),))), Look("")


def pushed(book: Book, session: Session, offer: Told) -> tuple[Session, Show]:
    """We began, with an offer that they can take at once."""
    return _show(book, replace(session, way=(Spot("offer"),), offers=(offer,)))


def pressed(book: Book, session: Session, key: str) -> tuple[Session, Do]:
    """A key was pressed. One that leads nowhere shows the same screen again."""
    page = _page(book, session)
    key = key.strip().rstrip("#").strip()
    leads = page.keys.get(key, "")
    if key in tuple(DIGITS):
        pressed = (*(one for one in session.pressed if one != key), key)
        session = replace(session, pressed=pressed[-AVOIDED:])
    here = session.way[-1]
    if leads == ONWARDS or (leads == BACKWARDS and here.page):
        return _show(book, _here(session, replace(here, page=here.page + (1 if leads == ONWARDS else -1))))
    if leads == BACKWARDS:
        return _show(book, replace(session, way=session.way[:-1]))
    return _led(book, session, leads) if leads else _show(book, replace(session, ahead=()))


def keyed(book: Book, session: Session, keys: Sequence[str]) -> tuple[Session, Do]:
    """As `pressed`, with the keys that the gateway brings together; those after the first are dialled ahead."""
    return _on(book, *pressed(book, replace(session, ahead=tuple(keys[1:])), keys[0]))


def _led(book: Book, session: Session, leads: str) -> tuple[Session, Do]:
    here = session.way[-1]
    if leads in (YES, NO):
        said: Verb = "accept" if leads == YES else "decline"
        return _counted(session), Say(session.offers[here.at].key, said)
    if here.kind == "offers":
        return _show(book, _to(session, Spot("offer", at=int(leads), avoid=session.pressed)))
    item = book.menus.menus[here.name].items[int(leads)]
    if item.leads == "offers":
        return _counted(_to(session, Spot("offers"))), Ask()
    if item.leads == "text":
        return _counted(_to(session, Spot("text", item.name))), Look(item.name)
    if item.leads == "menu":
        return _show(book, _to(session, Spot("menu", item.name)))
    return session, Show("", more=True, to=item.name, dial=item.dial)


# -- what was found ----------------------------------------------------------------------------------------------------


def looked(book: Book, session: Session, language: str, text: str) -> tuple[Session, Do]:
    """Their language, and what a text says to them: nothing where one of its values is not known."""
    here = session.way[-1]
    session = replace(session, language=language)
    if here.kind == "text":
        session = _here(session, replace(here, text=text or book.word("later", language)))
    return _shown(book, session)


def asked(book: Book, session: Session, language: str, offers: Sequence[Told]) -> tuple[Session, Do]:
    """The offers that are open or were made just now."""
    return _shown(book, replace(session, language=language or session.language, offers=tuple(offers), ahead=()))


def said(book: Book, session: Session, status: str, offer: Told) -> tuple[Session, Do]:
    """How an offer stands after their yes or no: the end, or the question for a second yes."""
    here = session.way[-1]
    offers = tuple(offer if one.key == offer.key else one for one in session.offers)
    session = replace(session, offers=offers)
    if status == "confirm":
        return _show(book, _here(session, Spot("sure", at=here.at, avoid=session.pressed)))
    return session, _end(book, session, OUTCOMES.get(status, "refused"), offer)


OUTCOMES: Final = {
    "accepted": "taken",
    "fulfilled": "taken",
    "declined": "declined",
    "refused": "refused",
    "pending": "refused",
    "expired": "over",
    "withdrawn": "over",
    "reversed": "over",
}


def last_word(book: Book, name: str, language: str = "") -> Show:
    """A word that ends a dialogue for which there is no session, or no time."""
    return Show(cut(book.word(name, language), book.room), more=False)


def chosen(session: Session) -> tuple[str, ...]:
    """What an interrupted dialogue was about, the likeliest first: the offer on the screen, else those in the list."""
    here = session.way[-1] if session.way else Spot("menu")
    if here.kind in ("offer", "sure"):
        return (session.offers[here.at].key,) if session.offers[here.at].key else ()
    return tuple(offer.key for offer in session.offers if offer.key) if here.kind == "offers" else ()


# -- what is shown -----------------------------------------------------------------------------------------------------


def _shown(book: Book, session: Session) -> tuple[Session, Do]:
    """The screen; or the one that what was dialled ahead leads to, as long as that is no offer."""
    if session.ahead and session.way[-1].kind in ("menu", "text"):
        key, *rest = session.ahead
        return _on(book, *pressed(book, replace(session, ahead=tuple(rest)), key))
    return _show(book, session)


def _on(book: Book, session: Session, do: Do) -> tuple[Session, Do]:
    if isinstance(do, Show) and do.more and not do.to and session.ahead:
        return _shown(book, session)
    return session, do


def _show(book: Book, session: Session) -> tuple[Session, Show]:
    page = _page(book, session)
    return session, Show(page.text, more=bool(page.keys))


def _page(book: Book, session: Session) -> Page:
    here = session.way[-1]
    body, choices = _content(book, session, here)
    found = pages(
        body,
        choices,
        more=book.word("more", session.language),
        back=book.word("back", session.language),
        room=book.room,
        rises=len(session.way) > 1,
        avoid=here.avoid,
    )
    return found[min(here.page, len(found) - 1)]


def _content(book: Book, session: Session, here: Spot) -> tuple[str, list[tuple[str, str]]]:
    """What a screen says, and the choices that it offers."""
    language = session.language
    if here.kind == "menu":
        menu = book.menus.menus[here.name]
        return book.text(menu.title, language), _items(book, menu, session)
    if here.kind == "text":
        return here.text, []
    if here.kind == "offers":
        if not session.offers:
            return book.word("nothing", language), []
        listed = [(_line(book, offer), str(at)) for at, offer in enumerate(session.offers)]
        return book.word("offers", language), listed
    offer = session.offers[here.at]
    if here.kind == "sure":
        return book.word("sure", language, offer), [(book.word("yes", language), YES), (book.word("no", language), NO)]
    takes = bool(offer.key) and not offer.redeemed_by
    answers = [(book.word("yes", language), YES), (book.word("no", language), NO)] if takes else []
    return _whole(book, offer), answers


def _items(book: Book, menu: Menu, session: Session) -> list[tuple[str, str]]:
    """The items of a menu, without those that lead to a system that nobody has told us of."""
    return [
        (book.text(item.label, session.language), str(at))
        for at, item in enumerate(menu.items)
        if item.leads != "to" or item.name in session.hands
    ]


def _line(book: Book, offer: Told) -> str:
    if len(offer.text) <= SHORT or not offer.title:
        return offer.text
    return f"{offer.title}: {book.show(offer.price)}" if offer.price else offer.title


def _whole(book: Book, offer: Told) -> str:
    """An offer's words, and its price where they do not name it: nobody takes what they were not told."""
    price = book.show(offer.price) if offer.price else ""
    named = re.search(rf"(?<![\d.,]){re.escape(price)}(?![\d.,]*\d)", offer.text)
    return offer.text if named else f"{offer.text} {price}"


def _end(book: Book, session: Session, word: str, offer: Told) -> Show:
    return Show(cut(book.word(word, session.language, offer), book.room), more=False)


def _to(session: Session, spot: Spot) -> Session:
    return replace(session, way=(*session.way[-DEEPEST:], spot))


def _here(session: Session, spot: Spot) -> Session:
    return replace(session, way=(*session.way[:-1], spot))


def _counted(session: Session) -> Session:
    return replace(session, steps=session.steps + 1)
