"""The SQLite store as a file: reopened, full, foreign, too new, in use."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.records import SqliteRecords
from kairos.adapters.sqlite.schema import SCHEMA_VERSION
from kairos.domain.inputs import Timer
from kairos.domain.message import Outgoing
from kairos.errors import StoreError
from kairos.ports import Batch, Loaded, NextIds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kairos.db"


def test_a_reopened_store_goes_on_where_it_was(path: Path) -> None:
    store = SqliteStore(path)
    epoch = store.epoch
    store.commit(
        Batch(
            states={1: b"one"},
            identities=[("msisdn", "15550100", 1, 0)],
            decisions=[(1, 1, 0, b"record")],
            outgoing=[Outgoing(1, "k", 1, "sms", b"", 0)],
            timers=[Timer(9, 0, 1, "")],
        )
    )
    store.commit(Batch(timers_done=[9]))
    store.save_playbook("r1", "l1", {"a": "b"})
    store.close()

    store = SqliteStore(path)
    assert store.epoch == epoch
    assert store.next_ids() == NextIds(2, 2, 2, 10)
    assert store.load(["15550100"], []) == Loaded({"15550100": 1}, {1: b"one"})
    assert [row.id for row in store.unsent(0, 9)] == [1]
    assert store.playbook("r1") == {"a": "b"}
    store.close()


def test_two_stores_have_two_epochs(tmp_path: Path) -> None:
    stores = [SqliteStore(tmp_path / name) for name in ("a.db", "b.db")]
    assert stores[0].epoch != stores[1].epoch
    for store in stores:
        store.close()


def test_a_full_disk_fails_the_commit_whole_and_the_next_that_fits_goes_through(path: Path) -> None:
    store = SqliteStore(path)
    store.commit(Batch(states={1: b"before"}))
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages + 20}")
    big = Batch(states={1: b"after"} | dict.fromkeys(range(2, 1002), b"x" * 1000), decisions=[(1, 1, 0, b"")])
    for _ in range(3):
        with pytest.raises(StoreError, match=r"cannot commit the store `.*kairos\.db`: .*full"):
            store.commit(big)
        assert store.load([], range(1, 1002)).states == {1: b"before"}
        assert store.decision(1) is None
        assert store.next_ids() == NextIds(2, 1, 1, 1)
    store.commit(Batch(states={1: b"small"}))
    store._writer.execute("PRAGMA max_page_count = 100000")
    store.commit(big)
    store.close()
    store = SqliteStore(path)
    assert store.load([], [1, 1001]).states == {1: b"after", 1001: b"x" * 1000}
    store.close()


def test_a_value_that_sqlite_cannot_hold_fails_the_commit_whole(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="cannot commit"):
        store.commit(Batch(states={1: b"one"}, decisions=[(1, 2**63, 0, b"")]))
    with pytest.raises(StoreError, match=r"STRICT|cannot store"):
        store.commit(Batch(states={1: b"one"}, positions=[("in", 0, "seven")]))  # type: ignore[list-item]
    assert store.load([], [1]).states == {}
    store.commit(Batch(states={1: b"one"}))
    assert store.load([], [1]).states == {1: b"one"}
    store.close()


def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.commit(Batch(states={1: b""}))
    with pytest.raises(StoreError, match="closed"):
        store.load([], [1])


def test_a_file_of_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(
        StoreError, match=rf"kairos\.db` has schema version {SCHEMA_VERSION + 1}, newer .*upgrade kairos"
    ):
        SqliteStore(path)
    with pytest.raises(StoreError, match="newer"):  # and not "in use"
        SqliteStore(path)


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs(x)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        SqliteStore(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/kairos\.db`.*is its folder there"):
        SqliteStore(tmp_path / "nowhere" / "kairos.db")


def test_a_store_is_open_once(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="open already"):
        SqliteStore(path)
    store.commit(Batch(states={1: b"still mine"}))
    store.close()
    SqliteStore(path).close()


def test_the_log_stays_bounded_under_steady_commits(path: Path) -> None:
    store = SqliteStore(path, checkpoint_pages=100)
    store.commit(Batch(states=dict.fromkeys(range(1, 4001), b"x" * 1000)))
    for turn in range(500):
        store.commit(Batch(states=dict.fromkeys(range(turn % 100 + 1, 4001, 100), b"%d" % turn * 300)))  # 40 pages each
    pages = os.stat(f"{path}-wal").st_size // 4096
    assert 0 < pages < 4000, "20,000 pages were committed"
    store.close()
    store = SqliteStore(path)
    assert store.load([], range(100, 4001, 100)).states == dict.fromkeys(range(100, 4001, 100), b"499" * 300)
    store.close()


def test_one_may_look_into_a_store_that_is_open(path: Path) -> None:
    store = SqliteStore(path)
    store.commit(Batch(states={1: b"one"}))
    look = SqliteRecords(path)
    assert look.load([], [1]).states == {1: b"one"}
    store.commit(Batch(states={1: b"two"}))
    assert look.load([], [1]).states == {1: b"two"}
    look.close()
    store.commit(Batch(states={1: b"three"}))
    store.close()


def test_one_may_look_into_a_store_at_rest_and_leaves_nothing(path: Path) -> None:
    store = SqliteStore(path)
    store.commit(Batch(states={1: b"one"}))
    store.close()
    before = path.read_bytes()
    look = SqliteRecords(path)
    assert look.load([], [1]).states == {1: b"one"}
    look.close()
    assert path.read_bytes() == before
    with pytest.raises(StoreError, match="cannot open"):
        SqliteRecords(path.with_name("missing.db"))
    assert not path.with_name("missing.db").exists()


def test_a_store_that_nobody_closed_still_lets_the_process_end(path: Path) -> None:
    code = f"from kairos.adapters.sqlite import SqliteStore; store = SqliteStore({str(path)!r})"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60).returncode == 0
