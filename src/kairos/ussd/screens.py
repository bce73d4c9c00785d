"""What fits a screen: texts and numbered choices in pages, none longer than a USSD string.

A USSD string has 160 octets (3GPP TS 24.090 and 29.002): 182 septets of GSM-7, or 80 units of UCS-2. A character that
takes two units is never parted, because pages are cut between characters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from kairos.smpp.text import Encoding, measure

DIGITS: Final = "12345678"  # that choices are numbered with
MORE, BACK = "9", "0"
ONWARDS, BACKWARDS = "onwards", "backwards"  # where these lead


class Room(NamedTuple):
    """Units that a screen has: septets in GSM-7, UTF-16 code units in UCS-2."""

    gsm7: int = 182
    ucs2: int = 80

    def fits(self, text: str) -> bool:
        """Whether the text fits one screen, in the encoding that all of it needs.

        >>> Room().fits("a" * 182), Room().fits("a" * 181 + "€"), Room().fits("д" * 80), Room().fits("a" * 80 + "д")
        (True, False, True, False)
        """
        if len(text) > self.gsm7:
            return False
        found = measure(text)
        return found.units <= (self.gsm7 if found.encoding is Encoding.GSM7 else self.ucs2)


SCREEN: Final = Room()


class Page(NamedTuple):
    """One screen, and where each key leads."""

    text: str
    keys: dict[str, str]


def pages(
    body: str,
    choices: Sequence[tuple[str, str]],
    *,
    more: str,
    back: str,
    room: Room,
    rises: bool,
    avoid: Collection[str] = (),
) -> list[Page]:
    """The body, then the choices (label, where it leads), in as few pages as they take: one at least.

    `rises`: the first page has a way back, too. `avoid` are keys that no choice gets.

    >>> [page.text for page in pages("Offers", [("1 GB", "a"), ("2 GB", "b")], more="More", back="Back", room=Room(),
    ...     rises=True, avoid={"1"})]
    ['Offers\\n2 1 GB\\n3 2 GB\\n0 Back']
    """
    digits = [digit for digit in DIGITS if digit not in avoid]
    waiting = list(choices)
    found: list[Page] = []
    rest = body.strip()
    while not found or rest or waiting:
        foot = [f"{BACK} {back}"] if rises or found else []
        onwards = [f"{MORE} {more}", *foot]
        numbered = [f"{digit} {label}" for digit, (label, _) in zip(digits, waiting, strict=False)]
        head = [rest] if rest else []
        whole = "\n".join([*head, *numbered, *foot])
        if len(waiting) <= len(digits) and room.fits(whole):
            keys = {digit: leads for digit, (_, leads) in zip(digits, waiting, strict=False)}
            found.append(Page(whole, keys | ({BACK: BACKWARDS} if foot else {})))
            break
        keys = {MORE: ONWARDS} | ({BACK: BACKWARDS} if foot else {})
        if rest and not room.fits("\n".join([rest, *onwards])):
            said, rest = _split(rest, onwards, room)
            found.append(Page("\n".join([said, *onwards]), keys))
            continue
        taken = _as_many(head, numbered, onwards, room)
        shown = numbered[:taken]
        if not head and not shown:
            shown, taken = [_cut(numbered[0], onwards, room)], 1
        keys |= {digit: leads for digit, (_, leads) in zip(digits, waiting[:taken], strict=False)}
        found.append(Page("\n".join([*head, *shown, *onwards]), keys))
        rest, waiting = "", waiting[taken:]
    return found


def _as_many(head: Sequence[str], numbered: Sequence[str], foot: Sequence[str], room: Room) -> int:
    """How many of the choices fit between a head and a foot."""
    for count in range(len(numbered), 0, -1):
        if room.fits("\n".join([*head, *numbered[:count], *foot])):
            return count
    return 0


def _split(text: str, foot: Sequence[str], room: Room) -> tuple[str, str]:
    """The longest beginning of a text that fits above a foot, and the rest; between words where it can."""
    ends = [found.start() for found in re.finditer(r"\s+", text)]
    for at in (_last_that_fits(text, ends, foot, room), _last_that_fits(text, range(1, len(text)), foot, room)):
        if at:
            return text[:at].rstrip(), text[at:].lstrip()
    return text[:1], text[1:]


def _last_that_fits(text: str, ends: Sequence[int], foot: Sequence[str], room: Room) -> int:
    """The last of the ends, in rising order, up to which the text fits; 0 where none does. A longer one fits less."""
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if room.fits("\n".join([text[: ends[middle]], *foot])):
            low = middle + 1
        else:
            high = middle
    return ends[low - 1] if low else 0


def _cut(line: str, foot: Sequence[str], room: Room) -> str:
    """A choice that is longer than a screen: as much of it as fits."""
    at = _last_that_fits(line, range(1, len(line) + 1), foot, room)
    return line[: at or 1]


def cut(text: str, room: Room) -> str:
    """As much of a text as fits one screen.

    >>> len(cut("a" * 300, Room())), cut("short", Room())
    (182, 'short')
    """
    return text if room.fits(text) else _cut(text, (), room)
