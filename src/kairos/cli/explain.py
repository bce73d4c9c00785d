"""`kairos explain`: why was this decided, for a subscriber or a decision. Works beside a running server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kairos.cli.options import TOML, SettingsFile, StoreFile
from kairos.cli.store import loaded, reading
from kairos.errors import EventError, KairosError

if TYPE_CHECKING:
    from kairos.domain.passage import Passage
    from kairos.engine.explain import Explainer, Explanation


def register(app: typer.Typer) -> None:
    app.command(help="Say why: for a SUBSCRIBER's number or a DECISION's id.")(explain)


def explain(
    what: Annotated[str, typer.Argument(metavar="SUBSCRIBER|DECISION")],
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    latest: Annotated[int, typer.Option(min=1, help="How many decisions of a subscriber, the newest first.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each decision.")] = False,
) -> None:
    from kairos.engine.explain import Explainer
    from kairos.engine.program import compile_program
    from kairos.playbook import read as read_playbook

    chosen = loaded(settings)
    with reading(settings, store, "explain", what) as opened:
        explainer = Explainer(opened, lambda texts: compile_program(read_playbook(texts)))
        show(find(explainer, what, chosen.region if chosen else "", latest), as_json=as_json)


def find(explainer: Explainer, what: str, region: str, latest: int) -> list[Explanation]:
    """The decisions asked for, the newest first. Raises KairosError where there is none."""
    from kairos.ingest import read_name

    try:
        numbers = explainer.latest(read_name(what, region))
    except EventError:
        numbers = None
    if numbers is None and what.isascii() and what.isdigit() and len(what) < 19:
        numbers = [int(what)]
    if numbers == []:
        raise KairosError("\n".join(undecided(what, explainer.messages_to(read_name(what, region)))))
    found = [one for number in (numbers or [])[:latest] if (one := explainer.decision(number))]
    if not found:
        raise KairosError(f"no decision is known of `{what}`; give a subscriber's number or a decision's id")
    return found


def undecided(what: str, others: Sequence[Passage]) -> Iterator[str]:
    """That nothing was decided of what kairos says itself, and what became of other systems' messages."""
    from kairos.engine.explain import moment

    heard = "; messages of other systems:" if others else ""
    yield f"`{what}` is known, and nothing has been decided for them yet{heard}"
    for one in others:
        until = f" until {moment(one.until)} UTC" if one.until else ""
        yield f"{moment(one.at)} UTC  {one.sender}  {one.sends}  {one.stand}  {one.why}{until}".rstrip()


def show(explanations: list[Explanation], *, as_json: bool) -> None:
    if as_json:
        import msgspec

        from kairos.adapters.explanations import plain

        for explanation in explanations:
            typer.echo(msgspec.json.encode(plain(explanation)).decode())
        return
    from rich.console import Console

    from kairos.cli.explanation import picture

    console = Console(highlight=False)
    for explanation in explanations:
        console.print(picture(explanation))
