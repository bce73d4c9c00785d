"""The decision: an ordered list of plain stages over a batch of moments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

import numpy as np

from kairos import __version__
from kairos.decide.budgets import Ledger
from kairos.decide.freezes import frozen
from kairos.decide.gates import admit, resting
from kairos.decide.limits import Refused, refused
from kairos.decide.program import Arm, Closed, Program, answering, bits, told_on
from kairos.decide.sources import as_agreed
from kairos.domain.budget import Taken
from kairos.domain.decision import Choice, Decision, Refusal, Scores
from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.ports import Scorer

NO_ROOM = "no text fits"
TOLD = "told just now"
NO_SCORE = "no score"


@dataclass(frozen=True, slots=True)
class Composed:
    """A treatment in words: the whole text that would go out, and the number to reply with (0: none).

    `template_id`: under which the regulator knows it.
    """

    text: str
    number: int
    template_id: str = ""
    subject: str = ""
    html: str = ""
    media: str = ""


@dataclass(slots=True)
class Decided:
    """A decision record, with the arm and the words of what was chosen, and what that takes of budgets."""

    decision: Decision
    arm: Arm | None = None
    composed: Composed | None = None
    taken: tuple[Taken, ...] = ()


Compose = Callable[[Moment, Arm, str, str], Composed | None]  # moment, arm, channel, message; None: no text fits
Draw = Callable[[int, int], float]  # decision id, arm -> 0..1, always the same for the same two


def decide(
    program: Program,
    moments: Sequence[Moment],
    scorer: Scorer,
    draw: Draw,
    compose: Compose,
    ledger: Ledger | None = None,
) -> list[Decided]:
    """Decide for every moment of a batch.

    No two of them may be of one subscriber: the second must see the first's effects. What they take of budgets is
    reserved in the `ledger`, in their order.
    """
    decided = [Decided(record(program, moment, scorer.version)) for moment in moments]
    survivors = Survivors()
    for index, (moment, draft) in enumerate(zip(moments, decided, strict=True)):
        alive = gates(program, moment, draft.decision)
        alive = eligibility(program, moment, draft.decision, alive)
        if ledger and alive & ledger.arms and not moment.test:
            alive = budgets(ledger, draft.decision, alive)
        limits(program, moment, draft.decision, alive, index, survivors)
    if survivors.moment:
        pairs = propensity(program, survivors, moments, scorer)
        if program.in_market:
            _unpersonal(pairs, decided)
        pairs = scored(program, pairs, decided)
        for index, ranked in arbitration(program, pairs, decided, draw):
            treatment(program, moments[index], decided[index], ranked, compose, ledger)
    return decided


@dataclass(slots=True)
class Survivors:
    """Columns that grow: one row for each (moment, channel) with the mask of its arms, ordered by moment."""

    moment: list[int] = field(default_factory=list)
    channel: list[int] = field(default_factory=list)
    arms: list[int] = field(default_factory=list)

    def add(self, moment: int, arms: int, channel: int) -> None:
        if arms:
            self.moment.append(moment)
            self.channel.append(channel)
            self.arms.append(arms)


def record(program: Program, moment: Moment, model: str = "") -> Decision:
    """The record of a moment, of which nothing is decided yet."""
    return Decision(
        id=moment.id,
        subscriber=moment.state.id,
        identity=moment.identity,
        kind=moment.kind,
        happened=moment.happened,
        now=moment.now,
        revision=program.revision,
        model=model,
        code=__version__,
        row=moment.row,
        riding=moment.riding,
        test=moment.test,
        asked=moment.asked,
        where=moment.where,
    )


def gates(program: Program, moment: Moment, decision: Decision) -> int:
    """The arms that answer this moment and that no gate is closed for."""
    return admit(program, moment, decision, moment.wanted or answering(program, moment))


def eligibility(program: Program, moment: Moment, decision: Decision, alive: int) -> int:
    """The arms all of whose rules hold; each distinct condition is evaluated once."""
    if not alive:
        return 0
    passed, failed = program.check.run(moment.row)
    decision.failed = failed.to_bytes((failed.bit_length() + 7) // 8, "little")
    if decision.listed:
        passed = (passed & ~program.held_out) | (_in_market(program, failed) & program.held_out)
    return alive if moment.wanted else alive & passed


def _in_market(program: Program, failed: int) -> int:
    """The arms that all may have who meet their conditions, whether they matter to them now or not."""
    return sum(1 << arm for arm, needed in enumerate(program.in_market) if not needed & failed)


def budgets(ledger: Ledger, decision: Decision, alive: int) -> int:
    """The arms that no budget refuses."""
    for full in ledger.full:
        decision.limits.extend([Refusal(arm, -1, full.budget, full.until) for arm in bits(alive & full.arms)])
    return alive & ~ledger.arms


def limits(program: Program, moment: Moment, decision: Decision, alive: int, index: int, survivors: Survivors) -> None:
    """The (arm, channel) pairs that no limit refuses survive; what is refused is written down.

    Where there is a notification to ride on, nothing else interrupts: the only channel is the notification.
    """
    closed = Closed() if moment.past_switches else program.closed
    alive = _switched(closed, decision, alive)
    if moment.told:
        alive = _untold(moment, decision, alive)
    on_channel = told_on(program, moment.where) if moment.where else program.on_channel
    for channel in _channels(program, moment):
        candidates = offered = alive & on_channel[channel]
        if not candidates:
            continue
        if closed.channels and closed.channels[channel]:
            decision.limits.append(Refusal(-1, channel, closed.channels[channel], 0))
            continue
        for gate in program.gates_on[channel]:
            if candidates & gate.arms and not (gate.opens_to_tester if moment.test else gate.opens)(moment.row):
                candidates = _refuse(decision, candidates, gate.arms, channel, gate.name, 0, offered)
        rests, until = (
            resting(program, moment.row, moment.now, channel)
            if channel and not (moment.wanted or moment.where)
            else ("", 0)
        )
        if rests:
            candidates = _refuse(decision, candidates, program.quiet, channel, rests, until, offered)
        parts = _frozen(program, channel, moment.now) if program.freezes else ()
        counted = () if moment.test else refused(program, moment, channel)
        for mask, rule, until in chain(parts, counted):
            candidates = _refuse(decision, candidates, mask, channel, rule, until)
        survivors.add(index, candidates, channel)


def _refuse(
    decision: Decision, candidates: int, arms: int, channel: int, rule: str, until: int, offered: int = 0
) -> int:
    """The candidates that are left; what is refused is written down, in one line where it is all that was `offered`."""
    hit = candidates & arms
    if hit:
        refused = [-1] if hit == offered else bits(hit)
        decision.limits.extend([Refusal(arm, channel, rule, until) for arm in refused])
    return candidates & ~arms


def _channels(program: Program, moment: Moment) -> Sequence[int]:
    """Those that are open; what a tester asked for and what can only ride is said to them all the same."""
    if moment.where:
        return program.pulled
    if moment.riding:
        return (0,)
    own = [channel for channel in program.own_channels if moment.wanted & program.on_channel[channel]]
    return own or (0,) if moment.wanted else program.own_channels


def _switched(closed: Closed, decision: Decision, alive: int) -> int:
    """The arms that no switch has turned off."""
    for mask, rule in closed.arms:
        decision.limits.extend([Refusal(arm, -1, rule, 0) for arm in bits(alive & mask)])
        alive &= ~mask
    return alive


def _untold(moment: Moment, decision: Decision, alive: int) -> int:
    """The arms that this request has not been told already."""
    decision.limits.extend([Refusal(arm, -1, TOLD, 0) for arm in bits(alive & moment.told)])
    return alive & ~moment.told


def _frozen(program: Program, channel: int, now: int) -> list[Refused]:
    """What freeze windows of a part refuse on a channel; those of everything are gates."""
    windows = [(window, until) for window, until in frozen(program, now) if not window.whole]
    return [(window.arms, window.freeze.why, until) for window, until in windows if channel in window.channels]


def propensity(program: Program, survivors: Survivors, moments: Sequence[Moment], scorer: Scorer) -> Pairs:
    """The survivors of the whole batch as columns, one row for each (moment, arm, channel), scored in one call."""
    width = (len(program.arms) + 7) // 8
    masks = b"".join([arms.to_bytes(width, "little") for arms in survivors.arms])
    table = np.unpackbits(np.frombuffer(masks, np.uint8), bitorder="little").reshape(-1, 8 * width)
    place, arm = table.nonzero()
    moment, channel = np.array((survivors.moment, survivors.channel), np.int32)[:, place]
    unknown = np.zeros(len(arm))
    pairs = Pairs(moment, arm.astype(np.int32), channel, unknown, unknown)
    pairs.propensity = scorer.score(pairs, as_agreed(program, moments))
    return pairs


def _unpersonal(pairs: Pairs, decided: Sequence[Decided]) -> None:
    """The order of a list for all is that of worth: nobody's chance of a yes is looked at."""
    for index, draft in enumerate(decided):
        if draft.decision.listed:
            pairs.propensity[pairs.moment == index] = 1.0


def scored(program: Program, pairs: Pairs, decided: Sequence[Decided]) -> Pairs:
    """Those that have a score. Where the model is broken and gives none (NaN), marketing is silent, and what is none
    goes on without."""
    lacking = np.isnan(pairs.propensity)
    if not lacking.any():
        return pairs
    kept = ~lacking
    for row in np.flatnonzero(lacking).tolist():
        arm = int(pairs.arm[row])
        if program.scored >> arm & 1:
            refusal = Refusal(arm, int(pairs.channel[row]), NO_SCORE, 0)
            decided[pairs.moment[row]].decision.limits.append(refusal)
        else:
            kept[row] = True
    chances = np.where(lacking, 0.0, pairs.propensity)[kept]
    return Pairs(pairs.moment[kept], pairs.arm[kept], pairs.channel[kept], chances, pairs.priority[kept])


def arbitration(
    program: Program, pairs: Pairs, decided: Sequence[Decided], draw: Draw
) -> Iterator[tuple[int, list[int]]]:
    """For each moment with survivors: the places of its scores, the best first.

    A higher purpose comes first, and within it what the policy names; then propensity x value x weight decides, and
    between equals a draw that is keyed by decision and arm.
    """
    if not len(pairs.arm):
        return
    pairs.priority = pairs.propensity * program.worth[pairs.arm]
    places = () if program.rank is None else (-program.rank[pairs.arm],)
    worst = (*places, -pairs.priority)
    order = np.lexsort((*reversed(worst), pairs.moment))
    ordered, moment = pairs.priority[order], pairs.moment
    equal = (ordered[1:] == ordered[:-1]).tolist()  # each with the next
    starts = ((moment[1:] != moment[:-1]).nonzero()[0] + 1).tolist()
    ranks, arm, channel, chance = order.tolist(), pairs.arm.tolist(), pairs.channel.tolist(), pairs.propensity.tolist()
    for start, end in pairwise([0, *starts, len(ranks)]):
        index = int(moment[start])
        decision = decided[index].decision
        decision.scores = Scores(arm[start:end], channel[start:end], chance[start:end])
        ranked = ranks[start:end]
        if True in equal[start : end - 1] and not decision.listed:
            ranked.sort(key=lambda place: (*(by[place] for by in worst), draw(decision.id, arm[place]), channel[place]))
        yield index, [place - start for place in ranked]


def treatment(
    program: Program, moment: Moment, draft: Decided, ranked: list[int], compose: Compose, ledger: Ledger | None
) -> None:
    """Put the best into words; where no text fits, say so and try the next.

    What the moments before have left of its budgets is looked at again, and taken.
    """
    ledger = None if moment.test else ledger
    exhausted = ledger.arms if ledger else 0
    scores = draft.decision.scores
    for place in ranked:
        bit, channel = scores.arm[place], scores.channel[place]
        if ledger and exhausted >> bit & 1:
            full = ledger.full_for(bit)
            draft.decision.limits.append(Refusal(bit, channel, full.budget, full.until))
            continue
        message = program.message[channel][bit]
        composed = compose(moment, program.arms[bit], program.channels[channel], message)
        if composed:
            draft.arm, draft.composed = program.arms[bit], composed
            draft.decision.chosen = Choice(bit, channel, message, composed.number)
            draft.taken = ledger.take(bit) if ledger else ()
            return
        draft.decision.limits.append(Refusal(bit, channel, NO_ROOM, 0))


def keyed_draw(seed: str) -> Draw:
    """A draw that depends on the seed, the decision and the arm, and on nothing else."""

    def draw(decision: int, arm: int) -> float:
        digest = hashlib.blake2b(f"{seed}/{decision}/{arm}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    return draw
