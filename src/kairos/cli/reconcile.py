"""`kairos reconcile FILE`: every difference between what was accepted, and what was charged and provisioned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kairos.cli.options import TOML, SettingsFile, StoreFile
from kairos.cli.store import purchases_in, reading
from kairos.errors import KairosError, did_you_mean

if TYPE_CHECKING:
    from kairos.adapters.extract import Extract
    from kairos.adapters.sqlite.records import SqliteRecords
    from kairos.domain.purchase import Purchase
    from kairos.fulfil.ledger import Difference

SHOWN = 200  # differences in the table; --json has all


def register(app: typer.Typer) -> None:
    app.command(help="Compare the store with a charging extract FILE.")(reconcile)


def reconcile(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, or .parquet (needs DuckDB).")],
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    column: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS: a column's name in the file.")] = None,
    word: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS: charged, provisioned, ... in the file.")] = None,
    since: Annotated[str, typer.Option(help="What the file covers begins here; else with its first row.")] = "",
    until: Annotated[str, typer.Option(help="And ends here; else with its last row.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, and the sums as the last.")] = False,
) -> None:
    from kairos.adapters.extract import COLUMNS, Extract, Mapped
    from kairos.fulfil.ledger import WORDS

    columns, words = pairs("--column", column, COLUMNS), pairs("--word", word, WORDS)
    with reading(settings, store, "reconcile") as records:
        mapped = Mapped(columns, {theirs: ours for ours, theirs in words.items()}, _digits(records))
        with closing(Extract(file, mapped)) as extract:
            extract.first = _time("--since", since) or extract.first
            extract.last = _time("--until", until) or extract.last
            counts: Counter[str] = Counter()
            _show(_differences(records, extract, counts), extract, counts, as_json=as_json)
    if counts["differences"]:
        raise typer.Exit(1)


def pairs(option: str, given: Sequence[str] | None, known: Sequence[str]) -> dict[str, str]:
    """Each OURS=THEIRS. Raises KairosError for what is none."""
    pairs = {}
    for pair in given or ():
        ours, _, theirs = pair.partition("=")
        if not theirs or ours not in known:
            hint = did_you_mean(ours, known) or f"OURS is one of: {', '.join(known)}"
            raise KairosError(f"{option} `{pair}` cannot be read as OURS=THEIRS; {hint}")
        pairs[ours] = theirs
    return pairs


def _time(option: str, given: str) -> int:
    """Milliseconds; 0 where nothing is given. Raises KairosError for what is no time."""
    from kairos.adapters.extract import time_of

    try:
        return time_of(given)
    except ValueError as error:
        raise KairosError(f"{option}: {error}") from None


def _digits(records: SqliteRecords) -> int:
    """The decimals of the currency that the store's playbook has."""
    from kairos.playbook import read

    texts = records.latest_playbook()
    return read(texts).currency.digits if texts else 2


def _differences(records: SqliteRecords, extract: Extract, counts: Counter[str]) -> Iterator[Difference]:
    """Both sides, sorted by key, side by side: each is read once, and neither is held in memory.

    A purchase is missed in the extract only where it was made and ended within the extract's own time.
    """
    from kairos.fulfil import purchase_of
    from kairos.fulfil.ledger import differences

    provisionings = extract.has("provisioned") or extract.has("done")
    rows = iter(extract.purchases())
    key, entries = next(rows, ("", []))

    def compared(purchase: Purchase | None) -> Iterator[Difference]:
        covered = purchase is None or (
            extract.first <= purchase.made and (not extract.last or purchase.changed <= extract.last)
        )
        here = entries if purchase is None or key == purchase.key else []
        yield from differences(purchase, here, expected=covered, provisionings=provisionings, digits=extract.digits)

    for purchase in purchases_in(records):
        counts["purchases"] += 1
        while entries and key.encode() < purchase.key.encode():
            yield from compared(None)
            key, entries = next(rows, ("", []))
        yield from compared(purchase)
        if entries and key == purchase_of(purchase.key):
            key, entries = next(rows, ("", []))
    while entries:
        yield from compared(None)
        key, entries = next(rows, ("", []))


def _show(found: Iterator[Difference], extract: Extract, counts: Counter[str], *, as_json: bool) -> None:
    import msgspec
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "difference", "key", "subscriber", "the store says", "the extract says", box=None, padding=(0, 2, 0, 0)
    )
    kinds: Counter[str] = Counter()
    for difference in found:
        kinds[difference.kind] += 1
        if as_json:
            typer.echo(msgspec.json.encode(difference).decode())
        elif kinds.total() <= SHOWN:
            row = (difference.kind, difference.key, difference.msisdn, difference.store, difference.extract)
            table.add_row(*row)
    counts["differences"] = kinds.total()
    sums = {"rows": extract.rows, "purchases": counts["purchases"], "differences": kinds.total(), "by_kind": kinds}
    if as_json:
        typer.echo(msgspec.json.encode(sums).decode())
        return
    if kinds:
        Console(highlight=False).print(table)
    if kinds.total() > SHOWN:
        typer.echo(f"... and {kinds.total() - SHOWN} more; --json lists all")
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "no difference"
    typer.echo(f"{extract.rows} rows, {counts['purchases']} purchases: {told}")
