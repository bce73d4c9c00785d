"""Registers of numbers that are not to be disturbed, as files: one MSISDN a line."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kairos.errors import Diagnostic, SettingsError


class Numbers:
    """Numbers in 8 bytes each, sorted.

    >>> "12025550123" in Numbers(np.array([12025550123], np.uint64)), "12025550124" in Numbers(np.array([], np.uint64))
    (True, False)
    """

    def __init__(self, numbers: NDArray[np.uint64]) -> None:
        self.numbers = np.unique(numbers)

    def __contains__(self, msisdn: object) -> bool:
        if not isinstance(msisdn, str) or not msisdn.isdecimal():
            return False
        place = bisect_left(self.numbers, int(msisdn))
        return place < len(self.numbers) and int(self.numbers[place]) == int(msisdn)

    def __len__(self) -> int:
        return len(self.numbers)


def read_register(path: Path) -> Numbers:
    """The numbers of a file, international, with or without `+`; a `#` begins a comment. Raises SettingsError."""
    try:
        with path.open(encoding="utf-8") as lines:
            return Numbers(np.fromiter(_numbers(str(path), lines), np.uint64))
    except OSError as error:
        raise SettingsError([Diagnostic(str(path), 0, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise SettingsError([Diagnostic(str(path), 0, "is not UTF-8", "save it as UTF-8")]) from None


def _numbers(file: str, lines: Iterator[str]) -> Iterator[int]:
    for line, written in enumerate(lines, 1):
        said = written.partition("#")[0].strip()
        if said and not re.fullmatch(r"\+?\d{5,15}", said, re.ASCII):
            hint = "write one international number a line, as in +12025550123"
            raise SettingsError([Diagnostic(file, line, f"`{said}` is no number", hint)])
        if said:
            yield int(said.removeprefix("+"))


@dataclass
class Registers:
    """The files `NAME.txt` of a folder, read anew when they change. One that cannot be read stays as it was."""

    folder: Path
    listed: dict[str, Container[str]] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)  # why a file could not be read
    _read: dict[str, tuple[int, int]] = field(default_factory=dict)  # when it was last changed, and its size

    def look(self, names: Collection[str]) -> Mapping[str, Container[str]]:
        """The registers of these names that were ever read."""
        for name in names:
            path = self.folder / f"{name}.txt"
            try:
                found = path.stat()
                stamp = (found.st_mtime_ns, found.st_size)
                if self._read.get(name) != stamp:
                    self.listed[name] = read_register(path)
                    self._read[name] = stamp
                self.trouble.pop(name, None)
            except (OSError, SettingsError) as error:
                self.trouble[name] = str(error)
        return dict(self.listed)
