"""The store that a command works on, beside a running kairos or alone, and the line that the audit trail has of it."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kairos.errors import EventError, KairosError, SettingsError

if TYPE_CHECKING:
    from kairos.adapters.sqlite.records import SqliteRecords
    from kairos.domain.purchase import Purchase
    from kairos.settings import Settings

PAGE = 2_000  # purchases that are read at once


@contextmanager
def reading(settings: Path, store: Path | None, did: str, whom: str = "") -> Iterator[SqliteRecords]:
    """A store's records; where it has an audit trail, that somebody `did` this is in it first.

    `whom`: about whom, as they were named; what names nobody is a detail. Raises KairosError where there is no store.
    """
    from kairos.adapters.sqlite.records import SqliteRecords

    chosen, path = loaded(settings), store_path(settings, store)
    if trail_of(path, chosen).is_dir():
        name = name_of(whom, chosen)
        noted(path, chosen, did, "" if name else whom, about=name)
    with closing(SqliteRecords(path)) as records:
        yield records


def path_of(settings: Path, store: Path | None) -> Path:
    """Where the store's file is to be."""
    from kairos.settings import load_settings

    return store or Path(load_settings(settings, os.environ).store.path)


def store_path(settings: Path, store: Path | None) -> Path:
    """The store's file. Raises KairosError where there is none."""
    path = path_of(settings, store)
    if not path.exists():
        raise KairosError(f"there is no store at `{path}`; name it with --store")
    return path


def purchases_in(records: SqliteRecords) -> Iterator[Purchase]:
    """Every purchase by its key, octet by octet; only a page of them is held in memory."""
    after = ""
    while found := records.purchases(after, PAGE):
        yield from found
        after = found[-1].key


def loaded(settings: Path) -> Settings | None:
    """The settings; none where the store was named without any."""
    from kairos.settings import load_settings

    try:
        return load_settings(settings, os.environ)
    except SettingsError:
        return None


def name_of(whom: str, settings: Settings | None) -> str:
    """A subscriber's name as `read_name` gives it; empty for what is none."""
    from kairos.ingest import read_name

    try:
        return read_name(whom, settings.region if settings else "")
    except EventError:
        return ""


def trail_of(store: Path, settings: Settings | None) -> Path:
    """The folder of a store's audit trail."""
    own = settings.audit if settings and str(store) == settings.store.path else None
    return Path(own.folder) if own else Path(f"{store}-audit")


def noted(
    store: Path, settings: Settings | None, did: str, detail: str, who: str = "", times: int = 1, about: str = ""
) -> None:
    """A line in the audit trail; where that cannot be it is only said."""
    from kairos.adapters.audit.trail import note

    told = f"{user()} for {who}" if who and who != user() else user()
    try:
        note(trail_of(store, settings), os.environ.get("KAIROS_AUDIT_KEY", ""), told, did, detail, times, about)
    except (KairosError, OSError) as error:
        typer.echo(f"it is not in the audit trail: {error}", err=True)


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        return f"uid {os.getuid()}"
