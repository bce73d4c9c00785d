"""Offers against control groups of their own, in the report of uplift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kairos.cli.uplift_row import UNLIKELY, Check, Row, alike_before, percent, row_of, told
from kairos.domain.money import Currency
from kairos.evaluate import mismatch, together

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kairos.adapters.duckdb_uplift import Flows
    from kairos.engine.cohort import Controls, Met


@dataclass(frozen=True, slots=True)
class Own:
    """An offer against its control group, by days after it could first have been said to them."""

    offer: str
    share: float  # planned
    told: float  # the share of the treated to whom it was said
    horizons: Mapping[int, Row]  # never empty
    holds: bool  # whether its margin differs, when all such offers are looked at together

    @property
    def days(self) -> int:
        return max(self.horizons)

    @property
    def row(self) -> Row:
        return self.horizons[self.days]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        by_days = {str(days): row.plain() for days, row in self.horizons.items()}
        shares = {"share": self.share, "told": self.told}
        return {"offer": self.offer, **shares, "days": self.days, "holds": self.holds, "horizons": by_days}


def against_controls(flows: Flows, controls: Controls, last: int, days: Iterable[int]) -> tuple[list[Own], list[Check]]:
    """Each offer whose groups are large enough, and whether all of that may be trusted."""
    met = controls.offers()
    if not met:
        return [], []
    groups = {day: flows.within(day, last, cuts=("offer",), of="controls") for day in days}
    horizons, unfair = {}, []
    for offer in met:
        theirs = {day: group for day, found in groups.items() if (group := found.get(("offer", offer)))}
        fair = all(alike_before(group, len(met)) for group in theirs.values())
        if rows := {day: row for day, group in theirs.items() if (row := row_of("control", offer, group, fair))}:
            horizons[offer] = rows
            unfair += [] if fair else [offer]
    chances = together([rows[max(rows)].margin.p for rows in horizons.values()])
    own = [
        Own(offer, met[offer].share, met[offer].told / met[offer].treated, rows, chance < 0.05)
        for (offer, rows), chance in zip(horizons.items(), chances, strict=True)
    ]
    return own, _checks(met, unfair)


def _checks(met: Mapping[str, Met], unfair: Sequence[str]) -> list[Check]:
    """Of all offers at once: each names those that it fails for."""
    odd = [
        f"{offer} has {one.control:,} of {one.treated + one.control:,}, planned were {one.share:.2%}"
        for offer, one in met.items()
        if len(met) * mismatch(one.control, one.treated + one.control, one.share) < UNLIKELY
    ]
    heard = [
        f"{offer} was said to {one.told_of_control:,} of them" for offer, one in met.items() if one.told_of_control
    ]
    return [
        Check(
            "control groups of offers are as large as planned",
            not odd,
            "; ".join(odd) or f"none of {len(met)} differs by more than chance",
        ),
        Check(
            "who is in a control group did not hear its offer",
            not heard,
            f"{'; '.join(heard)}: has `control` been changed meanwhile? Report with --since that day"
            if heard
            else "nobody",
        ),
        Check(
            "control groups were alike before",
            not unfair,
            f"{', '.join(unfair)}: they differed, so CUPED is left out; report with --since when `control` was set"
            if unfair
            else "what they spent and recharged in the 30 days before differs no more than by chance",
        ),
    ]


def table_of(own: Sequence[Own], currency: Currency) -> RenderableType:
    """The margin of each, after so many days."""
    from rich.table import Table

    title = "margin a subscriber, against the offer's own control group"
    table = Table("offer", title=title, title_justify="left", title_style="", box=None, padding=(0, 2, 0, 0))
    for heading in ("days", "treated", "control", "told"):
        table.add_column(heading, justify="right")
    table.add_column("margin", justify="right")
    table.add_column("95 %", style="dim")
    table.add_column("relative", justify="right")
    table.add_column("holds")
    for one in own:
        for days, row in one.horizons.items():
            last = days == one.days
            table.add_row(
                one.offer if days == min(one.horizons) else "",
                str(days),
                f"{row.treated:,}",
                f"{row.control:,}",
                f"{one.told:.0%}" if last else "",
                *told(row.margin.difference, "margin", currency),
                percent(row.margin.relative.value) if row.margin.relative else "",
                "yes" if last and one.holds else "",
            )
    return table
