"""What stands in braces in a text: `{size} for {price}`."""

from __future__ import annotations

import re
from collections.abc import Mapping

# What the room that fills messages reads: plain (dotted) names; doubled braces stand for themselves.
_PART = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*(?:\.\w+)*)\}")


def placeholders(text: str) -> tuple[str, ...]:
    """The names in braces, in their order.

    >>> placeholders("Reply {number}: {size} for {price}")
    ('number', 'size', 'price')
    """
    return tuple(match[1] for match in _PART.finditer(text) if match[1])


def stray(text: str) -> bool:
    """Whether a brace stands alone: neither around a name nor doubled.

    >>> stray("{size"), stray("{size}"), stray("{{")
    (True, False, False)
    """
    rest = _PART.sub("", text)
    return "{" in rest or "}" in rest


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders replaced; one without a value stays as it stands."""
    return _PART.sub(lambda match: values.get(match[1], match[0]) if match[1] else match[0][0], text)
