"""Registers of numbers that are not to be disturbed, as files: one MSISDN a line."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kairos.errors import Diagnostic, SettingsError

LONGEST = 15  # digits of an MSISDN
NUMBER = re.compile(r"^[ \t]*\+?([0-9]{5,15})", re.MULTILINE)
WRONG = re.compile(r"^(?![ \t]*(?:\+?[0-9]{5,15})?[ \t]*(?:#.*)?$).*$", re.MULTILINE)


class Numbers:
    """Numbers in 8 bytes each, sorted.

    >>> "12025550123" in Numbers([12025550123, 12025550100]), "12025550124" in Numbers([12025550123])
    (True, False)
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self.numbers = array("Q", np.unique(np.fromiter(numbers, np.uint64)).tobytes())

    def __contains__(self, msisdn: object) -> bool:
        number = int(msisdn) if isinstance(msisdn, str) and msisdn.isdecimal() and len(msisdn) <= LONGEST else 0
        place = bisect_left(self.numbers, number)
        return place < len(self.numbers) and self.numbers[place] == number

    def __len__(self) -> int:
        return len(self.numbers)


def read_register(path: Path) -> Numbers:
    """The numbers of a file, international, with or without `+`; a `#` begins a comment. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError([Diagnostic(str(path), 0, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise SettingsError([Diagnostic(str(path), 0, "is not UTF-8", "save it as UTF-8")]) from None
    if wrong := WRONG.search(text):
        line, hint = text.count("\n", 0, wrong.start()) + 1, "write one international number a line, as in +12025550123"
        raise SettingsError([Diagnostic(str(path), line, f"`{wrong[0].strip()}` is no number", hint)])
    return Numbers(int(found[1]) for found in NUMBER.finditer(text))


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
