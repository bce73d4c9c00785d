"""`kairos switch`: turn marketing, a part of it, or charging off and on, beside a running server or without one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kairos.adapters.clock import now
from kairos.cli.options import TOML, SettingsFile, StoreFile
from kairos.cli.store import loaded, noted, user
from kairos.errors import KairosError, did_you_mean

if TYPE_CHECKING:
    from kairos.domain.switch import Switch
    from kairos.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(help="Turn marketing, charging or a part off or on; or `list`.")(switch)


def switch(
    name: Annotated[str, typer.Argument(help="marketing, charging, channel:NAME, action:NAME, issue:NAME; or list.")],
    state: Annotated[str, typer.Argument(metavar="[on|off]")] = "",
    reason: Annotated[str, typer.Option(help="Why; it is kept, and shown where something is refused.")] = "",
    who: Annotated[str, typer.Option(help="Who turns it, if not you.", show_default=False)] = "",
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="With `list`: switches and history as JSON.")] = False,
) -> None:
    from kairos.adapters.sqlite import SqliteStore
    from kairos.adapters.sqlite.switches import SqliteSwitches
    from kairos.domain.switch import Switch
    from kairos.settings import load_settings

    # broken settings, or none, must not keep a switch from being turned
    chosen = loaded(settings) if store else load_settings(settings, os.environ)
    path = store or Path(chosen.store.path if chosen else "")
    if name == "list":
        if not path.exists():
            raise KairosError(f"there is no store at `{path}`; name it with --store")
        with closing(SqliteSwitches(path)) as opened:
            show(opened.switches(), opened.switch_history(20), as_json=as_json)
        return
    check(name, state, reason, chosen)
    holds = "a running kairos holds to it within two seconds"
    if store and not path.exists():
        raise KairosError(f"there is no store at `{path}`, so nothing was turned")
    if not path.exists():
        SqliteStore(path).close()  # so that the first start finds it turned
        holds = f"`{path}` was not there and is made: no running kairos knows of it"
    with closing(SqliteSwitches(path)) as opened:
        turned = Switch(name, state == "on", reason.strip(), who or user(), now())
        opened.turn_switch(turned)
    typer.echo(f"{name} is {state}; {holds}")
    noted(path, chosen, f"switch {state}", f"{name} {state}: {reason.strip()}", who)


def check(name: str, state: str, reason: str, settings: Settings | None) -> None:
    """Raises KairosError for what must not be written: nobody should believe that a mistyped switch is off."""
    from kairos.domain.switch import CHARGING, MARKETING, wrong_name, wrong_turn

    known = names_known(settings) if state == "off" else {}
    if wrong := wrong_name(name, known):
        part, _, rest = name.partition(":")
        choices = known.get(part, ())
        hint = did_you_mean(rest, choices) if choices else did_you_mean(name, (MARKETING, CHARGING))
        raise KairosError(f"{wrong}; {hint}" if hint else wrong)
    if state not in ("on", "off"):
        raise KairosError(f"say whether `{name}` is to be on or off, as in `kairos switch {name} off --reason ...`")
    if wrong := wrong_turn(state == "on", reason):
        raise KairosError(f"{wrong}, with --reason")


def names_known(settings: Settings | None) -> Mapping[str, tuple[str, ...]]:
    """What the playbook names; nothing where it cannot be read, for a broken playbook must not keep a switch from
    being turned."""
    from kairos.adapters.operations import names_of
    from kairos.playbook import load_texts, read

    try:
        return names_of(read(load_texts(Path(settings.playbook)))) if settings else {}
    except KairosError:
        return {}


def show(now: list[Switch], past: list[Switch], *, as_json: bool) -> None:
    """What is off, and the latest changes."""
    if as_json:
        import msgspec

        shown = {"switches": [msgspec.structs.asdict(one) for one in now]}
        typer.echo(json.dumps(shown | {"history": [msgspec.structs.asdict(one) for one in past]}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from kairos.engine.explain import moment

    console = Console(highlight=False)
    off = [one for one in now if not one.on]
    if not off:
        console.print(Text("every switch is on", "green"))
    for one in off:
        console.print(Text.assemble((f"{one.name} is off", "bold red"), f" since {moment(one.at)} UTC: {one.reason}"))
    if past:
        table = Table("at (UTC)", "switch", "", "who", "why", box=None, header_style="bold", padding=(0, 2, 0, 0))
        for one in past:
            state = Text("on", "green") if one.on else Text("off", "red")
            table.add_row(moment(one.at), Text(one.name), state, Text(one.who), Text(one.reason))
        console.print("", table, sep="\n")
