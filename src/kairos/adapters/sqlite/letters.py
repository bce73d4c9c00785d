"""Dead letters in the SQLite file: what the running store and the commands beside it ask and say of them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from kairos.adapters.sqlite.schema import check_version
from kairos.domain.dead_letter import DeadLetter
from kairos.errors import StoreError

COLUMNS = "kind, identity, at, subscriber, reason, payload, trace, times, last, status, id"

PUT = "INSERT INTO dead_letter(kind, identity, at, subscriber, reason, payload, trace, times, last, status)"
PUT_AGAIN = """
UPDATE dead_letter SET times = times + ?, last = ?, reason = ?, payload = ?, trace = ?,
  status = iif(status = 'replay', status, 'new')
WHERE kind = ? AND identity = ?
"""
# Of each kind the oldest beyond `keep`; what somebody asked to have replayed waits for its turn.
TRIM = """
DELETE FROM dead_letter WHERE status <> 'replay' AND id IN (
  SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY kind ORDER BY id DESC) AS place FROM dead_letter)
  WHERE place > ?)
"""


def put_letters(connection: sqlite3.Connection, letters: Iterable[DeadLetter]) -> None:
    """Inside the caller's transaction."""
    for one in letters:  # an INSERT that ends as an update would use up an id
        again = (one.times, one.last, one.reason, one.payload, one.trace, one.kind, one.identity)
        if not connection.execute(PUT_AGAIN, again).rowcount:
            new = (one.kind, one.identity, one.at, one.subscriber, one.reason, one.payload, one.trace)
            connection.execute(f"{PUT} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'new')", (*new, one.times, one.last))


def mark_letters(connection: sqlite3.Connection, marks: Iterable[tuple[int, str]]) -> int:
    """Set the status of letters by id, inside the caller's transaction; how many there were."""
    marked = 0
    for id_, status in marks:
        marked += connection.execute("UPDATE dead_letter SET status = ? WHERE id = ?", (status, id_)).rowcount
    return marked


def select_letters(connection: sqlite3.Connection, kind: str, status: str, limit: int) -> list[DeadLetter]:
    """The newest first."""
    sql = f"SELECT {COLUMNS} FROM dead_letter WHERE (? = '' OR kind = ?) AND (? = '' OR status = ?)"
    rows = connection.execute(f"{sql} ORDER BY id DESC LIMIT ?", (kind, kind, status, status, limit))
    return [DeadLetter(*row) for row in rows]


def count_letters(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    rows = connection.execute("SELECT kind, status, count(*) FROM dead_letter GROUP BY kind, status ORDER BY 1, 2")
    return {(kind, status): count for kind, status, count in rows}


def trim_letters(connection: sqlite3.Connection, keep: int) -> int:
    """How many were dropped; inside the caller's transaction or as one of its own."""
    return connection.execute(TRIM, (keep,)).rowcount


def mark_in_file(path: str | os.PathLike[str], ids: Sequence[int], status: str) -> list[int]:
    """Mark letters in a store that may be open in a running kairos; the ids that were there.

    Raises StoreError when the file cannot be written.
    """
    address = f"{Path(path).absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=30)) as connection:
            check_version(connection, Path(path))
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            marked = [id_ for id_ in ids if mark_letters(connection, [(id_, status)])]
            connection.execute("COMMIT")
            return marked
    except (sqlite3.Error, OverflowError) as error:
        raise StoreError(f"cannot mark dead letters in the store `{path}`: {error}") from error
