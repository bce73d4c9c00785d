"""What a vocabulary compiles to: places and ready functions, so that no name is looked up twice per event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from kairos.domain.subscriber import State
from kairos.enrich.local_time import Zones
from kairos.enrich.row import MakeRow, compile_row, wallet_scale
from kairos.playbook.vocabulary import Counter, Vocabulary
from kairos.rules import compile_true

LARGEST: Final = 2**53  # a bucket of a money sum stops here, so that a thousand of them still fit in 64 bits


class Source(NamedTuple):
    """An attribute that a field of this event sets."""

    attribute: int
    field: str
    wallet: str  # the field is a list of balances, and this wallet's total in it is meant
    scale: int  # of that wallet; 0: money, which stays an int


class Tally(NamedTuple):
    """A counter that this event adds to."""

    counter: int
    field: str  # empty: each event counts 1
    step: int
    merge: Callable[[Any, Any], Any]  # how two values of one bucket become one
    where: Callable[[Sequence[Any]], bool] | None  # over the values of `KindPlan.fields`


class KindPlan(NamedTuple):
    """What an event of one kind does to a state."""

    fields: tuple[str, ...]  # that are columns
    balances: tuple[str, ...]
    sources: tuple[Source, ...]
    tallies: tuple[Tally, ...]
    asks: bool  # at least one tally has a condition


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled vocabulary. Treat it as opaque; `layout` is the one that a state must have, or be migrated to."""

    vocabulary: Vocabulary
    layout: str
    kinds: dict[str, KindPlan]
    rows: dict[str, MakeRow]
    plain_row: MakeRow  # of a moment that no event made
    places: dict[str, int]  # of the stored attributes
    windows: tuple[tuple[int, int], ...]  # over and step of each counter
    carries: dict[str, Any] = field(default_factory=dict)  # how to migrate, by the old layout (empty: unknown)


def compile_plan(vocabulary: Vocabulary, time_zone: str) -> Plan:
    """Compile a vocabulary; `time_zone` (IANA) holds for whoever has no valid attribute `time_zone` of their own.

    Raises ValueError where the time zone is unknown.
    """
    zones = Zones(time_zone)
    places = {a.name: i for i, a in enumerate(vocabulary.attributes.values()) if not a.derived}
    return Plan(
        vocabulary=vocabulary,
        layout=vocabulary.layout,
        kinds={kind: _kind_plan(vocabulary, kind, places) for kind in vocabulary.events},
        rows={kind: compile_row(vocabulary, kind, zones) for kind in vocabulary.events},
        plain_row=compile_row(vocabulary, "", zones),
        places=places,
        windows=tuple((counter.over, counter.step) for counter in vocabulary.counters.values()),
    )


def new_state(plan: Plan, id: int, msisdn: str, now: int) -> State:  # noqa: A002
    """A subscriber of whom nothing is known, consent included; defaults are applied when a row is made."""
    count = len(plan.vocabulary.attributes)
    return State(id, msisdn, plan.layout, now, [None] * count, [0] * count, [[] for _ in plan.windows])


def row(plan: Plan, state: State, kind: str, data: Mapping[str, Any], happened: int, now: int) -> tuple[Any, ...]:
    """The values of `vocabulary.columns`, in their order; None is unknown.

    - An attribute that is unknown has its default.
    - A wallet's total counts its buckets that have not expired at `now`; it is unknown until the wallet was announced.
      The soonest expiry is that of non-empty buckets that expire at all; without one it is unknown.
    - A counter covers (now - over, now], exact to its step: time is cut into buckets of `step` ms since the epoch, and
      every bucket counts whole that has a part in the window. An event therefore counts for at least `over`, and for
      less than one `step` longer. Sums and counts of nothing are 0, minimum and maximum unknown.
    - Fields of other kinds of event are unknown; with a kind outside the vocabulary (`inbound`) all are.
    - `now` is the instant, `local` the wall clock where the subscriber is, both in ms.
    """
    return plan.rows.get(kind, plan.plain_row)(state, data, happened, now)


def _kind_plan(vocabulary: Vocabulary, kind: str, places: dict[str, int]) -> KindPlan:
    fields = tuple(name for name, type_ in vocabulary.events[kind].items() if type_ != "balances")
    columns = tuple(f"{kind}.{name}" for name in fields)
    tallies = tuple(
        _tally(i, counter, columns) for i, counter in enumerate(vocabulary.counters.values()) if counter.event == kind
    )
    return KindPlan(
        fields=fields,
        balances=tuple(name for name, type_ in vocabulary.events[kind].items() if type_ == "balances"),
        sources=tuple(
            _source(vocabulary, places[attribute.name], source)
            for attribute in vocabulary.attributes.values()
            for source_kind, source in attribute.sources
            if source_kind == kind and not attribute.derived
        ),
        tallies=tallies,
        asks=any(tally.where for tally in tallies),
    )


def _source(vocabulary: Vocabulary, attribute: int, path: str) -> Source:
    name, _, wallet = path.partition(".")
    return Source(attribute, name, wallet, wallet_scale(vocabulary, wallet) if wallet else 0)


def _tally(place: int, counter: Counter, columns: tuple[str, ...]) -> Tally:
    where = compile_true(counter.where, columns) if counter.where else None
    merge = {"sum": _sum_money if counter.type == "money" else _sum, "count": _sum, "max": max, "min": min}
    return Tally(place, counter.field, counter.step, merge[counter.function], where)


def _sum(left: float, right: float) -> float:
    return left + right


def _sum_money(left: int, right: int) -> int:
    return max(-LARGEST, min(LARGEST, left + right))
