"""The row of values that rules read: a state, what just happened, and now.

The columns of a vocabulary are fixed, so a row is built by one straight-line function per kind of event, written here
as Python source and compiled once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final

from kairos.domain.subscriber import State
from kairos.enrich.counters import OLDEST, PAST, VALUE, WIDTH, read, total_of
from kairos.enrich.fold import HAPPENED, wallet_scale
from kairos.enrich.habits import hours_away
from kairos.enrich.local_time import Zones
from kairos.enrich.writer import Writer
from kairos.playbook.vocabulary import Attribute, Counter, Vocabulary, is_column

HOUR: Final = 3_600_000

MakeRow = Callable[[State, Mapping[str, Any], int, int], tuple[Any, ...]]


def first_bucket(over: int, step: int, now: int) -> int:
    """The oldest bucket that still has a part in the window (now - over, now].

    >>> first_bucket(3_600_000, 600_000, now=3_600_000 + 599_998)  # the last millisecond of bucket 0 is still in it
    0
    >>> first_bucket(3_600_000, 600_000, now=3_600_000 + 599_999)
    1
    """
    return (now - over + 1) // step


def compile_row(vocabulary: Vocabulary, kind: str, zones: Zones) -> MakeRow:
    """A function (state, data, happened, now) -> row for one kind of event; any other word: without an event."""
    return _Row(vocabulary, kind, zones).compile()


class _Row:
    def __init__(self, vocabulary: Vocabulary, kind: str, zones: Zones) -> None:
        self.vocabulary = vocabulary
        self.kind = kind
        self.writer = Writer(zone_offset=zones.offset, read=read, hours_away=hours_away)
        self.constant = self.writer.constant
        self.attributes = list(vocabulary.attributes.values())
        self.wallets = {w: f"w{i}" for i, w in enumerate({a.total: None for a in self.attributes if a.total})}
        self.expiries = {i: f"e{i}" for i, a in enumerate(self.attributes) if a.soonest_expiry and not a.total}
        windows = {(c.over, c.step): None for c in vocabulary.counters.values()}
        self.windows = {window: f"f{i}" for i, window in enumerate(windows)}

    def compile(self) -> MakeRow:
        lines = [*self.unpack(), *self.balances(), *self.derived(), *self.defaults(), *self.clock(), *self.habits()]
        values = [f"a{i}" for i in range(len(self.attributes))]
        values += [self.counter(i, counter) for i, counter in enumerate(self.vocabulary.counters.values())]
        values += self.fields()
        lines.append(f"return ({', '.join([*values, 'now', 'local'])})")
        made: MakeRow = self.writer.compile("row", "state, data, happened, now", lines)
        return made

    def unpack(self) -> list[str]:
        lines = []
        if self.attributes:
            lines.append(f"{''.join(f'a{i}, ' for i in range(len(self.attributes)))}= state.attributes")
        if self.vocabulary.counters:
            lines.append("counters = state.counters")
        # (now - over, now] begins in this bucket: see `first_bucket`
        lines += [f"{name} = (now - {over - 1}) // {step}" for (over, step), name in self.windows.items()]
        return lines

    def balances(self) -> list[str]:
        """One pass over the balance buckets that have not expired: what is left in each wallet, and what ends first."""
        if not self.wallets and not self.expiries:
            return []
        lines = ["announced = state.announced"] if self.wallets else []
        lines += [f"{total} = 0" for total in (*self.wallets.values(), *self.expiries.values())]
        lines.append("for bucket in state.buckets:")
        lines.append("    wallet, expires = bucket.wallet, bucket.expires")
        lines.append("    if not expires or expires > now:")
        lines.append("        amount = bucket.amount")
        branch = "if"
        for wallet, total in self.wallets.items():
            lines.append(f"        {branch} wallet == {self.constant(wallet)}: {total} += amount")
            branch = "elif"
        if self.expiries:
            lines.append("        if expires and amount > 0:")
        for place, soonest in self.expiries.items():
            wallets = self.constant(frozenset(self.attributes[place].soonest_expiry))
            lines.append(f"            if (not {soonest} or expires < {soonest}) and wallet in {wallets}:")
            lines.append(f"                {soonest} = expires")
        return lines

    def derived(self) -> list[str]:
        lines = ["habits = state.habits"] if self.vocabulary.habitual else []
        for i, attribute in enumerate(self.attributes):
            if attribute.total:
                lines.append(f"a{i} = {self.total(attribute)}")
            elif i in self.expiries:
                lines.append(f"a{i} = ({self.expiries[i]} - now) / {HOUR} if {self.expiries[i]} else None")
            elif attribute.usual == "channel":
                lines.append(f"a{i} = habits.channel if habits else None")
        return lines

    def total(self, attribute: Attribute) -> str:
        scale = wallet_scale(self.vocabulary, attribute.total)
        amount = self.wallets[attribute.total] + (f" / {scale}" if scale else "")
        return f"{amount} if {self.constant(attribute.total)} in announced else None"

    def defaults(self) -> list[str]:
        timeless = (self.default(i, a) for i, a in enumerate(self.attributes) if a.usual != "hours_away")
        return list(chain.from_iterable(timeless))

    def default(self, place: int, attribute: Attribute) -> list[str]:
        if attribute.default is None:
            return []
        return [f"if a{place} is None: a{place} = {self.constant(attribute.default)}"]

    def clock(self) -> list[str]:
        zones = [f"a{i}" for i, a in enumerate(self.attributes) if a.name == "time_zone" and a.type == "text"]
        return [f"local = now + zone_offset({zones[0] if zones else None}, now)"]

    def habits(self) -> list[str]:
        """What is measured from the wall clock, for which the defaults are needed first."""
        lines = []
        for i, attribute in enumerate(self.attributes):
            if attribute.usual == "hours_away":
                lines.append(f"a{i} = hours_away(habits, local) if habits else None")
                lines += self.default(i, attribute)
        return lines

    def counter(self, place: int, counter: Counter) -> str:
        first, total = self.windows[counter.over, counter.step], self.constant(total_of(counter.function))
        oldest, past, value = (f"counters[{place * WIDTH + part}]" for part in (OLDEST, PAST, VALUE))
        whole = f"{past} + {value}"
        if counter.function in ("max", "min"):
            whole = f"({value} if {past} is None else {counter.function}({past}, {value}))"
        return f"{whole} if {oldest} >= {first} else read(state, {place}, {first}, {total})"

    def fields(self) -> list[str]:
        values = []
        for kind, name in event_columns(self.vocabulary):
            if kind != self.kind:
                values.append("None")
            else:
                values.append(HAPPENED if name == HAPPENED else f"data.get({self.constant(name)})")
        return values


def event_columns(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The (kind, field) of every event column, in the order of the row."""
    return [(kind, name) for kind, fields in vocabulary.events.items() for name, t in fields.items() if is_column(t)]
