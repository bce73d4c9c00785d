"""What deciding needs of a playbook, compiled once: arms as bits, rules as one function, limits as data."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kairos.decide.purchases import Purchases, compile_purchases
from kairos.domain.address import usable
from kairos.domain.channel import INBOUND, NOTIFICATION, PULLED, USSD, USSD_PUSH
from kairos.domain.decision import Decision
from kairos.domain.moment import Moment
from kairos.domain.purpose import STANDINGS, minding
from kairos.playbook.action import Action, NamedRule, Variant
from kairos.playbook.budget import Budget
from kairos.playbook.budget_file import budgets_of, need
from kairos.playbook.placeholders import placeholders
from kairos.playbook.playbook import Playbook
from kairos.playbook.policy import ContactPolicy, Freeze, Gate, Limit, Window
from kairos.playbook.vocabulary import Vocabulary
from kairos.rules import Check, compile_check, compile_false, compile_true

NO_ADDRESS = "no address"
BAD_ADDRESS = "address cannot be used"
ZONE = "time_zone"  # the attribute with a subscriber's own

Predicate = Callable[[Sequence[Any]], bool]


@dataclass(frozen=True)
class Arm:
    """One variant of one action: what is scored and chosen. `bit` is its place in every mask."""

    bit: int
    action: Action
    variant: Variant

    @property
    def name(self) -> str:
        return f"{self.action.name}/{self.variant.name}" if self.variant.name else self.action.name


@dataclass(frozen=True, slots=True)
class Closed:
    """What switches close, each with the refusal's name: everything, arms by masks, channels by their place."""

    all: str = ""
    arms: tuple[tuple[int, str], ...] = ()
    channels: tuple[str, ...] = ()  # an empty name: open; empty: all are


@dataclass(frozen=True)
class Frozen:
    """A freeze window with what it stops: a mask of arms and the channels' places. `whole`: any issue, anywhere."""

    freeze: Freeze
    arms: int
    channels: frozenset[int]
    whole: bool


@dataclass(frozen=True, slots=True)
class Gated:
    """A consent, a register or a pause, for a mask of arms. `anytime`: it reads no event, so it can be asked again."""

    name: str
    arms: int
    opens: Predicate
    opens_to_tester: Predicate
    anytime: bool
    file: str = ""  # of the numbers that it is closed for


@dataclass(frozen=True, slots=True)
class Sourced:
    """The places in a row of what a source of data stands behind, and when a subscriber has agreed to its use."""

    places: tuple[int, ...]
    opens: Predicate
    opens_to_tester: Predicate


@dataclass(frozen=True, slots=True)
class Budgeted:
    """A budget with what an offer takes of it: each amount above zero with its arms, and the greatest of them."""

    budget: Budget
    needs: tuple[tuple[int, int], ...]
    most: int


@dataclass(frozen=True)
class Program:
    """A playbook as decide runs it. Masks are integers whose bit a stands for `arms[a]`."""

    revision: str
    columns: tuple[str, ...]
    arms: tuple[Arm, ...]
    named: Mapping[tuple[str, str], Arm]  # by action and variant
    channels: tuple[str, ...]  # the notification first, those that are pulled last
    check: Check
    worth: NDArray[np.float64]  # value x weight by arm
    answers: Mapping[str, tuple[tuple[int, int], ...]]  # kind -> (how old the moment may be in ms, or -1; mask)
    rank: NDArray[np.int32] | None  # by arm: what is higher comes first; None: all are alike
    of_purpose: Mapping[str, int]
    switched: int  # arms that the switch of all marketing stops
    scored: int  # arms that are not said without a score
    of_action: Mapping[str, int]
    of_issue: Mapping[str, int]
    own_channels: range  # those of messages of their own
    pulled: range  # those of who asks, where anything can be said
    on_channel: tuple[int, ...]  # by channel: arms with a treatment there
    told: tuple[int, ...]  # by channel: those of them that are told there to who asks
    told_by_ussd: tuple[int, ...]  # and to who asks in a USSD menu: with its own words, else with those of all
    message: tuple[Mapping[int, str], ...]  # by channel: arm -> message
    gates: tuple[Gated, ...]  # consents, registers and pauses that concern every channel
    lists: tuple[Gated, ...]  # registers in files
    sources: tuple[Sourced, ...]  # of data, whose use somebody must agree to
    gates_on: tuple[tuple[Gated, ...], ...]  # by channel: those that concern it alone; whether there is an address
    address_at: Mapping[str, int]  # by channel: the place of theirs in a row, where it is not the MSISDN
    quiet_hours: tuple[int, int] | None
    windows: tuple[Window, ...]  # by channel: when messages of their own may go out; empty: any time
    quiet: int  # arms that mind both
    limits: tuple[tuple[Limit, ...], ...]  # by channel: those that count there, with what saturation counts
    saturation: tuple[Limit, ...]  # the latter, of all channels
    advices: frozenset[str]  # actions that nobody can answer
    purchases: Purchases
    counted: int  # arms that mind limits, where nothing else is said
    longest_limit: int  # ms; contacts older than this count nowhere
    holdout: float
    held_out: int  # arms that it holds back
    in_market: tuple[int, ...]  # by arm: the conditions of the list that it is told when it asks; empty: nothing is
    controls: tuple[tuple[int, float, str], ...]  # of an action: its arms, its control group's share, and salt
    seed: str
    time_zone: str  # of whoever has none of their own, at this place in a row (-1: nobody has)
    zone_at: int
    reasons: tuple[tuple[tuple[int, NamedRule], ...], ...]  # by arm: its conditions' numbers and rules, in order
    closed: Closed = Closed()
    testers: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # MSISDN -> arms that they shall get, in words
    freezes: tuple[Frozen, ...] = ()  # those that stop care, too, first
    budgets: tuple[Budgeted, ...] = ()
    takes: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)  # arm -> (budget's place, amount)
    listed: Mapping[str, Container[str]] = field(default_factory=dict)  # the files' numbers; not read: everybody


def compile_program(playbook: Playbook) -> Program:
    """Compile the deciding part of a playbook."""
    policy, vocabulary, columns = playbook.policy, playbook.vocabulary, playbook.vocabulary.columns
    pairs = [(action, variant) for action in playbook.actions for variant in action.variants]
    arms = tuple(Arm(bit, action, variant) for bit, (action, variant) in enumerate(pairs))
    check = compile_check([[r.rule.condition for r in arm.variant.rules] for arm in arms], columns)
    number = {condition.key: index for index, condition in enumerate(check.conditions)}
    of_action = {a.name: _mask(arm for arm in arms if arm.action is a) for a in playbook.actions}
    of_issue = {i: _mask(arm for arm in arms if arm.action.issue == i) for i in {a.issue for a in playbook.actions}}
    purposes: dict[str, int] = {name: _mask(arm for arm in arms if arm.action.purpose == name) for name in STANDINGS}
    channels, own, message, on_channel = _reach(arms)
    gates = _gates(playbook, arms)
    limits = [_simplest(limit, arms) for limit in (*policy.limits, *policy.saturation)]
    budgets = budgets_of(playbook.actions)
    return Program(
        revision=playbook.revision,
        columns=columns,
        arms=arms,
        named={(arm.action.name, arm.variant.name): arm for arm in arms},
        channels=channels,
        check=check,
        worth=np.array([arm.variant.value * arm.action.weight for arm in arms], dtype=np.float64),
        answers=_answers(arms),
        rank=_rank(arms, policy.say_first),
        of_purpose=purposes,
        switched=_of(purposes, minding("switches")),
        scored=_of(purposes, minding("pauses")),
        of_action=of_action,
        of_issue=of_issue,
        own_channels=range(1, own + 1),
        pulled=range(own + 1, len(channels)),
        on_channel=on_channel,
        told=tuple(0 if channel == USSD else on_channel[place] for place, channel in enumerate(channels)),
        told_by_ussd=_told_by_ussd(channels, on_channel),
        message=message,
        gates=tuple(gated for gate, gated in gates if not gate.channels and not gate.numbers),
        lists=tuple(gated for gate, gated in gates if gate.numbers),
        sources=tuple(_sources(gates, vocabulary)),
        gates_on=tuple(tuple(_gates_on(channel, gates, policy, columns)) for channel in channels),
        address_at={channel: columns.index(name) for channel, name in policy.addresses.items()},
        quiet_hours=policy.quiet_hours,
        windows=tuple(policy.windows.get(channel, ()) for channel in channels),
        quiet=_of(purposes, policy.quiet_for),
        limits=tuple(tuple(limit for limit in limits if _counts(limit, channel)) for channel in channels),
        saturation=tuple(limit for limit in limits if limit.unanswered),
        advices=frozenset(action.name for action in playbook.actions if not action.makes_offer),
        purchases=compile_purchases(playbook.actions, of_action),
        counted=_of(purposes, minding("limits")),
        longest_limit=max((limit.per for limit in policy.limits), default=0),
        holdout=policy.holdout,
        held_out=_of(purposes, policy.holdout_of),
        in_market=tuple(_for_all(arm, number) for arm in arms) if policy.holdout_list else (),
        controls=tuple(_controls(playbook, of_action)),
        seed=playbook.seed,
        time_zone=playbook.time_zone,
        zone_at=columns.index(ZONE) if ZONE in columns else -1,
        reasons=tuple(tuple((number[r.rule.condition.key], r.rule) for r in arm.variant.rules) for arm in arms),
        testers={one.msisdn: (_named(arms, one.offer), one.offer) for one in playbook.testers},
        freezes=tuple(_frozen(one, arms, channels) for one in sorted(policy.freezes, key=lambda one: one.except_care)),
        budgets=tuple(_budgeted(budget, arms) for budget in budgets),
        takes={arm.bit: taken for arm in arms if (taken := _takes(arm, budgets))},
    )


class Reach(NamedTuple):
    """Where arms are said: the channels, of which so many after the notification are of messages of their own; and by
    channel each arm's message, and the arms that are said there in the first place."""

    channels: tuple[str, ...]
    own: int
    message: tuple[dict[int, str], ...]
    on_channel: tuple[int, ...]


def _reach(arms: Sequence[Arm]) -> Reach:
    spoken = {treatment.channel for arm in arms for treatment in arm.action.treatments}
    own = sorted(spoken - {NOTIFICATION, *PULLED})
    channels = (NOTIFICATION, *own, *(one for one in PULLED if one in spoken))
    message = tuple(
        {arm.bit: t.message for arm in arms for t in arm.action.treatments if t.channel == channel}
        for channel in channels
    )
    on_channel = tuple(
        sum(1 << bit for bit in said) & ~_instead(arms, channel)
        for channel, said in zip(channels, message, strict=True)
    )
    return Reach(channels, len(own), message, on_channel)


def _told_by_ussd(channels: Sequence[str], on_channel: Sequence[int]) -> tuple[int, ...]:
    """In a menu an arm is told in the menu's own words, where it has any, else in those for all who ask."""
    in_menus = on_channel[channels.index(USSD)] if USSD in channels else 0
    return tuple(
        mask & ~in_menus if channel == INBOUND else mask for channel, mask in zip(channels, on_channel, strict=True)
    )


def _instead(arms: Sequence[Arm], channel: str) -> int:
    """The arms that are said on a channel only where a dialogue that we begin came to nothing."""
    return _mask(
        arm for arm in arms for one in arm.action.treatments if one.channel == USSD_PUSH and one.fallback == channel
    )


def _rank(arms: Sequence[Arm], say_first: Sequence[str]) -> NDArray[np.int32] | None:
    """By arm: what is higher comes first, by its purpose, and within that by what is to be said first. None: all are
    alike."""
    steps = len(say_first) + 1
    ranks = [STANDINGS[arm.action.purpose].rank * steps + _named_first(arm, say_first) for arm in arms]
    return np.array(ranks, dtype=np.int32) if len(set(ranks)) > 1 else None


def _named_first(arm: Arm, say_first: Sequence[str]) -> int:
    """The more, the sooner an arm is named; 0 where it is not."""
    names = (arm.name, arm.action.name, arm.action.issue)
    return next((len(say_first) - place for place, name in enumerate(say_first) if name in names), 0)


def _budgeted(budget: Budget, arms: Sequence[Arm]) -> Budgeted:
    drawing = [(need(budget, arm.variant), arm) for arm in arms if budget in arm.action.budgets]
    amounts = sorted({amount for amount, _ in drawing if amount})
    needs = tuple((amount, _mask(arm for own, arm in drawing if own == amount)) for amount in amounts)
    return Budgeted(budget, needs, max(amounts, default=0))


def _takes(arm: Arm, budgets: Sequence[Budget]) -> tuple[tuple[int, int], ...]:
    """What an offer of an arm takes: the places of budgets, and how much of each."""
    drawn = [(place, budget) for place, budget in enumerate(budgets) if budget in arm.action.budgets]
    return tuple((place, amount) for place, budget in drawn if (amount := need(budget, arm.variant)))


def _controls(playbook: Playbook, of_action: Mapping[str, int]) -> Iterator[tuple[int, float, str]]:
    """Of each action with a control group: its arms, the group's share, and what it is drawn with."""
    for action in playbook.actions:
        if action.control:
            yield of_action[action.name], action.control, f"{playbook.seed}/{action.name}"


def _for_all(arm: Arm, number: Mapping[str, int]) -> int:
    """The conditions of an arm that say who may have it and for whom it is good, not to whom it matters now."""
    keys = {one.rule.condition.key for one in arm.variant.rules if one.stage != "relevant"}
    return sum(1 << number[key] for key in keys)


def _mask(arms: Any) -> int:
    return sum(1 << arm.bit for arm in arms)


def _of(masks: Mapping[str, int], names: Sequence[str]) -> int:
    """The arms of any of some purposes."""
    return sum(masks[name] for name in names)


def _gates(playbook: Playbook, arms: Sequence[Arm]) -> list[tuple[Gate, Gated]]:
    """Consents and pauses with what each is closed for."""
    policy, columns = playbook.policy, playbook.vocabulary.columns
    made = []
    behind = {arm.bit: _reads(arm, playbook) for arm in arms} if policy.data_only_when else {}
    for gate in policy.gates:
        concerned = _mask(
            arm
            for arm in arms
            if arm.action.purpose in gate.purposes
            and arm.action.issue not in gate.passing
            and (not gate.source or playbook.vocabulary.sources[gate.source] & behind[arm.bit])
        )
        denied = compile_false(gate.condition, columns)
        granted = _unless(denied) if policy.opt_out else compile_true(gate.condition, columns)
        read = gate.condition.names | (gate.unless.names if gate.unless else frozenset())
        anytime = not any("." in name for name in read)
        consents = gate in policy.consents
        opens, to_tester = (granted, _unless(denied)) if consents else (denied, _always)
        if gate.unless:
            opens = _either(denied, compile_true(gate.unless, columns))
        if gate.numbers:
            opens = compile_true(gate.unless, columns) if gate.unless else _never
        made.append((gate, Gated(gate.name, concerned, opens, to_tester, anytime, gate.numbers)))
    return made


def _sources(gates: Sequence[tuple[Gate, Gated]], vocabulary: Vocabulary) -> Iterator[Sourced]:
    """The sources of data that a consent is asked for and that something stands behind."""
    for gate, gated in gates:
        if gate.source and (places := _behind(vocabulary, gate.source)):
            yield Sourced(places, gated.opens, gated.opens_to_tester)


def _gates_on(
    channel: str, gates: Sequence[tuple[Gate, Gated]], policy: ContactPolicy, columns: Sequence[str]
) -> Iterator[Gated]:
    """The gates of a channel alone; and whether they can be reached there."""
    yield from (gated for gate, gated in gates if channel in gate.channels)
    if channel in policy.addresses:
        yield from _reached(channel, columns.index(policy.addresses[channel]))


def _reached(channel: str, place: int) -> Iterator[Gated]:
    """That they have an address on a channel, and one that can be used: testers need one, too."""
    for name, opens in (
        (NO_ADDRESS, lambda row: row[place] is not None),
        (BAD_ADDRESS, lambda row: usable(channel, row[place])),
    ):
        yield Gated(name, -1, opens, opens, anytime=True)


def _behind(vocabulary: Vocabulary, source: str) -> tuple[int, ...]:
    """The columns that data of a source stands behind, and those of the events that these are made of."""
    words = vocabulary.sources[source]
    made_of = {f"{kind}.{field}" for word in words for kind, field in vocabulary.made_of(word)}
    return tuple(place for place, column in enumerate(vocabulary.columns) if column in words or column in made_of)


def _reads(arm: Arm, playbook: Playbook) -> frozenset[str]:
    """The words that its rules and its messages read."""
    messages = [playbook.written(treatment.message) for treatment in arm.action.treatments]
    said = [placeholders(text) for texts in messages for text in texts]
    return frozenset[str]().union(*said, *(rule.rule.condition.names for rule in arm.variant.rules))


def _unless(holds: Predicate) -> Predicate:
    return lambda row: not holds(row)


def _either(one: Predicate, other: Predicate) -> Predicate:
    return lambda row: one(row) or other(row)


def _never(_row: Sequence[Any]) -> bool:
    return False


def _always(_row: Sequence[Any]) -> bool:
    return True


def _answers(arms: Sequence[Arm]) -> dict[str, tuple[tuple[int, int], ...]]:
    """For each kind of moment, the arms that answer it, those with the same greatest age in one mask."""
    masks: dict[str, dict[int, int]] = {}
    for arm in arms:
        for kind, age in arm.action.answers.items():
            ages = masks.setdefault(kind, {})
            ages[age] = ages.get(age, 0) | 1 << arm.bit
    return {kind: tuple(sorted(ages.items())) for kind, ages in masks.items()}


def _simplest(limit: Limit, arms: Sequence[Arm]) -> Limit:
    """A limit without its purposes where they are all that is ever said: then they are not looked at.

    Other systems' messages count, too, for whatever purpose minds limits.
    """
    said = {*minding("limits"), *(a.action.purpose for a in arms)}
    return replace(limit, purposes=()) if said <= {*limit.purposes} else limit


def _counts(limit: Limit, channel: str) -> bool:
    """Whether a contact on this channel would count against the limit."""
    if channel in PULLED:  # they asked: nothing interrupts them
        return False
    riding = channel == NOTIFICATION
    return limit.riding in (None, riding) and limit.channel in ("", channel)


def _frozen(freeze: Freeze, arms: Sequence[Arm], channels: Sequence[str]) -> Frozen:
    places = (place for place, name in enumerate(channels) if not freeze.channels or name in freeze.channels)
    stopped = (
        arm
        for arm in arms
        if (not freeze.issues or arm.action.issue in freeze.issues)
        and arm.action.purpose in minding("freezes")
        and not (freeze.except_care and arm.action.purpose == "care")
    )
    return Frozen(freeze, _mask(stopped), frozenset(places), not freeze.channels and not freeze.issues)


def answering(program: Program, moment: Moment | Decision) -> int:
    """The arms that answer what happened, as long after it as this is."""
    age, arms = moment.now - moment.happened, 0
    for at_most, mask in program.answers.get(moment.kind, ()):
        if at_most < 0 or age <= at_most:
            arms |= mask
    return arms


def bits(mask: int) -> list[int]:
    """The places of the bits that are set, lowest first.

    >>> bits(0b10110)
    [1, 2, 4]
    """
    places = []
    while mask:
        lowest = mask & -mask
        places.append(lowest.bit_length() - 1)
        mask ^= lowest
    return places


def told_on(program: Program, where: str) -> tuple[int, ...]:
    """By channel, the arms that are told to who asks there."""
    return program.told_by_ussd if where == USSD else program.told


def wanted(program: Program, offer: str) -> int:
    """The mask of the arms that an offer, or offer/variant, names; 0 where there is none."""
    return _named(program.arms, offer)


def _named(arms: Sequence[Arm], offer: str) -> int:
    return _mask(arm for arm in arms if offer in (arm.action.name, arm.name))
