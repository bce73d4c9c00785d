"""`docs/rules.md` and the table of functions say the same, and every example on the page is a rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kairos.rules import FUNCTIONS, Constant, Names, parse
from kairos.rules.functions import COALESCE, Function
from kairos.rules.resolve import MAX_LEVELS, MAX_OPTIONS, MAX_PATTERN
from kairos.rules.syntax import MAX_DEPTH, MAX_TEXT, MAX_WORDS

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")

VOCABULARY: Names = {
    "plan": "text",
    "language": "text",
    "app": "text",
    "segments": "text",
    "nickname": "text",
    "data_left_mb": "number",
    "data_used_7d": "number",
    "data_trend": "number",
    "voice_left_min": "number",
    "balance": "money",
    "cost": "money",
    "marketing_consent": "boolean",
    "birthday": "date",
    "contract_end": "date",
    "last_recharge": "time",
    "bundle_ends": "time",
    "end_of_call.duration_s": "number",
}
CONSTANTS = {"price": Constant("money", 1000)}


def takes(functions: list[Function]) -> str:
    """`text, text`, or `number or money, …`: what the forms of one function take."""
    forms = [", ".join(function.takes) for function in functions]
    if functions[0] is COALESCE:
        forms = ["any type"]
    return " or ".join(forms) + (", …" if functions[0].repeats else "")


def gives(functions: list[Function]) -> str:
    kinds = {function.gives for function in functions}
    return "the same" if len(kinds) > 1 or functions[0] is COALESCE else kinds.pop()


def table() -> list[str]:
    """The rows of the page, by the table of functions: functions of one name and meaning stand together."""
    together: dict[tuple[str, str], list[Function]] = {}
    for function in (*FUNCTIONS, COALESCE):
        together.setdefault((function.name, function.means), []).append(function)
    return [
        f"| `{name}({takes(forms)})` | {gives(forms)} | {means} | `{forms[0].example}` |"
        for (name, means), forms in together.items()
    ]


def test_the_page_lists_exactly_the_functions_there_are() -> None:
    section = PAGE.split("\n## Functions\n")[1]
    listed = [line for line in section.splitlines() if re.match(r"\| `[a-z_]+\(", line)]
    assert listed == table()


@pytest.mark.parametrize("function", [*FUNCTIONS, COALESCE], ids=lambda function: function.name)
def test_the_example_of_a_function_is_a_rule_that_uses_it(function: Function) -> None:
    assert function.name + "(" in parse(function.example, VOCABULARY).key


EXAMPLES = [line for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) for line in block.strip().split("\n")]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_on_the_page_are_rules(example: str) -> None:
    parse(example, VOCABULARY, constants=CONSTANTS)


def test_the_limits_on_the_page_are_the_limits() -> None:
    assert EXAMPLES
    for limit in (MAX_TEXT, MAX_WORDS, MAX_DEPTH, MAX_LEVELS, MAX_OPTIONS, MAX_PATTERN):
        assert f"{limit:,}" in PAGE
