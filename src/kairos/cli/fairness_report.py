"""The report of fairness: offer and refusal rates of each group against everybody else, and how a terminal shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kairos.evaluate import Counts, Interval, by_number, gap, parity, rate, segments

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kairos.engine.fairness import Tally

Floats = NDArray[np.float64]
FEWEST = 30  # subscribers of a group that is judged
FOUR_FIFTHS = 0.8
MOST = 30  # lines that a terminal shows


@dataclass(frozen=True, slots=True)
class Line:
    """How often one group was offered an offer, or refused it by a rule (empty: offered), against all others."""

    group: str
    offer: str
    rule: str
    subscribers: int
    moments: int
    rate: Interval
    others: Interval
    gap: Interval
    parity: Interval | None
    differs: bool  # when all lines are looked at together

    @property
    def adverse(self) -> bool:
        """An offer rate below four fifths of the others'."""
        return not self.rule and self.differs and self.parity is not None and self.parity.value < FOUR_FIFTHS


@dataclass(frozen=True, slots=True)
class Report:
    playbook: str
    by: str
    moments: int
    subscribers: int
    offered: Sequence[Line]  # of any offer, by group
    lines: Sequence[Line]  # of each offer and rule; the widest gaps first
    notes: Sequence[str]


def make(tally: Tally, *, playbook: str, by: str, show: Callable[[Any], str]) -> Report | str:
    """The report, or why there is none."""
    from kairos.engine.fairness import EVERY, OFFERED

    if not tally.trait:
        return "nothing to report: the store has no decisions of that time"
    people = dict(zip(tally.trait, segments(list(tally.trait.values()), show), strict=True))
    sizes: dict[str, int] = defaultdict(int)
    for name in people.values():
        sizes[name] += 1
    judged = sorted((name for name, size in sizes.items() if FEWEST <= size <= len(people) - FEWEST), key=by_number)
    if not judged:
        return f"all but fewer than {FEWEST} subscribers have the same `{by}`: there are no groups to compare"
    columns = _columns(tally, people)
    found = sorted({(offer, rule) for offer, rule, _ in tally.happened} | {(EVERY, OFFERED)})
    level = 1 - 0.05 / (len(found) * len(judged))  # Bonferroni
    lines = []
    for offer, rule in found:
        who, moments, group = columns[offer]
        happened = np.array([tally.happened[offer, rule, one] for one in who], np.float64)
        for name in judged:
            mine = np.equal(group, name)
            if min(np.sum(mine), np.sum(~mine)) >= FEWEST:
                pair = Counts(happened[mine], moments[mine]), Counts(happened[~mine], moments[~mine])
                lines.append(_line(name, offer, rule, *pair, level))
    notes = [
        "a refusal is counted under its first rule; the moments of one subscriber count as one witness",
        *(f"`{name}` has {size} subscribers: too few to judge" for name, size in sizes.items() if size < FEWEST),
    ]
    if tally.forgotten:
        notes.append(f"{tally.forgotten:,} of {tally.moments:,} decisions have no playbook any more")
    return Report(
        playbook,
        by,
        tally.moments,
        len(people),
        [line for line in lines if (line.offer, line.rule) == (EVERY, OFFERED)],
        sorted(
            (
                line
                for line in lines
                if (line.offer, line.rule) != (EVERY, OFFERED) and (len(sizes) > 2 or _worse(line))
            ),
            key=lambda line: (not line.differs, -abs(line.gap.value)),
        ),
        notes,
    )


def _columns(tally: Tally, people: Mapping[int, str]) -> dict[str, tuple[list[int], Floats, NDArray[np.str_]]]:
    """By offer: the subscribers that it could have been for, each one's moments and group."""
    asked: dict[str, dict[int, int]] = defaultdict(dict)
    for (offer, who), moments in tally.asked.items():
        asked[offer][who] = moments
    return {
        offer: (list(found), np.array([*found.values()], np.float64), np.array([people[who] for who in found]))
        for offer, found in asked.items()
    }


def _line(group: str, offer: str, rule: str, mine: Counts, others: Counts, level: float) -> Line:
    return Line(
        group,
        offer,
        rule,
        len(mine.moments),
        int(mine.moments.sum()),
        rate(mine),
        rate(others),
        gap(mine, others),
        parity(mine, others),
        not gap(mine, others, level).covers(0),
    )


def _worse(line: Line) -> bool:
    """Of two groups, what is true of one says all of the other: the worse off is shown."""
    return line.gap.value > 0 if line.rule else line.gap.value < 0


def sentence(report: Report) -> str:
    """What the report says, in one sentence."""
    adverse = [line for line in report.offered if line.adverse]
    if adverse:
        named = ", ".join(f"{line.group} ({_times(line.parity)} of the others' rate)" for line in adverse)
        return f"By {report.by}, these are offered less than four fifths of what others are: {named}."
    apart = sum(line.differs for line in report.offered)
    if apart:
        groups = "one group is" if apart == 1 else f"{apart} groups are"
        return f"By {report.by}, {groups} offered more or less often than others, none less than four fifths as often."
    return f"By {report.by}, no group is shown to be offered more or less often than others."


def _times(interval: Interval | None) -> str:
    return f"{interval.value:.1%}" if interval else ""


def share(interval: Interval) -> str:
    return f"{interval.value:.1%}"


def between(interval: Interval) -> str:
    """
    >>> between(Interval(0.1, 0.05, 0.2))
    '5.0 to 20.0 %'
    """
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def what(line: Line) -> str:
    return f"refused by {line.rule}" if line.rule else "offered"


def pictures(report: Report) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    head = f"{report.playbook}, {report.moments:,} moments of {report.subscribers:,} subscribers: {sentence(report)}"
    offered = Table(report.by, "subscribers", "moments", "offered", "95 %", box=None, padding=(0, 2, 0, 0))
    for column in ("of others' rate", "95 %", "differs"):
        offered.add_column(column)
    for line in report.offered:
        ratio = (_times(line.parity), between(line.parity)) if line.parity else ("", "")
        verdict = Text("below four fifths", style="bold red") if line.adverse else "yes" if line.differs else ""
        sizes = f"{line.subscribers:,}", f"{line.moments:,}"
        offered.add_row(line.group, *sizes, share(line.rate), between(line.rate), *ratio, verdict)
    lines = Table(report.by, "offer", "what", "rate", "others", "gap, 95 %", "differs", box=None, padding=(0, 2, 0, 0))
    for line in report.lines[:MOST]:
        rates = share(line.rate), share(line.others), between(line.gap)
        lines.add_row(line.group, line.offer, what(line), *rates, "yes" if line.differs else "")
    notes = [Text(f"note: {note}", style="dim") for note in report.notes]
    more = len(report.lines) - MOST
    return [
        Text(head, style="bold"),
        "",
        offered,
        "",
        lines,
        *([f"... and {more} more; --json and --html have all"] if more > 0 else []),
        *notes,
    ]


def plain(report: Report) -> dict[str, Any]:
    """The report as JSON has it."""

    def line(one: Line) -> dict[str, Any]:
        return {
            "group": one.group,
            "offer": one.offer,
            "rule": one.rule,
            "subscribers": one.subscribers,
            "moments": one.moments,
            "rate": one.rate._asdict(),
            "others": one.others._asdict(),
            "gap": one.gap._asdict(),
            "parity": one.parity._asdict() if one.parity else None,
            "differs": one.differs,
            "adverse": one.adverse,
        }

    return {
        "playbook": report.playbook,
        "by": report.by,
        "moments": report.moments,
        "subscribers": report.subscribers,
        "sentence": sentence(report),
        "offered": [line(one) for one in report.offered],
        "lines": [line(one) for one in report.lines],
        "notes": list(report.notes),
    }
