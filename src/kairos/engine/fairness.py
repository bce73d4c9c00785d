"""Who was offered what, who was refused, and by which rule: counted by subscriber from decision records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kairos.decide import Verdict, explain
from kairos.engine.cohort import ProgramOf, place_of, told

EVERY = "every offer"  # what a gate refuses
OFFERED = ""  # in the place of a refusing rule


@dataclass(slots=True)
class Tally:
    """Counts of moments. A subscriber's trait is the first that was known (None: never)."""

    trait: dict[int, Any] = field(default_factory=dict)  # by subscriber
    asked: Counter[tuple[str, int]] = field(default_factory=Counter)  # offer, subscriber: moments that it answers
    # offer, rule (or OFFERED), subscriber
    happened: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    moments: int = 0
    forgotten: int = 0  # decisions whose playbook is gone


def count(records: Iterable[bytes], program_of: ProgramOf, by: str) -> Tally:
    """Count every decision. Raises KairosError for an attribute that a playbook does not have.

    A refusal is counted under the first rule that refused, as `kairos explain` names it; what was outranked by another
    offer was neither said nor refused.
    """
    tally = Tally()
    for decision, program in told(records, program_of, tally):
        who = decision.subscriber
        if tally.trait.get(who) is None:
            tally.trait[who] = decision.row[place_of(program, by)]
        tally.asked[EVERY, who] += 1
        if decision.chosen:
            tally.happened[EVERY, OFFERED, who] += 1
        if decision.gate:
            tally.happened[EVERY, decision.gate, who] += 1
        for offer, verdict in _by_offer(explain(program.decide, decision)).items():
            if verdict.state in ("gate", "moment"):
                continue
            tally.asked[offer, who] += 1
            if verdict.state == "chosen":
                tally.happened[offer, OFFERED, who] += 1
            elif verdict.state != "outranked":
                tally.happened[offer, verdict.reason, who] += 1
    return tally


def _by_offer(verdicts: Iterable[Verdict]) -> dict[str, Verdict]:
    """Of the variants of each offer, the verdict on the one that came furthest."""
    furthest: dict[str, Verdict] = {}
    for verdict in verdicts:
        known = furthest.get(verdict.action)
        if known is None or _STAGES[verdict.state] > _STAGES[known.state]:
            furthest[verdict.action] = verdict
    return furthest


_STAGES = {stage: place for place, stage in enumerate(("moment", "gate", "rule", "limit", "outranked", "chosen"))}
