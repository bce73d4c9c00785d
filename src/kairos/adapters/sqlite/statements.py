"""Statements of many rows: one step of SQLite for each, however many rows it writes or reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Any

# `sqlite3` lets the GIL go and takes it back once per step, so a batch is a few statements of many rows, not many of
# one. Each exists in these sizes only (they stay prepared); the empty places are filled with NULLs and passed over.
SIZES = (1, 8, 64, 512)

# What may be written of many rows at once: the text before and after a table of values, and its width. A statement that
# could fail alone (ABORT, the default, which a NOT NULL beside OR REPLACE also means) first copies every page to a
# journal of its own: a quarter of the cost of writing states. So a failure ends the whole transaction instead.
Many = tuple[str, str, int]


def write(connection: sqlite3.Connection, many: Many, rows: Iterable[tuple[Any, ...]]) -> None:
    """Run a statement over all rows, in as few steps as its sizes allow."""
    width = many[2]
    values = list(chain.from_iterable(rows))
    for start, size in pieces(len(values) // width):
        piece = values[start * width : (start + size) * width]
        piece += [None] * (size * width - len(piece))
        connection.execute(statement(many, size), piece)


def select(connection: sqlite3.Connection, sql: str, keys: Collection[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows whose key is one of `keys`; `sql` ends where their list begins."""
    wanted = list(keys)
    for start, size in pieces(len(wanted)):
        piece = wanted[start : start + size]
        piece += [None] * (size - len(piece))
        yield from connection.execute(f"{sql}({','.join('?' * size)})", piece)


def split_numbers(joined: bytes) -> list[int]:
    return list(map(int, joined.split(b",")))


def split(joined: bytes, lengths: Iterable[int]) -> Iterator[bytes]:
    """The values that stand end to end.

    >>> list(split(b"onetwo", [3, 0, 3]))
    [b'one', b'', b'two']
    """
    start = 0
    for length in lengths:
        yield joined[start : start + length]
        start += length


def split_texts(joined: bytes, lengths: bytes) -> list[str]:
    """Texts that stand end to end.

    >>> split_texts("onetwö".encode(), b"3,4")
    ['one', 'twö']
    """
    return [text.decode() for text in split(joined, split_numbers(lengths))]


def pieces(count: int) -> Iterator[tuple[int, int]]:
    """Where each piece begins and its size, the smallest that holds what is left.

    >>> list(pieces(600))
    [(0, 512), (512, 512)]
    >>> list(pieces(5))
    [(0, 8)]
    """
    start = 0
    while start < count:
        size = next((size for size in SIZES if size >= count - start), SIZES[-1])
        yield start, size
        start += size


@cache
def statement(many: Many, size: int) -> str:
    before, after, width = many
    row = f"({','.join('?' * width)})"
    return f"{before} (VALUES {','.join([row] * size)}) WHERE column1 IS NOT NULL {after}"
