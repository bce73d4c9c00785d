"""One micro-batch under way: what it read, what it changes, what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kairos.decide import Ledger
from kairos.domain.channel import NOTIFICATION
from kairos.domain.erasure import Erasure
from kairos.domain.event import Event
from kairos.domain.identity import Held, Party
from kairos.domain.inbound import Look, Recall, Told, Visit, Word
from kairos.domain.inputs import Answered, Change, Delivery, Fulfilment, Part, Reply, Resend, Response, Reversal, Timer
from kairos.domain.message import Order, Outgoing, Text
from kairos.domain.passage import Communication, Handed, Withdrawal
from kairos.domain.subscriber import Contact, State, read_state
from kairos.ports import Batch, NextIds

NAMED = (Event, Reply, Change, Part, Visit, Word, Look, Recall, Erasure, Handed)  # the others: by a subscriber's id
Asking = Visit | Word | Look | Recall
OfOthers = Handed | Withdrawal | Communication
Own = Delivery | Fulfilment | Reversal | Timer | Resend
Input = Event | Reply | Change | Answered | Part | Erasure | Own | Asking | OfOthers
ALONE = (Change, Erasure)  # in their slice: names change hands

encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
decode_party: Callable[[bytes], Party] = msgspec.msgpack.Decoder(Party).decode
decode_state: Callable[[bytes], State] = read_state


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an input: applied, duplicate, rejected (with a reason), or dropped (a mark that was refused).

    Of who asks, and of a yes or no through another door than a reply's: the `offers`, and how they stand. Of who
    dialled a menu: the `language`, and the `text` that was looked up. Of another
    system's message: how it stands, why, and `until` when (ms). A mark may be `held` until a time, too.
    """

    status: str
    reason: str = ""
    decision: int = 0  # of a trial, and of who asked
    offers: tuple[Told, ...] = ()
    outcome: str = ""
    language: str = ""
    text: str = ""
    until: int = 0


APPLIED = Answer("applied")
DUPLICATE = Answer("duplicate")


class Ids:
    """The next unused ids. A batch that fails leaves a gap, never a second use."""

    __slots__ = ("decision", "outgoing", "subscriber", "timer")

    def __init__(self, first: NextIds) -> None:
        self.subscriber, self.decision, self.outgoing, self.timer = msgspec.structs.astuple(first)

    def take(self, kind: str) -> int:
        taken: int = getattr(self, kind)
        setattr(self, kind, taken + 1)
        return taken


@dataclass(slots=True)
class Work:
    """What is known of the batch's subscribers, and everything that it writes. `states` holds one slice at a time."""

    now: int
    ids: Ids
    inputs: list[Input] = field(default_factory=list)
    batch: Batch = field(default_factory=Batch)
    subscribers: dict[str, int] = field(default_factory=dict)  # by name; 0: nobody has it any more
    moved: dict[str, int] = field(default_factory=dict)  # names that changed hands, and when they did last
    past: dict[str, list[Held]] = field(default_factory=dict)  # who had them before they did so in this batch
    blobs: dict[int, bytes] = field(default_factory=dict)  # states as they are after the slices so far, by subscriber
    states: dict[int, State] = field(default_factory=dict)  # decoded, and changed in place
    changed: set[int] = field(default_factory=set)
    parties: dict[int, Party] = field(default_factory=dict)  # decoded with a slice's states, and changed in place
    answers: list[Answer] = field(default_factory=list)  # one for each input
    concluded: set[int] = field(default_factory=set)  # subscribers of whose offers something became
    ledger: Ledger | None = None  # of budgets, where any was asked
    caused_by: dict[int, int] = field(default_factory=dict)  # outbox row -> index of its input

    def latest_inputs(self) -> dict[int, int]:
        """By subscriber: the place of the latest input that concerns them."""
        names = (subscriber_of(source) for source in self.inputs)
        return {self.subscribers.get(n, 0) if isinstance(n, str) else n: place for place, n in enumerate(names)}

    def send(self, cause: int, subscriber: int, channel: str, payload: Text | Order) -> None:
        """Write an outbox row. Its key is the identity of the input that caused it, or its id for its account."""
        row = self.ids.take("outgoing")
        asked_by = payload.message_id if isinstance(payload, Text) and channel == NOTIFICATION else ""
        key = asked_by or f"{identity(self.inputs[cause])}#{channel}"
        self.caused_by[row] = cause
        self.batch.outgoing.append(Outgoing(row, key, subscriber, channel, encode(payload), self.now))

    def wake(self, subscriber: int, due: int, payload: str) -> None:
        self.batch.timers.append(Timer(self.ids.take("timer"), due, subscriber, payload))

    def log(
        self, subscriber: int, decision: int, offer: str, outcome: str, reason: str = "", *, test: bool = False
    ) -> None:
        self.concluded.add(subscriber)
        state = self.states.get(subscriber)
        test = test or (state is not None and any(one.test and one.key == offer for one in state.offers))
        self.batch.responses.append(Response(subscriber, decision, offer, outcome, reason, self.now, test))


def count_contact(state: State, party: Party | None, contact: Contact) -> None:
    """What was said counts for the subscriber, and for their account where it has several numbers."""
    state.contacts.append(contact)
    if party:
        party.contacts.append(contact)


def identity(source: Input) -> str:
    """What makes a repeat of an input recognisable."""
    match source:
        case Event() | Reply() | Change() | Visit() | Word() | Recall() | Erasure() | Handed() | Withdrawal():
            return source.identity
        case Communication():
            return f"communication/{source.id}"
        case Look():
            return f"look/{source.msisdn}/{source.page}"
        case Delivery():
            return f"outgoing/{source.outgoing}/{source.status}"
        case Fulfilment():
            return f"fulfilment/{source.offer}"
        case Reversal():
            return f"reversal/{source.key}/{source.status}/{source.amount}"
        case Timer():
            return f"timer/{source.id}"
        case Resend():
            return f"dead-letter/{source.letter}"
        case Part():
            return f"part/{source.carried.message_id}"
        case Answered():
            return f"answered/{source.account}/{source.message_id}"


def subscriber_of(source: Input) -> str | int:
    """The name or the subscriber id that an input concerns; 0 where it concerns no state."""
    return source.msisdn if isinstance(source, NAMED) else source.subscriber


def slices(inputs: Sequence[Input], size: int) -> Iterator[tuple[int, int]]:
    """Where each slice begins and ends: `size` inputs at most, and a change of who has a name stands alone.

    >>> reply, change = Reply("1", "12025550100", "5000", "yes", 0), Change("2", "sim_swapped", "12025550100", 0)
    >>> list(slices([reply, change, reply, reply, reply], 2))
    [(0, 1), (1, 2), (2, 4), (4, 5)]
    """
    cuts = [at for at, source in enumerate(inputs) if type(source) in ALONE]
    start = 0
    for cut in (*cuts, len(inputs)):
        for begin in range(start, cut, size):
            yield begin, min(begin + size, cut)
        if cut < len(inputs):
            yield cut, cut + 1
        start = cut + 1


def waves(inputs: Iterable[tuple[int, Input]], subscribers: Mapping[str, int]) -> Iterator[list[tuple[int, Input]]]:
    """Groups in order, none of which has two inputs of one subscriber: a hot subscriber's inputs follow one another.

    `subscribers` are the known ones by MSISDN, so that one who is named by number and by id is still one.

    >>> reply = Reply("1", "12025550100", "5000", "yes", 0)
    >>> [len(wave) for wave in waves(enumerate([reply, reply, Timer(1, 0, 7, "")]), {"12025550100": 7})]
    [1, 1, 1]
    """
    seen: dict[str | int, int] = {}
    groups: list[list[tuple[int, Input]]] = []
    for index, source in inputs:
        name = subscriber_of(source)
        subscriber = subscribers.get(name) or name if isinstance(name, str) else name
        turn = seen.get(subscriber, 0) if subscriber else 0
        seen[subscriber] = turn + 1
        if turn == len(groups):
            groups.append([])
        groups[turn].append((index, source))
    yield from groups
