"""From one record to one moment of a log: what the choice was drawn from, how likely it was, and what it earned."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from tests.conftest import HOUR, Bench

from kairos.decide.decide import NO_ROOM
from kairos.domain.decision import Choice, Decision, Refusal
from kairos.domain.subscriber import Bucket
from kairos.engine.choices import pairs_of
from kairos.engine.replay import Replay, Target, outcomes_of, replay
from kairos.evaluate import SILENCE
from kairos.learn import FixedPropensity

DAY = 24 * HOUR
WINDOW = 7 * DAY


def decided(bench: Bench, **data: Any) -> Decision:
    """A call whose notification a line can ride on; booster/small and booster/large may be said."""
    bench.profile()
    known: dict[str, Any] = {
        "service": "voice",
        "cost": 100,
        "balances": [Bucket("main", 5000), Bucket("data", 1000, bench.now + HOUR)],
    }
    work = bench.apply(bench.event("end_of_call", notification="Your call cost T$1.", **(known | data)))
    ((_, _, _, record),) = work.batch.decisions
    return msgspec.msgpack.decode(record, type=Decision)


def replayed(bench: Bench, decision: Decision, *heard: tuple[str, int], target: Target | None = None) -> Replay:
    """`heard`: outcomes and how long after the decision."""
    rows = [(place, 1, decision.id, "", what, decision.now + after) for place, (what, after) in enumerate(heard)]
    programs = {bench.program.decide.revision: bench.program}
    return replay(
        [msgspec.msgpack.encode(decision)],
        programs.get,
        lambda _: None,
        outcomes_of(rows),
        target or Target(),
        window=WINDOW,
        end=decision.now + WINDOW,
    )


def said(made: Replay) -> list[str]:
    return ["nothing" if arm == SILENCE else made.names[arm] for arm in made.arm]


@pytest.mark.parametrize(
    ("heard", "earned"),
    [
        ([], 0),
        ([("declined", HOUR)], 0),
        ([("accepted", HOUR)], 2400),
        ([("accepted", HOUR), ("fulfilled", 2 * HOUR)], 2400),
        ([("accepted", HOUR), ("refused", 2 * HOUR)], 0),
        ([("accepted", HOUR), ("fulfilled", 2 * HOUR), ("reversed", DAY)], 0),
        ([("accepted", HOUR), ("fulfilled", 2 * HOUR), ("reversed", 8 * DAY)], 2400),
        ([("accepted", 8 * DAY)], 0),
    ],
)
def test_what_a_moment_earned_is_the_latest_that_was_heard_within_the_window(
    bench: Bench, heard: list[tuple[str, int]], earned: int
) -> None:
    made = replayed(bench, decided(bench), *heard)
    assert list(made.reward) == [earned]
    assert said(made) == ["booster/small", "booster/large"]
    assert list(made.probability) == [1]  # the fixed propensity takes the dearest
    assert list(made.target) == [0, 1]


def test_a_higher_purpose_and_what_did_not_fit_are_no_candidates(bench: Bench) -> None:
    both = decided(bench, cost=400)  # the hint is care, and care comes first
    assert len(both.scores.arm) == 3
    assert said(replayed(bench, both)) == ["off_peak_hint/night"]
    fell = Refusal(both.chosen.arm if both.chosen else -1, 0, NO_ROOM, 0)
    next_best = replace(both, limits=[fell], chosen=Choice(1, 0, "booster_line", 1))
    assert said(replayed(bench, next_best)) == ["booster/small", "booster/large"]
    nothing = replace(both, limits=[Refusal(arm, 0, NO_ROOM, 0) for arm in both.scores.arm], chosen=None)
    made = replayed(bench, nothing)
    assert (said(made), list(made.probability), list(made.target)) == (["nothing"], [1], [1])
    older = replace(both, chosen=Choice(1, 0, "booster_line", 1))  # decided when care did not come first
    assert (replayed(bench, older).strange, said(replayed(bench, older))) == (1, [])


def test_what_is_not_counted(bench: Bench) -> None:
    one = decided(bench)
    assert replayed(bench, replace(one, test=True)).moments == 0
    for change, count in (({"revision": "gone"}, "forgotten"), ({"model": "learned-1-gone"}, "unversioned")):
        made = replayed(bench, replace(one, **change))
        assert (made.moments, getattr(made, count), len(made.arm)) == (1, 1, 0)


def test_equals_share_a_fixed_propensity_and_an_arm_has_one_channel() -> None:
    arms = [[(0, 0), (1, 0), (1, 1), (2, 0)], [(0, 1)], [(0, 0), (2, 1)]]
    chances = FixedPropensity().choice_probabilities(pairs_of(arms), [], np.array([1.0, 1.0, 0.5]))
    assert chances.tolist() == [0.5, 0.5, 0, 0, 1, 1, 0]
    nothing = FixedPropensity(0).choice_probabilities(pairs_of(arms[2:]), [], np.array([1.0, 1.0, 0.5]))
    assert nothing.tolist() == [0.5, 0.5]
