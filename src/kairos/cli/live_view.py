"""The demo's live view: what the synthetic operator counted, why kairos kept silent, what handsets show."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
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
    "streaming": "own TV to who streams",
    "companion": "a purchase's companion",
    "loyalty": "thanks for staying",
}
FIXED = 22  # lines of a frame that are no handset's, with the cursor's and the last summary's
Row = tuple[str | Text, str | Text, str | Text]

HANDSETS = 8  # at most
NARROW = 88  # columns, in which figures of thousands stand closer
ROOM_FOR_CTRL_C = 2  # columns: a terminal echoes `^C` behind the last line, and must not begin another
MARGIN = 8  # columns of a handset's line that are neither its number nor its text
ISOLATE, POP = "\u2068", "\u2069"  # first strong isolate: a right-to-left text turns round nothing but itself


Draw = Callable[[Mapping[str, Any], Mapping[str, int]], None]


@contextmanager
def drawing(console: Console | None = None, *, quiet: bool = False, svg: Path | None = None) -> Iterator[Draw]:
    """Draws the operator's figures and kairos' refusals in place. The last frame stays, with a line of summary.

    Where nobody looks (a pipe), only the last is written; `quiet`, none. `svg` keeps the last as a picture.
    """
    console = console or Console(highlight=False, quiet=quiet)
    latest: list[tuple[Mapping[str, Any], Mapping[str, int]]] = []
    started = Text("starting the synthetic operator and the server ...")
    live = Live(started, console=console, auto_refresh=False, transient=True)

    def draw(said: Mapping[str, Any], reasons: Mapping[str, int]) -> None:
        latest[:] = [(said, reasons)]
        if console.is_terminal:
            width = console.width - ROOM_FOR_CTRL_C
            live.update(Constrain(picture(said, reasons, width, console.height), width), refresh=True)

    with live if console.is_terminal else nullcontext():
        yield draw
    for said, reasons in latest:
        console.print(picture(said, reasons, console.width, console.height))
        console.print(summary(said))
        if svg:
            save(svg, said, reasons)


def save(svg: Path, said: Mapping[str, Any], reasons: Mapping[str, int], width: int = 100) -> None:
    """A frame as a picture, as a terminal of that many columns shows it."""
    console = Console(record=True, width=width, highlight=False, force_terminal=True, file=StringIO())
    console.print(picture(said, reasons, width, 32))
    console.print(summary(said))
    drawn = console.export_svg(title="make demo")
    svg.write_text(re.sub(r"@font-face \{[^}]*\}|<!--.*?-->", "", drawn), encoding="utf-8")  # no fonts from elsewhere


def picture(said: Mapping[str, Any], reasons: Mapping[str, int], width: int, height: int) -> Group:
    """One frame; `said` is the operator's figures, `reasons` kairos' own count of what kept it silent."""
    silent = sorted(reasons.items(), key=lambda reason: -reason[1])[: len(KINDS)]
    kinds = [(title, said["by_kind"].get(kind, 0)) for kind, title in KINDS.items()]
    beside = Table.grid(expand=True)
    beside.add_column(width=30)
    beside.add_column(ratio=1)
    beside.add_row(
        Panel(_counts(kinds, len(KINDS)), title="fulfilled, by kind", border_style="green"),
        Panel(_counts(silent, len(KINDS)), title="kept silent, by reason", border_style="yellow"),
    )
    shown = max(2, min(HANDSETS, height - FIXED))
    title = "kairos demo: a synthetic operator, counted in its own ledgers"
    return Group(
        Panel(_figures(said, 2 if width > NARROW else 1), title=title, border_style="cyan"),
        beside,
        Panel(
            _handsets(said["recent"][-shown:], shown, width - MARGIN), title="handsets (synthetic)", border_style="dim"
        ),
    )


def summary(said: Mapping[str, Any]) -> str:
    """The run in a sentence."""
    return (
        f"{said['seconds']:.0f} s: {said['notifications_delivered']:,} of {said['notifications_submitted']:,} "
        f"notifications delivered; {said['offers_delivered']:,} offers, {said['accepted']:,} accepted "
        f"= {said['fulfilled']:,} fulfilled + {said['refused_with_reason']:,} refused; "
        f"charged twice {said['charged_twice']}, lost {said['lost']}, duplicates {said['duplicates']}"
    )


def _figures(said: Mapping[str, Any], apart: int) -> Table:
    """Two halves of four lines: the way in and out, and what came of it."""
    seconds = max(said["seconds"], 0.1)
    unlucky = Text.assemble("lost ", _good(said["lost"]), ", repeated ", _good(said["duplicates"]))
    left: list[Row] = [
        ("events", _number(said["events"]), f"{said['events'] / seconds:,.0f}/s"),
        ("notifications", _number(said["notifications_delivered"]), f"of {said['notifications_submitted']:,}"),
        ("to handset", f"{said['p50_ms']:.1f} ms", f"p99 {said['p99_ms']:.0f} ms"),
        ("running", f"{seconds:.0f} s", "" if said["bound"] else Text("not bound", "bold red")),
    ]
    right: list[Row] = [
        ("offers", _number(said["offers_delivered"]), f"{said['offers_riding']:,} riding"),
        ("accepted", _number(said["accepted"]), f"{said['declined']:,} declined"),
        ("fulfilled", _number(said["fulfilled"]), f"{said['refused_with_reason']:,} refused"),
        ("charged twice", _good(said["charged_twice"]), unlucky),
    ]
    table = Table.grid(expand=True, padding=(0, apart, 0, 0))
    for share in (None, 1):  # the left half is as wide as it must be
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, min_width=11, ratio=share, style="dim")
    for one, other in zip(left, right, strict=True):
        table.add_row(*one, *other)
    return table


def _number(value: int) -> Text:
    return Text(f"{value:,}", "bold")


def _good(value: int) -> Text:
    """A figure that has to be 0."""
    return Text(f"{value:,}", "bold green" if value == 0 else "bold red")


def _counts(rows: Iterable[tuple[str, int]], lines: int) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, justify="right")
    filled: list[tuple[RenderableType, RenderableType]] = [(Text(name), _number(count)) for name, count in rows]
    for name, count in filled + [("", "")] * (lines - len(filled)):
        table.add_row(name, count)
    return table


def _handsets(recent: Sequence[Sequence[str]], lines: int, width: int) -> Table:
    """What came to handsets (<) and went from them (>), the newest last."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True)
    for msisdn, direction, text in recent:
        arrow, style = ("<", "") if direction == "to" else (">", "bold green")
        shown = Text(" ".join(text.split()), style)
        shown.truncate(max(width - len(msisdn), 1), overflow="ellipsis")
        table.add_row(f"+{msisdn} {arrow}", Text(isolated(shown.plain), style))
    for _ in range(lines - len(recent)):
        table.add_row("", "")
    return table


def isolated(text: str) -> str:
    """A text with right-to-left letters, kept to itself: else a terminal would turn the whole line round.

    >>> isolated("T$2"), isolated("\u0633 T$2") == "\u2068\u0633 T$2\u2069"
    ('T$2', True)
    """
    turns = any(unicodedata.bidirectional(char) in ("R", "AL") for char in text)
    return f"{ISOLATE}{text}{POP}" if turns else text
