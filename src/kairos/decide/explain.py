"""Why: every arm's verdict, derived from a decision record and the program of its revision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kairos.decide.gates import HOLDOUT
from kairos.decide.program import Program, wanted
from kairos.domain.decision import Decision, Refusal

NOT_ASKED = "does not answer this moment"
TOO_OLD = "the moment was too old"
NO_TREATMENT = "no treatment on a channel that was open"

State = Literal["chosen", "outranked", "gate", "moment", "rule", "limit"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one arm: `reason` names its first refusing rule, gate or limit; `until` is ms, 0 where none."""

    arm: str
    action: str
    state: State
    reason: str = ""
    until: int = 0
    propensity: float = 0.0
    priority: float = 0.0


def explain(program: Program, decision: Decision) -> list[Verdict]:
    """A verdict for every arm of the playbook, in its order. Raises ValueError for a record of another revision."""
    if decision.revision != program.revision:
        raise ValueError(f"decision {decision.id} was made with playbook {decision.revision}, not {program.revision}")
    return [_verdict(program, decision, arm) for arm in range(len(program.arms))]


def _verdict(program: Program, decision: Decision, bit: int) -> Verdict:
    arm = program.arms[bit]
    refusal = _refusal(program, decision, bit)
    if refusal:
        state, reason, until = refusal
        return Verdict(arm.name, arm.action.name, state, reason, until)
    chance = max(p for a, p in zip(decision.scores.arm, decision.scores.propensity, strict=True) if a == bit)
    best = decision.chosen.arm if decision.chosen else bit
    chosen = decision.chosen is not None and best == bit
    return Verdict(
        arm.name,
        arm.action.name,
        "chosen" if chosen else "outranked",
        "" if chosen else _outranked(program, best, bit),
        0,
        chance,
        chance * float(program.worth[bit]),
    )


def _outranked(program: Program, best: int, bit: int) -> str:
    """By which arm, and whether it comes first, whatever they are worth: by its purpose, or as the policy names it."""
    first = program.rank is not None and bool(program.rank[best] > program.rank[bit])
    return f"outranked by {program.arms[best].name}" + ", which comes first" * first


def _refusal(program: Program, decision: Decision, bit: int) -> tuple[State, str, int] | None:
    """The first thing that refused an arm, in the order of the stages."""
    if decision.asked:
        return _not_asked(program, decision, bit)
    age = decision.now - decision.happened
    ages = [at_most for at_most, mask in program.answers.get(decision.kind, ()) if mask >> bit & 1]
    if not ages:
        return "moment", NOT_ASKED, 0
    if 0 <= ages[0] < age:
        return "moment", TOO_OLD, 0
    if shut := _shut(program, decision, bit):
        return shut
    failed = int.from_bytes(decision.failed, "little")
    for condition, rule in program.reasons[bit]:
        if failed >> condition & 1 and not _passed_over(program, decision, bit, condition):
            return "rule", rule.name, 0
    return _limited(decision, bit)


def _passed_over(program: Program, decision: Decision, bit: int, condition: int) -> bool:
    """Whether a condition was not asked of an arm: a list for all passes over what matters to one."""
    listed = decision.listed and program.held_out >> bit & 1
    return bool(listed and not program.in_market[bit] >> condition & 1)


def _not_asked(program: Program, decision: Decision, bit: int) -> tuple[State, str, int] | None:
    """What refused an arm where a tester was to get one offer: its rules were not asked."""
    if not wanted(program, decision.asked) >> bit & 1:
        return "moment", f"`{decision.asked}` was asked for", 0
    return _shut(program, decision, bit) or _limited(decision, bit)


def _shut(program: Program, decision: Decision, bit: int) -> tuple[State, str, int] | None:
    """The first gate that was closed for an arm."""
    if decision.gate and not decision.gates:  # an older record
        passed = not decision.care_too and program.arms[bit].action.kind == "care"
        return None if passed else ("gate", decision.gate, decision.until)
    for shut in decision.gates:
        if decision.listed and shut.rule == HOLDOUT:
            continue
        if int.from_bytes(shut.arms, "little") >> bit & 1:
            return "gate", shut.rule, shut.until
    return None


def _limited(decision: Decision, bit: int) -> tuple[State, str, int] | None:
    """Refused on every channel that was open: the limit that is lifted soonest."""
    refusals = [refusal for refusal in decision.limits if refusal.arm in (-1, bit)]
    refused_on = {refusal.channel for refusal in refusals}
    survived = zip(decision.scores.arm, decision.scores.channel, strict=True)
    if any(arm == bit and channel not in refused_on for arm, channel in survived):
        return None
    if not refusals:
        return "limit", NO_TREATMENT, 0
    soonest = min(refusals, key=_lifted)
    return "limit", soonest.rule, soonest.until


def _lifted(refusal: Refusal) -> float:
    return refusal.until if refusal.until > 0 else float("inf")
