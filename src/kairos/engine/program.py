"""Everything that one revision of a playbook compiles to, for every room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kairos import decide, deliver, enrich, respond
from kairos.playbook.playbook import Playbook


@dataclass(frozen=True)
class Program:
    """One playbook, ready to run. A running engine swaps it whole, between two batches."""

    playbook: Playbook
    plan: enrich.Plan
    decide: decide.Program
    messages: deliver.Messages
    replies: respond.Replies

    @property
    def short_code(self) -> str:
        """Where offers ask to be answered when the notification's own sender is no short code of ours."""
        return next(iter(self.playbook.replies), "")

    def language(self, row: Sequence[Any]) -> str:
        """The language that a subscriber asked for, or an empty text where the vocabulary or the state has none."""
        place = self.decide.columns.index("language") if "language" in self.playbook.vocabulary.attributes else -1
        language = row[place] if place >= 0 else None
        return language if isinstance(language, str) else ""


def compile_program(playbook: Playbook) -> Program:
    """Compile every room's part."""
    return Program(
        playbook,
        enrich.compile_plan(playbook.vocabulary, playbook.time_zone),
        decide.compile_program(playbook),
        deliver.compile_messages(playbook),
        respond.compile_replies(playbook),
    )
