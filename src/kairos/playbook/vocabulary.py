"""The only words that a rule, a message or a journey may use."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeGuard, get_args

from kairos.rules import Condition, Type

FieldType = Literal["text", "number", "money", "boolean", "date", "time", "balances", "products"]
Source = Literal["usage", "dpi", "location"]  # what a law may ask a consent for, before it is looked at
Habit = Literal["hours_away", "channel"]  # of the hour and the channel of their answers
CounterFunction = Literal["sum", "count", "max", "min"]


def is_column(kind: FieldType) -> TypeGuard[Type]:
    """Whether a field of this type is a value that rules read; balances and products fold into the state."""
    return kind not in ("balances", "products")


@dataclass(frozen=True)
class Wallet:
    """A kind of balance: `unit` is `money` or a unit's name (MB, min); amounts are integers of 10**-digits of it."""

    name: str
    unit: str
    digits: int
    means: str = ""


@dataclass(frozen=True)
class Attribute:
    """A value of a subscriber.

    Stored attributes are set by the event fields in `sources` (event kind, field); the field `happened` is the event's
    time. Derived ones are computed from balance buckets when they are asked for: `total` of a wallet's unexpired
    buckets (money: minor units; else units), or hours until the `soonest_expiry` of a non-empty bucket of any of those
    wallets; or from their answers, what is `usual`: how many hours (0 to 12) now is from the hour of most of them, or
    the channel of most of what they answered. What is `owed` grows with every advance that is fulfilled; events say
    what is left of it.
    """

    name: str
    type: Type
    means: str = ""
    default: Any = None
    sources: tuple[tuple[str, str], ...] = ()
    total: str = ""
    soonest_expiry: tuple[str, ...] = ()
    owed: bool = False
    uses: tuple[str, ...] = ()  # data of these sources
    usual: Habit | None = None

    @property
    def derived(self) -> bool:
        return bool(self.total or self.soonest_expiry or self.usual)


@dataclass(frozen=True)
class Counter:
    """A sliding count, sum, maximum or minimum of an event's field over a window of `over` ms, exact to `step` ms."""

    name: str
    function: CounterFunction
    event: str
    field: str  # empty for count
    over: int
    step: int
    type: Type
    where: Condition | None = None  # over the event's own fields, by their dotted names
    means: str = ""
    uses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """Events with their fields, wallets, attributes and counters, in the order in which they were written."""

    events: Mapping[str, Mapping[str, FieldType]]
    wallets: Mapping[str, Wallet] = field(default_factory=dict)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    counters: Mapping[str, Counter] = field(default_factory=dict)

    @cached_property
    def owed(self) -> str:
        """The attribute that holds what is owed for advances; empty where there is none."""
        return next((attribute.name for attribute in self.attributes.values() if attribute.owed), "")

    @cached_property
    def habitual(self) -> bool:
        """Whether any word is of their habits, so that answers must be counted."""
        return any(attribute.usual for attribute in self.attributes.values())

    @cached_property
    def sources(self) -> dict[str, frozenset[str]]:
        """The names that data of each source stands behind."""
        words: tuple[Attribute | Counter, ...] = (*self.attributes.values(), *self.counters.values())
        return {source: frozenset(w.name for w in words if source in w.uses) for source in get_args(Source)}

    def made_of(self, word: str) -> tuple[tuple[str, str], ...]:
        """The event fields that an attribute or a counter is made of, those of a counter's `where` among them."""
        if word in self.attributes:
            return self.attributes[word].sources
        counter = self.counters[word]
        asked = [name.partition(".") for name in (counter.where.names if counter.where else ())]
        return ((counter.event, counter.field), *((kind, field) for kind, _, field in asked))

    @cached_property
    def names(self) -> dict[str, Type]:
        """Every column of a row and its type, in its order: attributes, counters, event fields, now, local."""
        names: dict[str, Type] = {name: attribute.type for name, attribute in self.attributes.items()}
        names |= {name: counter.type for name, counter in self.counters.items()}
        for kind, fields in self.events.items():
            names |= {f"{kind}.{name}": kind_ for name, kind_ in fields.items() if is_column(kind_)}
        return names | {"now": "time", "local": "time"}

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.names)

    @cached_property
    def layout(self) -> str:
        """A digest of what a stored state depends on: attributes, counters and wallets, in order."""
        parts = [f"{a.name}:{a.type}" for a in self.attributes.values()]
        parts += [definition(c) for c in self.counters.values()]
        parts += [f"{w.name}:{w.unit}:{w.digits}" for w in self.wallets.values()]
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=6).hexdigest()


def definition(counter: Counter) -> str:
    """What a counter counts, as text: where it changes, the counter starts anew."""
    where = counter.where.key if counter.where else ""
    return f"{counter.name}={counter.function}({counter.event}.{counter.field})/{counter.over}/{counter.step}/{where}"
