"""The check of a whole playbook: its masks at the edges, and its size."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pytest

import kairos.rules.check
from kairos.bench import rules as bench
from kairos.rules import Check, Condition, Names, compile_check, compile_true, parse
from kairos.rules.functions import lower, upper

NAMES: Names = {"n": "number", "m": "number", "plan": "text", "consent": "boolean"}
COLUMNS = [*NAMES, "now", "local"]


def rule(text: str) -> Condition:
    return parse(text, NAMES)


def test_no_arms_and_arms_without_conditions() -> None:
    assert compile_check([], COLUMNS).run([1, 2, "a", True, 0, 0]) == (0, 0)
    assert compile_check([[], []], COLUMNS).run([1, 2, "a", True, 0, 0]) == (0b11, 0)
    assert compile_check([[], [rule("n > 1")]], COLUMNS).run([1, 2, "a", True, 0, 0]) == (0b01, 0b1)


def test_conditions_that_are_always_true_or_false() -> None:
    check = compile_check([[rule("TRUE")], [rule("FALSE")], [rule("n > 1"), rule("1 > 2")]], COLUMNS)
    assert [condition.key for condition in check.conditions] == ["TRUE", "FALSE", "n > 1.0"]
    assert check.run([2, 2, "a", True, 0, 0]) == (0b001, 0b010)
    assert check.run([0, 2, "a", True, 0, 0]) == (0b001, 0b110)


def test_a_condition_of_two_arms_stands_once() -> None:
    check = compile_check([[rule("n > 1"), rule("n > 1")], [rule("m > 1"), rule("1 < n")]], COLUMNS)
    assert [condition.key for condition in check.conditions] == ["n > 1.0", "m > 1.0"]
    assert check.run([2, 0, "a", True, 0, 0]) == (0b01, 0b10)
    assert check.run([None, 2, "a", True, 0, 0]) == (0b00, 0b01)


def test_all_thresholds_on_one_value_cost_one_search() -> None:
    arms = [[rule(f"n < {at}"), rule(f"n >= {at - 500}")] for at in range(1_000)]
    check = compile_check(arms, COLUMNS)
    assert check.source.count("bisect_right") == 1
    alive, failed = check.run([250.5, None, None, None, 0, 0])
    assert alive == sum(1 << at for at in range(251, 751))
    assert failed == sum(1 << 2 * at for at in range(251)) | sum(1 << 2 * at + 1 for at in range(751, 1_000))


def test_the_cost_does_not_grow_with_the_offers() -> None:
    conditions = [rule(f"n < {at}") for at in range(50)] + [rule(f"plan = 'p{at}'") for at in range(50)]
    few = compile_check([[condition] for condition in conditions], COLUMNS)
    many = compile_check([[conditions[at % 100], conditions[at * 7 % 100]] for at in range(5_000)], COLUMNS)
    assert few.source.count("\n") == many.source.count("\n")


def test_tables_beyond_their_size_are_tested_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [[rule(f"n < {at}"), rule(f"n <> {at / 2}")] for at in range(40)]
    rows = [[value, None, None, None, 0, 0] for value in (None, -1.0, 0.0, 7.5, 8, 39.0, 1e9)]
    searched = compile_check(arms, COLUMNS)
    monkeypatch.setattr(kairos.rules.check, "MAX_TABLE_BYTES", 100)
    single = compile_check(arms, COLUMNS)
    assert "bisect_right" not in single.source
    assert [searched.run(row) for row in rows] == [single.run(row) for row in rows]


def test_letters_change_case_as_in_duckdb() -> None:
    points = [point for point in range(1, 0x1F000) if not 0xD800 <= point <= 0xDFFF]  # there is no case beyond
    connection = duckdb.connect()
    found = connection.execute(
        "SELECT point, lower(chr(point)), upper(chr(point)) FROM (SELECT unnest(CAST(? AS INTEGER[])) AS point)",
        [points],
    ).fetchall()
    connection.close()
    assert [chr(point) for point, small, _ in found if lower(chr(point)) != small] == []
    assert [chr(point) for point, _, capital in found if upper(chr(point)) != capital] == []


def test_the_bench_chooses_the_same_winners_as_its_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "MANY", 200)
    monkeypatch.setattr(bench, "ROWS", 500)
    found = bench.run(seed=3, seconds=0.01)  # asserts it
    assert found["conditions"] == 150
    assert found["offers"] == 50
    assert found["unshared_5000_conditions"] == 600

    def always_first(arms: Sequence[Sequence[Condition]], columns: Sequence[str]) -> Check:
        return compile_check([[rule("TRUE")] for _ in arms], COLUMNS)

    monkeypatch.setattr(bench, "compile_check", always_first)
    with pytest.raises(AssertionError, match="the winners differ"):
        bench.run(seed=3, seconds=0.01)


def test_a_compiled_rule_says_true_or_false_only() -> None:
    for text in ("consent", "NOT consent", "n = 1 OR consent", "coalesce(consent, FALSE)"):
        assert compile_true(rule(text), COLUMNS)([None, None, None, None, None, None]) in (True, False)
