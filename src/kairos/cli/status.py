"""`kairos status`: how a running kairos stands, what is wrong first; its exit status is a health probe."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer

from kairos.cli.door import address, call, no_answer, refused, with_scheme
from kairos.cli.options import TOML, SettingsFile, Url
from kairos.errors import SettingsError

IN_TROUBLE, NOT_REACHED = 1, 2  # exit statuses


def register(app: typer.Typer) -> None:
    app.command(help="How a running kairos stands. Exit: 0 well, 1 in trouble, 2 away.")(status)


def status(
    settings: SettingsFile = TOML,
    url: Url = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    from kairos.settings import load_settings

    try:
        found, error = ask(url or address(load_settings(settings, os.environ).http))
    except SettingsError as wrong:
        found, error = {}, str(wrong)
    if error:
        said = json.dumps({"well": False, "reached": False, "troubles": [error]}, ensure_ascii=False)
        typer.echo(said if as_json else error, err=not as_json)
        raise typer.Exit(NOT_REACHED)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        from rich.console import Console

        from kairos.cli.status_view import picture

        Console(highlight=False).print(picture(found))
    raise typer.Exit(0 if found["well"] else IN_TROUBLE)


def ask(door: str) -> tuple[dict[str, Any], str]:
    """The status, or why there is none."""
    import httpx

    door = with_scheme(door)
    try:
        answer = call("GET", f"{door}/v1/status")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return {}, no_answer(door, error)
    if why := refused(answer):
        return {}, f"the kairos at {door} tells us nothing: {why}"
    try:
        found = answer.json() if answer.status_code == 200 else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or "troubles" not in found:
        return {}, f"what answers at {door} is no kairos with a status (HTTP {answer.status_code})"
    return found, ""
