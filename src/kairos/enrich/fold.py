"""Folding an event into a state: attributes, balances, counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kairos.domain.event import Event
from kairos.domain.subscriber import Bucket, State
from kairos.enrich.plan import KindPlan, Plan, Source
from kairos.enrich.row import HAPPENED


def fold(plan: Plan, state: State, event: Event) -> None:
    """Fold one new event into the state handed in (the batch's own copy); an unknown kind changes nothing.

    The result does not depend on the order of events that happened at different times.
    """
    kind = plan.kinds.get(event.kind)
    if kind is None:
        return
    data, happened = event.data, event.happened
    if kind.sources:
        _set(kind, state, data, happened)
    for name in kind.balances:
        if buckets := data.get(name):
            _replace(state, buckets, happened)
    if kind.tallies:
        _count(kind, state.counters, data, happened)


def set_attribute(plan: Plan, state: State, name: str, value: Any, happened: int) -> None:
    """Set a stored attribute as if an event had said so at `happened` (ms): an older word never overrules a newer one.

    Raises KeyError where the vocabulary stores no such attribute.
    """
    place = plan.places[name]
    if state.stamps[place] <= happened:
        state.attributes[place] = value
        state.stamps[place] = happened


def _set(kind: KindPlan, state: State, data: Mapping[str, Any], happened: int) -> None:
    attributes, stamps = state.attributes, state.stamps
    for source in kind.sources:
        place, name, wallet, _ = source
        value: Any = happened if name == HAPPENED else data.get(name)
        if wallet and value is not None:
            value = _announced(source, value, happened)
        if value is not None and stamps[place] <= happened:
            attributes[place] = value
            stamps[place] = happened


def _announced(source: Source, buckets: Sequence[Bucket], happened: int) -> float | None:
    """What a wallet holds by the event's own balances; None where they do not mention it."""
    own = [bucket for bucket in buckets if bucket.wallet == source.wallet]
    amount = sum(bucket.amount for bucket in own if not 0 < bucket.expires <= happened)
    if not own:
        return None
    return amount / source.scale if source.scale else amount


def _replace(state: State, buckets: Sequence[Bucket], happened: int) -> None:
    """Announced balances take the place of their wallets', except where a later announcement was heard already."""
    announced = state.announced
    fresh = []
    for bucket in buckets:
        wallet = bucket.wallet
        if announced.get(wallet, 0) <= happened:
            announced[wallet] = happened
            fresh.append(bucket)
    if fresh:
        wallets = {bucket.wallet for bucket in fresh}
        state.buckets = [bucket for bucket in state.buckets if bucket.wallet not in wallets] + fresh


def _count(kind: KindPlan, counters: Sequence[list[Any]], data: Mapping[str, Any], happened: int) -> None:
    values = [data.get(name) for name in kind.fields] if kind.asks else ()
    for place, name, step, merge, where in kind.tallies:
        value = data.get(name) if name else 1
        if value is None or (where is not None and not where(values)):
            continue
        buckets, bucket = counters[place], happened // step
        if not buckets or buckets[-2] < bucket:
            buckets += (bucket, value)
        elif buckets[-2] == bucket:
            buckets[-1] = merge(buckets[-1], value)
        else:
            _count_late(buckets, bucket, value, merge)


def _count_late(buckets: list[Any], bucket: int, value: Any, merge: Callable[[Any, Any], Any]) -> None:
    """Buckets stay in the order of time, so that the order of arrival leaves no trace."""
    place = len(buckets)
    while place and buckets[place - 2] > bucket:
        place -= 2
    if place and buckets[place - 2] == bucket:
        buckets[place - 1] = merge(buckets[place - 1], value)
    else:
        buckets[place:place] = (bucket, value)
