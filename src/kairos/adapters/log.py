"""Where log lines go and how they read, in every process of a running kairos."""

from __future__ import annotations

import logging
import secrets
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.typing import Processor

from kairos.adapters.pseudonyms import Pseudonyms


def logs(pseudonyms: Pseudonyms | None = None) -> None:
    """Log lines on standard error: JSON, or readable where a person looks. Subscribers have pseudonyms in all of them;
    without those of the installation, ones that nobody can look up."""
    pseudonyms = pseudonyms or Pseudonyms(secrets.token_bytes(32))
    stamp = structlog.processors.TimeStamper(fmt="iso")
    ending: list[Processor] = [
        structlog.processors.format_exc_info,
        pseudonyms.in_log,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(),
    ]
    others = structlog.stdlib.ProcessorFormatter(  # of lines that others write, uvicorn and our SMPP
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, stamp],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(others)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamp, *ending],
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
