"""Plots are well-formed, stay inside their frame, and show words as they are, whatever the values."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from kairos.cli.page import cards, section, table
from kairos.cli.plots import WIDTH, Mark, curve, forest, steps, ticks
from kairos.evaluate import Interval

VALUES = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))
INTERVALS = st.lists(VALUES, min_size=3, max_size=3).map(sorted).map(lambda v: Interval(v[1], v[0], v[2]))
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=50)


def show(value: float) -> str:
    return f"<{value:.3g}>"


def sound(svg: str) -> ET.Element:
    """Parsed, with every coordinate inside the frame."""
    root = ET.fromstring(svg)
    height = float(root.attrib["viewBox"].split()[3])
    for one in root.iter():
        for name, end in (("x", WIDTH), ("cx", WIDTH), ("y", height), ("cy", height)):
            assert 0 <= float(one.attrib.get(name, 0)) <= end, (one.tag, one.attrib)
    return root


@given(st.lists(INTERVALS, min_size=1, max_size=8), WORDS)
def test_a_curve(intervals: list[Interval], words: str) -> None:
    root = sound(curve([(3 * place + 1, one) for place, one in enumerate(intervals)], show, words))
    assert len(root.findall("circle")) == len(intervals)


@given(st.lists(st.tuples(WORDS, INTERVALS), min_size=1, max_size=6))
def test_steps(rows: list[tuple[str, Interval]]) -> None:
    total = Interval(*(sum(one[place] for _, one in rows) for place in range(3)))
    root = sound(steps([*((label, one, False) for label, one in rows), ("sum", total, True)], show))
    assert len(root.findall("rect")) == len(rows) + 1


@given(
    st.lists(st.builds(Mark, WORDS, INTERVALS, WORDS, st.booleans(), st.just(False)), min_size=1, max_size=8), VALUES
)
def test_a_forest(marks: list[Mark], reference: float) -> None:
    root = sound(forest([Mark("group", Interval(0, 0, 0), heading=True), *marks], show, "across", reference))
    assert len(root.findall("g")) == len(marks)
    assert all(group.find("title") is not None for group in root.findall("g"))


@given(VALUES, VALUES)
def test_ticks_are_few_and_within(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    found = ticks(low, high + 1)
    assert 1 <= len(found) <= 12
    hair = 1e-6 * (high + 1 - low)  # far below a pixel: a tick on the very edge may miss it by rounding
    assert all(low - hair <= tick <= high + 1 + hair for tick in found)


def test_words_of_a_playbook_are_no_markup() -> None:
    drawn = cards([("<b>", "<i>", "&", "")]) + section("<h>", "<p>", table(["<th>"], [["cell"]]))
    for tag in ("<b>", "<i>", "<h>", "<th><"):
        assert tag not in drawn
    assert "&lt;script&gt;" in forest([Mark("<script>", Interval(0, -1, 1))], show, "")
