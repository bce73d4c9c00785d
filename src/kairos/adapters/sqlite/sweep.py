"""What a store's file still has of people who were forgotten: found and deleted beside the engine, a share at a time.

The engine's rows have no index by subscriber, and none is worth its writes for something so rare. So each table is read
through, in shares, for all who wait, and what is found is deleted in short transactions. A sweep that is cut short is
done anew; it is over when nothing of them is left that must still be sent or charged. What is deleted here is
overwritten with zeros (`secure_delete`), and so are the pages that came free earlier, in which older copies of their
state may stand.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kairos.adapters.sqlite.file import PATIENCE, StoreFile
from kairos.adapters.sqlite.letters import COLUMNS
from kairos.adapters.sqlite.purchases import read_purchase
from kairos.adapters.sqlite.statements import select
from kairos.adapters.sqlite.store import PAGE, transaction
from kairos.adapters.sqlite.whose import Person, leaves, without
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.passage import Passage
from kairos.domain.purchase import Purchase
from kairos.domain.subscriber import read_state
from kairos.fulfil import ENDED

SHARE: Final = 20_000  # rows that are looked at in one statement
MOMENT: Final = 50  # ms
ZEROS: Final = 1000  # pages that are overwritten in one transaction

# Table -> what of a subscriber's rows goes. What is to be sent yet stays until it was sent.
ROWS: Final = {
    "decision": "TRUE",
    "response": "TRUE",
    "outbox": "status NOT IN ('pending', 'sending')",
    "identity_past": "TRUE",
    "passage": "TRUE",
}
TO_NOBODY: Final = "SELECT id, record FROM passage WHERE id > ? AND subscriber = 0 ORDER BY id LIMIT 2000"
MESSAGES: Final = "SELECT id, document FROM communication WHERE id > ? ORDER BY id LIMIT 2000"
LETTERS: Final = f"SELECT {COLUMNS} FROM dead_letter WHERE id > ? ORDER BY id LIMIT 100"
UNSENT: Final = "SELECT DISTINCT subscriber FROM outbox WHERE status IN ('pending', 'sending') AND subscriber IN "

_passage: Final = msgspec.msgpack.Decoder(Passage).decode


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody of whom there may be rows left."""

    id: int
    person: Person

    @property
    def subscriber(self) -> int:
        return self.person.subscriber


class SqliteSweep:
    """Of the store at `path`, beside a running kairos or while none runs; for one thread. Raises StoreError."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = StoreFile(path, writes=True)
        self.close = self._file.close
        self._file.connection.execute("PRAGMA secure_delete = ON")

    def waiting(self) -> list[Waiting]:
        rows = self._file.rows("SELECT id, subscriber, names FROM erasure WHERE done = 0")
        return [Waiting(one, Person(who, map(tuple, json.loads(names)))) for one, who, names in rows]

    def sweep(self, now: int) -> list[int]:
        """One pass for all who wait; the subscribers of whom nothing is left."""
        several = self.waiting()
        if not several:
            return []
        who = {one.subscriber for one in several}
        open_ = {subscriber for (subscriber,) in self._select(UNSENT, who)}
        open_ |= self._purchases(who, frozenset().union(*(one.person.numbers for one in several)))
        for table, goes in ROWS.items():
            for ids in self._of(table, who, goes):
                self._delete(table, ids)
                if table == "decision":
                    self._many("DELETE FROM choice WHERE decision = ?", [(one,) for one in ids])
        self._states(who, open_)
        self._about([one.person for one in several])
        ended = [one for one in several if one.subscriber not in open_]
        self._scrub()
        self._many("UPDATE erasure SET names = '[]', done = ? WHERE id = ?", [(now, one.id) for one in ended])
        self._begin_the_log_anew()
        return [one.subscriber for one in ended]

    def _begin_the_log_anew(self) -> None:
        """What stands in the write-ahead log goes, unless somebody reads just now: whoever commits waits meanwhile."""
        self._file.rows(f"PRAGMA busy_timeout = {MOMENT}")
        self._file.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        self._file.rows(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")

    def latest(self, limit: int = 100) -> list[dict[str, Any]]:
        """The latest erasures, the newest first, without names; `done` 0: something is left."""
        rows = self._file.rows("SELECT subscriber, at, reason, done FROM erasure ORDER BY id DESC LIMIT ?", limit)
        return [dict(zip(("subscriber", "at", "reason", "done"), row, strict=True)) for row in rows]

    def vacuum(self) -> None:
        """Write the file anew, without anything that was ever deleted; nobody else may have it open."""
        with self._file.told("write to"):
            self._file.connection.execute("VACUUM")
            self._file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- table by table ------------------------------------------------------------------------------------------------

    def _of(self, table: str, who: Collection[int], goes: str) -> Iterator[list[int]]:
        """Ids of their rows, share by share."""
        places = ",".join("?" * len(who))
        ((last,),) = self._file.rows(f"SELECT ifnull(max(id), 0) FROM {table}")
        for after in range(0, last, SHARE):
            where = f"id > ? AND id <= ? AND subscriber IN ({places}) AND {goes}"
            rows = self._file.rows(f"SELECT id FROM {table} WHERE {where}", after, after + SHARE, *who)
            if rows:
                yield [id_ for (id_,) in rows]

    def _states(self, who: Collection[int], open_: Collection[int]) -> None:
        """Every version of their states in the journal that is not empty; and where version 1 of the schema had it.

        Until a purchase has ended, the newest one holds it.
        """
        for ids in self._of("journal", who, "TRUE"):
            rows = self._select("SELECT id, subscriber, blob FROM journal WHERE id IN ", ids)
            states = [(id_, subscriber in open_, read_state(blob)) for id_, subscriber, blob in rows]
            self._delete("journal", [id_ for id_, held, one in states if one.msisdn or (one.purchases and not held)])
        self._many("UPDATE state SET blob = NULL WHERE subscriber = ? AND blob IS NOT NULL", [(one,) for one in who])

    def _purchases(self, who: Collection[int], numbers: Collection[str]) -> set[int]:
        """Blank those that have ended, for whoever received or paid; the subscribers whose have not."""
        after, open_ = "", set()
        page = "SELECT key, record FROM purchase WHERE key > ? ORDER BY key LIMIT 2000"
        while rows := self._file.rows(page, after):
            after, blank = rows[-1][0], []
            for key, record in rows:
                one = read_purchase(record)
                if one.subscriber in who and one.status not in ENDED:
                    open_.add(one.subscriber)
                elif one.subscriber in who:
                    blank.append((msgspec.msgpack.encode(blanked(one)), key))
                elif one.payer in numbers and one.status in ENDED:
                    blank.append((msgspec.msgpack.encode(msgspec.structs.replace(one, payer="")), key))
            self._many("UPDATE purchase SET record = ? WHERE key = ?", blank)
        return open_

    def _about(self, people: Sequence[Person]) -> None:
        """Letters, recommendations and other systems' messages that name them."""
        for rows in self._pages(LETTERS, last=-1):
            letters = [(one, list(leaves(one))) for one in (DeadLetter(*row) for row in rows)]
            gone = [one.id for one, said in letters if any(who.is_named(one, said) for who in people)]
            self._delete("dead_letter", gone)
        names = frozenset().union(*(who.known_as for who in people))
        self._many("DELETE FROM recommendation WHERE name = ?", [(name,) for name in names])
        numbers = frozenset().union(*(who.numbers for who in people))
        for rows in self._pages(TO_NOBODY):
            self._delete("passage", [id_ for id_, record in rows if _passage(record).msisdn in numbers])
        for rows in self._pages(MESSAGES):
            blank = [(document, id_) for id_, written in rows if (document := without(written, people))]
            self._many("UPDATE communication SET document = ? WHERE id = ?", blank)

    def _pages(self, page: str, last: int = 0) -> Iterator[list[tuple[Any, ...]]]:
        """All rows of a table; the id is the column `last` of a page's."""
        after = 0
        while rows := self._file.rows(page, after):
            after = rows[-1][last]
            yield rows

    def _scrub(self) -> None:
        """Overwrite the pages that are free by now: they are filled with zeros, and come free again."""
        ((free,),) = self._file.rows("PRAGMA freelist_count")
        for _ in range(0, free, ZEROS):
            ((left,),) = self._file.rows("PRAGMA freelist_count")
            if not left:
                break
            size = min(left, ZEROS) * (PAGE - 4)  # an overflow page gives four bytes to the next one's number
            self._many("INSERT INTO scrub(zeros) VALUES (zeroblob(?))", [(size,)])
        self._file.connection.execute("PRAGMA secure_delete = FAST")
        self._many("DELETE FROM scrub WHERE id >= ?", [(0,)])
        self._file.connection.execute("PRAGMA secure_delete = ON")

    def _select(self, sql: str, keys: Collection[Any]) -> list[tuple[Any, ...]]:
        with self._file.told("read"):
            return list(select(self._file.connection, sql, keys))

    def _delete(self, table: str, ids: Collection[int]) -> None:
        self._many(f"DELETE FROM {table} WHERE id = ?", [(id_,) for id_ in ids])

    def _many(self, sql: str, rows: Collection[tuple[Any, ...]]) -> None:
        connection: sqlite3.Connection = self._file.connection
        if rows:
            with self._file.told("write to"), transaction(connection, "IMMEDIATE"):
                connection.executemany(sql, rows)


def blanked(purchase: Purchase) -> Purchase:
    """What the books need of a purchase, and nothing that says whose it was: no number, no payer, no words of theirs.

    Its key stays: by it the charging system's extract is compared, and a reversal finds it.
    """
    proof = tuple(msgspec.structs.replace(said, identity="", text="") for said in purchase.proof)
    return msgspec.structs.replace(purchase, msisdn="", payer="", proof=proof)
