"""One meaning, two runners: random typed rules over random rows, in generated Python and in DuckDB."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rules.conftest import VOCABULARY as NAMES
from tests.rules.conftest import Duck

from kairos.errors import RuleError
from kairos.rules import Condition, Type, compile_check, compile_false, compile_true, parse

COLUMNS = list(NAMES)

# --- rows: mostly small values that rules also name, and the ends of each type ------------------------------------

NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 2.5, 0.5, 0.1, 7.0, 200.0, 1e9, 1e308, -1.5e308, 5e-324, 2.0**53]
TEXTS = [
    "",
    "a",
    "A",
    "ab",
    "abc",
    "prepaid",
    "Prepaid",
    "été",
    "ÉTÉ",
    "ß",
    "İ",
    "ΣΑΣ",
    "a%b",
    "a_b",
    "a\\b",
    "o'b",
    " a ",
    "😀",
]
DAY = 86_400_000

numbers = st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-300, 300)
money = st.integers(-500, 500) | st.integers(-(2**63), 2**63 - 1)
texts = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x2FFF), max_size=4)
dates = st.integers(-20, 20) | st.integers(-100_000, 100_000)
times = st.builds(lambda d, ms: d * DAY + ms, dates, st.integers(0, DAY - 1))
VALUES: Mapping[Type, st.SearchStrategy[Any]] = {
    "number": numbers,
    "money": money,
    "text": texts,
    "boolean": st.booleans(),
    "date": dates,
    "time": times,
}
rows = st.tuples(*(st.one_of(st.none(), VALUES[kind], VALUES[kind]) for kind in NAMES.values()))

# --- rules, as text -----------------------------------------------------------------------------------------------

LITERALS: Mapping[Type, Sequence[str]] = {
    "number": [*map(repr, NUMBERS), "1e2", ".5", "3", "-4", "0.30000000000000004"],
    "money": ["0", "1", "2.50", "-3.1", "92233720368547758.07", "4.99", "1e1"],
    "text": ["'" + text.replace("'", "''") + "'" for text in TEXTS],
    "boolean": ["TRUE", "false"],
    "date": ["DATE '1970-01-01'", "date '1970-01-09'", "DATE '2026-02-28'"],
    "time": ["TIMESTAMP '1970-01-02'", "TIMESTAMP '1970-01-01 12:30:00.5'"],
}

# `number` and so on stand for a value of that type, one level simpler; `number!` for a literal; `number?` for either.
SHAPES: Mapping[Type, Sequence[str]] = {
    "number": [
        *(f"(number {sign} number?)" for sign in "+-*/%"),
        *(f"(number? {sign} number)" for sign in "+-*/%"),
        "(money / money)",
        "-number",
        *(f"{name}(number)" for name in ("abs", "round", "floor", "ceil")),
        *(f"{name}(number, number?)" for name in ("least", "greatest", "coalesce")),
        "length(text)",
        *(f"{name}({kind})" for name in ("days_since", "days_until") for kind in ("date", "time")),
        "hours_since(time)",
        "hours_until(time)",
        *("hour_of_day()", "day_of_week()", "day_of_month()", "month()"),
    ],
    "money": [
        *("(money + money?)", "(money? - money)", "(money * number?)", "(number? * money)", "(money / number?)"),
        *("-money", "abs(money)", "least(money, money?)", "greatest(money, money?)", "coalesce(money, money?)"),
    ],
    "text": ["lower(text)", "upper(text)", "trim(text)", "coalesce(text, text?)"],
    "boolean": [
        *(f"{name}(text, text?)" for name in ("starts_with", "ends_with", "contains")),
        *("is_weekend()", "coalesce(boolean, boolean?)"),
    ],
    "date": ["date_of(time)", "least(date, date?)", "coalesce(date, date?)"],
    "time": ["greatest(time, time?)", "coalesce(time, time!)"],
}
ATOMS: Mapping[Type, Sequence[str]] = {
    kind: [
        *(f"{kind} {sign} {kind}?" for sign in ("=", "<>", "!=")),
        *(f"{kind} {sign} {kind}?" for sign in ("<", "<=", ">", ">=") if kind != "boolean"),
        *(f"{kind}! {sign} {kind}" for sign in ("<", ">=") if kind != "boolean"),
        *(f"{kind}{negated} IN ({listed})" for negated in ("", " NOT") for listed in (f"{kind}!", f"{kind}!, {kind}!")),
        *(f"{kind} IS{negated} NULL" for negated in ("", " NOT")),
        *(f"{kind}{negated} BETWEEN {kind}? AND {kind}?" for negated in ("", " NOT") if kind != "boolean"),
        *(f"text{negated} LIKE pattern" for negated in ("", " NOT") if kind == "text"),
        *(
            f"boolean IS{negated} {truth}"
            for negated in ("", " NOT")
            for truth in ("TRUE", "FALSE")
            if kind == "boolean"
        ),
        *(["boolean"] if kind == "boolean" else []),
    ]
    for kind in NAMES.values()
}
HOLE = re.compile(r"\b(number|money|text|boolean|date|time)\b(?!\()([!?]?)|pattern|rule")
patterns = st.text("aAb%_é\\p", max_size=5).map(lambda text: f"'{text}'")


@st.composite
def rules(draw: st.DrawFn) -> str:
    """A random rule of the right types, as text."""

    def pick(choices: Sequence[str]) -> str:
        return draw(st.sampled_from(choices))

    def filled(shape: str, deep: int) -> str:
        return HOLE.sub(lambda hole: fill(hole, deep), shape)

    def fill(hole: re.Match[str], deep: int) -> str:
        if hole[0] == "pattern":
            return draw(patterns)
        if hole[0] == "rule":
            return rule(deep)
        kind: Type = hole[1]  # type: ignore[assignment]
        if hole[2] == "!" or (hole[2] == "?" and draw(st.booleans())):
            return pick(LITERALS[kind])
        if deep <= 0 or draw(st.booleans()):
            return pick([name for name, of in NAMES.items() if of == kind])
        return filled(pick(SHAPES[kind]), deep - 1)

    def rule(deep: int) -> str:
        if deep > 2 and draw(st.booleans()):
            return filled(pick(["(rule AND rule)", "(rule OR rule)", "NOT (rule)", "rule AND NOT rule"]), deep - 1)
        return filled(pick(ATOMS[draw(st.sampled_from(list(ATOMS)))]), 3)

    return rule(5)


many_rules = st.lists(rules(), min_size=4, max_size=12)
many_rows = st.lists(rows, min_size=8, max_size=16)


def parsed(texts: Sequence[str]) -> list[tuple[str, Condition]]:
    """The rules with their conditions; a literal beside a literal may have no type in common, and is left out."""
    found = []
    for text in texts:
        try:
            found.append((text, parse(text, NAMES)))
        except RuleError:
            continue
    return found


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(many_rules, many_rows)
def test_python_and_duckdb_give_one_answer(duck: Duck, texts: list[str], data: list[tuple[Any, ...]]) -> None:
    assert_python_and_duckdb_agree(duck, texts, data)


def assert_python_and_duckdb_agree(duck: Duck, texts: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
    told = parsed(texts)
    if not told:
        return
    answers = duck([condition for _, condition in told], data)
    for at, (text, condition) in enumerate(told):
        true, false = compile_true(condition, COLUMNS), compile_false(condition, COLUMNS)
        for row, answer in zip(data, answers, strict=True):
            ours = (true(row), false(row))
            assert ours == answer[at], (text, condition.key, {n: row[COLUMNS.index(n)] for n in condition.names})


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(st.lists(rules(), max_size=4), min_size=1, max_size=8), many_rows)
def test_the_check_of_all_arms_is_each_condition_on_its_own(arms: list[list[str]], data: list[tuple[Any, ...]]) -> None:
    needed = [[condition for _, condition in parsed(texts)] for texts in arms]
    assert_check_equals_its_conditions(needed, data)


simple_rules = st.tuples(
    st.sampled_from(["n", "m", "balance", "plan", "seen", "born", "n / 2", "length(plan)"]),
    st.sampled_from(["{0} {1} {2}", "NOT ({0} {1} {2} OR {0} IS NULL)", "{0} IN ({2})", "{0} BETWEEN {2} AND {3}"]),
    st.sampled_from(["=", "<>", "<", "<=", ">", ">="]),
    st.integers(0, 12),
    st.integers(0, 12),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(simple_rules, min_size=1, max_size=4), min_size=1, max_size=25), many_rows)
def test_the_check_of_many_thresholds_is_each_condition_on_its_own(
    arms: list[list[tuple[str, str, str, int, int]]], data: list[tuple[Any, ...]]
) -> None:
    def written(subject: str, shape: str, sign: str, low: int, high: int) -> Condition:
        kind = NAMES.get(subject, "number")
        pool = LITERALS[kind] if kind in ("text", "date", "time") else [str(at / 2) for at in range(13)]
        return parse(shape.format(subject, sign, pool[low % len(pool)], pool[high % len(pool)]), NAMES)

    assert_check_equals_its_conditions([[written(*rule) for rule in arm] for arm in arms], data)


def assert_check_equals_its_conditions(arms: Sequence[Sequence[Condition]], data: Sequence[Sequence[Any]]) -> None:
    check = compile_check(arms, COLUMNS)
    distinct = list(dict.fromkeys(condition for arm in arms for condition in arm))
    assert list(check.conditions) == distinct
    tests = {condition: compile_true(condition, COLUMNS) for condition in distinct}
    for row in data:
        holding = {condition: test(row) for condition, test in tests.items()}
        alive = sum(1 << at for at, arm in enumerate(arms) if all(holding[condition] for condition in arm))
        failed = sum(1 << at for at, condition in enumerate(distinct) if not holding[condition])
        assert check.run(row) == (alive, failed), (check.source, row)


def test_a_size_beside_its_own_column_where_some_are_not_known(duck: Duck) -> None:
    at = COLUMNS.index("value")
    data = [tuple(value if place == at else None for place in range(len(COLUMNS))) for value in (None, 0.0, -2.0)]
    assert_python_and_duckdb_agree(duck, ["value >= coalesce(abs(value), 1.0)"], data)


@pytest.mark.long
@settings(deadline=None, max_examples=4_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(many_rules, many_rows)
def test_python_and_duckdb_give_one_answer_for_long(duck: Duck, texts: list[str], data: list[tuple[Any, ...]]) -> None:
    assert_python_and_duckdb_agree(duck, texts, data)
