"""`kairos dead-letters`: what it shows, what it marks, and that a running server takes what was marked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from kairos.adapters.sqlite import SqliteStore
from kairos.cli.dead_letters import WHAT_TO_DO
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.inputs import Reply
from kairos.engine.work import Input
from kairos.ports import Batch

Run = Callable[..., tuple[int, str, str]]

REPLY = Reply("smsc/1", "12025550123", "5000", "YES 1", 1_772_625_600_000)
LETTERS = [
    DeadLetter(
        "reply", "smsc/1", 1_772_625_600_000, "12025550123", "ZeroDivisionError: a bug", b"", "line 1\nline 2\n"
    ),
    DeadLetter("unread", "ocs: Hi #", 1_772_625_600_000, "", "no pattern reads it", b"Hi 5 [red]", times=41),
    DeadLetter("rejected", "crm/7", 1_772_625_600_000, "", "`id` is missing", b'{"id": 1.50}'),
]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store at rest with a letter of three kinds: 1, 2 and 3."""
    path = tmp_path / "kairos.db"
    with closing(SqliteStore(path)) as opened:
        reply = msgspec.structs.replace(LETTERS[0], payload=msgspec.msgpack.encode(REPLY))
        opened.commit(Batch(dead_letters=[reply, *LETTERS[1:]]))
    return path


def statuses(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [status for (status,) in connection.execute("SELECT status FROM dead_letter ORDER BY id")]


def test_they_are_listed_for_people_and_programs(kairos: Run, store: Path) -> None:
    status, out, err = kairos("dead-letters", "list", "--store", store)
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["id", "3", "2", "1"]
    assert "41" in out
    status, out, _ = kairos("dead-letters", "list", "--store", store, "--kind", "reply", "--json")
    (found,) = [json.loads(line) for line in out.splitlines()]
    assert found["payload"]["text"] == "YES 1"
    assert (found["id"], found["kind"], found["status"]) == (1, "reply", "new")


@pytest.mark.parametrize(
    ("id_", "said"),
    [
        ("1", ["reply smsc/1", "ZeroDivisionError: a bug", "a program error", '"text": "YES 1"', "line 2"]),
        ("2", ["unread ocs: Hi #", "41 times", "Add or mend a pattern", '"Hi 5 [red]"']),
        ("3", ["rejected crm/7", "mend the vocabulary", '"id": 1.5']),
    ],
)
def test_each_is_explained(kairos: Run, store: Path, id_: str, said: list[str]) -> None:
    status, out, err = kairos("dead-letters", "explain", id_, "--store", store)
    assert (status, err) == (0, "")
    assert [words for words in said if words not in out] == []


def test_they_are_marked_at_rest_and_taken_at_the_next_start(kairos: Run, store: Path) -> None:
    assert kairos("dead-letters", "replay", "1", "--store", store)[1].startswith("1 to be replayed")
    assert kairos("dead-letters", "replay", "--all", "--kind", "rejected", "--store", store)[0] == 0
    assert kairos("dead-letters", "discard", "2", "2", "--store", store)[1] == "1 discarded.\n"
    assert statuses(store) == ["replay", "discarded", "replay"]
    with closing(SqliteStore(store)) as opened:
        assert [one.kind for one in opened.dead_letters(status="replay")] == ["rejected", "reply"]


def test_they_are_marked_beside_an_open_store(kairos: Run, store: Path) -> None:
    with closing(SqliteStore(store)) as opened:
        assert kairos("dead-letters", "replay", "3", "--store", store)[0] == 0
        assert [one.id for one in opened.dead_letters(status="replay")] == [3]
        opened.commit(Batch(letters_marked=[(3, "replayed")]))
        status, _, err = kairos("dead-letters", "replay", "3", "--store", store)
        assert (status, err) == (1, "dead letter 3 was replayed already; nothing was marked\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "name ids, or a kind with --all --kind; `kairos dead-letters list` shows them"),
        (["replay", "--kind", "reply"], "name ids, or a kind with --all --kind; `kairos dead-letters list` shows them"),
        (["replay", "1", "9"], "there is no dead letter 9; nothing was marked"),
        (["replay", "1", "2"], "dead letter 2 is there to be read, there is nothing to replay; nothing was marked"),
        (["replay", "--all", "--kind", "rejectd"], "there is no kind `rejectd`; did you mean `rejected`?"),
        (["list", "--kind", "rejectd"], "there is no kind `rejectd`; did you mean `rejected`?"),
        (["explain", "9"], "there is no dead letter 9; `kairos dead-letters list --every` shows all"),
    ],
)
def test_what_cannot_be_marked_is_said_and_changes_nothing(
    kairos: Run, store: Path, arguments: list[str], said: str
) -> None:
    assert kairos("dead-letters", *arguments, "--store", store) == (1, "", said + "\n")
    assert statuses(store) == ["new", "new", "new"]


def test_where_there_is_none_that_is_said(kairos: Run, store: Path) -> None:
    assert kairos("dead-letters", "list", "--kind", "timer", "--store", store) == (0, "there is none\n", "")


def test_every_input_that_may_break_the_engine_has_its_words() -> None:
    kinds = {kind.__name__.lower() for kind in get_args(Input)}
    assert kinds | {"text", "purchase", "rejected", "unmapped", "unread"} == set(WHAT_TO_DO)


def test_a_store_that_is_not_there_is_named(kairos: Run, tmp_path: Path) -> None:
    status, _, err = kairos("dead-letters", "list", "--store", tmp_path / "none.db")
    assert (status, err) == (1, f"there is no store at `{tmp_path / 'none.db'}`; name it with --store\n")
