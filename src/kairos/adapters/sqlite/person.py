"""All that a store's file has of one person, for themselves (GDPR, articles 15 and 20): beside a running kairos."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from kairos.adapters.sqlite.erasure import OTHERS
from kairos.adapters.sqlite.records import SqliteRecords
from kairos.adapters.sqlite.sweep import SHARE
from kairos.adapters.sqlite.whose import Person, leaves
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.decision import Decision, read_decision
from kairos.domain.identity import Party, name_of, split_name
from kairos.domain.message import Order, Text
from kairos.domain.subscriber import State
from kairos.engine.dead_letters import opened
from kairos.engine.program import Program, compile_program
from kairos.engine.work import decode_state
from kairos.playbook import read

LAST: Final = "SELECT subscriber FROM identity WHERE kind = ? AND value = ?"

_order: Final = msgspec.msgpack.Decoder(Order).decode
_text: Final = msgspec.msgpack.Decoder(Text).decode
_party: Final = msgspec.msgpack.Decoder(Party).decode


class SqlitePerson(SqliteRecords):
    """Of the store at `path`; each table is read through, for none has an index by subscriber. Raises StoreError."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._programs: dict[str, Program | None] = {}

    def export(self, name: str, now: int) -> dict[str, Any] | None:
        """As plain data, every row under the name of its table's contents; None where nobody has that name."""
        loaded = self.load([name], [])
        subscriber = loaded.subscribers.get(name, 0)
        if subscriber not in loaded.states:
            return None
        state = decode_state(loaded.states[subscriber])
        identities = self._identities(state)
        party = self._party(state)
        person = self._person(subscriber, identities, shared=party is not None and party.members != [subscriber])
        decisions = [read_decision(record) for (record,) in self._of("decision", "record", subscriber)]
        chances = self.choices([one.id for one in decisions])
        return {
            "subscriber": subscriber,
            "exported": now,
            "identities": identities,
            "profile": self._profile(state),
            "state": _named(state),
            "account": _named(party),
            "decisions": [self._decision(one) | {"drawn": _named(chances.get(one.id))} for one in decisions],
            "responses": self._rows_of("response", "decision, offer, outcome, reason, at", subscriber),
            "messages": [_message(row) for row in self._rows_of("outbox", MESSAGE, subscriber)],
            "messages_of_others": [_named(one) for one in self.passages_to(subscriber, SHARE)],
            "timers": self._rows_of("timer", "id, due, payload", subscriber),
            "purchases": [_named(one) for one in self._purchases(person)],
            "dead_letters": list(self._letters(person)),
            "recommendations": self._recommendations(person),
            "erasures": self._erasures(subscriber),
        }

    # -- who they are --------------------------------------------------------------------------------------------------

    def _identities(self, state: State) -> list[dict[str, Any]]:
        """The names that they have, and had; an account's other numbers are other people's."""
        names = {state.msisdn} | {
            name_of(k, one.value) for k, one in (state.known.names if state.known else {}).items()
        }
        past = self._rows_of("identity_past", "kind, value, since, until", state.id)
        return past + [
            {"kind": kind, "value": value, "since": since, "until": 0}
            for kind, value in map(split_name, sorted(names))
            for (since,) in self._rows("SELECT since FROM identity WHERE kind = ? AND value = ?", kind, value)
        ]

    def _person(self, subscriber: int, identities: list[dict[str, Any]], *, shared: bool) -> Person:
        """Under the names that are theirs alone: not their account's, where it is `shared`, or that others have had."""
        names = {(one["kind"], one["value"]) for one in identities if not (shared and one["kind"] == "account")}
        return Person(subscriber, [one for one in names if self._theirs(subscriber, *one)])

    def _theirs(self, subscriber: int, kind: str, value: str) -> bool:
        """They have it, or had it, and nobody after them."""
        last = self._rows(LAST, kind, value)
        holder = last[0][0] if last else 0
        return holder == subscriber or (not holder and not self._rows(OTHERS, kind, value, subscriber))

    def _profile(self, state: State) -> dict[str, Any]:
        """Attributes by their names, where the vocabulary that they were written with is still known."""
        rows = self._rows("SELECT revision FROM playbook WHERE layout = ? ORDER BY id DESC LIMIT 1", state.layout)
        program = self._program(rows[0][0]) if rows else None
        if program is None:
            return {}
        stands = zip(program.playbook.vocabulary.attributes, state.attributes, state.stamps, strict=True)
        return {name: {"value": value, "since": since} for name, value, since in stands if since or value is not None}

    def _party(self, state: State) -> Party | None:
        party = state.known.party if state.known else 0
        blob = self.load([], [party]).states.get(party) if party else None
        return _party(blob) if blob else None

    # -- what was said and done ----------------------------------------------------------------------------------------

    def _decision(self, one: Decision) -> dict[str, Any]:
        """What was known, by its names, and what was said; all of it as it is kept, too."""
        program = self._program(one.revision)
        known = zip(program.decide.columns, one.row, strict=True) if program else ()
        said = program.decide.arms[one.chosen.arm].name if program and one.chosen else ""
        return {"known": {name: value for name, value in known if value is not None}, "said": said, **_named(one)}

    def _program(self, revision: str) -> Program | None:
        if revision not in self._programs:
            texts = self.playbook(revision)
            self._programs[revision] = compile_program(read(texts)) if texts else None
        return self._programs[revision]

    def _purchases(self, person: Person) -> Iterator[Any]:
        """Those that they received, or paid for."""
        after = ""
        while several := self.purchases(after, SHARE):
            after = several[-1].key
            yield from (one for one in several if one.subscriber == person.subscriber or one.payer in person.numbers)

    def _letters(self, person: Person) -> Iterator[dict[str, Any]]:
        for one in self.dead_letters(limit=1_000_000):
            if person.is_named(one, leaves(one)):
                yield _named(one) | {"payload": _opened(one)}

    def _recommendations(self, person: Person) -> list[Any]:
        several = self._rows("SELECT name, resource FROM recommendation ORDER BY id")
        return [json.loads(resource) for name, resource in several if name in person.known_as]

    def _erasures(self, subscriber: int) -> list[dict[str, Any]]:
        rows = self._rows("SELECT at, reason, done FROM erasure WHERE subscriber = ?", subscriber)
        return [dict(zip(("at", "reason", "done"), row, strict=True)) for row in rows]

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _of(self, table: str, columns: str, subscriber: int) -> Iterator[tuple[Any, ...]]:
        """In shares: one long read would keep the write-ahead log from beginning anew."""
        ((last,),) = self._rows(f"SELECT ifnull(max(id), 0) FROM {table}")
        for after in range(0, last, SHARE):
            where = "id > ? AND id <= ? AND subscriber = ?"
            sql = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY id"
            yield from self._rows(sql, after, after + SHARE, subscriber)

    def _rows_of(self, table: str, columns: str, subscriber: int) -> list[dict[str, Any]]:
        names = columns.split(", ")
        return [dict(zip(names, row, strict=True)) for row in self._of(table, columns, subscriber)]


MESSAGE: Final = "id, key, channel, due, status, attempts, peer_id, payload"


def _message(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the outbox with what it carries, as far as that can be read."""
    decode: Any = _order if row["channel"] == "ocs" else _text
    try:
        carried = _named(decode(row["payload"]))
    except msgspec.DecodeError:
        carried = _named(row["payload"])
    return row | {"payload": carried}


def _opened(one: DeadLetter) -> Any:
    return _named(opened(one))


def _named(value: Any) -> Any:
    """A record as JSON holds it, every field under its name; bytes in base64."""
    if isinstance(value, Struct):
        return {name: _named(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(name): _named(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_named(one) for one in value]
    return b64encode(value).decode() if isinstance(value, bytes) else value
