"""What a model learns from, read beside a running kairos, and where its versions are kept: the file of its store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Final

import msgspec

from kairos.adapters.sqlite.choices import CHOICES, choice_rows
from kairos.adapters.sqlite.file import StoreFile
from kairos.adapters.sqlite.statements import select, write
from kairos.adapters.sqlite.store import MODEL, read_response, transaction
from kairos.domain.channel import SENT
from kairos.domain.decision import Drawn
from kairos.domain.inputs import Response
from kairos.domain.message import Text

PAGE: Final = 5000
SHARE: Final = 1000  # choices written at once: some ms in which a batch of the running kairos waits to commit
RECEIPT: Final = 600_000  # ms; what was sent and has no receipt by then is taken to have arrived
FOLLOWED: Final = 200_000  # messages under way

RECORDS = "SELECT id, record FROM decision WHERE id > ? ORDER BY id LIMIT ?"
TEXTS = f"SELECT id, payload FROM outbox WHERE id > ? AND channel IN {SENT} ORDER BY id LIMIT ?"

# Where to begin: at the newest of the decisions, and at what was heard since the first of them.
BEGIN = """
WITH first AS (SELECT max(0, seq - ?) AS decision FROM sqlite_sequence WHERE name = 'decision'),
  since AS (SELECT ifnull(min(at), 0) AS at FROM decision WHERE id > (SELECT decision FROM first))
SELECT (SELECT decision FROM first),
  (SELECT ifnull(max(id), 0) FROM response WHERE at < (SELECT at FROM since)),
  (SELECT ifnull(max(id), 0) FROM outbox WHERE due < (SELECT at FROM since))
"""

# Choices are told from where they were told to, and no further back than lessons begin.
FIRST_UNTOLD = """
SELECT max((SELECT max(0, seq - ?) FROM sqlite_sequence WHERE name = 'decision'),
  ifnull((SELECT max(decision) FROM choice), 0))
"""

_text = msgspec.msgpack.Decoder(Text).decode


class SqliteLessons:
    """Reads on from where it last came to, in pages. Raises StoreError where the file cannot be used.

    `newest`: of so many decisions at most; what is older is passed by.
    """

    def __init__(self, path: str | os.PathLike[str], newest: int = 400_000) -> None:
        self._file = StoreFile(path, writes=True)
        self._rows, self.close = self._file.rows, self._file.close
        # What is written here can be made again: whoever runs the store brings it to the disk, and copies the log.
        self._file.connection.execute("PRAGMA synchronous = NORMAL")
        self._file.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._newest = newest
        ((self._told_to,),) = self._rows(FIRST_UNTOLD, newest)
        self.begin()

    def begin(self) -> None:
        """Begin anew, at the newest of the decisions."""
        ((self._decision, self._response, self._outgoing),) = self._rows(BEGIN, self._newest)
        self._under_way: dict[int, int] = {}  # outbox row -> decision

    def decisions(self) -> list[bytes]:
        """The next page of records; empty: no more."""
        rows = self._rows(RECORDS, self._decision, PAGE)
        self._decision = rows[-1][0] if rows else self._decision
        return [record for _, record in rows]

    def responses(self) -> list[Response]:
        """The next page, in their order; empty: no more."""
        columns = "id, subscriber, decision, offer, outcome, reason, at, test"
        rows = self._rows(f"SELECT {columns} FROM response WHERE id > ? ORDER BY id LIMIT ?", self._response, PAGE)
        self._response = rows[-1][0] if rows else self._response
        return [read_response(row[1:]) for row in rows]

    def arrivals(self, now: int) -> list[tuple[int, int]]:
        """Decisions whose message has come to an end, and when it arrived (ms; 0: it never will)."""
        while rows := self._rows(TEXTS, self._outgoing, PAGE):
            texts = ((id_, _text(payload)) for id_, payload in rows)
            self._under_way |= {id_: text.decision for id_, text in texts if text.offer}
            self._outgoing = rows[-1][0]
        for id_ in list(self._under_way)[: max(0, len(self._under_way) - FOLLOWED)]:
            del self._under_way[id_]
        found = []
        with self._file.told("read"):
            states = list(
                select(self._file.connection, "SELECT id, status, due FROM outbox WHERE id IN ", self._under_way)
            )
        for id_, status, at in states:
            arrived = status == "delivered" or (status == "sent" and at + RECEIPT < now)
            if arrived or status in ("failed", "dropped"):
                found.append((self._under_way.pop(id_), at if arrived else 0))
        return found

    def untold(self) -> list[bytes]:
        """The next page of records whose choices were not told yet how likely they were; empty: no more."""
        rows = self._rows(RECORDS, self._told_to, SHARE)
        self._told_to = rows[-1][0] if rows else self._told_to
        return [record for _, record in rows]

    def save_choices(self, drawn: Iterable[Drawn]) -> None:
        with self._file.told("write to"), transaction(self._file.connection, "IMMEDIATE"):
            write(self._file.connection, CHOICES, choice_rows(drawn))

    def model(self, version: str) -> tuple[str, bytes] | None:
        rows = self._rows(MODEL, version)
        return rows[0] if rows else None

    def playbook(self, revision: str) -> dict[str, str] | None:
        """The texts of a revision; of the newest for an empty word."""
        which = "WHERE revision = ?" if revision else "WHERE ? = ''"
        rows = self._rows(f"SELECT texts FROM playbook {which} ORDER BY id DESC LIMIT 1", revision)
        texts: dict[str, str] | None = json.loads(rows[0][0]) if rows else None
        return texts

    def save_model(self, version: str, at: int, content: bytes, keep: int) -> None:
        """Keep a version, and none that another one had followed before `keep` (ms)."""
        connection = self._file.connection
        with self._file.told("write to"):
            connection.execute(
                "INSERT OR REPLACE INTO model(version, at, content) VALUES (?, ?, ?)", (version, at, content)
            )
            connection.execute("DELETE FROM model WHERE id < (SELECT max(id) FROM model WHERE at < ?)", (keep,))
