"""`kairos export` and `kairos erase` on a store at rest."""

from __future__ import annotations

import json
import stat
from contextlib import closing
from pathlib import Path

import pytest
from tests.conftest import compiled
from typer.testing import CliRunner, Result

from kairos.adapters.sqlite import SqliteStore
from kairos.cli import app
from kairos.domain.event import Event
from kairos.engine.engine import Engine
from kairos.errors import KairosError
from kairos.learn import FixedPropensity
from kairos.playbook import load_texts

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
NUMBER = "12025550123"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One person is known, and has withdrawn their consent."""
    path = tmp_path / "kairos.db"
    monkeypatch.setenv("KAIROS_STORE_PATH", str(path))
    monkeypatch.setenv("KAIROS_HTTP_PORT", "1")  # where nobody answers
    texts = load_texts(EXAMPLE)
    program = compiled(texts)
    with closing(SqliteStore(path)) as opened:
        opened.save_playbook(program.playbook.revision, program.playbook.vocabulary.layout, texts)
        engine = Engine(opened, program, FixedPropensity())
        data = {"plan": "prepaid", "language": "en", "marketing_consent": False}
        opened.commit(engine.apply([Event("1", "profile", NUMBER, 1000, data)], 2000).batch)
    return path


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(app, [*arguments, "--settings", str(EXAMPLE / "kairos.toml")])
    if isinstance(done.exception, KairosError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_all_of_it_is_written_to_a_file_of_ones_own(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.json"
    run("export", f"+{NUMBER}", "--out", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    found = json.loads(out.read_text())
    assert found["profile"]["plan"]["value"] == "prepaid"
    assert json.loads(run("export", NUMBER).stdout)["state"] == found["state"]
    with pytest.raises(KairosError, match="is there already"):
        run("export", NUMBER, "--out", str(out))
    with pytest.raises(KairosError, match="nobody is known"):
        run("export", "+12025550199")


def test_they_are_forgotten_and_their_no_is_not(store: Path) -> None:
    assert NUMBER.encode() in store.read_bytes()
    said = run("erase", f"+{NUMBER}", "--reason", "asked").stdout
    assert (
        said == f"+{NUMBER} is forgotten; that they said STOP is kept, under a hash of the number. Nothing is left.\n"
    )
    left = b"".join(one.read_bytes() for one in store.parent.rglob("*") if one.is_file())
    assert NUMBER.encode() not in left
    with closing(SqliteStore(store)) as opened:
        assert list(opened.suppressed().values()) == [("marketing_consent",)]
    with pytest.raises(KairosError, match="nobody is known"):
        run("erase", NUMBER)


def test_a_server_that_is_named_must_answer(store: Path) -> None:
    with pytest.raises(KairosError, match="no kairos answers"):
        run("erase", NUMBER, "--url", "http://127.0.0.1:1")
