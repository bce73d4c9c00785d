"""What one revision of a playbook compiles to for this room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kairos.playbook.playbook import Playbook
from kairos.playbook.vocabulary import Vocabulary
from kairos.respond.words import ShortCode, compile_short_code

Holds = Callable[[Sequence[Any]], bool]


@dataclass(frozen=True, slots=True)
class Replies:
    """How replies are understood at each short code, and promises by their rules.

    `rules` remembers what stored rules compiled to. `unreadable` says which of them this vocabulary cannot read, and
    why: their promises cannot be redeemed while it runs, which somebody should know.
    """

    short_codes: Mapping[str, ShortCode]
    vocabulary: Vocabulary
    rules: dict[str, Holds] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def compile_replies(playbook: Playbook) -> Replies:
    """Fold and index every word of a playbook once."""
    short_codes = {code: compile_short_code(words, playbook.languages) for code, words in playbook.replies.items()}
    return Replies(short_codes, playbook.vocabulary)
