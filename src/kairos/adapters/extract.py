"""A charging extract (CSV or Parquet), read row by row and sorted on disk: memory does not grow with it."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from kairos.domain.money import parse_exact
from kairos.errors import Diagnostic, ExtractError
from kairos.fulfil import purchase_of
from kairos.fulfil.ledger import Entry

COLUMNS: Final = ("key", "status", "msisdn", "product", "price", "currency", "tax", "at")
NEEDED: Final = ("key", "status")
AT_ONCE: Final = 5_000  # rows
MILLISECONDS: Final = 12  # digits, at least: seconds, or a date without its hyphens, have fewer

Row = tuple[str, str, str, str, int | None, str, int | None, int]


@dataclass(frozen=True, slots=True)
class Mapped:
    """How an extract says what we say: column -> its name there, and its word -> our status."""

    columns: Mapping[str, str]
    words: Mapping[str, str]
    digits: int  # of the currency


class Extract:
    """The rows of an extract, by purchase and sorted. `first` and `last` are the times of its rows (ms; 0: no times).

    Raises ExtractError, with the line (of a Parquet file: the row), for what cannot be read.
    """

    def __init__(self, path: Path, mapped: Mapped) -> None:
        self.rows, self.first, self.last, self.digits = 0, 0, 0, mapped.digits
        self._sorter = sqlite3.connect("")  # a file of its own, gone when it is closed
        self._sorter.execute("PRAGMA cache_size = -32768")
        self._sorter.execute("CREATE TABLE entry(purchase TEXT, key, status, msisdn, product, price, currency, tax)")
        rows = _parquet_rows(path) if is_parquet(path) else _csv_rows(path)
        try:
            while some := self._some(rows, path, mapped):
                self._sorter.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", some)
        except BaseException:
            self._sorter.close()
            raise

    def _some(self, rows: Iterator[tuple[int, Mapping[str, Any]]], path: Path, mapped: Mapped) -> list[tuple[Any, ...]]:
        read = []
        for line, row in rows:
            *entry, at = _entry(row, mapped, path, line)
            self.rows += 1
            if at:
                self.first, self.last = min(self.first or at, at), max(self.last, at)
            read.append((purchase_of(str(entry[0])), *entry))
            if len(read) == AT_ONCE:
                break
        return read

    def purchases(self) -> Iterator[tuple[str, list[Entry]]]:
        """The entries of each purchase, by its key, octet by octet."""
        rows = self._sorter.execute("SELECT * FROM entry ORDER BY purchase")
        for purchase, found in groupby(rows, key=lambda row: str(row[0])):
            yield purchase, [Entry(*row[1:]) for row in found]

    def has(self, status: str) -> bool:
        return bool(self._sorter.execute("SELECT 1 FROM entry WHERE status = ? LIMIT 1", (status,)).fetchone())

    def close(self) -> None:
        self._sorter.close()


def _entry(row: Mapping[str, Any], mapped: Mapped, path: Path, line: int) -> Row:
    def text(column: str) -> str:
        value = row.get(mapped.columns.get(column, column))
        return "" if value is None else str(value).strip()

    missing = [column for column in NEEDED if mapped.columns.get(column, column) not in row]
    if missing:
        raise no_column(path, missing[0], mapped.columns.get(missing[0], missing[0]), row)
    if not text("key"):
        raise ExtractError([Diagnostic(str(path), line, "the row has no key", "")])
    status = mapped.words.get(text("status"), text("status").lower())
    try:
        price, tax = (parse_exact(said, mapped.digits) if said else None for said in (text("price"), text("tax")))
        at = time_of(text("at"))
    except ValueError as error:
        raise ExtractError([Diagnostic(str(path), line, str(error), "")]) from None
    return text("key"), status, text("msisdn"), text("product"), price, text("currency"), tax, at


def is_parquet(path: Path) -> bool:
    """Whether a file is read as Parquet; else as CSV."""
    return path.suffix.lower() in (".parquet", ".pq")


def no_column(path: Path, ours: str, theirs: str, there: Iterable[str]) -> ExtractError:
    """That an extract has no column of `theirs`, which would be `ours`."""
    hint = f"it has {', '.join(f'`{name}`' for name in there)}; name it with --column {ours}=NAME"
    return ExtractError([Diagnostic(str(path), 1, f"there is no column `{theirs}`", hint)])


def time_of(written: str) -> int:
    """Milliseconds of ISO 8601 (UTC where it says no zone), or of a number of them; 0 of an empty text."""
    if not written:
        return 0
    if written.isdecimal():
        if len(written) < MILLISECONDS:
            raise ValueError(f"`{written}` is no time in milliseconds; write it as in 2026-03-04T12:00:00Z")
        return int(written)
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"`{written}` is no time; write it as in 2026-03-04T12:00:00Z") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """With the delimiter that its head has most: comma, semicolon or tab."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=head.count), restval="")
            for row in reader:
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ExtractError([Diagnostic(str(path), 0, f"cannot be read as CSV: {error}", "save it as UTF-8")]) from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        import duckdb
    except ImportError:
        hint = "install the extra: pip install 'kairos-cvm[audiences]'; or give a CSV file"
        raise ExtractError([Diagnostic(str(path), 0, "Parquet needs DuckDB, which is not here", hint)]) from None
    with closing(duckdb.connect()) as connection:
        try:
            found = connection.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [str(path)])
            names, line = [column[0] for column in found.description or ()], 0
            while rows := found.fetchmany(AT_ONCE):
                for row in rows:
                    line += 1
                    yield line, dict(zip(names, row, strict=True))
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise ExtractError([Diagnostic(str(path), 0, f"cannot be read as Parquet: {said}", "")]) from None
