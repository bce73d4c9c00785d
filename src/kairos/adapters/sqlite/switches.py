"""The switches in a store's file: any process may turn them, beside a running kairos or while none runs."""

from __future__ import annotations

import os
import sqlite3

from kairos.adapters.sqlite.file import StoreFile
from kairos.domain.switch import Switch

COLUMNS = "name, is_on, reason, who, at"
NOW = f"SELECT {COLUMNS} FROM switch WHERE id IN (SELECT max(id) FROM switch GROUP BY name) ORDER BY name"
PAST = f"SELECT {COLUMNS} FROM switch ORDER BY id DESC LIMIT ?"
TURN = f"INSERT INTO switch({COLUMNS}) VALUES (?, ?, ?, ?, ?)"


class SqliteSwitches:
    """The switches of the store at `path`, which must be there. Raises StoreError where they cannot be had."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = StoreFile(path, writes=True)
        self.close = self._file.close

    def switches(self) -> list[Switch]:
        with self._file.told("read"):
            return switches(self._file.connection)

    def switch_history(self, limit: int) -> list[Switch]:
        with self._file.told("read"):
            return switch_history(self._file.connection, limit)

    def turn_switch(self, switch: Switch) -> None:
        with self._file.told("write to"):
            turn_switch(self._file.connection, switch)


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
