"""`kairos dead-letters`: what could not be handled, listed, explained, replayed; beside a running server or alone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kairos.cli.options import TOML, SettingsFile, StoreFile
from kairos.cli.store import loaded, noted, reading, store_path
from kairos.errors import KairosError, did_you_mean

if TYPE_CHECKING:
    from kairos.domain.dead_letter import DeadLetter

Kind = Annotated[str, typer.Option("--kind", help="Only of this kind.")]
Ids = Annotated[list[int], typer.Argument(metavar="ID...")]

MOST = 2**31  # letters at once

WHAT_TO_DO = {
    "event": "a program error: report the trace. Once it is mended, replay it; its notification went out plain then.",
    "reply": "a program error: report the trace. Once it is mended, replay it; the subscriber got no answer.",
    "delivery": "a program error: report the trace. Once it is mended, replay it.",
    "fulfilment": "a program error: report the trace. Once it is mended, replay it: the order is settled then.",
    "timer": "a program error: report the trace. Once it is mended, replay it: the offer ends then.",
    "resend": "a program error: report the trace. Replay it once it is mended.",
    "text": "the counterpart refused it for good. Mend what it names, and replay it: it is sent once more. "
    "An offer is not: it was withdrawn.",
    "change": "a program error: report the trace. Once it is mended, replay it: who has the number is known then.",
    "part": "a program error: report the trace. What it belongs to went out plain; there is nothing to replay.",
    "answered": "a program error: report the trace. There is nothing to replay.",
    "reversal": "a program error: report the trace. Once it is mended, replay it.",
    "visit": "a program error: report the trace. Who asked got an error, and asks again.",
    "handed": "a program error: report the trace. Once it is mended, replay it: the message is decided and sent once.",
    "withdrawal": "a program error: report the trace. Its sender got an error, and asks again.",
    "communication": "a program error: report the trace. Its sender got an error, and sends it again.",
    "look": "a program error: report the trace. Who looked saw an error, and looks again.",
    "recall": "a program error: report the trace. Once it is mended, replay it: an open offer is said by SMS.",
    "erasure": "a program error: report the trace. Nobody was forgotten: once it is mended, erase again.",
    "word": "a program error: report the trace. Once it is mended, replay it: an offer is charged once.",
    "purchase": "it is stuck: money may have moved. Ask the charging system, and say what became of it (see "
    "docs/fulfilment.md). There is nothing to replay.",
    "rejected": "mend the vocabulary, or what the sender sends. Replay it: it is read with the playbook of that time.",
    "unmapped": "mend the mapping in the settings, or the sender; `kairos events try` shows what becomes of it. "
    "Have it sent again, and discard this.",
    "unread": "it went out as it came. Add or mend a pattern in the settings, and discard this.",
}


def register(app: typer.Typer) -> None:
    letters = typer.Typer(no_args_is_help=True, help="What could not be handled: list, explain, replay, discard.")
    letters.command("list", help="List them, the newest first.")(list_letters)
    letters.command(help="Say of one what it is, why it could not be handled, and what to do.")(explain)
    letters.command(help="Have them handled after all, by the running server or at its next start.")(replay)
    letters.command(help="Mark them as done with.")(discard)
    app.add_typer(letters, name="dead-letters")


def list_letters(
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    kind: Kind = "",
    every: Annotated[bool, typer.Option("--every", help="Replayed and discarded ones, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    check_kind(kind)
    with reading(settings, store, "dead-letters list") as opened:
        found = [one for one in opened.dead_letters(kind, "", MOST) if every or one.status in ("new", "replay")]
    if as_json:
        import msgspec

        from kairos.adapters.ingress import plain_letter

        for letter in found:
            typer.echo(msgspec.json.encode(plain_letter(letter)).decode())
        return
    if not found:
        typer.echo("there is none")
        return
    from kairos.engine.explain import moment

    columns = "{:>6}  {:19}  {:10}  {:>6}  {:15}  {:9}  {}"
    typer.echo(columns.format("id", "last", "kind", "times", "subscriber", "status", "reason"))
    for one in found:
        reason = one.reason.partition("\n")[0]
        last = moment(one.last or one.at)
        typer.echo(columns.format(one.id, last, one.kind, one.times, one.subscriber, one.status, reason))


def explain(
    id: Annotated[int, typer.Argument(metavar="ID")],  # noqa: A002
    settings: SettingsFile = TOML,
    store: StoreFile = None,
) -> None:
    import msgspec

    from kairos.adapters.ingress import plain_letter
    from kairos.engine.explain import moment

    with reading(settings, store, "dead-letters explain", str(id)) as opened:
        letter = opened.dead_letter(id)
    if letter is None:
        raise KairosError(f"there is no dead letter {id}; `kairos dead-letters list --every` shows all")
    typer.echo(f"{letter.kind} {letter.identity}, {letter.status}, {letter.times} times")
    typer.echo(f"first {moment(letter.at)}, last {moment(letter.last or letter.at)} (UTC)")
    typer.echo(f"why: {letter.reason}")
    typer.echo(f"what to do: {WHAT_TO_DO.get(letter.kind, 'see docs/operations.md')}")
    typer.echo(msgspec.json.format(msgspec.json.encode(plain_letter(letter)["payload"]), indent=2).decode())
    if letter.trace:
        typer.echo(letter.trace.rstrip())


def replay(
    ids: Ids = [],  # noqa: B006
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    kind: Kind = "",
    every: Annotated[bool, typer.Option("--all", help="All new ones of a kind.")] = False,
) -> None:
    count = len(mark(settings, store, ids, kind if every else "", "replay"))
    typer.echo(f"{count} to be replayed: within seconds if kairos runs, else when it starts.")


def discard(
    ids: Ids = [],  # noqa: B006
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    kind: Kind = "",
    every: Annotated[bool, typer.Option("--all", help="All new ones of a kind.")] = False,
) -> None:
    typer.echo(f"{len(mark(settings, store, ids, kind if every else '', 'discarded'))} discarded.")


def mark(settings: Path, store: Path | None, ids: list[int], kind: str, status: str) -> list[int]:
    """Mark new letters by id or of a kind. Raises KairosError where nothing is named, or one cannot be marked."""
    from kairos.adapters.sqlite.letters import mark_in_file
    from kairos.adapters.sqlite.records import SqliteRecords

    if bool(ids) == bool(kind):
        raise KairosError("name ids, or a kind with --all --kind; `kairos dead-letters list` shows them")
    check_kind(kind)
    path = store_path(settings, store)
    with closing(SqliteRecords(path)) as opened:
        known = {one.id: one for one in opened.dead_letters("", "", MOST)}
    wanted = ids or [id_ for id_, one in known.items() if one.kind == kind and one.status == "new"]
    for id_ in wanted:
        check(id_, known.get(id_), status)
    marked = mark_in_file(path, sorted(set(wanted)), status)
    noted(path, loaded(settings), f"dead-letters {status}", " ".join(map(str, marked))[:200], times=len(marked))
    return marked


def check_kind(kind: str) -> None:
    if kind and kind not in WHAT_TO_DO:
        hint = did_you_mean(kind, WHAT_TO_DO) or f"there are {', '.join(WHAT_TO_DO)}"
        raise KairosError(f"there is no kind `{kind}`; {hint}")


def check(id_: int, letter: DeadLetter | None, status: str) -> None:
    if letter is None:
        raise KairosError(f"there is no dead letter {id_}; nothing was marked")
    if status == "replay" and letter.status in ("replayed", "discarded"):
        raise KairosError(f"dead letter {id_} was {letter.status} already; nothing was marked")
    if status == "replay" and letter.kind in ("unread", "unmapped", "purchase", "part", "answered"):
        raise KairosError(f"dead letter {id_} is there to be read, there is nothing to replay; nothing was marked")
