"""The table of the rules language, `cases.tsv`: what each rule means, in generated Python and in DuckDB."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kairos.errors import RuleError
from kairos.rules import Condition, Constant, Type, compile_check, compile_false, compile_true, parse

CONSTANTS = {"price": Constant("money", 1000), "size": Constant("number", 500), "brand": Constant("text", "acme")}
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DEFAULTS = {"now": "2026-03-11T12:00", "local": "2026-03-11T18:30"}
ANSWERS = {"true": True, "false": False, "null": None}

Case = tuple[int, str, str, str]
Ask = Callable[[Sequence[Condition], Sequence[Sequence[Any]]], list[list[tuple[bool, bool]]]]


def cases() -> list[Case]:
    """Line number, rule, row and expectation of each case."""
    lines = Path(__file__).with_name("cases.tsv").read_text(encoding="utf-8").split("\n")
    told = [(number, *line.split("\t")) for number, line in enumerate(lines, 1) if line and line[0] != "#"]
    assert all(len(case) == 4 for case in told), [case for case in told if len(case) != 4]
    return told  # type: ignore[return-value]


MEANINGS = [case for case in cases() if case[3] in ANSWERS]
ERRORS = [case for case in cases() if case[3] not in ANSWERS]


def value(kind: Type, written: Any) -> Any:
    """A value of a case as it stands in a row."""
    if written is None or kind not in ("date", "time"):
        return written
    since = dt.datetime.fromisoformat(written).replace(tzinfo=dt.UTC) - EPOCH
    return since.days if kind == "date" else since // dt.timedelta(milliseconds=1)


def row(vocabulary: Mapping[str, Type], written: str) -> list[Any]:
    given = {**DEFAULTS, **json.loads(written)}
    assert given.keys() <= vocabulary.keys()
    return [value(kind, given.get(name)) for name, kind in vocabulary.items()]


def answer(true: bool, false: bool) -> bool | None:
    assert not (true and false)
    return True if true else False if false else None


def test_the_table_is_wide_enough() -> None:
    assert len(MEANINGS) >= 300
    assert len({case[1:3] for case in cases()}) == len(cases()), "a case stands twice"


@pytest.mark.parametrize(("line", "rule", "written", "expected"), MEANINGS, ids=lambda case: str(case)[:40])
def test_python_means(vocabulary: Mapping[str, Type], line: int, rule: str, written: str, expected: str) -> None:
    condition = parse(rule, vocabulary, constants=CONSTANTS)
    given, columns = row(vocabulary, written), list(vocabulary)
    true, false = compile_true(condition, columns)(given), compile_false(condition, columns)(given)
    assert answer(true, false) == ANSWERS[expected], f"cases.tsv:{line}"
    assert compile_check([[condition]], columns).run(given) == ((1, 0) if true else (0, 1)), f"cases.tsv:{line}"


def test_duckdb_means_the_same(vocabulary: Mapping[str, Type], duck: Ask) -> None:
    for line, rule, written, expected in MEANINGS:
        [[found]] = duck([parse(rule, vocabulary, constants=CONSTANTS)], [row(vocabulary, written)])
        assert answer(*found) == ANSWERS[expected], f"cases.tsv:{line}: {rule}"


@pytest.mark.parametrize(("line", "rule", "written", "expected"), ERRORS, ids=lambda case: str(case)[:40])
def test_errors_speak_the_users_words(
    vocabulary: Mapping[str, Type], line: int, rule: str, written: str, expected: str
) -> None:
    with pytest.raises(RuleError) as caught:
        parse(rule, vocabulary, constants=CONSTANTS, file="offers/booster.yaml", line=7)
    assert expected in str(caught.value), f"cases.tsv:{line}"
    [diagnostic] = caught.value.diagnostics
    assert (diagnostic.file, diagnostic.line) == ("offers/booster.yaml", 7)


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("balance > 3\nAND balanse > 3", 8),
        ("balance > 3\n\nAND plan = 5\n", 9),
        ("balance > 3 AND\nplan ||\n'a'", 8),
        ("balance > 3\nAND (n >", 8),
        ("balance > 3 AND n IN (\n1,\n'a')", 7),
        ("n > 1 AND\n'text'", 8),
    ],
)
def test_an_error_in_a_rule_of_several_lines_names_its_line(
    vocabulary: Mapping[str, Type], rule: str, line: int
) -> None:
    with pytest.raises(RuleError) as caught:
        parse(rule, vocabulary, file="f.yaml", line=7)
    assert caught.value.diagnostics[0].line == line


def test_money_has_the_decimals_of_its_currency(vocabulary: Mapping[str, Type]) -> None:
    columns = list(vocabulary)
    for digits, minor in ((0, 3), (2, 300), (3, 3000)):
        holds = compile_true(parse("balance >= 3", vocabulary, money_digits=digits), columns)
        given = row(vocabulary, "{}")
        given[columns.index("balance")] = minor
        assert holds(given)
        given[columns.index("balance")] = minor - 1
        assert not holds(given)
    with pytest.raises(RuleError, match=r"more than 0 decimals"):
        parse("balance >= 2.5", vocabulary, money_digits=0)


def test_rules_that_read_the_same_share_their_key(vocabulary: Mapping[str, Type]) -> None:
    one = parse("balance>=price and NOT (n > 1)", vocabulary, constants=CONSTANTS)
    two = parse("(price <= balance)\nAND n <= 1.0", vocabulary, constants=CONSTANTS)
    assert one == two
    assert one.key == two.key
    assert hash(one) == hash(two)
    assert one.names == {"balance", "n"}
    dearer = parse("balance>=price and NOT (n > 1)", vocabulary, constants={"price": Constant("money", 2000)})
    assert dearer.key != one.key
    assert parse("days_since(seen) > 1", vocabulary).names == {"seen", "now"}
    assert parse("'1.0' = plan", vocabulary).key != parse("'1' = plan", vocabulary).key


def test_a_row_without_the_column_is_refused_when_compiling(vocabulary: Mapping[str, Type]) -> None:
    condition = parse("n > 1", vocabulary)
    with pytest.raises(RuleError, match="the row has no column `n`"):
        compile_true(condition, ["m"])
