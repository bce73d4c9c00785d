"""Whether a contact policy was kept, judged from the operator's side alone: what handsets saw, what was sent, and when.

It shares no code with what it judges. kairos decided each contact at some time after its cause was handed over (a
notification submitted, an event posted) and before it arrived. Nobody here knows when; so what is reported is broken
whenever that was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

CARE = "care"
DAY = 86_400.0  # seconds
TICK = 0.002  # seconds: kairos counts in milliseconds


@dataclass(frozen=True, slots=True)
class Contact:
    """Something of ours on a handset. Times are seconds of one clock that never goes back."""

    msisdn: str
    action: str
    issue: str
    purpose: str
    riding: bool
    after: float  # when its cause was handed over
    before: float  # when it arrived


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit as the playbook has it, and what it means: at most so many of each group in a window of `per` seconds,
    or of the calendar's `day` or `week`."""

    written: str
    at_most: int
    per: float | str
    counts: Callable[[Contact], bool] = lambda _: True
    group: Callable[[Contact], str] = lambda _: ""


@dataclass(frozen=True, slots=True)
class No:
    """A subscriber declined an action (of a STOP: empty): said so at one time, and was told at another that it was
    heard."""

    msisdn: str
    action: str
    asked: float
    told: float


@dataclass(slots=True)
class Silence:
    """No marketing may be said: from when that was acknowledged until its end was sent."""

    msisdn: str
    why: str
    since: float
    until: float = inf


@dataclass(frozen=True, slots=True)
class Rests:
    """For how many seconds nothing is said after a no: of the offer, of its issue, of anything."""

    offer: float
    issue: float = 0.0
    everything: float = 0.0


@dataclass(slots=True)
class Seen:
    """All that the operator knows. `wall`: what makes a time one of the subscribers' wall clock (seconds, of 1970)."""

    wall: float = 0.0
    contacts: list[Contact] = field(default_factory=list)
    nos: list[No] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    stops: list[No] = field(default_factory=list)

    def of_subscribers(self) -> Mapping[str, list[Contact]]:
        found = defaultdict(list)
        for contact in self.contacts:
            found[contact.msisdn].append(contact)
        return found


def fullest(seen: Seen, rule: Rule) -> tuple[int, str]:
    """How many contacts of one subscriber and group surely fell into one window, at most; and whose they were."""
    groups = defaultdict(list)
    for contact in seen.contacts:
        if rule.counts(contact):
            groups[contact.msisdn, rule.group(contact)].append(contact)
    found = ((_most(contacts, rule.per, seen.wall), f"{who} {group}") for (who, group), contacts in groups.items())
    return max(found, default=(0, ""))


def _most(contacts: list[Contact], per: float | str, wall: float) -> int:
    if isinstance(per, str):
        length, first = {"day": (DAY, 0), "week": (7 * DAY, 4 * DAY)}[per]  # 1970-01-05 was a Monday
        spans = [[(at + wall - first) // length for at in (one.after, one.before)] for one in contacts]
        return max(Counter(start for start, end in spans if start == end).values(), default=0)
    return max(
        sum(one.after <= other.after and other.before < one.after + per - TICK for other in contacts)
        for one in contacts
    )


def exceeded(seen: Seen, rules: Iterable[Rule]) -> Iterator[str]:
    for rule in rules:
        most, whose = fullest(seen, rule)
        if most > rule.at_most:
            yield f"{rule.written}: {most} of {whose}"


def unheeded(seen: Seen, rests: Mapping[str, Rests], issues: Mapping[str, str]) -> Iterator[str]:
    """What was surely decided after a no was heard, and before what it put to rest might be said again."""
    contacts = seen.of_subscribers()
    for no in seen.nos:
        rest = rests[no.action]
        for one in contacts.get(no.msisdn, ()):
            passed = one.before - no.asked
            if one.after <= no.told:
                continue
            if one.action == no.action and passed < rest.offer:
                yield f"declined: {one.action} {passed:.2f} s after a no to it"
            if one.issue == issues[no.action] and passed < rest.issue:
                yield f"issue declined: {one.action} {passed:.2f} s after a no to {no.action}"
            if passed < rest.everything:
                yield f"everything declined: {one.action} {passed:.2f} s after a no to {no.action}"


def broken_silence(seen: Seen) -> Iterator[str]:
    """Marketing that arrived though a STOP had been answered, or was decided while a pause was known to hold."""
    contacts = seen.of_subscribers()
    for silence in seen.silences:
        for one in contacts.get(silence.msisdn, ()):
            began = one.before if silence.why == "STOP" else one.after  # what waits to be sent is asked again
            if one.purpose != CARE and silence.since < began and one.before < silence.until:
                yield f"{silence.why}: {one.action} {one.before - silence.since:.3f} s after it"


def reached(seen: Seen, action: str, members: Iterable[str], why: str) -> Iterator[str]:
    """What somebody saw who must see nothing of an action (of an empty one: no marketing)."""
    kept = set(members)
    for one in seen.contacts:
        if one.msisdn in kept and (one.action == action if action else one.purpose != CARE):
            yield f"{why}: {one.msisdn} got {one.action}"


def most_held(seen: Seen, action: str) -> int:
    """How many offers of an action that stays open were surely held at once: said and not given back (a no, a STOP)."""
    changes = []
    for one in seen.contacts:
        if one.action != action:
            continue
        ended = [no for no in seen.nos if no.action == action] + seen.stops
        end = min((no.asked for no in ended if no.msisdn == one.msisdn and no.told > one.after), default=inf)
        if end > one.before:
            changes += [(one.before, 1), (end, -1)]
    most = held = 0
    for _, change in sorted(changes):
        held += change
        most = max(most, held)
    return most
