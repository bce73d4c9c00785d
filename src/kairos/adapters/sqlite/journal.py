"""Where states are kept: appended to a journal, beside a small table that says where each subscriber's newest is.

A state is a kilobyte and changes with every event. Written where it stood, each event changes a page of 4 KB somewhere
in the file. Appended, the states of a batch stand side by side. What was decided is written, not what it was decided
from: replaying inputs would need every decision to come out the same again, and a learned score or a mended fault
changes it.

    journal   id -> subscriber, state    every version; a subscriber's newest row is its state
    state     subscriber -> place        the id of that row, right for all rows up to `settled.last`

Where the rows after it (the tail) are is known in memory, and read anew when the store is opened.

Three kinds of upkeep ride in small shares on the commits, in their transactions, so none can fall behind:

- settle: when the tail is long, the places in it are written to `state` in the order of subscribers;
- copy: when the journal holds too many rows, those of the oldest that are still somebody's state are appended again;
- delete: the rows that an earlier commit left without use that way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from kairos.adapters.sqlite.statements import Many, select, split, split_numbers, write

APPEND: Many = ("INSERT OR ROLLBACK INTO journal(id, subscriber, blob) SELECT * FROM", "", 3)
COPY: Many = (
    "INSERT OR ROLLBACK INTO journal(id, subscriber, blob) SELECT column2, subscriber, blob FROM journal JOIN",
    "AND journal.id = column1",
    2,
)
SETTLE: Many = ("INSERT OR REPLACE INTO state(subscriber, place) SELECT * FROM", "", 2)

# Joined: see `sqlite.BY_MSISDN`. A row read on its own hands the GIL over and back: 400 times a batch, for `LIVE`.
PLACES = "SELECT group_concat(subscriber), group_concat(ifnull(place, 0)) FROM state WHERE subscriber IN "
BLOBS = "SELECT group_concat(subscriber), group_concat(length(blob)), group_concat(blob, '') FROM "
STATES_AT = BLOBS + "journal WHERE id IN "
STATES_OF = BLOBS + "state WHERE blob IS NOT NULL AND subscriber IN "  # written by schema version 1, and not since
TAIL = "SELECT subscriber, max(id) FROM journal WHERE id > ? GROUP BY subscriber"
LIVE = (
    "SELECT CAST(group_concat(id) AS BLOB), CAST(group_concat(subscriber) AS BLOB) "
    "FROM journal JOIN state USING (subscriber) WHERE id >= ? AND id < ? AND state.place = journal.id"
)

ROWS_EACH = 2  # rows that the journal holds for each subscriber before old ones are copied: about a fifth of them is
SHARE = 4  # rows of upkeep for each row written
SHORTEST, LONGEST = 4096, 262_144  # rows of the tail before it is settled


@dataclass(slots=True)
class Ends:
    """Ids in the journal: rows before `oldest` are gone; what is live of those before `copied` stands later on too."""

    oldest: int
    copied: int
    settled: int  # the last row that `state.place` knows of
    next: int


@dataclass(slots=True)
class Written:
    """What a transaction did, to be noted once it is committed."""

    ends: Ends
    places: dict[int, int] = field(default_factory=dict)
    settled: list[tuple[int, int]] = field(default_factory=list)


class Journal:
    """The states in a store's file.

    `write` goes into the writer's transaction; `note` follows its commit, with no reader in the middle of `states`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        (settled,) = connection.execute("SELECT last FROM settled").fetchone()
        oldest, last = connection.execute("SELECT ifnull(min(id), 1), ifnull(max(id), 0) FROM journal").fetchone()
        self._highest: int = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'state'").fetchone()[0]
        self._places: dict[int, int] = dict(connection.execute(TAIL, (settled,)))
        self._ends = Ends(oldest, oldest, settled, last + 1)
        self._settling: list[tuple[int, int]] = []  # what is yet to be settled, the highest subscriber first
        self._mark = 0  # the last row of the tail that is being settled

    # -- reading -------------------------------------------------------------------------------------------------------

    def states(
        self, connection: sqlite3.Connection, settled: Mapping[int, int], others: Collection[int]
    ) -> dict[int, bytes]:
        """The states of those who have one.

        `settled`: places that were read from `state` already (0: it has none), in the transaction that `connection` is
        in; it gives texts as bytes.
        """
        places = dict(settled)
        places.update(dict.fromkeys(others, 0))
        for ids, at in select(connection, PLACES, others):
            if ids:
                places.update(zip(split_numbers(ids), split_numbers(at), strict=True))
        for id_ in places.keys() & self._places.keys():
            places[id_] = self._places[id_]
        newer = dict(connection.execute(TAIL, (self._ends.next - 1,)))  # of a commit that is not noted yet
        places.update({id_: newer[id_] for id_ in places.keys() & newer.keys()})
        states = dict(_blobs(connection, STATES_AT, sorted(filter(None, places.values()))))
        if len(states) < len(places):
            states.update(_blobs(connection, STATES_OF, [id_ for id_, place in places.items() if not place]))
        return states

    @property
    def unsettled(self) -> Collection[int]:
        """Whose newest state `state` does not know of yet."""
        return self._places.keys()

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, connection: sqlite3.Connection, states: Mapping[int, bytes]) -> Written:
        """Append the states, and do a share of the upkeep, in the transaction that is open."""
        written = Written(replace(self._ends))
        ends = written.ends
        if states and (highest := max(states)) > self._highest:
            connection.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'state'", (highest,))
        if ends.oldest < ends.copied:
            connection.execute("DELETE FROM journal WHERE id < ?", (ends.copied,))
            ends.oldest = ends.copied
        for subscriber in sorted(states):  # neighbours in `state` are settled together
            written.places[subscriber] = ends.next
            ends.next += 1
        write(connection, APPEND, ((place, id_, states[id_]) for id_, place in written.places.items()))
        self._copy(connection, written, SHARE * len(states))
        self._settle(connection, written, SHARE * len(states))
        return written

    def note(self, written: Written) -> None:
        """The transaction was committed."""
        self._ends = written.ends
        self._places.update(written.places)
        self._highest = max(self._highest, *written.places, 0)
        del self._settling[len(self._settling) - len(written.settled) :]
        for subscriber, place in written.settled:
            if self._places.get(subscriber) == place:
                del self._places[subscriber]

    def _copy(self, connection: sqlite3.Connection, written: Written, share: int) -> None:
        """Append what is live among the oldest rows again, where there are too many rows."""
        ends, tail = written.ends, self._tail()
        if ends.next - ends.oldest <= ROWS_EACH * (self._highest + tail):
            return
        start, stop = ends.copied, min(ends.copied + share, ends.settled + 1)
        moved = []
        places, subscribers = connection.execute(LIVE, (start, stop)).fetchone()
        live = zip(split_numbers(places), split_numbers(subscribers), strict=True) if places else ()
        for place, subscriber in live:
            if subscriber not in written.places and self._places.get(subscriber, place) == place:
                written.places[subscriber] = ends.next
                moved.append((place, ends.next))
                ends.next += 1
        write(connection, COPY, moved)
        ends.copied = stop

    def _settle(self, connection: sqlite3.Connection, written: Written, share: int) -> None:
        """Write a share of the tail's places to `state`; the last share makes the tail begin where this one ended."""
        ends = written.ends
        if not self._settling:
            if ends.next - ends.settled <= self._tail():
                return
            self._settling = sorted(self._places.items(), reverse=True)
            self._mark = self._ends.next - 1
        written.settled = self._settling[-share:] if share else []
        write(connection, SETTLE, reversed(written.settled))
        if len(written.settled) == len(self._settling):
            ends.settled = self._mark
            connection.execute("UPDATE settled SET last = ?", (ends.settled,))

    def _tail(self) -> int:
        """How many rows are left unsettled: more where they are spread over more pages of `state`."""
        return min(LONGEST, max(SHORTEST, self._highest // 16))


def _blobs(connection: sqlite3.Connection, sql: str, keys: Collection[int]) -> Iterator[tuple[int, bytes]]:
    for ids, lengths, blobs in select(connection, sql, keys):
        if ids:
            yield from zip(split_numbers(ids), split(blobs, split_numbers(lengths)), strict=True)
