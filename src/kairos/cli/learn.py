"""`kairos learn`: the propensity model, learned beside a running kairos from its store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kairos.adapters.clock import now
from kairos.cli.options import TOML, SettingsFile
from kairos.errors import KairosError, StoreError

if TYPE_CHECKING:
    from kairos.adapters.sqlite.lessons import SqliteLessons
    from kairos.engine.choices import Choices
    from kairos.engine.lessons import Lessons
    from kairos.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(help="Learn what is said yes to; `run` starts it by itself.")(learn)


def learn(
    settings: SettingsFile = TOML,
    once: Annotated[bool, typer.Option("--once", help="Publish one version from all that is known, and end.")] = False,
    beside: Annotated[
        int, typer.Option(hidden=True, help="The process that started this, and with which it ends.")
    ] = 0,
) -> None:
    from kairos.adapters.sqlite.lessons import SqliteLessons
    from kairos.engine.choices import Choices, versions_in
    from kairos.engine.program import compile_earlier
    from kairos.settings import load_settings

    chosen = load_settings(settings, os.environ)
    path = Path(chosen.store.path)
    if not path.exists():
        raise KairosError(f"there is no store at `{path}` yet; `kairos run` makes it")
    if not once:
        os.nice(10)  # decisions come first

    def goes_on() -> bool:
        return not beside or os.getppid() == beside

    with closing(SqliteLessons(path)) as store:
        choices = Choices(lambda revision: compile_earlier(store.playbook(revision)), versions_in(store.model))
        lessons: Lessons | None = None
        due = 0.0
        while goes_on():
            if time.monotonic() < due:
                time.sleep(0.5)
                continue
            due = time.monotonic() + chosen.learning.every_s
            lessons = _current(store, lessons, chosen)
            said = publish(store, lessons, chosen, now())
            enough = time.monotonic() + chosen.learning.every_s
            tell_choices(store, choices, lambda: goes_on() and (once or time.monotonic() < enough))  # noqa: B023
            if once:
                typer.echo(said)
                return


def publish(store: SqliteLessons, lessons: Lessons, chosen: Settings, now: int) -> str:
    """Hear everything that is new, and publish a version; in words what was published."""
    from msgspec.structs import replace

    from kairos.learn import LearnedPropensity, freeze
    from kairos.settings import milliseconds

    lessons.hear(store, now)
    found = lessons.publish(now)
    if found is None:
        return "nothing is published yet: too few offers were made to learn from"
    version = replace(found, explore=chosen.learning.explore)
    name = LearnedPropensity(version, ()).version
    kept = milliseconds(chosen.retention.decisions)
    store.save_model(name, now, freeze(version), now - kept if kept else 0)
    return f"published {name}, from {version.answers} answers"


def tell_choices(store: SqliteLessons, choices: Choices, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Keep how likely each choice was that is new, a share at a time while it `goes_on`."""
    from kairos.domain.decision import read_decision

    while goes_on() and (records := store.untold()):
        if drawn := choices.of(map(read_decision, records)):
            store.save_choices(drawn)


def _current(store: SqliteLessons, lessons: Lessons | None, chosen: Settings) -> Lessons:
    """The lessons for the playbook as it is now: of another revision they begin anew, from the store."""
    from kairos.engine.lessons import Lessons
    from kairos.engine.program import compile_earlier, compile_program
    from kairos.playbook import read
    from kairos.settings import milliseconds

    texts = store.playbook("")
    if texts is None:
        raise StoreError("the store has no playbook yet; `kairos run` keeps it there")
    program = compile_program(read(texts))
    if lessons and lessons.program.decide.revision == program.decide.revision:
        return lessons
    store.begin()
    return Lessons(
        program,
        milliseconds(chosen.learning.window),
        milliseconds(chosen.learning.half_life),
        lambda revision: compile_earlier(store.playbook(revision)),
    )
