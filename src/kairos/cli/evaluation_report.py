"""The report of an evaluation: what another policy would have earned, who would have got what, and on what it rests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kairos.cli.uplift_row import amount
from kairos.domain.money import Currency
from kairos.evaluate import SILENCE, Change, Evaluation, Interval, Log, Refused, by_number, changes, evaluate, segments

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kairos.engine.replay import Replay

NOTHING = "nothing"  # what silence says
UNHEARD = "in no moment could all that it would say have been said"
THOUSAND = 1000
MOST = 25  # exchanges that a terminal shows
ESTIMATORS = ("doubly robust", "SNIPS", "IPS")


@dataclass(frozen=True, slots=True)
class Exchange:
    """In how many moments, and for how many subscribers, one was said and another would have been."""

    group: str  # empty: everybody
    said: str
    would_say: str
    moments: float
    subscribers: float

    @property
    def same(self) -> bool:
        return self.said == self.would_say


@dataclass(frozen=True, slots=True)
class Report:
    """Values are minor units a moment."""

    playbook: str
    currency: Currency
    what: str  # was changed
    by: str
    moments: int  # that the values are of
    subscribers: int
    found: Evaluation | Refused
    earned: float  # by the log, in these moments
    exchanges: Sequence[Exchange]  # the most moments first
    changed: float  # share of all replayed moments in which something else would have been said
    counts: dict[str, int]  # of moments: all, and those that the values are not of
    notes: Sequence[str]


def make(
    made: Replay, *, playbook: str, currency: Currency, what: str, by: str, show: Callable[[Any], str]
) -> Report | str:
    """The report, or why there is none, in words."""
    if not made.moments:
        return "nothing to evaluate: the store has no decisions of that time"
    counts = {
        "all": made.moments,
        "window not over": made.waiting,
        "playbook gone": made.forgotten,
        "model gone": made.unversioned,
        "other vocabulary or rules": made.strange,
        "not supported": made.supported.count(False),
    }
    log, target, supported = made.log, np.array(made.target), np.array(made.supported, np.bool_)
    if not len(log):
        return f"nothing to evaluate: {' '.join(_left_out(counts))}"
    told = log.of(supported)
    found = evaluate(told, target[supported[log.moment]]) if len(told) else Refused(UNHEARD)
    everybody = changes(log, target)
    notes = _left_out(counts)
    if made.older:
        notes.append(
            f"{made.older:,} moments are older than the model: what it learned from them flatters it; judge it by "
            "moments since it was published (--since)"
        )
    exchanges = _named(everybody, made.names, "")
    if by:
        exchanges = _by_group(log, target, made, segments(made.trait, show))
    return Report(
        playbook,
        currency,
        what,
        by,
        len(told),
        len(np.unique(told.subscriber)),
        found,
        float(told.reward.mean()) if len(told) else 0.0,
        exchanges,
        sum(one.moments for one in everybody if one.said != one.would_say) / len(log),
        counts,
        notes,
    )


def _by_group(log: Log, target: np.ndarray[Any, Any], made: Replay, groups: Sequence[str]) -> list[Exchange]:
    group, found = np.array(groups), []
    for name in sorted(set(groups), key=by_number):
        mine = np.equal(group, name)
        found += _named(changes(log.of(mine), target[mine[log.moment]]), made.names, name)
    return sorted(found, key=lambda one: -one.moments)


def _named(found: Sequence[Change], names: Sequence[str], group: str) -> list[Exchange]:
    def name(arm: int) -> str:
        return NOTHING if arm == SILENCE else names[arm]

    return [Exchange(group, name(one.said), name(one.would_say), one.moments, one.subscribers) for one in found]


REASONS = {
    "window not over": "are left out: a yes could still come",
    "playbook gone": "cannot be replayed: their playbook is gone",
    "model gone": "cannot be replayed: their model's version is not kept any more, nor how likely what they said was",
    "other vocabulary or rules": "cannot be replayed: they were decided under another vocabulary, or by older rules",
    "not supported": "are in no value: what would be said could not have been said then (a new offer, a rule that was "
    "stricter). Who would have got what counts them",
}


def _left_out(counts: dict[str, int]) -> list[str]:
    return [f"{counts[why]:,} of {counts['all']:,} moments {words}" for why, words in REASONS.items() if counts[why]]


def sentence(report: Report) -> str:
    """What the report says, in one sentence."""
    if isinstance(report.found, Refused):
        return f"What it would have earned cannot be told: {report.found.why}."
    change, show = report.found.difference, report.currency
    bounds = f"95 %: {thousand(change.low, show)} to {thousand(change.high, show)}"
    was = f"the {thousand(report.earned, show, plus=False)} that 1,000 moments earned"
    if change.low > 0 or change.high < 0:
        more = "more" if change.value > 0 else "less"
        value = thousand(abs(change.value), show, plus=False)
        return f"With {report.what}, 1,000 moments would have earned {value} {more} ({bounds}) than {was}."
    return f"With {report.what}, 1,000 moments are not shown to earn more or less ({bounds}) than {was}."


def thousand(value: float, currency: Currency, *, plus: bool = True) -> str:
    return amount(THOUSAND * value, currency, plus=plus)


def lines(report: Report) -> list[tuple[str, Interval, bool]]:
    """Each estimate by its name, and whether it is a difference."""
    found = report.found
    if isinstance(found, Refused):
        return []
    estimates = zip(ESTIMATORS, (found.doubly_robust, found.snips, found.ips), strict=True)
    return [
        ("earned", found.logged, False),
        *((f"would have earned, {name}", one, False) for name, one in estimates),
        ("difference, doubly robust", found.difference, True),
    ]


def weighed(found: Evaluation) -> str:
    return (
        f"the log speaks for the changed policy as {found.speaking:,.0f} moments of its own would (effective sample "
        f"size; the heaviest weight is {found.heaviest:,.1f}); in {found.agreed:.0%} of moments it would say the same"
    )


def pictures(report: Report) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    size = f"{report.moments:,} moments of {report.subscribers:,} subscribers"
    shown: list[RenderableType] = [Text(f"{report.playbook}, {size}: {sentence(report)}", style="bold"), ""]
    if isinstance(report.found, Evaluation):
        values = Table("1,000 moments", "", "95 %", box=None, padding=(0, 2, 0, 0))
        for name, one, plus in lines(report):
            low, high = (thousand(bound, report.currency, plus=plus) for bound in (one.low, one.high))
            values.add_row(name, thousand(one.value, report.currency, plus=plus), f"{low} to {high}")
        shown += [values, weighed(report.found), ""]
    table = Table(*([report.by] if report.by else []), "was said", "would be said", box=None, padding=(0, 2, 0, 0))
    for column in ("moments", "subscribers"):
        table.add_column(column, justify="right")
    for got in report.exchanges[:MOST]:
        style = "dim" if got.same else ""
        cells = [got.said, "the same" if got.same else got.would_say, f"{got.moments:,.0f}", f"{got.subscribers:,.0f}"]
        table.add_row(*([got.group] if report.by else []), *cells, style=style)
    more = len(report.exchanges) - MOST
    return [
        *shown,
        f"in {report.changed:.0%} of moments something else would be said:",
        table,
        *([f"... and {more} more; --json and --html have all"] if more > 0 else []),
        *(Text(f"note: {note}", style="dim") for note in report.notes),
    ]


def plain(report: Report) -> dict[str, Any]:
    """The report as JSON has it; values in minor units a 1,000 moments."""
    found = report.found

    def value(one: Interval) -> dict[str, float]:
        return {name: THOUSAND * bound for name, bound in one._asdict().items()}

    return {
        "playbook": report.playbook,
        "currency": report.currency.code,
        "changed": report.what,
        "sentence": sentence(report),
        "moments": report.moments,
        "subscribers": report.subscribers,
        "refused": found.why if isinstance(found, Refused) else "",
        "earned": THOUSAND * report.earned,
        "values": None
        if isinstance(found, Refused)
        else {
            "logged": value(found.logged),
            "ips": value(found.ips),
            "snips": value(found.snips),
            "doubly_robust": value(found.doubly_robust),
            "difference": value(found.difference),
            "effective_sample_size": found.speaking,
            "heaviest_weight": found.heaviest,
            "agreed": found.agreed,
        },
        "moments_by_use": report.counts,
        "share_changed": report.changed,
        "by": report.by,
        "exchanges": [asdict(one) for one in report.exchanges],
        "notes": list(report.notes),
    }
