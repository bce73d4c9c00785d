"""The store's own process: where a door breaks, all ends at once, for who waits at it would hear nothing."""

from __future__ import annotations

import asyncio
import pickle
import queue
from pathlib import Path
from typing import Any

import pytest

from kairos.adapters.sqlite import process
from kairos.adapters.sqlite.process import SqliteProcess
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
