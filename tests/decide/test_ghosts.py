"""What would have been said is the same for whoever was held out, whatever became of the others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.conftest import HOUR, NOON

from kairos.decide import would_say
from kairos.domain.decision import Choice, Decision, Refusal, Scores
from kairos.domain.subscriber import Bucket
from kairos.engine.program import Program


def decision(bench: Any, **data: Any) -> Decision:
    """The record of a call whose notification a line can ride on; booster/small and booster/large may be said."""
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + HOUR)]
    known = {"service": "voice", "cost": 100, "balances": balances} | data
    work = bench.apply(bench.event("end_of_call", notification="Your call cost T$1.", **known))
    ((_, _, _, record),) = work.batch.decisions
    return msgspec.msgpack.decode(record, type=Decision)


def names(program: Program, found: tuple[int, int] | None) -> tuple[str, str] | None:
    return found and (program.decide.arms[found[0]].name, program.decide.channels[found[1]])


def test_it_is_the_best_by_worth_for_the_treated_and_the_held_out(bench: Any) -> None:
    bench.profile()
    said = decision(bench)
    assert said.chosen is not None
    program = bench.program
    assert names(program, would_say(program.decide, said)) == ("booster/large", "notification")
    held_out = replace(said, gate="holdout", scores=Scores(), chosen=None, failed=b"")
    assert would_say(program.decide, held_out) == would_say(program.decide, said)


def test_what_can_differ_between_the_groups_is_not_asked(bench: Any) -> None:
    bench.profile()
    said = decision(bench)
    refused = replace(said, chosen=None, limits=[Refusal(-1, -1, "3 per day", 0)], scores=Scores())
    other = replace(said, chosen=Choice(0, 0, "booster_line", 2), model="another")
    found = {would_say(bench.program.decide, one) for one in (said, refused, other)}
    assert len(found) == 1


def test_care_is_no_marketing(bench: Any) -> None:
    bench.profile()
    balances = [Bucket("main", 5000), Bucket("data", 900_000, bench.now + HOUR)]
    hint = decision(bench, cost=400, balances=balances)
    assert hint.chosen is not None  # the hint is said to anybody
    assert would_say(bench.program.decide, hint) is None


@pytest.mark.parametrize(
    "change",
    [{"gate": "marketing consent"}, {"gate": "open complaint"}, {"test": True}, {"now": NOON + HOUR}],
    ids=["no consent", "paused", "a tester", "too old"],
)
def test_nothing_is_said_where_nobody_would_have_been_spoken_to(bench: Any, change: dict[str, Any]) -> None:
    bench.profile()
    assert would_say(bench.program.decide, replace(decision(bench), **change)) is None


def test_own_messages_keep_quiet_hours(bench: Any) -> None:
    bench.profile()
    alone = replace(decision(bench), riding=False)
    assert names(bench.program, would_say(bench.program.decide, alone)) == ("booster/large", "sms")
    night = replace(alone, row=(*alone.row[:-1], alone.row[-1] + 10 * HOUR))
    assert would_say(bench.program.decide, night) is None
    assert would_say(bench.program.decide, replace(night, riding=True)) is not None


def test_a_record_of_another_playbook_is_an_error(bench: Any) -> None:
    bench.profile()
    with pytest.raises(ValueError, match="was made with playbook old"):
        would_say(bench.program.decide, replace(decision(bench), revision="old"))
