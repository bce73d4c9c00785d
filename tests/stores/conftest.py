"""Every store that kairos ships; what one of them does, all do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kairos.adapters.memory import MemoryStore
from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.process import SqliteProcess
from kairos.ports import Store

STORES: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: SqliteStore(folder / "kairos.db", checkpoint_pages=50),
    "sqlite in a process of its own": lambda folder: SqliteProcess(folder / "kairos.db", checkpoint_pages=50),
    "memory": lambda _: MemoryStore(),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()
