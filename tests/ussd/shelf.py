"""A book of menus for tests, and an engine's part played by hand."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from kairos.domain.inbound import Told
from kairos.playbook.ussd import Item, Menu, Menus, Said
from kairos.ussd import Ask, Book, Do, Look, Say, Session, Show, asked, begin, keyed, looked, said


def en(text: str) -> Said:
    return {"en": (text,)}


WORDS = {
    "more": "More",
    "back": "Back",
    "yes": "Yes",
    "no": "No",
    "offers": "Your offers:",
    "nothing": "Nothing.",
    "later": "Later.",
    "working": "Working.",
    "again": "Dial again.",
    "sure": "{title} costs {price}. Sure?",
    "taken": "Thank you: {title}.",
    "declined": "All right.",
    "refused": "Not now.",
    "over": "Over.",
}
MENUS = Menus(
    entries={"*123#": "main", "*123*4#": "offers"},
    menus={
        "main": Menu(
            en("Account"),
            (
                Item(en("Offers"), "offers"),
                Item(en("Balance"), "text", "main/2"),
                Item(en("Help"), "menu", "help"),
                Item(en("Settings"), "to", "care", "*9#"),
                Item(en("Up"), "to", "parent"),
            ),
        ),
        "help": Menu(en("Help"), (Item(en("How"), "text", "help/1"),)),
    },
    words={name: en(text) for name, text in WORDS.items()},
    texts={"main/2": en("Balance {balance}"), "help/1": en("So.")},
)


def show_price(price: int) -> str:
    return f"T${price // 100}"


BOOK = Book(MENUS, ("en",), show_price)


def told(key: str, text: str, *, price: int = 500, title: str = "", redeemed_by: str = "") -> Told:
    return Told(
        key=key,
        decision=1,
        action=key,
        variant="",
        kind="sell",
        title=title or key.upper(),
        text=text,
        language="en",
        number=1,
        reply_to="5000",
        price=price,
        tax=0,
        charges=True,
        lasts=0,
        made=0,
        until=0,
        channel="ussd",
        status="open",
        redeemed_by=redeemed_by,
    )


OFFERS = (told("a", "1 GB T$5"), told("b", "2 GB T$9", price=900))


class Player:
    """A subscriber before a dialogue; everything that the engine was told is kept."""

    def __init__(self, offers: Sequence[Told] = OFFERS, *, book: Book = BOOK, hands: frozenset[str] = frozenset()):
        self.book, self.offers = book, offers
        self.session = Session("s", "12025550123", "", hands=hands)
        self.words: list[tuple[str, str]] = []
        self.outcomes: dict[str, str] = {}  # key -> how it stands after a yes

    def dial(self, code: str, *ahead: str) -> Show:
        return self._go(*begin(self.book, replace(self.session, code=code, ahead=ahead)))

    def press(self, *keys: str) -> Show:
        return self._go(*keyed(self.book, self.session, keys))

    def _go(self, session: Session, do: Do) -> Show:
        while not isinstance(do, Show):
            match do:
                case Look(page):
                    session, do = looked(self.book, session, "en", f"says {page}" if page else "")
                case Ask():
                    session, do = asked(self.book, session, "en", self.offers)
                case Say(key, verb):
                    self.words.append((key, verb))
                    stands = self.outcomes.get(key, "accepted" if verb == "accept" else "declined")
                    offer = next(one for one in self.offers if one.key == key)
                    session, do = said(self.book, session, stands, offer)
        self.session = session
        return do
