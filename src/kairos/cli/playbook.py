"""`kairos new`, `kairos check`, `kairos test`: a marketer's work on a playbook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kairos.engine.playbook_tests import run_tests
from kairos.engine.program import compile_program
from kairos.errors import Diagnostic, PlaybookError
from kairos.playbook import check as warnings_of
from kairos.playbook import load_texts
from kairos.playbook import new as new_playbook
from kairos.playbook import read as read_playbook
from kairos.playbook.playbook import Playbook


def register(app: typer.Typer) -> None:
    app.command(help="Start a playbook in a new FOLDER.")(new)
    app.command(help="Check a playbook: every rule, message, keyword and cross-reference.")(check)
    app.command(help="Run a playbook's own tests.")(test)


Folder = Annotated[Path, typer.Argument(help="The playbook's folder.")]


def new(folder: Folder) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise PlaybookError([Diagnostic(str(folder), 0, "is there already and not empty", "name a new folder")])
    for path, text in new_playbook(folder.name).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    typer.echo(f"{folder} is a playbook now. Next: kairos check {folder}; kairos test {folder}")


def check(folder: Folder) -> None:
    playbook = _read(folder)
    for warning in warnings_of(playbook):
        typer.echo(f"warning: {_in(folder, warning)}")
    compile_program(playbook)
    arms = sum(len(action.variants) for action in playbook.actions)
    typer.echo(
        f"{playbook.name}: {len(playbook.actions)} actions, {arms} variants, revision {playbook.revision}: sound"
    )


def test(folder: Folder) -> None:
    playbook = _read(folder)
    failures = [_in(folder, failure) for failure in run_tests(compile_program(playbook))]
    for failure in failures:
        typer.echo(str(failure), err=True)
    typer.echo(f"{len(playbook.tests) - len(failures)} passed, {len(failures)} failed")
    if failures:
        raise typer.Exit(1)


def _read(folder: Path) -> Playbook:
    try:
        return read_playbook(load_texts(folder))
    except PlaybookError as error:
        raise PlaybookError([_in(folder, diagnostic) for diagnostic in error.diagnostics]) from None


def _in(folder: Path, said: Diagnostic) -> Diagnostic:
    """A path that an editor can open from here."""
    return Diagnostic(str(folder / said.file), said.line, said.message, said.hint)
