"""What is remembered for how long, and what is forgotten."""

from __future__ import annotations

import msgspec
import pytest

from kairos.domain.event import Event
from kairos.domain.subscriber import Bucket, Contact, Cooldown, State
from kairos.enrich import (
    IDENTITIES_KEPT,
    IDENTITIES_KEPT_FOR,
    Plan,
    Remembered,
    counter_buckets,
    fold,
    new_state,
    prune,
    remember,
    row,
)

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 20_833 * DAY


@pytest.fixture
def state(plan: Plan) -> State:
    return new_state(plan, 7, "447700900001", NOW)


class TestIdentities:
    def test_a_repeat_is_known(self, state: State) -> None:
        assert remember(state, "ocs/1", NOW) == Remembered(True, 0)
        assert remember(state, "ocs/2", NOW) == Remembered(True, 0)
        assert remember(state, "ocs/1", NOW + HOUR) == Remembered(False, 0)

    def test_two_days_long_and_a_repeat_does_not_lengthen_it(self, state: State) -> None:
        kept_for = IDENTITIES_KEPT_FOR * 1000
        remember(state, "ocs/1", NOW)
        assert not remember(state, "ocs/1", NOW + kept_for - 1000).new
        assert remember(state, "ocs/1", NOW + kept_for).new

    def test_the_latest_few_are_kept_and_early_evictions_counted(self, state: State) -> None:
        for number in range(IDENTITIES_KEPT):
            assert remember(state, f"ocs/{number}", NOW) == Remembered(True, 0)
        assert remember(state, "one more", NOW) == Remembered(True, 1)
        assert remember(state, "ocs/0", NOW) == Remembered(True, 1)
        assert not remember(state, "ocs/2", NOW).new

    def test_what_expired_is_no_early_eviction(self, state: State) -> None:
        for number in range(IDENTITIES_KEPT):
            remember(state, f"ocs/{number}", NOW)
        assert remember(state, "later", NOW + IDENTITIES_KEPT_FOR * 1000) == Remembered(True, 0)
        assert len(state.seen) == 12

    def test_a_mark_across_two_entries_is_none(self, state: State) -> None:
        mark = bytes.fromhex(MARK_OF_OCS_1)
        second = NOW // 1000
        state.seen = b"1234" + mark[:4] + second.to_bytes(4, "big") + mark[4:] + b"5678" + second.to_bytes(4, "big")
        state.seen = state.seen[:4] + mark + state.seen[12:]  # the mark's octets, but not at an entry's place
        assert remember(state, "ocs/1", NOW).new
        assert not remember(state, "ocs/1", NOW).new

    def test_the_mark_is_stable(self, state: State) -> None:
        """Stored states outlive the process, so the mark may not depend on it; a lone surrogate is text too."""
        remember(state, "ocs/1", NOW)
        remember(state, "\ud800", NOW)
        # printf ocs/1 | b2sum -l 64
        assert state.seen[:8] == bytes.fromhex(MARK_OF_OCS_1)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State) == state


MARK_OF_OCS_1 = "8e4a501cd320bd53"


class TestPrune:
    def test_contacts_older_than_the_longest_limit_go(self, plan: Plan, state: State) -> None:
        state.contacts = [Contact(NOW - age, 1, "sms", "booster", "upsell", False) for age in (DAY + 1, DAY, DAY - 1)]
        prune(plan, state, NOW, DAY)
        assert [NOW - contact.at for contact in state.contacts] == [DAY - 1]

    def test_but_for_those_that_still_wait_for_an_answer(self, plan: Plan, state: State) -> None:
        state.contacts = [Contact(NOW - age * DAY, 9 - age, "sms", "a", "b", False) for age in (4, 3, 2, 1)]
        prune(plan, state, NOW, DAY, unanswered={5, 7})
        assert [contact.decision for contact in state.contacts] == [5, 7]

    def test_cooldowns_that_are_over_go(self, plan: Plan, state: State) -> None:
        state.cooldowns = [Cooldown("a", NOW), Cooldown("b", NOW + 1), Cooldown("never again", -1)]
        prune(plan, state, NOW, DAY)
        assert [cooldown.action for cooldown in state.cooldowns] == ["b", "never again"]

    def test_empty_and_expired_balances_go_and_are_still_known_to_be_nothing(self, plan: Plan, state: State) -> None:
        buckets = [Bucket("main", 0), Bucket("data", 5, NOW), Bucket("voice", 9, NOW + 1), Bucket("voice", -4)]
        fold(plan, state, Event("1", "end_of_call", "447700900001", NOW - 1, {"balances": buckets}))
        before = row(plan, state, "", {}, NOW, NOW)
        prune(plan, state, NOW, DAY)
        assert state.buckets == buckets[2:]
        assert row(plan, state, "", {}, NOW, NOW) == before
        assert before[plan.vocabulary.columns.index("balance")] == 0

    def test_counter_buckets_that_left_their_window_go(self, plan: Plan, state: State) -> None:
        for age in (3 * DAY, 2 * DAY, DAY + 1, HOUR, 0):
            fold(plan, state, Event(str(age), "recharge", "447700900001", NOW - age, {"amount": 100}))
        before = row(plan, state, "", {}, NOW, NOW)
        prune(plan, state, NOW, DAY)
        one_day = list(plan.vocabulary.counters).index("recharged_1d")
        assert counter_buckets(state, one_day) == [(NOW - HOUR) // HOUR, 100, NOW // HOUR, 100]
        assert row(plan, state, "", {}, NOW, NOW) == before
        prune(plan, state, NOW + 31 * DAY, DAY)
        assert not any(counter_buckets(state, place) for place in range(len(plan.totals)))
