"""One self-contained HTML page: no script, nothing from elsewhere, light and dark, fit to be printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kairos.evaluate import Interval

STYLE = Path(__file__).with_name("page.css")


def page(title: str, above: str, sentence: str, body: Iterable[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE.read_text('utf-8')}</style></head><body><main>"
        f"<header><p>{escape(above)}</p><h1>{escape(sentence)}</h1></header>{''.join(body)}"
        "<footer>Made by kairos. This page holds everything that it shows and asks nothing of any network.</footer>"
        "</main></body></html>\n"
    )


def section(heading: str, words: str, content: str) -> str:
    return f'<section><h2>{escape(heading)}</h2><p>{escape(words)}</p><div class="wide">{content}</div></section>'


def cards(of: Iterable[tuple[str, str, str, str]]) -> str:
    """Each: what it is, its value, the words below, and `good`, `bad` or nothing."""
    drawn = (
        f'<div class="card"><span>{escape(what)}</span><b class="{mood}">{escape(value)}</b>'
        f"<span>{escape(words)}</span></div>"
        for what, value, words, mood in of
    )
    return f'<div class="cards">{"".join(drawn)}</div>'


def mood(difference: Interval) -> str:
    """Of a difference that is to be above nothing: `good` or `bad` where all of its interval is, else nothing."""
    return "good" if difference.low > 0 else "bad" if difference.high < 0 else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 1) -> str:
    """Cells are HTML; from the column `numbers` on they are numbers."""

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = [' class="number"' if place >= numbers else "" for place in range(len(row))]
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    top = cells("th", [escape(cell) for cell in head])
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def listed(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
