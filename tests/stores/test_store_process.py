"""The store's own process: where a door breaks, all ends at once, for who waits at it would hear nothing."""

from __future__ import annotations

import asyncio
import os
import pickle
import queue
import signal
from pathlib import Path
from typing import Any

import pytest

from kairos.adapters.sqlite import process
from kairos.adapters.sqlite.process import SqliteProcess
from kairos.domain.passage import Hub
from kairos.errors import StoreError
from kairos.ports import Store


def test_a_door_that_breaks_at_the_far_end_ends_that_process(tmp_path: Path) -> None:
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    store = SqliteProcess(tmp_path / "kairos.db", died=told.put)
    door = store._doors.get()
    door.send_bytes(b"no pickle")
    assert told.get(timeout=60) == 1
    with pytest.raises(StoreError, match="has ended"):
        store.purchase("k")
    door.close()
    store.close()


def test_a_store_that_hangs_holds_up_the_thread_that_decides_once(tmp_path: Path, monkeypatch: Any) -> None:
    store = SqliteProcess(tmp_path / "kairos.db")
    store.put_listener(Hub("h", "c", "http://x.example", "", 0))
    store.hurry()
    os.kill(store.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, store.pid, os.WSTOPPED)  # all of its threads
    monkeypatch.setattr(process, "IN_HASTE", 0.01)
    with pytest.raises(StoreError, match="does not answer"):
        store.purchase("k")
    monkeypatch.setattr(process, "IN_HASTE", 3600.0)
    with pytest.raises(StoreError, match="does not answer"):
        store.purchase("k")  # at once
    os.kill(store.pid, signal.SIGCONT)
    assert store._own is not None
    assert store._own.poll(60)
    for _ in range(3):  # each answer is the one to its own question
        assert [one.id for one in store.listeners()] == ["h"]
        assert store.purchase("k") is None
    store.close()


async def test_a_door_that_breaks_at_our_end_ends_that_process(tmp_path: Path, monkeypatch: Any) -> None:
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    store = SqliteProcess(tmp_path / "kairos.db", died=told.put)
    assert await store.aside.read(Store.purchase, "k") is None

    class Short:
        HIGHEST_PROTOCOL, dumps = pickle.HIGHEST_PROTOCOL, pickle.dumps

        @staticmethod
        def loads(_: Any) -> Any:
            raise MemoryError

    with monkeypatch.context() as memory:
        memory.setattr(process, "pickle", Short)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        with pytest.raises(StoreError, match="has ended"):
            await store.aside.read(Store.purchase, "k")
    assert told.get(timeout=60) == -9
    with pytest.raises(StoreError, match="has ended"):
        await store.aside.load([], [])
    await store.aside.close()
    store.close()
