"""Folding an event into a state: attributes, balances, counters.

What an event of one kind does is fixed by the vocabulary, so it is one straight-line function per kind, written here as
Python source and compiled once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kairos.domain.subscriber import Bucket, State
from kairos.enrich.counters import NEWEST, VALUE, WIDTH, Merge, count, total_of
from kairos.enrich.products import announce
from kairos.enrich.writer import Writer, indented
from kairos.playbook.vocabulary import Counter, Vocabulary, is_column
from kairos.rules import compile_true

HAPPENED: Final = "happened"  # the field that is an event's own time

# A bucket's sum stops here, so that a thousand of them are still a 64-bit integer, or a finite number.
LARGEST_MONEY: Final = 2**53
LARGEST_NUMBER: Final = 1e300

Fold = Callable[[State, Mapping[str, Any], int], None]


def compile_fold(vocabulary: Vocabulary, kind: str) -> Fold:
    """A function (state, data, happened) that folds an event of one kind into a state."""
    return _Fold(vocabulary, kind).compile()


def wallet_scale(vocabulary: Vocabulary, wallet: str) -> int:
    """How many smallest parts make one unit of a wallet; 0 where it holds money, which stays in minor units."""
    known = vocabulary.wallets[wallet]
    return 0 if known.unit == "money" else 10**known.digits


class _Fold:
    def __init__(self, vocabulary: Vocabulary, kind: str) -> None:
        self.vocabulary = vocabulary
        self.fields = vocabulary.events[kind]
        self.counters = [(i, c) for i, c in enumerate(vocabulary.counters.values()) if c.event == kind]
        self.sources = [
            (place, path)
            for place, attribute in enumerate(vocabulary.attributes.values())
            for source, path in attribute.sources
            if source == kind and not attribute.derived
        ]
        self.columns = tuple(f"{kind}.{name}" for name, type_ in self.fields.items() if is_column(type_))
        self.writer = Writer(announced=_announced, replace=_replace, count=count, own=announce)
        self.values = {name: HAPPENED if name == HAPPENED else f"v{i}" for i, name in enumerate(self.fields)}
        self.steps = {step: f"b{i}" for i, step in enumerate({c.step: None for _, c in self.counters})}

    def compile(self) -> Fold:
        lines = [
            f"{value} = data.get({self.writer.constant(name)})"
            for name, value in self.values.items()
            if value != HAPPENED
        ]
        if self.sources:
            lines.append("attributes, stamps = state.attributes, state.stamps")
        for place, path in self.sources:
            lines += self.attribute(place, path)
        for name, type_ in self.fields.items():
            if type_ == "balances":
                lines.append(f"if {self.values[name]}: replace(state, {self.values[name]}, happened)")
            elif type_ == "products":
                lines.append(f"if {self.values[name]}: own(state, {self.values[name]}, happened)")
        if self.counters:
            lines.append("counters = state.counters")
        lines += [f"{bucket} = happened // {step}" for step, bucket in self.steps.items()]
        for place, counter in self.counters:
            lines += self.counter(place, counter)
        made: Fold = self.writer.compile("fold", "state, data, happened", lines)
        return made

    def attribute(self, place: int, path: str) -> list[str]:
        name, _, wallet = path.partition(".")
        lines = []
        value = HAPPENED if name == HAPPENED else self.values[name]
        if wallet:
            scale = wallet_scale(self.vocabulary, wallet)
            lines.append(f"value = announced({value}, {self.writer.constant(wallet)}, {scale}, happened)")
            value = "value"
        lines.append(f"if {value} is not None and stamps[{place}] <= happened:")
        lines.append(f"    attributes[{place}], stamps[{place}] = {value}, happened")
        return lines

    def counter(self, place: int, counter: Counter) -> list[str]:
        bucket = self.steps[counter.step]
        value = self.values[counter.field] if counter.field else "1"
        limit = LARGEST_MONEY if counter.type == "money" else LARGEST_NUMBER
        merge = self.writer.constant({"max": max, "min": min}.get(counter.function, _adder(limit)))
        total = self.writer.constant(total_of(counter.function))
        newest, held = f"counters[{place * WIDTH + NEWEST}]", f"counters[{place * WIDTH + VALUE}]"
        known = f"{newest} == {bucket}"
        lines = []  # by far the most frequent way without unpacking, and for sums without a call
        if counter.function in ("sum", "count"):
            lines.append(f"if {known} and -{limit} < {held} + {value} < {limit}: {held} += {value}")
        else:
            lines.append(f"if {known}: {held} = {merge}({held}, {value})")
        lines.append(f"else: count(state, {place}, {bucket}, {value}, {merge}, {total})")
        conditions = [f"{value} is not None"] if counter.field else []
        if counter.where is not None:
            known = ", ".join(self.values[column.partition(".")[2]] for column in self.columns)
            conditions.append(f"{self.writer.constant(compile_true(counter.where, self.columns))}(({known},))")
        return [f"if {' and '.join(conditions)}:", *indented(lines)] if conditions else lines


def _adder(limit: float) -> Merge:
    return lambda left, right: max(-limit, min(limit, left + right))


def _announced(buckets: Sequence[Bucket] | None, wallet: str, scale: int, happened: int) -> float | None:
    """What a wallet holds by the event's own balances; None where they do not mention it."""
    own = [bucket for bucket in buckets or () if bucket.wallet == wallet]
    if not own:
        return None
    amount = sum(bucket.amount for bucket in own if not 0 < bucket.expires <= happened)
    return amount / scale if scale else amount


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
