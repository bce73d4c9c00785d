"""`kairos learn` beside a server: by hand, and as the server starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.engine.town import Town

from kairos.adapters.sqlite import SqliteStore
from kairos.playbook import load_texts, read

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
LONG = 60.0


def command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "kairos.cli", "learn", "--settings", str(EXAMPLE / "kairos.toml"), *arguments)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    ours = {"KAIROS_STORE_PATH": str(tmp_path / "kairos.db")}
    return {name: value for name, value in os.environ.items() if not name.startswith("KAIROS_")} | ours


def test_without_a_store_it_says_so(environment: dict[str, str]) -> None:
    done = subprocess.run(command("--once"), env=environment, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 1
    assert done.stderr == f"there is no store at `{environment['KAIROS_STORE_PATH']}` yet; `kairos run` makes it\n"


def test_with_too_little_to_learn_from_it_says_so(environment: dict[str, str]) -> None:
    texts = load_texts(EXAMPLE)
    with closing(SqliteStore(environment["KAIROS_STORE_PATH"])) as store:
        playbook = read(texts)
        store.save_playbook(playbook.revision, playbook.vocabulary.layout, texts)
        done = subprocess.run(command("--once"), env=environment, capture_output=True, text=True, timeout=LONG)
        assert store.model() is None
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "nothing is published yet: too few offers were made to learn from\n"


def test_it_keeps_how_likely_each_choice_was(environment: dict[str, str]) -> None:
    town = Town(Path(environment["KAIROS_STORE_PATH"]))
    with closing(town.store):
        made = [decision.id for decision in town.meet(100)]
        done = subprocess.run(command("--once"), env=environment, capture_output=True, text=True, timeout=LONG)
        assert (done.returncode, done.stderr) == (0, "")
        kept = town.store.choices(made)
    assert [(one.decision, one.probability, one.method, one.error) for one in kept.values()] == [
        (id_, 0.5, "exact", 0.0) for id_ in made
    ], "both bundles are worth the same"


def test_it_ends_with_whoever_started_it(environment: dict[str, str]) -> None:
    texts = load_texts(EXAMPLE)
    with closing(SqliteStore(environment["KAIROS_STORE_PATH"])) as store:
        playbook = read(texts)
        store.save_playbook(playbook.revision, playbook.vocabulary.layout, texts)
    popen = f"subprocess.Popen({command()!r} + ('--beside', str(os.getpid())))"
    start = f"import os, subprocess, time; print({popen}.pid, flush=True); time.sleep(99)"
    starter = subprocess.Popen((sys.executable, "-c", start), env=environment, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    learner = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    try:
        until = time.monotonic() + LONG
        while Path(f"/proc/{learner}").exists() and "Z" not in _state(learner):
            assert time.monotonic() < until, "it goes on alone"
            time.sleep(0.1)
    finally:
        if Path(f"/proc/{learner}").exists():
            os.kill(learner, signal.SIGKILL)
        starter.stdout.close()


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"
