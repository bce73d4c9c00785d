"""May a message of another system pass? The contact policy's answer, by the stages that decide what kairos says itself.

Each purpose is an arm of a program of its own, which holds the policy and none of the playbook's actions: so what is
decided here is what would be decided for an own message of that purpose, and costs nothing where no such message comes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from kairos.decide.decide import Survivors, limits, record
from kairos.decide.gates import QUIET, admit, resting
from kairos.decide.program import Program, compile_program
from kairos.domain.moment import Moment
from kairos.domain.purpose import STANDINGS, Purpose
from kairos.playbook.action import Action, Treatment, Variant
from kairos.playbook.playbook import Playbook
from kairos.playbook.policy import window_name

CHANNEL = "sms"
PLACE = 1  # of the channel, after the notification
KIND = "message"


class Verdict(NamedTuple):
    """What stops a message, and until when (ms; 0: nobody knows). It `waits` for what the clock lifts for everybody."""

    rule: str = ""
    until: int = 0
    waits: bool = False


PASSES = Verdict()


def compile_passing(playbook: Playbook) -> Program:
    """The contact policy alone. What reads an event can say nothing here, and is not asked."""
    actions = tuple(_action(purpose) for purpose in STANDINGS)
    program = compile_program(replace(playbook, actions=actions, messages={"": {}}, testers=(), budgets=()))
    return replace(
        program,
        gates=tuple(gate for gate in program.gates if gate.anytime),
        lists=tuple(gate for gate in program.lists if gate.anytime),
        gates_on=tuple(tuple(gate for gate in gates if gate.anytime) for gates in program.gates_on),
        advices=frozenset(action.name for action in playbook.actions if not action.makes_offer),
    )


def _action(purpose: Purpose) -> Action:
    return Action(
        name=f"messages of others for {purpose}",
        kind="care",
        title="",
        issue="",
        variants=(Variant("", 0, 0, ""),),
        answers={KIND: -1},
        treatments=(Treatment("", CHANNEL, ""),),
        accept_within=0,
        after_decline=0,
        purpose=purpose,
    )


def passes(program: Program, moment: Moment, purpose: Purpose) -> Verdict:
    """What the whole policy says, limits included, of a message that would go out now."""
    made, arm = record(program, moment), program.of_purpose[purpose]
    alive = admit(program, moment, made, arm)
    if not alive:
        return Verdict(made.gate, made.until, made.until > 0)  # of these gates only a freeze window has an end
    survivors = Survivors()
    limits(program, moment, made, alive, 0, survivors)
    if survivors.arms:
        return PASSES
    first = made.limits[0]
    return Verdict(first.rule, first.until, _waits(program, first.rule))


def still_passes(program: Program, moment: Moment, purpose: Purpose) -> Verdict:
    """What has come since it was let through: it is a contact by now, so limits are not asked again."""
    made, arm = record(program, moment), program.of_purpose[purpose]
    if not admit(program, moment, made, arm):
        return Verdict(made.gate, made.until, made.until > 0)
    for gate in program.gates_on[PLACE]:
        if arm & gate.arms and not gate.opens(moment.row):
            return Verdict(gate.name)
    rule, until = resting(program, moment.row, moment.now, PLACE) if arm & program.quiet else ("", 0)
    return Verdict(rule, until, bool(rule))


def _waits(program: Program, rule: str) -> bool:
    return rule in (QUIET, window_name(CHANNEL)) or any(rule == one.freeze.why for one in program.freezes)
