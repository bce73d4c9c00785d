"""The report of uplift as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from itertools import groupby

from kairos.cli import plots
from kairos.cli.page import cards, listed, mood, section, table
from kairos.cli.page import page as whole_page
from kairos.cli.uplift_controls import Own
from kairos.cli.uplift_report import Report, sentence, title
from kairos.cli.uplift_row import Row, amount, bounds, date, percent, told
from kairos.evaluate import Interval, detectable

HEADINGS = {
    "offer": "By the first offer",
    "segment": "By {by}, at the first moment",
    "channel": "By channel",
    "model": "By model version",
}
BESIDES = ("recharges", "net spend", "accepted")  # the margin, of each group


def page(report: Report) -> str:
    above = f"{report.playbook} · moments from {date(report.since)}, extract to {date(report.until)}"
    whole = (_cards, _growth, _parts, _groups, _measures) if report.horizons else ()
    body = [*(part(report) for part in whole), _controls(report) if report.own else "", _checks(report)]
    return whole_page(f"Uplift: {report.playbook}", above, sentence(report), body)


def _cards(report: Report) -> str:
    row, show = report.whole, report.currency
    margin, recharges, accepted = (row.effects[name] for name in ("margin", "recharges", "accepted"))
    return cards(
        [
            (
                f"margin a subscriber, {report.days} days",
                amount(margin.difference.value, show),
                bounds(margin.difference, show),
                mood(margin.difference),
            ),
            (
                "recharges a subscriber",
                amount(recharges.difference.value, show),
                f"{percent(recharges.relative.value)} against holdout" if recharges.relative else "against holdout",
                mood(recharges.difference),
            ),
            (
                "accepted offers, of 1,000 subscribers",
                f"{1000 * accepted.difference.value:,.0f}",
                f"95 %: {1000 * accepted.difference.low:,.0f} to {1000 * accepted.difference.high:,.0f}",
                "",
            ),
            ("subscribers compared", f"{row.treated + row.control:,}", f"{row.control:,} of them held out", ""),
        ]
    )


def _growth(report: Report) -> str:
    words = (
        f"The difference of margin between treated and holdout, added up since each subscriber's first moment. The "
        f"band holds the truth 95 times of 100. All of them have been in for {report.days} days."
    )
    show = partial(amount, currency=report.currency)
    return section("How it grew", words, plots.curve(report.curve, show, "days since the first moment"))


def _parts(report: Report) -> str:
    effects = report.whole.effects

    def minus(measure: str) -> Interval:
        value, low, high = effects[measure].difference
        return Interval(-value, -high, -low)

    rows = [
        ("offers' revenue", effects["offers' revenue"].difference, False),
        ("other spend", effects["other spend"].difference, False),
        ("offers' cost", minus("offers' cost"), False),
        ("channel cost", minus("channel cost"), False),
        ("margin", effects["margin"].difference, True),
    ]
    words = (
        "Per subscriber, without tax. What offers brought is no gain as far as it took the place of other spend: where "
        "“other spend” is below zero, that much was cannibalised; above zero, the treated spent more besides."
    )
    return section("From offers to margin", words, plots.steps(rows, partial(amount, currency=report.currency)))


def _groups(report: Report) -> str:
    marks = []
    for cut, rows in groupby(report.rows, key=lambda row: row.cut):
        marks.append(plots.Mark(HEADINGS[cut].format(by=report.by), Interval(0, 0, 0), heading=True))
        marks.extend(_mark(report, row) for row in rows)
    if not marks:
        return ""
    words = (
        f"Margin a subscriber in {report.days} days, with 95 % intervals; on the right, the treated and the held out. "
        f"Coloured: holds though {len(report.rows)} groups were looked at (Holm). Grey: may be chance."
    )
    show = partial(amount, currency=report.currency)
    days = list(report.horizons)
    cells = [
        [escape(title(row, report.by)), *_cells(report, report.by_days[row.cut, row.name], days)] for row in report.rows
    ]
    drawn = plots.forest(marks, show, "margin a subscriber, against holdout")
    return section("For whom", words, drawn + table(["", *_heads(days)], cells))


def _mark(report: Report, row: Row) -> plots.Mark:
    return plots.Mark(row.name, row.margin.difference, _sizes(row), report.holds[row.cut, row.name])


def _sizes(row: Row) -> str:
    return f"{row.treated:,} / {row.control:,}"


def _measures(report: Report) -> str:
    head = [
        "a subscriber, against holdout",
        *(f"{days} days" for days in report.horizons),
        "relative",
        "would be found",
    ]
    rows = []
    for measure, main in report.whole.effects.items():
        cells = []
        for row in report.horizons.values():
            value, bounds = told(row.effects[measure].difference, measure, report.currency)
            cells.append(f"{escape(value)}<small>{escape(bounds)}</small>")
        relative = ""
        if main.relative:
            bounds = f"{percent(main.relative.low)} to {percent(main.relative.high)}"
            relative = f"{escape(percent(main.relative.value))}<small>{escape(bounds)}</small>"
        smallest = detectable(main.error)
        found = f"{smallest:.3f}" if measure == "accepted" else amount(smallest, report.currency, plus=False)
        rows.append([escape(measure), *cells, relative, escape(found)])
    sizes = [f"{row.treated:,}<small>{row.control:,} held out</small>" for row in report.horizons.values()]
    rows.append(["subscribers", *sizes, "", ""])
    saved = report.whole.margin.saved
    words = (
        "Everybody who could have been spoken to counts, whoever was reached (intention to treat). "
        + (
            f"What was spent in the 30 days before explains {saved:.0%} of the margin's variance away (CUPED). "
            if saved
            else ""
        )
        + f"Relative, and the difference that would be found with a chance of 80 %, are of {report.days} days."
    )
    return section("All figures", words, table(head, rows))


def _controls(report: Report) -> str:
    """Each offer against its own control group: the margin as a plot, the rest below it."""
    marks = [
        plots.Mark(f"{one.offer}, {one.days} days", one.row.margin.difference, _sizes(one.row), one.holds)
        for one in report.own
    ]
    show = partial(amount, currency=report.currency)
    days = sorted({day for one in report.own for day in one.horizons})
    words = (
        "Everybody counts to whom the offer could have been said, by consent, pauses and rules, from the first such "
        "moment on; a share of them, drawn by chance, was kept out of it and heard all the others. So this is what "
        "each offer earned in this playbook, over what would have been said in its place. Coloured: holds though all "
        "of these offers were looked at (Holm)."
    )
    drawn = plots.forest(marks, show, "margin a subscriber, against its own control group")
    rows = [_own(report, one, days) for one in report.own]
    return section("Each offer against its control group", words, drawn + table(["offer", *_heads(days), "told"], rows))


def _own(report: Report, one: Own, days: Sequence[int]) -> list[str]:
    """Its row, with how many of the treated heard of it."""
    told = f"{one.told:.0%}<small>of {one.row.treated:,}; {one.row.control:,} kept out</small>"
    name = f"{escape(one.offer)}<small>{one.share:.0%} in control</small>"
    return [name, *_cells(report, one.horizons, days), told]


def _heads(days: Sequence[int]) -> list[str]:
    return [*(f"margin, {day} days" for day in days), *BESIDES, "relative"]


def _cells(report: Report, by_days: Mapping[int, Row], days: Sequence[int]) -> list[str]:
    """The margin after so many days, and the other measures after the longest of them."""

    def cell(row: Row, measure: str) -> str:
        value, bounds = told(row.effects[measure].difference, measure, report.currency)
        return f"{escape(value)}<small>{escape(bounds)}</small>"

    last = by_days[max(by_days)]
    margins = [cell(by_days[day], "margin") if day in by_days else "" for day in days]
    ratio = last.margin.relative
    bounds = f"<small>{percent(ratio.low)} to {percent(ratio.high)}</small>" if ratio else ""
    return [*margins, *(cell(last, measure) for measure in BESIDES), f"{percent(ratio.value)}{bounds}" if ratio else ""]


def _checks(report: Report) -> str:
    rows = [
        [
            f'<span class="mark {"good" if check.sound else "bad"}">{"✓" if check.sound else "✗"}</span>',
            f"<b>{escape(check.name)}</b><small>{escape(check.words)}</small>",
        ]
        for check in report.checks
    ]
    sound = all(check.sound for check in report.checks)
    words = "All of it is well." if sound else "Not all of it is well: read this before you trust a figure."
    return section("Is the comparison sound?", words, table(["", ""], rows, numbers=9) + listed(report.notes))
