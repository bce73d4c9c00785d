"""The life of offers: no way back, one order each, and never two under one number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from kairos.domain.inputs import Reply
from kairos.domain.subscriber import SCHEMA, Cooldown, OpenOffer, State
from kairos.respond import (
    ANSWERABLE_FOR,
    HIGHEST,
    Replies,
    accept,
    decline,
    expire,
    find,
    forget,
    open_offer,
    set_status,
    stop,
    take_number,
    understand,
    withdraw,
)

NOW = 1_772_625_600_000
HOUR = 3_600_000
MakeOffer = Callable[..., OpenOffer]
MakeState = Callable[..., State]
STATUSES = ("open", "accepted", "fulfilled", "refused", "declined", "expired", "withdrawn")
STEPS = {("open", s) for s in ("accepted", "declined", "expired", "withdrawn")}
STEPS |= {("accepted", "fulfilled"), ("accepted", "refused")}


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("after", STATUSES)
def test_transitions(make_offer: MakeOffer, make_state: MakeState, before: str, after: str) -> None:
    state = make_state(make_offer(1), make_offer(2, before))
    moved = set_status(state, "key-2", after, NOW)
    if (before, after) in STEPS:
        assert moved is not None
        assert (moved.status, moved.changed) == (after, NOW)
        assert find(state, "key-2") is moved
    else:
        assert moved is None
        assert find(state, "key-2") == make_offer(2, before)
    assert find(state, "key-1") == make_offer(1)


def test_what_is_not_there_does_not_change(make_offer: MakeOffer, make_state: MakeState) -> None:
    state = make_state(make_offer(1))
    for change in (accept, decline, expire, withdraw):
        assert change(state, "another", NOW) is None
        assert change(state, "", NOW) is None
    assert state.offers == [make_offer(1)]
    assert state.cooldowns == []


def test_an_offer_is_opened_once(make_offer: MakeOffer, make_state: MakeState) -> None:
    state = make_state()
    open_offer(state, make_offer(1))
    accept(state, "key-1", NOW)
    open_offer(state, make_offer(1))  # the input came again
    assert [offer.status for offer in state.offers] == ["accepted"]


@pytest.mark.parametrize(
    ("before", "after_decline", "cooldowns"),
    [
        ([], 24 * HOUR, [("action-1", NOW + 24 * HOUR)]),
        ([], -1, [("action-1", -1)]),
        ([], 0, []),
        ([("action-1", -1)], 24 * HOUR, [("action-1", -1)]),
        ([("action-1", NOW + 48 * HOUR)], 24 * HOUR, [("action-1", NOW + 48 * HOUR)]),
        ([("action-1", NOW + 2 * HOUR)], 24 * HOUR, [("action-1", NOW + 24 * HOUR)]),
        ([("action-1", NOW + 2 * HOUR)], -1, [("action-1", -1)]),
        ([("other", NOW), ("third", NOW + 1)], 0, [("third", NOW + 1)]),  # what is over goes
    ],
)
def test_a_decline_cools_down(
    make_offer: MakeOffer,
    make_state: MakeState,
    before: list[tuple[str, int]],
    after_decline: int,
    cooldowns: list[tuple[str, int]],
) -> None:
    state = make_state(make_offer(1, after_decline=after_decline))
    state.cooldowns = [Cooldown(*cooldown) for cooldown in before]
    assert decline(state, "key-1", NOW) is not None
    assert state.cooldowns == [Cooldown(*cooldown) for cooldown in cooldowns]
    assert decline(state, "key-1", NOW + HOUR) is None  # again: nothing more
    assert state.cooldowns == [Cooldown(*cooldown) for cooldown in cooldowns]


def test_a_no_to_a_promise_is_remembered_and_the_promise_kept(make_offer: MakeOffer, make_state: MakeState) -> None:
    promise = make_offer(1, kind="promise", after_decline=HOUR)
    state = make_state(promise)
    assert decline(state, promise.key, NOW) == promise
    assert state.offers == [promise]
    assert [cooldown.until for cooldown in state.cooldowns] == [NOW + HOUR]
    assert accept(state, promise.key, NOW) is not None
    assert decline(state, promise.key, NOW) is None


def test_stop_keeps_what_was_promised_and_what_was_taken(make_offer: MakeOffer, make_state: MakeState) -> None:
    offers = [make_offer(1), make_offer(2, kind="promise"), make_offer(3, "accepted"), make_offer(4)]
    state = make_state(*offers)
    assert [offer.number for offer in stop(state, NOW)] == [1, 4]
    assert [offer.status for offer in state.offers] == ["withdrawn", "open", "accepted", "withdrawn"]
    assert stop(state, NOW) == []


# --- numbers ------------------------------------------------------------------------------------------------------


def test_the_lowest_free_number(make_offer: MakeOffer, make_state: MakeState) -> None:
    assert take_number(make_state(), NOW) == 1
    assert take_number(make_state(make_offer(1), make_offer(3)), NOW) == 2
    assert take_number(make_state(*[make_offer(n, "declined") for n in range(1, HIGHEST)]), NOW) == HIGHEST
    assert take_number(make_state(*[make_offer(n) for n in range(1, HIGHEST + 1)]), NOW) == 0


@pytest.mark.parametrize(
    ("status", "changed", "expires", "free_at"),
    [
        ("expired", NOW, NOW, NOW + ANSWERABLE_FOR),
        ("fulfilled", NOW, NOW + 24 * HOUR, NOW + 24 * HOUR + ANSWERABLE_FOR),  # its message still says: reply 1
        ("declined", NOW, NOW + HOUR, NOW + HOUR + ANSWERABLE_FOR),
        ("refused", NOW, NOW - HOUR, NOW + ANSWERABLE_FOR),  # the order took longer than the offer was valid
        ("withdrawn", NOW, NOW + HOUR, NOW + HOUR + ANSWERABLE_FOR),
        ("open", 0, NOW, None),
        ("accepted", NOW, NOW, None),
    ],
)
def test_a_number_is_free_when_no_answer_can_arrive_any_more(
    make_offer: MakeOffer, make_state: MakeState, status: str, changed: int, expires: int, free_at: int | None
) -> None:
    state = make_state(make_offer(1, status, changed=changed, expires=expires))
    assert take_number(state, (free_at or NOW + 1000 * ANSWERABLE_FOR) - 1) == 2
    assert len(state.offers) == 1
    if free_at is not None:
        assert take_number(state, free_at) == 1
        assert state.offers == []


def test_forget_keeps_what_can_still_be_answered(make_offer: MakeOffer, make_state: MakeState) -> None:
    state = make_state(make_offer(1, "expired", expires=0), make_offer(2), make_offer(3, "expired"))
    forget(state, NOW)
    assert [offer.number for offer in state.offers] == [2, 3]


# --- a whole life -------------------------------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """One subscriber: offers are made, answered, ordered, settled and forgotten, in any order, as time goes on."""

    make_offer: MakeOffer
    replies: Replies

    def __init__(self) -> None:
        super().__init__()
        self.state = State(SCHEMA, 1, "12025550123", "", 0)
        self.now = NOW
        self.made = 0
        self.orders: Counter[str] = Counter()

    @rule(hours=st.integers(1, 60))
    def time_goes_on(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(valid=st.integers(1, 100), kind=st.sampled_from(["sell", "gift", "promise"]))
    def an_offer_is_made(self, valid: int, kind: str) -> None:
        number = take_number(self.state, self.now)
        if number:
            self.made += 1
            times = {"made": self.now, "expires": self.now + valid * HOUR}
            open_offer(self.state, self.make_offer(number, key=f"k{self.made}", kind=kind, **times))

    @rule(text=st.sampled_from(["yes", "no", "1", "2", "yes 3", "no 1", "stop", "hm"]))
    def a_reply_comes(self, text: str) -> None:
        found = understand(self.replies, Reply("r", "12025550123", "5000", text, self.now), self.state, "en", self.now)
        if found.meaning == "accept":
            assert found.offer is not None
            taken = accept(self.state, found.offer.key, self.now)
            assert taken is not None  # what is understood as a yes can be taken
            self.orders[taken.key] += 1
            assert accept(self.state, found.offer.key, self.now) is None
        elif found.meaning == "decline" and found.offer:
            decline(self.state, found.offer.key, self.now)
        elif found.meaning == "stop":
            stop(self.state, self.now)

    @precondition(lambda self: self.state.offers)
    @rule(data=st.data(), status=st.sampled_from(["fulfilled", "refused", "expired", "withdrawn", "accepted"]))
    def something_happens_to_an_offer(self, data: st.DataObject, status: str) -> None:
        offer = data.draw(st.sampled_from(self.state.offers))
        moved = set_status(self.state, offer.key, status, self.now)
        if moved and moved.status == "accepted":
            self.orders[moved.key] += 1

    @invariant()
    def one_order_each(self) -> None:
        assert all(count == 1 for count in self.orders.values())

    @invariant()
    def a_number_names_one_offer(self) -> None:
        numbers = [offer.number for offer in self.state.offers]
        assert len(numbers) == len(set(numbers))


def test_no_life_orders_twice_or_shares_a_number(make_offer: MakeOffer, replies: Replies) -> None:
    machine = type("ThisLife", (Life,), {"make_offer": staticmethod(make_offer), "replies": replies})
    run_state_machine_as_test(machine, settings=settings(deadline=None, max_examples=60, stateful_step_count=40))
