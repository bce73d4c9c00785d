"""What kairos needs of the world: a store, channels, a fulfiller, a scorer, a clock. Adapters provide them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Concatenate, Literal, ParamSpec, Protocol, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from kairos.domain.budget import Key, Standing
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.decision import Drawn
from kairos.domain.erasure import Erased
from kairos.domain.identity import Held
from kairos.domain.inputs import Answered, Response, Timer
from kairos.domain.message import Order, Outgoing, Text
from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.domain.passage import Communication, Hub, Passage, PassageNews
from kairos.domain.purchase import Purchase
from kairos.domain.recommendation import Kept
from kairos.domain.switch import Switch

P = ParamSpec("P")
R = TypeVar("R")

Lease = Callable[[str, int, int, int], int]
"""How much of a budget's period this worker may take in all: budget, when the period began, how much all workers may
have taken together by now, and how much this one would use. A worker that is alone has all of it; several are leased
chunks, so that no two take the same (`domain.budget` says what is granted, and what is returned between batches)."""

Clock = Callable[[], int]  # milliseconds since the epoch, UTC


@dataclass(slots=True)
class Loaded:
    """What `Store.load` found: subscriber ids by name (`domain.identity`), and state blobs by subscriber id.

    Subscriber 0 of a name: it was somebody's, and is nobody's now. `moved` has the names that ever changed hands, and
    since when (ms) they are whose they are.
    """

    subscribers: dict[str, int]
    states: dict[int, bytes]
    moved: dict[str, int] = field(default_factory=dict)


class OutgoingUpdate(Struct, frozen=True, array_like=True, gc=False):
    """A change of one outbox row; an empty `peer_id` leaves the row's."""

    id: int
    status: str
    due: int
    attempts: int
    peer_id: str = ""


@dataclass(slots=True)
class Batch:
    """All that one micro-batch changes. A store applies it whole or not at all."""

    states: dict[int, bytes] = field(default_factory=dict)
    # kind, value, subscriber (0: nobody from now on), since (ms); in their order, the last one has it
    identities: list[tuple[str, str, int, int]] = field(default_factory=list)
    decisions: list[tuple[int, int, int, bytes]] = field(default_factory=list)  # id, subscriber, at (ms), record
    outgoing: list[Outgoing] = field(default_factory=list)  # new rows
    updates: list[OutgoingUpdate] = field(default_factory=list)  # of rows already there, in order
    timers: list[Timer] = field(default_factory=list)
    timers_done: list[int] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    positions: list[tuple[str, int, int]] = field(default_factory=list)  # source, partition, position
    purchases: dict[str, Purchase] = field(default_factory=dict)  # as they now are, by key
    dead_letters: list[DeadLetter] = field(default_factory=list)  # a kind and identity that is there is counted
    letters_marked: list[tuple[int, str]] = field(default_factory=list)  # id, status; ids that are gone are passed by
    answered: list[Answered] = field(default_factory=list)
    budgets: dict[Key, Standing] = field(default_factory=dict)  # as they now are
    passages: list[Passage] = field(default_factory=list)  # new ones; a key that is there stays as it is
    passage_news: list[PassageNews] = field(default_factory=list)  # of those that are there, in order
    communications: list[Communication] = field(default_factory=list)  # as they now are
    erased: list[Erased] = field(default_factory=list)  # applied before `identities`

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


class NextIds(Struct, frozen=True):
    """The first unused id of each kind."""

    subscriber: int
    decision: int
    outgoing: int
    timer: int


class Forgotten(Struct, frozen=True):
    """How many rows went, and the last id that was looked at; 0 where none of them was old, which ends a pass."""

    deleted: int
    reached: int


class Unsent(Struct, frozen=True):
    """What waits in the outbox for one channel; `oldest` is when the oldest was due (ms), 0 where nobody knows."""

    channel: str
    count: int
    oldest: int


class Figures(Struct, frozen=True):
    """How a store stands."""

    unsent: list[Unsent]  # by channel
    timers_due: int
    size: int  # octets of the file
    log_size: int  # octets of the write-ahead log


class Store(Protocol):
    """Durable state. Only `commit` writes what the engine decided; when it returns, that survives a power cut.

    `commit` may run in another thread while the others run in the engine's; they then see the store before or after it.
    All raise StoreError when the store cannot be used.
    """

    @property
    def epoch(self) -> str:
        """A random text made when the store was: it keeps keys of two stores apart."""
        ...

    def epoch_of(self, decision: int) -> str:
        """The epoch that a decision was made in: another one where the store was restored from a backup since."""
        ...

    def keep(self, name: str, value: str) -> str:
        """What is kept under a name for good: the first value that was ever given for it."""
        ...

    def next_ids(self) -> NextIds: ...

    def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        """The subscribers known by these names, and the states of those and of `subscribers`."""
        ...

    def holders(self, name: str) -> list[Held]:
        """Who had a name, oldest first; the last one has it, unless its `until` is set."""
        ...

    def commit(self, batch: Batch) -> None: ...

    def outgoing(self, ids: Sequence[int]) -> list[Outgoing]: ...

    def unsent(self, after: int, limit: int) -> list[Outgoing]:
        """Rows that are pending or sending, by id, from the first id greater than `after`."""
        ...

    def outgoing_by_peer_id(self, peer_id: str) -> Outgoing | None: ...

    def answered_by_peer_id(self, peer_id: str) -> Answered | None:
        """The newest with this id of the SMSC's."""
        ...

    def answered(self, account: str, message_id: str) -> Answered | None:
        """The newest that has a `peer_id`, by the id that the account knows."""
        ...

    def latest_answered(self, limit: int) -> list[Answered]:
        """The newest, oldest first."""
        ...

    def notification(self, key: str) -> Outgoing | None:
        """The newest row of the channel `notification` with this key."""
        ...

    def timers_due(self, now: int, limit: int) -> list[Timer]: ...

    def decision(self, id: int) -> bytes | None: ...  # noqa: A002

    def decisions(self, ids: Collection[int]) -> dict[int, bytes]:
        """The records of those that are kept."""
        ...

    def responses_to(self, offers: Collection[str]) -> list[Response]:
        """What became of several offers, oldest first, in one read."""
        ...

    def responses(self, offer: str) -> list[Response]:
        """What became of an offer, oldest first."""
        ...

    def purchase(self, key: str) -> Purchase | None: ...

    def purchases(self, after: str, limit: int) -> list[Purchase]:
        """By key (octet by octet), from the first key greater than `after`."""
        ...

    def purchases_of(self, offer: str) -> list[Purchase]:
        """All that an offer became, oldest first: one, or more where money was wanting."""
        ...

    def budgets(self, keys: Collection[Key]) -> dict[Key, Standing]:
        """How periods of budgets stand; one that nothing was ever taken of is left out."""
        ...

    def passage(self, key: str) -> Passage | None:
        """What became of another system's message."""
        ...

    def passages(self, communication: str) -> list[Passage]:
        """Those of one communication, in the order of its receivers."""
        ...

    def passages_to(self, subscriber: int, limit: int) -> list[Passage]:
        """The latest to a subscriber, the newest first."""
        ...

    def communication(self, id: str) -> Communication | None: ...  # noqa: A002

    def communications(self, client: str, before: int, limit: int) -> tuple[list[Communication], int]:
        """The newest first, of one client or (empty) of all, and none that are gone; and where to go on: below this
        place, 0 where there are no more. `before` is such a place, or 0 to begin."""
        ...

    def listeners(self) -> list[Hub]:
        """Of every hub."""
        ...

    def put_listener(self, one: Hub) -> None:
        """Keep one, in a transaction of its own."""
        ...

    def drop_listener(self, id: str) -> None: ...  # noqa: A002

    def dead_letters(self, kind: str = "", status: str = "", limit: int = 100) -> list[DeadLetter]:
        """The newest first, of one kind or status or of all."""
        ...

    def count_dead_letters(self) -> dict[tuple[str, str], int]:
        """How many there are of each (kind, status)."""
        ...

    def trim_dead_letters(self, keep: int) -> int:
        """Drop the oldest of each kind that has more than `keep`, save those to be replayed; how many."""
        ...

    def forget(self, what: str, before: int, after: int, limit: int) -> Forgotten:
        """Delete rows that are older than `before` (ms) and closed, of the next `limit` after the id `after`.

        What: decisions (without an open offer, and with how likely their choice was), outbox (sent, failed or dropped),
        responses, answered, dead_letters, purchases (that have ended), ended_subscriptions (their states), switches
        (all but the latest of each), passages (that wait for nothing), communications; or playbooks, those that no
        decision and no layout needs, whatever their age. No id is used again.
        """
        ...

    def save_playbook(self, revision: str, layout: str, texts: Mapping[str, str]) -> None: ...

    def playbook(self, revision: str) -> dict[str, str] | None: ...

    def playbook_with_layout(self, layout: str) -> dict[str, str] | None: ...

    def model(self, version: str = "") -> tuple[str, bytes] | None:
        """A version of the propensity model and its content; without a word the newest. Who learns publishes them."""
        ...

    def newest_model(self) -> str:
        """The name of the newest version; empty: there is none."""
        ...

    def choices(self, decisions: Collection[int]) -> dict[int, Drawn]:
        """How likely the choices of these decisions were, as far as it is kept. Who learns writes it."""
        ...

    def suppressed(self) -> dict[bytes, tuple[str, ...]]:
        """The consents that are withdrawn for numbers of erased subscribers, by mark."""
        ...

    def switches(self) -> list[Switch]:
        """Every switch that was ever turned as it stands now, by name. Other processes may turn them too."""
        ...

    def switch_history(self, limit: int) -> list[Switch]:
        """The latest changes, the newest first."""
        ...

    def turn_switch(self, switch: Switch) -> None:
        """Keep one change, in a transaction of its own."""
        ...

    def figures(self, now: int) -> Figures:
        """How the store stands; holds up nobody who reads or commits. Timers are those due at `now`."""
        ...

    def close(self) -> None: ...


class Aside(Protocol):
    """A store's calls for an event loop that goes on meanwhile; each as the store's own.

    `load` and `commit` are what every batch asks for: neither waits for the other, nor for any `read`.
    """

    async def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded: ...

    async def commit(self, batch: Batch, chain: int) -> None:
        """The next may be asked for before this one has ended: they are committed in the order in which they come.

        The batches of one chain stand on one another: where one fails, those after it are refused (StoreError).
        """
        ...

    async def read(self, ask: Callable[Concatenate[Store, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Any other read, `await aside.read(Store.outgoing, [7])`; who asked first is answered first."""
        ...

    async def close(self) -> None: ...


class Queries(Protocol):
    """Recommendations that are kept (`domain.recommendation`); what is written is durable.

    For one thread at a time. All raise StoreError when the store cannot be used.
    """

    def put(self, kept: Kept, before: int, most: int) -> None:
        """Keep one more; those of before `before` (ms) go, and the oldest beyond `most`."""
        ...

    def get(self, key: str) -> Kept | None: ...

    def resources(self, client: str | None) -> list[bytes]:
        """Those that a client asked for, or (None) all of them; the oldest first."""
        ...

    def under_way(self, limit: int) -> list[Kept]: ...

    def untold(self, limit: int) -> list[Kept]:
        """Those that have ended, and whose listeners do not know it."""
        ...

    def finish(self, ended: Iterable[tuple[str, str, bytes]]) -> None:
        """Key, state and resource of those that have ended."""
        ...

    def mark_told(self, keys: Iterable[str]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt to send.

    sent: the counterpart has it (`peer_id` is its id). done, refused: an order's final answer. retry: it surely did not
    happen, or the counterpart told us to come back. failed: it never will. unknown: it may have happened. absent: asked
    for it, the counterpart knows nothing of it.
    """

    status: Literal["sent", "done", "refused", "retry", "failed", "unknown", "absent"]
    peer_id: str = ""
    reason: str = ""
    parts: tuple[Answered, ...] = ()  # of an account's message in several: each one's id
    refused: bool = False  # of a retry: the counterpart told us to come back with this one
    after: float = 0.0  # of a retry: in so many seconds, at the soonest


class Channel(Protocol):
    """A way to a handset, or to another service. It never raises for what the counterpart does."""

    async def send(self, text: Text) -> Outcome: ...


class Room(Protocol):
    """What an offer waits for before it is marked and sent on a channel: so that what waits is not marked, and a crash
    loses no more than what was just being sent."""

    def __call__(self, row: Outgoing, text: Text, /) -> AbstractAsyncContextManager[object]: ...


class Fulfiller(Protocol):
    """The system that charges and provisions. The same `key` again has no second effect and gets the first answer."""

    async def fulfil(self, order: Order) -> Outcome: ...

    async def ask(self, order: Order) -> Outcome:
        """What became of a call that may have arrived; `absent` where it never did, or where nobody can tell."""
        ...


class Scorer(Protocol):
    """A propensity model: the chance of a yes for every pair, in one call; NaN where it gives none. It never raises."""

    @property
    def version(self) -> str: ...

    def score(self, pairs: Pairs, moments: Sequence[Moment]) -> NDArray[np.float64]: ...
