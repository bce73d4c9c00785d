"""How long each message can become: every text filled with the longest values it may get, in the encoding it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kairos.domain.channel import LONG, NOTIFICATION
from kairos.playbook.action import Action, Variant
from kairos.playbook.page_words import LINK, TOKEN_LENGTH, URL
from kairos.playbook.placeholders import filled
from kairos.playbook.playbook import ANSWERS, MAY_ANSWER, Playbook
from kairos.rules import Type
from kairos.smpp.text import Encoding, measure

NUMBER = "99"  # of an open offer
EXPIRES = "2026-12-31 23:59"


@dataclass(frozen=True, slots=True)
class Measured:
    """The worst case of one text. `units` are septets (gsm7) or UTF-16 code units (ucs2), `parts` messages of SMS."""

    message: str
    language: str
    index: int  # which of the texts, 0 is the longest
    encoding: str
    units: int
    parts: int
    text: str

    @property
    def size(self) -> tuple[int, int]:
        """By which texts are compared."""
        return self.parts, self.units


def measure_messages(playbook: Playbook, page: str = URL) -> list[Measured]:
    """Every text of every message that somebody says where SMS are counted, in the order of the playbook.

    `page`: where links lead.

    What depends on the subscriber is taken as five digits, and money as 9999.99; the rest is exact.
    """
    said_by = _said_by(playbook, f"{page}/o/{'x' * TOKEN_LENGTH}")
    measured = []
    for message, by_language in playbook.messages.items():
        for language, texts in by_language.items():
            for index, text in enumerate(texts):
                worst = [_measured(message, language, index, filled(text, v)) for v in said_by.get(message, ())]
                if worst:
                    measured.append(max(worst, key=lambda found: found.size))
    return measured


def unfit_lines(playbook: Playbook) -> Iterator[tuple[str, str, str]]:
    """(message, language, how long) where even the shortest line could not stand alone in one SMS."""
    riding = {t.message for action in playbook.actions for t in action.treatments if t.channel == NOTIFICATION}
    shortest: dict[tuple[str, str], Measured] = {}
    for found in measure_messages(playbook):
        key = (found.message, found.language)
        if found.message in riding and (key not in shortest or found.size < shortest[key].size):
            shortest[key] = found
    for (message, language), found in shortest.items():
        if found.parts > 1:
            yield message, language, f"its shortest text in {language} takes {found.units} units of {found.encoding}"


def _measured(message: str, language: str, index: int, text: str) -> Measured:
    found = measure(text)
    encoding = "gsm7" if found.encoding is Encoding.GSM7 else "ucs2"
    return Measured(message, language, index, encoding, found.units, found.parts, text)


def _said_by(playbook: Playbook, link: str) -> dict[str, list[dict[str, str]]]:
    """For each message, the values of every variant it may be filled with."""
    said: dict[str, list[dict[str, str]]] = {}
    values = [
        (action, _values(playbook, action, variant) | {LINK: link})
        for action in playbook.actions
        for variant in action.variants
    ]
    for action, one in values:
        for message in {treatment.message for treatment in action.treatments if treatment.channel not in LONG}:
            said.setdefault(message, []).append(one)
    alone = {"short_code": _short_code(playbook)}
    for message in (*ANSWERS, *(one for one in MAY_ANSWER if one in playbook.messages)):
        said.setdefault(message, []).extend([one for _, one in values] or [alone])
    return said


def _values(playbook: Playbook, action: Action, variant: Variant) -> dict[str, str]:
    columns = {name: _longest(kind, playbook) for name, kind in playbook.vocabulary.names.items()}
    return columns | {
        **variant.fields,
        "title": filled(action.title, variant.fields),
        "price": playbook.currency.show(variant.price),
        "net": playbook.currency.show(variant.price),
        "tax": playbook.currency.show(variant.price),
        "number": NUMBER,
        "expires": EXPIRES,
        "short_code": _short_code(playbook),
    }


def _short_code(playbook: Playbook) -> str:
    return max(playbook.replies, key=len, default="")


def _longest(kind: Type, playbook: Playbook) -> str:
    shown = {"number": "99999", "text": "x" * 10, "date": EXPIRES[:10], "time": EXPIRES}
    return playbook.currency.show(10 ** (4 + playbook.currency.digits) - 1) if kind == "money" else shown.get(kind, "")
