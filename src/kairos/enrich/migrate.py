"""Carrying a state over from one vocabulary to the next, and saying what could not be carried."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from kairos.domain.subscriber import State
from kairos.enrich.counters import EMPTY, WIDTH
from kairos.enrich.plan import Plan
from kairos.playbook.vocabulary import Counter, Vocabulary, definition


@dataclass(frozen=True, slots=True)
class Carry:
    """For each new attribute and counter the place of the old one (-1: it starts anew), and the notes."""

    attributes: tuple[int, ...]
    counters: tuple[int, ...]
    wallets: frozenset[str]
    notes: tuple[str, ...]


def migrate(plan: Plan, state: State, old: Vocabulary | None) -> list[str]:
    """Bring a state of another layout to the plan's; `old` is the vocabulary that it was written under, if known.

    Attributes are carried by name and type, counters where their definition is the same, balances where the wallet's
    unit and digits are. The rest starts anew, and the notes say so in words. What no vocabulary defines (who it is,
    contacts, offers, cool-downs, identities seen) is always kept. Without `old` nothing else is.
    Habits are kept while any word is of them.
    """
    if state.layout == plan.layout:
        return []
    key = old.layout if old else ""
    carry = plan.carries.get(key)
    if carry is None:
        carry = plan.carries[key] = _carry(old, plan.vocabulary) if old else _nothing(plan.vocabulary)
    attributes, stamps, counters, past = state.attributes, state.stamps, state.counters, state.past
    state.attributes = [attributes[i] if i >= 0 else None for i in carry.attributes]
    state.stamps = [stamps[i] if i >= 0 else 0 for i in carry.attributes]
    kept = (counters[i * WIDTH : (i + 1) * WIDTH] if i >= 0 else EMPTY for i in carry.counters)
    state.counters = list(chain.from_iterable(kept))
    state.past = [past[i] if i >= 0 else b"" for i in carry.counters]
    state.buckets = [b for b in state.buckets if b.wallet in carry.wallets]
    state.announced = {wallet: at for wallet, at in state.announced.items() if wallet in carry.wallets}
    if not plan.vocabulary.habitual:
        state.habits = None
    state.layout = plan.layout
    return list(carry.notes)


def _nothing(new: Vocabulary) -> Carry:
    note = "attributes, counters and balances start anew: the vocabulary that they were kept under is not known"
    return Carry((-1,) * len(new.attributes), (-1,) * len(new.counters), frozenset(), (note,))


def _carry(old: Vocabulary, new: Vocabulary) -> Carry:
    attributes, attribute_notes = _attributes(old, new)
    counters, counter_notes = _counters(old, new)
    wallets = {name for name, w in new.wallets.items() if _measure(old, name) == (w.unit, w.digits)}
    wallet_notes = tuple(
        f"balances of `{name}` start anew: its unit or its digits changed"
        for name in new.wallets
        if name in old.wallets and name not in wallets
    )
    return Carry(attributes, counters, frozenset(wallets), attribute_notes + counter_notes + wallet_notes)


def _measure(vocabulary: Vocabulary, wallet: str) -> tuple[str, int] | None:
    known = vocabulary.wallets.get(wallet)
    return (known.unit, known.digits) if known else None


def _attributes(old: Vocabulary, new: Vocabulary) -> tuple[tuple[int, ...], tuple[str, ...]]:
    places = {name: i for i, name in enumerate(old.attributes)}
    carried, notes = [], []
    for name, attribute in new.attributes.items():
        before = old.attributes.get(name)
        carried.append(places[name] if before and before.type == attribute.type else -1)
        if before and before.type != attribute.type:
            notes.append(f"attribute `{name}` starts anew: its type changed from {before.type} to {attribute.type}")
        elif not before:
            notes.append(f"attribute `{name}` is new")
    notes += [f"attribute `{name}` is gone" for name in old.attributes if name not in new.attributes]
    return tuple(carried), tuple(notes)


def _counters(old: Vocabulary, new: Vocabulary) -> tuple[tuple[int, ...], tuple[str, ...]]:
    places = {name: i for i, name in enumerate(old.counters)}
    carried, notes = [], []
    for name, counter in new.counters.items():
        before = old.counters.get(name)
        same = before is not None and definition(before) == definition(counter)
        carried.append(places[name] if same else -1)
        if before is None:
            notes.append(f"counter `{name}` is new")
        elif not same:
            notes.append(f"counter `{name}` starts anew: {_difference(before, counter)}")
    notes += [f"counter `{name}` is gone" for name in old.counters if name not in new.counters]
    return tuple(carried), tuple(notes)


def _difference(old: Counter, new: Counter) -> str:
    changed = {
        "its function": old.function != new.function,
        "its event": old.event != new.event,
        "its field": old.field != new.field,
        "its window": old.over != new.over,
        "its step": old.step != new.step,
    }
    return f"{next((what for what, differs in changed.items() if differs), 'its condition')} changed"
