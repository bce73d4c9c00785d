"""The report of an evaluation as a page."""

from __future__ import annotations

from functools import partial
from html import escape

from kairos.cli import plots
from kairos.cli.evaluation_report import ESTIMATORS, Report, lines, sentence, thousand, weighed
from kairos.cli.page import cards, listed, mood, section, table
from kairos.cli.page import page as whole_page
from kairos.evaluate import Evaluation


def page(report: Report) -> str:
    above = f"{report.playbook} · {report.moments:,} moments of {report.subscribers:,} subscribers · {report.what}"
    body = [_cards(report), _values(report), _exchanges(report), _rest(report)]
    return whole_page(f"Evaluation: {report.playbook}", above, sentence(report), body)


def _cards(report: Report) -> str:
    show = report.currency
    shown = [("1,000 moments earned", thousand(report.earned, show, plus=False), "", "")]
    if isinstance(report.found, Evaluation):
        change = report.found.difference
        bounds = f"95 %: {thousand(change.low, show)} to {thousand(change.high, show)}"
        size = f"{report.found.speaking:,.0f}"
        shown += [
            ("difference", thousand(change.value, show), bounds, mood(change)),
            ("effective sample size", size, f"of {report.moments:,} moments", ""),
        ]
    return cards([*shown, ("something else would be said", f"{report.changed:.0%}", "of moments", "")])


def _values(report: Report) -> str:
    if not isinstance(report.found, Evaluation):
        return ""
    marks = [plots.Mark(name, one, "", strong=ESTIMATORS[0] in name) for name, one, plus in lines(report) if not plus]
    words = (
        "What 1,000 moments earned, and would have earned by three estimators, with 95 % intervals over subscribers; "
        f"the line is what was earned. {weighed(report.found).capitalize()}."
    )
    show = partial(thousand, currency=report.currency, plus=False)
    return section("What it would have earned", words, plots.forest(marks, show, "a thousand moments", report.earned))


def _exchanges(report: Report) -> str:
    head = [*([report.by] if report.by else []), "was said", "would be said", "moments", "subscribers"]
    rows = [
        [
            *([escape(one.group)] if report.by else []),
            escape(one.said),
            "the same" if one.same else f"<b>{escape(one.would_say)}</b>",
            f"{one.moments:,.0f}",
            f"{one.subscribers:,.0f}",
        ]
        for one in report.exchanges
    ]
    words = "Where the changed policy draws, moments are sums of probabilities."
    return section("Who would have got what", words, table(head, rows, numbers=len(head) - 2))


def _rest(report: Report) -> str:
    words = "A value is of the moments that can be replayed and in which the log could have said the same."
    return section("On what it rests", words, listed(report.notes or ["every moment counts"]))
