"""Plots as inline SVG: a curve with its band, steps that sum up, and estimates with their intervals side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from kairos.evaluate import Interval

WIDTH = 860  # of every plot; the page scales it
LONGEST = 32  # characters of a label
Show = Callable[[float], str]


class Mark(NamedTuple):
    """One row of a forest: what it is of, its estimate, the words beside it, and whether it is to stand out."""

    label: str
    interval: Interval
    words: str = ""
    strong: bool = False
    heading: bool = False  # only a label: what follows belongs together


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high.

    >>> ticks(-0.3, 1.1)
    [-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / about or 1.0
    size = 10.0 ** math.floor(math.log10(raw))
    step = size * min((1, 2, 5, 10), key=lambda times: abs(times * size - raw))
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) + 0.0 for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _scale(values: Sequence[float], start: float, end: float) -> tuple[Callable[[float], float], list[float]]:
    low, high = min(values), max(values)
    room = (high - low or abs(high) or 1.0) * 0.06
    low, high = low - room, high + room
    return (lambda value: start + (value - low) / (high - low) * (end - start)), ticks(low, high)


def curve(points: Sequence[tuple[int, Interval]], show: Show, across: str) -> str:
    """A value over days, with its band; it starts with nothing on day 0."""
    height, left, right, top, bottom = 300, 92, 24, 16, 46
    points = [(0, Interval(0, 0, 0)), *points]
    last = points[-1][0]
    y, rungs = _scale([bound for _, one in points for bound in one], height - bottom, top)

    def x(day: float) -> float:
        return left + day / last * (WIDTH - left - right)

    parts = [_rung(left, WIDTH - right, y(rung), show(rung), zero=rung == 0) for rung in rungs]
    days = [int(tick) for tick in ticks(0, last, 8) if tick == int(tick)]
    parts += [_text("tick", x(day), height - 24, str(day), "middle") for day in days]
    parts.append(_text("axis", (left + WIDTH - right) / 2, height - 6, across, "middle"))
    above = [f"{x(day):.1f},{y(one.high):.1f}" for day, one in points]
    below = [f"{x(day):.1f},{y(one.low):.1f}" for day, one in reversed(points)]
    line = " ".join(f"{x(day):.1f},{y(one.value):.1f}" for day, one in points)
    parts.append(f'<polygon class="band" points="{" ".join(above + below)}"/><polyline class="line" points="{line}"/>')
    for day, one in points[1:]:
        hover = _hover(f"day {day}", one, show)
        parts.append(f'<circle class="dot" cx="{x(day):.1f}" cy="{y(one.value):.1f}" r="4">{hover}</circle>')
    return _svg(height, parts)


def steps(rows: Sequence[tuple[str, Interval, bool]], show: Show) -> str:
    """Bars that go on where the one before ended; a sum (the third of a row) stands on nothing, with its interval."""
    height, left, right, top, bottom = 300, 92, 24, 26, 52
    bars, at = [], 0.0
    for label, one, is_sum in rows:
        start, end = (0.0, one.value) if is_sum else (at, at + one.value)
        bars.append((label, one, is_sum, start, end))
        at = end
    reach = [bound for _, one, is_sum, *ends in bars for bound in (*ends, *(one[1:] if is_sum else ()))]
    y, rungs = _scale([0.0, *reach], height - bottom, top)
    wide = (WIDTH - left - right) / len(bars)
    parts = [_rung(left, WIDTH - right, y(rung), show(rung), zero=rung == 0) for rung in rungs]
    for place, (label, one, is_sum, start, end) in enumerate(bars):
        x, peak, tall = left + place * wide, min(y(start), y(end)), max(abs(y(start) - y(end)), 1)
        kind = "sum" if is_sum else "gain" if one.value >= 0 else "loss"
        box = f'x="{x + wide * 0.2:.1f}" y="{peak:.1f}" width="{wide * 0.6:.1f}" height="{tall:.1f}" rx="3"'
        parts.append(f'<rect class="{kind}" {box}>{_hover(label, one, show)}</rect>')
        if is_sum:
            parts.append(f'<path class="whisker" d="M{x + wide / 2:.1f} {y(one.low):.1f}V{y(one.high):.1f}"/>')
            peak = min(peak, y(one.high))
        else:
            parts.append(f'<path class="joint" d="M{x + wide * 0.8:.1f} {y(end):.1f}h{wide * 0.4:.1f}"/>')
        parts.append(_text("value", x + wide / 2, peak - 7, show(one.value), "middle"))
        parts.append(_text("label", x + wide / 2, height - 26, label, "middle"))
    return _svg(height, parts)


def forest(marks: Sequence[Mark], show: Show, across: str, reference: float = 0.0) -> str:
    """Estimates below each other on one scale, with whiskers, and a line where there is no difference."""
    row, top, bottom, left, right = 28, 8, 48, 250, 190
    height = top + row * len(marks) + bottom
    drawn = [mark.interval for mark in marks if not mark.heading]
    x, rungs = _scale([reference, *(bound for one in drawn for bound in one)], left, WIDTH - right)
    foot = height - bottom
    parts = [f'<path class="rung" d="M{x(rung):.1f} {top}V{foot}"/>' for rung in rungs]
    parts += [_text("tick", x(rung), foot + 18, show(rung), "middle") for rung in rungs]
    parts.append(f'<path class="zero" d="M{x(reference):.1f} {top}V{foot}"/>')
    parts.append(_text("axis", (left + WIDTH - right) / 2, height - 8, across, "middle"))
    for place, mark in enumerate(marks):
        y, one = top + row * (place + 0.5), mark.interval
        if mark.heading:
            parts.append(_text("heading", 0, y + 4, mark.label))
            continue
        parts.append(
            f'<g class="{"strong" if mark.strong else "weak"}">{_hover(mark.label, one, show)}'
            f'<path class="whisker" d="M{x(one.low):.1f} {y}H{x(one.high):.1f}"/>'
            f'<circle cx="{x(one.value):.1f}" cy="{y}" r="5"/>'
            + _text("label", 12, y + 4, _short(mark.label))
            + _text("value", WIDTH - right + 16, y + 4, show(one.value))
            + _text("tick", WIDTH, y + 4, mark.words, "end")
            + "</g>"
        )
    return _svg(height, parts)


def _text(kind: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _hover(label: str, one: Interval, show: Show) -> str:
    return f"<title>{escape(f'{label}: {show(one.value)} ({show(one.low)} to {show(one.high)})')}</title>"


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"


def _rung(left: float, right: float, y: float, words: str, *, zero: bool) -> str:
    kind = "zero" if zero else "rung"
    return f'<path class="{kind}" d="M{left} {y:.1f}H{right}"/>' + _text("tick", left - 10, y + 4, words, "end")


def _svg(height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">{"".join(parts)}</svg>'
