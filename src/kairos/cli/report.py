"""`kairos report`: what marketing earned (uplift), and who was offered what (fairness); beside a running server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from kairos.cli.options import TOML, SettingsFile, StoreFile
from kairos.cli.store import purchases_in, reading
from kairos.errors import KairosError, did_you_mean

if TYPE_CHECKING:
    from kairos.adapters.duckdb_uplift import Costs, Extracted
    from kairos.adapters.sqlite.records import SqliteRecords
    from kairos.engine.cohort import Cohort
    from kairos.engine.program import Program
    from kairos.playbook import Playbook

Since = Annotated[str, typer.Option(help="Only moments from this day on (UTC), as in 2026-03-04.")]
Html = Annotated[Path | None, typer.Option(help="Write a page with plots to this file, too.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
R = TypeVar("R")
FOR_EVER = 2**62
DAYS = (7, 30, 90)


def register(app: typer.Typer) -> None:
    reports = typer.Typer(no_args_is_help=True, help="What marketing earned, and who was offered what.")
    reports.command(help="What the treated did more than the holdout, by an extract of recharges and spend.")(uplift)
    reports.command(help="Offers and refusals by an attribute that nobody may be treated differently for.")(fairness)
    app.add_typer(reports, name="report")


def uplift(
    events: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The extract: CSV or Parquet.")],
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    by: Annotated[str, typer.Option(help="An attribute of the vocabulary that cuts subscribers into segments.")] = "",
    days: Annotated[
        list[int] | None, typer.Option(min=1, max=730, help="After the first moment; repeatable; 7, 30, 90 without it.")
    ] = None,
    since: Since = "",
    cost: Annotated[
        list[str] | None,
        typer.Option(help="NAME=AMOUNT: of a message by channel, of a purchase by OFFER or OFFER/VARIANT."),
    ] = None,
    tax: Annotated[str, typer.Option(help="The rate that amounts of spend include, as in 15%.")] = "",
    column: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS: a column's name in the extract.")] = None,
    word: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS: recharge or spend, in the extract.")] = None,
    html: Html = None,
    as_json: Json = False,
) -> None:
    from kairos.adapters.duckdb_uplift import COLUMNS, KINDS, Flows
    from kairos.cli import uplift_page, uplift_report
    from kairos.cli.reconcile import pairs
    from kairos.engine.cohort import gather
    from kairos.evaluate import segments

    columns, words = pairs("--column", column, COLUMNS), pairs("--word", word, KINDS)
    with opened(settings, store, "report uplift") as (records, program_of, playbook):
        costs = _costs(cost, tax, playbook)
        cohort = gather(records.decisions(day_of(since), FOR_EVER), program_of, by)
        _refuse_without_groups(cohort)
        cohort.model = by_band(cohort.model)
        with closing(Flows(events, columns, words)) as flows:
            holdings = records.holdings("msisdn")
            extracted = flows.fill(holdings, purchases_in(records), records.outcomes(), cohort, costs)
            flows.enter(cohort, segments(cohort.trait, shown(playbook, by)))
            made = uplift_report.make(
                flows,
                cohort,
                extracted,
                days or DAYS,
                playbook=playbook.name,
                currency=playbook.currency,
                by=by,
                notes=_notes(cohort, extracted, costs),
            )
    tell(made, uplift_report.plain, uplift_report.pictures, uplift_page.page, html, as_json=as_json)


def _refuse_without_groups(cohort: Cohort) -> None:
    """There must be a holdout, or an offer with a control group."""
    held_out, control = set(cohort.held_out), set(cohort.controls.held_out)
    if len(held_out) == 2 or len(control) == 2:
        return
    if not held_out:
        raise KairosError("nothing to report: no marketing would have been said in that time to anybody in the store")
    if True in held_out:
        raise KairosError("there is nobody to compare with: everybody in that time was held out")
    raise KairosError(
        "there is nobody to compare with: the playbook held nobody out. Set `holdout: 5%` in contact_policy.yaml, or "
        "`control: 5%` in an offer; what was earned before cannot be told"
    )


def _costs(given: list[str] | None, tax: str, playbook: Playbook) -> Costs:
    from kairos.adapters.duckdb_uplift import Costs
    from kairos.domain.money import parse_exact

    offers = [
        name for a in playbook.actions for name in (a.name, *(f"{a.name}/{v.name}" for v in a.variants if v.name))
    ]
    names = [*offers, *{treatment.channel for action in playbook.actions for treatment in action.treatments}]
    costs = {}
    for pair in given or ():
        name, _, written = pair.partition("=")
        if name not in names:
            hint = did_you_mean(name, names) or "NAME is a channel, an offer or OFFER/VARIANT of the playbook"
            raise KairosError(f"--cost `{pair}` names nothing of the playbook; {hint}")
        try:
            costs[name] = parse_exact(written, playbook.currency.digits + 4)
        except ValueError as error:
            raise KairosError(f"--cost `{pair}`: {error}; write NAME=AMOUNT, as in sms=0.02") from None
    try:
        rate = parse_exact(tax.removesuffix("%"), 4) if tax else 0
    except ValueError as error:
        raise KairosError(f"--tax: {error}; write it as in 15%") from None
    if not 0 <= rate < 1_000_000:
        raise KairosError(f"--tax `{tax}` is no rate; write it as in 15%")
    return Costs(costs, rate)


def _notes(cohort: Cohort, extracted: Extracted, costs: Costs) -> list[str]:
    spoken = {*cohort.offer, *cohort.controls.offer, *cohort.channel}
    free = sorted(spoken - costs.of.keys() - {name.partition("/")[0] for name in costs.of})
    notes = [f"no cost was given for {', '.join(free)}: taken as nothing"] if free else []
    if extracted.other_kinds:
        others = ", ".join(f"`{kind}` ({rows:,})" for kind, rows in extracted.other_kinds.items())
        notes.append(f"rows of other kinds count nowhere: {others}")
    if cohort.forgotten:
        notes.append(f"{cohort.forgotten:,} of {cohort.moments:,} decisions have no playbook any more")
    if not any(cohort.held_out):
        return notes
    notes.append(
        "offer and channel are what would have been said at a subscriber's first moment (just that offer was said to "
        f"{cohort.agreed:.0%} of the treated then); an effect is that of all marketing on these subscribers since"
    )
    return notes


def by_band(models: list[str]) -> list[str]:
    """Model versions as groups. Where one is published every minute they are many: the learned ones fall into quarters.

    >>> by_band(["fixed-0.05", "learned-2-0f3c9a7be215"])
    ['fixed-0.05', 'learned-2-0f3c9a7be215']
    >>> sorted(set(by_band([f"learned-{number}-0f3c9a7be215" for number in range(100)])))[:2]
    ['learned, 1: up to 24', 'learned, 2: 25 to 49']
    """
    from kairos.evaluate.segments import MOST, segments

    if len(set(models)) <= MOST:
        return models
    numbers = [int(one.split("-")[1]) if one.startswith("learned-") else None for one in models]
    return [
        one if number is None else f"learned, {band}"
        for one, number, band in zip(models, numbers, segments(numbers), strict=True)
    ]


def shown(playbook: Playbook, by: str) -> Callable[[Any], str]:
    from kairos.engine.cohort import no_such_attribute
    from kairos.engine.explain import in_words

    if by and by not in playbook.vocabulary.names:
        raise no_such_attribute(by, playbook)
    kind = playbook.vocabulary.names[by] if by else "text"
    return lambda value: in_words(value, kind, playbook.currency)


def fairness(
    by: Annotated[str, typer.Option(help="An attribute of the vocabulary, such as an age or a region.")],
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    since: Since = "",
    html: Html = None,
    as_json: Json = False,
) -> None:
    from kairos.cli import fairness_page, fairness_report
    from kairos.engine.fairness import count

    with opened(settings, store, f"report fairness --by {by}") as (records, program_of, playbook):
        show = shown(playbook, by)
        tally = count(records.decisions(day_of(since), FOR_EVER), program_of, by)
    made = fairness_report.make(tally, playbook=playbook.name, by=by, show=show)
    tell(made, fairness_report.plain, fairness_report.pictures, fairness_page.page, html, as_json=as_json)


@contextmanager
def opened(
    settings: Path, store: Path | None, did: str
) -> Iterator[tuple[SqliteRecords, Callable[[str], Program | None], Playbook]]:
    """A store's records, the programs of its playbooks by revision, and the latest playbook; `did`: for the trail."""
    from kairos.engine.program import compile_earlier
    from kairos.playbook import read

    with reading(settings, store, did) as records:

        @lru_cache(maxsize=32)
        def program_of(revision: str) -> Program | None:
            return compile_earlier(records.playbook(revision))

        texts = records.latest_playbook()
        if not texts:
            raise KairosError("the store has no playbook yet: nothing has been decided in it")
        yield records, program_of, read(texts)


def day_of(written: str, option: str = "--since") -> int:
    """When a day begins (ms, UTC); 0 where none is written."""
    if not written:
        return 0
    try:
        return round(datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise KairosError(f"{option} `{written}` is no day; write it as in 2026-03-04") from None


def tell(
    made: R | str,
    plain: Callable[[R], Mapping[str, Any]],
    pictures: Callable[[R], list[Any]],
    page: Callable[[R], str],
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    """A report as JSON or as pictures, and as a page where one is wanted. Raises KairosError: why there is none."""
    if isinstance(made, str):
        raise KairosError(made)
    if html:
        html.write_text(page(made), encoding="utf-8")
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(plain(made)).decode())
        return
    from rich.console import Console

    console = Console(highlight=False)
    for picture in pictures(made):
        console.print(picture)
    if html:
        console.print(f"the page is `{html}`")
