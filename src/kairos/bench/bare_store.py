"""The bare store: what the tables alone cost, with nothing decided; and what the disk is worth."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from kairos.adapters.sqlite.journal import APPEND, ROWS_EACH, SETTLE
from kairos.adapters.sqlite.statements import select, write
from kairos.adapters.sqlite.store import (
    DECISIONS,
    OUTGOING,
    POSITIONS,
    SqliteStore,
    connect,
    transaction,
)
from kairos.ports import Batch

STATES_BY_MSISDN = (
    "SELECT identity.subscriber, journal.blob FROM identity JOIN state USING (subscriber) "
    "JOIN journal ON journal.id = place WHERE kind = 'msisdn' AND value IN "
)
SETTLED = (
    "INSERT OR REPLACE INTO state(subscriber, place) "
    "SELECT subscriber, max(id) FROM journal WHERE id > (SELECT last FROM settled) GROUP BY subscriber"
)
RECORD, TEXT = 450, 220  # bytes of a decision record and of an outbox payload, as `bench events` writes them
PREPARED_AT_ONCE = 20_000


def prepare(path: Path, subscribers: int, blob: Callable[[int], bytes], msisdn: Callable[[int], str]) -> None:
    """A store with so many subscribers, ids from 1, as it is after a while: its journal is as full as it gets."""
    store = SqliteStore(path, checkpoint_pages=100_000)
    for start in range(1, subscribers + 1, PREPARED_AT_ONCE):
        ids = range(start, min(start + PREPARED_AT_ONCE, subscribers + 1))
        identities = [("msisdn", msisdn(id_), id_, 0) for id_ in ids]
        store.commit(Batch(states={id_: blob(id_) for id_ in ids}, identities=identities))
    chance = random.Random(subscribers)
    for _ in range(0, (ROWS_EACH - 1) * subscribers, PREPARED_AT_ONCE):
        again = {chance.randrange(1, subscribers + 1) for _ in range(PREPARED_AT_ONCE)}
        store.commit(Batch(states=store.load([], again).states))
    store.close()
    with connect(path) as connection:  # the bare loop knows of no tail
        connection.execute(SETTLED)


def run(
    path: Path,
    subscribers: int,
    events: int,
    batch: int,
    checkpoint_pages: int,
    seed: int,
    msisdn: Callable[[int], str],
) -> dict[str, float]:
    """One thread, one connection, one transaction after another, checkpoints inside the commits (SQLite's own way):
    read states by number, append them with a record each, note their places, and an outbox row with every fourth.
    Returns `events_per_s` and `bytes_written_an_event`."""
    chance = random.Random(seed)
    hot = max(1, subscribers // 100)
    record, text = chance.randbytes(RECORD), chance.randbytes(TEXT)
    with connect(path) as connection:
        connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages:d}")
        used = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
        decision, outgoing = used["decision"] + 1, used["outbox"] + 1
        (place,) = connection.execute("SELECT max(id) + 1 FROM journal").fetchone()
        written, started = written_bytes(path.parent), time.perf_counter()
        for _ in range(events // batch):
            wanted = [1 + chance.randrange(hot if chance.random() < 0.1 else subscribers) for _ in range(batch)]
            with transaction(connection, "IMMEDIATE"):
                found = select(connection, STATES_BY_MSISDN, [msisdn(id_) for id_ in wanted])
                states = dict(found)
                places = dict(zip(sorted(states), count(place), strict=False))
                write(connection, APPEND, ((at, id_, states[id_]) for id_, at in places.items()))
                write(connection, SETTLE, places.items())
                write(connection, DECISIONS, ((decision + n, id_, 0, record) for n, id_ in enumerate(wanted)))
                write(connection, OUTGOING, (outbox_row(outgoing + n, text) for n in range(batch // 4)))
                write(connection, POSITIONS, [("bench", 0, decision)])
            decision, outgoing, place = decision + batch, outgoing + batch // 4, place + len(places)
        seconds = time.perf_counter() - started
        written = written_bytes(path.parent) - written
    return {"events_per_s": round(events / seconds), "bytes_written_an_event": round(written / events)}


def outbox_row(id_: int, text: bytes) -> tuple[object, ...]:
    return (id_, f"ocs/{id_}#sms", 1, "sms", text, 0, "pending", 0, "")


def written_bytes(folder: Path | None = None) -> int:
    """What the disk under `folder` (the system's for temporary files) has taken so far, by whatever process.

    Where the system does not tell (no Linux, or no disk of its own), what this process has sent there, or 0. That comes
    second because Linux counts a whole large folio for each page of it that is written: seven times the truth here.
    """
    disk = os.stat(folder or tempfile.gettempdir()).st_dev
    try:
        return 512 * int(Path(f"/sys/dev/block/{os.major(disk)}:{os.minor(disk)}/stat").read_text().split()[6])
    except OSError:
        return _sent_bytes()


def _sent_bytes() -> int:
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def fdatasync_us(folder: Path, times: int = 200) -> float:
    """The median cost of fdatasync after 4 KB, in microseconds, in that folder."""
    took = []
    with (folder / "fdatasync").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"\0" * 4096)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    return round(sorted(took)[times // 2] * 1e6, 1)
