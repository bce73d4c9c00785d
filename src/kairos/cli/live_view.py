"""The demo's live view: what the synthetic operator counted, why kairos kept silent, what handsets show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

KINDS = {
    "top_up": "promise for a top-up",
    "bundle": "in-market bundle",
    "personal": "personal bundle",
    "content": "content bundle",
    "missed": "what you missed",
    "care": "care",
}
REASONS_SHOWN = 10
HANDSETS_SHOWN = 6


def picture(said: Mapping[str, Any], reasons: Mapping[str, int]) -> Group:
    """One frame; `said` is the operator's figures, `reasons` kairos' own count of what kept it silent."""
    kinds = ((title, said["by_kind"].get(kind, 0)) for kind, title in KINDS.items())
    silent = sorted(reasons.items(), key=lambda reason: -reason[1])[:REASONS_SHOWN]
    return Group(
        Panel(
            _figures(said), title="kairos demo: a synthetic operator, counted in its own ledgers", border_style="cyan"
        ),
        Columns(
            [
                Panel(_two_columns(kinds), title="fulfilled, by kind", border_style="green"),
                Panel(_two_columns(silent), title="refused, by reason", border_style="yellow"),
            ]
        ),
        Panel(_handsets(said["recent"][-HANDSETS_SHOWN:]), title="handsets (synthetic)", border_style="dim"),
    )


def _figures(said: Mapping[str, Any]) -> Table:
    seconds = max(said["seconds"], 0.1)
    table = Table.grid(expand=True, padding=(0, 2))
    rows = [
        ("events", said["events"], f"{said['events'] / seconds:.0f}/s"),
        ("notifications", said["notifications_delivered"], f"of {said['notifications_submitted']} submitted"),
        ("submit to handset", f"{said['p50_ms']:.1f} ms", f"p99 {said['p99_ms']:.1f} ms"),
        ("offers delivered", said["offers_delivered"], f"{said['offers_riding']} riding on a notification"),
        ("accepted", said["accepted"], f"{said['declined']} declined"),
        ("fulfilled", said["fulfilled"], f"{said['refused_with_reason']} refused with a reason"),
        ("charged twice", said["charged_twice"], f"lost {said['lost']}, duplicates {said['duplicates']}"),
    ]
    for name, value, more in rows:
        table.add_row(name, f"[bold]{value}[/]", f"[dim]{more}[/]")
    table.add_row("running", f"{seconds:.0f} s", "" if said["bound"] else "[red]not bound[/]")
    return table


def _two_columns(rows: Iterable[tuple[str, int]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name, count in rows:
        table.add_row(name, f"[bold]{count}[/]")
    return table


def _handsets(recent: Sequence[Sequence[str]]) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for msisdn, direction, text in recent:
        arrow = "<" if direction == "to" else ">"
        table.add_row(f"+{msisdn} {arrow}", Text(text.replace("\n", " | "), style="" if arrow == "<" else "bold green"))
    return table
