"""The way of one input: read, fold, decide, say, respond, fulfil. Nothing here waits, sends or commits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from kairos import enrich, fulfil, respond
from kairos.decide import frozen_message, still_unanswered, with_switches
from kairos.decide.budgets import whole
from kairos.decide.decide import Draw, keyed_draw
from kairos.domain.budget import Key, Standing
from kairos.domain.erasure import Erasure
from kairos.domain.event import Event
from kairos.domain.identity import Party
from kairos.domain.inbound import Look, Recall, Visit, Word
from kairos.domain.inputs import Answered, Change, Delivery, Fulfilment, Part, Reply, Resend, Reversal, Timer
from kairos.domain.message import Carried, Text
from kairos.domain.moment import Moment
from kairos.domain.passage import Communication, Handed, Hub, Withdrawal
from kairos.domain.subscriber import State
from kairos.domain.switch import Switches, stated
from kairos.engine.budgets import settle
from kairos.engine.deliveries import take_delivery, take_resend
from kairos.engine.erasure import suppress, take_erasure
from kairos.engine.expiry import take_timer
from kairos.engine.inbound import take_inbound
from kairos.engine.moments import decide_moments, take_event
from kairos.engine.orders import take_fulfilment, take_reversal
from kairos.engine.parts import take_part
from kairos.engine.passages import take_communication, take_handed, take_withdrawal
from kairos.engine.program import Program
from kairos.engine.replies import take_reply
from kairos.engine.statistics import Statistics
from kairos.engine.subscriptions import take_change
from kairos.engine.suppression import Suppression
from kairos.engine.trials import take_trial
from kairos.engine.work import (
    APPLIED,
    Ids,
    Input,
    Work,
    decode_party,
    decode_state,
    encode,
    slices,
    subscriber_of,
    waves,
)
from kairos.playbook.vocabulary import Vocabulary
from kairos.ports import Lease, Loaded, Scorer, Store

SLICE = 64  # inputs whose states are decoded at a time: few enough to stay in the processor's cache


class Halt(NamedTuple):
    """What stops an offer on its way, and when to ask again (ms); None: it is stopped for good."""

    rule: str
    until: int | None


class Engine:
    """Applies batches of inputs to states. `apply` only reads the store; its caller commits `Work.batch`, in order.

    Works that were applied and not yet committed are `flying`: the next batch reads their states, never stale rows.
    """

    def __init__(
        self,
        store: Store,
        program: Program,
        scorer: Scorer,
        *,
        old_vocabulary: Callable[[str], Vocabulary | None] = lambda _layout: None,
        reject_unknown: bool = False,
        parts_at_most: int = 1,
        parts_within: int = 10_000,
        steps: Sequence[str] = fulfil.ONE_CALL,
        lease: Lease = whole,
        note: Callable[[str], None] = lambda _note: None,
        link: Callable[[str], str] | None = None,
    ) -> None:
        self.store, self.program, self.scorer = store, program, scorer
        self.scorer_of: Callable[[Program], Scorer] = lambda _: self.scorer  # what scores under another playbook
        self.old_vocabulary = lru_cache(maxsize=16)(old_vocabulary)  # reading a playbook takes as long as a batch
        self.reject_unknown, self.parts_at_most = reject_unknown, parts_at_most
        self.steps = steps  # that the counterpart takes a purchase in
        self.lease = lease
        self.note = note
        self.ids = Ids(store.next_ids())
        self.epoch = store.epoch
        self.link = link  # what opens an offer, by its key, where there is a page
        self.link_of: Callable[[int], str] | None = link and (lambda decision: link(f"{self.epoch}-{decision}"))
        self.flying: list[Work] = []
        self.standings: Mapping[Key, Standing] = {}  # of budgets, as the last work that asked for any left them
        self.statistics = Statistics()
        self.parts_within = parts_within
        self.read_whole: Callable[[str, str, tuple[Carried, ...]], Event | Handed | None] = lambda *_: None
        self.senders: Container[str] = ()  # accounts whose messages are decided as other systems'
        self.listeners: Mapping[str, tuple[Hub, ...]] = {}  # to what becomes of them, by client
        self.merge_within = 600_000  # ms in which the same text is the same message
        self._noted: set[str] = set()
        self.draw: Draw = keyed_draw(program.playbook.seed)
        self.switches = Switches()
        self.listed: Mapping[str, Container[str]] = {}
        self.suppression = Suppression()

    def use(self, program: Program) -> None:
        """From the next batch on, this playbook."""
        self.scorer = self.scorer_of(program)
        deciding, passing = (replace(one, listed=self.listed) for one in (program.decide, program.passing))
        self.program = replace(
            program,
            decide=with_switches(deciding, self.switches),
            passing=with_switches(passing, self.switches),
        )
        self.draw = keyed_draw(program.playbook.seed)

    def turn(self, switches: Switches) -> None:
        """From the next batch on, these switches are off."""
        if switches != self.switches:
            self.switches = switches
            self.use(self.program)

    def register(self, listed: Mapping[str, Container[str]]) -> None:
        """From the next batch on, these numbers are on the registers that are files."""
        if listed != self.listed:
            self.listed = listed
            self.use(self.program)

    def halt(self, text: Text, channel: str, now: int) -> Halt | None:
        """What stops an offer that is about to go out on a channel."""
        stopping = self.switches.stopping(channel, text.action, text.issue, text.purpose)
        if stopping and not text.past_switches:
            return Halt(stated(stopping), None if self.switches.read else now)
        why, until = frozen_message(self.program.decide, channel, text.purpose, text.issue, now)
        return Halt(why, until) if why else None

    def apply(self, inputs: Sequence[Input], now: int, loaded: Loaded | None = None) -> Work:
        """A batch at once: `begin`, `take`, `end`. Raises StoreError where states cannot be read."""
        work = self.begin(now)
        self.take(work, inputs, loaded or self.read(inputs))
        self.end(work)
        return work

    def begin(self, now: int) -> Work:
        return Work(now, self.ids)

    def take(self, work: Work, inputs: Sequence[Input], loaded: Loaded) -> None:
        """Add inputs to a work, in their order. `loaded` is what the store knows of them, no older than the works that
        are flying; of what this one has changed already, it knows better."""
        first = len(work.inputs)
        work.inputs += inputs
        work.answers += [APPLIED] * len(inputs)
        self._know(work, inputs, loaded)
        for start, end in slices(inputs, SLICE):
            for wave in waves(enumerate(inputs[start:end], first + start), work.subscribers):
                self._wave(work, wave)
            self._write(work)

    def end(self, work: Work) -> None:
        """It is whole: what is begun from now on stands on it."""
        self.flying.append(work)

    def _wave(self, work: Work, wave: list[tuple[int, Input]]) -> None:
        """Take inputs of different subscribers, and decide the moments that they make together."""
        moments: dict[int, Moment] = {}
        for index, source in wave:
            moment = self._take(work, index, source)
            if moment:
                if (moment.state.known or work.moved) and clash(moments, moment):
                    decide_moments(self, work, moments)
                    moments = {}
                moments[index] = moment
        if moments:
            decide_moments(self, work, moments)

    def land(self, work: Work) -> None:
        """It is committed."""
        self.flying.remove(work)
        if work.ledger:
            self.standings = work.ledger.known

    # -- states in and out ---------------------------------------------------------------------------------------------

    def read(self, inputs: Iterable[Input]) -> Loaded:
        """What the store knows of the inputs' subscribers."""
        return self.store.load(*split_concerned(concerned(inputs)))

    def _know(self, work: Work, inputs: Iterable[Input], loaded: Loaded) -> None:
        """Numbers and state blobs of the inputs' subscribers: as the work has them, those in flight, or the store."""
        self.overlay(loaded, concerned(inputs) if self.flying else (), self.flying)
        work.subscribers = loaded.subscribers | work.subscribers
        work.moved = loaded.moved | work.moved
        work.blobs = loaded.states | work.blobs

    def overlay(self, loaded: Loaded, wanted: Collection[str | int], works: Iterable[Work]) -> None:
        """What these works know better of subscribers, by names and ids; the later works last."""
        for flying in works:
            loaded.subscribers.update({n: flying.subscribers[n] for n in flying.subscribers.keys() & wanted})
            if flying.moved:
                loaded.moved.update({n: flying.moved[n] for n in flying.moved.keys() & wanted})
            ids = loaded.states.keys() | wanted | set(loaded.subscribers.values())
            loaded.states.update({id_: flying.batch.states[id_] for id_ in flying.batch.states.keys() & ids})

    def fetch(self, work: Work, *wanted: str | int) -> None:
        """Read names and states now, the few that no input named."""
        loaded = self.store.load(*split_concerned(wanted))
        self.overlay(loaded, wanted, self.flying)
        for name, id_ in loaded.subscribers.items():
            work.subscribers.setdefault(name, id_)
        for name, since in loaded.moved.items():
            work.moved.setdefault(name, since)
        for id_, blob in loaded.states.items():
            work.blobs.setdefault(id_, blob)

    def state(self, work: Work, id_: int) -> State | None:
        """A subscriber's state, decoded when the first input of a slice asks for it."""
        state = work.states.get(id_)
        if state is None and id_ in work.blobs:
            state = work.states[id_] = decode_state(work.blobs[id_])
            plan = self.program.plan
            if state.layout != plan.layout:
                self.tell(enrich.migrate(plan, state, self.old_vocabulary(state.layout)))
        return state

    def tell(self, notes: Iterable[str]) -> None:
        """Say each thing once that somebody should know."""
        for note in notes:
            if note not in self._noted:
                self._noted.add(note)
                self.note(note)

    def subscriber(self, work: Work, name: str, happened: int) -> State | None:
        """Who had a name when something happened; a new subscriber for a number that nobody has.

        None where unknown numbers are rejected, and for an unknown name of another kind.
        """
        known = work.subscribers.get(name)
        if work.moved and happened < work.moved.get(name, 0):
            known = self._former(work, name, happened) or known
        if known:
            return self.state(work, known)
        if self.reject_unknown or ":" in name:
            return None
        state = self.new_subscriber(work, name, work.now)
        if self.suppression.known:
            suppress(self, state, work.now)
        return state

    def is_new(self, state: State, identity: str, now: int) -> bool:
        """Whether an input comes for the first time, which is noted; a repeat changes nothing."""
        new, evicted = enrich.remember(state, identity, now)
        if evicted:
            self.statistics.counts["identities_evicted"] += evicted
        if not new:
            self.statistics.counts["duplicates"] += 1
        return new

    def new_subscriber(self, work: Work, msisdn: str, since: int) -> State:
        state = enrich.new_state(self.program.plan, work.ids.take("subscriber"), msisdn, work.now)
        work.subscribers[msisdn] = state.id
        work.states[state.id] = state
        work.batch.identities.append(("msisdn", msisdn, state.id, since))
        return state

    def _former(self, work: Work, name: str, happened: int) -> int:
        """Whoever had a name before it changed hands, at that time or soonest after it; 0 where it has not changed."""
        past = [held for one in (*self.flying, work) for held in one.past.get(name, ())]
        ended = [held for held in (*self.store.holders(name), *past) if held.until > happened]
        if not ended:
            return 0
        former = min(ended, key=lambda held: held.until).subscriber
        if former not in work.blobs and former not in work.states:
            self.fetch(work, former)
        return former

    def party(self, work: Work, id_: int) -> Party:
        """An account's shared record, read when it is needed: few have one."""
        party = work.parties.get(id_)
        if party is None:
            if id_ not in work.blobs:
                self.fetch(work, id_)
            party = work.parties[id_] = decode_party(work.blobs[id_])
        return party

    def party_of(self, work: Work, state: State) -> Party | None:
        """The shared record of a subscriber's account, where it has several numbers."""
        return self.party(work, state.known.party) if state.known and state.known.party else None

    def _write(self, work: Work) -> None:
        """Encode what a slice changed, and let its states go."""
        deciding = self.program.decide
        kept, bought = deciding.longest_limit, deciding.purchases.longest
        for id_ in work.changed:
            state = work.states[id_]
            if id_ in work.concluded and state.reserved:
                settle(self, work, state)
            waiting = still_unanswered(deciding, state, work.now) if deciding.saturation else ()
            respond.forget(state, work.now)
            enrich.prune(self.program.plan, state, work.now, kept, bought, waiting)
            work.blobs[id_] = work.batch.states[id_] = encode(state)
        for party in work.parties.values():
            party.contacts = [contact for contact in party.contacts if contact.at > work.now - kept]
            work.blobs[party.id] = work.batch.states[party.id] = encode(party)
        work.changed.clear()
        work.concluded.clear()
        work.states.clear()
        work.parties.clear()

    # -- one input -----------------------------------------------------------------------------------------------------

    def _take(self, work: Work, index: int, source: Input) -> Moment | None:
        match source:
            case Event():
                return (take_trial if source.trial else take_event)(self, work, index, source)
            case Visit() | Word() | Look() | Recall():
                return take_inbound(self, work, index, source)
            case Part():
                return take_part(self, work, index, source)
            case Resend():
                take_resend(work, index, source)
            case Answered():
                work.batch.answered.append(source)
            case _:
                TAKERS[type(source)](self, work, index, source)
        return None


TAKERS: Final[Mapping[type, Callable[[Engine, Work, int, Any], None]]] = {
    Reply: take_reply,
    Change: take_change,
    Delivery: take_delivery,
    Fulfilment: take_fulfilment,
    Reversal: take_reversal,
    Timer: take_timer,
    Erasure: take_erasure,
    Handed: take_handed,
    Withdrawal: take_withdrawal,
    Communication: take_communication,
}


def concerned(inputs: Iterable[Input]) -> set[str | int]:
    """Whom inputs concern, by names and ids."""
    return {subscriber_of(source) for source in inputs} - {0}


def split_concerned(known: Iterable[str | int]) -> tuple[list[str], list[int]]:
    """The same as a store is asked for it: names, and ids."""
    return [one for one in known if isinstance(one, str)], [one for one in known if isinstance(one, int)]


def clash(moments: Mapping[int, Moment], moment: Moment) -> bool:
    """Whether one of the moments must be decided first: it is of the same subscriber, or of the same account."""
    party = moment.state.known.party if moment.state.known else 0
    return any(
        other.state.id == moment.state.id or (party and other.state.known and other.state.known.party == party)
        for other in moments.values()
    )
