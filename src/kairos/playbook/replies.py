"""How an answer by text is understood, per short code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReplyWords:
    """Words per language (accept, decline, stop, help) and what else may arrive at a short code."""

    short_code: str
    accept: Mapping[str, tuple[str, ...]]
    decline: Mapping[str, tuple[str, ...]]
    stop: Mapping[str, tuple[str, ...]]
    help: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    withdraws: tuple[str, ...] = ()  # boolean attributes that STOP sets to false: its scope
    other_services: Mapping[str, str] = field(default_factory=dict)  # first word -> account it is relayed to, unchanged
    entity_id: str = ""  # of the sender, where the regulator wants one
