"""The commands as somebody new to them meets them: what they say, where they say it, and their exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kairos import __version__
from kairos.bootstrap import read_patterns
from kairos.engine.program import compile_program
from kairos.playbook import load_texts, read
from kairos.settings import load_settings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "prepaid"

Run = Callable[..., tuple[int, str, str]]


def test_the_version(kairos: Run) -> None:
    assert kairos("--version") == (0, f"kairos {__version__}\n", "")


@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_help_names_every_command_whole(kairos: Run, asked: str) -> None:
    status, out, err = kairos(asked)
    assert (status, err) == (0, "")
    assert all(
        f"\n  {name} " in out for name in ("run", "demo", "new", "check", "test", "explain", "dead-letters", "bench")
    )
    assert "..." not in out.partition("Commands:")[2]


def test_without_a_command_there_is_help(kairos: Run) -> None:
    status, out, err = kairos()
    assert status == 2
    assert "check" in out + err


WRONG: dict[str, tuple[list[str | Path], int, str]] = {
    "an unknown command": (["chekc"], 2, "No such command"),
    "no folder": (["check"], 2, "Missing argument"),
    "a folder that is not there": (["check", "nowhere"], 1, "nowhere: there is no such folder; kairos new nowhere"),
    "tests of a folder that is not there": (["test", "nowhere"], 1, "nowhere: there is no such folder"),
    "a file for a folder": (
        ["check", EXAMPLE / "offers" / "data_day.yaml"],
        1,
        "data_day.yaml: is a file; name the folder",
    ),
    "a folder without a playbook": (["check", "."], 1, "holds no YAML file, so it is no playbook; `kairos new`"),
    "a new folder that is a file": (["new", EXAMPLE / "kairos.toml"], 1, "is there already and not empty"),
    "a new folder that is not empty": (["new", EXAMPLE], 1, "is there already and not empty; name a new folder"),
    "a new folder where none can be": (["new", "/proc/nowhere"], 1, "/proc/nowhere: No such file or directory"),
    "no settings": (["run"], 1, "kairos.toml: is not there; name the file with --settings"),
    "settings elsewhere": (["run", "--settings", "ops/k.toml"], 1, "ops/k.toml: is not there; name the file"),
    "passwords": (
        ["run", "--settings", EXAMPLE / "kairos.toml"],
        1,
        "`accounts.ocs.password` is not set; set KAIROS_ACCOUNTS_OCS_PASSWORD\n",
    ),
    "a status without settings": (["status"], 2, "kairos.toml: is not there; name the file with --settings"),
    "a status of nobody": (["status", "--url", "127.0.0.1:1"], 2, "no kairos answers at http://127.0.0.1:1: "),
    "dead letters of no kind": (["dead-letters", "list", "--kind", "txt"], 1, "there is no kind `txt`"),
    "why, without settings": (["explain", "1"], 1, "kairos.toml: is not there; name the file with --settings"),
    "why, without a store": (["explain", "1", "--store", "no.db"], 1, "there is no store at `no.db`; name it with"),
    "why, of another file": (["explain", "1", "--store", EXAMPLE / "kairos.toml"], 1, "file is not a database"),
    "an unknown bench": (["bench", "rulse"], 1, "there is no bench `rulse`; did you mean `rules`?"),
    "no duration": (["demo", "--for", "soon"], 1, "`soon` is no duration; write it like 20s or 2m"),
    "a duration below nothing": (["demo", "--for=-3s"], 1, "`-3s` is no duration"),
    "a duration without end": (["demo", "--for", "inf"], 1, "`inf` is no duration"),
    "a demo of nobody": (["demo", "--subscribers", "0"], 2, "Invalid value for '--subscribers'"),
    "a demo of nothing": (
        ["demo", "--playbook", "none", "--for", "1s"],
        1,
        "none/kairos.toml: is not there; the demo needs one beside the playbook",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_on_standard_error(kairos: Run, case: str) -> None:
    arguments, expected, words = WRONG[case]
    status, out, err = kairos(*arguments)
    assert (status, out) == (expected, "")
    assert words in err
    assert "Traceback" not in err


def test_a_new_playbook_checks_and_passes_its_tests(kairos: Run) -> None:
    status, out, err = kairos("new", "shops/corner")
    assert (status, err) == (0, "")
    assert out.endswith("Next: kairos check shops/corner && kairos test shops/corner\n")
    assert kairos("check", "shops/corner")[0] == 0
    status, out, err = kairos("test", "shops/corner")
    assert (status, err) == (0, "")
    assert out.endswith(" passed, 0 failed\n")


def test_a_new_playbook_comes_with_settings_that_fit_it(kairos: Run, tmp_path: Path) -> None:
    kairos("new", "shop")
    settings = load_settings(tmp_path / "shop" / "kairos.toml", {})
    assert Path(settings.playbook) == tmp_path / "shop"
    patterns = read_patterns(settings, compile_program(read(load_texts(Path(settings.playbook)))))
    text = "Your data session cost T$0.35. Balance T$12.40, data 118.5 MB until 2026-11-24 18:00. Ref 8f3a21"
    found = patterns.match("ocs", text)
    assert found is not None
    assert (found.kind, found.data["service"], found.data["cost"]) == ("end_of_call", "data", 35)
    status, _, err = kairos("run", "--settings", "shop/kairos.toml")
    assert status == 1
    assert err.splitlines() == [
        "`accounts.ocs.password` is not set; set KAIROS_ACCOUNTS_OCS_PASSWORD",
        "`smsc.password` is not set; set KAIROS_SMSC_PASSWORD",
    ]


def test_a_new_playbook_in_this_empty_folder_takes_its_name(kairos: Run, tmp_path: Path) -> None:
    assert kairos("new", ".")[0] == 0
    assert f'name: "{tmp_path.name}"' in (tmp_path / "playbook.yaml").read_text(encoding="utf-8")


def test_everything_wrong_in_a_playbook_is_said_with_paths_that_an_editor_can_open(kairos: Run, tmp_path: Path) -> None:
    kairos("new", "shop")
    (tmp_path / "shop" / "extra.yaml").write_bytes(b"\xff\xfe\x00")
    status, out, err = kairos("check", "shop")
    assert (status, out) == (1, "")
    assert err.startswith("shop/extra.yaml")
    (tmp_path / "shop" / "extra.yaml").unlink()
    policy = tmp_path / "shop" / "contact_policy.yaml"
    policy.write_text(policy.read_text(encoding="utf-8") + "\nquite_hours: 1\n", encoding="utf-8")
    replies = tmp_path / "shop" / "replies.yaml"
    replies.write_text(replies.read_text(encoding="utf-8") + "\nshort: 1\n", encoding="utf-8")
    for command in ("check", "test"):
        status, out, err = kairos(command, "shop")
        assert (status, out) == (1, "")
        assert "unknown key `quite_hours`; did you mean `quiet_hours`?" in err
        assert "`short`" in err
        for line in err.splitlines():
            assert (tmp_path / line.partition(":")[0]).is_file(), line


def test_a_test_that_fails_is_said_with_its_place(kairos: Run, tmp_path: Path) -> None:
    kairos("new", "shop")
    (tmp_path / "shop" / "tests" / "mine.yaml").write_text(
        "- test: everybody gets the booster\n  given: {}\n  when: {end_of_call: {}}\n  then: {offer: booster}\n"
    )
    status, out, err = kairos("test", "shop")
    assert (status, out) == (1, "3 passed, 1 failed\n")
    assert err.startswith("shop/tests/mine.yaml:1: `everybody gets the booster`: expected `booster`, got `none`")


def test_messages_are_measured_on_request(kairos: Run) -> None:
    status, out, err = kairos("check", EXAMPLE, "--messages")
    assert (status, err) == (0, "")
    head, *rows, last = out.splitlines()
    assert head.split() == ["message", "language", "text", "encoding", "units", "parts"]
    assert last.endswith(": sound")
    languages = {row.split()[1] for row in rows}
    assert languages == {"en", "fr", "ar"}
    for row in rows:
        _, language, number, encoding, units, parts = row.split()
        assert encoding == "ucs2" if language == "ar" else encoding in ("gsm7", "ucs2")
        assert int(number) >= 1
        assert int(parts) == 1 or int(units) > 70
    assert len({len(row) for row in (head, *rows)}) == 1
    assert "  " not in kairos("check", EXAMPLE)[1]


def loaded_after(*arguments: str) -> set[str]:
    """The modules that a command has loaded when it is done."""
    code = (
        "import json, sys\nfrom kairos.cli import main\n"
        f"sys.argv = {['kairos', *arguments]!r}\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"fastapi", "uvicorn", "httpx", "sqlite3", "numpy", "sqlglot", "yaml", "structlog", "msgspec"}),
        (["check", str(EXAMPLE)], {"fastapi", "uvicorn", "httpx", "sqlite3", "prometheus_client", "phonenumbers"}),
        (["test", str(EXAMPLE)], {"fastapi", "uvicorn", "httpx", "sqlite3", "prometheus_client"}),
    ],
)
def test_a_command_loads_no_more_than_it_needs(arguments: list[str], heavy: set[str]) -> None:
    loaded: Any = loaded_after(*arguments)
    assert heavy & loaded == set()
