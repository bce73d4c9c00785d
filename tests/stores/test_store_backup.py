"""A backup is one moment of the store, whole or not there; a restored store never uses again what was used."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.backup import LEAST_JUMP, back_up, restore
from kairos.adapters.sqlite.schema import SCHEMA_VERSION
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.inputs import Response, Timer
from kairos.domain.message import Order, Outgoing, Text
from kairos.errors import StoreError
from kairos.ports import Batch, NextIds

HOUR = 3_600_000
NOW = 1_772_625_600_000
VERSION_1 = (Path(__file__).parent / "version_1.sql").read_text(encoding="utf-8")


def pack(payload: Text | Order) -> bytes:
    return msgspec.msgpack.encode(payload)


OFFER = pack(Text("5000", "12025550123", "Reply 1", marketing=True))
NOTIFICATION = pack(Text("5000", "12025550123", "You have T$1"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kairos.db"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "kairos.backup"


def turn(number: int) -> Batch:
    """A batch whose rows all say which one it was."""
    mark = b"%d" % number
    return Batch(
        states=dict.fromkeys((1, 2, number + 10), mark * 300),
        identities=[("msisdn", "15550100", 1, number)],
        decisions=[(number, 1, number, mark)],
        outgoing=[Outgoing(number, str(number), 1, "sms", NOTIFICATION, number)],
        timers=[Timer(number, number, 1, "")],
        responses=[Response(1, number, "offer", "accepted", "", number)],
    )


def test_a_backup_beside_commits_is_one_moment_of_the_store(path: Path, backup: Path) -> None:
    with closing(SqliteStore(path, checkpoint_pages=50)) as store:
        for number in range(1, 200):
            store.commit(turn(number))
        over = threading.Event()
        last = 199

        def go_on() -> None:
            nonlocal last
            while not over.is_set():
                store.commit(turn(last + 1))
                last += 1

        committing = threading.Thread(target=go_on)
        committing.start()
        try:
            size = back_up(path, backup, NOW, pause=0.05)
        finally:
            over.set()
            committing.join()
        assert size == backup.stat().st_size
        assert sorted(one.name for one in path.parent.iterdir() if "backup" in one.name) == [backup.name]
    with closing(SqliteStore(backup)) as copy:
        held = copy.next_ids().decision - 1
        assert 199 <= held < last
        assert copy.load([], [1, 2]).states == dict.fromkeys((1, 2), b"%d" % held * 300)
        assert len(copy.responses("offer")) == len(copy.unsent(0, 10_000)) == held
        assert copy.next_ids() == NextIds(held + 11, held + 1, held + 1, held + 1)


def test_a_store_at_rest_and_one_of_an_older_schema_are_backed_up(path: Path, backup: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    back_up(path, backup, NOW)
    restore(backup, path.with_name("restored.db"), NOW)
    with closing(SqliteStore(path.with_name("restored.db"))) as store:
        assert store.load(["12025550123"], []).states


@pytest.mark.parametrize("break_it", ["fsync", "replace"])
def test_a_backup_that_fails_leaves_nothing(
    path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch, break_it: str
) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    SqliteStore(path).close()
    monkeypatch.setattr(f"os.{break_it}", broken)
    with pytest.raises(StoreError, match=r"cannot back up `.*kairos\.db`: .*No space left"):
        back_up(path, backup, NOW)
    assert [one.name for one in path.parent.iterdir() if "backup" in one.name] == []


def test_what_cannot_be_backed_up_is_said(path: Path, backup: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        back_up(path, backup, NOW)
    SqliteStore(path).close()
    back_up(path, backup, NOW)
    with pytest.raises(StoreError, match="is there already; name a new file"):
        back_up(path, backup, NOW)
    with pytest.raises(StoreError, match=r"there is no folder `.*nowhere`; make it"):
        back_up(path, backup.parent / "nowhere" / "backup", NOW)


@pytest.fixture
def used(path: Path, backup: Path) -> str:
    """A store that went on after its backup; the epoch of both."""
    with closing(SqliteStore(path)) as store:
        order = pack(Order("old-1", "12025550123", "DATA", 100, "XTS", True, "booster", "small"))
        rows = [
            Outgoing(1, "a", 1, "sms", OFFER, NOW),
            Outgoing(2, "b", 1, "sms", OFFER, NOW, "sending"),
            Outgoing(3, "c", 1, "notification", NOTIFICATION, NOW),
            Outgoing(4, "d", 1, "notification", NOTIFICATION, NOW - 2 * HOUR),
            Outgoing(5, "e", 1, "ocs", order, NOW - 2 * HOUR),
            Outgoing(6, "f", 1, "sms", OFFER, NOW, "sent"),
        ]
        letter = DeadLetter("event", "x", NOW, "", "", b"")
        store.commit(
            Batch(
                states={1: b"then"},
                decisions=[(1, 1, NOW, b"decision")],
                outgoing=rows,
                timers=[Timer(1, NOW, 1, "")],
                responses=[Response(1, 1, f"{store.epoch}-1", "accepted", "", NOW)],
                dead_letters=[letter],
            )
        )
        back_up(path, backup, NOW)
        store.commit(Batch(states={1: b"now"}, decisions=[(2, 1, NOW, b"later")]))
        return store.epoch


def test_a_restored_store_uses_nothing_again(path: Path, backup: Path, used: str) -> None:
    done = restore(backup, path, NOW + HOUR // 2, replace=True)
    assert (done.age, done.kept, done.offers_dropped, done.old_dropped) == (HOUR // 2, 2, 2, 1)
    with closing(SqliteStore(path)) as store:
        assert store.epoch != used
        assert store.load([], [1]).states == {1: b"then"}
        jump = HOUR // 2 // 1000 * 100_000
        assert store.next_ids() == NextIds(2, jump + 2, jump + 7, jump + 2)
        store.commit(Batch(dead_letters=[DeadLetter("event", "y", NOW, "", "", b"")]))
        assert [one.id for one in store.dead_letters()] == [jump + 2, 1]
        assert [(row.id, row.status) for row in store.unsent(0, 9)] == [(3, "pending"), (5, "pending")]
        (off,) = store.switches()
        assert (off.name, off.on, off.who) == ("marketing", False, "kairos restore")
    assert done.before is not None
    with closing(SqliteStore(done.before)) as before:
        assert before.decision(2) == b"later"


def test_what_was_decided_before_a_restore_keeps_its_epoch(path: Path, backup: Path, used: str) -> None:
    restore(backup, path, NOW, replace=True)
    again = backup.with_name("again")
    back_up(path, again, NOW)
    restore(again, path, NOW, replace=True)
    with closing(SqliteStore(path)) as store:
        first, second, third = (store.epoch_of(number) for number in (1, LEAST_JUMP, 2 * LEAST_JUMP + 2))
        assert (first, third) == (used, store.epoch)
        assert len({first, second, third}) == 3
        assert len(store.responses(f"{store.epoch_of(1)}-1")) == 1


def test_what_was_set_aside_after_a_crash_comes_back_with_its_log(path: Path, backup: Path) -> None:
    aside = path.with_name("kairos.db.before-1")
    with closing(SqliteStore(path)) as store:
        for number in (1, 2, 3):
            store.commit(turn(number))
        for part in ("", "-wal"):  # as a kill leaves it
            shutil.copyfile(f"{path}{part}", f"{aside}{part}")
    assert restore(aside, path, NOW, replace=True).age == 0
    assert not Path(f"{path}-wal").exists()
    with closing(SqliteStore(path)) as store:
        assert [store.decision(number) is not None for number in (1, 2, 3)] == [True] * 3


def test_a_store_that_is_there_is_not_overwritten(path: Path, backup: Path, used: str) -> None:
    with pytest.raises(StoreError, match="is there already; `--replace` keeps it"):
        restore(backup, path, NOW)
    with closing(SqliteStore(path)) as store:
        assert store.epoch == used


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no store of kairos"),
        (b"no database at all" * 1000, "not a database"),
        (None, "there is no backup at"),
    ],
)
def test_what_is_no_backup_is_refused_and_changes_nothing(
    path: Path, backup: Path, used: str, content: bytes | None, said: str
) -> None:
    backup.unlink()
    if content is not None:
        backup.write_bytes(content)
    with pytest.raises(StoreError, match=said):
        restore(backup, path, NOW, replace=True)
    with closing(SqliteStore(path)) as store:
        assert store.epoch == used


def test_a_damaged_backup_and_one_of_a_newer_kairos_are_refused(path: Path, backup: Path, used: str) -> None:
    whole = backup.read_bytes()
    backup.write_bytes(whole[: 4096 * 3] + b"\xff" * 4096 * 3 + whole[4096 * 6 :])
    with pytest.raises(StoreError, match="cannot restore"):
        restore(backup, path, NOW, replace=True)
    backup.write_bytes(whole)
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match="upgrade kairos"):
        restore(backup, path, NOW, replace=True)
    assert sorted(one.name for one in path.parent.iterdir()) == ["kairos.backup", "kairos.db", "kairos.db-owner"]
