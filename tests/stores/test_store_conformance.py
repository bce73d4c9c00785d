"""What every store must do (`kairos.ports.Store`), asked of each that kairos ships."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from kairos.domain.budget import Standing
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.identity import Held
from kairos.domain.inputs import Answered, Response, Timer
from kairos.domain.message import Outgoing
from kairos.domain.passage import Communication, Hub, Passage, PassageNews
from kairos.domain.purchase import Purchase, Said, Step
from kairos.domain.subscriber import SCHEMA, KnownBy, State
from kairos.domain.switch import Switch
from kairos.engine.work import encode
from kairos.errors import StoreError
from kairos.ports import Batch, Loaded, NextIds, OutgoingUpdate, Store, Unsent

NUMBER = "15550100"


def row(id_: int, status: str = "pending", peer_id: str = "") -> Outgoing:
    return Outgoing(id_, f"key-{id_}", 7, "sms", b"payload", due=1000 + id_, status=status, peer_id=peer_id)


def test_empty_store_starts_every_id_at_one_and_knows_nobody(store: Store) -> None:
    assert store.next_ids() == NextIds(1, 1, 1, 1)
    assert store.load([NUMBER], [1]) == Loaded({}, {})
    assert store.load([], []) == Loaded({}, {})
    assert store.unsent(0, 10) == []
    assert store.outgoing([1]) == []
    assert store.outgoing_by_peer_id("a") is None
    assert store.timers_due(2**62, 10) == []
    assert store.decision(1) is None
    assert store.responses("offer") == []
    assert store.purchase("key") is None
    assert store.purchases("", 10) == store.purchases_of("key") == []
    assert store.playbook("r1") is None
    assert store.playbook_with_layout("l1") is None


def purchase(key: str, offer: str = "", status: str = "done", made: int = 1000) -> Purchase:
    step = Step("order", key, "DATA500", status=status, at=made + 5)
    changes = {"status": status, "reason": "why", "changed": made + 5, "proof": (Said("reply/1", "oui", made),)}
    known = Purchase(
        key, offer or key, 7, 3, NUMBER, "sponsor", "booster", "small", ("DATA500",), 10**12, "XTS", True, made, (step,)
    )
    return replace(known, advance=True, **changes)


def test_a_purchase_is_kept_as_it_now_is(store: Store) -> None:
    store.commit(Batch(purchases={"e-1": purchase("e-1", status="under_way"), "e-2": purchase("e-2")}))
    assert store.purchase("e-1") == purchase("e-1", status="under_way")
    store.commit(Batch(purchases={"e-1": purchase("e-1")}))
    assert store.purchase("e-1") == purchase("e-1")
    assert store.purchase("e-3") is None


def test_purchases_come_in_pages_by_key(store: Store) -> None:
    keys = ["e-1", "e-10", "e-10~2", "e-2", "é-1"]
    store.commit(Batch(purchases={key: purchase(key) for key in reversed(keys)}))
    assert [one.key for one in store.purchases("", 3)] == keys[:3]
    assert [one.key for one in store.purchases(keys[2], 3)] == keys[3:]


def test_an_offer_has_the_purchases_of_all_its_attempts_and_no_others(store: Store) -> None:
    keys = {"e-1": 1000, "e-1~2": 2000, "e-1~10": 3000, "e-10": 1, "e-1.x": 2}
    offers = {"e-10": "e-10", "e-1.x": "other"}
    store.commit(Batch(purchases={key: purchase(key, offers.get(key, "e-1"), made=at) for key, at in keys.items()}))
    assert [one.key for one in store.purchases_of("e-1")] == ["e-1", "e-1~2", "e-1~10"]


def test_a_budget_stands_in_each_period_as_the_last_batch_said(store: Store) -> None:
    monday, tuesday, other = ("summer sale", 1000), ("summer sale", 2000), ("été", 1000)
    assert store.budgets([monday, tuesday]) == {}
    store.commit(Batch(budgets={monday: Standing(3, 2**60), other: Standing(1)}))
    store.commit(Batch(budgets={monday: Standing(1, 5), tuesday: Standing(4)}))
    assert store.budgets([tuesday, monday, ("unknown", 1)]) == {monday: Standing(1, 5), tuesday: Standing(4)}
    assert store.budgets([other]) == {other: Standing(1)}
    assert store.budgets([]) == {}


def test_a_batch_that_is_refused_leaves_the_budgets(store: Store) -> None:
    store.commit(Batch(decisions=[(1, 7, 0, b"first")], budgets={("b", 1): Standing(1)}))
    with pytest.raises(StoreError):
        store.commit(Batch(decisions=[(1, 7, 0, b"again")], budgets={("b", 1): Standing(2)}))
    assert store.budgets([("b", 1)]) == {("b", 1): Standing(1)}


def test_an_empty_batch_changes_nothing(store: Store) -> None:
    assert not Batch()
    store.commit(Batch())
    assert store.next_ids() == NextIds(1, 1, 1, 1)


def test_epoch_is_constant_and_not_empty(store: Store) -> None:
    assert store.epoch
    assert store.epoch == store.epoch == store.epoch_of(1)


def test_what_is_kept_for_good_is_the_first_value(store: Store) -> None:
    assert [store.keep("currency", value) for value in ("XTS", "XXX", "XTS")] == ["XTS"] * 3
    assert store.keep("epoch", "mine") == "mine" != store.epoch


def test_load_finds_states_by_number_and_by_subscriber(store: Store) -> None:
    store.commit(
        Batch(
            states={1: b"one", 2: b"two", 3: b"three"},
            identities=[("msisdn", "15550101", 1, 0), ("msisdn", "15550102", 2, 0), ("imsi", "15550103", 3, 0)],
        )
    )
    loaded = store.load(["15550101", "15550103", "15550104"], [3, 4])
    assert loaded == Loaded({"15550101": 1}, {1: b"one", 3: b"three"})  # an IMSI is no MSISDN


def test_load_of_many_more_than_one_statement_holds(store: Store) -> None:
    count = 1500
    numbers = [f"1555{i:07}" for i in range(count)]
    store.commit(
        Batch(
            states={i + 1: b"%d" % i for i in range(count)},
            identities=[("msisdn", number, i + 1, 0) for i, number in enumerate(numbers)],
        )
    )
    loaded = store.load(numbers, range(1, count + 1))
    assert loaded.subscribers == {number: i + 1 for i, number in enumerate(numbers)}
    assert loaded.states == {i + 1: b"%d" % i for i in range(count)}


def test_an_empty_state_is_a_state(store: Store) -> None:
    store.commit(Batch(states={1: b""}))
    assert store.load([], [1]).states == {1: b""}


def test_a_hot_subscriber_keeps_the_last_of_many_commits(store: Store) -> None:
    store.commit(Batch(states={1: b"0", 2: b"cold"}, identities=[("msisdn", NUMBER, 1, 0)]))
    for turn in range(1, 301):
        count = int(store.load([NUMBER], []).states[1])
        store.commit(Batch(states={1: b"%d" % (count + 1)}))
        assert store.load([NUMBER], []).states == {1: b"%d" % turn}
    assert store.load([], [1, 2]).states == {1: b"300", 2: b"cold"}


def test_a_state_may_grow_and_shrink_across_pages(store: Store) -> None:
    for size in (10, 1000, 100_000, 5000, 0, 900):
        store.commit(Batch(states={1: b"x" * size, 2: b"neighbour"}))
        assert store.load([], [1, 2]).states == {1: b"x" * size, 2: b"neighbour"}


@pytest.mark.parametrize("at_once", [True, False])
def test_a_number_that_changes_hands_is_whose_it_was_said_to_be_last(store: Store, at_once: bool) -> None:
    said = [(1, 100), (1, 150), (2, 200), (0, 300), (3, 400)]
    identities = [("msisdn", NUMBER, subscriber, since) for subscriber, since in said]
    assert store.holders(NUMBER) == []
    for batch in [Batch(identities=identities)] if at_once else [Batch(identities=[one]) for one in identities]:
        store.commit(batch)
        store.load([NUMBER], [])
    store.commit(Batch(states={1: b"1", 2: b"2", 3: b"3"}))
    assert store.load([NUMBER], []) == Loaded({NUMBER: 3}, {3: b"3"}, {NUMBER: 400})
    assert store.holders(NUMBER) == [Held(1, 100, 200), Held(2, 200, 300), Held(3, 400)]


def test_a_number_that_is_nobodys_is_told_from_one_that_never_was_anybodys(store: Store) -> None:
    store.commit(Batch(identities=[("msisdn", NUMBER, 1, 100)], states={1: b"1"}))
    store.commit(Batch(identities=[("msisdn", NUMBER, 0, 200)]))
    assert store.load([NUMBER, "15550101"], []) == Loaded({NUMBER: 0}, {}, {NUMBER: 200})
    assert store.holders(NUMBER) == [Held(1, 100, 200)]


def test_names_of_every_kind_find_their_subscriber(store: Store) -> None:
    store.commit(
        Batch(
            states={1: b"one", 2: b"two", -1: b"party"},
            identities=[
                ("msisdn", NUMBER, 1, 9),
                ("imsi", "0010", 2, 9),
                ("account", "A:1", 1, 9),
                ("imei", "7", 2, 9),
            ],
        )
    )
    names = [NUMBER, "imsi:0010", "account:A:1", "imsi:0011", "fax:1", "imsi:"]
    expected = {NUMBER: 1, "imsi:0010": 2, "account:A:1": 1}
    assert store.load(names, [-1]) == Loaded(expected, {1: b"one", 2: b"two", -1: b"party"})
    assert store.holders("imsi:0010") == [Held(2, 9)]
    assert store.next_ids().subscriber == 3  # an id below zero is no subscriber's


def test_next_ids_follow_the_highest_ever_used(store: Store) -> None:
    store.commit(
        Batch(
            states={4: b""},
            decisions=[(6, 4, 0, b"")],
            outgoing=[row(8), row(9)],
            timers=[Timer(10, 5, 4, "")],
        )
    )
    assert store.next_ids() == NextIds(5, 7, 10, 11)
    store.commit(Batch(timers_done=[10]))
    assert store.next_ids() == NextIds(5, 7, 10, 11), "a timer's id is an identity: never again"
    store.commit(Batch(identities=[("msisdn", NUMBER, 12, 0)]))
    assert store.next_ids().subscriber == 13, "a number may be known before its state"
    store.commit(Batch(states={3: b""}))
    assert store.next_ids().subscriber == 13


def test_unsent_are_pending_or_sending_by_id(store: Store) -> None:
    kinds = ["pending", "sending", "sent", "delivered", "failed", "dropped"]
    store.commit(Batch(outgoing=[row(i + 1, kinds[i % 6]) for i in reversed(range(24))]))
    assert [r.id for r in store.unsent(0, 100)] == [1, 2, 7, 8, 13, 14, 19, 20]
    assert [r.id for r in store.unsent(2, 3)] == [7, 8, 13]
    assert store.unsent(20, 100) == []
    store.commit(Batch(updates=[OutgoingUpdate(7, "sent", 0, 1, "p7"), OutgoingUpdate(3, "pending", 5, 2)]))
    assert [r.id for r in store.unsent(0, 100)] == [1, 2, 3, 8, 13, 14, 19, 20]


def test_outgoing_rows_come_back_whole_by_id(store: Store) -> None:
    rows = [Outgoing(i, f"k{i}", i, "ocs", b"\x00\xff" * i, 10 * i, "sending", i, f"p{i}") for i in range(1, 4)]
    store.commit(Batch(outgoing=rows))
    assert store.outgoing([3, 1, 3, 99]) == [rows[0], rows[2]]


def test_updates_apply_in_order_and_an_empty_peer_id_leaves_the_rows(store: Store) -> None:
    store.commit(Batch(outgoing=[row(1), row(2)]))
    store.commit(
        Batch(
            outgoing=[row(3)],
            updates=[
                OutgoingUpdate(1, "sent", 5, 1, "peer-1"),
                OutgoingUpdate(2, "sending", 6, 1),
                OutgoingUpdate(1, "delivered", 7, 2),
                OutgoingUpdate(3, "dropped", 8, 0),
                OutgoingUpdate(44, "sent", 9, 1, "peer-44"),  # gone already
            ],
        )
    )
    found = [(r.status, r.due, r.attempts, r.peer_id) for r in store.outgoing([1, 2, 3, 44])]
    assert found == [("delivered", 7, 2, "peer-1"), ("sending", 1002, 1, ""), ("dropped", 8, 0, "")]
    store.commit(Batch(updates=[OutgoingUpdate(1, "failed", 9, 3, "peer-9")]))
    assert store.outgoing_by_peer_id("peer-1") is None
    assert store.outgoing_by_peer_id("peer-44") is None


def test_a_mark_that_is_committed_with_what_was_before_it_leaves_that_its_age(store: Store) -> None:
    store.commit(Batch(outgoing=[row(1)]))
    store.commit(Batch(updates=[OutgoingUpdate(1, "pending", 9, 1), OutgoingUpdate(1, "sending", 10, 2)]))
    (found,) = store.outgoing([1])
    assert (found.status, found.due, found.attempts) == ("sending", 9, 2)


def test_outgoing_is_found_by_peer_id_the_newest_first(store: Store) -> None:
    store.commit(Batch(outgoing=[row(1, "delivered", "a"), row(2, "sent", "a"), row(3)]))
    found = store.outgoing_by_peer_id("a")
    assert found is not None
    assert found.id == 2
    assert store.outgoing_by_peer_id("") is None
    assert store.outgoing_by_peer_id("b") is None


def test_what_the_caller_does_to_its_rows_stays_with_the_caller(store: Store) -> None:
    mine = row(1)
    store.commit(Batch(outgoing=[mine]))
    mine.status = "failed"
    (found,) = store.unsent(0, 1)
    found.status = "dropped"
    store.outgoing([1])[0].status = "sent"
    assert store.outgoing([1]) == [row(1)]


def test_what_was_answered_is_found_by_both_ids_the_newest_first(store: Store) -> None:
    first, second = Answered("ocs", "m1", "7", "", 1), Answered("info", "7", "7", "print", 2)
    unsent = Answered("ocs", "m2", "", "print", 3)
    store.commit(Batch(answered=[first]))
    store.commit(Batch(answered=[second, unsent]))
    assert store.answered_by_peer_id("7") == second
    assert store.answered_by_peer_id("") is None
    assert (store.answered("ocs", "m1"), store.answered("info", "7")) == (first, second)
    assert store.answered("ocs", "7") is None  # another account's
    assert store.answered("ocs", "m2") is None  # the SMSC does not have it
    assert store.latest_answered(2) == [second, unsent]


def test_the_newest_notification_of_a_key_is_found(store: Store) -> None:
    channels = ["sms", "notification"] * 5
    store.commit(Batch(outgoing=[Outgoing(i, f"k{i % 3}", 1, channels[i % 2], b"", 0) for i in range(1, 11)]))
    found = [store.notification(f"k{number}") for number in range(4)]
    assert [row and row.id for row in found] == [9, 7, 5, None]


def test_timers_are_due_in_order_until_done(store: Store) -> None:
    timers = [Timer(1, 300, 7, "c"), Timer(2, 100, 7, "a"), Timer(3, 100, 8, "b"), Timer(4, 900, 8, "d")]
    store.commit(Batch(timers=timers))
    assert store.timers_due(99, 10) == []
    assert store.timers_due(300, 10) == [timers[1], timers[2], timers[0]]
    assert store.timers_due(300, 2) == [timers[1], timers[2]]
    store.commit(Batch(timers=[Timer(5, 50, 7, "e")], timers_done=[2, 5, 77]))
    assert store.timers_due(1000, 10) == [timers[2], timers[0], timers[3]]


def test_decisions_are_kept_by_id(store: Store) -> None:
    store.commit(Batch(decisions=[(1, 7, 100, b"first"), (2, 7, 100, b"")]))
    assert (store.decision(1), store.decision(2), store.decision(3)) == (b"first", b"", None)


def test_responses_of_an_offer_come_oldest_first(store: Store) -> None:
    accepted = Response(7, 1, "offer-a", "accepted", "", 100)
    other = Response(7, 2, "offer-b", "declined", "", 101)
    refused = Response(7, 1, "offer-a", "refused", "insufficient_funds", 102)
    store.commit(Batch(responses=[accepted, other]))
    store.commit(Batch(responses=[refused]))
    assert store.responses("offer-a") == [accepted, refused]
    assert store.responses("offer-b") == [other]
    assert store.responses("offer-c") == []
    assert store.responses_to(["offer-b", "offer-a", "offer-c"]) == [accepted, other, refused]
    assert store.responses_to(["offer-b"]) == [other]
    assert store.responses_to([]) == []


def test_records_of_several_decisions_are_read_at_once(store: Store) -> None:
    store.commit(Batch(decisions=[(one, 7, 100, f"record {one}".encode()) for one in range(1, 4)]))
    assert store.decisions([3, 1, 9]) == {1: b"record 1", 3: b"record 3"}
    assert store.decisions([]) == {}


def test_playbooks_are_found_by_revision_and_the_latest_by_layout(store: Store) -> None:
    texts = {"offers/booster.yaml": "title: 500 MB für 1 день\n", "empty.yaml": ""}
    store.save_playbook("r1", "layout", texts)
    store.save_playbook("r2", "layout", {"a.yaml": "2"})
    store.save_playbook("r3", "other", {"a.yaml": "3"})
    assert store.playbook("r1") == texts
    assert store.playbook_with_layout("layout") == {"a.yaml": "2"}
    store.save_playbook("r1", "layout", texts)
    assert store.playbook_with_layout("layout") == texts
    store.save_playbook("r1", "newer", texts)  # newer code lays the same words out anew
    assert store.playbook_with_layout("layout") == texts
    assert store.playbook_with_layout("newer") == texts
    assert store.playbook("r2") == {"a.yaml": "2"}
    assert store.playbook("r4") is None
    assert store.playbook_with_layout("none") is None


def letter(identity: str, kind: str = "event", at: int = 100, **more: Any) -> DeadLetter:
    return DeadLetter(kind, identity, at, "15550100", "it broke", b"\x00payload", "trace", last=at, **more)


def test_dead_letters_come_back_newest_first_by_kind_and_status(store: Store) -> None:
    store.commit(Batch(dead_letters=[letter("a"), letter("b", "timer"), letter("c")]))
    found = store.dead_letters()
    assert [(one.identity, one.kind, one.status) for one in found] == [
        ("c", "event", "new"),
        ("b", "timer", "new"),
        ("a", "event", "new"),
    ]
    assert found[-1] == letter("a", id=found[-1].id)
    assert [one.identity for one in store.dead_letters("event", limit=1)] == ["c"]
    store.commit(Batch(letters_marked=[(found[0].id, "replay"), (found[1].id, "discarded"), (999, "replay")]))
    assert [one.identity for one in store.dead_letters(status="replay")] == ["c"]
    assert [one.identity for one in store.dead_letters("event", "new")] == ["a"]
    assert store.count_dead_letters() == {("event", "replay"): 1, ("event", "new"): 1, ("timer", "discarded"): 1}


def test_the_same_dead_letter_again_is_counted_and_new_again_unless_it_waits_for_its_replay(store: Store) -> None:
    store.commit(Batch(dead_letters=[letter("a"), letter("a", at=300, times=2)]))
    (found,) = store.dead_letters()
    assert (found.at, found.last, found.times) == (100, 300, 3)
    for marked, expected in (("replayed", "new"), ("discarded", "new"), ("replay", "replay")):
        store.commit(Batch(letters_marked=[(found.id, marked)]))
        store.commit(Batch(dead_letters=[letter("a", at=400)]))
        assert [(one.id, one.status) for one in store.dead_letters()] == [(found.id, expected)]


def test_the_oldest_dead_letters_of_a_kind_make_room_and_no_id_comes_back(store: Store) -> None:
    store.commit(Batch(dead_letters=[letter(f"e{i}") for i in range(5)] + [letter("t", "timer")]))
    oldest = store.dead_letters("event")[-1]
    store.commit(Batch(letters_marked=[(oldest.id, "replay")]))
    assert store.trim_dead_letters(2) == 2
    assert [one.identity for one in store.dead_letters("event")] == ["e4", "e3", "e0"]
    assert len(store.dead_letters("timer")) == 1
    newest = store.dead_letters()[0].id
    assert store.trim_dead_letters(0) == 3
    store.commit(Batch(dead_letters=[letter("later")]))
    assert store.dead_letters()[0].id > newest


def forget(store: Store, what: str, before: int, limit: int = 3) -> int:
    """All of it, however many turns that takes."""
    after = deleted = 0
    while True:
        gone = store.forget(what, before, after, limit)
        assert gone.reached == 0 or gone.reached > after
        deleted, after = deleted + gone.deleted, gone.reached
        if not after:
            return deleted


def test_what_is_old_and_closed_is_forgotten_and_no_id_comes_back(store: Store) -> None:
    states = ["sent", "pending", "delivered", "sending", "failed", "dropped", "sent", "sent"]
    rows = [Outgoing(i, "k", 7, "sms", b"", due=100 * i, status=said) for i, said in enumerate(states, 1)]
    store.commit(
        Batch(
            states={7: b"stays"},
            decisions=[(i, 7, 100 * i, b"") for i in range(1, 9)],
            timers=[Timer(1, 5000, 7, "epoch-2"), Timer(2, 5000, 7, "odd"), Timer(3, 5000, 7, "epoch-7")],
            outgoing=rows,
            responses=[Response(7, i, "offer", "accepted", "", 100 * i) for i in range(1, 9)],
            answered=[Answered("ocs", f"m{i}", f"p{i}", "", 100 * i) for i in range(1, 9)],
            dead_letters=[letter(str(i), at=100 * i) for i in range(1, 9)],
        )
    )
    first = store.dead_letters()[-1]
    store.commit(Batch(letters_marked=[(first.id, "replay")]))
    ids = store.next_ids()
    kinds = {"decisions": 4, "outbox": 3, "responses": 5, "answered": 5, "dead_letters": 4}
    for what, expected in kinds.items():
        assert forget(store, what, 600) == expected, what
        assert forget(store, what, 600) == 0, what
    assert [i for i in range(1, 9) if store.decision(i) is not None] == [2, 6, 7, 8], "2 has an offer that is open"
    assert [found.id for found in store.outgoing(range(1, 9))] == [2, 4, 6, 7, 8], "what waits is never deleted"
    assert [found.at for found in store.responses("offer")] == [600, 700, 800]
    assert [found.message_id for found in store.latest_answered(9)] == ["m6", "m7", "m8"]
    assert [found.identity for found in store.dead_letters()] == ["8", "7", "6", "1"]
    assert store.load([], [7]).states == {7: b"stays"}
    store.commit(Batch(timers_done=[1, 2, 3]))
    assert forget(store, "decisions", 2**62) == 4
    assert forget(store, "outbox", 2**62) == 3
    assert store.next_ids() == ids
    assert store.timers_due(2**62, 9) == []


def test_a_row_that_looks_young_holds_up_nothing_behind_it(store: Store) -> None:
    """A clock that jumped: rows are not in the order of their times."""
    store.commit(Batch(decisions=[(i, 7, at, b"") for i, at in enumerate([900, 100, 900, 100], 1)]))
    assert forget(store, "decisions", 600) == 2
    assert [i for i in range(1, 5) if store.decision(i) is not None] == [1, 3]


def test_however_many_offers_are_open_their_decisions_stay(store: Store) -> None:
    count = 30_100
    store.commit(Batch(decisions=[(n, 7, 500, b"") for n in range(1, count + 1)]))
    store.commit(Batch(timers=[Timer(n, 9_000, 7, f"offer-{n}") for n in range(1, count + 1)]))
    assert forget(store, "decisions", 600, 3000) == 0


def test_a_playbook_goes_when_no_decision_and_no_layout_needs_it(store: Store) -> None:
    def decided(first: int, last: int) -> None:
        store.commit(Batch(decisions=[(i, 7, i, b"") for i in range(first, last + 1)]))

    store.save_playbook("r1", "old layout", {"a": "1"})
    store.save_playbook("r2", "layout", {"a": "2"})
    decided(1, 4)
    store.save_playbook("r3", "layout", {"a": "3"})
    decided(5, 8)
    store.save_playbook("r4", "layout", {"a": "4"})
    decided(9, 12)

    def known() -> list[str]:
        return [revision for revision in ("r1", "r2", "r3", "r4") if store.playbook(revision)]

    assert forget(store, "playbooks", 0) == 0
    assert forget(store, "decisions", 9) == 8
    assert forget(store, "playbooks", 0) == 1
    assert known() == ["r1", "r3", "r4"], "r1 is the last of its layout; r3 was followed too lately"
    assert forget(store, "decisions", 2**62) == 4
    assert forget(store, "playbooks", 0) == 0
    assert known() == ["r1", "r3", "r4"]


REPEATS: dict[str, Callable[[Batch], None]] = {
    "decision of an earlier batch": lambda batch: batch.decisions.append((1, 7, 0, b"again")),
    "decision twice": lambda batch: batch.decisions.extend([(5, 7, 0, b"x"), (5, 7, 0, b"y")]),
    "outgoing of an earlier batch": lambda batch: batch.outgoing.append(row(1)),
    "outgoing twice": lambda batch: batch.outgoing.extend([row(5), row(5)]),
    "timer of an earlier batch": lambda batch: batch.timers.append(Timer(1, 0, 7, "again")),
    "timer twice": lambda batch: batch.timers.extend([Timer(5, 0, 7, "x"), Timer(5, 0, 7, "y")]),
}


def everything(store: Store) -> list[object]:
    """All that the port lets one see of what these tests write."""
    return [
        store.next_ids(),
        store.load([NUMBER, "15550199"], range(20)),
        [store.decision(i) for i in range(1, 10)],
        store.outgoing(range(1, 10)),
        store.unsent(0, 100),
        store.timers_due(2**62, 100),
        store.responses("offer"),
        store.dead_letters(),
        store.latest_answered(10),
    ]


@pytest.mark.parametrize("name", REPEATS)
def test_a_commit_that_fails_midway_leaves_nothing(store: Store, name: str) -> None:
    def batch(mark: bytes, id_: int) -> Batch:
        return Batch(
            states={1: mark, 2: mark},
            identities=[("msisdn", NUMBER, id_, id_)],
            decisions=[(id_, 1, 0, mark)],
            outgoing=[row(id_)],
            updates=[OutgoingUpdate(1, "sending", id_, id_)],
            timers=[Timer(id_, 0, 1, "")],
            timers_done=[] if id_ == 1 else [1],
            responses=[Response(1, id_, "offer", "accepted", "", id_)],
            positions=[("in", 0, id_)],
            dead_letters=[letter(str(id_))],
            letters_marked=[] if id_ == 1 else [(1, "replay")],
            answered=[Answered("ocs", f"m{id_}", "p", "", id_)],
        )

    store.commit(batch(b"before", 1))
    before = everything(store)
    broken = batch(b"broken", 2)
    REPEATS[name](broken)
    with pytest.raises(StoreError):
        store.commit(broken)
    assert everything(store) == before
    store.commit(batch(b"after", 2))
    assert store.load([NUMBER], [1]) == Loaded({NUMBER: 2}, {2: b"after", 1: b"after"}, {NUMBER: 2})


def test_load_sees_a_commit_of_another_thread_whole_or_not_at_all(store: Store) -> None:
    """Two numbers move to new subscriptions in every commit, with states that say which commit it was."""
    numbers, rounds = ["15550101", "15550102"], 150

    def batch(turn: int) -> Batch:
        mark = b"%d" % turn
        subscribers = [2 * turn + 1, 2 * turn + 2]
        moved = [("msisdn", number, s, turn) for number, s in zip(numbers, subscribers, strict=True)]
        return Batch(states=dict.fromkeys(subscribers, mark) | {100_000: mark}, identities=moved)

    store.commit(batch(0))
    failures: list[BaseException] = []

    def commit_all() -> None:
        try:
            for turn in range(1, rounds):
                store.commit(batch(turn))
        except BaseException as error:
            failures.append(error)

    committer = threading.Thread(target=commit_all)
    committer.start()
    latest = 0
    while latest < rounds - 1 and not failures:
        alive = committer.is_alive()
        loaded = store.load(numbers, [100_000])
        assert len(loaded.states) == 3
        (mark,) = set(loaded.states.values())
        assert latest <= int(mark)
        latest = int(mark)
        assert loaded.subscribers == {numbers[0]: 2 * latest + 1, numbers[1]: 2 * latest + 2}
        assert alive or latest == rounds - 1
    committer.join()
    assert not failures


def test_the_latest_turn_of_a_switch_holds_and_every_turn_is_kept(store: Store) -> None:
    assert store.switches() == []
    off = Switch("marketing", False, "wrong prices", "ada", 1000)
    sms = Switch("channel:sms", False, "SMSC upgrade", "bob", 999)  # a clock that went back changes no order
    on = Switch("marketing", True, "mended", "ada", 998)
    for switch in (off, sms, on):
        store.turn_switch(switch)
    assert store.switches() == [sms, on]
    assert store.switch_history(10) == [on, sms, off]
    assert store.switch_history(1) == [on]


def test_figures_count_what_waits_by_channel(store: Store) -> None:
    assert store.figures(2**62).unsent == []
    own = [row(1), row(2, "sending"), row(3, "sent")]
    order = Outgoing(4, "key-4", 7, "ocs", b"payload", due=500)
    timers = [Timer(1, 100, 7, "offer"), Timer(2, 200, 7, "offer")]
    store.commit(Batch(outgoing=[*own, order], timers=timers))
    store.commit(Batch(updates=[OutgoingUpdate(1, "pending", 0, 1)]))  # news of a row forget when it was due
    found = store.figures(150)
    assert found.unsent == [Unsent("ocs", 1, 500), Unsent("sms", 2, 1002)]
    assert (found.timers_due, store.figures(200).timers_due, store.figures(99).timers_due) == (1, 2, 0)
    assert min(found.size, found.log_size) >= 0


def test_purchases_that_have_ended_go_by_their_last_news(store: Store) -> None:
    known = [("a", "done", 100), ("b", "stuck", 100), ("c", "refused", 599), ("d", "under_way", 1), ("e", "done", 600)]
    known += [(f"f{n}", "reversed", 300) for n in range(7)]
    made = {key: replace(purchase(key, status=status), changed=at) for key, status, at in known}
    store.commit(Batch(purchases=made))
    assert forget(store, "purchases", 600) == 9
    assert forget(store, "purchases", 600) == 0
    assert [one.key for one in store.purchases("", 20)] == ["b", "d", "e"]


def test_of_each_switch_the_latest_turn_stays_however_old(store: Store) -> None:
    for at, (name, is_on) in enumerate([("marketing", False), ("charging", False), ("marketing", True)], 1):
        store.turn_switch(Switch(name, is_on, "why", "who", at))
    assert forget(store, "switches", 600) == 1
    assert [(one.name, one.at) for one in store.switch_history(9)] == [("marketing", 3), ("charging", 2)]
    store.turn_switch(Switch("charging", True, "why", "who", 700))
    assert forget(store, "switches", 600) == 1
    assert [(one.name, one.on) for one in store.switches()] == [("charging", True), ("marketing", True)]


def test_the_state_of_a_subscription_goes_when_it_ended_long_ago(store: Store) -> None:
    def state(id_: int, ended: int, *purchases: Purchase) -> bytes:
        return encode(State(SCHEMA, id_, "", "", 0, known=KnownBy(ended=ended), purchases=list(purchases)))

    stuck = purchase("e-1", status="stuck")
    states = {1: state(1, 100), 2: state(2, 0), 3: state(3, 700), 4: state(4, 100, stuck), 5: b"odd", 6: state(6, 100)}
    names = [("msisdn", f"1202555010{id_}", id_, 1) for id_ in states]
    store.commit(Batch(states=states, identities=[*names, ("msisdn", "12025550120", 2, 50)]))
    store.commit(Batch(identities=[(kind, name, 0, 700 if id_ == 3 else 100) for kind, name, id_, _ in names]))
    for _ in range(2):  # until all that was written is settled
        store.commit(Batch(states=dict.fromkeys(range(1000, 9000), b"another's")))
    ids = store.next_ids()
    assert forget(store, "ended_subscriptions", 600) == 2
    assert forget(store, "ended_subscriptions", 600) == 0
    assert sorted(store.load([], range(1, 7)).states) == [2, 3, 4, 5]
    assert store.next_ids() == ids
    assert [held.subscriber for held in store.holders("12025550101")] == [1], "who had a number stays"
    store.commit(Batch(states={2: b"still written"}))
    assert store.load([], [1, 2]).states == {2: b"still written"}


def test_until_somebody_publishes_a_model_there_is_none(store: Store) -> None:
    assert store.model() is None
    assert store.model("learned-1-0123456789ab") is None


# -- messages of other systems -----------------------------------------------------------------------------------------


def passage(key: str, at: int = 1000, stand: Any = "accepted") -> Passage:
    return Passage(key, "vas", "c", 7, NUMBER, "1234", "service", stand, at, changed=at, valid=at + 5, receipt=1)


def test_what_becomes_of_a_message_is_kept_beside_what_it_was(store: Store) -> None:
    store.commit(Batch(passages=[passage("k")], passage_news=[PassageNews("k", "delayed", 1001, "quiet hours", 2000)]))
    assert store.passage("k") == replace(passage("k"), stand="delayed", changed=1001, why="quiet hours", until=2000)
    news = [
        PassageNews("k", "accepted", 2000, outgoing=9),
        PassageNews("k", "sent", 2001),
        PassageNews("gone", "sent", 1),
    ]
    store.commit(Batch(passage_news=news))
    assert store.passage("k") == replace(passage("k"), stand="sent", changed=2001, outgoing=9)
    store.commit(Batch(passages=[passage("k", 5000)]))  # it is there
    assert store.passages("c") == store.passages_to(7, 5) == [store.passage("k")]
    assert store.passage("k").at == 1000  # type: ignore[union-attr]
    assert store.passage("other") is None
    assert store.passages("") == store.passages_to(0, 5) == []


def test_communications_come_in_pages_the_newest_first(store: Store) -> None:
    made = [Communication(f"m{n}", "vas" if n % 2 else "bank", n, n, {"content": "é"}) for n in range(7)]
    store.commit(Batch(communications=made))
    store.commit(Batch(communications=[replace(made[3], gone=True), replace(made[5], document={"a": [1]}, changed=9)]))
    page, place = store.communications("vas", 0, 1)
    assert page == [replace(made[5], document={"a": [1]}, changed=9)]
    assert store.communications("vas", place, 2) == ([made[1]], 0), "one is gone"
    assert [one.id for one in store.communications("", 0, 99)[0]] == ["m6", "m5", "m4", "m2", "m1", "m0"]
    assert store.communication("m3") == replace(made[3], gone=True)
    assert store.communication("m9") is None


def test_listeners_are_kept_until_they_are_dropped(store: Store) -> None:
    one, two = Hub("b", "vas", "http://b", "", 1), Hub("a", "bank", "http://a", "x", 2)
    for listener in (two, one):
        store.put_listener(listener)
    assert store.listeners() == [one, two]
    store.drop_listener("b")
    store.drop_listener("none")
    assert store.listeners() == [two]


def test_old_messages_of_others_go_but_for_those_that_wait(store: Store) -> None:
    stands = ["accepted", "delayed", "refused", "sent", "delivered", "failed", "cancelled"]
    store.commit(Batch(passages=[passage(stand, n, stand) for n, stand in enumerate(stands)]))
    store.commit(Batch(communications=[Communication(f"m{n}", "vas", n, n * 100, {}) for n in range(5)]))
    assert forget(store, "passages", 5) == 3
    assert [one.key for one in store.passages("c")] == ["accepted", "delayed", "failed", "cancelled"]
    assert forget(store, "communications", 300) == 3
