"""`kairos audit`: who did what, and whether the trail is whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from kairos.cli.options import TOML, SettingsFile
from kairos.errors import KairosError


def register(app: typer.Typer) -> None:
    app.command(help="Who did what: the audit trail, and a check of its seals. Exit: 1 where it is not whole.")(audit)


def audit(
    settings: SettingsFile = TOML,
    folder: Annotated[Path | None, typer.Option(help="The trail's folder, if it is not that of the settings.")] = None,
    subscriber: Annotated[str, typer.Option(help="Only what is about this number.")] = "",
    client: Annotated[str, typer.Option(help="Only what this client did.")] = "",
    last: Annotated[int, typer.Option(min=0, help="So many lines, the latest; 0: all.")] = 50,
    holds: Annotated[str, typer.Option(metavar="N:SEAL", help="Line N must be there, with this seal.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Lines as they are kept.")] = False,
) -> None:
    from kairos.adapters.audit.chain import Fault, opened, read
    from kairos.adapters.pseudonyms import Pseudonyms
    from kairos.settings import load_settings

    chosen = load_settings(settings, os.environ) if folder is None or subscriber else None
    where = folder or Path(chosen.audit.folder if chosen else "")
    if not any(where.glob("*.jsonl")):
        raise KairosError(f"there is no audit trail in `{where}`; name it with --folder")
    _, key = opened(where, os.environ.get("KAIROS_AUDIT_KEY", ""))
    whom = Pseudonyms(key).of(name_of(subscriber, chosen.region if chosen else "")) if subscriber else ""
    number, _, seal = holds.partition(":")
    if holds and not (number.isdigit() and seal):
        raise KairosError(f"`--holds {holds}` is no line; write its number and seal, as in `4711:0f3c…`")
    shown: list[dict[str, Any]] = []
    faults: list[str] = []
    count, broken, found, head = 0, 0, False, ""
    for one in read(where, key):
        if isinstance(one, Fault):
            faults.append(f"{where / one.file}:{one.line}: {one.why}")
            broken += one.unsealed
            continue
        count, head = count + 1, f"{one['n']}:{one['seal']}"
        found = found or head == f"{number}:{seal}"
        if (not whom or one.get("about") == whom) and (not client or one.get("client") == client):
            shown.append(one)
            if last and len(shown) > last:
                del shown[0]
    for one in shown:
        typer.echo(json.dumps(one, ensure_ascii=False) if as_json else told(one))
    if holds and not found:
        faults.append(f"there is no line {number} with that seal: lines were cut off, or the trail is another")
    if count > 1 and broken == count:
        faults = [f"no seal fits in `{where}`: another key made them; set KAIROS_AUDIT_KEY to it"]
    for fault in faults:
        typer.echo(fault, err=True)
    typer.echo(f"{count} lines, {'not whole' if faults else 'whole'}; the last is {head}", err=True)
    raise typer.Exit(1 if faults else 0)


def name_of(subscriber: str, region: str) -> str:
    from kairos.ingest import read_name

    return read_name(subscriber, region)


def told(line: dict[str, Any]) -> str:
    """A line as a person reads it.

    >>> told({"n": 7, "at": 1795543205000, "client": "care", "did": "GET /v1/status", "status": 200, "seal": "5f"})
    '2026-11-24 18:00:05  care  GET /v1/status  200'
    """
    from kairos.engine.explain import moment

    who = f"{line.get('client', '')}" + (f" ({line['subject']})" if line.get("subject") else "")
    times = f"{line['times']} times" if "times" in line else ""
    words = [moment(line["at"]), who, line["did"], line.get("about"), line.get("status"), times, line.get("detail")]
    return "  ".join(str(word) for word in words if word)
