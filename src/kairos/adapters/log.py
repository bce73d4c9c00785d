"""Where log lines go and how they read, in every process of a running kairos."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


def logs() -> None:
    """Log lines on standard error: JSON, or readable where a person looks."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # It shows what broke by itself; without the values of that moment, among which are numbers and secrets.
    for_people = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    for_machines = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    shown = for_people if sys.stderr.isatty() else for_machines
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"), *shown],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Unbroken(sys.stderr))),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


class Unbroken:
    """A log that drops lines while its disk is full, so that whoever writes one goes on: notifications must go out."""

    def __init__(self, log: TextIO) -> None:
        self._log = log

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._log.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._log.flush()
