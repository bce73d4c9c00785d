"""Whoever started the synthetic operator: what it hears from them, and what it tells them, in lines of JSON."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Literal

import msgspec


class Address(msgspec.Struct, frozen=True):
    """Where kairos is, as a line of standard input says it."""

    kairos_smpp: str
    kairos_http: str
    kairos_key: str = ""  # of the HTTP door, where it has a lock
    partner_key: str = ""  # of a content partner there

    @property
    def smpp(self) -> tuple[str, int]:
        host, _, port = self.kairos_smpp.rpartition(":")
        return host, int(port)


def tell(kind: Literal["ports", "ready", "stats", "step", "final", "error"], **values: Any) -> None:
    """One line to whoever started us; who has gone away need not be told."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode({"type": kind, **values}) + b"\n")
        sys.stdout.buffer.flush()
