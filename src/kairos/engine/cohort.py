"""Who could have been spoken to, since when, and whether they were held out: what uplift compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kairos.decide import could_say, kept_from, would_say
from kairos.decide.gates import CONTROL, HOLDOUT
from kairos.domain.decision import Decision, read_decision
from kairos.engine.program import Program
from kairos.errors import KairosError, did_you_mean
from kairos.playbook import Playbook

ProgramOf = Callable[[str], Program | None]


@dataclass(slots=True)
class Met:
    """How many met an offer with a control group: on either side, and to how many of them it was said."""

    treated: int = 0
    control: int = 0
    told: int = 0
    told_of_control: int = 0
    planned: float = 0.0  # of the control group, where each share counts for those who came in under it

    @property
    def share(self) -> float:
        return self.planned / (self.treated + self.control)


@dataclass(slots=True)
class Controls:
    """Columns, one row for an offer with a control group and a subscriber: from the first moment at which that offer
    could have been said to them, whatever was said in its place.

    Until that moment the group made no difference to them, and from it on all of the difference is the offer's. Who
    is held out from all marketing is on neither side.
    """

    subscriber: list[int] = field(default_factory=list)
    since: list[int] = field(default_factory=list)  # ms
    held_out: list[bool] = field(default_factory=list)  # in the offer's control group
    offer: list[str] = field(default_factory=list)
    share: list[float] = field(default_factory=list)  # planned
    told: set[tuple[str, int]] = field(default_factory=set)  # offer, subscriber: it was said at all
    met: set[tuple[str, int]] = field(default_factory=set)  # those of the columns

    def enter(self, program: Program, decision: Decision) -> None:
        """Take in whoever meets an offer with a control group here for the first time."""
        deciding, who = program.decide, decision.subscriber
        awaited = []
        for arms, share, _ in deciding.controls:
            name = deciding.arms[(arms & -arms).bit_length() - 1].action.name
            if (name, who) not in self.met:
                awaited.append((name, arms, share))
        could = could_say(deciding, decision) if awaited else {}
        for name, arms, share in awaited:
            if any(open_arms & arms for open_arms in could.values()) and not kept_from(decision, HOLDOUT, arms):
                self.met.add((name, who))
                self.subscriber.append(who)
                self.since.append(decision.now)
                self.held_out.append(kept_from(decision, CONTROL, arms))
                self.offer.append(name)
                self.share.append(share)

    def offers(self) -> dict[str, Met]:
        """How many met each offer, by name and in that order."""
        found = {name: Met() for name in sorted(set(self.offer))}
        for name, who, held_out, share in zip(self.offer, self.subscriber, self.held_out, self.share, strict=True):
            one, told = found[name], (name, who) in self.told
            one.planned += share
            one.treated += not held_out
            one.control += held_out
            one.told += told and not held_out
            one.told_of_control += told and held_out
        return found


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
    controls: Controls = field(default_factory=Controls)
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
            if deciding.controls:
                cohort.controls.told.add((deciding.arms[decision.chosen.arm].action.name, decision.subscriber))
        if deciding.controls:
            cohort.controls.enter(program, decision)
        if decision.subscriber in known:
            continue
        ghost = would_say(deciding, decision)
        if not ghost:
            continue
        arm, place = ghost
        known.add(decision.subscriber)
        cohort.subscriber.append(decision.subscriber)
        cohort.since.append(decision.now)
        cohort.held_out.append(kept_from(decision, HOLDOUT, deciding.held_out))
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
