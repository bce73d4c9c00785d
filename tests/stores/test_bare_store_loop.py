"""The bare loop that `bench events` compares with really reads and writes the tables it says."""

from __future__ import annotations

from pathlib import Path

from kairos.adapters.sqlite import SqliteStore
from kairos.bench import bare_store
from kairos.ports import NextIds


def msisdn(subscriber: int) -> str:
    return f"999{subscriber:09d}"


def blob(subscriber: int) -> bytes:
    return b"%d " % subscriber * 100


def test_the_bare_loop_leaves_its_rows_and_every_state(tmp_path: Path) -> None:
    path = tmp_path / "kairos.db"
    bare_store.prepare(path, 300, blob, msisdn)
    figures = bare_store.run(path, 300, events=400, batch=100, checkpoint_pages=50, seed=1, msisdn=msisdn)
    assert figures["events_per_s"] > 0
    store = SqliteStore(path)
    assert store.next_ids() == NextIds(subscriber=301, decision=401, outgoing=101, timer=1)
    loaded = store.load([msisdn(id_) for id_ in range(1, 301)], [])
    assert loaded.states == {id_: blob(id_) for id_ in range(1, 301)}
    record = store.decision(400)
    assert record is not None
    assert len(record) == bare_store.RECORD
    assert [len(row.payload) for row in store.unsent(98, 10)] == [bare_store.TEXT] * 2
    store.close()


def test_what_fdatasync_costs_is_measured_where_asked(tmp_path: Path) -> None:
    assert bare_store.fdatasync_us(tmp_path, times=5) > 0
