"""A store of dictionaries: what SQLite's does, kept until the process ends. Tests run on it, in place of mocks."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from kairos.domain.budget import Key, Standing
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.decision import Drawn
from kairos.domain.erasure import Erased
from kairos.domain.identity import Held, split_name
from kairos.domain.inputs import Answered, Response, Timer
from kairos.domain.message import Outgoing
from kairos.domain.passage import Communication, Hub, Passage
from kairos.domain.purchase import Purchase
from kairos.domain.subscriber import ended_before
from kairos.domain.switch import Switch
from kairos.errors import StoreError
from kairos.fulfil import ENDED
from kairos.ports import Batch, Figures, Forgotten, Loaded, NextIds, OutgoingUpdate, Unsent

K = TypeVar("K")
UNSENT = ("pending", "sending")


class MemoryStore:
    """A `kairos.ports.Store` that is lost with the process. A commit is checked first: it applies whole or not at all.

    >>> store = MemoryStore()
    >>> store.commit(Batch(states={1: b"state"}, identities=[("msisdn", "15550100", 1, 0)]))
    >>> store.load(["15550100"], [])
    Loaded(subscribers={'15550100': 1}, states={1: b'state'}, moved={})
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoch = uuid.uuid4().hex
        self._next = {"subscriber": 1, "decision": 1, "outgoing": 1, "timer": 1}
        self._kept: dict[str, str] = {}
        self._states: dict[int, bytes] = {}
        self._identities: dict[tuple[str, str], list[Held]] = {}  # (kind, value) -> oldest first
        self._decisions: dict[int, bytes] = {}
        self._decided: dict[int, int] = {}  # when
        self._outgoing: dict[int, Outgoing] = {}
        self._unsent: set[int] = set()
        self._timers: dict[int, Timer] = {}
        self._responses: dict[str, list[Response]] = {}
        self._positions: dict[tuple[str, int], int] = {}
        self._purchases: dict[str, Purchase] = {}
        self._answered: list[Answered] = []
        self._budgets: dict[Key, Standing] = {}
        self._playbooks: dict[tuple[str, str], dict[str, str]] = {}  # (revision, layout), latest saved last
        self._first_decision: dict[tuple[str, str], int] = {}
        self._switches: list[Switch] = []
        self._letters: dict[tuple[str, str], DeadLetter] = {}  # by kind and identity
        self._latest_letter = 0
        self._passages: dict[str, Passage] = {}
        self._communications: dict[str, Communication] = {}
        self._listeners: dict[str, Hub] = {}
        self._suppressed: dict[bytes, tuple[str, ...]] = {}

    @property
    def epoch(self) -> str:
        return self._epoch

    def epoch_of(self, decision: int) -> str:  # noqa: ARG002
        return self._epoch

    def keep(self, name: str, value: str) -> str:
        with self._lock:
            return self._kept.setdefault(name, value)

    def next_ids(self) -> NextIds:
        with self._lock:
            return NextIds(**self._next)

    def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        with self._lock:
            held = {name: known for name in names if (known := self._identities.get(split_name(name)))}
            found = {name: known[-1].subscriber for name, known in held.items()}
            moved = {name: known[-1].since for name, known in held.items() if len(known) > 1}
            wanted = {*found.values(), *subscribers}
            return Loaded(found, {s: self._states[s] for s in wanted if s in self._states}, moved)

    def holders(self, name: str) -> list[Held]:
        with self._lock:
            return [held for held in self._identities.get(split_name(name), ()) if held.subscriber]

    def commit(self, batch: Batch) -> None:
        with self._lock:
            self._refuse_repeats("decision", [row[0] for row in batch.decisions], self._decisions)
            self._refuse_repeats("outgoing", [row.id for row in batch.outgoing], self._outgoing)
            self._refuse_repeats("timer", [timer.id for timer in batch.timers], self._timers)
            self._apply(batch)

    def outgoing(self, ids: Sequence[int]) -> list[Outgoing]:
        with self._lock:
            return [replace(self._outgoing[i]) for i in sorted(set(ids)) if i in self._outgoing]

    def unsent(self, after: int, limit: int) -> list[Outgoing]:
        with self._lock:
            ids = sorted(i for i in self._unsent if i > after)[:limit]
            return [replace(self._outgoing[i]) for i in ids]

    def outgoing_by_peer_id(self, peer_id: str) -> Outgoing | None:
        with self._lock:
            ids = [row.id for row in self._outgoing.values() if peer_id and row.peer_id == peer_id]
            return replace(self._outgoing[max(ids)]) if ids else None

    def answered_by_peer_id(self, peer_id: str) -> Answered | None:
        with self._lock:
            return next((one for one in reversed(self._answered) if peer_id and one.peer_id == peer_id), None)

    def answered(self, account: str, message_id: str) -> Answered | None:
        with self._lock:
            found = (one for one in reversed(self._answered) if (one.account, one.message_id) == (account, message_id))
            return next((one for one in found if one.peer_id), None)

    def latest_answered(self, limit: int) -> list[Answered]:
        with self._lock:
            return self._answered[-limit:]

    def notification(self, key: str) -> Outgoing | None:
        with self._lock:
            ids = [row.id for row in self._outgoing.values() if row.channel == "notification" and row.key == key]
            return replace(self._outgoing[max(ids)]) if ids else None

    def timers_due(self, now: int, limit: int) -> list[Timer]:
        with self._lock:
            due = [timer for timer in self._timers.values() if timer.due <= now]
        return sorted(due, key=lambda timer: (timer.due, timer.id))[:limit]

    def decision(self, id: int) -> bytes | None:  # noqa: A002
        with self._lock:
            return self._decisions.get(id)

    def decisions(self, ids: Collection[int]) -> dict[int, bytes]:
        with self._lock:
            return {id_: self._decisions[id_] for id_ in ids if id_ in self._decisions}

    def responses_to(self, offers: Collection[str]) -> list[Response]:
        with self._lock:
            found = [one for offer in dict.fromkeys(offers) for one in self._responses.get(offer, ())]
        return sorted(found, key=lambda one: one.at)

    def responses(self, offer: str) -> list[Response]:
        with self._lock:
            return list(self._responses.get(offer, ()))

    def purchase(self, key: str) -> Purchase | None:
        with self._lock:
            return self._purchases.get(key)

    def purchases(self, after: str, limit: int) -> list[Purchase]:
        with self._lock:
            keys = sorted((key for key in self._purchases if key.encode() > after.encode()), key=str.encode)
            return [self._purchases[key] for key in keys[:limit]]

    def purchases_of(self, offer: str) -> list[Purchase]:
        with self._lock:
            found = [one for one in self._purchases.values() if one.offer == offer]
        return sorted(found, key=lambda one: (one.made, len(one.key), one.key))

    def budgets(self, keys: Collection[Key]) -> dict[Key, Standing]:
        with self._lock:
            return {key: self._budgets[key] for key in keys if key in self._budgets}

    def passage(self, key: str) -> Passage | None:
        with self._lock:
            return self._passages.get(key)

    def passages(self, communication: str) -> list[Passage]:
        with self._lock:
            return [one for one in self._passages.values() if communication and one.communication == communication]

    def passages_to(self, subscriber: int, limit: int) -> list[Passage]:
        with self._lock:
            found = [one for one in self._passages.values() if subscriber and one.subscriber == subscriber]
        return found[::-1][:limit]

    def communication(self, id: str) -> Communication | None:  # noqa: A002
        with self._lock:
            return self._communications.get(id)

    def communications(self, client: str, before: int, limit: int) -> tuple[list[Communication], int]:
        with self._lock:
            found = [(place, one) for place, one in enumerate(self._communications.values(), 1)]
        wanted = [
            (place, one)
            for place, one in reversed(found)
            if (not before or place < before) and client in ("", one.client) and not one.gone
        ][:limit]
        return [one for _, one in wanted], wanted[-1][0] if len(wanted) == limit else 0

    def listeners(self) -> list[Hub]:
        with self._lock:
            return sorted(self._listeners.values(), key=lambda one: (one.at, one.id))

    def put_listener(self, one: Hub) -> None:
        with self._lock:
            self._listeners[one.id] = one

    def drop_listener(self, id: str) -> None:  # noqa: A002
        with self._lock:
            self._listeners.pop(id, None)

    def dead_letters(self, kind: str = "", status: str = "", limit: int = 100) -> list[DeadLetter]:
        with self._lock:
            found = [one for one in self._letters.values() if kind in ("", one.kind) and status in ("", one.status)]
        return sorted(found, key=lambda one: -one.id)[:limit]

    def count_dead_letters(self) -> dict[tuple[str, str], int]:
        with self._lock:
            return dict(Counter((one.kind, one.status) for one in self._letters.values()))

    def trim_dead_letters(self, keep: int) -> int:
        with self._lock:
            places: Counter[str] = Counter()
            dropped = []
            for name, one in sorted(self._letters.items(), key=lambda item: -item[1].id):
                places[one.kind] += 1
                if places[one.kind] > keep and one.status != "replay":
                    dropped.append(name)
            return _dropped(self._letters, dropped)

    def forget(self, what: str, before: int, after: int, limit: int) -> Forgotten:  # noqa: ARG002
        """All of it at once: there is nothing that it could hold up."""
        with self._lock:
            return Forgotten(getattr(self, f"_forget_{what}")(before), 0)

    def _forget_decisions(self, before: int) -> int:
        still_open = {timer.payload.rpartition("-")[2] for timer in self._timers.values()}
        gone = [i for i, at in self._decided.items() if at < before and str(i) not in still_open]
        _dropped(self._decided, gone)
        return _dropped(self._decisions, gone)

    def _forget_outbox(self, before: int) -> int:
        gone = [row.id for row in self._outgoing.values() if row.due < before and row.id not in self._unsent]
        return _dropped(self._outgoing, gone)

    def _forget_responses(self, before: int) -> int:
        kept = {offer: [one for one in said if one.at >= before] for offer, said in self._responses.items()}
        gone = sum(map(len, self._responses.values())) - sum(map(len, kept.values()))
        self._responses = {offer: said for offer, said in kept.items() if said}
        return gone

    def _forget_answered(self, before: int) -> int:
        kept = [one for one in self._answered if one.at >= before]
        gone, self._answered = len(self._answered) - len(kept), kept
        return gone

    def _forget_dead_letters(self, before: int) -> int:
        gone = [name for name, one in self._letters.items() if one.last < before and one.status != "replay"]
        return _dropped(self._letters, gone)

    def _forget_purchases(self, before: int) -> int:
        gone = [key for key, one in self._purchases.items() if one.changed < before and one.status in ENDED]
        return _dropped(self._purchases, gone)

    def _forget_passages(self, before: int) -> int:
        waiting = ("accepted", "delayed")
        gone = [key for key, one in self._passages.items() if one.changed < before and one.stand not in waiting]
        return _dropped(self._passages, gone)

    def _forget_communications(self, before: int) -> int:
        gone = [id_ for id_, one in self._communications.items() if one.changed < before]
        return _dropped(self._communications, gone)

    def _forget_switches(self, before: int) -> int:
        latest = {switch.name: switch for switch in self._switches}
        kept = [switch for switch in self._switches if switch.at >= before or switch is latest[switch.name]]
        gone, self._switches = len(self._switches) - len(kept), kept
        return gone

    def _forget_ended_subscriptions(self, before: int) -> int:
        past = {held.subscriber for known in self._identities.values() for held in known if 0 < held.until < before}
        gone = [one for one in past if one in self._states and ended_before(self._states[one], before)]
        return _dropped(self._states, gone)

    def _forget_playbooks(self, _before: int) -> int:
        names = list(self._playbooks)
        oldest = min(self._decisions, default=self._next["decision"])
        gone = [
            name
            for place, name in enumerate(names[:-2])
            if any(layout == name[1] for _, layout in names[place + 1 :])
            and self._first_decision[names[place + 2]] < oldest
        ]
        return _dropped(self._playbooks, gone)

    def save_playbook(self, revision: str, layout: str, texts: Mapping[str, str]) -> None:
        with self._lock:
            self._playbooks.pop((revision, layout), None)
            self._playbooks[revision, layout] = dict(texts)
            self._first_decision[revision, layout] = self._next["decision"] - 1

    def playbook(self, revision: str) -> dict[str, str] | None:
        return self._latest_playbook(0, revision)

    def playbook_with_layout(self, layout: str) -> dict[str, str] | None:
        return self._latest_playbook(1, layout)

    def figures(self, now: int) -> Figures:
        with self._lock:
            rows = [self._outgoing[id_] for id_ in self._unsent]
            timers = sum(timer.due <= now for timer in self._timers.values())
        unsent = []
        for channel in sorted({row.channel for row in rows}):
            dues = [row.due for row in rows if row.channel == channel]
            unsent.append(Unsent(channel, len(dues), min((due for due in dues if due > 0), default=0)))
        return Figures(unsent, timers, 0, 0)

    def model(self, version: str = "") -> tuple[str, bytes] | None:  # noqa: ARG002
        """Nobody but us can publish here, and the engine does not."""
        return None

    def newest_model(self) -> str:
        return ""

    def choices(self, decisions: Collection[int]) -> dict[int, Drawn]:  # noqa: ARG002
        return {}

    def suppressed(self) -> dict[bytes, tuple[str, ...]]:
        with self._lock:
            return dict(self._suppressed)

    def switches(self) -> list[Switch]:
        with self._lock:
            latest = {switch.name: switch for switch in self._switches}
        return [latest[name] for name in sorted(latest)]

    def switch_history(self, limit: int) -> list[Switch]:
        with self._lock:
            return self._switches[::-1][:limit]

    def turn_switch(self, switch: Switch) -> None:
        with self._lock:
            self._switches.append(switch)

    def close(self) -> None:
        """Nothing to let go of; the store may still be read."""

    def _latest_playbook(self, part: int, wanted: str) -> dict[str, str] | None:
        with self._lock:
            return next((dict(t) for key, t in reversed(self._playbooks.items()) if key[part] == wanted), None)

    @staticmethod
    def _refuse_repeats(kind: str, ids: Sequence[int], known: Collection[int]) -> None:
        if len(set(ids)) < len(ids) or any(i in known for i in ids):
            raise StoreError(f"cannot commit: a {kind} id is there already; take ids from `next_ids`")

    def _apply(self, batch: Batch) -> None:
        self._states.update(batch.states)
        self._erase(batch.erased)
        for kind, value, subscriber, since in batch.identities:
            known = self._identities.setdefault((kind, value), [])
            if known and known[-1].subscriber != subscriber:
                known[-1] = replace(known[-1], until=since)
            if not known or known[-1].until:
                known.append(Held(subscriber, since))
        self._decisions.update((id_, record) for id_, _, _, record in batch.decisions)
        self._decided.update((id_, at) for id_, _, at, _ in batch.decisions)
        for row in batch.outgoing:
            self._put(replace(row))
        for update in batch.updates:
            self._update(update)
        self._timers.update((timer.id, timer) for timer in batch.timers)
        for id_ in batch.timers_done:
            self._timers.pop(id_, None)
        for response in batch.responses:
            self._responses.setdefault(response.offer, []).append(response)
        self._purchases.update(batch.purchases)
        self._answered += batch.answered
        self._budgets.update(batch.budgets)
        self._apply_passages(batch)
        self._positions.update(((source, part), position) for source, part, position in batch.positions)
        for letter in batch.dead_letters:
            self._put_letter(letter)
        for id_, status in batch.letters_marked:
            for name, known_letter in self._letters.items():
                if known_letter.id == id_:
                    self._letters[name] = replace(known_letter, status=status)
        self._use("subscriber", [*batch.states, *(identity[2] for identity in batch.identities)])
        self._use("decision", (row[0] for row in batch.decisions))
        self._use("outgoing", (row.id for row in batch.outgoing))
        self._use("timer", (timer.id for timer in batch.timers))

    def _apply_passages(self, batch: Batch) -> None:
        for passage in batch.passages:
            self._passages.setdefault(passage.key, passage)
        for news in batch.passage_news:
            if held := self._passages.get(news.key):
                changes = {name: getattr(news, name) for name in ("stand", "changed", "why", "until")}
                self._passages[news.key] = replace(held, **changes, outgoing=news.outgoing or held.outgoing)
        for communication in batch.communications:
            first = self._communications.get(communication.id, communication)
            self._communications[communication.id] = replace(communication, client=first.client, at=first.at)

    def _erase(self, several: Iterable[Erased]) -> None:
        """Their names, and their no stays; whatever else is kept of them goes with the process."""
        for one in several:
            for name in one.names:
                others = [held for held in self._identities.pop(name, ()) if held.subscriber != one.subscriber]
                if others:
                    self._identities[name] = [*others, Held(0, one.at)]
            if one.mark:
                self._suppressed[one.mark] = one.consents

    def _update(self, update: OutgoingUpdate) -> None:
        row = self._outgoing.get(update.id)
        if row is None:  # retention may have taken it before a late receipt came
            return
        row.status, row.attempts = update.status, update.attempts
        row.due = row.due if update.status == "sending" else update.due  # a mark is no news: it waits as before
        row.peer_id = update.peer_id or row.peer_id
        self._put(row)

    def _put_letter(self, letter: DeadLetter) -> None:
        known = self._letters.get((letter.kind, letter.identity))
        if known is None:
            self._latest_letter += 1
            known = replace(letter, id=self._latest_letter, times=0)
        status = "replay" if known.status == "replay" else "new"
        times = known.times + letter.times
        self._letters[letter.kind, letter.identity] = replace(
            letter, id=known.id, at=known.at, subscriber=known.subscriber, times=times, status=status
        )

    def _put(self, row: Outgoing) -> None:
        self._outgoing[row.id] = row
        (self._unsent.add if row.status in UNSENT else self._unsent.discard)(row.id)

    def _use(self, kind: str, ids: Iterable[int]) -> None:
        self._next[kind] = max(self._next[kind], 1 + max(ids, default=0))


def _dropped(held: dict[K, Any], gone: Collection[K]) -> int:
    """How many were let go of."""
    for key in gone:
        del held[key]
    return len(gone)
