"""The audit trail on disk: lines of JSON that are only ever added, each sealed over itself and the one before.

A file a month; the first line of each names the seal that it follows, so that old files can be deleted. A seal is a
keyed BLAKE2b: without the key nobody can change, add, take out or reorder a line so that it fits. Lines cut off at the
end fit; whoever noted a number and its seal elsewhere finds them missing. More than one process may add lines: a lock
on the folder lets in one at a time.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from kairos.adapters.clock import now
from kairos.adapters.disk import sync_path
from kairos.adapters.pseudonyms import KEY_FILE, derived, key_in
from kairos.errors import KairosError

log = structlog.get_logger("kairos.audit")

SEAL = b',"seal":"'
CUT = "cut"  # what a line says that was added where others had been taken out
LONGEST = 16_384  # bytes of a line
TORN = {"did": "torn", "detail": "the line before was not written whole"}

Entry = Mapping[str, Any]


class Fault(Struct, frozen=True):
    """A line that does not fit, and why."""

    file: str
    line: int
    why: str
    unsealed: bool = False  # the seal is not of this key, or the line was changed


class Chain:
    """Adds lines."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self.folder, self._key = folder, derived(key, "seals")
        self.n, self.seal = 0, ""  # of the last line that is known
        self._path, self._end, self._torn = folder, -1, False
        self._cut = self.trouble = ""  # what was taken from under us: not yet in a line, and ever

    def add(self, entries: Sequence[Entry], *, sync: bool = True) -> None:
        """All of them or none, in this order; `sync`: they are on the disk when this returns. Raises OSError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        with _alone(self.folder):
            path = self._file()
            with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+", buffering=0) as file:
                self._catch_up(path)
                before, n, seal = os.fstat(file.fileno()).st_size, self.n, self.seal
                lines = [b"\n"] if self._torn else []
                torn: list[Entry] = [TORN | {"at": now()}] if self._torn else []
                cut: list[Entry] = [{"at": now(), "did": CUT, "detail": self._cut}] if self._cut else []
                for entry in [*torn, *cut, *entries]:
                    n += 1
                    after = {"after": seal} if not before and len(lines) == 0 else {}
                    body = msgspec.json.encode({"n": n, **entry, **after})[:-1]
                    seal = sealed(self._key, seal, body)
                    lines.append(body + SEAL + seal.encode() + b'"}\n')
                data = b"".join(lines)
                try:
                    if os.write(file.fileno(), data) != len(data):
                        raise OSError(28, os.strerror(28), str(path))
                    if sync:
                        os.fdatasync(file.fileno())
                    if not before:
                        sync_path(self.folder)
                except OSError:
                    os.ftruncate(file.fileno(), before)
                    raise
                self.n, self.seal, self._path, self._end, self._torn = n, seal, path, before + len(data), False
                self._cut = ""

    def look(self) -> None:
        """Find the last line, where none was added yet."""
        self._to_the_last(self.folder)

    def sync(self) -> None:
        """What was added is on the disk when this returns. Raises OSError."""
        if self._end >= 0:
            with self._path.open("rb") as file:
                os.fdatasync(file.fileno())

    def _file(self) -> Path:
        """That of this month; the latest, where a clock went back."""
        name = time.strftime("%Y-%m.jsonl", time.gmtime())
        return self.folder / max([name, *(path.name for path in self.folder.glob("*.jsonl"))])

    def _catch_up(self, path: Path) -> None:
        """The last line, where somebody else has added some."""
        if path == self._path and path.stat().st_size == self._end:
            return
        n, seal, there = self.n, self.seal, self._there()
        self._to_the_last(path)
        if not there or self.n < n:
            self._cut = self._cut or f"line {n} with the seal {seal} is gone; line {self.n} is the last before this"
            self.trouble = f"lines of the audit trail were taken out or changed: line {n} is gone"
            log.error("the audit trail was cut", lines=n, seal=seal, left=self.n)

    def _there(self) -> bool:
        """Whether the last line that we know ends where it did; nobody can tell where its month was deleted."""
        ending = self.seal.encode() + b'"}\n'
        if self._end < 0 or self._cut or not self._path.exists():
            return True
        with self._path.open("rb") as file:
            file.seek(self._end - len(ending))
            return file.read(len(ending)) == ending

    def _to_the_last(self, path: Path) -> None:
        self.n, self.seal, self._torn = 0, "", False
        for file in sorted(self.folder.glob("*.jsonl"), reverse=True):
            with file.open("rb") as opened:
                opened.seek(max(0, file.stat().st_size - 2 * LONGEST))
                *whole, rest = opened.read().split(b"\n")
            self._torn = self._torn or (file == path and bool(rest))
            for line in reversed(whole):
                if fields := opened_line(line):
                    self.n, self.seal = fields["n"], fields["seal"]
                    return


def sealed(key: bytes, before: str, body: bytes) -> str:
    return blake2b(before.encode() + b"\n" + body, key=key, digest_size=16).hexdigest()


def opened_line(line: bytes) -> dict[str, Any]:
    """The members of a line; none where it is not one."""
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    known = isinstance(fields, dict) and isinstance(fields.get("n"), int) and isinstance(fields.get("seal"), str)
    return fields if known else {}


def read(folder: Path, key: bytes) -> Iterator[dict[str, Any] | Fault]:
    """Every line in order, and every fault where it is found."""
    key, n, seal = derived(key, "seals"), 0, ""
    torn: Fault | None = None
    for file in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            fields = opened_line(line)
            if torn and fields.get("did") != "torn":
                yield torn
            torn = None
            if not fields:
                torn = Fault(file.name, number, "this is no line of an audit trail")
                continue
            if number == 1 and "after" in fields and not n:
                n, seal = fields["n"] - 1, fields["after"]  # what was before it is deleted
            body = line.rpartition(SEAL)[0]
            if fields["n"] != n + 1:
                yield Fault(file.name, number, f"line {fields['n']} follows line {n}")
            elif sealed(key, seal, body) != fields["seal"]:
                yield Fault(file.name, number, f"the seal of line {fields['n']} does not fit", unsealed=True)
            elif fields.get("did") == CUT:
                yield Fault(file.name, number, str(fields.get("detail", "")))
            n, seal = fields["n"], fields["seal"]
            yield fields
    if torn:
        yield torn


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def opened(folder: Path, key: str) -> tuple[Chain, bytes]:
    """The trail in a folder, with the key that was given, or its own. Raises KairosError where the key is elsewhere."""
    if not key and not (folder / KEY_FILE).exists() and any(folder.glob("*.jsonl")):
        raise KairosError(f"the audit trail in `{folder}` is sealed with another key; set KAIROS_AUDIT_KEY")
    found = key_in(folder, key)
    return Chain(folder, found), found
