"""`kairos evaluate`: what a changed playbook or model would have earned on the moments of a store."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kairos.cli.options import TOML, SettingsFile, StoreFile
from kairos.cli.report import FOR_EVER, Html, Json, Since, day_of, opened, shown, tell
from kairos.errors import KairosError, did_you_mean

if TYPE_CHECKING:
    from kairos.adapters.sqlite.records import SqliteRecords
    from kairos.engine.program import Program
    from kairos.learn import Version
    from kairos.playbook import Playbook

UNITS = {"day": 86_400_000, "hour": 3_600_000, "minute": 60_000}


def register(app: typer.Typer) -> None:
    app.command(help="Tell what a changed playbook or model would have earned.")(evaluate)


def evaluate(
    playbook: Annotated[Path | None, typer.Option(help="The folder of the changed playbook.")] = None,
    model: Annotated[str, typer.Option(help="A version in the store, as fixed-0.05, or a file with one.")] = "",
    greedy: Annotated[bool, typer.Option("--greedy", help="Without exploring: the best by what is believed.")] = False,
    settings: SettingsFile = TOML,
    store: StoreFile = None,
    since: Since = "",
    until: Annotated[str, typer.Option(help="Only moments before this day (UTC).")] = "",
    window: Annotated[str, typer.Option(help="How long after its moment a yes counts.")] = "7 days",
    by: Annotated[str, typer.Option(help="An attribute of the vocabulary that cuts who would have got what.")] = "",
    html: Html = None,
    as_json: Json = False,
) -> None:
    from kairos.cli import evaluation_page, evaluation_report
    from kairos.engine.replay import Target, outcomes_of, replay

    if not (playbook or model or greedy):
        raise KairosError("nothing is changed: name another --playbook, another --model, or --greedy")
    with opened(settings, store, "evaluate") as (records, program_of, latest):
        show = shown(latest, by)
        target = Target(_changed(playbook, latest), model, 0.0 if greedy else None)
        made = replay(
            records.decisions(day_of(since), day_of(until, "--until") or FOR_EVER),
            program_of,
            _versions(records, model, target.program, latest),
            outcomes_of(records.outcomes()),
            target,
            window=_window(window),
            end=records.newest(),
            by=by,
            kept=records.choices,
        )
    what = " and ".join(
        [
            *([f"the playbook `{playbook}`"] if playbook else []),
            *([f"the model `{model}`"] if model else []),
            *(["no exploration"] if greedy else []),
        ]
    )
    report = evaluation_report.make(made, playbook=latest.name, currency=latest.currency, what=what, by=by, show=show)
    tell(report, evaluation_report.plain, evaluation_report.pictures, evaluation_page.page, html, as_json=as_json)


def _changed(folder: Path | None, latest: Playbook) -> Program | None:
    from kairos.cli.playbook import read
    from kairos.engine.program import compile_program

    if folder is None:
        return None
    changed = read(folder)
    if changed.vocabulary.columns != latest.vocabulary.columns:
        apart = sorted({*changed.vocabulary.columns} ^ {*latest.vocabulary.columns})
        names = ", ".join(f"`{name}`" for name in apart[:5]) or "the order of its names"
        raise KairosError(
            f"`{folder}` has another vocabulary than the store's playbook ({names}): what its rules ask was not kept. "
            "Evaluate changes of offers and policy under the same vocabulary"
        )
    return compile_program(changed)


def _versions(
    records: SqliteRecords, model: str, program: Program | None, latest: Playbook
) -> Callable[[str], Version | None]:
    """Versions by name, the file's under its own. Raises KairosError for a `model` that is none."""
    import msgspec

    from kairos.engine.choices import FIXED
    from kairos.learn import thaw

    def version_of(name: str) -> Version | None:
        file = name == model and Path(name).is_file()
        kept = None if file else records.model(name)
        content = Path(name).read_bytes() if file else kept[1] if kept else None
        try:
            return thaw(content) if content else None
        except msgspec.DecodeError as error:
            if name != model:
                return None  # of a decision: its moments cannot be replayed
            raise KairosError(f"`{name}` is no model that this kairos reads: {error}") from None

    if model.startswith(FIXED) and not re.fullmatch(r"0?\.\d+|0|1|\d(\.\d+)?e-\d+", model.removeprefix(FIXED)):
        raise KairosError(f"--model `{model}` is no fixed propensity; write it as in fixed-0.05")
    if model and not model.startswith(FIXED):
        version = version_of(model)
        if version is None:
            kept = records.models()
            hint = did_you_mean(model, kept) or (f"the newest is `{kept[0]}`" if kept else "it has none")
            raise KairosError(f"the store has no model `{model}`, nor is it a file; {hint}")
        names = program.playbook.vocabulary.names if program else latest.vocabulary.names
        if version.features.names != tuple(names):
            raise KairosError(f"the model `{model}` was learned under another vocabulary than the playbook's")
    return version_of


def _window(written: str) -> int:
    found = re.fullmatch(r"([1-9]\d{0,4}) (day|hour|minute)s?", written)
    if not found:
        raise KairosError(f"--window `{written}` is no time; write it as in 7 days")
    return int(found[1]) * UNITS[found[2]]
