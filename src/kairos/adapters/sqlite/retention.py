"""What is old goes from the SQLite file, a few rows in one transaction; its pages are used again by what is written.

A file does not shrink: rows come and go at the same rate, so what is freed is wanted again (docs/operations.md has the
figures), and `auto_vacuum` would write a map of pages with every commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container

from kairos.domain.subscriber import ended_before
from kairos.ports import Forgotten

# What -> its table, the column that says how old a row is, and what a row must be like to go.
KINDS = {
    "decisions": ("decision", "at", "TRUE"),
    "outbox": ("outbox", "due", "status NOT IN ('pending', 'sending')"),
    "responses": ("response", "at", "TRUE"),
    "answered": ("answered", "at", "TRUE"),
    "dead_letters": ("dead_letter", "last", "status <> 'replay'"),
    "passages": ("passage", "changed", "stand NOT IN ('accepted', 'delayed')"),
    "communications": ("communication", "changed", "TRUE"),
    "switches": ("switch", "at", "id NOT IN (SELECT max(id) FROM switch GROUP BY name)"),
}

# Purchases have no number: their keys are their order. What has not ended is not in the index.
PURCHASES = """
DELETE FROM purchase WHERE key IN (SELECT key FROM purchase
  WHERE status IN ('done', 'refused', 'refunded', 'reversed') AND changed < ? ORDER BY changed LIMIT ?)
"""

# Who may have ended: a number, or another name, was theirs once. Those whose state is gone already are passed over.
PAST = "SELECT max(id), total(until < ?) FROM (SELECT id, until FROM identity_past WHERE id > ? ORDER BY id LIMIT ?)"
ONCE_KNOWN = """
SELECT state.subscriber, ifnull(journal.blob, state.blob) FROM state LEFT JOIN journal ON journal.id = state.place
  WHERE state.subscriber IN (SELECT subscriber FROM identity_past WHERE id > ? AND id <= ? AND until < ?)
"""

# A playbook goes when no decision refers to it: when all are gone that were made before its successor was certainly in
# use, and that is when the next one after it came. The latest of a layout stays: states may be written in it.
PLAYBOOKS = """
DELETE FROM playbook WHERE
  EXISTS (SELECT 1 FROM playbook AS newer WHERE newer.layout = playbook.layout AND newer.id > playbook.id)
  AND (SELECT newer.first_decision FROM playbook AS newer WHERE newer.id > playbook.id ORDER BY newer.id LIMIT 1, 1)
    < ifnull((SELECT min(id) FROM decision), (SELECT seq + 1 FROM sqlite_sequence WHERE name = 'decision'))
"""


CHOICES = """
DELETE FROM choice WHERE decision > ?1 AND decision <= ?2
  AND decision NOT IN (SELECT id FROM decision WHERE id > ?1 AND id <= ?2)
"""


def forget_rows(
    connection: sqlite3.Connection, what: str, before: int, after: int, limit: int, unsettled: Container[int] = ()
) -> Forgotten:
    """See `kairos.ports.Store.forget`; in the caller's transaction. States that are `unsettled` stay for now."""
    if what == "playbooks":
        return Forgotten(connection.execute(PLAYBOOKS).rowcount, 0)
    if what == "purchases":
        gone = connection.execute(PURCHASES, (before, limit)).rowcount
        return Forgotten(gone, after + 1 if gone == limit else 0)
    if what == "ended_subscriptions":
        return forget_ended(connection, before, after, limit, unsettled)
    table, age, closed = KINDS[what]
    looked_at = f"SELECT id, {age} AS age FROM {table} WHERE id > ? ORDER BY id LIMIT ?"
    last, old = connection.execute(
        f"SELECT max(id), total(age < ?) FROM ({looked_at})", (before, after, limit)
    ).fetchone()
    if not old:
        return Forgotten(0, 0)
    kept = open_decisions(connection, after, last) if what == "decisions" else []
    places = ",".join("?" * len(kept))
    delete = f"DELETE FROM {table} WHERE id > ? AND id <= ? AND {age} < ? AND {closed} AND id NOT IN ({places})"
    gone = connection.execute(delete, (after, last, before, *kept)).rowcount
    if what == "decisions":
        connection.execute(CHOICES, (after, last))
    return Forgotten(gone, last)


def forget_ended(
    connection: sqlite3.Connection, before: int, after: int, limit: int, unsettled: Container[int]
) -> Forgotten:
    """States of subscriptions that ended. Who had a number stays: late news of theirs must not be the next owner's."""
    last, old = connection.execute(PAST, (before, after, limit)).fetchone()
    if not old:
        return Forgotten(0, 0)
    known = connection.execute(ONCE_KNOWN, (after, last, before)).fetchall()
    gone = [(one,) for one, blob in known if one not in unsettled and blob and ended_before(blob, before)]
    connection.executemany("DELETE FROM state WHERE subscriber = ?", gone)
    return Forgotten(len(gone), last)


def open_decisions(connection: sqlite3.Connection, after: int, last: int) -> list[int]:
    """Decisions above `after`, up to `last`, whose offers are still open: each has a timer, named by the offer's key.

    Ids of timers rise with those of decisions, so this looks only at timers as old as the decisions that may go.
    """
    found: list[int] = []
    for (key,) in connection.execute("SELECT payload FROM timer ORDER BY id"):
        number = key.rpartition("-")[2]
        if number.isdigit():
            if int(number) > last:
                break
            if int(number) > after:
                found.append(int(number))
    return found
