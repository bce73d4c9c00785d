"""The journal of states: whatever its upkeep moves, and wherever it is killed, everybody's newest state is there."""

from __future__ import annotations

import random
import sqlite3
import textwrap
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.stores.test_sqlite_store_crash import killed_after

from kairos.adapters.sqlite import SqliteStore, journal
from kairos.adapters.sqlite.journal import ROWS_EACH
from kairos.adapters.sqlite.records import SqliteRecords
from kairos.domain.subscriber import SCHEMA, KnownBy, State
from kairos.errors import StoreError
from kairos.ports import Batch

EVERYBODY = range(1, 41)
SHORTEST = 8  # rows of the tail: upkeep begins at once


@pytest.fixture(autouse=True)
def _short_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SHORTEST", SHORTEST)


def number(subscriber: int) -> str:
    return f"1202555{subscriber:04}"


def current_states(path: Path) -> dict[int, bytes]:
    """As a reader beside a running kairos finds them."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(connection.execute("SELECT subscriber, blob FROM current_state"))


def ends(path: Path) -> tuple[int, int, int]:
    """The first row of the journal, the last that is settled, and how many rows there are."""
    with closing(sqlite3.connect(path)) as connection:
        found: tuple[int, int, int] = connection.execute(
            "SELECT min(id), (SELECT last FROM settled), count(*) FROM journal"
        ).fetchone()
        return found


def test_everybody_has_their_newest_state_whatever_is_settled_copied_or_undone(tmp_path: Path) -> None:
    chance = random.Random(3)
    path = tmp_path / "kairos.db"
    expected: dict[int, bytes] = {}
    store = SqliteStore(path)
    store.commit(Batch(decisions=[(1, 1, 0, b"")], identities=[("msisdn", number(s), s, 0) for s in EVERYBODY]))
    for turn in range(400):
        some = chance.sample(EVERYBODY, chance.randrange(1, 12))
        states = {subscriber: b"%d " % turn * chance.randrange(1, 900) for subscriber in some}
        if chance.random() < 0.2:
            with pytest.raises(StoreError):  # the id is taken: all of the batch is undone, upkeep too
                store.commit(Batch(states=states, decisions=[(1, 1, 0, b"")]))
        else:
            store.commit(Batch(states=states))
            expected |= states
        if chance.random() < 0.1:
            store.close()
            store = SqliteStore(path)
        half = chance.sample(EVERYBODY, 20)
        known = {subscriber: expected[subscriber] for subscriber in half if subscriber in expected}
        assert store.load([number(s) for s in half[:10]], half[10:]).states == known
    assert store.load([], EVERYBODY).states == expected == current_states(path)
    first, settled, rows = ends(path)
    assert first > 500
    assert settled > first
    assert rows <= ROWS_EACH * (len(EVERYBODY) + SHORTEST) + journal.SHARE * 12
    records = SqliteRecords(path)
    assert records.load([number(7)], []).states == {7: expected[7]}
    records.close()
    store.close()


def test_a_state_of_schema_version_1_is_read_where_it_stood_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO state(subscriber, blob) VALUES (5, x'05'), (6, x'06')")
        connection.execute(
            "INSERT INTO identity(kind, value, subscriber, since) VALUES ('msisdn', '12025550105', 5, 0)"
        )
    store = SqliteStore(path)
    assert store.next_ids().subscriber == 7
    assert store.load(["12025550105"], [6]).states == {5: b"\x05", 6: b"\x06"} == current_states(path)
    for turn in range(20):
        store.commit(Batch(states={5: b"%d" % turn}))
    assert store.load(["12025550105"], [6]).states == {5: b"19", 6: b"\x06"} == current_states(path)
    store.close()


WRITER = textwrap.dedent(
    """
    import random, sys
    from kairos.adapters.sqlite import SqliteStore, journal
    from kairos.ports import Batch

    journal.SHORTEST = int(sys.argv[2])
    store = SqliteStore(sys.argv[1], checkpoint_pages=64)
    turn = store.next_ids().decision
    while True:
        some = random.Random(turn).sample(range(1, 41), 8)
        store.commit(Batch(states={s: b"%d " % turn * 300 for s in some}, decisions=[(turn, 1, turn, b"")]))
        print(turn, flush=True)
        turn += 1
    """
)


def check_newest(path: Path, acknowledged: int) -> int:
    """Every batch up to the last one is there whole: by a reader beside it, and by the store that opens the file."""
    newest: dict[int, bytes] = {}
    store = SqliteStore(path)
    last = store.next_ids().decision - 1
    assert acknowledged <= last <= acknowledged + 1
    for turn in range(1, last + 1):
        newest |= dict.fromkeys(random.Random(turn).sample(EVERYBODY, 8), b"%d " % turn * 300)
    assert store.load([], EVERYBODY).states == newest == current_states(path)
    store.close()
    return last


@pytest.mark.parametrize("kills", [8, pytest.param(60, marks=pytest.mark.long)])
def test_a_kill_at_any_point_of_the_upkeep_loses_no_state_and_brings_none_back(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    path = tmp_path / "kairos.db"
    last = 0
    for _ in range(kills):
        acknowledged = killed_after(chance.uniform(0, 0.2), WRITER, path, SHORTEST)
        assert acknowledged > last
        last = check_newest(path, acknowledged)
    first, settled, _ = ends(path)
    assert first > 8 * last // 2
    assert settled > first


def test_what_was_forgotten_is_not_copied_back_and_no_other_state_goes_with_it(tmp_path: Path) -> None:
    def ended(id_: int) -> bytes:
        return msgspec.msgpack.encode(State(SCHEMA, id_, "", "", 0, known=KnownBy(ended=100)))

    store = SqliteStore(tmp_path / "kairos.db")
    names = [("msisdn", f"1202555{id_:04}", id_, 1) for id_ in range(1, 11)]
    store.commit(Batch(states={id_: ended(id_) for id_ in range(1, 11)}, identities=names))
    store.commit(Batch(identities=[(kind, name, 0, 100) for kind, name, _, _ in names]))
    others = {id_: b"%d" % id_ for id_ in range(20, 61)}
    gone = 0
    for _ in range(40):  # each pass takes those whose newest state is settled, and not just copied
        store.commit(Batch(states=others | {10: ended(10)}))  # the last one is written all the time
        gone += store.forget("ended_subscriptions", 600, 0, 100).deleted
    assert gone >= 9
    store.commit(Batch(states={10: b"new"}))
    store.close()
    reopened = SqliteStore(tmp_path / "kairos.db")
    assert reopened.load([], range(1, 61)).states == {**others, 10: b"new"}
    reopened.close()
