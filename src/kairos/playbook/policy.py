"""The contact policy: one for every channel and every path."""

from __future__ import annotations

from dataclasses import dataclass

from kairos.playbook.action import Action, NamedRule


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
    shared: bool = False  # contacts with every number of the account count


WEEK = 7 * 24 * 60  # minutes


@dataclass(frozen=True)
class Freeze:
    """When nothing is said: once, from `start` to `end` (ms, UTC), or every week.

    Of a weekly one they are minutes since Monday 00:00 of the wall clock in `zone`, and it may go over Sunday night.
    No channels, no issues: all of them.
    """

    why: str
    start: int
    end: int
    weekly: bool
    zone: str
    channels: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()
    except_care: bool = True


@dataclass(frozen=True)
class ContactPolicy:
    """Consent, pauses and freezes close all but care; a freeze may close care too.

    Quiet hours (minutes of the local day, start to end) bind own messages only.
    """

    contact_only_when: tuple[NamedRule, ...] = ()
    pause_while: tuple[NamedRule, ...] = ()
    quiet_hours: tuple[int, int] | None = None
    limits: tuple[Limit, ...] = ()
    holdout: float = 0.0  # share of subscribers, 0..1
    freezes: tuple[Freeze, ...] = ()
    after_sim_swap: int = 0  # ms in which no reply charges; 0: a change of SIM matters not
    confirm_above: int | None = None  # minor units: a yes that charges more is asked for twice

    def asks_twice(self, action: Action, price: int) -> bool:
        """Whether a yes to a variant at this price must be said again."""
        dear = self.confirm_above is not None and price > self.confirm_above
        return action.taken_by_reply and (action.twice or (dear and action.charges))
