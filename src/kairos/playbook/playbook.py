"""The playbook as one immutable value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kairos.domain.money import Currency
from kairos.playbook.action import Action
from kairos.playbook.budget import Budget
from kairos.playbook.policy import ContactPolicy
from kairos.playbook.replies import ReplyWords
from kairos.playbook.ussd import Menus
from kairos.playbook.vocabulary import Vocabulary

# Messages that kairos itself says in answer to a reply; every playbook has each of them.
# Placeholders: {title} {price} {number} {expires} {short_code} where an offer is concerned.
ANSWERS = (
    "confirmed",  # fulfilled
    "refused_funds",  # not enough balance
    "refused",  # the counterpart said no for another reason
    "expired",  # too late
    "already_taken",
    "declined",  # a polite acknowledgement
    "stopped",  # consent withdrawn
    "help",  # unclear
    "which_one",  # an accept with several open offers and no number
    "nothing_open",
)

# Messages that a playbook may have, and needs only where it says what leads to them.
MAY_ANSWER = (
    "confirm",  # the question for a second yes
    "sim_changed",  # a yes that is not taken, because the SIM has just changed; without it, `refused`
    "refunded",  # taken, charged, and given back; without it, `refused`
)


@dataclass(frozen=True, slots=True)
class Beside:
    """What a text has beside it, for the channels that can show it; each may have placeholders but the media."""

    subject: str = ""
    html: str = ""
    media: str = ""


@dataclass(frozen=True)
class PlaybookTest:
    """A marketer's own test: given a profile, when an event happens, then this is chosen, or nothing, and why not."""

    name: str
    given: Mapping[str, Any]  # column -> typed value
    event: str
    data: Mapping[str, Any]
    offer: str  # the expected action; "none" for nothing
    variant: str = ""
    because: Mapping[str, str] = field(default_factory=dict)  # action -> reason it was refused for
    at: str = ""  # local time, ISO; default: a weekday noon
    riding: bool | None = None  # whether a notification is there to ride on; None: where an answering action can ride
    file: str = ""
    line: int = 0
    products: tuple[str, ...] = ()  # that they have, bought just now where an offer sells them
    taken: Mapping[str, int] = field(default_factory=dict)  # of budgets, before
    declined: Mapping[str, int] = field(default_factory=dict)  # action -> how long ago they said no to it, ms
    unanswered: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # action -> how long ago they were told, ms
    dial: str = ""  # a code, instead of an event
    press: tuple[str, ...] = ()  # the keys after it
    shows: str = ""  # what then stands on the screen


@dataclass(frozen=True)
class Tester:
    """A test subscriber. `offer`: the action, or action/variant, that they shall get; empty for what is best."""

    name: str
    msisdn: str
    offer: str = ""


@dataclass(frozen=True)
class Playbook:
    """What a folder of YAML compiled to.

    `revision` is a hash of its texts; `messages`: name -> language -> texts, longest first.
    """

    name: str
    revision: str
    texts: Mapping[str, str]  # path in the folder -> content
    currency: Currency
    languages: tuple[str, ...]  # the first is the fallback
    time_zone: str
    vocabulary: Vocabulary
    actions: tuple[Action, ...]
    messages: Mapping[str, Mapping[str, tuple[str, ...]]]
    policy: ContactPolicy
    replies: Mapping[str, ReplyWords]  # short code -> words
    tests: tuple[PlaybookTest, ...] = ()
    seed: str = "kairos"  # salts the holdout and draws
    testers: tuple[Tester, ...] = ()
    budgets: tuple[Budget, ...] = ()  # of budgets.yaml
    template_ids: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)  # as messages; "": none
    ussd: Menus | None = None
    beside: Mapping[str, Mapping[str, tuple[Beside, ...]]] = field(default_factory=dict)  # of messages that have any

    def written(self, message: str) -> Iterator[str]:
        """All that is written in a message, in any language: its texts, and what they have beside them."""
        for by_language in (self.messages[message], self.beside.get(message, {})):
            for texts in by_language.values():
                for one in texts:
                    yield from (one,) if isinstance(one, str) else (one.subject, one.html)

    def action(self, name: str | None) -> Action | None:
        """The action of that name, if there is one."""
        return next((action for action in self.actions if action.name == name), None)
