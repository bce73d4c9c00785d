"""`kairos run` as a process: it starts or says why not, it ends when asked; and `kairos explain` reads beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.noon import example_at_noon

from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.records import SqliteRecords
from kairos.domain.inputs import Response
from kairos.errors import StoreError
from kairos.ports import Batch

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid" / "kairos.toml"
SETTINGS = ("--settings", str(EXAMPLE))
LONG = 60.0  # seconds; no run comes near


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings of a kairos of its own: a store in the test's folder, free ports, nobody else to talk to."""
    ours = {
        "KAIROS_SMSC_PASSWORD": "one",
        "KAIROS_SMSC_PORT": "1",
        "KAIROS_CHANNELS_IVR_SECRET": "whsec_" + "MDEy" * 8,
        "KAIROS_CHANNELS_IVR_KEY": "thediallerknowsit",
        "KAIROS_ACCOUNTS_OCS_PASSWORD": "two",
        "KAIROS_ACCOUNTS_INFO_PASSWORD": "three",
        "KAIROS_STORE_PATH": str(tmp_path / "kairos.db"),
        "KAIROS_HTTP_PORT": "0",
        "KAIROS_NOTIFICATIONS_PORT": "0",
        "KAIROS_LEARNING_ON": "false",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("KAIROS_")} | ours


def run_to_its_end(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kairos.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONG)


def refused(environment: dict[str, str]) -> str:
    """What a run that does not start says: one line, beside its log (the SMSC may be known to be away by then)."""
    done = run_to_its_end(environment, "run", "--settings", str(EXAMPLE))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    return line


class Server:
    """A running `kairos run`."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "kairos.cli", "run", "--settings", str(EXAMPLE), "--announce"]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.ports: dict[str, int] = json.loads(self.process.stdout.readline())

    def post(self, kind: str, identity: str, **data: Any) -> Any:
        event = {
            "specversion": "1.0",
            "type": kind,
            "source": "test",
            "id": identity,
            "subject": "+12025550123",
            "time": datetime.now(UTC).isoformat(),
            "data": data,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['http_port']}/v1/events",
            json.dumps(event).encode(),
            {"Content-Type": "application/cloudevents+json"},
        )
        with urllib.request.urlopen(request, timeout=LONG) as response:
            return json.load(response)["results"][0]["status"]

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=LONG)
        return self.process.returncode, errors


@pytest.fixture
def server(environment: dict[str, str]) -> Iterator[Server]:
    started = Server(environment)
    yield started
    if started.process.returncode is None:
        started.end(signal.SIGKILL)


@pytest.mark.parametrize("section", ["http", "notifications"])
def test_a_port_in_use(environment: dict[str, str], section: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refused(environment | {f"KAIROS_{section.upper()}_PORT": str(port)})
    assert said == (
        f"cannot listen on 127.0.0.1:{port}: address already in use; "
        f"is another kairos running? else set `host` and `port` of [{section}]"
    )


def test_a_host_that_is_none(environment: dict[str, str]) -> None:
    assert "cannot listen on 999.1.1.1:" in refused(
        environment | {"KAIROS_HTTP_HOST": "999.1.1.1", "KAIROS_HTTP_INSECURE": "true"}
    )


def test_a_playbook_that_is_not_there(environment: dict[str, str], tmp_path: Path) -> None:
    said = refused(environment | {"KAIROS_PLAYBOOK": str(tmp_path / "none")})
    assert said == f"{tmp_path}/none: there is no such folder; kairos new {tmp_path}/none makes one"
    assert not (tmp_path / "kairos.db").exists()


def test_a_store_in_no_folder(environment: dict[str, str], tmp_path: Path) -> None:
    said = refused(environment | {"KAIROS_STORE_PATH": str(tmp_path / "none" / "kairos.db")})
    assert said.startswith(f"cannot open the store `{tmp_path}/none/kairos.db`: No such file or directory")


def test_a_store_of_a_newer_kairos(environment: dict[str, str], tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "kairos.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer than this kairos knows" in refused(environment)


def test_a_store_that_another_kairos_has_open(environment: dict[str, str], server: Server) -> None:
    assert "it is open already; stop the other kairos first" in refused(environment)
    assert server.post("profile", "1", plan="prepaid") == "applied"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(server: Server, number: int) -> None:
    status, errors = server.end(number)
    assert status == 0
    assert "Traceback" not in errors


def test_an_smsc_that_is_not_there_is_said(server: Server) -> None:
    assert server.process.stderr is not None
    said = next(line for line in server.process.stderr if "SMSC" in line)
    told = json.loads(said)
    assert (told["event"], told["address"]) == ("not bound to the SMSC; trying again", "127.0.0.1:1")
    assert "refused" in told["reason"].lower()


def test_explain_reads_while_the_server_runs_and_after_it_was_killed(
    environment: dict[str, str], server: Server, tmp_path: Path
) -> None:
    assert server.post("profile", "1", plan="prepaid", language="en", marketing_consent=True) == "applied"
    assert server.post("end_of_call", "2", service="voice", cost="1.25") == "applied"
    while_running = explained(environment, "+12025550123")
    server.end(signal.SIGKILL)
    assert explained(environment, "+12025550123") == while_running
    (answer,) = while_running
    assert (answer["msisdn"], answer["kind"]) == ("12025550123", "end_of_call")
    assert (answer["known"]["end_of_call.cost"], answer["shown"]["end_of_call.cost"]) == (125, "T$1.25")
    assert explained(environment, str(answer["decision"])) == while_running
    assert explained({}, str(answer["decision"]), "--store", str(tmp_path / "kairos.db")) == while_running
    unknown = run_to_its_end(environment, "explain", "77", "--settings", str(EXAMPLE))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "no decision is known of `77`; give a subscriber's number or a decision's id\n"


def test_explain_is_readable_in_80_columns(environment: dict[str, str], server: Server) -> None:
    server.post("profile", "1", plan="prepaid", language="en", marketing_consent=True)
    server.post("end_of_call", "2", service="voice", cost="1.25")
    done = run_to_its_end(environment | {"COLUMNS": "80"}, "explain", "+12025550123", "--settings", str(EXAMPLE))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["subscriber", "+12025550123"] for line in lines)
    assert any(line.split() == ["service", "voice", "cost", "T$1.25"] for line in lines)
    assert "…" not in done.stdout


def test_status_says_what_is_wrong_and_its_exit_status_does(environment: dict[str, str], server: Server) -> None:
    there = ("--url", f"http://127.0.0.1:{server.ports['http_port']}")
    switched = run_to_its_end(environment, "switch", "marketing", "off", "--reason", "wrong prices", *SETTINGS)
    assert switched.returncode == 0
    assert server.post("profile", "1", plan="prepaid") == "applied"

    def told() -> tuple[int, dict[str, Any]]:
        done = run_to_its_end(environment, "status", *SETTINGS, *there, "--json")
        return done.returncode, json.loads(done.stdout)

    status, found = told()
    while len(found["troubles"]) < 2:  # it looks every second
        status, found = told()
    assert (status, found["well"], found["counts"]["events"]) == (1, False, 1)
    unbound, off = found["troubles"]
    assert unbound.startswith("not bound to the SMSC 127.0.0.1:1 for ")
    assert off.startswith("marketing is off since ")
    assert off.endswith(": wrong prices")
    shown = run_to_its_end(environment | {"COLUMNS": "80"}, "status", *SETTINGS, *there)
    assert shown.returncode == 1
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert shown.stdout.startswith("✗ not bound to the SMSC")
    server.end(signal.SIGTERM)
    gone = run_to_its_end(environment, "status", *SETTINGS, *there)
    assert (gone.returncode, gone.stdout) == (2, "")
    assert gone.stderr.startswith("no kairos answers at http://127.0.0.1:")


def test_an_offer_is_tried_on_a_test_subscriber_and_on_nobody_else(environment: dict[str, str], tmp_path: Path) -> None:
    folder = example_at_noon(tmp_path / "playbook")
    (folder / "seeds.yaml").write_text('testers: [{name: Ada, msisdn: "+12025550123"}]', encoding="utf-8")
    server = Server(environment | {"KAIROS_PLAYBOOK": str(folder)})
    door = f"http://127.0.0.1:{server.ports['http_port']}"

    def tried(*arguments: str) -> tuple[int, str]:
        done = run_to_its_end(environment, "try", *arguments, *SETTINGS, "--url", door)
        return done.returncode, done.stdout + done.stderr

    try:
        status, said = tried("+12025550123", "music_pass")
        assert (status, "is on its way to +12025550123" in said) == (0, True), said
        assert tried("+12025550199", "music_pass") == (1, "`12025550199` is no test subscriber; add it to seeds.yaml\n")
        assert tried("+12025550123", "music_pas") == (1, "unknown offer `music_pas`; did you mean `music_pass`?\n")
        off = json.dumps({"on": False, "reason": "wrong prices"}).encode()
        turn = urllib.request.Request(f"{door}/v1/switches/marketing", off, method="PUT")
        urllib.request.urlopen(turn, timeout=LONG).close()
        status, said = tried("+12025550123", "music_pass")
        assert (status, said.startswith("`music_pass` is not sent: switch marketing;")) == (1, True), said
        status, said = tried("+12025550123", "music_pass", "--past-switches")
        assert status == 0, said
        shown = run_to_its_end(environment, "explain", "+12025550123", *SETTINGS).stdout
        assert "a test subscriber, to get music_pass" in shown
    finally:
        server.end(signal.SIGTERM)
    assert tried("+12025550123", "music_pass")[0] == 2


def explained(environment: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    settings = () if "--store" in arguments else ("--settings", str(EXAMPLE))
    done = run_to_its_end(environment, "explain", *arguments, *settings, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


# -- reading a store's file --------------------------------------------------------------------------------------------


def test_what_is_read_beside_the_store_is_what_the_store_reads(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "k.db")
    store.save_playbook("r1", "l1", {"a.yaml": "é"})
    responses = [Response(1, 1, "o", "accepted", "", 5), Response(1, 1, "o", "fulfilled", "", 6)]
    store.commit(
        Batch(
            states={1: b"one", 2: b"two"},
            identities=[("msisdn", "15550100", 1, 0)],
            decisions=[(1, 1, 0, b"record")],
            responses=responses,
        )
    )
    records = SqliteRecords(tmp_path / "k.db")
    assert records.epoch == store.epoch
    assert records.load(["15550100", "15550101"], [2]) == store.load(["15550100", "15550101"], [2])
    assert (records.decision(1), records.decision(2)) == (b"record", None)
    assert records.responses("o") == responses
    assert (records.playbook("r1"), records.playbook("r2")) == ({"a.yaml": "é"}, None)
    store.commit(Batch(states={2: b"newer"}))
    assert records.load([], [2]).states == {2: b"newer"}
    with pytest.raises(StoreError, match="cannot read the store"):
        records.decision(2**70)
    records.close()
    store.close()


@pytest.mark.parametrize("content", [None, b"", b"no database" * 500])
def test_a_file_that_is_no_store(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "k.db").write_bytes(content)
    with pytest.raises(StoreError, match=r"k\.db`"):
        SqliteRecords(tmp_path / "k.db")
    assert (tmp_path / "k.db").exists() == (content is not None)


def test_a_rejected_event_is_kept_where_asked_and_tried_again_beside_the_server(environment: dict[str, str]) -> None:
    server = Server(environment | {"KAIROS_RETENTION_REJECTED_EVENTS": "true"})
    try:
        with pytest.raises(urllib.error.HTTPError):
            server.post("weather", "odd", degrees=20)
        stats = f"http://127.0.0.1:{server.ports['http_port']}/v1/stats"
        deadline = time.monotonic() + LONG
        seen: dict[str, Any] = {}
        while "dead_letters.rejected" not in seen.get("gauges", {}):
            assert time.monotonic() < deadline
            with urllib.request.urlopen(stats, timeout=LONG) as response:
                seen = json.load(response)
        letters = ("dead-letters", "list", "--settings", str(EXAMPLE), "--json")
        (found,) = map(json.loads, run_to_its_end(environment, *letters).stdout.splitlines())
        assert (found["kind"], found["identity"], found["status"]) == ("rejected", "test/odd", "new")
        assert found["payload"]["data"] == {"degrees": 20}
        done = run_to_its_end(environment, "dead-letters", "replay", str(found["id"]), "--settings", str(EXAMPLE))
        assert (done.returncode, done.stderr) == (0, "")
        found["status"] = "replay"
        while found["status"] == "replay":
            assert time.monotonic() < deadline
            (found,) = map(json.loads, run_to_its_end(environment, *letters).stdout.splitlines())
    finally:
        _, errors = server.end(signal.SIGTERM)
    assert "a dead letter cannot be replayed" in errors
