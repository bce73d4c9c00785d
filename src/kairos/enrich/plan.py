"""What a vocabulary compiles to: places and ready functions, so that no name is looked up twice per event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from kairos.domain.event import Event
from kairos.domain.subscriber import SCHEMA, State
from kairos.enrich.counters import EMPTY, Total, total_of
from kairos.enrich.fold import Fold, compile_fold
from kairos.enrich.local_time import Zones
from kairos.enrich.row import MakeRow, compile_row, first_bucket
from kairos.playbook.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled vocabulary. Treat it as opaque; `layout` is the one that a state must have, or be migrated to."""

    vocabulary: Vocabulary
    layout: str
    folds: dict[str, Fold]
    rows: dict[str, MakeRow]
    plain_row: MakeRow  # of a moment that no event made
    places: dict[str, int]  # of the stored attributes
    totals: tuple[Total, ...]  # what each counter's buckets make
    first_buckets: Callable[[int], Sequence[int]]  # by now (ms): each counter's oldest in its window
    carries: dict[str, Any] = field(default_factory=dict)  # how to migrate, by the old layout (empty: unknown)


def compile_plan(vocabulary: Vocabulary, time_zone: str) -> Plan:
    """Compile a vocabulary; `time_zone` (IANA) holds for whoever has no valid attribute `time_zone` of their own.

    Raises ValueError where the time zone is unknown.
    """
    zones = Zones(time_zone)
    places = {a.name: i for i, a in enumerate(vocabulary.attributes.values()) if not a.derived}
    windows = tuple((counter.over, counter.step) for counter in vocabulary.counters.values())

    @lru_cache(maxsize=8)  # a batch has one now
    def first_buckets(now: int) -> Sequence[int]:
        return [first_bucket(over, step, now) for over, step in windows]

    return Plan(
        vocabulary=vocabulary,
        layout=vocabulary.layout,
        folds={kind: compile_fold(vocabulary, kind) for kind in vocabulary.events},
        rows={kind: compile_row(vocabulary, kind, zones) for kind in vocabulary.events},
        plain_row=compile_row(vocabulary, "", zones),
        places=places,
        totals=tuple(total_of(counter.function) for counter in vocabulary.counters.values()),
        first_buckets=first_buckets,
    )


def new_state(plan: Plan, id: int, msisdn: str, now: int) -> State:  # noqa: A002
    """A subscriber of whom nothing is known, consent included; defaults are applied when a row is made."""
    attributes, counters = len(plan.vocabulary.attributes), len(plan.vocabulary.counters)
    return State(
        schema=SCHEMA,
        id=id,
        msisdn=msisdn,
        layout=plan.layout,
        created=now,
        attributes=[None] * attributes,
        stamps=[0] * attributes,
        counters=list(EMPTY * counters),
        past=[b""] * counters,
    )


def fold(plan: Plan, state: State, event: Event) -> None:
    """Fold one new event into the state handed in (the batch's own copy); an unknown kind changes nothing.

    The result does not depend on the order of events that happened at different times.
    """
    folding = plan.folds.get(event.kind)
    if folding is not None:
        folding(state, event.data, event.happened)


def set_attribute(plan: Plan, state: State, name: str, value: Any, happened: int) -> None:
    """Set a stored attribute as if an event had said so at `happened` (ms): an older word never overrules a newer one.

    Raises KeyError where the vocabulary stores no such attribute.
    """
    place = plan.places[name]
    if state.stamps[place] <= happened:
        state.attributes[place] = value
        state.stamps[place] = happened


def row(plan: Plan, state: State, kind: str, data: Mapping[str, Any], happened: int, now: int) -> tuple[Any, ...]:
    """The values of `vocabulary.columns`, in their order; None is unknown.

    - An attribute that is unknown has its default.
    - A wallet's total counts its buckets that have not expired at `now`; it is unknown until the wallet was announced.
      The soonest expiry is that of non-empty buckets that expire at all; without one it is unknown.
    - What is usual of their answers is unknown until there are three.
    - A counter covers (now - over, now], exact to its step: time is cut into buckets of `step` ms since the epoch, and
      every bucket counts whole that has a part in the window. An event therefore counts for at least `over`, and for
      less than one `step` longer. Sums and counts of nothing are 0, minimum and maximum unknown.
    - Fields of other kinds of event are unknown; with a kind outside the vocabulary (`inbound`) all are.
    - `now` is the instant, `local` the wall clock where the subscriber is, both in ms.
    """
    return plan.rows.get(kind, plan.plain_row)(state, data, happened, now)
