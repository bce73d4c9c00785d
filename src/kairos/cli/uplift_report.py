"""The report of uplift: what is in it, and how a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kairos.domain.money import Currency
from kairos.evaluate import Effect, Interval, balance, by_number, detectable, effect, mismatch, together

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kairos.adapters.duckdb_uplift import Extracted, Flows, Group
    from kairos.engine.cohort import Cohort

UNLIKELY = 0.001  # a check fails below this: it is made at every report
POINTS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 75, 90, 120, 180, 365)  # days of the curve
CUTS = ("offer", "segment", "channel", "model")  # in the order in which they are shown
COUNTS = ("accepted",)  # measures that are no money


@dataclass(frozen=True, slots=True)
class Check:
    """Whether the comparison may be trusted, in words."""

    name: str
    sound: bool
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """One group of a cut (both empty: all) within a window: its sizes, and effects by measure."""

    cut: str
    name: str
    treated: int
    control: int
    effects: Mapping[str, Effect]

    @property
    def margin(self) -> Effect:
        return self.effects["margin"]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told. Amounts in minor units; times in ms."""

    playbook: str
    currency: Currency
    since: int
    until: int
    by: str
    horizons: Mapping[int, Row]  # days -> all subscribers
    days: int  # of the rows and the sentence
    rows: Sequence[Row]
    holds: Mapping[tuple[str, str], bool]  # whether a row's margin differs, when all rows are looked at together
    curve: Sequence[tuple[int, Interval]]
    checks: Sequence[Check]
    notes: Sequence[str]

    @property
    def whole(self) -> Row:
        return self.horizons[self.days]


def make(
    flows: Flows,
    cohort: Cohort,
    extracted: Extracted,
    days: Sequence[int],
    *,
    playbook: str,
    currency: Currency,
    by: str,
    notes: Sequence[str],
) -> Report | str:
    """The report, or why there is none, in words."""
    last = extracted.last
    groups = {day: flows.within(day, last) for day in sorted(set(days))}
    everybody = {day: found.get(("", "")) for day, found in groups.items()}
    fair = all(
        balance(whole.treated[measure], whole.control[measure]) >= UNLIKELY
        for whole in everybody.values()
        if whole
        for measure in ("recharges", "margin")
    )
    horizons = {day: row for day, whole in everybody.items() if whole and (row := _row("", "", whole, fair))}
    if not horizons:
        return (
            f"too early: by {date(last)}, the end of the extract, fewer than 30 of the treated or of the holdout have "
            f"been in for {min(days)} days; wait, give fewer --days, or start earlier with --since"
        )
    main = max(horizons)
    cuts = [cut for cut in CUTS if by or cut != "segment"]
    found = [(cuts.index(cut), name, group) for (cut, name), group in groups[main].items() if cut in cuts]
    rows = [
        row
        for cut, name, group in sorted(found, key=lambda one: (one[0], by_number(one[1])))
        if (row := _row(cuts[cut], name, group, fair))
    ]
    chances = together([row.margin.p for row in rows])
    curve = []
    for day in [*(point for point in POINTS if point < main), main]:
        whole = flows.within(day, last, main, ())[("", "")]
        row = _row("", "", whole, fair)
        if row:
            curve.append((day, row.margin.difference))
    late = [f"nobody, or too few, have been in for {day} days yet" for day in groups if day not in horizons]
    return Report(
        playbook,
        currency,
        min(cohort.since),
        last,
        by,
        horizons,
        main,
        rows,
        {(row.cut, row.name): chance < 0.05 for row, chance in zip(rows, chances, strict=True)},
        curve,
        _checks(cohort, extracted, fair),
        [*notes, *late],
    )


def _row(cut: str, name: str, group: Group, adjust: bool) -> Row | None:
    effects = {
        measure: found
        for measure in group.treated
        if (found := effect(group.treated[measure], group.control[measure], adjust=adjust))
    }
    sizes = group.treated["margin"].n, group.control["margin"].n
    return Row(cut, name, *sizes, effects) if effects else None


def _checks(cohort: Cohort, extracted: Extracted, fair: bool) -> list[Check]:
    control, members = sum(cohort.held_out), len(cohort.subscriber)
    alike = mismatch(control, members, cohort.share) >= UNLIKELY
    known = extracted.rows - extracted.strangers
    missed = extracted.orders_missed / max(extracted.orders, 1)
    return [
        Check(
            "as many were held out as planned",
            alike,
            f"{control:,} of {members:,} are {control / members:.2%}, planned were {cohort.share:.2%}"
            + ("" if alike else ": something keeps subscribers of one group from being seen; trust no figure below"),
        ),
        Check(
            "both groups were alike before",
            fair,
            "what they spent and recharged in the 30 days before differs no more than by chance"
            if fair
            else "they differed before their first moment here, so CUPED is left out: had marketing begun earlier? "
            "Start the report with --since when the holdout began",
        ),
        Check(
            "the extract knows the same subscribers",
            known >= 0.5 * extracted.rows,
            f"{known:,} of {extracted.rows:,} rows are of subscribers in the store",
        ),
        Check(
            "what offers charged is in the extract",
            missed < 0.05,
            f"{extracted.orders_missed:,} of {extracted.orders:,} charged orders have no row of kind spend"
            + ("" if missed < 0.05 else ": spend must hold everything that was charged, orders of kairos included"),
        ),
    ]


def sentence(report: Report) -> str:
    """What the report says, in one sentence."""
    row, days = report.whole, report.days
    margin, show = row.margin, report.currency
    between = f"95 %: {amount(margin.difference.low, show)} to {amount(margin.difference.high, show)}"
    if margin.difference.low <= 0 <= margin.difference.high:
        found = amount(detectable(margin.error), show)
        return (
            f"No effect is shown in {days} days ({between} a subscriber); one of {found} would have been found with a "
            "chance of 80 %."
        )
    word = "earned" if margin.difference.value > 0 else "lost"
    each = amount(abs(margin.difference.value), show, plus=False)
    relative = f", {percent(margin.relative.value)}" if margin.relative else ""
    total = amount(abs(margin.difference.value) * row.treated, show, plus=False)
    return (
        f"Marketing {word} {each} a subscriber in {days} days, against saying nothing ({between}{relative}): some "
        f"{total} over the {row.treated:,} it could speak to."
    )


def amount(minor: float, currency: Currency, *, plus: bool = True) -> str:
    """Minor units, which need not be whole, as a person reads them.

    >>> amount(42.4, Currency("XTS", 2, "T$")), amount(-123456, Currency("XTS", 2, "T$"))
    ('+T$0.42', '−T$1,234.56')
    """
    major = abs(minor) / 10**currency.digits
    nothing = round(major, currency.digits) == 0
    sign = "" if nothing else "−" if minor < 0 else "+" if plus else ""
    return f"{sign}{currency.sign or currency.code + ' '}{major:,.{0 if major >= 10_000 else currency.digits}f}"


def percent(share: float) -> str:
    return f"{share:+.1%}".replace("-", "−").replace("%", " %")


def told(interval: Interval, measure: str, currency: Currency) -> tuple[str, str]:
    """An estimate and its bounds."""
    if measure in COUNTS:
        return f"{interval.value:+.3f}".replace("-", "−"), f"{interval.low:.3f} to {interval.high:.3f}"
    low, high = (amount(bound, currency) for bound in interval[1:])
    return amount(interval.value, currency), f"{low} to {high}"


def date(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}"


def title(row: Row, by: str) -> str:
    cut = by if row.cut == "segment" else row.cut
    return f"{cut}: {row.name}"


def pictures(report: Report) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    head = Text(f"{report.playbook}, {date(report.since)} to {date(report.until)}: {sentence(report)}", style="bold")
    checks = Table.grid(padding=(0, 2))
    for check in report.checks:
        mark = Text("ok", style="green") if check.sound else Text("!!", style="bold red")
        checks.add_row(mark, check.name, check.words)
    measures = Table("a subscriber, against holdout", box=None, padding=(0, 2, 0, 0))
    for days in report.horizons:
        measures.add_column(f"{days} days", justify="right")
        measures.add_column("95 %", style="dim")
    for measure in report.whole.effects:
        cells = [
            cell
            for row in report.horizons.values()
            for cell in told(row.effects[measure].difference, measure, report.currency)
        ]
        measures.add_row(measure, *cells)
    sizes = [cell for row in report.horizons.values() for cell in (f"{row.treated:,}", f"{row.control:,} held out")]
    measures.add_row("subscribers", *sizes)
    rows = Table(f"margin in {report.days} days by", "treated", "held out", box=None, padding=(0, 2, 0, 0))
    rows.add_column("a subscriber", justify="right")
    rows.add_column("95 %", style="dim")
    rows.add_column("relative", justify="right")
    rows.add_column("holds")
    for row in report.rows:
        relative = percent(row.margin.relative.value) if row.margin.relative else ""
        rows.add_row(
            title(row, report.by),
            f"{row.treated:,}",
            f"{row.control:,}",
            *told(row.margin.difference, "margin", report.currency),
            relative,
            "yes" if report.holds[row.cut, row.name] else "",
        )
    notes = [Text(f"note: {note}", style="dim") for note in report.notes]
    return [head, "", checks, "", measures, "", rows, *notes]


def plain(report: Report) -> dict[str, Any]:
    """The report as JSON has it; amounts in minor units."""

    def effects(row: Row) -> dict[str, Any]:
        return {
            measure: {
                "difference": one.difference._asdict(),
                "relative": one.relative._asdict() if one.relative else None,
                "p": one.p,
                "detectable_80": detectable(one.error),
                "variance_saved": one.saved,
            }
            for measure, one in row.effects.items()
        }

    return {
        "playbook": report.playbook,
        "currency": report.currency.code,
        "since": report.since,
        "until": report.until,
        "sentence": sentence(report),
        "checks": [{"name": one.name, "sound": one.sound, "words": one.words} for one in report.checks],
        "horizons": {
            str(days): {"treated": row.treated, "control": row.control, "effects": effects(row)}
            for days, row in report.horizons.items()
        },
        "days": report.days,
        "groups": [
            {
                "cut": report.by if row.cut == "segment" else row.cut,
                "name": row.name,
                "treated": row.treated,
                "control": row.control,
                "holds": report.holds[row.cut, row.name],
                "effects": effects(row),
            }
            for row in report.rows
        ],
        "curve": [{"days": days, **interval._asdict()} for days, interval in report.curve],
        "notes": list(report.notes),
    }
