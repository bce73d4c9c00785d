"""Recommendations that are kept (TMF680), in a table of their own in the store's file.

They are written beside the engine, in short transactions, as what is learned is: nothing that decides waits for them.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from kairos.adapters.sqlite.file import StoreFile
from kairos.adapters.sqlite.store import transaction
from kairos.domain.inbound import Sought
from kairos.domain.recommendation import UNDER_WAY, Kept

COLUMNS: Final = "key, name, at, state, sought, resource, told, client"
OLD: Final = "DELETE FROM recommendation WHERE at < ? OR id <= (SELECT max(id) - ? FROM recommendation)"

_sought: Final = msgspec.msgpack.Decoder(Sought).decode


class SqliteQueries:
    """A `kairos.ports.Queries` in the store at `path`, which must be there; for one thread. Raises StoreError."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = StoreFile(path, writes=True)
        self.close = self._file.close

    def put(self, kept: Kept, before: int, most: int) -> None:
        sought = msgspec.msgpack.encode(kept.sought)
        row = (kept.key, kept.name, kept.at, kept.state, sought, kept.resource, kept.told, kept.client)
        with self._file.told("write to"), transaction(self._file.connection, "IMMEDIATE"):
            self._file.connection.execute(f"INSERT INTO recommendation({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            self._file.connection.execute(OLD, (before, most))

    def get(self, key: str) -> Kept | None:
        return next(iter(self._kept("WHERE key = ?", key)), None)

    def resources(self, client: str | None) -> list[bytes]:
        sql = "SELECT resource FROM recommendation WHERE client = ifnull(?, client) ORDER BY id"
        return [resource for (resource,) in self._file.rows(sql, client)]

    def under_way(self, limit: int) -> list[Kept]:
        return self._kept("WHERE state = ? ORDER BY id LIMIT ?", UNDER_WAY, limit)

    def untold(self, limit: int) -> list[Kept]:
        return self._kept("WHERE state <> ? AND NOT told ORDER BY id LIMIT ?", UNDER_WAY, limit)

    def finish(self, ended: Iterable[tuple[str, str, bytes]]) -> None:
        rows = [(state, resource, key) for key, state, resource in ended]
        self._write("UPDATE recommendation SET state = ?, resource = ? WHERE key = ?", rows)

    def mark_told(self, keys: Iterable[str]) -> None:
        self._write("UPDATE recommendation SET told = 1 WHERE key = ?", [(key,) for key in keys])

    def _kept(self, where: str, *values: Any) -> list[Kept]:
        rows = self._file.rows(f"SELECT {COLUMNS} FROM recommendation {where}", *values)
        return [
            Kept(key, name, at, state, _sought(sought), resource, bool(told), client)
            for key, name, at, state, sought, resource, told, client in rows
        ]

    def _write(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        connection: sqlite3.Connection = self._file.connection
        with self._file.told("write to"), transaction(connection, "IMMEDIATE"):
            connection.executemany(sql, rows)
