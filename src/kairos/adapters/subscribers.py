"""All that is known of one subscriber, as an agent needs it on one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kairos import enrich, respond
from kairos.adapters.purchases import shown as shown_purchase
from kairos.decide import frozen
from kairos.decide.gates import held_out, on_list, resting
from kairos.decide.program import Gated
from kairos.domain.identity import Held
from kairos.domain.inputs import Response
from kairos.domain.money import Currency
from kairos.domain.purpose import MARKETING
from kairos.domain.subscriber import OpenOffer, State
from kairos.domain.switch import Switches, stated
from kairos.engine.explain import Explainer, in_words
from kairos.engine.program import Program
from kairos.engine.work import decode_state
from kairos.playbook.vocabulary import Vocabulary
from kairos.ports import Store

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
OTHERS: Final = 20  # messages of other systems that are shown
DOUBLINGS: Final = 14  # of an hour: a year, nearly
CONTACTS_ASKED: Final = 20  # the latest contacts whose answers are looked up
Row = tuple[Any, ...]


class Subscribers:
    """Looked up in the store alone, by any thread: what is not committed is not shown."""

    def __init__(self, store: Store, explainer: Explainer, old_vocabulary: Callable[[str], Vocabulary | None]) -> None:
        self.store, self.explainer, self.old_vocabulary = store, explainer, old_vocabulary

    def shown(self, program: Program, switches: Switches, name: str, now: int) -> Mapping[str, Any] | None:
        """As plain data: money in exact decimal text, times in ms. None where nobody has that name."""
        loaded = self.store.load([name], [])
        blob = loaded.states.get(loaded.subscribers.get(name, 0))
        if blob is None:
            return None
        state = decode_state(blob)
        if state.layout != program.plan.layout:
            enrich.migrate(program.plan, state, self.old_vocabulary(state.layout))
        view = _View(program, switches, state, now)
        answers: dict[str, list[Response]] = {key: [] for key in self._keys(state)}
        for one in self.store.responses_to(answers):
            answers[one.offer].append(one)
        records = self.store.decisions(state.decisions)
        by_decision = {said[0].decision: said for said in answers.values() if said}
        bought = [one for key, said in answers.items() if said for one in self.store.purchases_of(key)]
        return {
            "subscriber": state.id,
            "msisdn": state.msisdn,
            "known_as": _known_as(state),
            "held": [msgspec.structs.asdict(held) for held in self._held(state)],
            "since": state.created,
            "profile": view.attributes(),
            "balances": view.balances(),
            "counters": view.counters(),
            "offers": [view.offer(one) | {"answers": _plain(answers[one.key])} for one in state.offers],
            "pauses": list(view.pauses()),
            "rests": view.rests(),
            "consents": view.consents(),
            "contacts": [
                msgspec.structs.asdict(one) | {"purpose": one.purpose or MARKETING} for one in reversed(state.contacts)
            ],
            "messages_of_others": [msgspec.structs.asdict(one) for one in self.store.passages_to(state.id, OTHERS)],
            "answers": self._answers(state, answers),
            "decisions": [
                found | {"answers": _plain(by_decision.get(number, ()))}
                for number in reversed(state.decisions)
                if (found := self._decision(records.get(number)))
            ],
            "products": [msgspec.structs.asdict(one) for one in state.products],
            "purchases": [shown_purchase(one) for one in sorted(bought, key=lambda one: -one.made)],
        }

    def _held(self, state: State) -> list[Held]:
        """Who had their number, where it ever changed hands."""
        held = self.store.holders(state.msisdn)
        return held if len(held) > 1 else []

    def _keys(self, state: State) -> list[str]:
        """The keys of all offers that their state still knows of, by whatever it knows them."""
        told = [one.decision for one in state.contacts[-CONTACTS_ASKED:]]
        numbers = sorted({*state.decisions, *told, *(one.decision for one in state.products)} - {0})
        epoch = self.store.epoch
        alike = bool(numbers) and self.store.epoch_of(numbers[0]) == epoch  # a store that was restored has several
        named = [f"{epoch if alike else self.store.epoch_of(number)}-{number}" for number in numbers]
        return list(dict.fromkeys([*(one.key for one in state.offers), *named]))

    def _answers(self, state: State, answers: Mapping[str, Sequence[Response]]) -> list[dict[str, Any]]:
        """What became of all that was said to them, on every channel, the newest first."""
        made = {one.key: one for one in state.offers}
        several = [(one, made.get(key)) for key, said in answers.items() for one in said]
        several.sort(key=lambda pair: pair[0].at)
        return [
            {
                "at": one.at,
                "outcome": one.outcome,
                "reason": one.reason,
                "offer": one.offer,
                "action": offer.action if offer else "",
                "title": offer.title if offer else "",
                "decision": one.decision,
            }
            for one, offer in reversed(several)
        ]

    def _decision(self, record: bytes | None) -> dict[str, Any] | None:
        found = self.explainer.verdicts(record)
        if found is None:
            return None
        decision, program, verdicts = found
        said = next((verdict.arm for verdict in verdicts if verdict.state == "chosen"), "")
        refused = {} if said else {one.arm: one.reason for one in verdicts if one.state != "moment"}
        channel = program.decide.channels[decision.chosen.channel] if decision.chosen else ""
        return {
            "decision": decision.id,
            "at": decision.now,
            "kind": decision.kind,
            "asked_on": decision.where,
            "said": said,
            "channel": decision.where or channel,
            "because": "" if said else decision.gate,
            "refused": refused,
        }


class _View:
    """What one playbook says of one state now."""

    def __init__(self, program: Program, switches: Switches, state: State, now: int) -> None:
        self.program, self.switches, self.state, self.now = program, switches, state, now
        self.row = self.row_at(now)

    def row_at(self, now: int) -> Row:
        """The values that rules read at a time, if nothing happens until then."""
        return enrich.row(self.program.plan, self.state, "", {}, now, now)

    def attributes(self) -> dict[str, Any]:
        places = self.program.plan.places
        vocabulary = self.program.playbook.vocabulary
        return {
            name: self._value(name) | ({"since": self.state.stamps[places[name]]} if name in places else {})
            for name in vocabulary.attributes
        }

    def counters(self) -> dict[str, Any]:
        return {name: self._value(name) for name in self.program.playbook.vocabulary.counters}

    def _value(self, name: str) -> dict[str, Any]:
        """As rules compare it, and as a person reads it; both null where it is unknown."""
        value = self.row[self.program.places[name]]
        kind, currency = self.program.playbook.vocabulary.names[name], self.program.playbook.currency
        return {"value": value, "shown": None if value is None else in_words(value, kind, currency)}

    def balances(self) -> list[dict[str, Any]]:
        wallets, found = self.program.playbook.vocabulary.wallets, []
        for bucket in self.state.buckets:
            if bucket.wallet in wallets and (not bucket.expires or bucket.expires > self.now):
                wallet = wallets[bucket.wallet]
                amount = Currency(wallet.unit, wallet.digits).exact(bucket.amount)
                found.append(
                    {"wallet": bucket.wallet, "unit": wallet.unit, "amount": amount, "expires": bucket.expires}
                )
        return found

    def offer(self, offer: OpenOffer) -> dict[str, Any]:
        currency = self.program.playbook.currency
        return {
            "offer": offer.key,
            "status": respond.status_at(offer, self.now),
            "action": offer.action,
            "variant": offer.variant,
            "title": offer.title,
            "price": currency.exact(offer.price),
            "currency": currency.code,
            "number": offer.number,
            "channel": offer.channel,
            "made": offer.made,
            "until": offer.expires,
            "changed": offer.changed,
            "decision": offer.decision,
            "said": [msgspec.structs.asdict(said) for said in offer.proof],
        }

    def consents(self) -> list[dict[str, Any]]:
        """Each by its own name, whether it is given now, and the proof of the words that it reads."""
        proofs = self.state.proofs
        by_name = {gated.name: gated for gated, _ in self._gated()}
        return [
            {
                "consent": gate.name,
                "given": by_name[gate.name].opens(self.row),
                "purposes": gate.purposes,
                "channels": gate.channels,
                "proof": {
                    word: msgspec.structs.asdict(proofs[word])
                    for word in sorted(gate.condition.names)
                    if word in proofs
                },
            }
            for gate in self.program.playbook.policy.consents
        ]

    def pauses(self) -> Iterator[dict[str, Any]]:
        """What keeps quiet now, by the names of the playbook: what it stops, where, and until when."""
        program, now = self.program.decide, self.now
        for name in sorted(self.switches.off):
            yield _pause(stated(name), stops=[], channels=[])
        for window, until in frozen(program, now):
            channels = [program.channels[place] for place in sorted(window.channels)]
            yield _pause(window.freeze.why, until, stops=self._actions(window.arms), channels=channels)
        consents = {gate.name for gate in self.program.playbook.policy.consents}
        for gated, channels in self._gated():
            if gated.name not in consents and not gated.opens(self.row) and self._listed(gated):
                until = 0 if gated.file else self._opens_at(gated)
                yield _pause(gated.name, until, stops=self._actions(gated.arms), channels=channels)
        if program.holdout and held_out(program.seed, self.state.id, program.holdout):
            yield _pause("holdout", stops=self._actions(program.held_out), channels=[])
        for arms, share, salt in program.controls:
            if held_out(salt, self.state.id, share):
                yield _pause("control group", stops=self._actions(arms), channels=[])
        for place in program.own_channels:
            why, until = resting(program, self.row, now, place)
            if why:
                yield _pause(why, until, stops=self._actions(program.quiet), channels=[program.channels[place]])

    def rests(self) -> list[dict[str, Any]]:
        """What was declined, and until when it is not said again (-1: never)."""
        return [
            {"action": one.action, "issue": one.issue, "everything": not (one.action or one.issue), "until": one.until}
            for one in self.state.cooldowns
            if one.until < 0 or one.until > self.now
        ]

    def _gated(self) -> Iterator[tuple[Gated, list[str]]]:
        """Every gate that reads no event, with the channels that it concerns (none: all)."""
        program = self.program.decide
        several: dict[str, tuple[Gated, list[str]]] = {}
        for gated in (*program.gates, *program.lists):
            several.setdefault(gated.name, (gated, []))
        for place, own in enumerate(program.gates_on):
            for gated in own:
                several.setdefault(gated.name, (gated, []))[1].append(program.channels[place])
        yield from (found for found in several.values() if found[0].anytime)

    def _listed(self, gated: Gated) -> bool:
        return not gated.file or on_list(self.program.decide, gated, self.state.msisdn)

    def _opens_at(self, gated: Gated) -> int:
        """When the clock alone opens it, to the minute (ms); 0 where it does not within a year."""
        closed = self.now
        for power in range(DOUBLINGS):
            later = self.now + (HOUR << power)
            if gated.opens(self.row_at(later)):
                while later - closed > MINUTE:
                    between = (later + closed) // 2
                    closed, later = (closed, between) if gated.opens(self.row_at(between)) else (between, later)
                return later
            closed = later
        return 0

    def _actions(self, arms: int) -> list[str]:
        return list(dict.fromkeys(arm.action.name for arm in self.program.decide.arms if arms >> arm.bit & 1))


def _plain(responses: Sequence[Response]) -> list[dict[str, Any]]:
    return [{"outcome": one.outcome, "reason": one.reason, "at": one.at} for one in responses]


def _pause(why: str, until: int = 0, *, stops: Sequence[str], channels: Sequence[str]) -> dict[str, Any]:
    """`until` 0: nobody knows. No channels: all of them."""
    return {"pause": why, "until": until, "stops": stops, "channels": channels}


def _known_as(state: State) -> dict[str, Any]:
    names = state.known.names if state.known else {}
    return {kind: {"value": dated.value, "since": dated.since} for kind, dated in names.items()}
