"""Forgetting a person in the engine's transaction: what is refused, what is gone at once, and what outlives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import MSISDN, Bench

from kairos.adapters.memory import MemoryStore
from kairos.domain.erasure import Erasure
from kairos.domain.inputs import Change, Fulfilment
from kairos.domain.subscriber import Bucket
from kairos.engine.suppression import Suppression
from kairos.engine.work import Answer


def forget(bench: Bench, name: str = MSISDN, *, force: bool = False) -> Answer:
    bench.serial += 1
    return bench.apply(Erasure(f"erase/{bench.serial}", name, bench.now, "asked", force)).answers[0]


def offered(bench: Bench, main: int = 5000) -> str:
    """The key of what they were just offered by SMS."""
    bench.profile()
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=[Bucket("main", main), Bucket("data", 9)]))
    return next((one.key for one in bench.state().offers), "")


def test_nobody_has_the_number_and_a_later_event_makes_a_new_subscriber(bench: Bench) -> None:
    assert offered(bench)
    before = bench.state()
    assert forget(bench).status == "applied"
    assert bench.store.load([MSISDN], []).subscribers == {}
    empty = bench.store.load([], [before.id]).states[before.id]
    assert MSISDN.encode() not in empty
    assert b"prepaid" not in empty
    assert forget(bench).outcome == "unknown"
    bench.apply(bench.event("recharge", amount=100))
    after = bench.state()
    assert after.id != before.id
    assert (after.offers, after.contacts, after.decisions[:-1]) == ([], [], [])


def test_all_of_it_may_happen_in_one_batch(bench: Bench) -> None:
    bench.profile()
    first = bench.state().id
    erasure = Erasure("e1", MSISDN, bench.now)
    work = bench.apply(
        bench.event("recharge", amount=1), erasure, bench.event("recharge", amount=2), bench.event("recharge", amount=3)
    )
    assert [one.status for one in work.answers] == ["applied"] * 4
    assert bench.state().id != first
    new = "12025550777"
    work = bench.apply(bench.event("recharge", msisdn=new, amount=1), Erasure("e2", new, bench.now))
    assert [one.status for one in work.answers] == ["applied", "applied"]
    assert bench.store.load([new], []).subscribers == {}


def test_it_flies_with_the_batches_under_way(bench: Bench) -> None:
    bench.profile()
    first = bench.state().id
    erased = bench.engine.apply([Erasure("e1", MSISDN, bench.now)], bench.now)
    following = bench.engine.apply([bench.event("recharge", amount=2)], bench.now)
    for work in (erased, following):
        bench.store.commit(work.batch)
        bench.engine.flying.remove(work)
    assert bench.state().id != first


def test_what_is_being_bought_comes_first_unless_forced(bench: Bench) -> None:
    key = offered(bench)
    bench.apply(bench.reply("YES"))
    refused = forget(bench)
    assert (refused.status, refused.outcome) == ("rejected", "held")
    assert f"purchase `{key}` is under_way" in refused.reason
    assert bench.state().purchases
    before = bench.state().id
    assert forget(bench, force=True).status == "applied"
    (order,) = [row for row in bench.store.unsent(0, 10) if row.channel == "ocs"]
    bench.apply(Fulfilment(order.id, before, key, "done", bench.now))
    purchase = bench.store.purchase(key)
    assert purchase is not None
    assert purchase.status == "done"
    assert [row.channel for row in bench.store.unsent(order.id, 10)] == []  # nobody is left to be told


def test_what_was_promised_comes_first_unless_forced(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with()
    bench.profile()
    poor = [Bucket("main", 100), Bucket("data", 900_000)]
    bench.apply(bench.event("end_of_call", notification="x", service="voice", cost=1, balances=poor))
    assert [one.redeemed_by for one in bench.state().offers] == ["recharge"]
    assert "is promised" in forget(bench).reason
    assert forget(bench, force=True).status == "applied"
    bench.apply(bench.event("recharge", amount=1000))
    assert [row for row in bench.store.unsent(0, 10) if row.channel == "ocs"] == []


@pytest.mark.parametrize(("said", "kept"), [("STOP", True), ("YES", False)])
def test_a_no_outlives_it_under_a_mark(bench: Bench, said: str, kept: bool) -> None:
    bench.engine.suppression = Suppression(b"secret")
    bench.profile()
    bench.apply(bench.reply(said))
    assert (forget(bench).outcome == "suppressed") is kept
    assert list(bench.store.suppressed().values()) == ([("marketing_consent",)] if kept else [])
    bench.engine.suppression = Suppression(b"secret", bench.store.suppressed())  # as after a start
    bench.apply(bench.event("recharge", amount=1))
    place = bench.program.plan.places["marketing_consent"]
    assert bench.state().attributes[place] is (False if kept else None)
    assert ("marketing_consent" in bench.state().proofs) is kept
    bench.apply(bench.event("recharge", msisdn="12025550199", amount=1))  # another number is another person's
    assert bench.state("12025550199").attributes[place] is None
    bench.now += 1
    bench.profile()  # who agrees anew, agrees
    assert bench.state().attributes[place] is True


def test_whoever_gets_the_number_next_said_no_such_thing(bench: Bench) -> None:
    bench.engine.suppression = Suppression(b"secret")
    bench.profile()
    bench.apply(bench.reply("STOP"))
    forget(bench)
    bench.apply(Change("c", "number_assigned", MSISDN, bench.now))
    assert bench.state().attributes[bench.program.plan.places["marketing_consent"]] is None


def test_all_names_are_forgotten_and_those_of_others_are_not(bench: Bench) -> None:
    def known(msisdn: str, imsi: str) -> None:
        event = bench.event("profile", msisdn=msisdn, plan="prepaid")
        named = {"imsi": imsi, "account": "A-17"}
        bench.apply(type(event)(event.identity, event.kind, msisdn, bench.now, event.data, None, named))

    known(MSISDN, "001010000000001")
    known("12025550124", "001010000000002")
    assert forget(bench, "imsi:001010000000001").status == "applied"
    found = bench.store.load(
        [MSISDN, "imsi:001010000000001", "imsi:001010000000002", "account:A-17", "12025550124"], []
    ).subscribers
    other = found["12025550124"]
    assert found == {"12025550124": other, "imsi:001010000000002": other, "account:A-17": other}


def test_who_had_the_number_before_is_still_known_to_have_had_it(bench: Bench) -> None:
    bench.profile()
    first = bench.state().id
    bench.now += 1000
    bench.apply(Change("c", "number_recycled", MSISDN, bench.now))
    assert bench.state().id != first
    forget(bench)
    assert [one.subscriber for one in bench.store.holders(MSISDN)] == [first]
    late: Any = bench.event("recharge", amount=7)
    bench.apply(type(late)(late.identity, late.kind, MSISDN, bench.now - 500, late.data))
    assert bench.store.load([MSISDN], []).subscribers == {MSISDN: 0}


def test_a_store_that_is_empty_has_no_marks() -> None:
    assert MemoryStore().suppressed() == {}
