"""`kairos key`, `kairos audit`, and what commands say where a lock refuses them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from kairos.adapters.audit.trail import note
from kairos.adapters.callers import hashed
from kairos.adapters.sqlite import SqliteStore
from kairos.errors import SettingsError
from kairos.settings import read_settings, require_passwords

Kairos = Callable[..., tuple[int, str, str]]


def test_a_key_is_made_and_what_it_says_can_be_set(kairos: Kairos) -> None:
    status, out, _ = kairos("key", "care-desk", "--roles", "care decide")
    assert status == 0
    (key,) = re.findall(r"^    (kairos_\S+)$", out, re.MULTILINE)
    (section,) = re.findall(r"(\[clients\.care-desk\]\n *roles = .*)", out)
    name, _, value = re.findall(r"^    (KAIROS_\S+)$", out, re.MULTILINE)[0].partition("=")
    assert value == key
    client = read_settings(section, {name: value}).clients["care-desk"]
    assert (client.key, client.roles) == (key, "care decide")
    (line,) = re.findall(r"^    (key_sha256 = .*)$", out, re.MULTILINE)
    assert read_settings(f"{section}\n{line}", {}).clients["care-desk"].key_sha256 == hashed(key)
    assert key not in kairos("key", "care-desk")[1]


def test_authorities_that_cannot_be_read_are_said(kairos: Kairos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_CA_FILE", "gone.pem")
    status, _, err = kairos("status", "--url", "https://127.0.0.1:1")
    assert status == 1
    assert err.strip() == "`gone.pem`, which KAIROS_CA_FILE names, cannot be used: No such file or directory"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a b",), "`a b` is no name of a client"),
        (("care", "--roles", "cair"), "unknown role `cair`; did you mean `care`?"),
    ],
)
def test_a_key_for_nobody(kairos: Kairos, arguments: tuple[str, ...], said: str) -> None:
    status, out, errors = kairos("key", *arguments)
    assert (status, out) == (1, "")
    assert said in errors


# -- the trail ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """Of a store that is not there: nobody needs one to read it."""
    folder = tmp_path / "kairos.db-audit"
    (tmp_path / "kairos.toml").touch()
    note(folder, "", "ada", "switch off", "marketing: about +12025550123")
    note(folder, "", "grace", "dead-letters replay", "7 8", times=2)
    return folder


def test_who_did_what(kairos: Kairos, trail: Path) -> None:
    status, out, errors = kairos("audit")
    assert status == 0
    assert [re.split(r"  +", line)[1:] for line in out.splitlines()] == [
        ["cli:ada", "switch off", re.split(r"  +", out.splitlines()[0])[3]],
        ["cli:grace", "dead-letters replay", "2 times", "7 8"],
    ]
    assert "12025550123" not in out
    assert "2 lines, whole; the last is 2:" in errors
    assert [json.loads(line)["n"] for line in kairos("audit", "--json", "--last", "1")[1].splitlines()] == [2]
    assert kairos("audit", "--client", "cli:ada")[1].count("\n") == 1


def test_a_line_that_was_changed_is_named(kairos: Kairos, trail: Path) -> None:
    (file,) = trail.glob("*.jsonl")
    file.write_text(file.read_text().replace("cli:ada", "cli:eve"))
    status, _, errors = kairos("audit")
    assert status == 1
    assert f"{file.name}:1: the seal of line 1 does not fit" in errors


def test_who_reads_the_store_past_the_door_is_in_its_trail(kairos: Kairos, trail: Path, tmp_path: Path) -> None:
    SqliteStore(tmp_path / "kairos.db").close()
    for command in (
        ("explain", "+12025550123"),
        ("explain", "77"),
        ("report", "fairness", "--by", "region"),
        ("dead-letters", "list"),
        ("dead-letters", "explain", "7"),
    ):
        assert "Traceback" not in kairos(*command)[2]
    lines = [json.loads(line) for line in kairos("audit", "--json")[1].splitlines()][2:]
    assert [(one["did"], one.get("detail", "")) for one in lines] == [
        ("explain", ""),
        ("explain", "77"),
        ("report fairness --by region", ""),
        ("dead-letters list", ""),
        ("dead-letters explain", "7"),
    ]
    about = kairos("audit", "--subscriber", "+12025550123")[1]
    assert (about.count("\n"), "explain" in about) == (1, True)


def test_where_no_trail_is_reading_makes_none(kairos: Kairos, tmp_path: Path) -> None:
    SqliteStore(tmp_path / "kairos.db").close()
    assert "nobody" not in kairos("explain", "+12025550123", "--store", "kairos.db")[2]
    assert not (tmp_path / "kairos.db-audit").exists()


def test_lines_that_were_cut_off_are_missed_by_who_noted_the_last(kairos: Kairos, trail: Path) -> None:
    head = re.findall(r"the last is (\S+)", kairos("audit")[2])[0]
    assert kairos("audit", "--holds", head)[0] == 0
    (file,) = trail.glob("*.jsonl")
    file.write_text(file.read_text().splitlines(keepends=True)[0])
    assert kairos("audit")[0] == 0
    status, _, errors = kairos("audit", "--holds", head)
    assert status == 1
    assert "there is no line 2 with that seal" in errors
    assert "write its number and seal" in kairos("audit", "--holds", "2")[2]


def test_where_no_seal_fits_the_key_is_another(kairos: Kairos, trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_AUDIT_KEY", "x" * 40)
    status, _, errors = kairos("audit")
    assert (status, errors.count("\n")) == (1, 2)
    assert "another key made them; set KAIROS_AUDIT_KEY" in errors


def test_no_trail(kairos: Kairos, tmp_path: Path) -> None:
    (tmp_path / "kairos.toml").touch()
    status, _, errors = kairos("audit")
    assert status == 1
    assert "there is no audit trail in `kairos.db-audit`" in errors


# -- a door with a lock ------------------------------------------------------------------------------------------------


@pytest.fixture
def locked() -> Iterator[str]:
    """A door that knows one key, which is too little for all but the status."""

    class Door(BaseHTTPRequestHandler):
        def answer(self) -> None:
            known = self.headers.get("authorization") == "Bearer of-ada"
            status = (200 if self.command == "GET" else 403) if known else 401
            body = json.dumps({"detail": "this needs the role `marketer`", "troubles": [], "well": True}).encode()
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Not here."""

    server = HTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_commands_show_the_key_of_the_environment(kairos: Kairos, locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, errors = kairos("status", "--url", locked)
    assert status == 2
    assert "its lock does not know us; set KAIROS_KEY to a key or token" in errors
    status, _, errors = kairos("try", "+12025550123", "booster", "--url", locked)
    assert (status, "set KAIROS_KEY" in errors) == (1, True)
    monkeypatch.setenv("KAIROS_KEY", "of-ada")
    assert kairos("status", "--url", locked, "--json")[0] == 0
    status, _, errors = kairos("try", "+12025550123", "booster", "--url", locked)
    assert (status, "we may not: this needs the role `marketer`" in errors) == (1, True)


# -- what kairos does not start with -----------------------------------------------------------------------------------

PASSWORDS = {"KAIROS_SMSC_PASSWORD": "p"}
LONG = "x" * 32
REFUSED: dict[str, tuple[str, dict[str, str], str]] = {
    "open to all, and no lock": (
        '[http]\nhost = "0.0.0.0"',
        {},
        "the HTTP door would be open to anybody who reaches 0.0.0.0: .*; add a \\[clients.NAME\\] with",
    ),
    "a name that may be any address": ('[http]\nhost = "kairos.example"', {}, "would be open"),
    "a client without a key": (
        '[clients.care-desk]\nroles = "care"',
        {},
        "`clients.care-desk.key` is not set; set KAIROS_CLIENTS_CARE_DESK_KEY to what `kairos key care-desk` makes",
    ),
    "a key that can be guessed": (
        '[clients.a]\nroles = "care"',
        {"KAIROS_CLIENTS_A_KEY": "hunter2"},
        "`clients.a.key` is shorter than 32 characters",
    ),
    "a key in the file": (
        f'[clients.a]\nroles = "care"\nkey = "{LONG}"',
        {},
        ":3: `key` does not belong in the file; set KAIROS_CLIENTS_A_KEY",
    ),
    "a secret that no section has": ('[http]\nsecret = "hunter2"', {}, "`secret` does not belong in the file"),
    "the key of the trail in the file": ('[audit]\nkey = "hunter2"', {}, ":2: `key` does not belong in the file"),
    "an unknown role": (
        '[clients.a]\nroles = "care ingst"',
        {"KAIROS_CLIENTS_A_KEY": LONG},
        ":2: unknown role `ingst`; did you mean `ingest`?",
    ),
    "a client without roles": ("[clients.a]", {}, ":1: `clients.a.roles` is missing"),
    "a client with a strange name": ('[clients."a b"]\nroles = "care"', {}, "must be a name of 1 to 32 letters"),
    "no hash": ('[clients.a]\nroles = "care"\nkey_sha256 = "abc"', {}, "must be SHA-256 hashes of 64 hex digits"),
    "tokens with a secret": ('[oidc]\nalgorithms = "HS256"', {}, "`HS256` is no algorithm for tokens"),
    "tokens without a signature": ('[oidc]\nalgorithms = "none"', {}, "`none` is no algorithm for tokens"),
    "an issuer over plain HTTP": ('[oidc]\nissuer = "http://login.example"', {}, "is no HTTPS address"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_kairos_does_not_start_so(case: str) -> None:
    text, environment, said = REFUSED[case]
    with pytest.raises(SettingsError, match=said) as raised:
        require_passwords(read_settings(text, PASSWORDS | environment))
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        '[http]\nhost = "::1"',
        '[http]\nhost = "0.0.0.0"\ninsecure = true',
        f'[http]\nhost = "0.0.0.0"\n[clients.a]\nroles = "care"\nkey_sha256 = "{"0" * 64} {"1" * 64}"',
        '[http]\nhost = "0.0.0.0"\n[oidc]\nissuer = "https://login.example"',
        "",
    ],
)
def test_kairos_starts_so(text: str) -> None:
    require_passwords(read_settings(text, PASSWORDS))


def test_clients_can_come_from_the_environment_alone() -> None:
    environment = {
        "KAIROS_CLIENTS_CARE_DESK_ROLES": "care",
        "KAIROS_CLIENTS_CARE_DESK_KEY_SHA256": "0" * 64,
        "KAIROS_CLIENTS_CARE_DESK_RATE": "5",
        "KAIROS_ACCOUNTS_OCS_IDENTITY_TLV": "5",
        "KAIROS_KEY": "of a command",
    }
    settings = read_settings("[accounts.ocs]", environment)
    assert settings.clients["care_desk"].rate == 5
    assert settings.accounts["ocs"].identity_tlv == 5


def test_a_field_of_a_pattern_may_be_called_key() -> None:
    text = '[accounts.ocs]\n[[patterns]]\naccount = "ocs"\nlanguage = "en"\nevent = "e"\ntexts = ["x"]'
    text += '\nwords.key = {a = "b"}'
    assert read_settings(text, {}).patterns[0].words == {"key": {"a": "b"}}
