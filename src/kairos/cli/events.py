"""`kairos events try`: what a sample of another system's becomes here, by the code that the server reads it with."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kairos.cli.options import TOML, SettingsFile
from kairos.errors import EventError, KairosError, did_you_mean

if TYPE_CHECKING:
    from kairos.cli.sample_view import Shown
    from kairos.engine.program import Program
    from kairos.settings import Settings


def register(app: typer.Typer) -> None:
    events = typer.Typer(no_args_is_help=True, help="What other systems tell: try a sample, or print a preset.")
    events.command("try", help="Show what a FILE of another system's becomes (`-`: standard input); changes nothing.")(
        try_
    )
    events.command(help="Print a preset of mappings, to start one's own from; without NAME, their names.")(preset)
    app.add_typer(events, name="events")


def try_(
    file: Annotated[str, typer.Argument(help="CloudEvents, another system's JSON or lines, a notification's text.")],
    source: Annotated[str, typer.Option(help="Read it with the mappings of this source.")] = "",
    account: Annotated[str, typer.Option(help="It is a notification's text, of this account.")] = "",
    settings: SettingsFile = TOML,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    from kairos.cli.playbook import read as read_playbook
    from kairos.cli.sample_view import Shown, picture, plain
    from kairos.engine.program import compile_program
    from kairos.settings import load_settings

    chosen = load_settings(settings, os.environ)
    program = compile_program(read_playbook(Path(chosen.playbook)))
    body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        if account:
            shown = [as_notification(chosen, program, account, body)]
        elif source:
            shown = as_payloads(chosen, program, source, file, body)
        else:
            shown = as_cloudevents(chosen, program, body)
    except EventError as error:
        shown = [Shown(0, "wrong", why=str(error), about=error.field)]
    if as_json:
        typer.echo(json.dumps({"events": [plain(one, program) for one in shown]}, ensure_ascii=False))
    else:
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(*(picture(one, program) for one in shown), sep="\n")
    if not any(one.status == "read" for one in shown) or any(one.status == "wrong" for one in shown):
        raise typer.Exit(1)


def preset(name: Annotated[str, typer.Argument(help="cgrates, dpi, vas.")] = "") -> None:
    from kairos.settings import presets

    known = presets()
    if name and name not in known:
        raise KairosError(
            f"there is no preset `{name}`; {did_you_mean(name, known) or 'there are ' + ', '.join(known)}"
        )
    typer.echo(known[name].read_text(encoding="utf-8") if name else "\n".join(known), nl=not name)


# --- read, as the server does ---------------------------------------------------------------------------


def as_cloudevents(settings: Settings, program: Program, body: bytes) -> list[Shown]:
    """One event or an array of them. Raises EventError where it is none, with what to name."""
    from kairos.adapters.clock import now
    from kairos.cli.sample_view import Shown
    from kairos.ingest import EventReader, Readable

    playbook = program.playbook
    reader = EventReader(playbook.vocabulary, playbook.currency, settings.region)
    batch = body.lstrip().startswith(b"[")
    media = f"application/cloudevents{'-batch' * batch}+json"
    if b'"specversion"' not in body:
        sources = ", ".join(f"`{name}`" for name in settings.sources) or "none is in the settings"
        raise EventError(f"it is no CloudEvent, which has a `specversion`; name a source with --source ({sources})")
    entries = reader.read(media, {}, body, now())
    return [
        Shown(index, "read", event=entry.event)
        if isinstance(entry, Readable)
        else Shown(index, "wrong", why=str(entry.error), about=entry.error.field)
        for index, entry in enumerate(entries)
    ]


def as_payloads(settings: Settings, program: Program, source: str, file: str, body: bytes) -> list[Shown]:
    """JSON of a source's own, by its mappings; a file that ends in `l` or is read in lines has one on each."""
    from kairos.adapters.clock import now
    from kairos.adapters.sources import compile_mappings
    from kairos.cli.sample_view import Shown
    from kairos.ingest import Mapped, Unreadable

    if source not in settings.sources:
        known = settings.sources
        hint = (
            did_you_mean(source, known) or f"there are {', '.join(known) or 'none'}; add a section [sources.{source}]"
        )
        raise KairosError(f"there is no source `{source}` in the settings; {hint}")
    mappings = compile_mappings(settings.mappings, program, settings.region)
    fields = {one.name: one.fields for one in mappings.sources.get(source, ())}
    shown = []
    for index, outcome in mappings.read(source, _media(file, body), body, now()):
        if isinstance(outcome, Mapped):
            set_ = getattr(outcome.event, "data", {})
            left_out = [name for name in fields[outcome.mapping] if name not in set_]
            shown.append(Shown(index, "read", outcome.mapping, outcome.event, left_out=left_out))
        elif isinstance(outcome, Unreadable):
            shown.append(Shown(index, "wrong", why=str(outcome.error), about=outcome.error.field))
        else:
            shown.append(Shown(index, "ignored", why="no mapping is for it: the `when` of none holds"))
    return shown


def as_notification(settings: Settings, program: Program, account: str, body: bytes) -> Shown:
    """A notification's text, by the account's patterns."""
    from kairos.adapters.clock import now
    from kairos.bootstrap import read_patterns
    from kairos.cli.sample_view import Shown
    from kairos.domain.event import Event

    if account not in settings.accounts:
        known = settings.accounts
        hint = did_you_mean(account, known) or f"there are {', '.join(known) or 'none'}"
        raise KairosError(f"there is no account `{account}` in the settings; {hint}")
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        raise EventError("it is not UTF-8 text") from None
    matched = read_patterns(settings, program).match(account, text)
    if matched is None:
        return Shown(0, "wrong", why=f"no pattern of `{account}` reads the whole of it; it would go out as it came")
    event = Event(f"{account}/NUMBER/{matched.id}", matched.kind, "NUMBER", now(), matched.data)
    left_out = [name for name in program.playbook.vocabulary.events[matched.kind] if name not in matched.data]
    without = "" if matched.id else "it has no {id}: a retry of it cannot be told from another"
    return Shown(0, "read", matched.language, event, without, left_out=left_out)


def _media(file: str, body: bytes) -> str:
    """Lines of JSON are told by the file's name, or by a second object after the first line's."""
    lines = body.strip().splitlines()
    several = len(lines) > 1 and lines[0].strip().endswith(b"}") and lines[1].strip().startswith(b"{")
    return "application/x-ndjson" if several or file.endswith(("jsonl", "ndjson")) else "application/json"
