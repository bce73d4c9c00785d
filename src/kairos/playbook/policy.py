"""The contact policy: one for every channel and every path."""

from __future__ import annotations

from dataclasses import dataclass

from kairos.playbook.action import NamedRule


@dataclass(frozen=True)
class Limit:
    """At most so many contacts per sliding window (ms), of those that match every filter that is set."""

    name: str
    at_most: int
    per: int
    riding: bool | None = None
    channel: str = ""
    action: str = ""
    issue: str = ""
    # `each` limits are counted for each offer or issue on its own: "action" or "issue"
    each: str = ""


@dataclass(frozen=True)
class ContactPolicy:
    """Consent and pauses close all but care.

    Quiet hours (minutes of the local day, start to end) bind own messages only.
    """

    contact_only_when: tuple[NamedRule, ...] = ()
    pause_while: tuple[NamedRule, ...] = ()
    quiet_hours: tuple[int, int] | None = None
    limits: tuple[Limit, ...] = ()
    holdout: float = 0.0  # share of subscribers, 0..1
