"""Words of a reply as people really type them: whatever their case, accents, spacing, marks and digit forms."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# What Unicode does not decompose, and Arabic and Persian letters that are typed for one another.
_ALIKE: Final = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i"}
    | {"ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه", "ـ": "", "ٱ": "ا"}
)
_TOKEN: Final = re.compile(r"\d+|[^\W\d_]+")
_SPACED_OUT: Final = re.compile(r"\b[^\W\d_](?:[ \t]+[^\W\d_])+\b")  # Y E S


def fold(text: str) -> str:
    """The text without case, accents, Arabic vowel signs and digit forms (`١` is 1), compatibility forms made plain.

    >>> fold("  Où ÉCOUTER ?"), fold("نَعَمْ ١"), fold("ＹＥＳ")
    ('  ou ecouter ?', 'نعم 1', 'yes')
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(map(_plain, text)).translate(_ALIKE)


def _plain(char: str) -> str:
    """A digit as ASCII; nothing for marks and invisible format characters; all else as it is."""
    if char.isascii():
        return char
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    return "" if category[0] == "M" or category == "Cf" else char


def tokens(text: str) -> tuple[str, ...]:
    """The words and numbers of a text: runs of letters, runs of digits; letters spaced out are one word.

    >>> tokens("YES1, please!"), tokens("Y E S"), tokens("?")
    (('yes', '1', 'please'), ('yes',), ())
    """
    return tuple(_TOKEN.findall(_SPACED_OUT.sub(lambda found: "".join(found[0].split()), fold(text))))
