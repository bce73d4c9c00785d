"""The audit trail: what is told is there, in order, and nobody changes it unseen."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kairos.adapters.audit.chain import Chain, Fault, opened, read
from kairos.adapters.audit.trail import Trail, note
from kairos.adapters.pseudonyms import Pseudonyms, key_in
from kairos.domain.caller import Caller
from kairos.errors import KairosError
from kairos.ingest import read_name

KEY = b"of this test, and of no installation"
CARE = Caller("care", "ada")
WHOM = Pseudonyms(KEY).of("12025550123")


def lines(folder: Path, key: bytes = KEY) -> list[dict[str, Any]]:
    """All of them; they fit."""
    found = list(read(folder, key))
    assert [one for one in found if isinstance(one, Fault)] == []
    return [one for one in found if isinstance(one, dict)]


def faults(folder: Path, key: bytes = KEY) -> list[str]:
    return [f"{one.line}: {one.why}" for one in read(folder, key) if isinstance(one, Fault)]


@pytest.fixture
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trail:
    monkeypatch.setattr("kairos.adapters.audit.trail.PATIENCE", 60.0)
    return Trail(Chain(tmp_path, KEY), Pseudonyms(KEY), partial(read_name, region="GB"))


def file_of(folder: Path) -> Path:
    (found,) = folder.glob("*.jsonl")
    return found


async def test_a_change_is_on_the_disk_before_it_is_answered(trail: Trail, tmp_path: Path) -> None:
    trail.start()
    await trail.first(CARE, "PUT /v1/switches/{name}", "", 200, "192.0.2.1", "marketing off: wrong prices")
    (line,) = lines(tmp_path)
    assert {name: line[name] for name in ("n", "client", "subject", "from", "did", "status", "detail")} == {
        "n": 1,
        "client": "care",
        "subject": "ada",
        "from": "192.0.2.1",
        "did": "PUT /v1/switches/{name}",
        "status": 200,
        "detail": "marketing off: wrong prices",
    }
    trail.close()


async def test_reads_are_written_soon_and_counts_at_the_end(trail: Trail, tmp_path: Path) -> None:
    trail.start()
    for number in ("+12025550123", "12025550123", "msisdn:+12025550123"):
        trail.line(CARE, "GET /v1/subscribers/{name}", number, 200, "", "seen by +12025550123\r\nforged")
    for status in (200, 200, 503):
        trail.counted(Caller("ocs"), "POST /v1/events", status)
    async with asyncio.timeout(60):
        while not os.listdir(tmp_path):
            await asyncio.sleep(0.01)
    trail.close()
    *read_, two, one = lines(tmp_path)
    assert [line["about"] for line in read_] == [WHOM] * 3
    assert {line["detail"] for line in read_} == {f"seen by {WHOM}\\x0d\\x0aforged"}
    assert [(line["status"], line.get("times")) for line in (two, one)] == [(200, 2), (503, None)]
    assert "12025550123" not in file_of(tmp_path).read_text()


async def test_while_it_cannot_be_written_lines_wait_and_it_is_said(
    trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kairos.adapters.audit.trail.WAITING", 3)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        trail.start()
        await trail.first(CARE, "PUT /v1/switches/{name}", "", 200, "", "off")
        assert trail.trouble == "the audit trail cannot be written: No space left on device"
        for _ in range(4):
            trail.line(CARE, "GET /v1/purchases/{key}", "", 200, "", "")
            await asyncio.sleep(0)
    await trail.first(CARE, "PUT /v1/switches/{name}", "", 200, "", "on")
    trail.close()
    assert trail.trouble == ""
    told = [line["did"] for line in lines(tmp_path)]
    assert told[0] == "PUT /v1/switches/{name}"
    assert sum(line.get("times", 1) for line in lines(tmp_path)) == 6  # each is there, or counted as lost


def test_a_run_that_added_nothing_tells_the_last_line_of_those_before(trail: Trail, tmp_path: Path) -> None:
    filled(tmp_path)
    with capture_logs() as logs:
        trail.start()
        trail.close()
    (told,) = [one for one in logs if one["event"] == "the audit trail so far"]
    assert (told["lines"], told["seal"]) == (6, lines(tmp_path)[-1]["seal"])


def filled(folder: Path, count: int = 6) -> list[bytes]:
    chain = Chain(folder, KEY)
    for number in range(count):
        chain.add([{"at": number, "did": f"thing {number}"}])
    return file_of(folder).read_bytes().splitlines(keepends=True)


TAMPERED: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "changed": lambda kept: [*kept[:2], kept[2].replace(b"thing 2", b"thing 9"), *kept[3:]],
    "taken out": lambda kept: [*kept[:2], *kept[3:]],
    "added": lambda kept: [*kept[:3], kept[2], *kept[3:]],
    "reordered": lambda kept: [*kept[:2], kept[3], kept[2], *kept[4:]],
    "its beginning cut off": lambda kept: kept[2:],
    "a line that is none": lambda kept: [*kept[:2], b"nothing\n", *kept[2:]],
    "cut in the middle": lambda kept: [*kept[:5], kept[5][:20]],
    "nested": lambda kept: [*kept, b"[" * 10_000 + b"\n"],
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_is_done_to_it_is_seen(tmp_path: Path, how: str) -> None:
    kept = filled(tmp_path)
    assert len(lines(tmp_path)) == 6
    file_of(tmp_path).write_bytes(b"".join(TAMPERED[how](kept)))
    assert faults(tmp_path)


CUTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "some": lambda kept: kept[:3],
    "all": lambda kept: kept[:0],
    "others in their place": lambda kept: [*kept[:3], kept[3].replace(b"thing", b"other"), *kept[3:], kept[4]],
}


@pytest.mark.parametrize("how", CUTS)
def test_what_is_cut_from_under_a_running_one_is_told_in_the_trail_and_in_status(
    tmp_path: Path, trail: Trail, how: str
) -> None:
    chain = trail._chain
    for number in range(5):
        chain.add([{"at": number, "did": f"thing {number}"}])
    seal, file = chain.seal, file_of(tmp_path)
    file.write_bytes(b"".join(CUTS[how](file.read_bytes().splitlines(keepends=True))))
    trail.start()
    trail.line(CARE, "GET /v1/purchases/{key}", "", 200, "", "")
    trail.close()
    told = [one for one in read(tmp_path, KEY) if isinstance(one, dict)]
    assert [line["did"] for line in told[-2:]] == ["cut", "GET /v1/purchases/{key}"]
    assert told[-2]["detail"].startswith(f"line 5 with the seal {seal} is gone")
    assert trail.trouble == "lines of the audit trail were taken out or changed: line 5 is gone"
    assert f"line 5 with the seal {seal} is gone" in faults(tmp_path)[-1]


def test_what_a_command_adds_is_no_cut(tmp_path: Path, trail: Trail) -> None:
    for number in range(3):
        trail._chain.add([{"at": number, "did": "ours"}])
        Chain(tmp_path, KEY).add([{"at": number, "did": "of a command"}])
    assert (trail._chain.trouble, len(lines(tmp_path))) == ("", 6)


def test_who_has_another_key_cannot_seal(tmp_path: Path) -> None:
    filled(tmp_path)
    Chain(tmp_path, b"another").add([{"at": 1, "did": "forged"}])
    assert faults(tmp_path) == ["7: the seal of line 7 does not fit"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_change_of_a_byte_passes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("trail")
    whole = b"".join(filled(folder, 3))
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    file_of(folder).write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
    assert faults(folder) or len([*read(folder, KEY)]) != 3


def test_a_line_that_a_power_cut_tore_is_told_and_what_follows_fits(tmp_path: Path) -> None:
    kept = filled(tmp_path)
    file_of(tmp_path).write_bytes(b"".join(kept[:-1]) + kept[-1][:30])
    Chain(tmp_path, KEY).add([{"at": 7, "did": "thing 7"}])
    assert [line["did"] for line in lines(tmp_path)[-2:]] == ["torn", "thing 7"]


def test_several_add_in_turn(tmp_path: Path) -> None:
    def add(chain: Chain) -> None:
        for number in range(30):
            chain.add([{"at": number, "did": "a"}, {"at": number, "did": "b"}], sync=False)

    threads = [threading.Thread(target=add, args=(Chain(tmp_path, KEY),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(tmp_path)) == 240


def test_old_months_can_be_deleted(tmp_path: Path) -> None:
    filled(tmp_path)
    file_of(tmp_path).rename(tmp_path / "2020-01.jsonl")
    Chain(tmp_path, KEY).add([{"at": 7, "did": "thing 7"}])
    assert len(lines(tmp_path)) == 7
    (tmp_path / "2020-01.jsonl").unlink()
    assert [line["n"] for line in lines(tmp_path)] == [7]


def test_a_command_adds_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "kairos.db-audit"
    note(folder, "", "ada", "dead-letters replay", "7 8", times=2)
    note(folder, "", "ada", "erase", "asked by +12025550123", about="12025550123")
    _, key = opened(folder, "")
    line, erased = lines(folder, key)
    whom = Pseudonyms(key).of("12025550123")
    assert (erased["about"], erased["detail"]) == (whom, f"asked by {whom}")
    assert (line["client"], line["detail"], line["times"]) == ("cli:ada", "7 8", 2)
    assert (folder / "key").stat().st_mode & 0o77 == 0


def test_the_key_is_made_once_and_one_that_is_given_is_not_mixed_with_another(tmp_path: Path) -> None:
    first = key_in(tmp_path / "a", "")
    assert len(first) == 64
    assert key_in(tmp_path / "a", "") == first
    note(tmp_path / "b", "given in the environment, and long", "ada", "switch off")
    with pytest.raises(KairosError, match="sealed with another key; set KAIROS_AUDIT_KEY"):
        opened(tmp_path / "b", "")


def test_a_client_that_is_a_number_has_a_pseudonym(tmp_path: Path, trail: Trail) -> None:
    trail.start()
    trail.line(Caller("oidc:12025550123", "12025550123"), "GET /v1/status", "", 403, "", "")
    trail.counted(Caller("oidc:12025550123"), "POST /v1/events", 429)
    trail.close()
    assert [line["client"] for line in lines(tmp_path)] == [f"oidc:{WHOM}"] * 2


def test_lines_are_small(tmp_path: Path, trail: Trail) -> None:
    trail.start()
    for _ in range(100):
        trail.line(CARE, "POST /v1/decisions", "+12025550123", 200, "192.0.2.1", "app")
    trail.close()
    size = file_of(tmp_path).stat().st_size / 100
    assert size < 250
    assert json.loads(file_of(tmp_path).read_text().splitlines()[0])["about"] == WHOM
    assert msgspec.json.decode(file_of(tmp_path).read_bytes().splitlines()[-1])["n"] == 100
