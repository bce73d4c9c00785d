"""DuckDB as the second opinion on what a rule means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pytest

from kairos.rules import Condition, Type, to_sql

Answers = list[list[tuple[bool, bool]]]
Duck = Callable[[Sequence[Condition], Sequence[Sequence[Any]]], Answers]

VOCABULARY: Mapping[str, Type] = {
    "n": "number",
    "m": "number",
    "end_of_call.duration_s": "number",
    "balance": "money",
    "cost": "money",
    "plan": "text",
    "app": "text",
    "consent": "boolean",
    "roaming": "boolean",
    "born": "date",
    "ends": "date",
    "seen": "time",
    "date": "time",  # a name that is a word of SQL
    "language": "text",
    "value": "number",
    "now": "time",
    "local": "time",
}

_LISTED = {
    "text": "unnest(CAST(? AS VARCHAR[]))",
    "number": "unnest(CAST(? AS DOUBLE[]))",
    "money": "unnest(CAST(? AS BIGINT[]))",
    "boolean": "unnest(CAST(? AS BOOLEAN[]))",
    "date": "CAST(DATE '1970-01-01' + CAST(unnest(CAST(? AS BIGINT[])) AS INTEGER) AS DATE)",
    "time": "make_timestamp(unnest(CAST(? AS BIGINT[])) * 1000)",
}


@pytest.fixture(scope="session")
def vocabulary() -> Mapping[str, Type]:
    """The names that the rules of these tests may use."""
    return VOCABULARY


@pytest.fixture(scope="session")
def duck() -> Iterator[Duck]:
    """Asks DuckDB, for each row and condition, whether it is TRUE and whether it is FALSE."""
    connection = duckdb.connect()
    listed = ", ".join(f'{_LISTED[kind]} AS "{name}"' for name, kind in VOCABULARY.items())

    def ask(conditions: Sequence[Condition], rows: Sequence[Sequence[Any]]) -> Answers:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE asked AS SELECT {listed}", list(map(list, zip(*rows, strict=True)))
        )
        tests = (f"({sql}) IS TRUE, ({sql}) IS FALSE" for sql in map(to_sql, conditions))
        found = connection.execute(f"SELECT {', '.join(tests)} FROM asked").fetchall()
        return [list(zip(row[::2], row[1::2], strict=True)) for row in found]

    yield ask
    connection.close()
