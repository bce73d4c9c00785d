"""The way of one input: read, fold, decide, say, respond, fulfil. Nothing here waits, sends or commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from kairos import enrich, fulfil, respond
from kairos.decide import Arm, Decided, decide
from kairos.decide.decide import Draw, keyed_draw
from kairos.decide.program import NOTIFICATION
from kairos.deliver import Row, values_of
from kairos.domain.event import Event
from kairos.domain.inputs import Delivery, Fulfilment, Reply, Timer
from kairos.domain.message import Text
from kairos.domain.moment import Moment
from kairos.domain.subscriber import Contact, OpenOffer, State
from kairos.engine.compose import Composer, language_of, makes_offer, short_code_of
from kairos.engine.program import Program
from kairos.engine.statistics import Statistics
from kairos.engine.work import (
    DROPPED,
    DUPLICATE,
    Answer,
    Ids,
    Input,
    Work,
    decode_state,
    encode,
    subscriber_of,
    waves,
)
from kairos.playbook.vocabulary import Vocabulary
from kairos.ports import Loaded, OutgoingUpdate, Scorer, Store
from kairos.rules import to_text

HELP_EVERY = 3_600_000  # one help text an hour at most
SLICE = 64  # inputs whose states are decoded at a time: few enough to stay in the processor's cache
DECISIONS_KEPT = 5  # ids of the latest decisions in a state, for `explain`


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
        note: Callable[[str], None] = lambda _note: None,
    ) -> None:
        self.store, self.program, self.scorer = store, program, scorer
        self.old_vocabulary = lru_cache(maxsize=16)(old_vocabulary)  # reading a playbook takes as long as a batch
        self.reject_unknown, self.parts_at_most = reject_unknown, parts_at_most
        self.note = note
        self.ids = Ids(store.next_ids())
        self.epoch = store.epoch
        self.flying: list[Work] = []
        self.statistics = Statistics()
        self._noted: set[str] = set()
        self._draw: Draw = keyed_draw(program.playbook.seed)

    def use(self, program: Program) -> None:
        """From the next batch on, this playbook."""
        self.program = program
        self._draw = keyed_draw(program.playbook.seed)

    def apply(self, inputs: Sequence[Input], now: int, loaded: Loaded | None = None) -> Work:
        """Take a batch of inputs in their order. Raises StoreError where states cannot be read.

        `loaded` is what `read` gave for these inputs, at a time when no more works were flying than now.
        """
        work = Work(inputs, now, self.ids)
        self._know(work, loaded or self.read(inputs))
        for start in range(0, len(inputs), SLICE):
            for wave in waves(enumerate(inputs[start : start + SLICE], start), work.subscribers):
                self._wave(work, wave)
            self._write(work)
        self.flying.append(work)
        return work

    def _wave(self, work: Work, wave: list[tuple[int, Input]]) -> None:
        """Take inputs of different subscribers, and decide the moments that they make together."""
        moments: dict[int, Moment] = {}
        for index, source in wave:
            moment = self._take(work, index, source)
            if moment:
                moments[index] = moment
        if moments:
            self._decide(work, moments)

    # -- states in and out ---------------------------------------------------------------------------------------------

    def read(self, inputs: Iterable[Input]) -> Loaded:
        """What the store knows of the inputs' subscribers. May run in another thread."""
        wanted = {subscriber_of(source) for source in inputs} - {0}
        return self.store.load([n for n in wanted if isinstance(n, str)], [n for n in wanted if isinstance(n, int)])

    def _know(self, work: Work, loaded: Loaded) -> None:
        """Numbers and state blobs of the batch's subscribers: from the batches in flight, else as they were read."""
        work.subscribers, work.blobs = loaded.subscribers, loaded.states
        wanted = {subscriber_of(source) for source in work.inputs}
        for flying in self.flying:
            work.subscribers.update({n: flying.subscribers[n] for n in wanted & flying.subscribers.keys()})  # type: ignore[index, misc]
            ids = work.blobs.keys() | wanted | set(work.subscribers.values())
            work.blobs.update({id_: flying.batch.states[id_] for id_ in flying.batch.states.keys() & ids})

    def _state(self, work: Work, id_: int) -> State | None:
        """A subscriber's state, decoded when the first input of a slice asks for it."""
        state = work.states.get(id_)
        if state is None and id_ in work.blobs:
            state = work.states[id_] = decode_state(work.blobs[id_])
            plan = self.program.plan
            if state.layout != plan.layout:
                self._tell(enrich.migrate(plan, state, self.old_vocabulary(state.layout)))
        return state

    def _tell(self, notes: Iterable[str]) -> None:
        """Say each thing once that somebody should know."""
        for note in notes:
            if note not in self._noted:
                self._noted.add(note)
                self.note(note)

    def _subscriber(self, work: Work, msisdn: str) -> State | None:
        """The subscriber of a number; a new one with everything unknown, or None where unknown ones are rejected."""
        known = work.subscribers.get(msisdn)
        if known is not None:
            return self._state(work, known)
        if self.reject_unknown:
            return None
        state = enrich.new_state(self.program.plan, work.ids.take("subscriber"), msisdn, work.now)
        work.subscribers[msisdn] = state.id
        work.states[state.id] = state
        work.batch.identities.append(("msisdn", msisdn, state.id, work.now))
        return state

    def _write(self, work: Work) -> None:
        """Encode what a slice changed, and let its states go."""
        kept = self.program.decide.longest_limit
        for id_ in work.changed:
            state = work.states[id_]
            enrich.prune(self.program.plan, state, work.now, kept, respond.ANSWERABLE_FOR)
            work.blobs[id_] = work.batch.states[id_] = encode(state)
        work.changed.clear()
        work.states.clear()

    # -- one input -----------------------------------------------------------------------------------------------------

    def _take(self, work: Work, index: int, source: Input) -> Moment | None:
        match source:
            case Event():
                return self._event(work, index, source)
            case Reply():
                self._reply(work, index, source)
            case Delivery():
                self._delivery(work, index, source)
            case Fulfilment():
                self._fulfilment(work, index, source)
            case Timer():
                self._timer(work, source)
        return None

    def _event(self, work: Work, index: int, event: Event) -> Moment | None:
        """Fold an event, redeem what it redeems, and make a moment where some action answers its kind."""
        state = self._subscriber(work, event.msisdn)
        if state is None:
            work.answers[index] = Answer("rejected", f"unknown subscriber `{event.msisdn}`")
            self._plain(work, index, event, 0)
            return None
        program, now = self.program, work.now
        remembered = enrich.remember(program.plan, state, event.identity, now)
        if remembered.evicted:
            self.statistics.counts["identities_evicted"] += remembered.evicted
        if not remembered.new:
            self.statistics.counts["duplicates"] += 1
            work.answers[index] = DUPLICATE
            return None
        work.changed.add(state.id)
        self.statistics.counts["events"] += 1
        enrich.fold(program.plan, state, event)
        asked = event.kind in program.decide.answers
        promised = bool(state.offers) and any(offer.redeemed_by == event.kind for offer in state.offers)
        if not asked and not promised:
            self._plain(work, index, event, state.id)
            return None
        row = enrich.row(program.plan, state, event.kind, event.data, event.happened, now)
        for offer in respond.redeemed(program.replies, state, event.kind, row, event.happened) if promised else ():
            self._accept(work, index, state, offer, "redeemed")
        if program.replies.unreadable:
            self._tell(f"a promise waits that cannot be redeemed: {why}" for why in program.replies.unreadable.values())
        if not asked:
            self._plain(work, index, event, state.id)
            return None
        riding = event.notification is not None and event.notification.rides
        language = event.notification.language if event.notification else ""
        decision = work.ids.take("decision")
        return Moment(decision, event.identity, event.kind, min(event.happened, now), now, row, state, riding, language)

    def _reply(self, work: Work, index: int, reply: Reply) -> None:
        """Understand an answer and do what it means; every meaning but a relay gets one clear text back."""
        state = self._subscriber(work, reply.msisdn)
        if state is None:
            work.answers[index] = Answer("rejected", f"unknown subscriber `{reply.msisdn}`")
            stranger = enrich.new_state(self.program.plan, 0, reply.msisdn, work.now)
            self._relay(work, index, stranger, reply, self._understood(stranger, reply, work.now))
            return
        remembered = enrich.remember(self.program.plan, state, reply.identity, work.now)
        if not remembered.new:
            work.answers[index] = DUPLICATE
            return
        work.changed.add(state.id)
        understood = self._understood(state, reply, work.now)
        offer, meaning = understood.offer, understood.meaning
        self.statistics.counts[f"replies.{meaning}"] += 1
        if meaning == "accept" and offer:
            self._accept(work, index, state, offer, "accepted")
        elif meaning == "relay":
            self._relay(work, index, state, reply, understood)
        elif self._may_answer(meaning, state, work.now):
            self._carry_out(work, state, understood, reply)
            self._answer(work, index, state, respond.ANSWER[meaning], offer, reply.short_code)

    def _understood(self, state: State, reply: Reply, now: int) -> respond.Understood:
        language = self.program.language(self._row(state, now))
        return respond.understand(self.program.replies, reply, state, language, now)

    def _relay(self, work: Work, index: int, state: State, reply: Reply, understood: respond.Understood) -> None:
        """Hand on what belongs to another service, whoever sent it."""
        if understood.meaning == "relay":
            text = Text(reply.msisdn, reply.short_code, reply.text, account=understood.account)
            work.send(index, state.id, "relay", text)

    def _may_answer(self, meaning: str, state: State, now: int) -> bool:
        """Everything is answered, but what is unclear only so often: two machines must not talk for ever."""
        if meaning != "help":
            return True
        due = now - state.helped >= HELP_EVERY
        state.helped = now if due else state.helped
        return due

    def _carry_out(self, work: Work, state: State, understood: respond.Understood, reply: Reply) -> None:
        """What a decline or a STOP changes; other meanings change nothing."""
        if understood.meaning == "decline" and understood.offer:
            declined = respond.decline(state, understood.offer.key, work.now)
            if declined:
                work.log(state.id, declined.decision, declined.key, "declined")
        if understood.meaning == "stop":
            for attribute in understood.withdraws:
                known = state.stamps[self.program.plan.places[attribute]]  # later than now where a clock went back
                at = max(reply.happened, work.now, known)
                enrich.set_attribute(self.program.plan, state, attribute, False, at)
            for offer in respond.stop(state, work.now):
                work.log(state.id, offer.decision, offer.key, "stopped")

    def _accept(self, work: Work, index: int, state: State, offer: OpenOffer, outcome: str) -> None:
        """An accepted or redeemed offer becomes an order, once: its key is the order's Idempotency-Key."""
        taken = respond.accept(state, offer.key, work.now)
        if taken is None:
            return
        self.statistics.counts[outcome] += 1
        work.log(state.id, offer.decision, offer.key, outcome)
        order = fulfil.order(taken, state.msisdn, self.program.playbook.currency.code)
        work.send(index, state.id, "ocs", order)

    def _fulfilment(self, work: Work, index: int, fulfilment: Fulfilment) -> None:
        work.batch.updates.append(OutgoingUpdate(fulfilment.outgoing, "delivered", 0, 0))
        state = self._state(work, fulfilment.subscriber)
        settled = fulfil.settle(state, fulfilment, work.now) if state else None
        if state is None or settled is None:
            return
        work.changed.add(state.id)
        outcome = "fulfilled" if fulfilment.status == "done" else "refused"
        self.statistics.counts[outcome] += 1
        work.log(state.id, settled.offer.decision, settled.offer.key, outcome, fulfilment.reason)
        self._answer(work, index, state, settled.answer, settled.offer, settled.offer.short_code)

    def _timer(self, work: Work, timer: Timer) -> None:
        work.batch.timers_done.append(timer.id)
        state = self._state(work, timer.subscriber)
        offer = respond.expire(state, timer.payload, work.now) if state else None
        if state and offer:
            work.changed.add(state.id)
            work.log(state.id, offer.decision, offer.key, "expired")

    def _delivery(self, work: Work, index: int, delivery: Delivery) -> None:
        """Keep the outbox row's news; what was dropped unsent gives its limit back and takes its offer away."""
        state = self._state(work, delivery.subscriber)
        status = delivery.status
        if status == "sending" and state and not _still_open(state, delivery.offer, work.now):
            work.answers[index] = DROPPED
            status = "dropped"
        row_status = "pending" if status == "plain" else status
        update = OutgoingUpdate(delivery.outgoing, row_status, 0, delivery.attempts, delivery.peer_id)
        work.batch.updates.append(update)
        self.statistics.counts[f"outgoing.{status}"] += 1
        if delivery.receipt:
            work.send(index, delivery.subscriber, "receipt", delivery.receipt)
        if state and status in ("dropped", "failed", "plain") and delivery.reason != "unknown":
            self._take_back(work, state, delivery)

    def _take_back(self, work: Work, state: State, delivery: Delivery) -> None:
        work.changed.add(state.id)
        state.contacts = [contact for contact in state.contacts if contact.decision != delivery.decision]
        if respond.withdraw(state, delivery.offer, work.now):
            work.log(state.id, delivery.decision, delivery.offer, "dropped", delivery.reason)

    # -- decide and say ------------------------------------------------------------------------------------------------

    def _decide(self, work: Work, moments: dict[int, Moment]) -> None:
        notifications = {moment.id: work.inputs[index].notification for index, moment in moments.items()}  # type: ignore[union-attr]
        compose = Composer(self.program, notifications, self.parts_at_most)
        decided = decide(self.program.decide, list(moments.values()), self.scorer, self._draw, compose)
        for (index, moment), made in zip(moments.items(), decided, strict=True):
            self._say(work, index, moment, made)

    def _say(self, work: Work, index: int, moment: Moment, made: Decided) -> None:
        """Keep the record; reserve the contact, open the offer, and write what goes out."""
        decision, state, event = made.decision, moment.state, work.inputs[index]
        assert isinstance(event, Event)
        state.decisions = [*state.decisions[1 - DECISIONS_KEPT :], decision.id]
        work.batch.decisions.append((decision.id, state.id, decision.now, encode(decision)))
        self.statistics.decided(self.program.decide, decision)
        if made.arm is None or made.composed is None or decision.chosen is None:
            self._plain(work, index, event, state.id)
            return
        action, channel = made.arm.action, self.program.decide.channels[decision.chosen.channel]
        state.contacts.append(Contact(work.now, decision.id, channel, action.name, action.issue, moment.riding))
        key = f"{self.epoch}-{decision.id}"
        if makes_offer(action):
            respond.open_offer(state, self._offer(made.arm, made.composed.number, key, moment, event, channel))
            work.wake(state.id, work.now + action.accept_within, key)
        send_by = work.now + min(action.send_within, action.accept_within)
        if moment.riding:
            self._notify(work, index, event, state.id, made.composed.text, key, decision.id, send_by)
            return
        self._plain(work, index, event, state.id)
        text = Text(
            short_code_of(self.program, event.notification),
            state.msisdn,
            made.composed.text,
            True,
            send_by,
            key,
            decision.id,
        )
        work.send(index, state.id, channel, text)

    def _offer(self, arm: Arm, number: int, key: str, moment: Moment, event: Event, channel: str) -> OpenOffer:
        action, variant = arm.action, arm.variant
        return OpenOffer(
            number=number,
            key=key,
            decision=moment.id,
            action=action.name,
            variant=variant.name,
            kind=action.kind,
            title=self.program.offers[arm.bit]["title"] or action.title,
            price=variant.price,
            product=variant.product if action.provisions else "",
            charges=action.charges,
            language=language_of(self.program, moment),
            short_code=short_code_of(self.program, event.notification),
            channel=channel,
            made=moment.now,
            expires=moment.now + action.accept_within,
            after_decline=action.after_decline,
            redeemed_by=action.redeemed_by,
            redeemed_when=to_text(variant.redeemed_when) if variant.redeemed_when else "",
            changed=moment.now,
        )

    def _plain(self, work: Work, index: int, event: Event, subscriber: int) -> None:
        """The notification, if the event came in one, as it came."""
        if event.notification:
            self._notify(work, index, event, subscriber, event.notification.text)

    def _notify(
        self,
        work: Work,
        index: int,
        event: Event,
        subscriber: int,
        text: str,
        offer: str = "",
        decision: int = 0,
        send_by: int = 0,
    ) -> None:
        notification = event.notification
        assert notification is not None
        payload = Text(
            source=notification.source,
            destination=notification.destination,
            text=text,
            send_by=send_by,
            offer=offer,
            decision=decision,
            account=notification.account,
            message_id=notification.message_id,
            receipt=notification.receipt,
            plain=notification.text if decision else "",
        )
        work.send(index, subscriber, NOTIFICATION, payload)

    def _answer(
        self, work: Work, index: int, state: State, message: str, offer: OpenOffer | None, short_code: str
    ) -> None:
        """One clear text back, in the language of the offer or of the subscriber."""
        program = self.program
        row = self._row(state, work.now)
        values = values_of(
            program.playbook,
            offer,
            (offer.expires if offer else work.now) + row[-1] - row[-2],
            Row(program.places, row),
            short_code,
        )
        language = program.messages.language_for(offer.language) if offer else program.language(row)
        text = program.messages.text(message, language, values)
        if text:
            work.send(index, state.id, "sms", Text(short_code, state.msisdn, text))

    def _row(self, state: State, now: int) -> tuple[Any, ...]:
        """The row of a moment that no event made."""
        return enrich.row(self.program.plan, state, "", {}, now, now)


def _still_open(state: State, offer: str, now: int) -> bool:
    """Whether a marketing message may still go out: its offer was not withdrawn or taken meanwhile."""
    return not offer or all(
        open_.key != offer or (open_.status == "open" and open_.expires > now) for open_ in state.offers
    )
