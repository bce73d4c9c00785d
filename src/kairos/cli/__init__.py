"""The commands. Each imports what it needs when it is called, so that `--help` and `check` are quick."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from kairos import __version__
from kairos.errors import DiagnosedError, KairosError

# One thread for NumPy's matrix products, unless told otherwise: theirs wait by spinning, on cores that others need.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

app = typer.Typer(
    name="kairos",
    help="Real-time customer value management: the one right thing to say, at the right moment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show:
        typer.echo(f"kairos {__version__}")
        raise typer.Exit


COMMANDS = (
    "run",
    "demo",
    "playbook",
    "events",
    "explain",
    "reconcile",
    "report",
    "evaluate",
    "learn",
    "switch",
    "status",
    "key",
    "audit",
    "trial",
    "dead_letters",
    "backup",
    "privacy",
    "bench",
)

for name in COMMANDS:
    import_module(f"kairos.cli.{name}").register(app)


def main() -> None:
    """The entry point. What can be mended by whoever started it is a message on standard error, never a trace.

    Exit status: 0, 1 where something is wrong, 2 for a command line that cannot be read, 130 after Ctrl-C.
    """
    try:
        app()
    except DiagnosedError as error:
        for diagnostic in error.diagnostics:
            typer.echo(str(diagnostic), err=True)
        sys.exit(1)
    except KairosError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"{error.filename}: {error.strerror}", err=True)
        sys.exit(1)
