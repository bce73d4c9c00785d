"""Who could have been spoken to, since when, and whether they were held out: what uplift compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kairos.decide import would_say
from kairos.decide.gates import HOLDOUT
from kairos.domain.decision import Decision
from kairos.engine.program import Program
from kairos.errors import KairosError, did_you_mean
from kairos.playbook import Playbook

read_decision = msgspec.msgpack.Decoder(Decision).decode
ProgramOf = Callable[[str], Program | None]


@dataclass(slots=True)
class Cohort:
    """Columns, one row a subscriber: from the first moment at which marketing would have spoken to them.

    Whatever was said to them afterwards is a consequence of their group, so nothing after that moment cuts them.
    """

    subscriber: list[int] = field(default_factory=list)
    since: list[int] = field(default_factory=list)  # ms
    held_out: list[bool] = field(default_factory=list)
    offer: list[str] = field(default_factory=list)  # that would have been said: see `kairos.decide.ghost`
    channel: list[str] = field(default_factory=list)
    model: list[str] = field(default_factory=list)
    trait: list[Any] = field(default_factory=list)  # the attribute's value at that moment
    share: float = 0.0  # planned for the holdout, on average
    agreed: float = 0.0  # share of the treated to whom just that offer was said at that moment
    # Everything that was said, to members and others: subscriber, when, channel, decision
    said: list[tuple[int, int, str, int]] = field(default_factory=list)
    moments: int = 0
    forgotten: int = 0  # decisions whose playbook is gone


def gather(records: Iterable[bytes], program_of: ProgramOf, by: str = "") -> Cohort:
    """The cohort of decision records in their order. Raises KairosError for an attribute that no playbook has."""
    cohort, known = Cohort(), set[int]()
    agreed, shares = 0, 0.0
    for decision, program in told(records, program_of, cohort):
        deciding = program.decide
        if decision.chosen:
            channel = deciding.channels[decision.chosen.channel]
            cohort.said.append((decision.subscriber, decision.now, channel, decision.id))
        if decision.subscriber in known:
            continue
        ghost = would_say(deciding, decision)
        if not ghost:
            continue
        arm, place = ghost
        known.add(decision.subscriber)
        cohort.subscriber.append(decision.subscriber)
        cohort.since.append(decision.now)
        cohort.held_out.append(decision.gate == HOLDOUT)
        cohort.offer.append(deciding.arms[arm].action.name)
        cohort.channel.append(deciding.channels[place])
        cohort.model.append(decision.model)
        cohort.trait.append(decision.row[place_of(program, by)] if by else None)
        agreed += decision.chosen is not None and deciding.arms[decision.chosen.arm].action is deciding.arms[arm].action
        shares += deciding.holdout
    cohort.share = shares / max(len(known), 1)
    cohort.agreed = agreed / max(len(known) - sum(cohort.held_out), 1)
    return cohort


def told(records: Iterable[bytes], program_of: ProgramOf, counts: Any) -> Iterator[tuple[Decision, Program]]:
    """Each decision that a report counts, with its program; `counts.moments` and `counts.forgotten` go up."""
    for record in records:
        decision = read_decision(record)
        if decision.test:
            continue
        program = program_of(decision.revision)
        counts.moments += 1
        if program is None:
            counts.forgotten += 1
        else:
            yield decision, program


def place_of(program: Program, by: str) -> int:
    """The place of an attribute in a row. Raises KairosError where there is none of that name."""
    if by in program.places:
        return program.places[by]
    raise no_such_attribute(by, program.playbook)


def no_such_attribute(by: str, playbook: Playbook) -> KairosError:
    names = [*playbook.vocabulary.attributes, *playbook.vocabulary.counters]
    hint = did_you_mean(by, names) or f"it has {', '.join(names)}"
    return KairosError(f"the playbook `{playbook.name}` has no attribute `{by}`; {hint}")
