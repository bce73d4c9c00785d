"""The ledger: what counts, how much, and since when."""

from __future__ import annotations

import numpy as np
import pytest

from kairos.learn.answers import Answers

HOUR = 3_600_000
WINDOW = 24 * HOUR


def ledger(offers: int = 4, capacity: int = 1000) -> Answers:
    made = Answers(2, WINDOW, capacity)
    offer(made, range(1, offers + 1))
    return made


def offer(made: Answers, ids: range) -> None:
    many = len(ids)
    levels = (np.array(ids) % 256).astype(np.uint8).repeat(2).reshape(many, 2)
    made.offer(np.array(ids), levels, np.zeros(many, int), np.full(many, 0.1), 0)


def test_nothing_counts_before_delivery() -> None:
    made = ledger()
    made.take(1, HOUR)
    made.decline(2)
    assert made.weights(WINDOW).tolist() == [0, 0, 0, 0]
    assert not made.taken.any()


def test_each_answer_counts_as_it_should() -> None:
    made = ledger(5)
    for id in (1, 2, 3, 4):  # noqa: A001
        made.deliver(id, 0)
    made.take(1, HOUR)
    made.decline(2)
    made.decline(3)
    made.take(3, 5 * HOUR)  # bought after all
    assert made.weights(WINDOW).tolist() == [1, 1, 1, 1, 0]
    assert made.taken.tolist() == [True, False, True, False, False]


def test_a_yes_after_the_window_is_no_answer_to_the_offer() -> None:
    made = ledger()
    made.deliver(1, 0)
    made.take(1, WINDOW + 1)
    assert not made.taken.any()
    assert made.weights(WINDOW + 1)[0] == 1


def test_what_is_not_answered_counts_by_the_yeses_that_would_have_come() -> None:
    made = Answers(2, WINDOW)
    offer(made, range(1, 200))
    for id in range(1, 200):  # noqa: A001
        made.deliver(id, 0)
    for id in range(1, 101):  # noqa: A001
        made.take(id, 2 * HOUR if id % 2 else 4 * HOUR)
    waiting = [float(made.weights(hours * HOUR)[150]) for hours in (1, 3, 5, 24)]
    assert waiting == pytest.approx([0.01, 0.44, 0.87, 1], abs=0.03)


def test_what_is_undone_counts_nothing_and_tells_nothing_of_delays() -> None:
    made, never = ledger(), ledger()
    for id in (1, 2):  # noqa: A001
        made.deliver(id, 0)
    made.take(1, 23 * HOUR)
    made.undo(1)
    never.deliver(2, 0)
    for hours in (1, 12, 24):
        assert made.weights(hours * HOUR).tolist() == never.weights(hours * HOUR).tolist()


def test_where_there_is_no_more_room_yeses_stay_and_others_count_for_those_that_went() -> None:
    made = Answers(2, WINDOW, capacity=1000)
    for first in range(1, 2501, 100):
        offer(made, range(first, first + 100))
        for id in range(first, first + 100):  # noqa: A001
            made.deliver(id, 0)
            if id % 10 == 0:
                made.take(id, HOUR)
    assert made.count <= 1000
    kept, weights = made.rows["id"][: made.count], made.weights(WINDOW)
    assert kept[made.taken].tolist() == list(range(10, 2501, 10))
    assert kept[-100:].tolist() == list(range(2401, 2501))
    assert float(weights.sum()) == pytest.approx(2500, rel=0.02)
    assert weights[made.taken].sum() == 250
    assert made.levels[made.count - 1].tolist() == [2500 % 256] * 2


def test_where_that_is_not_enough_the_oldest_go() -> None:
    made = Answers(2, WINDOW, capacity=1000)
    for first in range(1, 3001, 100):
        offer(made, range(first, first + 100))
        for id in range(first, first + 100):  # noqa: A001
            made.deliver(id, 0)
            made.take(id, HOUR)
    assert made.count <= 1000
    assert made.rows["id"][: made.count].tolist() == list(range(3001 - made.count, 3001))
    made.undo(1)
    made.undo(3000)
    assert np.flatnonzero(~made.taken).tolist() == [made.count - 1]


def test_what_was_bought_elsewhere_is_a_yes_where_it_had_arrived_by_then() -> None:
    made = ledger(5)
    for id in (1, 2, 3):  # noqa: A001
        made.deliver(id, HOUR)
    made.decline(2)
    made.buy(1, 2 * HOUR)
    made.buy(2, 2 * HOUR)
    made.buy(3, HOUR - 1)  # before it arrived: it was asked in vain
    made.buy(4, 2 * HOUR)
    made.buy(5, 2 * HOUR)
    assert made.taken.tolist() == [True, True, False, False, False]
    made.deliver(4, HOUR)  # its receipt came later
    made.undo(5)
    made.deliver(5, HOUR)
    assert made.taken.tolist() == [True, True, False, True, False]
    assert made.weights(3 * HOUR).tolist() == [1, 1, 0, 1, 0]
    assert made.rows["delay"][3] == HOUR
