"""The switches in a store's file: any process may turn them, beside a running kairos or while none runs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from kairos.adapters.sqlite_schema import SCHEMA_VERSION
from kairos.domain.switch import Switch
from kairos.errors import StoreError

PATIENCE = 10.0  # seconds: a batch of the running kairos commits meanwhile
COLUMNS = "name, is_on, reason, who, at"
NOW = f"SELECT {COLUMNS} FROM switch WHERE id IN (SELECT max(id) FROM switch GROUP BY name) ORDER BY name"
PAST = f"SELECT {COLUMNS} FROM switch ORDER BY id DESC LIMIT ?"
TURN = f"INSERT INTO switch({COLUMNS}) VALUES (?, ?, ?, ?, ?)"


class SqliteSwitches:
    """The switches of the store at `path`, which must be there. Raises StoreError where they cannot be had."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        with ExitStack() as held, self._told("open"):
            connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE)
            self._connection = held.enter_context(closing(connection))
            self._connection.execute("PRAGMA synchronous = FULL")
            ((version,),) = self._connection.execute("PRAGMA user_version").fetchall()
            if version != SCHEMA_VERSION:
                what = f"schema version {version}, not {SCHEMA_VERSION}; start this kairos on it once"
                raise StoreError(f"`{path}` is no store of this kairos: {what}")
            self.close = held.pop_all().close

    def switches(self) -> list[Switch]:
        with self._told("read"):
            return switches(self._connection)

    def switch_history(self, limit: int) -> list[Switch]:
        with self._told("read"):
            return switch_history(self._connection, limit)

    def turn_switch(self, switch: Switch) -> None:
        with self._told("write to"):
            turn_switch(self._connection, switch)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            raise StoreError(f"cannot {what} the store `{self._path}`: {error}") from error


def switches(connection: sqlite3.Connection) -> list[Switch]:
    return [read(row) for row in connection.execute(NOW)]


def switch_history(connection: sqlite3.Connection, limit: int) -> list[Switch]:
    return [read(row) for row in connection.execute(PAST, (limit,))]


def turn_switch(connection: sqlite3.Connection, switch: Switch) -> None:
    """A transaction of one row."""
    connection.execute(TURN, (switch.name, int(switch.on), switch.reason, switch.who, switch.at))


def read(row: tuple[str, int, str, str, int]) -> Switch:
    name, on, reason, who, at = row
    return Switch(name, bool(on), reason, who, at)
