"""`kairos bench NAME`: measure, and print what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer

from kairos.errors import KairosError, did_you_mean


def register(app: typer.Typer) -> None:
    app.command(help="Measure on this machine: rules or events.")(bench)


def _benches() -> dict[str, Callable[[], dict[str, object]]]:
    from kairos.bench import events, rules

    return {"rules": rules.run, "events": events.run}


def bench(
    name: Annotated[str, typer.Argument(help="rules or events")],
    as_json: Annotated[bool, typer.Option("--json", help="Only one JSON object, as the last line.")] = False,
) -> None:
    benches = _benches()
    if name not in benches:
        raise KairosError(f"there is no bench `{name}`; {did_you_mean(name, benches) or 'try ' + ', '.join(benches)}")
    figures = benches[name]()
    if not as_json:
        for key, value in figures.items():
            typer.echo(f"{key:>28}  {value}")
    typer.echo(json.dumps(figures))
