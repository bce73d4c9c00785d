"""`kairos bench NAME`: measure, and print what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from kairos.errors import KairosError, did_you_mean


def register(app: typer.Typer) -> None:
    app.command(help="Measure speed, memory and learning on this machine.")(bench)


def _benches(rate: float | None, seconds: float, step: float) -> dict[str, Callable[[], dict[str, object]]]:
    from kairos.bench import events, learning, mappings, memory, rules, score
    from kairos.cli import inbound_bench, sms_bench, ussd_bench

    return {
        "rules": rules.run,
        "events": events.run,
        "memory": memory.run,
        "mappings": mappings.run,
        "sms": partial(sms_bench.run, rate or 500, seconds, step),
        "inbound": partial(inbound_bench.run, rate or 500, min(seconds, 20.0), step),
        "ussd": partial(ussd_bench.run, rate or 300, min(seconds, 20.0), step),
        "learning": learning.run,
        "score": score.run,
    }


def bench(
    name: Annotated[str, typer.Argument(help="rules, events, memory, mappings, sms, inbound, ussd, learning or score")],
    as_json: Annotated[bool, typer.Option("--json", help="Only one JSON object, as the last line.")] = False,
    rate: Annotated[
        float | None,
        typer.Option(help="sms, inbound (500), ussd (300): notifications, requests, screens a second.", min=1),
    ] = None,
    seconds: Annotated[str, typer.Option("--for", help="The same (but for sms, 20s at most): 60s or 2m.")] = "60s",
    step: Annotated[str, typer.Option(help="The same: how long at each higher rate.")] = "10s",
) -> None:
    from kairos.cli.demo import duration

    benches = _benches(rate, duration(seconds), duration(step))
    if name not in benches:
        raise KairosError(f"there is no bench `{name}`; {did_you_mean(name, benches) or 'try ' + ', '.join(benches)}")
    figures = benches[name]()
    if not as_json:
        for key, value in figures.items():
            typer.echo(f"{key:>28}  {value}")
    typer.echo(json.dumps(figures))
