"""Templates: what is a placeholder, what stands for itself, and that no text ever says None."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.deliver import compile_template

NAMES = ("title", "price", "end_of_call.cost")
VALUES = st.text(max_size=20)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{title}", "T"),
        ("{title}{price}", "TP"),
        ("100% {title} %s %(x)s", "100% T %s %(x)s"),
        ("{{title}}", "{title}"),
        ("{{{title}}}", "{T}"),
        ("{ title }", "{ title }"),
        ("{title!r} {title:>9} {0} {}", "{title!r} {title:>9} {0} {}"),
        ("{title.__class__", "{title.__class__"),
        ("a {end_of_call.cost} b", "a C b"),
        ("}{", "}{"),
    ],
)
def test_placeholders(text: str, said: str) -> None:
    assert compile_template(text).fill({"title": "T", "price": "P", "end_of_call.cost": "C"}) == said


@pytest.mark.parametrize("text", ["{title.__class__}", "{__class__}", "{missing}", "{title} {missing}"])
def test_nothing_reaches_into_a_value(text: str) -> None:
    assert compile_template(text).fill({"title": "T"}) is None


@given(st.lists(st.one_of(VALUES, st.sampled_from([f"{{{name}}}" for name in NAMES])), max_size=8), st.data())
@settings(deadline=None, max_examples=200)
def test_a_value_is_said_or_the_text_is_not(parts: list[str], data: st.DataObject) -> None:
    escaped = [part if part[1:-1] in NAMES else part.replace("{", "{{").replace("}", "}}") for part in parts]
    values = {name: data.draw(st.none() | VALUES) for name in NAMES}
    said = compile_template("".join(escaped)).fill(values)
    wanted = [values[part[1:-1]] if part[1:-1] in NAMES else part for part in parts]
    assert said == (None if None in wanted else "".join(filter(None, wanted)))
