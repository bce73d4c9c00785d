"""The store of one machine: a SQLite file in WAL mode, one process, nothing to start."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any

import structlog

from kairos.adapters.sqlite import passages, switches
from kairos.adapters.sqlite.backup import copy_before_upgrade
from kairos.adapters.sqlite.budgets import BUDGETS, budget_rows, select_budgets
from kairos.adapters.sqlite.checkpoint import Checkpointer
from kairos.adapters.sqlite.choices import select_choices
from kairos.adapters.sqlite.erasure import erase, suppressed
from kairos.adapters.sqlite.file import told
from kairos.adapters.sqlite.journal import Journal
from kairos.adapters.sqlite.letters import (
    count_letters,
    mark_letters,
    put_letters,
    select_letters,
    trim_letters,
)
from kairos.adapters.sqlite.purchases import PURCHASE, PURCHASES_OF, purchase_row, read_purchase
from kairos.adapters.sqlite.retention import forget_rows
from kairos.adapters.sqlite.schema import SCHEMA_VERSION, epoch_of, prepare_schema
from kairos.adapters.sqlite.statements import Many, select, split_numbers, split_texts, write
from kairos.domain.budget import Key, Standing
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.decision import Drawn
from kairos.domain.identity import OTHER_KINDS, Held, split_name
from kairos.domain.inputs import Answered, Response, Timer
from kairos.domain.message import Outgoing
from kairos.domain.passage import Communication, Hub, Passage
from kairos.domain.purchase import Purchase
from kairos.domain.switch import Switch
from kairos.errors import StoreError
from kairos.ports import Batch, Figures, Forgotten, Loaded, NextIds, OutgoingUpdate, Unsent

PAGE = 4096  # bytes; 2 and 8 KB were slower and wrote no less

IDENTITIES: Many = (
    "INSERT INTO identity(kind, value, subscriber, since) SELECT * FROM",
    "ON CONFLICT DO UPDATE SET subscriber = excluded.subscriber, since = excluded.since, moved = 1 "
    "WHERE excluded.subscriber <> identity.subscriber",
    4,
)
DECISIONS: Many = ("INSERT OR ROLLBACK INTO decision(id, subscriber, at, record) SELECT * FROM", "", 4)
OUTGOING: Many = (
    "INSERT OR ROLLBACK INTO outbox(id, key, subscriber, channel, payload, due, status, attempts, peer_id) "
    "SELECT * FROM",
    "",
    9,
)
UPDATES: Many = (
    "UPDATE OR ROLLBACK outbox SET status = column2, due = ifnull(column3, due), attempts = column4, "
    "peer_id = iif(column5 = '', peer_id, column5) FROM",
    "AND outbox.id = column1",
    5,
)
TIMERS: Many = ("INSERT OR ROLLBACK INTO timer(id, due, subscriber, payload) SELECT * FROM", "", 4)
TIMERS_DONE: Many = ("DELETE FROM timer WHERE id IN (SELECT column1 FROM", ")", 1)
RESPONSES: Many = (
    "INSERT OR ROLLBACK INTO response(subscriber, decision, offer, outcome, reason, at, test) SELECT * FROM",
    "",
    7,
)
PURCHASES: Many = ("INSERT OR REPLACE INTO purchase(key, status, made, changed, record) SELECT * FROM", "", 5)
POSITIONS: Many = ("INSERT OR REPLACE INTO input_position(source, partition, position) SELECT * FROM", "", 3)

ANSWERED: Many = (
    "INSERT OR ROLLBACK INTO answered(account, message_id, peer_id, identity, at) SELECT * FROM",
    "",
    5,
)

# Reading joins many rows into one, so that it is one step too: each column's values end to end, and their lengths.
BY_MSISDN = (
    "SELECT group_concat(subscriber), group_concat(ifnull(place, 0)), "
    "group_concat(length(CAST(value AS BLOB))), group_concat(value, ''), "
    "group_concat(iif(moved, value || ':' || since, NULL)) "
    "FROM identity LEFT JOIN state USING (subscriber) WHERE kind = 'msisdn' AND value IN "
)
BY = {  # by another kind of identity
    kind: f"SELECT value, subscriber, moved * since FROM identity WHERE kind = '{kind}' AND value IN "
    for kind in OTHER_KINDS
}
HOLDERS = (
    "SELECT subscriber, since, until FROM (SELECT id, subscriber, since, until FROM identity_past "
    "WHERE kind = ?1 AND value = ?2 UNION ALL SELECT ~(1 << 63), subscriber, since, 0 FROM identity "
    "WHERE kind = ?1 AND value = ?2 AND subscriber <> 0) ORDER BY id"
)
ANSWER = "SELECT account, message_id, peer_id, identity, at FROM answered "
ROW = "SELECT id, key, subscriber, channel, payload, due, status, attempts, peer_id FROM outbox "

UNSENT = (
    "SELECT channel, count(*), coalesce(min(iif(due > 0, due, NULL)), 0) FROM outbox "
    "WHERE status IN ('pending', 'sending') GROUP BY channel ORDER BY channel"
)
NEWEST_MODEL = "SELECT version FROM model ORDER BY id DESC LIMIT 1"
MODEL = "SELECT version, content FROM model WHERE ?1 IN ('', version) ORDER BY id DESC LIMIT 1"
RESPONSES_TO = "SELECT id, subscriber, decision, offer, outcome, reason, at, test FROM response WHERE offer IN "
RESPONSES_OF = "SELECT subscriber, decision, offer, outcome, reason, at, test FROM response WHERE offer = ? ORDER BY id"


log = structlog.get_logger("kairos.store")


class SqliteStore:
    """A `kairos.ports.Store` in the SQLite file at `path`, made when it is not there; open in one process at a time.

    `checkpoint_pages`: about how far the write-ahead log grows (pages of 4 KB) before it is copied into the file. More
    pages mean more throughput and longer stalls. `copy`: a file of an older schema is copied before it is upgraded.
    Raises StoreError when the file cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], checkpoint_pages: int = 4000, *, copy: bool = True) -> None:
        self._path = Path(path)
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._load_lock = threading.Lock()  # of its own: states may be far from memory, and their disk may hang
        with ExitStack() as held, self._told("open"):
            held.enter_context(own(self._path))
            kept = copy_before_upgrade(self._path, time.time_ns() // 1_000_000) if copy else None
            self._writer = held.enter_context(connect(self._path))
            self._writer.execute("PRAGMA cache_size = -8192")  # KB: holds a batch of 2,000 states until its commit
            # Should checkpoints beside the commits not keep up, one inside a commit bounds the log.
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {5 * checkpoint_pages:d}")
            if older := prepare_schema(self._writer, self._path):
                log.info("the store was upgraded", path=str(path), schema=SCHEMA_VERSION, before=older, copy=str(kept))
            self._journal = Journal(self._writer)
            self._reader = held.enter_context(connect(self._path))
            self._reader.execute("PRAGMA query_only = 1")
            self._loader = held.enter_context(connect(self._path))
            self._loader.execute("PRAGMA query_only = 1")
            self._loader.text_factory = bytes  # what `load` joins is bytes
            self._epoch: str = self._read("SELECT value FROM meta WHERE name = 'epoch'")[0][0]
            copying = held.enter_context(connect(self._path))
            self._checkpointer = Checkpointer(copying, checkpoint_pages, self._write_lock)
            self._held = held.pop_all()

    @property
    def epoch(self) -> str:
        return self._epoch

    def epoch_of(self, decision: int) -> str:
        with self._read_lock, self._told("read"):
            return epoch_of(self._reader, decision)

    def keep(self, name: str, value: str) -> str:
        with self._write_lock, self._told("commit"), transaction(self._writer, "IMMEDIATE"):
            self._writer.execute("INSERT OR IGNORE INTO meta(name, value) VALUES (?, ?)", (f"kept_{name}", value))
        kept: str = self._read("SELECT value FROM meta WHERE name = ?", f"kept_{name}")[0][0]
        return kept

    def next_ids(self) -> NextIds:
        used = dict(self._read("SELECT name, seq FROM sqlite_sequence"))
        return NextIds(used["state"] + 1, used["decision"] + 1, used["outbox"] + 1, used["timer"] + 1)

    def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        found, places = Loaded({}, {}), dict[int, int]()
        with self._load_lock, self._told("read"), transaction(self._loader, "DEFERRED"):
            for ids, at, lengths, values, moved in select(self._loader, BY_MSISDN, names):
                if ids:
                    known = split_numbers(ids)
                    places.update(zip(known, split_numbers(at), strict=True))
                    found.subscribers.update(zip(split_texts(values, lengths), known, strict=True))
                if moved:
                    found.moved.update(split_moved(moved))
            if len(found.subscribers) < len(names):  # some are new, or no MSISDN
                self._load_others(names, found)
            others = {*found.subscribers.values(), *subscribers}.difference(places)
            found.states = self._journal.states(self._loader, places, others)
        return found

    def _load_others(self, names: Collection[str], found: Loaded) -> None:
        for kind, values in by_other_kind(names).items():
            for value, subscriber, since in select(self._loader, BY[kind], values):
                name = f"{kind}:{value.decode()}"
                found.subscribers[name] = subscriber
                if since:
                    found.moved[name] = since

    def holders(self, name: str) -> list[Held]:
        return [Held(*row) for row in self._read(HOLDERS, *split_name(name))]

    def commit(self, *batches: Batch) -> None:
        """Several are one transaction, all of them or none."""
        states = {id_: blob for batch in batches for id_, blob in batch.states.items()}
        with self._write_lock, self._told("commit"):
            with transaction(self._writer, "IMMEDIATE"):
                written = self._journal.write(self._writer, states)
                for batch in batches:
                    write_batch(self._writer, batch)
            with self._load_lock:  # nobody loads by old places rows that are gone, or by new ones an old snapshot
                self._journal.note(written)
            self._checkpointer.grew(sum(map(pages_of, batches)))

    def outgoing(self, ids: Sequence[int]) -> list[Outgoing]:
        with self._read_lock, self._told("read"), transaction(self._reader, "DEFERRED"):
            rows = list(select(self._reader, ROW + "WHERE id IN ", set(ids)))
        return [Outgoing(*row) for row in sorted(rows)]

    def unsent(self, after: int, limit: int) -> list[Outgoing]:
        where = "WHERE status IN ('pending', 'sending') AND id > ? ORDER BY id LIMIT ?"
        return [Outgoing(*row) for row in self._read(ROW + where, after, limit)]

    def outgoing_by_peer_id(self, peer_id: str) -> Outgoing | None:
        """The newest row with this id, because an SMSC may give its ids again after a while."""
        rows = self._read(ROW + "WHERE peer_id = ? AND peer_id <> '' ORDER BY id DESC LIMIT 1", peer_id)
        return Outgoing(*rows[0]) if rows else None

    def answered_by_peer_id(self, peer_id: str) -> Answered | None:
        rows = self._read(ANSWER + "WHERE peer_id = ? AND peer_id <> '' ORDER BY id DESC LIMIT 1", peer_id)
        return Answered(*rows[0]) if rows else None

    def answered(self, account: str, message_id: str) -> Answered | None:
        where = "WHERE message_id = ? AND peer_id <> '' AND account = ? ORDER BY id DESC LIMIT 1"
        rows = self._read(ANSWER + where, message_id, account)
        return Answered(*rows[0]) if rows else None

    def latest_answered(self, limit: int) -> list[Answered]:
        return [Answered(*row) for row in reversed(self._read(ANSWER + "ORDER BY id DESC LIMIT ?", limit))]

    def notification(self, key: str) -> Outgoing | None:
        rows = self._read(ROW + "WHERE channel = 'notification' AND key = ? ORDER BY id DESC LIMIT 1", key)
        return Outgoing(*rows[0]) if rows else None

    def timers_due(self, now: int, limit: int) -> list[Timer]:
        rows = self._read(
            "SELECT id, due, subscriber, payload FROM timer WHERE due <= ? ORDER BY due, id LIMIT ?", now, limit
        )
        return [Timer(*row) for row in rows]

    def decision(self, id: int) -> bytes | None:  # noqa: A002
        rows = self._read("SELECT record FROM decision WHERE id = ?", id)
        return rows[0][0] if rows else None

    def decisions(self, ids: Collection[int]) -> dict[int, bytes]:
        with self._read_lock, self._told("read"):
            return dict(select(self._reader, "SELECT id, record FROM decision WHERE id IN ", set(ids)))

    def responses_to(self, offers: Collection[str]) -> list[Response]:
        with self._read_lock, self._told("read"):
            rows = sorted(select(self._reader, RESPONSES_TO, set(offers)))
        return [read_response(row[1:]) for row in rows]

    def responses(self, offer: str) -> list[Response]:
        return [read_response(row) for row in self._read(RESPONSES_OF, offer)]

    def purchase(self, key: str) -> Purchase | None:
        rows = self._read(PURCHASE + "WHERE key = ?", key)
        return read_purchase(rows[0][0]) if rows else None

    def purchases(self, after: str, limit: int) -> list[Purchase]:
        return [read_purchase(r) for (r,) in self._read(PURCHASE + "WHERE key > ? ORDER BY key LIMIT ?", after, limit)]

    def purchases_of(self, offer: str) -> list[Purchase]:
        return [read_purchase(record) for (record,) in self._read(PURCHASES_OF, offer, offer, offer)]

    def budgets(self, keys: Collection[Key]) -> dict[Key, Standing]:
        with self._read_lock, self._told("read"), transaction(self._reader, "DEFERRED"):
            return select_budgets(self._reader, keys)

    def passage(self, key: str) -> Passage | None:
        return next(passages.read_passages(self._read(passages.BY_KEY, key)), None)

    def passages(self, communication: str) -> list[Passage]:
        return list(passages.read_passages(self._read(passages.OF_COMMUNICATION, communication)))

    def passages_to(self, subscriber: int, limit: int) -> list[Passage]:
        return list(passages.read_passages(self._read(passages.OF_SUBSCRIBER, subscriber, limit)))

    def communication(self, id: str) -> Communication | None:  # noqa: A002
        rows = self._read(passages.BY_NAME, id)
        return passages.read_communication(rows[0]) if rows else None

    def communications(self, client: str, before: int, limit: int) -> tuple[list[Communication], int]:
        rows = self._read(passages.NEWEST, before or sys.maxsize, client, limit)
        found = [passages.read_communication(row[1:]) for row in rows]
        return found, rows[-1][0] if len(rows) == limit else 0

    def listeners(self) -> list[Hub]:
        return passages.read_listeners(self._read(passages.LISTENERS))

    def put_listener(self, one: Hub) -> None:
        with self._write_lock, self._told("commit"), transaction(self._writer, "IMMEDIATE"):
            passages.put_listener(self._writer, one)

    def drop_listener(self, id: str) -> None:  # noqa: A002
        with self._write_lock, self._told("commit"), transaction(self._writer, "IMMEDIATE"):
            passages.drop_listener(self._writer, id)

    def dead_letters(self, kind: str = "", status: str = "", limit: int = 100) -> list[DeadLetter]:
        with self._read_lock, self._told("read"):
            return select_letters(self._reader, kind, status, limit)

    def count_dead_letters(self) -> dict[tuple[str, str], int]:
        with self._read_lock, self._told("read"):
            return count_letters(self._reader)

    def trim_dead_letters(self, keep: int) -> int:
        with self._write_lock, self._told("trim"), transaction(self._writer, "IMMEDIATE"):
            return trim_letters(self._writer, keep)

    def forget(self, what: str, before: int, after: int, limit: int) -> Forgotten:
        with self._write_lock, self._told("clear"), transaction(self._writer, "IMMEDIATE"):
            return forget_rows(self._writer, what, before, after, limit, self._journal.unsettled)

    def save_playbook(self, revision: str, layout: str, texts: Mapping[str, str]) -> None:
        with self._write_lock, self._told("commit"), transaction(self._writer, "IMMEDIATE"):
            self._writer.execute(
                "INSERT OR REPLACE INTO playbook(revision, layout, texts, first_decision) "
                "SELECT ?, ?, ?, seq FROM sqlite_sequence WHERE name = 'decision'",
                (revision, layout, json.dumps(dict(texts), ensure_ascii=False)),
            )

    def playbook(self, revision: str) -> dict[str, str] | None:
        return self._latest_playbook("revision", revision)

    def playbook_with_layout(self, layout: str) -> dict[str, str] | None:
        return self._latest_playbook("layout", layout)

    def figures(self, now: int) -> Figures:
        log = Path(f"{self._path}-wal")
        with self._told("read"), connect(self._path) as own_connection:
            unsent = [Unsent(*row) for row in own_connection.execute(UNSENT)]
            ((timers,),) = own_connection.execute("SELECT count(*) FROM timer WHERE due <= ?", (now,)).fetchall()
        try:
            return Figures(unsent, timers, self._path.stat().st_size, log.stat().st_size if log.exists() else 0)
        except OSError as error:
            raise StoreError(f"cannot read the store `{self._path}`: {error.strerror}") from error

    def model(self, version: str = "") -> tuple[str, bytes] | None:
        rows = self._read(MODEL, version)
        return rows[0] if rows else None

    def newest_model(self) -> str:
        rows = self._read(NEWEST_MODEL)
        return rows[0][0] if rows else ""

    def choices(self, decisions: Collection[int]) -> dict[int, Drawn]:
        with self._read_lock, self._told("read"):
            return select_choices(self._reader, decisions)

    def suppressed(self) -> dict[bytes, tuple[str, ...]]:
        with self._read_lock, self._told("read"):
            return suppressed(self._reader)

    def switches(self) -> list[Switch]:
        with self._read_lock, self._told("read"):
            return switches.switches(self._reader)

    def switch_history(self, limit: int) -> list[Switch]:
        with self._read_lock, self._told("read"):
            return switches.switch_history(self._reader, limit)

    def turn_switch(self, switch: Switch) -> None:
        with self._write_lock, self._told("commit"):
            switches.turn_switch(self._writer, switch)

    def close(self) -> None:
        """Let the file go; what was committed is in it. A closed store raises StoreError."""
        self._checkpointer.close()
        with self._write_lock, self._load_lock, self._read_lock, self._told("close"):  # who is at it ends first
            self._held.close()

    def _latest_playbook(self, column: str, wanted: str) -> dict[str, str] | None:
        rows = self._read(f"SELECT texts FROM playbook WHERE {column} = ? ORDER BY id DESC LIMIT 1", wanted)
        return json.loads(rows[0][0]) if rows else None

    def _read(self, sql: str, *values: Any) -> list[Any]:
        with self._read_lock, self._told("read"):
            return self._reader.execute(sql, values).fetchall()

    def _told(self, what: str) -> AbstractContextManager[None]:
        return told(what, self._path)


def own(path: Path) -> IO[bytes]:
    """The lock file beside the store, held until it is closed or the process ends.

    Two engines on one store would each decide from states that the other has changed. The store itself cannot be locked
    this way: closing a second descriptor of it would drop SQLite's own locks.
    """
    try:
        file = open(f"{path}-owner", "ab")  # noqa: SIM115
    except OSError as error:
        raise StoreError(
            f"cannot open the store `{path}`: {error.strerror}; is its folder there and writable?"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StoreError(f"cannot open the store `{path}`: it is open already; stop the other kairos first") from error
    return file


def connect(path: Path) -> closing[sqlite3.Connection]:
    """A connection in autocommit that any thread may use, one at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA secure_delete = FAST")  # pages that come free are not written for it
    return closing(connection)


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    """One transaction, IMMEDIATE to write or DEFERRED to read one snapshot; rolled back when anything fails."""
    connection.execute("BEGIN " + kind)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # most failures have ended it already
            connection.execute("ROLLBACK")
        raise


def write_batch(connection: sqlite3.Connection, batch: Batch) -> None:
    """Every row of the batch but the states, inside the caller's transaction."""
    write(connection, DECISIONS, batch.decisions)
    write(connection, OUTGOING, map(outgoing_row, batch.outgoing))
    write(connection, UPDATES, merged(batch.updates))
    write(connection, TIMERS, ((t.id, t.due, t.subscriber, t.payload) for t in batch.timers))
    write(connection, TIMERS_DONE, ((id_,) for id_ in batch.timers_done))
    write(connection, RESPONSES, map(response_row, batch.responses))
    write(connection, PURCHASES, map(purchase_row, batch.purchases.values()))
    write(connection, POSITIONS, batch.positions)
    put_letters(connection, batch.dead_letters)
    mark_letters(connection, batch.letters_marked)
    write(connection, ANSWERED, ((a.account, a.message_id, a.peer_id, a.identity, a.at) for a in batch.answered))
    write(connection, BUDGETS, budget_rows(batch.budgets))
    passages.write_passages(connection, batch)
    if batch.erased:
        erase(connection, batch.erased)
    if batch.identities:
        write(connection, IDENTITIES, batch.identities)
        highest = max(subscriber for _, _, subscriber, _ in batch.identities)
        connection.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'state'", (highest,))


def pages_of(batch: Batch) -> int:
    """About how many pages a batch changes: its rows are appended side by side; the rest is the journal's upkeep."""
    appended = sum(map(len, batch.states.values())) + sum(len(row[3]) for row in batch.decisions)
    appended += sum(150 + len(row.payload) for row in batch.outgoing)
    return appended // PAGE + len(batch.states) // 4 + 10


def outgoing_row(row: Outgoing) -> tuple[Any, ...]:
    return (row.id, row.key, row.subscriber, row.channel, row.payload, row.due, row.status, row.attempts, row.peer_id)


def read_response(row: Sequence[Any]) -> Response:
    subscriber, decision, offer, outcome, reason, at, test = row
    return Response(subscriber, decision, offer, outcome, reason, at, bool(test))


def response_row(row: Response) -> tuple[Any, ...]:
    return (row.subscriber, row.decision, row.offer, row.outcome, row.reason, row.at, int(row.test))


def merged(updates: Iterable[OutgoingUpdate]) -> list[tuple[Any, ...]]:
    """One change per outbox row, the last one, with the last peer id that was named: SQL knows no order among them."""
    last: dict[int, tuple[Any, ...]] = {}
    for update in updates:
        _, _, due, _, peer_id = last.get(update.id, (0, "", None, 0, ""))
        due = due if update.status == "sending" else update.due  # the mark of an attempt makes it no newer
        last[update.id] = (update.id, update.status, due, update.attempts, update.peer_id or peer_id)
    return list(last.values())


def split_moved(joined: bytes) -> Iterator[tuple[str, int]]:
    """The numbers that changed hands, and when they did last.

    >>> dict(split_moved(b"12025550123:7,12025550124:9"))
    {'12025550123': 7, '12025550124': 9}
    """
    for one in joined.decode().split(","):
        name, _, since = one.partition(":")
        yield name, int(since)


def by_other_kind(names: Iterable[str]) -> dict[str, list[str]]:
    """Those of the names that are no MSISDN, by their kind."""
    found: dict[str, list[str]] = {}
    for name in names:
        kind, colon, value = name.partition(":")
        if colon and kind in OTHER_KINDS:
            found.setdefault(kind, []).append(value)
    return found
