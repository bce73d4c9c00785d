"""Who has a number: subscriptions begin, end, and change their SIM, their number or their account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from kairos import enrich, respond
from kairos.domain.identity import Held, Party, name_of, split_name
from kairos.domain.inputs import Change
from kairos.domain.subscriber import Dated, KnownBy, OpenOffer, State
from kairos.engine.work import DUPLICATE, Answer, Work

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

SIM_SWAPPED: Final = "sim_swapped"  # why a yes was refused
PAYER_CHANGED: Final = "payer changed hands"  # likewise
BEGINS: Final = ("number_assigned", "number_recycled")


def take_change(engine: Engine, work: Work, index: int, change: Change) -> None:
    """Carry out what the operator's own records say. It stands alone in its slice: names change hands here."""
    for name in filter(None, (change.msisdn, change.number)):
        find(engine, work, name)
        if change.happened < work.moved.get(name, 0):
            work.answers[index] = Answer("rejected", f"`{name}` changed hands after that: it comes too late")
            return
    holder = find(engine, work, change.msisdn)
    state = engine.state(work, holder) if holder else None
    if state is None and (change.kind not in BEGINS or ":" in change.msisdn):
        if change.kind != "number_disconnected":  # nobody has it: then nothing is left to end
            work.answers[index] = Answer("rejected", f"unknown subscriber `{change.msisdn}`")
        return
    numbers = _numbers(engine, work, state) if state and change.msisdn.startswith("account:") else 1
    if numbers > 1:  # which of them ends, or moves, is no guess of ours
        why = f"`{change.msisdn}` has {numbers} numbers: name the one that it is about"
        work.answers[index] = Answer("rejected", why)
        return
    if state and not enrich.remember(state, change.identity, work.now).new:
        work.answers[index] = DUPLICATE
        return
    engine.statistics.counts[f"changes.{change.kind}"] += 1
    _carry_out(engine, work, state, change)


def _carry_out(engine: Engine, work: Work, state: State | None, change: Change) -> None:
    if state and (change.kind == "number_recycled" or (change.kind == "number_assigned" and _another(state, change))):
        end(engine, work, state, change.happened, change.kind)
        state = None
    if state is None:
        state = engine.new_subscriber(work, change.msisdn, change.happened)
        enrich.remember(state, change.identity, work.now)
    work.changed.add(state.id)
    if change.kind == "number_disconnected":
        end(engine, work, state, change.happened, change.kind)
        return
    if change.kind == "number_changed":
        _renumber(engine, work, state, change)
    learn(engine, work, state, change.named, change.happened)
    if change.kind == "sim_swapped":
        known = _known(state)
        known.sim_changed = max(known.sim_changed, change.happened)
        before = known.names.get("imsi")
        if "imsi" not in change.named and before and before.since <= change.happened:
            del known.names["imsi"]  # the next one that is seen is the new one, and no second swap
            if find(engine, work, name_of("imsi", before.value)) == state.id:
                hold(engine, work, name_of("imsi", before.value), 0, change.happened)


def _numbers(engine: Engine, work: Work, state: State) -> int:
    """How many numbers the account has that a subscription belongs to."""
    party = _known(state).party
    return len(engine.party(work, party).members) if party else 1


def _another(state: State, change: Change) -> bool:
    """Whether a number is assigned to another person's account than the one that is known."""
    account = state.known.names.get("account") if state.known else None
    return account is not None and change.named.get("account", account.value) != account.value


def end(engine: Engine, work: Work, state: State, at: int, why: str) -> None:
    """The subscription is over: nothing that was offered can be taken, and nothing goes out any more."""
    for offer in [offer for offer in state.offers if offer.status in respond.TAKEABLE]:
        if respond.withdraw(state, offer.key, work.now):
            work.log(state.id, offer.decision, offer.key, "withdrawn", why)
    hold(engine, work, state.msisdn, 0, at)
    known = _known(state)
    leave_account(engine, work, state, at)
    for kind, dated in known.names.items():
        name = name_of(kind, dated.value)
        if find(engine, work, name) == state.id:
            hold(engine, work, name, 0, at)
    state.msisdn, known.ended = "", at
    work.changed.add(state.id)


def _renumber(engine: Engine, work: Work, state: State, change: Change) -> None:
    """The same person under another number; whoever had that one has it no more."""
    if change.number == state.msisdn:
        return
    other = find(engine, work, change.number)
    holder = engine.state(work, other) if other else None
    if holder:
        end(engine, work, holder, change.happened, change.kind)
    hold(engine, work, state.msisdn, 0, change.happened)
    hold(engine, work, change.number, state.id, change.happened)
    state.msisdn = change.number


# -- what else a subscription is known by --------------------------------------------------------------------------


def learn(engine: Engine, work: Work, state: State, named: Mapping[str, str], happened: int) -> None:
    """Keep the IMSI, the IMEI and the account that something named; another IMSI than the known one is a SIM swap."""
    known = _known(state)
    for kind, value in named.items():
        dated = known.names.get(kind)
        if dated and (dated.value == value or dated.since > happened):
            continue
        if _another_has_it_since(engine, work, state, kind, value, happened):
            continue
        if kind == "account":
            leave_account(engine, work, state, happened)
        if dated and find(engine, work, name_of(kind, dated.value)) == state.id:
            hold(engine, work, name_of(kind, dated.value), 0, happened)
        known.names[kind] = Dated(value, happened)
        first = find(engine, work, name_of(kind, value)) if kind == "account" else 0
        if first:
            _join(engine, work, state, first)
        else:
            hold(engine, work, name_of(kind, value), state.id, happened)
        if dated and kind == "imsi":
            known.sim_changed = happened
            engine.statistics.counts["sim_swaps_seen"] += 1


def _another_has_it_since(engine: Engine, work: Work, state: State, kind: str, value: str, happened: int) -> bool:
    """Whether somebody else was seen with an IMSI or IMEI after that; numbers of one account share its name."""
    holder = find(engine, work, name_of(kind, value)) if kind != "account" else 0
    other = engine.state(work, holder) if holder and holder != state.id else None
    theirs = other.known.names.get(kind) if other and other.known else None
    return theirs is not None and theirs.value == value and theirs.since > happened


def _join(engine: Engine, work: Work, state: State, first: int) -> None:
    """Another number of an account: from now on they share what shared limits count."""
    other = engine.state(work, first)
    if other is None or first == state.id:
        return
    theirs = _known(other)
    if not theirs.party:
        theirs.party = -first
        work.parties[-first] = Party(-first, [first], list(other.contacts))
        work.changed.add(first)
    party = engine.party(work, theirs.party)
    party.members = [member for member in party.members if member != state.id] + [state.id]
    known = {contact.decision for contact in party.contacts}
    party.contacts += [contact for contact in state.contacts if contact.decision not in known]
    _known(state).party = theirs.party


def leave_account(engine: Engine, work: Work, state: State, at: int) -> None:
    """The account goes on with its other numbers: the next one stands for it. Without any, nothing of it is kept."""
    known = _known(state)
    if not known.party:
        return
    party = engine.party(work, known.party)
    party.members = [member for member in party.members if member != state.id]
    party.contacts = party.contacts if party.members else []
    account = name_of("account", known.names["account"].value)
    if party.members and find(engine, work, account) == state.id:
        hold(engine, work, account, party.members[0], at)
    known.party = 0


def find(engine: Engine, work: Work, name: str) -> int:
    """Who has a name, 0 for nobody; read now where no input of the batch named it."""
    if name not in work.subscribers:
        engine.fetch(work, name)
    return work.subscribers.get(name, 0)


def hold(engine: Engine, work: Work, name: str, subscriber: int, at: int) -> None:
    """From `at` on, a name is this subscriber's (0: nobody's)."""
    before = find(engine, work, name)
    if before == subscriber:
        return
    known = name in work.subscribers  # was it ever somebody's?
    at = max(at, work.moved.get(name, 0))
    work.batch.identities.append((*split_name(name), subscriber, at))
    work.subscribers[name] = subscriber
    if known:
        work.moved[name] = at
    if before:
        work.past.setdefault(name, []).append(Held(before, 0, at))


def _known(state: State) -> KnownBy:
    if state.known is None:
        state.known = KnownBy()
    return state.known


# -- a change of SIM ---------------------------------------------------------------------------------------------------


def payer_changed(engine: Engine, work: Work, offer: OpenOffer) -> bool:
    """Whether the number that would pay became another person's, or nobody's, after it was told."""
    if not offer.payer_since:
        return False
    find(engine, work, offer.payer)
    return work.moved.get(offer.payer, 0) > offer.payer_since


def refused_after_sim_swap(engine: Engine, state: State, offer: OpenOffer, now: int) -> bool:
    """Whether a yes by text must not cost anything now: whoever holds the new SIM may not be the subscriber."""
    changed = state.known.sim_changed if state.known else 0
    costs = offer.charges or offer.kind == "advance"
    return bool(costs and changed and now < changed + engine.program.playbook.policy.after_sim_swap)
