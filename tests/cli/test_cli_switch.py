"""`kairos switch`: turned in the store's file, refused where somebody would believe what is not so."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kairos.adapters.sqlite import SqliteStore
from kairos.cli import app
from kairos.errors import KairosError

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid" / "kairos.toml"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kairos.db"
    monkeypatch.setenv("KAIROS_STORE_PATH", str(path))
    return path


def switch(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["switch", *arguments, "--settings", str(EXAMPLE)])


def said(*arguments: str) -> str:
    done = switch(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_off_and_on_with_who_and_why(store: Path) -> None:
    first = said("marketing", "off", "--reason", "wrong prices", "--who", "ada")
    assert first == f"marketing is off; `{store}` was not there and is made: no running kairos knows of it\n"
    with closing(SqliteStore(store)) as opened:  # made by the first turn: the first start finds it
        (found,) = opened.switches()
        assert (found.name, found.on, found.reason, found.who) == ("marketing", False, "wrong prices", "ada")
        beside = said("marketing", "on")
        assert beside == "marketing is on; a running kairos holds to it within two seconds\n"
        assert [one.on for one in opened.switch_history(5)] == [True, False]
        assert opened.switches()[0].who  # nobody said who: whoever is logged in


def test_the_list_says_what_is_off_first(store: Path) -> None:
    said("charging", "off", "--reason", "OCS upgrade", "--who", "bob")
    said("channel:sms", "off", "--reason", "SMSC upgrade")
    said("channel:sms", "on")
    lines = said("list").splitlines()
    assert lines[0].startswith("charging is off since 20")
    assert lines[0].endswith("UTC: OCS upgrade")
    assert sum("channel:sms" in line for line in lines) == 2
    told = json.loads(said("list", "--json"))
    assert [(one["name"], one["on"]) for one in told["switches"]] == [("channel:sms", True), ("charging", False)]
    assert len(told["history"]) == 3


def test_nothing_is_off_at_first(store: Path) -> None:
    said("marketing", "on")
    assert said("list").splitlines()[0] == "every switch is on"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["marketing", "off"], "say why it is turned off, with --reason"),
        (["marketting", "off", "--reason", "x"], "there is no switch `marketting`.* did you mean `marketing`?"),
        (["action:data_dya", "off", "--reason", "x"], "no action `data_dya` in the playbook; did you mean `data_day`?"),
        (["channel:fax", "off", "--reason", "x"], "there is no channel `fax` in the playbook"),
        (["marketing", "of", "--reason", "x"], "on or off"),
        (["marketing"], "on or off"),
        (["list"], "there is no store at"),
        (["marketing", "off", "--reason", "x", "--store", "nowhere.db"], "no store at `nowhere.db`, so nothing was"),
    ],
)
def test_what_is_mistyped_turns_nothing(store: Path, arguments: list[str], message: str) -> None:
    done = switch(*arguments)
    assert isinstance(done.exception, KairosError)
    assert done.exception.args
    with pytest.raises(KairosError, match=message):
        raise done.exception
    assert not store.exists()


def test_a_broken_playbook_keeps_no_switch_from_being_turned(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "playbook.yaml").write_text("name: [", encoding="utf-8")
    monkeypatch.setenv("KAIROS_PLAYBOOK", str(tmp_path / "broken"))
    said("action:whatever", "off", "--reason", "it went wrong")
    with closing(SqliteStore(store)) as opened:
        assert [one.name for one in opened.switches()] == ["action:whatever"]


def test_broken_settings_keep_no_switch_of_a_named_store_from_being_turned(tmp_path: Path) -> None:
    (tmp_path / "kairos.toml").write_text("[http", encoding="utf-8")
    SqliteStore(tmp_path / "kairos.db").close()
    where = ["--settings", str(tmp_path / "kairos.toml"), "--store", str(tmp_path / "kairos.db")]
    done = CliRunner().invoke(app, ["switch", "marketing", "off", "--reason", "wrong prices", *where])
    assert (done.exit_code, done.stdout.startswith("marketing is off")) == (0, True)
