"""How periods of budgets stand in the SQLite store, by whoever reads it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from kairos.adapters.sqlite.statements import Many
from kairos.domain.budget import Key, Standing

BUDGETS: Final[Many] = ("INSERT OR REPLACE INTO budget(name, period, reserved, spent) SELECT * FROM", "", 4)
_STANDING: Final = "SELECT reserved, spent FROM budget WHERE name = ? AND period = ?"


def budget_rows(budgets: Mapping[Key, Standing]) -> Iterator[tuple[Any, ...]]:
    """Their columns, as they are written."""
    return ((*key, standing.reserved, standing.spent) for key, standing in budgets.items())


def select_budgets(connection: sqlite3.Connection, keys: Collection[Key]) -> dict[Key, Standing]:
    """Those of the periods that are there; few are asked for, by their key."""
    rows = ((key, connection.execute(_STANDING, key).fetchone()) for key in keys)
    return {key: Standing(*row) for key, row in rows if row}
