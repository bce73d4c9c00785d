"""A file of an older kairos: brought up to date in one transaction, with nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.schema import FIRST, SCHEMA_VERSION, STEPS, prepare_schema
from kairos.engine.work import decode_state
from kairos.errors import StoreError
from kairos.ports import NextIds

# Written by the last commit before version 2, through its own engine: three subscribers, an offer taken and fulfilled,
# one still open on a notification that is not sent yet, and a timer id that is used and gone.
VERSION_1 = (Path(__file__).parent / "version_1.sql").read_text(encoding="utf-8")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "kairos.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def columns(path: Path) -> dict[str, list[str]]:
    """The columns of each table."""
    tables = [name for (name,) in query(path, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    return {table: [row[1] for row in query(path, f"PRAGMA table_info({table})")] for table in tables}


def rows(path: Path, shape: dict[str, list[str]]) -> dict[str, list[Any]]:
    return {table: sorted(query(path, f"SELECT {', '.join(names)} FROM {table}")) for table, names in shape.items()}


def schema(path: Path) -> set[tuple[str, str, str]]:
    return set(query(path, "SELECT type, name, ifnull(sql, '') FROM sqlite_schema"))


def test_the_dump_has_the_schema_of_version_1(tmp_path: Path, old: Path) -> None:
    first = tmp_path / "first.db"
    with closing(sqlite3.connect(first)) as connection:
        connection.executescript(FIRST)
    assert schema(old) == schema(first)
    assert all(rows(old, columns(old)).values()), "a table without rows shows nothing"


def test_an_older_file_is_brought_up_to_date_and_loses_nothing(old: Path) -> None:
    shape = columns(old)
    before = rows(old, shape)
    SqliteStore(old).close()
    assert query(old, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    after = rows(old, shape)
    sequences = dict(after.pop("sqlite_sequence"))
    assert {name: sequences[name] for name, _ in before["sqlite_sequence"]} == dict(before.pop("sqlite_sequence"))
    settled = {row[0]: row for row in after["outbox"]}
    assert [settled[row[0]][5] > 0 for row in before["outbox"]] == [True] * 5, "version 1 lost when it was"
    for found in (before, after):
        found["outbox"] = [(*row[:5], *row[6:]) for row in found["outbox"]]
    assert after == before


def test_what_an_older_file_holds_can_be_used(old: Path) -> None:
    with closing(SqliteStore(old)) as store:
        assert store.next_ids() == NextIds(4, 4, 6, 91)
        loaded = store.load(["12025550123", "12025550177", "12025550144"], [])
        states = {msisdn: decode_state(loaded.states[id_]) for msisdn, id_ in loaded.subscribers.items()}
        assert [offer.status for offer in states["12025550123"].offers] == ["fulfilled"]
        assert [offer.status for offer in states["12025550177"].offers] == ["open"]
        assert states["12025550144"].offers == []
        assert [row.channel for row in store.unsent(0, 9)] == ["sms", "notification", "notification"]
        assert [found.outcome for found in store.responses(f"{store.epoch}-1")] == ["accepted", "fulfilled"]
        assert store.playbook("0123456789ab") == {"playbook.yaml": "name: older\n"}


def test_a_new_file_and_an_older_one_come_to_equal_schemas(tmp_path: Path, old: Path) -> None:
    new = tmp_path / "new.db"
    SqliteStore(new).close()
    SqliteStore(old).close()
    assert schema(old) == schema(new)


def test_a_step_that_fails_leaves_the_file_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.adapters.sqlite.schema.STEPS", (*STEPS[:-1], STEPS[-1] + "; CREATE TABLE meta(x)"))
    before = schema(old), rows(old, columns(old))
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="meta already exists"):
            prepare_schema(connection, old)
        assert not connection.in_transaction
    assert query(old, "PRAGMA user_version") == [(1,)]
    assert (schema(old), rows(old, columns(old))) == before


def test_a_copy_is_kept_before_an_upgrade_and_only_then(old: Path) -> None:
    shape = columns(old)
    before = rows(old, shape)
    SqliteStore(old).close()
    copy = old.with_name("kairos.db.version-1")
    assert query(copy, "PRAGMA user_version") == [(1,)]
    held = rows(copy, shape)
    held["meta"] = [row for row in held["meta"] if row[0] != "backup_at"]
    assert held == before
    copy.unlink()
    SqliteStore(old).close()
    assert not copy.exists()


def test_an_upgrade_without_a_copy_where_it_is_asked_for(old: Path) -> None:
    SqliteStore(old, copy=False).close()
    assert sorted(one.name for one in old.parent.iterdir()) == ["kairos.db", "kairos.db-owner"]


def test_no_upgrade_without_the_copy_that_cannot_be_made(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StoreError, match="No space left on device; `copy_before_upgrade = false`"):
            SqliteStore(old)
    assert query(old, "PRAGMA user_version") == [(1,)]
    SqliteStore(old).close()
