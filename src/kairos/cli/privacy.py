"""`kairos export` and `kairos erase`: all of one person's data, and forgetting them, whether a server runs or not."""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import typer

from kairos.adapters.clock import now
from kairos.cli.options import TOML, SettingsFile, Url
from kairos.cli.store import noted
from kairos.errors import KairosError

if TYPE_CHECKING:
    from kairos.settings import Settings

Subscriber = Annotated[str, typer.Argument(help="The number; or imsi:, account: and its value.")]


def register(app: typer.Typer) -> None:
    app.command(help="Write all that is stored of one person as JSON.")(export)
    app.command(help="Forget a person.")(erase)


def export(
    subscriber: Subscriber,
    settings: SettingsFile = TOML,
    out: Annotated[Path | None, typer.Option(help="A new file, readable by you alone; else standard output.")] = None,
) -> None:
    import msgspec

    from kairos.adapters.sqlite.person import SqlitePerson
    from kairos.ingest import read_name
    from kairos.settings import load_settings

    chosen = load_settings(settings, os.environ)
    name = read_name(subscriber, chosen.region)
    with closing(SqlitePerson(chosen.store.path)) as person:
        found = person.export(name, now())
    if found is None:
        raise KairosError(f"nobody is known by `{subscriber}`")
    written = msgspec.json.format(msgspec.json.encode(found))
    noted(Path(chosen.store.path), chosen, "export", "", about=name)
    if out is None:
        typer.echo(written.decode())
        return
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KairosError(f"`{out}` is there already; name a new file") from None
    with open(descriptor, "wb") as file:
        file.write(written + b"\n")
    typer.echo(f"`{out}`: {len(written):,} bytes")


def erase(
    subscriber: Subscriber,
    settings: SettingsFile = TOML,
    reason: Annotated[str, typer.Option(help="Why; it is kept, so name nobody.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Though something is promised, bought or owed.")] = False,
    url: Url = "",
) -> None:
    from kairos.cli.door import address, with_scheme
    from kairos.settings import load_settings

    chosen = load_settings(settings, os.environ)
    door = with_scheme(url or address(chosen.http))
    done = _by_door(door, subscriber, reason, force)
    if done is None and url:
        raise KairosError(f"no kairos answers at {door}; without --url the store is opened where none runs")
    if done is None:
        done = _at_rest(chosen, subscriber, reason, force)
    no = "; that they said STOP is kept, under a hash of the number" if done["no_is_kept"] else ""
    typer.echo(f"{subscriber} is forgotten{no}. {done['rest']}")


def _by_door(door: str, subscriber: str, reason: str, force: bool) -> dict[str, Any] | None:
    """By the running kairos; None where none answers. Raises KairosError where it is refused."""
    import httpx

    from kairos.cli.door import call, refused

    query = urlencode({"reason": reason, "force": str(force).lower()})
    try:
        answer = call("DELETE", f"{door}/v1/subscribers/{quote(subscriber, safe='')}?{query}")
    except httpx.ConnectError:
        return None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise KairosError(f"{door} did not answer: {error}; ask again, for it may have been done") from None
    if why := refused(answer):
        raise KairosError(f"the kairos at {door} forgets nobody for us: {why}")
    try:
        found = answer.json()
    except ValueError:
        found = {}
    if answer.status_code != 200:
        raise KairosError(str(found.get("detail") or f"{door} answered {answer.status_code}"))
    rest = "What else is stored of them goes within a minute; `GET /v1/erasures` says when nothing is left."
    return {"no_is_kept": found.get("no_is_kept", False), "rest": rest}


def _at_rest(settings: Settings, subscriber: str, reason: str, force: bool) -> dict[str, Any]:
    """In a store that no kairos has open; the file is written anew, so that nothing deleted is left in it."""
    from kairos.adapters.sqlite import SqliteStore
    from kairos.adapters.sqlite.sweep import SqliteSweep
    from kairos.bootstrap import old_vocabulary, open_playbook, suppression_of
    from kairos.domain.erasure import Erasure
    from kairos.engine.engine import Engine
    from kairos.engine.erasure import SUPPRESSED
    from kairos.ingest import read_name
    from kairos.learn import FixedPropensity
    from kairos.playbook import load_texts

    path, at = Path(settings.store.path), now()
    if not path.exists():
        raise KairosError(f"there is no store at `{path}`")
    name = read_name(subscriber, settings.region)
    with closing(SqliteStore(path)) as store:
        program = open_playbook(store, load_texts(Path(settings.playbook)))
        assert program is not None
        engine = Engine(store, program, FixedPropensity(), old_vocabulary=partial(old_vocabulary, store))
        engine.suppression = suppression_of(store)
        work = engine.apply([Erasure(f"erase/{at}", name, at, reason, force)], at)
        (answer,) = work.answers
        if answer.status == "rejected":
            raise KairosError(answer.reason)
        store.commit(work.batch)
    noted(path, settings, "erase", reason, about=name)
    with closing(SqliteSweep(path)) as sweep:
        sweep.sweep(at)
        left = any(not one["done"] for one in sweep.latest())
        sweep.vacuum()
    rest = "What waits to be sent to them is sent at the next start, and goes then." if left else "Nothing is left."
    return {"no_is_kept": answer.outcome == SUPPRESSED, "rest": rest}
