"""The report of uplift: what is in it, and how a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kairos.cli.uplift_controls import Own, against_controls, table_of
from kairos.cli.uplift_row import (
    UNLIKELY,
    Check,
    Row,
    alike_before,
    amount,
    bounds,
    date,
    earned,
    percent,
    row_of,
    told,
)
from kairos.domain.money import Currency
from kairos.evaluate import Interval, by_number, detectable, mismatch, together

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kairos.adapters.duckdb_uplift import Extracted, Flows, Group
    from kairos.engine.cohort import Cohort

    Groups = Mapping[int, Mapping[tuple[str, str], Group]]  # days -> (cut, name) -> group

POINTS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 75, 90, 120, 180, 365)  # days of the curve
CUTS = ("offer", "segment", "channel", "model")  # in the order in which they are shown
EVERYBODY = ("", "")


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told. Amounts in minor units; times in ms. `horizons` are empty where nobody was held out."""

    playbook: str
    currency: Currency
    since: int
    until: int
    by: str
    horizons: Mapping[int, Row]  # days -> all subscribers
    days: int  # of the rows and the sentence
    rows: Sequence[Row]
    by_days: Mapping[tuple[str, str], Mapping[int, Row]]  # each of them, after fewer days too
    holds: Mapping[tuple[str, str], bool]  # whether a row's margin differs, when all rows are looked at together
    curve: Sequence[tuple[int, Interval]]
    own: Sequence[Own]
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
    everybody = {day: found[EVERYBODY] for day, found in groups.items() if EVERYBODY in found}
    fair = all(alike_before(whole) for whole in everybody.values())
    horizons = {day: row for day, whole in everybody.items() if (row := row_of("", "", whole, fair))}
    own, sound = against_controls(flows, cohort.controls, last, groups)
    if not horizons and not own:
        return (
            f"too early: by {date(last)}, the end of the extract, fewer than 30 of the treated or of those held out "
            f"have been in for {min(days)} days; wait, give fewer --days, or start earlier with --since"
        )
    main = max(horizons or [one.days for one in own])
    rows = _rows(groups[main], [cut for cut in CUTS if by or cut != "segment"], fair)
    chances = together([row.margin.p for row in rows])
    return Report(
        playbook,
        currency,
        min([*cohort.since, *cohort.controls.since]),
        last,
        by,
        horizons,
        main,
        rows,
        {(row.cut, row.name): _by_days(row, groups, fair) for row in rows},
        {(row.cut, row.name): chance < 0.05 for row, chance in zip(rows, chances, strict=True)},
        _curve(flows, last, main, fair) if horizons else [],
        own,
        [*(_checks_of_holdout(cohort, fair) if horizons else ()), *sound, *_checks_of_extract(extracted)],
        [*notes, *_late(cohort, groups, horizons, own)],
    )


def _rows(found: Mapping[tuple[str, str], Group], cuts: Sequence[str], fair: bool) -> list[Row]:
    """Each group of these cuts, in their order."""
    wanted = [(cuts.index(cut), name, group) for (cut, name), group in found.items() if cut in cuts]
    return [
        row
        for cut, name, group in sorted(wanted, key=lambda one: (one[0], by_number(one[1])))
        if (row := row_of(cuts[cut], name, group, fair))
    ]


def _by_days(row: Row, groups: Groups, fair: bool) -> dict[int, Row]:
    """The same group after each of the days."""
    its = {day: found[row.cut, row.name] for day, found in groups.items() if (row.cut, row.name) in found}
    return {day: then for day, group in its.items() if (then := row_of(row.cut, row.name, group, fair))}


def _curve(flows: Flows, last: int, main: int, fair: bool) -> list[tuple[int, Interval]]:
    """How the margin of those who have been in for the `main` days grew."""
    rows = {
        day: row_of("", "", flows.within(day, last, main, ())[EVERYBODY], fair)
        for day in (*(point for point in POINTS if point < main), main)
    }
    return [(day, row.margin.difference) for day, row in rows.items() if row]


def _late(cohort: Cohort, groups: Groups, horizons: Mapping[int, Row], own: Sequence[Own]) -> list[str]:
    """What cannot be told yet."""
    late = [
        f"nobody, or too few, have been in for {day} days yet"
        for day in groups
        if day not in horizons and (horizons or all(day not in one.horizons for one in own))
    ]
    missing = sorted({*cohort.controls.offer} - {one.offer for one in own})
    return late + ([f"too few have met {', '.join(missing)}, or its control group, to compare"] if missing else [])


def _checks_of_holdout(cohort: Cohort, fair: bool) -> list[Check]:
    control, members = sum(cohort.held_out), len(cohort.subscriber)
    alike = mismatch(control, members, cohort.share) >= UNLIKELY
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
    ]


def _checks_of_extract(extracted: Extracted) -> list[Check]:
    known = extracted.rows - extracted.strangers
    missed = extracted.orders_missed / max(extracted.orders, 1)
    return [
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
    if not report.horizons:
        return _sentence_of_offers(report)
    row, days = report.whole, report.days
    margin, show = row.margin, report.currency
    if margin.difference.low <= 0 <= margin.difference.high:
        found = amount(detectable(margin.error), show)
        return (
            f"No effect is shown in {days} days ({bounds(margin.difference, show)} a subscriber); "
            f"one of {found} would have been found with a chance of 80 %."
        )
    total = amount(abs(margin.difference.value) * row.treated, show, plus=False)
    return (
        f"Marketing {earned(row, days, show)}, against saying nothing: some {total} over the {row.treated:,} it could "
        "speak to."
    )


def _sentence_of_offers(report: Report) -> str:
    """Where nobody was held out from all marketing."""
    shown = [f"{one.offer} {earned(one.row, one.days, report.currency)}" for one in report.own if one.holds]
    if not shown:
        return "No offer differs from its control group by more than chance."
    return f"Against its own control group, {'; '.join(shown)}."


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
    parts = [*_tables(report), *([table_of(report.own, report.currency)] if report.own else [])]
    notes = [Text(f"note: {note}", style="dim") for note in report.notes]
    return [head, "", checks, *(one for part in parts for one in ("", part)), "", *notes]


def _tables(report: Report) -> list[RenderableType]:
    """Against the holdout: every measure, and the margin of each group."""
    from rich.table import Table

    if not report.horizons:
        return []
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
    return [measures, rows]


def plain(report: Report) -> dict[str, Any]:
    """The report as JSON has it; amounts in minor units."""
    return {
        "playbook": report.playbook,
        "currency": report.currency.code,
        "since": report.since,
        "until": report.until,
        "sentence": sentence(report),
        "checks": [asdict(one) for one in report.checks],
        "horizons": {str(days): row.plain() for days, row in report.horizons.items()},
        "days": report.days,
        "groups": [
            {
                "cut": report.by if row.cut == "segment" else row.cut,
                "name": row.name,
                "holds": report.holds[row.cut, row.name],
                **row.plain(),
                "horizons": {str(days): one.plain() for days, one in report.by_days[row.cut, row.name].items()},
            }
            for row in report.rows
        ],
        "controls": [one.plain() for one in report.own],
        "curve": [{"days": days, **interval._asdict()} for days, interval in report.curve],
        "notes": list(report.notes),
    }
