"""`kairos explain`: why was this decided, for a subscriber or a decision."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kairos.adapters.sqlite import SqliteStore
from kairos.engine.explain import Explainer, Explanation
from kairos.engine.program import compile_program
from kairos.errors import EventError, KairosError
from kairos.ingest import normalise
from kairos.playbook import read as read_playbook
from kairos.settings import load_settings

SHOWN = {"chosen": "bold green", "outranked": "cyan", "gate": "red", "limit": "yellow", "rule": "", "moment": "dim"}


def register(app: typer.Typer) -> None:
    app.command(help="Say why: the latest decisions of a SUBSCRIBER (its number), or one DECISION (its id).")(explain)


def explain(
    what: Annotated[str, typer.Argument(metavar="SUBSCRIBER|DECISION")],
    settings: Annotated[Path, typer.Option(help="The settings file.")] = Path("kairos.toml"),
    latest: Annotated[int, typer.Option(help="How many decisions of a subscriber.")] = 1,
) -> None:
    chosen = load_settings(settings, os.environ)
    if not Path(chosen.store.path).exists():
        raise KairosError(f"there is no store at `{chosen.store.path}`; name the settings with --settings")
    store = SqliteStore(chosen.store.path, chosen.store.checkpoint_pages)
    explainer = Explainer(store, lambda texts: compile_program(read_playbook(texts)))
    try:
        numbers = (explainer.latest(normalise(what, chosen.region)) or [])[:latest]
    except EventError:
        numbers = []
    if not numbers and what.isdigit():
        numbers = [int(what)]
    explanations = [found for number in numbers if (found := explainer.decision(number))]
    if not explanations:
        raise KairosError(f"no decision is known of `{what}`; give a subscriber's number or a decision's id")
    console = Console()
    for explanation in explanations:
        show(console, explanation)


def show(console: Console, explanation: Explanation) -> None:
    """One decision, readable aloud."""
    decision = explanation.decision
    console.print(
        f"[bold]Decision {decision.id}[/] for subscriber {decision.subscriber}, {clock(decision.now)} UTC: "
        f"after `{decision.kind}`, playbook {explanation.playbook} {decision.revision}, model {decision.model}"
    )
    table = Table("offer", "verdict", "because", "until", "chance", "priority", box=None, header_style="bold")
    for verdict in explanation.verdicts:
        table.add_row(
            verdict.arm,
            f"[{SHOWN[verdict.state]}]{verdict.state}[/]" if SHOWN[verdict.state] else verdict.state,
            verdict.reason,
            "never again" if verdict.until == -1 else clock(verdict.until) if verdict.until else "",
            f"{verdict.propensity:.3f}" if verdict.priority else "",
            f"{verdict.priority:.2f}" if verdict.priority else "",
        )
    console.print(table)
    console.print("[dim]known:[/] " + ", ".join(f"{name} = {value!r}" for name, value in explanation.known.items()))
    for response in explanation.responses:
        reason = f" ({response.reason})" if response.reason else ""
        console.print(f"[dim]then:[/] {clock(response.at)} {response.outcome}{reason}")


def clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
