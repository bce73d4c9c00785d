"""The tables of the SQLite store, step by step: a new file and an old one come to the same schema by the same steps."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

from kairos.adapters.sqlite.passages import TABLES as PASSAGES
from kairos.errors import StoreError

# Ids come from the engine and rise, so rows are appended, and decisions have no second index: a subscriber's are found
# through their state. AUTOINCREMENT keeps the highest id ever used: no restart uses one again after its row is gone.
FIRST = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state(subscriber INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB) STRICT;
CREATE TABLE identity(kind TEXT NOT NULL, value TEXT NOT NULL, subscriber INTEGER NOT NULL, since INTEGER NOT NULL,
  PRIMARY KEY (kind, value)) STRICT, WITHOUT ROWID;
CREATE TABLE decision(id INTEGER PRIMARY KEY AUTOINCREMENT, subscriber INTEGER NOT NULL, at INTEGER NOT NULL,
  record BLOB NOT NULL) STRICT;
CREATE TABLE outbox(id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, subscriber INTEGER NOT NULL,
  channel TEXT NOT NULL, payload BLOB NOT NULL, due INTEGER NOT NULL, status TEXT NOT NULL, attempts INTEGER NOT NULL,
  peer_id TEXT NOT NULL) STRICT;
CREATE INDEX outbox_unsent ON outbox(id) WHERE status IN ('pending', 'sending');
CREATE INDEX outbox_peer_id ON outbox(peer_id) WHERE peer_id <> '';
CREATE TABLE timer(id INTEGER PRIMARY KEY AUTOINCREMENT, due INTEGER NOT NULL, subscriber INTEGER NOT NULL,
  payload TEXT NOT NULL) STRICT;
CREATE INDEX timer_due ON timer(due);
CREATE TABLE response(id INTEGER PRIMARY KEY, subscriber INTEGER NOT NULL, decision INTEGER NOT NULL,
  offer TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX response_offer ON response(offer);
CREATE TABLE input_position(source TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (source, partition)) STRICT, WITHOUT ROWID;
CREATE TABLE playbook(id INTEGER PRIMARY KEY, revision TEXT NOT NULL, layout TEXT NOT NULL, texts TEXT NOT NULL,
  UNIQUE (revision, layout)) STRICT;
INSERT INTO sqlite_sequence(name, seq) VALUES ('state', 0), ('decision', 0), ('outbox', 0), ('timer', 0);
"""

# `purchase`: `record` is all of it (`kairos.domain.purchase`); who looks by offer finds its keys side by side.
# `dead_letter`: what could not be handled (`kairos.domain.dead_letter`), one row for each kind and identity.
# `playbook.first_decision`: the highest decision when it was saved. `outbox.due`: version 1 lost it with the first news
# of a row; now it is when the last news came, and retention goes by it.
# `budget`: one row for each period that something was taken of (`kairos.domain.budget`).
# `choice`: how likely what a decision chose was (`kairos.domain.decision.Drawn`); it goes with the decision.
# `recommendation`: one that is kept (`kairos.domain.recommendation`).
# `erasure`: who is to be forgotten; `names` (JSON) go when all of it is done (ms; 0: not yet). `suppression`: marks of
# numbers whose owner said STOP and was erased then, with the consents that are withdrawn (JSON).
# `scrub`: nothing but zeros, for a moment, in pages that had come free.
# `switch`: every change of one, the latest of a name holds; `is_on` is 0 or 1.
SECOND = """
CREATE TABLE dead_letter(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, identity TEXT NOT NULL,
  at INTEGER NOT NULL, last INTEGER NOT NULL, times INTEGER NOT NULL, subscriber TEXT NOT NULL, reason TEXT NOT NULL,
  trace TEXT NOT NULL, payload BLOB NOT NULL, status TEXT NOT NULL, UNIQUE (kind, identity)) STRICT;
CREATE TABLE answered(id INTEGER PRIMARY KEY, account TEXT NOT NULL, message_id TEXT NOT NULL, peer_id TEXT NOT NULL,
  identity TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX answered_peer_id ON answered(peer_id) WHERE peer_id <> '';
CREATE INDEX answered_message_id ON answered(message_id) WHERE peer_id <> '';
CREATE INDEX outbox_notification ON outbox(key) WHERE channel = 'notification';
CREATE INDEX dead_letter_replay ON dead_letter(id) WHERE status = 'replay';
INSERT INTO sqlite_sequence(name, seq) VALUES ('dead_letter', 0);
CREATE TABLE switch(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, is_on INTEGER NOT NULL,
  reason TEXT NOT NULL, who TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX switch_name ON switch(name, id);
ALTER TABLE response ADD COLUMN test INTEGER NOT NULL DEFAULT 0;
CREATE TABLE purchase(key TEXT PRIMARY KEY, status TEXT, made INTEGER, changed INTEGER, record BLOB)
  STRICT, WITHOUT ROWID;
CREATE INDEX purchase_ended ON purchase(changed) WHERE status IN ('done', 'refused', 'refunded', 'reversed');
CREATE TABLE budget(name TEXT, period INTEGER, reserved INTEGER, spent INTEGER, PRIMARY KEY (name, period))
  STRICT, WITHOUT ROWID;
ALTER TABLE identity ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;
CREATE TABLE identity_past(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, subscriber INTEGER NOT NULL,
  since INTEGER NOT NULL, until INTEGER NOT NULL) STRICT;
CREATE INDEX identity_past_value ON identity_past(kind, value);
CREATE TRIGGER identity_moved AFTER UPDATE OF subscriber ON identity WHEN old.subscriber <> 0 BEGIN
  INSERT INTO identity_past(kind, value, subscriber, since, until)
  VALUES (old.kind, old.value, old.subscriber, old.since, new.since); END;
CREATE TABLE journal(id INTEGER PRIMARY KEY, subscriber INTEGER NOT NULL, blob BLOB) STRICT;
ALTER TABLE state ADD COLUMN place INTEGER;
CREATE TABLE settled(last INTEGER NOT NULL) STRICT;
INSERT INTO settled(last) VALUES (0);
CREATE VIEW tail(subscriber, blob) AS SELECT subscriber, blob FROM journal WHERE id IN (
  SELECT max(id) FROM journal WHERE id > (SELECT last FROM settled) GROUP BY subscriber);
CREATE VIEW current_state(subscriber, blob) AS
  SELECT state.subscriber, ifnull(journal.blob, state.blob) FROM state LEFT JOIN journal ON journal.id = state.place
  WHERE NOT EXISTS (SELECT 1 FROM tail WHERE tail.subscriber = state.subscriber)
  UNION ALL SELECT subscriber, blob FROM tail;
CREATE TABLE model(id INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, content BLOB NOT NULL)
  STRICT;
CREATE TABLE choice(decision INTEGER PRIMARY KEY, probability REAL NOT NULL, method TEXT NOT NULL, error REAL NOT NULL)
  STRICT;
CREATE TABLE recommendation(id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  at INTEGER NOT NULL, state TEXT NOT NULL, sought BLOB NOT NULL, resource BLOB NOT NULL, told INTEGER NOT NULL,
  client TEXT NOT NULL) STRICT;
CREATE INDEX recommendation_open ON recommendation(id) WHERE state = 'inProgress' OR NOT told;
CREATE TABLE erasure(id INTEGER PRIMARY KEY AUTOINCREMENT, subscriber INTEGER NOT NULL, at INTEGER NOT NULL,
  reason TEXT NOT NULL, names TEXT NOT NULL, done INTEGER NOT NULL) STRICT;
CREATE TABLE scrub(id INTEGER PRIMARY KEY, zeros BLOB NOT NULL) STRICT;
CREATE TABLE suppression(mark BLOB PRIMARY KEY, at INTEGER NOT NULL, consents TEXT NOT NULL) STRICT, WITHOUT ROWID;
ALTER TABLE playbook ADD COLUMN first_decision INTEGER NOT NULL DEFAULT 0;
UPDATE playbook SET first_decision = (SELECT seq FROM sqlite_sequence WHERE name = 'decision');
UPDATE outbox SET due = CAST(strftime('%s', 'now') AS INTEGER) * 1000 WHERE due = 0;
"""

STEPS = (
    FIRST,
    SECOND + PASSAGES,
)  # step n makes schema version n of version n - 1; a step that was released never changes
SCHEMA_VERSION = len(STEPS)


def epoch_of(connection: sqlite3.Connection, decision: int) -> str:
    """The epoch that a decision was made in; a restored store has several (see `backup.begin_anew`)."""
    rows = connection.execute("SELECT name, value FROM meta WHERE name = 'epoch' OR name LIKE 'epoch_until_%'")
    meta: dict[str, str] = dict(rows)
    now = meta.pop("epoch")
    ended = sorted((int(last), epoch) for last, epoch in map(str.split, meta.values()))
    return next((epoch for last, epoch in ended if decision <= last), now)


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError for a file that this kairos cannot use as it is, beside another one or without opening it."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return
    hint = "upgrade kairos" if version > SCHEMA_VERSION else "`kairos run` brings an older one up to date"
    raise StoreError(f"`{path}` is no store of this kairos: schema version {version}, not {SCHEMA_VERSION}; {hint}")


def prepare_schema(connection: sqlite3.Connection, path: Path) -> int:
    """Make the tables in a new file, and bring an older one up to date, in one transaction.

    Gives the version of an older one; 0 where there was nothing to bring. Raises StoreError for a file that is not
    ours, or that a newer kairos wrote.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"`{path}` has schema version {version}, newer than this kairos knows ({SCHEMA_VERSION}); upgrade kairos"
        )
    if version == SCHEMA_VERSION:
        return 0
    if not version and connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        raise StoreError(f"`{path}` is a database of another program; name a file of its own for the store")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in STEPS[version:]:
            for statement in statements(step):
                connection.execute(statement)
        if not version:
            connection.execute("INSERT INTO meta(name, value) VALUES ('epoch', ?)", (uuid.uuid4().hex,))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return int(version)


def statements(step: str) -> Iterator[str]:
    """The statements of a step; a trigger holds statements of its own.

    >>> list(statements("SELECT 1; SELECT ';';"))
    ['SELECT 1', "SELECT ';'"]
    """
    statement = ""
    for piece in step.split(";"):
        statement += piece
        if sqlite3.complete_statement(statement + ";"):
            if statement.strip():
                yield statement.strip()
            statement = ""
        else:
            statement += ";"
