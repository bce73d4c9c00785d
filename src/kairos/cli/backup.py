"""`kairos backup` and `kairos restore`: a copy of the store beside a running server, and a store made of it again."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from kairos.adapters.clock import now
from kairos.cli.options import TOML, SettingsFile, StoreFile
from kairos.cli.store import loaded, noted, path_of
from kairos.errors import KairosError


def register(app: typer.Typer) -> None:
    app.command(help="Copy the store to a FILE, while kairos runs.")(backup)
    app.command(help="Make a backup FILE the store again.")(restore)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE")], settings: SettingsFile = TOML, store: StoreFile = None
) -> None:
    from kairos.adapters.sqlite.backup import back_up

    source = path_of(settings, store)
    started = time.time()
    size = back_up(source, file, int(started * 1000))
    typer.echo(f"`{file}`: {size:,} bytes, checked, in {time.time() - started:.1f} s")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    replace: Annotated[bool, typer.Option("--replace", help="The store that is there is kept beside it.")] = False,
    resend_within: Annotated[
        str, typer.Option(help="Texts that waited in the backup and are not older are sent (again).")
    ] = "1 hour",
) -> None:
    from kairos.adapters.sqlite import backup as sqlite_backup
    from kairos.adapters.sqlite.store import own
    from kairos.adapters.status import lasting
    from kairos.settings import is_age, milliseconds

    if not is_age(resend_within):
        raise KairosError(f"`{resend_within}` is no age; write it as in `1 hour` or `2 days`, or `0 hours` for none")
    path = path_of(settings, store)
    with closing(own(path)):
        done = sqlite_backup.restore(file, path, now(), replace=replace, resend_within=milliseconds(resend_within))
    noted(path, loaded(settings), "restore", f"from {file}")
    typer.echo(f"`{path}` is as {f'it was {lasting(done.age)} ago' if done.age else f'`{file}` has it'}.")
    if done.before:
        typer.echo(f"What was there is `{done.before}`.")
    typer.echo(
        f"Waiting to be sent: {done.kept} go out; dropped: {done.offers_dropped} offers, "
        f"{done.old_dropped} older than {resend_within}."
    )
    typer.echo(
        "What happened since is not known: replies, consents and STOPs too. Marketing is off: bring profiles up to "
        "date, then `kairos switch marketing on`."
    )
