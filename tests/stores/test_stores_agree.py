"""Any history of batches reads the same from SQLite as from the store of dictionaries."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kairos.adapters.memory import MemoryStore
from kairos.adapters.sqlite import SqliteStore
from kairos.domain.budget import Standing
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.inputs import Answered, Response, Timer
from kairos.domain.message import Outgoing
from kairos.domain.passage import Communication, Passage, PassageNews
from kairos.domain.purchase import Purchase, Step
from kairos.errors import StoreError
from kairos.ports import Batch, OutgoingUpdate, Store

SMALL = st.integers(1, 12)
TEXT = st.sampled_from(["", "a", "b", "c"])
STATUS = st.sampled_from(["pending", "sending", "sent", "delivered", "failed", "dropped"])
STAND = st.sampled_from(["accepted", "delayed", "refused", "sent", "delivered"])
PURCHASE = Purchase("", "", 1, 1, "1", "", "a", "v", ("P",), 1, "XTS", True, 1, (Step("order", ""),))
FORGOTTEN = (
    *("decisions", "outbox", "responses", "answered", "dead_letters", "purchases", "playbooks"),
    *("passages", "communications"),
)
NUMBERS = [f"155501{i:02}" for i in range(5)]

BATCHES = st.builds(
    Batch,
    states=st.dictionaries(SMALL, st.binary(max_size=5000), max_size=70),
    identities=st.lists(st.tuples(st.just("msisdn"), st.sampled_from(NUMBERS), SMALL, SMALL), max_size=6),
    decisions=st.lists(st.tuples(SMALL, SMALL, SMALL, st.binary(max_size=9)), max_size=3, unique_by=lambda d: d[0]),
    outgoing=st.lists(
        st.builds(Outgoing, SMALL, TEXT, SMALL, TEXT, st.binary(max_size=9), SMALL, STATUS, SMALL, TEXT), max_size=3
    ),
    updates=st.lists(st.builds(OutgoingUpdate, SMALL, STATUS, SMALL, SMALL, TEXT), max_size=12),
    timers=st.lists(st.builds(Timer, SMALL, SMALL, SMALL, TEXT), max_size=3),
    timers_done=st.lists(SMALL, max_size=3),
    responses=st.lists(st.builds(Response, SMALL, SMALL, TEXT, TEXT, TEXT, SMALL), max_size=4),
    purchases=st.dictionaries(TEXT, st.tuples(st.sampled_from(["under_way", "done", "stuck"]), SMALL), max_size=3).map(
        lambda found: {k: replace(PURCHASE, key=k, offer=k, status=s, changed=at) for k, (s, at) in found.items()}
    ),
    positions=st.lists(st.tuples(TEXT, SMALL, SMALL), max_size=3),
    dead_letters=st.lists(
        st.builds(DeadLetter, TEXT, TEXT, SMALL, TEXT, TEXT, st.binary(max_size=9), TEXT, SMALL, SMALL), max_size=3
    ),
    letters_marked=st.lists(st.tuples(SMALL, st.sampled_from(["new", "replay", "discarded"])), max_size=3),
    answered=st.lists(st.builds(Answered, TEXT, TEXT, TEXT, TEXT, SMALL), max_size=3),
    passages=st.lists(
        st.builds(Passage, TEXT, TEXT, TEXT, SMALL, TEXT, TEXT, st.just("service"), STAND, SMALL, TEXT, SMALL, SMALL),
        max_size=4,
    ),
    passage_news=st.lists(st.builds(PassageNews, TEXT, STAND, SMALL, TEXT, SMALL, st.integers(0, 2)), max_size=6),
    communications=st.lists(
        st.builds(Communication, TEXT, TEXT, SMALL, SMALL, st.dictionaries(TEXT, SMALL, max_size=2), st.booleans()),
        max_size=3,
    ),
    budgets=st.dictionaries(st.tuples(TEXT, SMALL), st.builds(Standing, SMALL, SMALL), max_size=3),
)


def committed(store: Store, batch: Batch) -> bool:
    try:
        store.commit(batch)
    except StoreError:
        return False
    return True


def everything(store: Store) -> list[object]:
    return [
        store.next_ids(),
        store.load(NUMBERS, range(1, 14)),
        store.load(NUMBERS[:1], []),
        [store.holders(number) for number in NUMBERS],
        [store.decision(i) for i in range(1, 14)],
        store.outgoing(range(1, 14)),
        [store.unsent(*page) for page in itertools.product((0, 4), (3, 100))],
        [store.outgoing_by_peer_id(peer_id) for peer_id in ("", "a", "b", "c")],
        [store.timers_due(*page) for page in itertools.product((4, 20), (2, 100))],
        [store.responses(offer) for offer in ("", "a", "b", "c")],
        [store.purchase(key) for key in ("", "a", "b", "c")],
        [store.purchases(*page) for page in itertools.product(("", "a"), (1, 100))],
        [store.purchases_of(offer) for offer in ("", "a", "b", "c")],
        [store.dead_letters(kind, status) for kind in ("", "a") for status in ("", "replay")],
        store.count_dead_letters(),
        store.budgets([*itertools.product(("", "a", "b"), range(1, 13))]),
        [store.answered_by_peer_id(peer_id) for peer_id in ("", "a", "b")],
        [store.answered(*one) for one in itertools.product(("", "a", "b"), ("", "a", "b"))],
        [store.latest_answered(limit) for limit in (2, 100)],
        [store.notification(key) for key in ("", "a", "b")],
        [store.passage(key) for key in ("", "a", "b", "c")],
        [store.passages(name) for name in ("", "a", "b", "c")],
        [store.passages_to(*page) for page in itertools.product(range(13), (1, 100))],
        [store.communication(name) for name in ("", "a", "b", "c")],
        [store.communications(client, 0, 100) for client in ("", "a", "b")],
    ]


def forgotten(store: Store, what: str) -> int:
    after = deleted = 0
    while True:
        gone = store.forget(what, 6, after, 100)  # a share without anything old ends a pass
        deleted, after = deleted + gone.deleted, gone.reached
        if not after:
            return deleted


@settings(deadline=None, max_examples=60)
@given(st.lists(BATCHES, max_size=8))
def test_both_stores_say_the_same(batches: list[Batch]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kairos.db"
        sqlite, memory = SqliteStore(path), MemoryStore()
        for batch in batches:
            assert committed(sqlite, batch) == committed(memory, batch)
            assert everything(sqlite) == everything(memory)
        for what in FORGOTTEN:
            assert forgotten(sqlite, what) == forgotten(memory, what)
        assert everything(sqlite) == everything(memory)
        sqlite.close()
        reopened = SqliteStore(path)
        assert everything(reopened) == everything(memory)
        reopened.close()
