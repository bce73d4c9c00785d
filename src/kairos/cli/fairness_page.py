"""The report of fairness as a page."""

from __future__ import annotations

from html import escape

from kairos.cli import plots
from kairos.cli.fairness_report import Line, Report, between, sentence, share, what
from kairos.cli.page import cards, listed, section, table
from kairos.cli.page import page as whole_page

MOST = 60  # lines of the table: those that differ come first


def page(report: Report) -> str:
    above = f"{report.playbook} · {report.moments:,} moments of {report.subscribers:,} subscribers, by {report.by}"
    body = [_cards(report), _offered(report), _gaps(report), _table(report)]
    return whole_page(f"Fairness by {report.by}: {report.playbook}", above, sentence(report), body)


def _cards(report: Report) -> str:
    lowest = min(report.offered, key=lambda line: line.rate.value)
    highest = max(report.offered, key=lambda line: line.rate.value)
    differing = sum(line.differs for line in report.lines)
    return cards(
        [
            ("offered most often", share(highest.rate), f"{report.by}: {highest.group}", ""),
            (
                "offered least often",
                share(lowest.rate),
                f"{report.by}: {lowest.group}",
                "bad" if lowest.adverse else "",
            ),
            ("rates that differ", f"{differing:,}", f"of {len(report.lines):,}, looked at together", ""),
        ]
    )


def _offered(report: Report) -> str:
    marks = [
        plots.Mark(line.group, line.rate, f"{_ratio(line)} · {line.subscribers:,}", line.differs)
        for line in report.offered
    ]
    offered = sum(line.rate.value * line.moments for line in report.offered)
    average = offered / sum(line.moments for line in report.offered)
    words = (
        "The share of moments in which anything was offered; the line is the average of all. On the right, the ratio "
        "to the others' share, and the subscribers. Below 0.8 is less than four fifths: commonly called adverse impact."
    )
    drawn = plots.forest(marks, lambda value: f"{value:.0%}", "moments in which something was offered", average)
    return section("Who is offered anything", words, drawn)


def _ratio(line: Line) -> str:
    return f"{line.parity.value:.2f} × others" if line.parity else "never"


def _gaps(report: Report) -> str:
    marks = [
        plots.Mark(f"{line.group}: {line.rule}", line.gap, line.offer, strong=True)
        for line in report.lines
        if line.differs and line.rule
    ][:16]
    if not marks:
        return section("Which rules make the difference", "No rule refuses one group more often than others.", "")
    words = (
        "The rules that refuse one group more (right of the line) or less often than the others, in percentage points, "
        "the widest gaps first. A rule may have its reason: this says where to look."
    )
    drawn = plots.forest(marks, _points, "points more than others")
    return section("Which rules make the difference", words, drawn)


def _points(gap: float) -> str:
    return f"{100 * gap:+.0f}".replace("-", "−")


def _table(report: Report) -> str:
    head = [report.by, "offer", "what", "rate", "others", "gap, points", ""]
    rows = [_row(line) for line in report.lines[:MOST]]
    more = len(report.lines) - MOST
    notes = [*report.notes, *([f"{more} lines more, none with a wider gap, are in --json"] if more > 0 else [])]
    words = "Each offer and each rule. Marked: differs though all lines were looked at together (Bonferroni)."
    return section("All rates", words, table(head, rows, numbers=3) + listed(notes))


def _row(line: Line) -> list[str]:
    tag = '<span class="tag bad">below four fifths</span>' if line.adverse else '<span class="tag">differs</span>'
    return [
        escape(line.group),
        escape(line.offer),
        escape(what(line)),
        f"{share(line.rate)}<small>{between(line.rate)}</small>",
        share(line.others),
        f"{100 * line.gap.value:+.1f}<small>{between(line.gap)[:-2]}</small>".replace("-", "−"),
        tag if line.differs else "",
    ]
