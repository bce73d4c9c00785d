"""What could be said at a moment on record: the same by the same playbook, and by another what its own rules leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import HOUR, TEXTS, Bench

from kairos.decide import survivors_again
from kairos.domain.decision import Decision, read_decision
from kairos.domain.subscriber import Bucket
from kairos.domain.switch import Switch, Switches
from kairos.engine.playbook_tests import decide_test
from kairos.engine.program import Program, compile_program
from kairos.playbook import load_texts, read

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
BOTH = [("booster/small", "notification"), ("booster/large", "notification")]


def decision(bench: Bench, **data: Any) -> Decision:
    """The record of a call whose notification a line can ride on; booster/small and booster/large may be said."""
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + HOUR)]
    known: dict[str, Any] = {"service": "voice", "cost": 100, "balances": balances} | data
    work = bench.apply(bench.event("end_of_call", notification="Your call cost T$1.", **known))
    ((_, _, _, record),) = work.batch.decisions
    return read_decision(record)


def again(changed: Program, made: Decision, then: Program) -> list[tuple[str, str]]:
    deciding = replace(changed.decide, lists=())
    found = survivors_again(deciding, made, then.decide)
    return [(deciding.arms[arm].name, deciding.channels[channel]) for arm, channel in found]


def changed(file: str, old: str, new: str) -> Program:
    assert old in TEXTS[file]
    return compile_program(read(TEXTS | {file: TEXTS[file].replace(old, new)}))


def test_by_the_same_playbook_what_survived_survives_again() -> None:
    """On every moment of the example's own tests: complaints, bill shocks, freezes, the night, no consent."""
    program = compile_program(read(load_texts(EXAMPLE)))
    free = replace(program, decide=replace(program.decide, holdout=0.0, lists=()))
    several = 0
    for test in program.playbook.tests:
        made = decide_test(program, test).decision
        survived = list(zip(made.scores.arm, made.scores.channel, strict=True))
        assert survivors_again(free.decide, made, program.decide) == survived, test.name
        several += len(survived) > 1
    assert several > 3


def test_a_rule_is_asked_anew_and_another_name_is_another_arm(bench: Bench) -> None:
    bench.profile()
    made, then = decision(bench), bench.program
    assert again(then, made, then) == BOTH
    rich = changed("offers/booster.yaml", "balance >= price", "balance >= price + 10")
    assert again(rich, made, then) == BOTH[:1]
    renamed = changed("offers/booster.yaml", "offer: booster", "offer: lift")
    assert again(renamed, made, then) == [("lift/small", "notification"), ("lift/large", "notification")]


def test_a_gate_of_the_other_playbook_closes_and_what_was_closed_then_stays_closed(bench: Bench) -> None:
    bench.profile(open_tickets=1)
    paused, then = decision(bench), bench.program
    assert paused.gate == "open complaint"
    without = changed("contact_policy.yaml", "pause_while: {open complaint: open_tickets > 0}\n", "")
    assert again(without, paused, then) == []
    bench.profile(open_tickets=0)
    made = decision(bench)
    stricter = changed("contact_policy.yaml", "open_tickets > 0", "balance < 100")
    assert again(stricter, made, then) == []
    held = changed("contact_policy.yaml", "holdout: 0%", "holdout: 99.9%")
    assert again(held, made, then) == []


@pytest.mark.parametrize("off", ["action:booster", "marketing", "channel:notification"])
def test_what_was_switched_off_stays_off(bench_with: Callable[..., Bench], off: str) -> None:
    bench = bench_with()
    bench.profile()
    bench.engine.turn(Switches({off: Switch(off, False, "the prices are wrong", "ada", 0)}))
    made = decision(bench)
    assert made.chosen is None
    assert again(bench.program, made, bench.program) == []


def test_what_a_limit_refused_stays_refused_for_just_this_offer(bench: Bench) -> None:
    bench.profile()
    assert decision(bench).chosen is not None
    made, then = decision(bench), bench.program
    assert {one.rule for one in made.limits} == {"already open"}
    looser = changed("contact_policy.yaml", "at_most: 3", "at_most: 9")
    assert again(looser, made, then) == []
    renamed = changed("offers/booster.yaml", "offer: booster", "offer: lift")
    assert len(again(renamed, made, then)) == 2
