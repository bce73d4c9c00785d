"""Texts as octets: GSM 03.38 (3GPP TS 23.038, basic and extension table), UCS-2, Latin-1, and how long a text is.

On SMPP a GSM-7 septet travels in an octet of its own. Limits count units: septets in GSM-7 (an extension character is
two), UTF-16 code units in UCS-2 (an emoji is two), octets in Latin-1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from kairos.smpp.errors import TextError

BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
ESCAPE = 0x1B
MAX_PARTS = 255


class Encoding(Enum):
    """How a text is written: its data_coding, and the units that fit one message or one part of several.

    A part of several gives 6 octets to its header (7 with a 16-bit reference number: `wide`).
    """

    GSM7 = (0x00, 160, 153, 152)
    LATIN1 = (0x03, 140, 134, 133)
    UCS2 = (0x08, 70, 67, 66)

    def __init__(self, data_coding: int, single: int, part: int, wide: int) -> None:
        self.data_coding = data_coding
        self.single = single
        self.part = part
        self.wide = wide

    @property
    def unit(self) -> int:
        """Octets of a unit on SMPP."""
        return 2 if self is Encoding.UCS2 else 1


# GSM-7 by translation: a character to its septets as Latin-1 characters; what GSM-7 lacks becomes one Latin-1 lacks.
_TO_GSM: dict[int, str] = dict.fromkeys(range(256), "\u0100")
_TO_GSM |= {ord(char): chr(septet) for septet, char in enumerate(BASIC) if septet != ESCAPE}
_TO_GSM |= {ord(char): chr(ESCAPE) + chr(septet) for septet, char in EXTENSION.items()}
_FROM_GSM = {septet: char for septet, char in enumerate(BASIC) if septet != ESCAPE}


def encoding_of(data_coding: int) -> Encoding | None:
    """The encoding a data_coding means, None for binary and for alphabets not spoken here (SMPP 5.2.19, TS 23.038 4).

    >>> encoding_of(0x18), encoding_of(0xF1), encoding_of(0x04)
    (<Encoding.UCS2: (8, 70, 67, 66)>, <Encoding.GSM7: (0, 160, 153, 152)>, None)
    """
    if data_coding < 0x10:
        return {0: Encoding.GSM7, 1: Encoding.LATIN1, 3: Encoding.LATIN1, 8: Encoding.UCS2}.get(data_coding)
    group = data_coding & 0xF0
    if group in (0xC0, 0xD0) or (group == 0xF0 and not data_coding & 0x04):
        return Encoding.GSM7
    if group == 0xE0:
        return Encoding.UCS2
    if group < 0x40:  # general groups; 0x20 says compressed
        alphabet = data_coding >> 2 & 3
        return None if data_coding & 0x20 else {0: Encoding.GSM7, 2: Encoding.UCS2}.get(alphabet)
    return None


def _octets(text: str, encoding: Encoding) -> bytes | None:
    """The text's octets, or None where the encoding lacks a character."""
    try:
        if encoding is Encoding.GSM7:
            return text.translate(_TO_GSM).encode("latin-1")
        if encoding is Encoding.LATIN1:
            return text.encode("latin-1")
    except UnicodeEncodeError:
        return None
    return text.encode("utf-16-be", "replace")  # only a lone surrogate is replaced


def _choose(text: str, encoding: Encoding | None) -> tuple[Encoding, bytes]:
    octets = _octets(text, encoding or Encoding.GSM7)
    if octets is not None:
        return encoding or Encoding.GSM7, octets
    if encoding is None:
        return Encoding.UCS2, text.encode("utf-16-be", "replace")
    lacking = next(char for char in text if _octets(char, encoding) is None)
    raise TextError(f"`{lacking}` cannot be written in {encoding.name}")


def encode(text: str, encoding: Encoding | None = None) -> tuple[int, bytes]:
    """(data_coding, octets) in the encoding asked for, else GSM-7 if every character fits it, else UCS-2.

    Raises TextError naming the first character that the encoding lacks.

    >>> encode("5 €"), encode("да")
    ((0, b'5 \\x1be'), (8, b'\\x044\\x040'))
    """
    chosen, octets = _choose(text, encoding)
    return chosen.data_coding, octets


def decode(data_coding: int, octets: bytes, default: Encoding = Encoding.GSM7) -> str:
    """The text of a message, for reading; never fails: what cannot be read becomes U+FFFD.

    `default` is the SMSC's default alphabet, which data_coding 0 stands for. Binary and unknown codings read as
    Latin-1.

    >>> decode(0, b"5 \\x1be"), decode(8, b"\\x044\\x040"), decode(3, b"\\xe9")
    ('5 €', 'да', 'é')
    """
    encoding = default if data_coding == 0 else encoding_of(data_coding)
    if encoding is Encoding.GSM7:
        return "".join(_gsm_characters(octets))
    if encoding is Encoding.UCS2:
        return octets.decode("utf-16-be", "replace")
    return octets.decode("latin-1")


def _gsm_characters(octets: bytes) -> Iterator[str]:
    """Septet by septet; an escape without a known extension shows the basic character (TS 23.038, 6.2.1.1)."""
    escaped = False
    for septet in octets:
        if escaped:
            escaped = False
            yield EXTENSION.get(septet) or (" " if septet == ESCAPE else _FROM_GSM.get(septet, "\ufffd"))
        elif septet == ESCAPE:
            escaped = True
        else:
            yield _FROM_GSM.get(septet, "\ufffd")
    if escaped:
        yield " "


@dataclass(frozen=True, slots=True)
class Measure:
    """How long a text is: `units` of its encoding, messages needed, and units still free in that number of messages."""

    encoding: Encoding
    units: int
    parts: int
    room: int


def measure(text: str, encoding: Encoding | None = None, *, wide: bool = False) -> Measure:
    """How many messages the text takes, and what is left in them. Same choice of encoding, same errors as `encode`.

    Put together what will be sent and measure that: one character outside GSM-7 changes the unit of the whole.

    >>> measure("a" * 160)
    Measure(encoding=<Encoding.GSM7: (0, 160, 153, 152)>, units=160, parts=1, room=0)
    >>> measure("a" * 161).parts, measure("a" * 161).room, measure("д" * 60).room
    (2, 145, 10)
    """
    chosen, octets = _choose(text, encoding)
    units = len(octets) // chosen.unit
    if units <= chosen.single:
        return Measure(chosen, units, 1, chosen.single - units)
    cuts = cut(octets, chosen, wide=wide)
    limit = chosen.wide if wide else chosen.part
    return Measure(chosen, units, len(cuts), limit - len(cuts[-1]) // chosen.unit)


def room(text: str, parts: int, encoding: Encoding | None = None, *, wide: bool = False) -> int:
    """Units that may still follow the text within that many messages; negative: what is too much.

    At most one unit of each further part may be lost to a character of two units; `measure` the whole to be exact.

    >>> room("a" * 150, 1), room("a" * 150, 2), room("a" * 170, 1)
    (10, 156, -10)
    """
    chosen, octets = _choose(text, encoding)
    units = len(octets) // chosen.unit
    if parts == 1:
        return chosen.single - units
    limit = chosen.wide if wide else chosen.part
    cuts = cut(octets, chosen, wide=wide)
    return (parts - len(cuts) + 1) * limit - len(cuts[-1]) // chosen.unit


def cut(octets: bytes, encoding: Encoding, *, wide: bool = False) -> list[bytes]:
    """The octets in pieces that leave room for a concatenation header, never inside an escape or a surrogate pair."""
    size = (encoding.wide if wide else encoding.part) * encoding.unit
    pieces = []
    at = 0
    while len(octets) - at > size:
        end = at + size
        if _inside_character(octets, end, encoding):
            end -= encoding.unit
        pieces.append(octets[at:end])
        at = end
    return [*pieces, octets[at:]]


def _inside_character(octets: bytes, at: int, encoding: Encoding) -> bool:
    """Whether a cut before `at` would part an escape from its septet, or a high surrogate from its low one."""
    if encoding is Encoding.GSM7:
        return octets[at - 1] == ESCAPE
    return encoding is Encoding.UCS2 and 0xD8 <= octets[at - 2] <= 0xDB
