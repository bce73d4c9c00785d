"""`kairos key`: a fresh API key for a client, and what to set where."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from kairos.errors import KairosError, did_you_mean

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


def register(app: typer.Typer) -> None:
    app.command(help="Make an API key for a client of the HTTP door.")(key)


def key(
    name: Annotated[str, typer.Argument(help="The client's name: letters, digits, `-` and `_`.")],
    roles: Annotated[str, typer.Option(help="What it may do, with blanks between roles.")] = "ROLES",
) -> None:
    from kairos.adapters.callers import hashed, made
    from kairos.domain.caller import ROLES
    from kairos.settings import variable

    if not NAME.fullmatch(name):
        raise KairosError(f"`{name}` is no name of a client: 1 to 32 letters, digits, `-` and `_`")
    for role in (role for role in roles.split() if role not in (*ROLES, "ROLES")):
        raise KairosError(f"unknown role `{role}`; {did_you_mean(role, ROLES) or 'the roles are: ' + ' '.join(ROLES)}")
    fresh = made()
    typer.echo(f"The key of `{name}`, which is shown this once; it sends it as `Authorization: Bearer KEY`:")
    typer.echo(f'\n    {fresh}\n\nIn the settings file:\n\n    [clients.{name}]\n    roles = "{roles}"\n')
    typer.echo(f"And the key in the environment of kairos:\n\n    {variable(('clients', name, 'key'))}={fresh}\n")
    typer.echo(f'or, instead, its hash in the file:\n\n    key_sha256 = "{hashed(fresh)}"\n')
    if roles == "ROLES":
        typer.echo(f"ROLES are what it may do, with blanks between them: {' '.join(ROLES)} (see docs/security.md).")
