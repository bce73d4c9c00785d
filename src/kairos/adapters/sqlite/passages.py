"""Other systems' messages in the SQLite store: what each became, what was asked over TMF681; and who listens."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from kairos.adapters.sqlite.statements import Many, write
from kairos.domain.passage import Communication, Hub, Passage, PassageNews
from kairos.ports import Batch

# `passage.record` is the record as it was made; what changes afterwards stands in columns, which hold.
TABLES: Final = """
CREATE TABLE passage(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, communication TEXT NOT NULL,
  subscriber INTEGER NOT NULL, at INTEGER NOT NULL, stand TEXT NOT NULL, changed INTEGER NOT NULL, why TEXT NOT NULL,
  until INTEGER NOT NULL, outgoing INTEGER NOT NULL, record BLOB NOT NULL) STRICT;
CREATE INDEX passage_communication ON passage(communication) WHERE communication <> '';
CREATE INDEX passage_subscriber ON passage(subscriber) WHERE subscriber <> 0;
CREATE TABLE communication(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, client TEXT NOT NULL, at INTEGER NOT NULL,
  changed INTEGER NOT NULL, document BLOB NOT NULL, gone INTEGER NOT NULL) STRICT;
CREATE TABLE passage_listener(id TEXT PRIMARY KEY, client TEXT NOT NULL, callback TEXT NOT NULL, query TEXT NOT NULL,
  at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

PASSAGES: Final[Many] = (
    "INSERT OR IGNORE INTO passage(key, communication, subscriber, at, stand, changed, why, until, outgoing, record) "
    "SELECT * FROM",
    "",
    10,
)
NEWS: Final[Many] = (
    "UPDATE OR ROLLBACK passage SET stand = column2, changed = column3, why = column4, until = column5, "
    "outgoing = iif(column6 = 0, outgoing, column6) FROM",
    "AND passage.key = column1",
    6,
)
COMMUNICATIONS: Final[Many] = (
    "INSERT INTO communication(name, client, at, changed, document, gone) SELECT * FROM",
    "ON CONFLICT(name) DO UPDATE SET changed = excluded.changed, document = excluded.document, gone = excluded.gone",
    6,
)
PASSAGE: Final = "SELECT record, stand, changed, why, until, outgoing FROM passage "
BY_KEY: Final = PASSAGE + "WHERE key = ?"
OF_COMMUNICATION: Final = PASSAGE + "WHERE communication = ? AND communication <> '' ORDER BY id"
OF_SUBSCRIBER: Final = PASSAGE + "WHERE subscriber = ? AND subscriber <> 0 ORDER BY id DESC LIMIT ?"
COMMUNICATION: Final = "SELECT name, client, at, changed, document, gone FROM communication "
BY_NAME: Final = COMMUNICATION + "WHERE name = ?"
NEWEST: Final = (
    "SELECT id, name, client, at, changed, document, gone FROM communication "
    "WHERE id < ?1 AND ?2 IN ('', client) AND NOT gone ORDER BY id DESC LIMIT ?3"
)
LISTENERS: Final = "SELECT id, client, callback, query, at FROM passage_listener ORDER BY at, id"

_record: Final = msgspec.msgpack.Decoder(Passage).decode


def write_passages(connection: sqlite3.Connection, batch: Batch) -> None:
    """All that a batch has of them, inside the caller's transaction."""
    if batch.passages:
        write(connection, PASSAGES, map(_row, batch.passages))
    if batch.passage_news:
        write(connection, NEWS, latest(batch.passage_news))
    if batch.communications:
        last: dict[str, Communication] = {}
        for one in batch.communications:
            first = last.get(one.id, one)
            last[one.id] = msgspec.structs.replace(one, client=first.client, at=first.at)
        write(connection, COMMUNICATIONS, map(_communication_row, last.values()))


def latest(news: Iterable[PassageNews]) -> list[tuple[Any, ...]]:
    """One change for each record, the last, with the last row of the outbox that was named: SQL knows no order here."""
    last: dict[str, PassageNews] = {}
    for one in news:
        outgoing = one.outgoing or (last[one.key].outgoing if one.key in last else 0)
        last[one.key] = msgspec.structs.replace(one, outgoing=outgoing)
    return [(one.key, one.stand, one.changed, one.why, one.until, one.outgoing) for one in last.values()]


def _row(one: Passage) -> tuple[Any, ...]:
    return (
        one.key,
        one.communication,
        one.subscriber,
        one.at,
        one.stand,
        one.changed,
        one.why,
        one.until,
        one.outgoing,
        msgspec.msgpack.encode(one),
    )


def _communication_row(one: Communication) -> tuple[Any, ...]:
    return (one.id, one.client, one.at, one.changed, msgspec.json.encode(one.document), int(one.gone))


def read_passages(rows: Iterable[Sequence[Any]]) -> Iterator[Passage]:
    for record, stand, changed, why, until, outgoing in rows:
        yield msgspec.structs.replace(
            _record(record), stand=stand, changed=changed, why=why, until=until, outgoing=outgoing
        )


def read_communication(row: Sequence[Any]) -> Communication:
    name, client, at, changed, document, gone = row
    return Communication(name, client, at, changed, msgspec.json.decode(document), bool(gone))


def read_listeners(rows: Iterable[Sequence[Any]]) -> list[Hub]:
    return [Hub(*row) for row in rows]


def put_listener(connection: sqlite3.Connection, one: Hub) -> None:
    values = (one.id, one.client, one.callback, one.query, one.at)
    connection.execute(
        "INSERT OR REPLACE INTO passage_listener(id, client, callback, query, at) VALUES (?, ?, ?, ?, ?)", values
    )


def drop_listener(connection: sqlite3.Connection, id_: str) -> None:
    connection.execute("DELETE FROM passage_listener WHERE id = ?", (id_,))
