"""Switches are turned in a store's file by another process, whether a kairos has it open or not."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.switches import SqliteSwitches
from kairos.domain.switch import Switch
from kairos.errors import StoreError
from kairos.ports import Batch

OFF = Switch("marketing", False, "wrong prices", "ada", 1000)
ON = Switch("marketing", True, "", "ada", 2000)


def test_a_switch_that_is_turned_beside_an_open_store_is_seen_there(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "k.db")) as store, closing(SqliteSwitches(tmp_path / "k.db")) as beside:
        beside.turn_switch(OFF)
        assert store.switches() == [OFF]
        store.commit(Batch(states={1: b"one"}))
        store.turn_switch(ON)
        assert beside.switches() == [ON]
        assert beside.switch_history(5) == store.switch_history(5) == [ON, OFF]


def test_a_switch_that_is_turned_while_no_kairos_runs_is_found_at_the_start(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "k.db").close()
    with closing(SqliteSwitches(tmp_path / "k.db")) as switches:
        switches.turn_switch(OFF)
    with closing(SqliteStore(tmp_path / "k.db")) as store:
        assert store.switches() == [OFF]


@pytest.mark.parametrize("content", [None, b"", b"no database" * 500])
def test_a_file_that_is_no_store_has_no_switches(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "k.db").write_bytes(content)
    with pytest.raises(StoreError, match=r"k\.db`"):
        SqliteSwitches(tmp_path / "k.db")
    assert (tmp_path / "k.db").exists() == (content is not None)
