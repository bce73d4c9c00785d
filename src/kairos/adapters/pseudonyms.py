"""Pseudonyms of subscribers, for logs and the audit trail: the same number always has the same, and only the key tells
whose it is.

A keyed hash (BLAKE2b, RFC 7693): without the key, trying all numbers of a country finds nobody. The key comes from the
environment, or is made once and kept beside the store.
"""

from __future__ import annotations

import os
import re
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Any

KEY_FILE = "key"
# What may be a number or an IMSI (E.164 and E.212: 15 digits at most; the shortest that are read have 7), in a row, or
# in groups as people write them (E.123 with its `+`, and as in North America), in a URL, too. Amounts, dates, counts
# and ids have groups as well: without a `+` or `(` only hyphens part them, and behind a `+` are 9 digits at least.
BETWEEN = r"(?:[ -]|%20)"
NUMBER = re.compile(
    r"(?<![\d.~])\+?\d{7,}"
    rf"|(?<![\d.~])(?:\+|%2[Bb])(?=(?:\D{{0,3}}\d){{9}})\d{{1,3}}(?:{BETWEEN}?\(\d{{1,4}}\))?"
    rf"(?:{BETWEEN}\d{{1,4}}){{2,5}}(?![.,]?\d)"
    rf"|(?<![\w.~])(?:1{BETWEEN}?)?\(\d{{3}}\){BETWEEN}?\d{{3}}{BETWEEN}\d{{4}}(?!\d)"
    r"|(?<![\w.~-])(?:1-)?\d{3}-\d{3}-\d{4}(?!\d)"
)
APART = re.compile(r"%2[Bb]|%20|\D")
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def key_in(folder: Path, given: str) -> bytes:
    """The key that was given, else the one that is kept in the folder, made where there is none."""
    if given:
        return given.encode()
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / KEY_FILE
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes().strip()
    with os.fdopen(made, "wb") as file:
        file.write(secrets.token_hex(32).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes().strip()


def derived(key: bytes, use: str) -> bytes:
    """A key for one use, of which nothing is learnt about the others."""
    return blake2b(use.encode(), key=blake2b(key, digest_size=32).digest(), digest_size=32).digest()


class Pseudonyms:
    """Makes them."""

    def __init__(self, key: bytes) -> None:
        self._key = derived(key, "pseudonyms")

    def of(self, name: str) -> str:
        """Of a subscriber's name as `read_name` gives it: digits, or a kind before its value.

        >>> Pseudonyms(b"key").of("12025550123")
        '~e6080a6a4c55'
        """
        return "~" + blake2b(name.encode("utf-8", "surrogatepass"), key=self._key, digest_size=6).hexdigest()

    def masked(self, text: str) -> str:
        """A text with a pseudonym in place of whatever may be a number.

        >>> Pseudonyms(b"key").masked("nobody is known by `+12025550123`")
        'nobody is known by `~e6080a6a4c55`'
        """
        return NUMBER.sub(lambda found: self.of(APART.sub("", found[0])), text)

    def in_log(self, _logger: Any, _method: str, event: Any) -> Any:
        """For structlog: every text of a line masked, and nothing in it that could begin another line."""
        line = {name: visible(str(value)) if name in OURS else self._line(value) for name, value in event.items()}
        return line | ({"exception": self.trace(str(event["exception"]))} if "exception" in event else {})

    def _line(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1_000_000):
            return value
        return visible(self.masked(str(value)))

    def trace(self, text: str) -> str:
        """A trace, whose lines are its own."""
        return "\n".join(visible(line) for line in self.masked(text).split("\n"))


OURS = ("timestamp", "level", "revision", "playbook", "model", "key", "id", "seal")  # never a subscriber's


def visible(text: str) -> str:
    r"""Control characters, and those that turn the direction of writing, as one can see them.

    >>> print(visible("a\r\nINFO forged\x1b[31m"))
    a\x0d\x0aINFO forged\x1b[31m
    """
    return CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
