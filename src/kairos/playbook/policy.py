"""The contact policy: one for every channel and every path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kairos.domain.purpose import minding
from kairos.playbook.action import Action, NamedRule
from kairos.playbook.margin import Floor
from kairos.rules import Condition


@dataclass(frozen=True)
class Limit:
    """At most so many contacts per window, of those that match every filter that is set.

    It slides, and is `per` ms long; or is an hour, day, week or month of the `calendar`, at most `per` ms long.

    `unanswered`: it counts the contacts since they last answered anything, whenever that was. Where as many as
    `at_most` have gone without an answer, the next must wait until `per` after the latest of them.
    """

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
    purposes: tuple[str, ...] = minding("limits")
    calendar: str = ""
    unanswered: bool = False


@dataclass(frozen=True)
class Gate(NamedRule):
    """A consent or a pause: the purposes that mind it, on which channels (none: all), and issues that it lets pass.

    A consent to the use of data concerns what reads words of its `source`. A register is lifted as a pause is, where
    its rule is FALSE, or where `unless` is TRUE.
    """

    purposes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()
    source: str = ""
    unless: Condition | None = None
    numbers: str = ""  # the file of those on it, in place of a rule


DAY = 24 * 60  # minutes
WEEK = 7 * DAY

KEPT = 400 * 86_400_000  # ms; no contact is kept for longer

Window = tuple[tuple[int, int], ...]  # the spans in which it is open, in minutes since Monday 00:00


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
    """What each purpose minds where nothing is said stands in `domain.purpose`.

    Quiet hours (minutes of the local day, start to end) bind own messages only.
    """

    contact_only_when: tuple[Gate, ...] = ()
    opt_out: bool = False  # of the market: an unknown consent is a yes
    data_only_when: tuple[Gate, ...] = ()
    registers: tuple[Gate, ...] = ()
    pause_while: tuple[Gate, ...] = ()
    quiet_hours: tuple[int, int] | None = None
    quiet_for: tuple[str, ...] = minding("quiet hours")  # and windows
    windows: Mapping[str, Window] = field(default_factory=dict)  # by channel: when messages of their own may go out
    limits: tuple[Limit, ...] = ()
    saturation: tuple[Limit, ...] = ()  # the `unanswered` ones
    say_first: tuple[str, ...] = ()  # offers, offer/variants and issues that go before the rest of their purpose
    margin_floor: Floor | None = None  # of all that is sold
    holdout: float = 0.0  # share of subscribers, 0..1
    holdout_of: tuple[str, ...] = minding("holdout")
    holdout_list: bool = False  # who asks is told what all may have, in the order of its worth; else nothing of these
    freezes: tuple[Freeze, ...] = ()
    after_sim_swap: int = 0  # ms in which no reply charges; 0: a change of SIM matters not
    declined_by: tuple[tuple[str, str], ...] = ()  # events, each with its field that names what was declined
    bought_by: tuple[tuple[str, str], ...] = ()  # and what was bought through another door
    returned_by: tuple[tuple[str, str], ...] = ()  # and what was given back there
    templates_required: bool = False  # every text of a treatment has a template id, and every sender an entity's
    addresses: Mapping[str, str] = field(default_factory=dict)  # by channel: the attribute with theirs; else the MSISDN
    stop_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by channel: what a STOP there withdraws
    confirm_above: int | None = None  # minor units: a yes that charges more is asked for twice

    @property
    def consents(self) -> tuple[Gate, ...]:
        """To be spoken to, and to what is known being used."""
        return (*self.contact_only_when, *self.data_only_when)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """All of them, in the order in which they are asked."""
        return (*self.consents, *self.registers, *self.pause_while)

    @property
    def asked(self) -> frozenset[str]:
        """The words that say whether somebody has agreed."""
        agreed = [gate.condition.names for gate in self.consents]
        return frozenset[str]().union(*agreed, *(gate.unless.names for gate in self.registers if gate.unless))

    def asks_twice(self, action: Action, price: int) -> bool:
        """Whether a yes to a variant at this price must be said again."""
        dear = self.confirm_above is not None and price > self.confirm_above
        return action.taken_by_reply and (action.twice or (dear and action.charges))


def window_name(channel: str) -> str:
    """How a refusal names the window of a channel that is closed."""
    return f"window of {channel}"
