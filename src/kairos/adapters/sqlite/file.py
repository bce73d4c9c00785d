"""A store's file, used by a process that is not its owner: beside a running kairos, or while none runs. And how its
errors are told, whoever uses it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from kairos.adapters.sqlite.schema import check_version
from kairos.errors import StoreError

PATIENCE: Final = 10.0  # seconds: a batch of the running kairos commits meanwhile


class StoreFile:
    """The SQLite file at `path`, which must be there and of this kairos' schema. Raises StoreError where it cannot be
    used, and says what could not be done."""

    def __init__(self, path: str | os.PathLike[str], *, writes: bool) -> None:
        self._path = Path(path)
        address = f"{self._path.absolute().as_uri()}?mode={'rw' if writes else 'ro'}"
        with ExitStack() as held, self.told("open"):
            connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE)
            self.connection = held.enter_context(closing(connection))
            self.connection.execute("PRAGMA synchronous = FULL")
            check_version(self.connection, self._path)
            self.close = held.pop_all().close

    def rows(self, sql: str, *values: object) -> list[Any]:
        with self.told("read"):
            return self.connection.execute(sql, values).fetchall()

    def told(self, what: str) -> AbstractContextManager[None]:
        return told(what, self._path)


@contextmanager
def told(what: str, path: Path) -> Iterator[None]:
    """What goes wrong within is told as of the store: a StoreError."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        raise StoreError(f"cannot {what} the store `{path}`: {error}") from error
