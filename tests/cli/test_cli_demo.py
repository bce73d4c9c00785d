"""`kairos demo` as a process: it ends by itself or when asked, with its figures; and its frame fits the terminal."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kairos.adapters.sqlite.records import SqliteRecords
from kairos.cli.child import child
from kairos.cli.demo import ASKED, example
from kairos.cli.live_view import ISOLATE, KINDS, POP, drawing, isolated, picture, summary
from kairos.errors import KairosError, StoreError

LONG = 120.0  # seconds; no run comes near
SMALL = ["--subscribers", "60", "--rate", "20"]

SAID: dict[str, Any] = {
    "type": "stats",
    "seconds": 12.0,
    "events": 123_456,
    "notifications_submitted": 100_000,
    "notifications_delivered": 99_999,
    "offers_delivered": 54_321,
    "offers_riding": 40_000,
    "accepted": 30_000,
    "declined": 10_000,
    "fulfilled": 29_000,
    "refused_with_reason": 1_000,
    "charged_twice": 0,
    "lost": 0,
    "duplicates": 0,
    "p50_ms": 3.14159,
    "p99_ms": 1234.5,
    "bound": True,
    "by_kind": dict.fromkeys(KINDS, 12_345),
    "recent": [
        ["12025550101", "to", "A long text\nthat goes on and on, " * 8],
        ["12025550102", "from", "1"],
        [
            "12025550103",
            "to",
            "باقة 1GB لمدة 24 ساعة بسعر T$1.50. للاشتراك أرسل 2 إلى 5000 الآن وبدون أي رسوم إضافية " * 2,
        ],
        *[["12025550104", "from", "YES"]] * 5,
    ],
    "complaints": [],
}
REASONS = {f"a reason with quite a long name, the {number}th of them all": number for number in range(20)}


def frame(said: dict[str, Any], reasons: dict[str, int], width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), record=True, force_terminal=True)
    console.print(picture(said, reasons, width, height))
    return console.export_text().splitlines()


def test_every_figure_is_whole_in_eighty_columns() -> None:
    shown = " ".join(frame(SAID | {"p50_ms": 158.22}, {}, 80, 40)[:6])
    assert "lost 0, repeated 0" in shown
    assert "…" not in shown


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 32), (132, 50), (200, 60)])
@pytest.mark.parametrize("reasons", [{}, REASONS])
@pytest.mark.parametrize("recent", [0, 8])
def test_a_frame_fits_the_terminal_with_room_for_the_last_words(
    width: int, height: int, reasons: dict[str, int], recent: int
) -> None:
    lines = frame(SAID | {"recent": SAID["recent"][:recent]}, reasons, width, height)
    assert len(lines) == len(frame(SAID, REASONS, width, height)) <= height - 3
    assert {len(line.replace(ISOLATE, "").replace(POP, "")) for line in lines} == {width}
    assert all(line[-1] in "│╮╯" for line in lines)


def test_a_frame_says_what_was_counted() -> None:
    text = " ".join(" ".join(frame(SAID, REASONS, 100, 32)).split())
    for words in ("123,456 10,288/s", "99,999 of 100,000", "3.1 ms p99 1234 ms", "29,000 1,000 refused", "care 12,345"):
        assert words in text
    assert "charged twice 0 lost 0, repeated 0" in text
    usual = {name: value // 20 if isinstance(value, int) else value for name, value in SAID.items()}
    usual |= {"p99_ms": 234.5, "recent": [], "by_kind": dict.fromkeys(KINDS, 999)}
    assert "…" not in " ".join(frame(usual, {}, 80, 24))
    assert "not bound" not in text
    assert "not bound" in " ".join(frame(SAID | {"bound": False}, {}, 100, 32))


def test_right_to_left_texts_turn_nothing_but_themselves() -> None:
    lines = frame(SAID, {}, 80, 40)
    (arabic,) = [line for line in lines if "باقة" in line]
    assert arabic.count(ISOLATE) == arabic.count(POP) == 1
    inside = arabic[arabic.index(ISOLATE) + 1 : arabic.index(POP)]
    assert inside.endswith("…")
    assert arabic.rpartition(POP)[2].strip() == "│"
    assert isolated("Répondez 1") == "Répondez 1"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_last_frame_stays_with_a_line_of_summary(terminal: bool) -> None:
    console = Console(width=80, height=24, file=io.StringIO(), force_terminal=terminal, color_system=None)
    with drawing(console) as draw:
        draw(SAID, {})
        draw(SAID | {"type": "final", "lost": 7}, {})
    said = console.file.getvalue()  # type: ignore[attr-defined]
    frames = [part for part in said.split("kairos demo:") if "handsets (synthetic)" in part]
    assert len(frames) > 1 if terminal else len(frames) == 1
    last = " ".join(said.rpartition("╯\n")[2].split())
    assert last == summary(SAID | {"lost": 7})


def test_the_last_frame_is_kept_as_a_picture_that_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    console = Console(width=80, height=24, file=io.StringIO(), quiet=True)
    with drawing(console, svg=tmp_path / "frame.svg") as draw:
        draw(SAID, REASONS)
    svg = (tmp_path / "frame.svg").read_text(encoding="utf-8")
    assert "99,999" in svg.replace("&#160;", " ")
    assert set(re.findall(r"https?://[^\s\"')]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kairos.cli", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONG)


def test_it_ends_by_itself_and_its_hint_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "kept here"
    done = run_demo("--for", "5s", "--json", "--keep", str(folder), *SMALL)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    final = json.loads(line)
    assert list(final) == ASKED
    assert final["notifications_delivered"] == final["notifications_submitted"] > 0
    assert final["accepted"] == final["fulfilled"] + final["refused_with_reason"]
    assert (final["charged_twice"], final["lost"], final["duplicates"]) == (0, 0, 0)
    (hint,) = done.stderr.splitlines()
    words = shlex.split(hint)
    assert words[:3] == ["Why?", "kairos", "explain"]
    why = subprocess.run(
        [sys.executable, "-m", "kairos.cli", *words[2:]], capture_output=True, text=True, timeout=LONG, cwd=tmp_path
    )
    assert (why.returncode, why.stderr) == (0, "")
    assert words[3] in why.stdout
    again = run_demo("--for", "5s", "--keep", str(folder))
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"`{folder}` has a store already; name a new folder with --keep\n"


def test_asked_to_stop_it_ends_both_processes_and_gives_the_figures_so_far(tmp_path: Path) -> None:
    demo = started("--for", "0", "--json", "--keep", str(tmp_path), *SMALL)
    until(demo, lambda: decided(tmp_path / "kairos.db"))
    children = children_of(demo)
    assert len(children) == 2
    demo.send_signal(signal.SIGINT)
    out, errors = demo.communicate(timeout=LONG)
    assert demo.returncode == 0, errors
    assert list(json.loads(out)) == ASKED
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_asked_to_stop_before_it_began_it_ends_quietly(tmp_path: Path) -> None:
    demo = started("--json", "--keep", str(tmp_path), *SMALL)
    until(demo, lambda: (tmp_path / "operator.log").exists())
    demo.send_signal(signal.SIGTERM)
    assert demo.communicate(timeout=LONG) == ("", "")
    assert demo.returncode == 130


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kairos.cli", "demo", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def decided(store: Path) -> bool:
    """Whether something was: then the operator is at work."""
    try:
        with closing(SqliteRecords(store)) as records:
            return records.decision(1) is not None
    except StoreError:
        return False


def children_of(parent: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]


def until(demo: subprocess.Popen[str], begun: Callable[[], bool]) -> None:
    while not begun():
        assert demo.poll() is None
        time.sleep(0.01)


def test_a_playbook_that_is_not_sound_is_said_before_anything_starts(tmp_path: Path) -> None:
    shutil.copytree(example(), tmp_path / "shop")
    (tmp_path / "shop" / "replies.yaml").write_text("'5000': {acept: {en: [YES]}}\n")
    done = run_demo("--playbook", str(tmp_path / "shop"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "shop/replies.yaml:1: unknown key `acept`; did you mean `accept`?" in done.stderr


def test_a_playbook_that_the_operator_could_not_bind_to_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "kairos.toml").write_text("[accounts.ocs]\n")
    done = run_demo("--playbook", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{tmp_path}/kairos.toml: the synthetic operator could not bind; add [accounts.info]\n"


async def test_what_a_process_said_is_shown_when_it_dies(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text("import sys\nprint('{}', flush=True)\nsys.exit('the disk is full')\n")
    environment = {"PYTHONPATH": str(tmp_path)}
    async with child("server", "dies", log=tmp_path / "log", environment=environment) as one:
        assert await one.line() == {}
        with pytest.raises(KairosError, match=r"^the server ended early\nthe disk is full$"):
            await one.line()


async def test_a_process_gets_no_settings_but_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_HTTP_PORT", "1")
    (tmp_path / "shows.py").write_text(
        "import json, os\nshown = {k: v for k, v in os.environ.items() if 'KAIROS' in k}\n"
        "print(json.dumps(shown), flush=True)\n"
    )
    environment = {"PYTHONPATH": str(tmp_path), "KAIROS_SMSC_PORT": "2"}
    async with child("server", "shows", log=tmp_path / "log", environment=environment) as one:
        assert await one.line() == {"KAIROS_SMSC_PORT": "2"}


async def test_a_process_that_will_not_end_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.cli.child.GRACE", 0.2)
    (tmp_path / "stays.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('{}', flush=True)\ntime.sleep(99)\n"
    )
    async with child("server", "stays", log=tmp_path / "log", environment={"PYTHONPATH": str(tmp_path)}) as one:
        await one.line()
        pid = one.process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await asyncio.sleep(0)
