"""`kairos run`: the server, until a signal."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from kairos.cli.playbook import read

if TYPE_CHECKING:
    from kairos.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(help="Run the server: SMPP and HTTP doors, engine, store.")(run)


def run(
    settings: Annotated[Path, typer.Option(help="The settings file.")] = Path("kairos.toml"),
    announce: Annotated[bool, typer.Option("--announce", help="Print the ports as a JSON line when open.")] = False,
) -> None:
    from kairos.settings import load_settings, require_passwords

    chosen = load_settings(settings, os.environ)
    require_passwords(chosen)
    read(Path(chosen.playbook))
    logs()
    with suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve_until_signal(chosen, announce=announce))


def logs() -> None:
    """Log lines on standard error: JSON, or readable where a person looks."""
    import structlog

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    for_people = [structlog.dev.ConsoleRenderer()]  # it shows what broke by itself
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


async def _either(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of them, give up the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    for task in done:
        task.result()


async def serve_until_signal(settings: Settings, *, announce: bool) -> None:
    """Serve until the first SIGINT or SIGTERM, then end in order; a second one ends at once."""
    import structlog

    from kairos.adapters.sqlite import SqliteStore
    from kairos.adapters.sqlite_process import SqliteProcess
    from kairos.bootstrap import Kairos, open_playbook
    from kairos.playbook import load_texts

    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    file = settings.store
    opened = SqliteProcess if file.own_process else SqliteStore
    with closing(opened(file.path, file.checkpoint_pages, copy=file.copy_before_upgrade)) as store:
        program = open_playbook(store, load_texts(Path(settings.playbook)))
        assert program is not None
        kairos = Kairos(settings, store, program)
        await kairos.start()
        ports = {"smpp_port": kairos.smpp_port, "http_port": kairos.http_port}
        if announce:
            typer.echo(json.dumps(ports))
            sys.stdout.flush()
        structlog.get_logger("kairos").info("open", playbook=program.playbook.revision, **ports)
        ended = [store.ended()] if isinstance(store, SqliteProcess) else []
        await _either(over.wait(), kairos.failed(), *ended)  # a part that dies ends us: somebody must notice
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
        await kairos.stop()
