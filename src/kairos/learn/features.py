"""What a model sees of a moment: every column of the row as a level, and tests on levels as numbers around zero.

A number's level is where it stands among cuts learned from a sample of moments; a text's is its word. So no unit and no
odd distribution matters, and what is unknown has a level of its own kind: it answers every test with the average.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from kairos.domain.moment import Moment
from kairos.rules import Names

CUTS: Final = 8  # a number is asked: greater than this? at so many places
WORDS: Final = 12  # of a text, the most frequent
HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
PART_OF_DAY: Final = 3  # hours; a test on time of day asks for two of them together

Levels = NDArray[np.uint8]
Tests = NDArray[np.float32]


class Column(Struct, frozen=True):
    """How one column becomes levels: `cuts` of a number, `words` of a text; the last level is the unknown's."""

    name: str
    place: int  # in the row; -1: the moment's kind
    read: Literal["number", "since", "word", "hour", "weekday"]
    cuts: tuple[float, ...] = ()
    words: tuple[str | bool, ...] = ()
    means: tuple[float, ...] = ()  # of each test over the sample

    @property
    def levels(self) -> int:
        """How many there are beside the unknown."""
        return {"number": len(self.cuts) + 1, "since": len(self.cuts) + 1, "word": len(self.words) + 1}.get(
            self.read, 24 // PART_OF_DAY if self.read == "hour" else 7
        )

    def table(self) -> Tests:
        """(levels + 1, tests): what each test says at each level, less its mean; the unknown says nothing."""
        return np.vstack([_answers(self) - np.array(self.means, np.float32), np.zeros(len(self.means), np.float32)])


class Features(Struct, frozen=True):
    """The columns of one layout. Compare `names` before rows of another vocabulary are read."""

    names: tuple[str, ...]
    columns: tuple[Column, ...]

    def levels(self, moments: Sequence[Moment]) -> Levels:
        """(moments, columns) uint8."""
        return _levels(self.columns, moments)

    def tests(self, levels: Levels) -> Tests:
        """(moments, 1 + tests) float32, the first of them always 1."""
        return tests_of(self.tables(), levels)

    def tables(self) -> list[Tests]:
        """What `tests_of` reads: by column and level."""
        return [column.table() for column in self.columns]

    def sources(self) -> NDArray[np.int32]:
        """For each test the column that it asks; -1 for the one that is always 1."""
        return np.repeat(np.arange(-1, len(self.columns), dtype=np.int32), [1, *(len(c.means) for c in self.columns)])


def tests_of(tables: Sequence[Tests], levels: Levels) -> Tests:
    told = [table[levels[:, at]] for at, table in enumerate(tables)]
    return np.hstack([np.ones((len(levels), 1), np.float32), *told])


def learn_features(names: Names, moments: Sequence[Moment]) -> Features:
    """What can be asked of these moments, from a sample of some thousand of them. Columns that never vary are left out.

    >>> from kairos.domain.subscriber import State
    >>> row = lambda balance: Moment(1, "", "recharge", 0, 0, (balance, "prepaid"), State(1, 1, "", "", 0), False)
    >>> features = learn_features({"balance": "money", "plan": "text"}, [row(cents) for cents in range(100)])
    >>> [(column.name, column.cuts) for column in features.columns]
    [('balance', (11.0, 22.0, 33.0, 44.0, 55.0, 66.0, 77.0, 88.0))]
    >>> features.levels([row(0), row(50), row(None)]).tolist()
    [[0], [4], [9]]
    """
    columns = [
        column
        for place, (name, kind) in enumerate(names.items())
        if name != "now"
        for column in _columns(name, place, kind, moments)
    ]
    columns += _words("kind", -1, [moment.kind for moment in moments])
    levels = _levels(columns, moments)
    known = []
    for at, column in enumerate(columns):
        said = _answers(column)[levels[:, at][levels[:, at] < column.levels]]
        known.append(_with_means(column, said.mean(axis=0) if len(said) else np.zeros(said.shape[1])))
    return Features(tuple(names), tuple(known))


def _columns(name: str, place: int, kind: str, moments: Sequence[Moment]) -> list[Column]:
    if name == "local":
        return [Column("hour", place, "hour"), Column("weekday", place, "weekday")]
    values = [moment.row[place] for moment in moments]
    if kind in ("text", "boolean"):
        return _words(name, place, [value for value in values if value is not None])
    read: Literal["number", "since"] = "since" if kind == "time" else "number"
    numbers = _numbers(Column(name, place, read), moments, values)
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers):
        return []
    cuts = np.unique(np.quantile(numbers, np.arange(1, CUTS + 1) / (CUTS + 1)))
    cuts = cuts[cuts < numbers.max()]  # a test that nobody passes asks nothing
    return [Column(name, place, read, cuts=tuple(cuts.tolist()))] if len(cuts) else []


def _words(name: str, place: int, values: Sequence[Any]) -> list[Column]:
    frequent = [word for word, _ in Counter(values).most_common(WORDS)]
    return [Column(name, place, "word", words=tuple(sorted(frequent)))] if len(frequent) > 1 else []


def _with_means(column: Column, means: NDArray[Any]) -> Column:
    return Column(column.name, column.place, column.read, column.cuts, column.words, tuple(means.tolist()))


def _answers(column: Column) -> Tests:
    """(levels, tests): 1 where the level passes the test."""
    match column.read:
        case "number" | "since":
            return np.tri(len(column.cuts) + 1, len(column.cuts), -1, dtype=np.float32)
        case "word":
            return np.eye(len(column.words) + 1, len(column.words), dtype=np.float32)
        case "hour":
            parts = np.eye(24 // PART_OF_DAY, dtype=np.float32)
            return parts + np.roll(parts, 1, axis=0)
        case "weekday":
            return np.eye(7, dtype=np.float32)


def _levels(columns: Sequence[Column], moments: Sequence[Moment]) -> Levels:
    levels = np.empty((len(moments), len(columns)), np.uint8)
    rows = list(zip(*[moment.row for moment in moments], strict=True))
    for at, column in enumerate(columns):
        if not moments:
            break
        values = rows[column.place] if column.place >= 0 else [moment.kind for moment in moments]
        if column.read == "word":
            place = {word: level for level, word in enumerate(column.words)}
            other, unknown = column.levels - 1, column.levels
            levels[:, at] = [unknown if value is None else place.get(value, other) for value in values]
            continue
        numbers = _numbers(column, moments, values)
        missing = np.isnan(numbers)
        match column.read:
            case "hour":
                found = np.where(missing, 0, numbers) % DAY // (PART_OF_DAY * HOUR)
            case "weekday":
                found = (np.where(missing, 0, numbers) // DAY + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
            case _:
                found = np.searchsorted(column.cuts, numbers)
        levels[:, at] = np.where(missing, column.levels, found)
    return levels


def _numbers(column: Column, moments: Sequence[Moment], values: Sequence[Any]) -> NDArray[np.float64]:
    numbers = np.array(values, np.float64)  # None becomes NaN
    return np.array([moment.now for moment in moments], np.float64) - numbers if column.read == "since" else numbers
