"""`kairos run`: the server, until a signal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kairos.cli.options import TOML, SettingsFile
from kairos.cli.playbook import read

if TYPE_CHECKING:
    from kairos.ports import Store
    from kairos.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(help="Run the server: SMPP and HTTP doors, engine, store.")(run)


def run(
    settings: SettingsFile = TOML,
    announce: Annotated[bool, typer.Option("--announce", help="Print the ports as a JSON line when open.")] = False,
) -> None:
    from kairos.adapters.audit.chain import opened
    from kairos.adapters.log import logs
    from kairos.adapters.pseudonyms import Pseudonyms
    from kairos.settings import load_settings, require_passwords

    chosen = load_settings(settings, os.environ)
    require_passwords(chosen)
    read(Path(chosen.playbook))
    key = None
    with suppress(FileNotFoundError):  # there is no such folder for the store either, which it will say
        _, key = opened(Path(chosen.audit.folder), chosen.audit.key)
    logs(Pseudonyms(key) if key else None)
    use_fast_loops()
    asyncio.run(serve_until_signal(chosen, announce=announce, learn_from=settings))


def use_fast_loops() -> None:
    """Event loops are uvloop's from now on, where that is installed."""
    with suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


async def _either(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of them, give up the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    for task in done:
        task.result()


def die(status: int) -> None:
    """The store's process has died: so do we, at once, as by a kill, for which every promise holds.

    Going on without a store, we would forward notifications whose receipts nobody could tell after the next start.
    """
    import structlog

    structlog.get_logger("kairos").critical(f"the store's process ended with {status}; start kairos again")
    os._exit(1)


async def keep_learning(settings: Path, pause: float) -> None:
    """`kairos learn` beside us; where it ends, it is started again after a while. Until cancelled."""
    import structlog

    while True:
        command = [sys.executable, "-m", "kairos.cli", "learn"]
        command += ["--settings", str(settings), "--beside", str(os.getpid())]
        nothing = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=nothing, start_new_session=True)
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()  # it holds nothing that could be lost
        structlog.get_logger("kairos").warning("learning has ended; it is started again", status=code)
        await asyncio.sleep(pause)


async def serve_until_signal(settings: Settings, *, announce: bool, learn_from: Path | None = None) -> None:
    """Serve until the first SIGINT or SIGTERM, then end in order; a second one ends at once.

    `learn_from`: the settings file, for the process that learns beside us.
    """
    import structlog

    from kairos.adapters.sqlite.process import SqliteProcess, open_store
    from kairos.bootstrap import Kairos, open_playbook
    from kairos.playbook import load_texts

    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    file = settings.store
    path, pages, copy = file.path, file.checkpoint_pages, file.copy_before_upgrade
    opened: Store = (
        SqliteProcess(path, pages, copy=copy, died=die) if file.own_process else open_store(path, pages, copy=copy)
    )
    with closing(opened) as store:
        program = open_playbook(store, load_texts(Path(settings.playbook)))
        assert program is not None
        kairos = Kairos(settings, store, program)
        await kairos.start()
        ports = {"smpp_port": kairos.smpp_port, "http_port": kairos.http_port}
        if announce:
            typer.echo(json.dumps(ports))
            sys.stdout.flush()
        structlog.get_logger("kairos").info("open", playbook=program.playbook.revision, **ports)
        beside = settings.learning.on and learn_from
        learning = [keep_learning(beside, settings.learning.every_s)] if beside else []
        await _either(over.wait(), kairos.failed(), *learning)  # a part that dies ends us: somebody must notice
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
        await kairos.stop()
