"""LIKE without a way to run long: the pattern is cut at its `%` into pieces of fixed length, found from left to right.

Each piece can match in one way only, so nothing is ever tried again: the cost is at most text length x pattern length.
"""

from __future__ import annotations

import re
from collections.abc import Callable


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches a LIKE pattern: `%` stands for any text, `_` for one character; there is no escape.

    >>> matcher("pre%d_")("prepaid+"), matcher("a%a")("a")
    (True, False)
    """
    head, *rest = (_piece(piece) for piece in pattern.split("%"))
    if not rest:
        return lambda text: head.fullmatch(text) is not None
    *middle, tail = rest
    tail_length = len(pattern) - pattern.rindex("%") - 1

    def matches(text: str) -> bool:
        found = head.match(text)
        end = len(text) - tail_length
        for piece in middle:
            if found is None:
                return False
            found = piece.search(text, found.end(), max(end, 0))
        return found is not None and found.end() <= end and tail.match(text, end) is not None

    return matches


def _piece(piece: str) -> re.Pattern[str]:
    """A piece without `%`, as a regular expression in which nothing repeats."""
    return re.compile("".join("." if letter == "_" else re.escape(letter) for letter in piece), re.DOTALL)
