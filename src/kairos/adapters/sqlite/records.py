"""Reading beside a running kairos: what `kairos explain` asks of a store's file, without writing or owning it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator

from kairos.adapters.sqlite.budgets import select_budgets
from kairos.adapters.sqlite.choices import select_choices
from kairos.adapters.sqlite.file import StoreFile
from kairos.adapters.sqlite.letters import COLUMNS, select_letters
from kairos.adapters.sqlite.passages import OF_SUBSCRIBER, read_passages
from kairos.adapters.sqlite.purchases import PURCHASES_OF, read_purchase
from kairos.adapters.sqlite.schema import epoch_of
from kairos.adapters.sqlite.store import HOLDERS, MODEL, RESPONSES_OF, read_response
from kairos.domain.budget import Key, Standing
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.decision import Drawn
from kairos.domain.identity import Held, split_name
from kairos.domain.inputs import Response
from kairos.domain.passage import Passage
from kairos.domain.purchase import Purchase
from kairos.ports import Loaded


class SqliteRecords:
    """The `kairos.engine.explain.Records` of the SQLite file at `path`. Raises StoreError when it cannot be read."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = StoreFile(path, writes=False)
        self._rows, self.close = self._file.rows, self._file.close
        try:
            self.epoch: str = self._rows("SELECT value FROM meta WHERE name = 'epoch'")[0][0]
        except BaseException:
            self.close()
            raise

    def epoch_of(self, decision: int) -> str:
        with self._file.told("read"):
            return epoch_of(self._file.connection, decision)

    def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        by_name = "SELECT subscriber FROM identity WHERE kind = ? AND value = ?"
        found = {name: row[0] for name in names for row in self._rows(by_name, *split_name(name))}
        ids = {*found.values(), *subscribers}
        states = {
            one: row[0] for one in ids for row in self._rows("SELECT blob FROM current_state WHERE subscriber = ?", one)
        }
        return Loaded(found, states)

    def holders(self, name: str) -> list[Held]:
        return [Held(*row) for row in self._rows(HOLDERS, *split_name(name))]

    def decision(self, id: int) -> bytes | None:  # noqa: A002
        rows = self._rows("SELECT record FROM decision WHERE id = ?", id)
        return rows[0][0] if rows else None

    def decisions(self, since: int, until: int) -> Iterator[bytes]:
        """The records of a time (ms; `until` not included), in their order."""
        after, by_page = 0, "SELECT id, record FROM decision WHERE id > ? AND at >= ? AND at < ? ORDER BY id LIMIT 5000"
        while rows := self._rows(by_page, after, since, until):
            yield from (record for _, record in rows)
            after = rows[-1][0]

    def newest(self) -> int:
        """When the latest decision was made (ms); 0: there is none."""
        rows = self._rows("SELECT at FROM decision ORDER BY id DESC LIMIT 1")
        return rows[0][0] if rows else 0

    def model(self, version: str = "") -> tuple[str, bytes] | None:
        rows = self._rows(MODEL, version)
        return rows[0] if rows else None

    def choices(self, decisions: Collection[int]) -> dict[int, Drawn]:
        with self._file.told("read"):
            return select_choices(self._file.connection, decisions)

    def models(self) -> list[str]:
        """The versions that are kept, the newest first."""
        return [version for (version,) in self._rows("SELECT version FROM model ORDER BY id DESC")]

    def holdings(self, kind: str) -> list[tuple[str, int, int, int]]:
        """Every value of a kind of identity that somebody had: value, subscriber, since, until (ms; 0: still)."""
        past = "SELECT value, subscriber, since, until FROM identity_past WHERE kind = ?1"
        now = "SELECT value, subscriber, since, 0 FROM identity WHERE kind = ?1"
        return self._rows(f"{past} UNION ALL {now}", kind)

    def outcomes(self) -> list[tuple[int, int, int, str, str, int]]:
        """Every response but those of test subscribers: id, subscriber, decision, offer, outcome, at (ms)."""
        return self._rows("SELECT id, subscriber, decision, offer, outcome, at FROM response WHERE NOT test")

    def responses(self, offer: str) -> list[Response]:
        return [read_response(row) for row in self._rows(RESPONSES_OF, offer)]

    def purchases(self, after: str, limit: int) -> list[Purchase]:
        rows = self._rows("SELECT record FROM purchase WHERE key > ? ORDER BY key LIMIT ?", after, limit)
        return [read_purchase(record) for (record,) in rows]

    def purchases_of(self, offer: str) -> list[Purchase]:
        return [read_purchase(record) for (record,) in self._rows(PURCHASES_OF, offer, offer, offer)]

    def passages_to(self, subscriber: int, limit: int) -> list[Passage]:
        return list(read_passages(self._rows(OF_SUBSCRIBER, subscriber, limit)))

    def budgets(self, keys: Collection[Key]) -> dict[Key, Standing]:
        with self._file.told("read"):
            return select_budgets(self._file.connection, keys)

    def latest_playbook(self) -> dict[str, str] | None:
        rows = self._rows("SELECT texts FROM playbook ORDER BY id DESC LIMIT 1")
        return json.loads(rows[0][0]) if rows else None

    def playbook(self, revision: str) -> dict[str, str] | None:
        rows = self._rows("SELECT texts FROM playbook WHERE revision = ? ORDER BY id DESC LIMIT 1", revision)
        return json.loads(rows[0][0]) if rows else None

    def dead_letters(self, kind: str = "", status: str = "", limit: int = 100) -> list[DeadLetter]:
        with self._file.told("read"):
            return select_letters(self._file.connection, kind, status, limit)

    def dead_letter(self, id: int) -> DeadLetter | None:  # noqa: A002
        rows = self._rows(f"SELECT {COLUMNS} FROM dead_letter WHERE id = ?", id)
        return DeadLetter(*rows[0]) if rows else None
