"""What the transaction that forgets a person writes in the SQLite file; all else of them is swept up beside the engine
(`sweep`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from kairos.domain.erasure import Erased

FORMER: Final = "DELETE FROM identity_past WHERE kind = ? AND value = ? AND subscriber = ?"
OTHERS: Final = "SELECT 1 FROM identity_past WHERE kind = ? AND value = ? AND subscriber <> ? LIMIT 1"
NOBODY: Final = (
    "UPDATE identity SET subscriber = 0, since = ?, moved = 1 WHERE kind = ? AND value = ? AND subscriber = ?"
)
UNKNOWN: Final = "DELETE FROM identity WHERE kind = ? AND value = ? AND subscriber = ?"
TO_DO: Final = "INSERT INTO erasure(subscriber, at, reason, names, done) VALUES (?, ?, ?, ?, 0)"
MARK: Final = "INSERT OR REPLACE INTO suppression(mark, at, consents) VALUES (?, ?, ?)"


def erase(connection: sqlite3.Connection, several: Iterable[Erased]) -> None:
    """Their names are unknown, and what else there is to do is noted; in the caller's transaction.

    A name that was somebody else's before stays, as nobody's: late news of theirs must not be the next owner's.
    """
    connection.execute("PRAGMA secure_delete = ON")
    for one in several:
        for kind, value in one.names:
            name = (kind, value, one.subscriber)
            if connection.execute(OTHERS, name).fetchone():
                connection.execute(NOBODY, (one.at, *name))
            connection.execute(UNKNOWN, name)
            connection.execute(FORMER, name)
        connection.execute(TO_DO, (one.subscriber, one.at, one.reason, json.dumps(one.names)))
        if one.mark:
            connection.execute(MARK, (one.mark, one.at, json.dumps(one.consents)))
    connection.execute("PRAGMA secure_delete = FAST")


def suppressed(connection: sqlite3.Connection) -> dict[bytes, tuple[str, ...]]:
    rows = connection.execute("SELECT mark, consents FROM suppression")
    return {mark: tuple(json.loads(consents)) for mark, consents in rows}
