"""`kairos new`, `kairos check`, `kairos test`: a marketer's work on a playbook."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kairos.errors import Diagnostic, PlaybookError, SettingsError

if TYPE_CHECKING:
    from kairos.playbook import Playbook
    from kairos.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(help="Start a playbook in a new FOLDER.")(new)
    app.command(help="Check a playbook: rules, messages, keywords.")(check)
    app.command(help="Run a playbook's own tests.")(test)


Folder = Annotated[Path, typer.Argument(help="The playbook's folder.")]


def new(folder: Folder) -> None:
    from kairos.playbook import new as new_playbook

    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise PlaybookError([Diagnostic(str(folder), 0, "is there already and not empty", "name a new folder")])
    settings = files("kairos.cli") / "starter.toml"
    texts = new_playbook(folder.resolve().name) | {"kairos.toml": settings.read_text(encoding="utf-8")}
    for path, text in texts.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    typer.echo(f"{folder} is a playbook now. Next: kairos check {folder} && kairos test {folder}")


def check(
    folder: Folder,
    messages: Annotated[bool, typer.Option("--messages", help="Also list how long each message can become.")] = False,
) -> None:
    from kairos.engine.program import compile_program
    from kairos.playbook import check as warnings_of
    from kairos.playbook.page_words import URL

    playbook, settings = read(folder), settings_of(folder)
    page = settings.page.url if settings else None
    for warning in [*warnings_of(playbook, page), *without_way_out(playbook, settings)]:
        typer.echo(f"warning: {_in(folder, warning)}", err=True)
    compile_program(playbook)
    if messages:
        for line in measured(playbook, page or URL):
            typer.echo(line)
    arms = sum(len(action.variants) for action in playbook.actions)
    typer.echo(
        f"{playbook.name}: {_count(len(playbook.actions), 'action')}, {_count(arms, 'variant')}, "
        f"revision {playbook.revision}: sound"
    )


def test(folder: Folder) -> None:
    from kairos.engine.playbook_tests import run_tests
    from kairos.engine.program import compile_program

    playbook = read(folder)
    failures = [_in(folder, failure) for failure in run_tests(compile_program(playbook))]
    for failure in failures:
        typer.echo(str(failure), err=True)
    typer.echo(f"{len(playbook.tests) - len(failures)} passed, {len(failures)} failed")
    if failures:
        raise typer.Exit(1)


def settings_of(folder: Path) -> Settings | None:
    """The settings beside the playbook; None where they are not there or cannot be read."""
    from kairos.settings import load_settings

    try:
        return load_settings(folder / "kairos.toml", os.environ)
    except SettingsError:
        return None


def without_way_out(playbook: Playbook, settings: Settings | None) -> list[Diagnostic]:
    """Channels that the playbook uses and these settings have no way out for."""
    from kairos.settings import lacking

    return lacking(playbook, settings.channels) if settings else []


def measured(playbook: Playbook, page: str) -> list[str]:
    """A table of every message: the longest that each text can become, filled and encoded."""
    from kairos.playbook import measure_messages

    head = ("message", "language", "text", "encoding", "units", "parts")
    rows = [
        (found.message, found.language, str(found.index + 1), found.encoding, str(found.units), str(found.parts))
        for found in measure_messages(playbook, page)
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    numbers = ("text", "units", "parts")
    return [
        "  ".join(
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        )
        for row in (head, *rows)
    ]


def read(folder: Path) -> Playbook:
    """The playbook in a folder. Raises PlaybookError, with paths that an editor can open from here."""
    from kairos.playbook import load_texts
    from kairos.playbook import read as read_playbook

    if folder.exists() and not folder.is_dir():
        raise PlaybookError([Diagnostic(str(folder), 0, "is a file", "name the folder of the playbook")])
    if not folder.is_dir():
        raise PlaybookError([Diagnostic(str(folder), 0, "there is no such folder", f"kairos new {folder} makes one")])
    try:
        texts = load_texts(folder)
        if texts:
            return read_playbook(texts)
        raise PlaybookError([Diagnostic("", 0, "holds no YAML file, so it is no playbook", "`kairos new` makes one")])
    except PlaybookError as error:
        raise PlaybookError([_in(folder, diagnostic) for diagnostic in error.diagnostics]) from None


def _in(folder: Path, said: Diagnostic) -> Diagnostic:
    """A path that an editor can open from here."""
    return Diagnostic(str(folder / said.file), said.line, said.message, said.hint)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
