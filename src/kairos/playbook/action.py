"""What can be said: an action with its variants, its rules and its treatments. "Offer" is an action with a price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kairos.domain.purpose import Purpose
from kairos.playbook.budget import Budget
from kairos.playbook.margin import Floor
from kairos.rules import Condition

ActionKind = Literal["sell", "care", "advance", "gift", "promise"]
Stage = Literal["eligible", "relevant", "suitable"]


@dataclass(frozen=True)
class NamedRule:
    """A rule under the name that explanations, metrics and tests show: its reason code."""

    name: str
    condition: Condition
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class ArmRule:
    """A rule of an action, bound to one variant's own fields."""

    stage: Stage
    rule: NamedRule


@dataclass(frozen=True)
class Repurchase:
    """When an offer may be bought again: after what it gave has ended, or so often in a sliding window."""

    after_expiry: bool = False
    at_most: int = 0  # 0: purchases are not counted
    per: int = 0  # ms; -1: ever


@dataclass(frozen=True)
class Variant:
    """One size, validity or price of an action; money in minor units."""

    name: str
    price: int
    value: int  # what a yes is worth to the operator
    product: str  # the operator's catalogue id, or empty
    fields: Mapping[str, Any] = field(default_factory=dict)  # size, validity, ... as messages show them
    rules: tuple[ArmRule, ...] = ()  # eligible, relevant, suitable, in this order
    redeemed_when: Condition | None = None  # a promise: what the qualifying event must meet
    lasts: int = 0  # how long its product is valid, ms; 0: its validity names no duration
    products: tuple[str, ...] = ()  # all of a bundle, `product` first
    cost: int | None = None  # what a yes costs the operator, where it is known


@dataclass(frozen=True)
class Treatment:
    """Which channel, and the name of the message. Channel `notification` is a line that rides; the rest stand alone."""

    name: str
    channel: str
    message: str
    fallback: str = ""  # the channel of what is said in its place where a dialogue came to nothing


@dataclass(frozen=True)
class Action:
    name: str
    kind: ActionKind
    title: str  # may use the variant's fields: "{size} for {validity}"
    issue: str
    variants: tuple[Variant, ...]
    answers: Mapping[str, int]  # event kind -> how old the moment may be, ms (-1: always)
    treatments: tuple[Treatment, ...]
    accept_within: int
    after_decline: int  # ms in which it is not said again after a no; -1: never again
    weight: float = 1.0
    charges: bool = False
    provisions: bool = False
    redeemed_by: str = ""  # a promise: the kind of the qualifying event
    send_within: int = 600_000  # an own message is dropped when it could not be sent within this, ms
    not_with: tuple[str, ...] = ()  # products beside which it makes no sense
    excludes: tuple[str, ...] = ()  # actions that are not said while this one is open or theirs, and the other way
    repurchase: Repurchase = Repurchase()
    payer: str = ""  # a sponsor's account that is charged instead of the subscriber
    paid_by: str = ""  # the attribute with the MSISDN that is
    twice: bool = False  # a yes is asked for twice
    tax: int = 0  # the rate that its prices include, in parts of `domain.money.WHOLE`
    purpose: Purpose = "marketing"
    issue_after_decline: int = 0  # nor anything about its issue
    all_after_decline: int = 0  # nor anything else
    budgets: tuple[Budget, ...] = ()  # what each offer of it is reserved in
    margin_floor: Floor | None = None  # of its own
    control: float = 0.0  # share of subscribers to whom it is never said, so that its own effect can be measured
    file: str = ""
    line: int = 0

    @property
    def taken_by_reply(self) -> bool:
        """Whether a subscriber can say yes to it: a promise is taken by its event, and an advice is only said."""
        return self.kind != "promise" and (self.charges or self.provisions)

    @property
    def makes_offer(self) -> bool:
        """Whether there is something to take or to redeem; else it is only said, and nobody can answer."""
        return self.taken_by_reply or self.kind == "promise"
