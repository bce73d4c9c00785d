"""Words of a reply, as people really type them: in any case, with or without accents, spaces and marks."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """The text with everything taken off in which two spellings of one word may differ.

    Case, accents (vowel signs and hamza too), spaces, invisible characters, and marks around the word; digits of any
    script become 0 to 9.

    >>> fold(" Ouï ! "), fold("N O"), fold("نَعَم"), fold("٢"), fold("?")
    ('oui', 'no', 'نعم', '2', '?')
    """
    letters = [_folded(character) for character in unicodedata.normalize("NFKD", text.casefold())]
    bare = "".join(letters)
    marks = {character for character in bare if unicodedata.category(character).startswith("P")}
    return bare.strip("".join(marks)) or bare


def _folded(character: str) -> str:
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    category = unicodedata.category(character)
    gone = category[0] in "MZ" or category in ("Cc", "Cf") or character == "\u0640"  # tatweel only stretches a word
    return "" if gone else character
