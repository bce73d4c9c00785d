"""Copies of a store's file: a backup beside a running kairos, and a store made of one again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kairos.adapters.disk import sync_path
from kairos.adapters.sqlite.schema import SCHEMA_VERSION, prepare_schema
from kairos.adapters.sqlite.switches import turn_switch
from kairos.domain.message import Text
from kairos.domain.switch import MARKETING, Switch
from kairos.errors import StoreError

PAGES = 1000  # copied in one step (4 MB)
PAUSE = 0.005  # seconds between steps: the disk is left to the commits
IDS_A_SECOND = 100_000  # more than any kairos uses up: so far ids jump for each second between backup and restore
LEAST_JUMP = 1_000_000
KEYED = ("decision", "outbox", "timer", "dead_letter", "switch")  # tables whose ids somebody else may have seen
WITH_IT = ("-wal", "-shm")

_text = msgspec.msgpack.Decoder(Text).decode


def back_up(source: Path, target: Path, at: int, *, pause: float = PAUSE) -> int:
    """Copy the store at `source`, as it was when this began, to the file `target`; its size in bytes.

    Commits go on meanwhile: the copy reads one snapshot, and what is committed during it stays in the write-ahead log
    until it ends. `target` appears whole, checked and synced, or not at all. Raises StoreError, and for a `target`
    that is there. `at` (ms) is kept in the copy.
    """
    if target.exists():
        raise StoreError(f"`{target}` is there already; name a new file")
    if not source.exists():
        raise StoreError(f"there is no store at `{source}`")
    if not target.parent.is_dir():
        raise StoreError(f"there is no folder `{target.parent}`; make it, or name another file")
    if not os.access(target.parent, os.W_OK):
        raise StoreError(f"the folder `{target.parent}` is not writable; name a file in another one")
    partial = target.with_name(f"{target.name}.partial")
    with told("back up", source), removed(partial):
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as from_:
            if not from_.execute("PRAGMA user_version").fetchone()[0]:
                raise StoreError(f"`{source}` is no store of kairos")
            from_.execute("BEGIN")
            from_.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the snapshot is taken here
            with closing(sqlite3.connect(partial, isolation_level=None)) as to:
                from_.backup(to, pages=PAGES, progress=lambda *_: time.sleep(pause))
                to.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
                to.execute("INSERT OR REPLACE INTO meta(name, value) VALUES ('backup_at', ?)", (str(at),))
        check(partial)
        put_in_place(partial, target)
    return target.stat().st_size


def copy_before_upgrade(path: Path, at: int) -> Path | None:
    """A copy beside a store whose schema is older than ours, as a way back; None where there is nothing to upgrade.

    The caller owns the path. A copy of the same version that is there already stays, and is named. Raises StoreError.
    """
    if not path.exists():
        return None
    with told("read", path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 < version < SCHEMA_VERSION:
        return None
    copy = path.with_name(f"{path.name}.version-{version}")
    if not copy.exists():
        try:
            back_up(path, copy, at, pause=0.0)
        except StoreError as error:
            raise StoreError(f"{error}; `copy_before_upgrade = false` of [store] upgrades without a copy") from error
    return copy


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: how old the backup was (ms; 0: it does not say), and what became of messages in it."""

    age: int
    kept: int
    offers_dropped: int
    old_dropped: int
    before: Path | None  # where the store is that was there


def restore(backup: Path, path: Path, now: int, *, replace: bool = False, resend_within: int = 3_600_000) -> Restored:
    """Make the file `backup` the store at `path`, and what was there, with `replace`, a file beside it.

    The caller owns the path (see `store.own`). Whatever happened after the backup is not known any
    more, so: a new epoch begins, and ids jump ahead, so that no key, message or decision is one that was used; offers
    that waited to be sent are dropped, for they may have been; other texts are sent again where they are not older
    than `resend_within` (ms); orders go on under their keys; and marketing is off. Raises StoreError.
    """
    if path.exists() and not replace:
        raise StoreError(f"`{path}` is there already; `--replace` keeps it beside the restored one")
    if not backup.exists():
        raise StoreError(f"there is no backup at `{backup}`")
    partial = path.with_name(f"{path.name}.partial")
    with told("restore", backup), removed(partial):
        shutil.copyfile(backup, partial)
        log = Path(f"{backup}-wal")
        if (
            log.exists()
        ):  # no backup, but a store that was set aside, or that a crash left: its latest commits are there
            shutil.copyfile(log, f"{partial}-wal")
        check(partial)
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            prepare_schema(connection, partial)
            connection.execute("BEGIN IMMEDIATE")
            age = begin_anew(connection, now)
            kept, offers, old = settle_outbox(connection, now - resend_within)
            reason = "restored from a backup: bring consents up to date first"
            turn_switch(connection, Switch(MARKETING, False, reason, "kairos restore", now))
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        before = set_aside(path, now) if path.exists() else None
        put_in_place(partial, path)
    return Restored(age, kept, offers, old, before)


def begin_anew(connection: sqlite3.Connection, now: int) -> int:
    """A new epoch, and ids that nobody has seen; the age of the backup, in ms, or 0. Old decisions keep their epoch."""
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    age = max(0, now - int(meta.get("backup_at", 0)))
    jump = max(LEAST_JUMP, age // 1000 * IDS_A_SECOND)
    used = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
    for name in KEYED:
        connection.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = ?", (jump, name))
    (epochs,) = connection.execute("SELECT count(*) FROM meta WHERE name LIKE 'epoch_until_%'").fetchone()
    last = f"{used['decision']} {meta['epoch']}"
    connection.execute("INSERT INTO meta(name, value) VALUES (?, ?)", (f"epoch_until_{epochs + 1}", last))
    connection.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (uuid.uuid4().hex,))
    connection.execute("DELETE FROM meta WHERE name = 'backup_at'")
    return age if "backup_at" in meta else 0


def settle_outbox(connection: sqlite3.Connection, oldest: int) -> tuple[int, int, int]:
    """What waits to be sent: how many rows are kept, and dropped because they are offers, or from before `oldest`."""
    dropped: dict[int, str] = {}
    kept = 0
    unsent = "SELECT id, channel, payload, due FROM outbox WHERE status IN ('pending', 'sending') ORDER BY id"
    for id_, channel, payload, due in connection.execute(unsent):
        if channel == "ocs":
            kept += 1
        elif _text(payload).marketing:
            dropped[id_] = "offer"
        elif due < oldest:
            dropped[id_] = "old"
        else:
            kept += 1
    connection.executemany("UPDATE outbox SET status = 'dropped' WHERE id = ?", ((id_,) for id_ in dropped))
    offers = list(dropped.values()).count("offer")
    return kept, offers, len(dropped) - offers


def set_aside(path: Path, now: int) -> Path:
    """Rename a store that is there, with its log; where it is now."""
    beside = path.with_name(f"{path.name}.before-{now}")
    for part in ("", *WITH_IT):
        if Path(f"{path}{part}").exists():
            os.replace(f"{path}{part}", f"{beside}{part}")
    return beside


def check(path: Path) -> None:
    """Raises StoreError for a file that is damaged, or no store that this kairos can use."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not version or not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'outbox'").fetchone():
            raise StoreError("it is no store of kairos")
        if version > SCHEMA_VERSION:
            raise StoreError(f"it has schema version {version}, this kairos knows {SCHEMA_VERSION}; upgrade kairos")
        found = connection.execute("PRAGMA integrity_check(3)").fetchall()
        if found != [("ok",)]:
            raise StoreError(f"it is damaged: {'; '.join(words for (words,) in found)}")


def put_in_place(partial: Path, target: Path) -> None:
    """Rename a file that is whole, so that it is there after a power cut, too."""
    sync_path(partial)
    os.replace(partial, target)
    sync_path(target.parent)


@contextmanager
def removed(partial: Path) -> Iterator[None]:
    """No half file is left, neither of an earlier attempt nor of this one."""

    def remove() -> None:
        for part in ("", "-journal", *WITH_IT):
            Path(f"{partial}{part}").unlink(missing_ok=True)

    remove()
    try:
        yield
    finally:
        remove()


@contextmanager
def told(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
        raise StoreError(f"cannot {what} `{path}`: {error}") from error
    except StoreError as error:
        raise StoreError(f"cannot {what} `{path}`: {error}") from error
