"""No rule reaches Python or the file system, and none runs without bound."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.errors import RuleError
from kairos.rules import FUNCTIONS, Type, compile_false, compile_true, parse, to_sql
from kairos.rules.like import matcher

HOSTILE = [
    "__import__('os').system('true')",
    "__import__('os')",
    "eval('1')",
    "exec('1') = 1",
    "open('/etc/passwd') IS NOT NULL",
    "plan.__class__ = 'a'",
    "plan.format('a') = 'a'",
    "().__class__",
    "lambda: 1",
    "n if n else m",
    "[x for x in (1, 2)]",
    "{plan}",
    "{0.__class__}",
    "{{n}} = 1",
    "f'{n}' = 'a'",
    "n := 5",
    "n; DROP TABLE asked",
    "DROP TABLE asked",
    "n = 1; --",
    "1 = 1 UNION SELECT 1",
    "n = (SELECT count(*) FROM asked)",
    "n IN (FROM asked)",
    "n IN (TABLE asked)",
    "n IN (VALUES (1))",
    "EXISTS (FROM asked)",
    "read_csv('/etc/passwd') IS NULL",
    "read_text('/etc/passwd') = ''",
    "read_blob(plan) IS NULL",
    "glob('*') IS NULL",
    "getenv('HOME') = ''",
    "current_setting('threads') = 1",
    "pragma_version() = 1",
    "PRAGMA database_list",
    "ATTACH 'x.db'",
    "COPY asked TO 'x'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 1",
    "CALL pragma_version()",
    "query('SELECT 1') IS NULL",
    "nextval('s') = 1",
    "random() < 0.5",
    "sleep(5) IS NULL",
    "repeat(plan, 1000000000) = 'a'",
    "range(1000000000) IS NULL",
    "lpad(plan, 1000000000, 'x') = 'a'",
    "regexp_matches(plan, '(a+)+$')",
    "plan ~ '(a+)+$'",
    "plan GLOB '*'",
    "COLUMNS('.*') IS NULL",
    "COLUMNS(*) IS NULL",
    "n = (m) OVER (PARTITION BY plan)",
    "plan COLLATE nocase = 'a'",
    "plan AT TIME ZONE 'UTC' = 'a'",
    "EXTRACT(year FROM now) = 1",
    "$$a$$ = plan",
    "E'\\x41' = plan",
    "X'41' = plan",
    "N'a' = plan",
    "U&'a' = plan",
    '"now" > seen',
    "`now` > seen",
    "#1 = n",
    "$1 = n",
    "?1 = n",
    "@@version = n",
    "plan = 'a\x00b'",
    "plan = 'a\nb'",
    "n = ٣",
    "n ＝ 3",
    "n = 1\x00",
    "\x00",
    "\ufeffn = 1 2",
    "'",
    "''''''''''''' = plan",
    "((((",
    "))))",
    ",",
    "...",
    "n.",
    ".n",
    "n..m",
    "ROW(n, m) = ROW(1, 2)",
    "STRUCT(n) = 1",
    "MAP {'a': 1} = n",
    "n -> n + 1",
    "x -> x",
    "CURRENT_USER = 'a'",
    "now() > seen",
    "DATE(plan) > born",
    "DATE '2026-01-01'::text = plan",
    "DATE > born",
    "TIMESTAMP > seen",
    "DATE ''",
]

TOO_LONG = {
    "many characters": "n = 1 OR " * 500 + "n = 2",
    "many words": "n=1 OR " * 260 + "n=2",
    "a long text": f"plan = '{'x' * 5_000}'",
    "parentheses": "(" * 1_500 + "n = 1" + ")" * 1_500,
    "nots": "NOT " * 900 + "consent",
    "signs": "- " * 900 + "n = 1",
    "functions in functions": "abs(" * 200 + "n" + ")" * 200 + " = 1",
    "a long sum": "n" + " + n" * 300 + " > 1",
    "chained comparisons": "n" + " = n" * 300,
    "nested divisions": "1/(n/" * 5 + "m" + ")" * 5 + " > 1",
    "nested least": "least(n,1+" * 5 + "m" + ")" * 5 + " > 1",
    "a long list": f"n IN ({', '.join(map(str, range(501)))})",
    "a long pattern": f"plan LIKE '{'%a' * 51}'",
    "nothing": "",
    "only space": " \n\t ",
}


@pytest.mark.parametrize("rule", HOSTILE)
def test_what_is_not_of_the_language_is_refused(vocabulary: Mapping[str, Type], rule: str) -> None:
    with pytest.raises(RuleError):
        parse(rule, vocabulary)


@pytest.mark.parametrize("rule", TOO_LONG.values(), ids=TOO_LONG.keys())
def test_what_is_too_long_or_too_deep_is_refused(vocabulary: Mapping[str, Type], rule: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(rule, vocabulary)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "rule",
    [
        "(" * 30 + "n = 1" + ")" * 30,
        "n = " + "(" * 30 + "1" + ")" * 30,
        "NOT " * 30 + "consent",
        "n" + " + n" * 39 + " > 1",
        "abs(" * 29 + "n" + ")" * 29 + " = 1",
        "coalesce(" * 29 + "n" + ", m)" * 29 + " = 1",
        " OR ".join(f"n={at}" for at in range(240)),
        " AND ".join(f"n<>{at}" for at in range(240)),
        f"n IN ({', '.join(map(str, range(490)))})",
        "1/(n/" * 3 + "m" + ")" * 3 + " > 1",
        "(n = 1 OR (m = 2 AND " * 10 + "consent" + "))" * 10,
    ],
)
def test_what_is_just_within_the_limits_runs_in_both(vocabulary: Mapping[str, Type], rule: str, duck: object) -> None:
    condition = parse(rule, vocabulary)
    row = [1.0 if kind == "number" else True if kind == "boolean" else None for kind in vocabulary.values()]
    columns = list(vocabulary)
    found = duck([condition], [row])  # type: ignore[operator]
    assert found == [[(compile_true(condition, columns)(row), compile_false(condition, columns)(row))]]
    assert len(to_sql(condition)) < 1_000_000


def test_a_text_of_a_rule_is_never_code(vocabulary: Mapping[str, Type], duck: object) -> None:
    for text in ("'); import os; ('", '"""', "\\", "{0}", "%s", "'; DROP TABLE asked; --", "'' OR TRUE", "k1", "\\'"):
        written = text.replace("'", "''")
        columns = list(vocabulary)
        for rule in (f"plan = '{written}'", f"plan IN ('{written}', 'b')", f"coalesce(plan, '{written}') = plan"):
            condition = parse(rule, vocabulary)
            row = [text if name == "plan" else None for name in columns]
            assert compile_true(condition, columns)(row)
            assert duck([condition], [row]) == [[(True, False)]]  # type: ignore[operator]


def test_generated_code_sees_no_builtins(vocabulary: Mapping[str, Type]) -> None:
    test = compile_true(parse("n > 1", vocabulary), list(vocabulary))
    assert test.__globals__["__builtins__"] == {}


def test_like_takes_no_longer_than_text_times_pattern() -> None:
    matches = matcher("%a" * 49 + "%b")
    assert not matches("a" * 100_000)  # a backtracking matcher would not end


@settings(deadline=None, max_examples=500)
@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_a_rule_error(text: str) -> None:
    with contextlib.suppress(RuleError):  # and no other error
        parse(text, {"n": "number", "plan": "text"})


FRAGMENTS = ["n", "plan", "1", "'a'", "(", ")", " AND ", " OR ", "NOT ", " IN ", ",", "=", "<", ".", "-", "+", " IS "]
FRAGMENTS += ["NULL", " BETWEEN ", " LIKE ", "DATE ", "abs(", "coalesce(", "TRUE", " ", "%", "/", "*", "\n", "::", "--"]
FRAGMENTS += [function.name for function in FUNCTIONS]


@settings(deadline=None, max_examples=1_000)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_any_words_of_the_language_are_a_rule_or_a_rule_error(text: str) -> None:
    with contextlib.suppress(RuleError):  # and no other error
        condition = parse(text, {"n": "number", "plan": "text"})
        assert compile_true(condition, ["n", "plan", "now", "local"])([None] * 4) in (True, False)
