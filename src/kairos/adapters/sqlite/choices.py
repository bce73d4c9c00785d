"""How likely choices were, as rows of the SQLite store."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from kairos.adapters.sqlite.statements import Many, select
from kairos.domain.decision import Drawn

CHOICES: Many = ("INSERT OR REPLACE INTO choice(decision, probability, method, error) SELECT * FROM", "", 4)
ROWS = "SELECT decision, probability, method, error FROM choice WHERE decision IN "


def choice_rows(drawn: Iterable[Drawn]) -> Iterator[tuple[Any, ...]]:
    return ((one.decision, one.probability, one.method, one.error) for one in drawn)


def select_choices(connection: sqlite3.Connection, decisions: Collection[int]) -> dict[int, Drawn]:
    return {row[0]: Drawn(*row) for row in select(connection, ROWS, decisions)}
