"""Those who listen (hubs of TMF680 and TMF681): whom the settings allow to, and each told at its own pace."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec
import structlog

from kairos.adapters.webhooks import Target
from kairos.domain.passage import Hub
from kairos.engine.dispatch import attempt
from kairos.errors import EventError, ForbiddenError
from kairos.ports import Clock, Outcome, Store

log = structlog.get_logger("kairos.hubs")

PATIENCE: Final = 10.0  # seconds that a listener may take for an answer
AT_ONCE: Final = 4  # POSTs to one of them
WAITING: Final = 100  # that wait for one of them; what comes then it misses
PAUSES: Final = (0.0, 1.0, 3.0)  # seconds before each try to tell one
# What a server may take for a step up or none, where httpx does not: it was escaped, or a parameter follows.
STEPS: Final = re.compile(r"(?:^|[/\\])\.\.?(?:$|[/\\;])")


@dataclass(frozen=True, slots=True)
class HubEvent:
    """An event as those who listen are told it; its `id` is the same whenever that is."""

    id: str
    type: str
    body: bytes


def hub_event(id_: str, type_: str, time: str, name: str, resource: Mapping[str, Any]) -> HubEvent:
    """What became of a resource that TM Forum calls `name`, at a `time` as others write it."""
    event = {"@type": type_, "eventId": id_, "eventTime": time, "eventType": type_, "title": type_}
    return HubEvent(id_, type_, msgspec.json.encode({**event, "event": {name: resource}}))


class Hubs:
    """Those who listen to events of some `types`, in the store that other hubs are in, too.

    `allowed`: how the callbacks of a client may begin, by the settings of now; `changed` hears of all who are told.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        types: Sequence[str],
        allowed: Callable[[str], Iterable[str]],
        *,
        most: int = 10,
        changed: Callable[[Sequence[Hub]], None] = lambda _: None,
    ) -> None:
        self.store, self.clock, self.types, self.allowed, self.changed = store, clock, types, allowed, changed
        self.most = most  # of one client
        self.listening: Sequence[Hub] = ()
        self._lines: dict[str, Line] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Hold the stored ones to the settings: one that they do not allow any more is told nothing."""
        there = self._there()
        self._tell_these(there)
        if left_out := [one.callback for one in there if one not in self.listening]:
            log.warning("listeners that the settings do not allow any more are told nothing", callbacks=left_out)

    async def listen(self, client: str, callback: str, query: str) -> Hub | None:
        """Tell somebody of every event; None where they are told already. Raises EventError, ForbiddenError."""
        known = [f"eventType={one}" for one in self.types]
        if query and query not in known:
            what = " or ".join(f"`{one}`" for one in known)
            raise EventError(f"`query` can be {what}, or left out", "query")
        address_of(callback)
        made = Hub(uuid.uuid4().hex, client, callback, query or f"eventType={','.join(self.types)}", self.clock())
        if not self._may_hear(made):
            raise ForbiddenError(f"`{callback[:200]}` is none of the `callbacks` that the settings allow")
        there = await asyncio.to_thread(self._there)
        own = [one for one in there if one.client == client]
        if any((one.callback, one.query) == (callback, made.query) for one in own):
            return None
        if len(own) >= self.most:
            raise ForbiddenError(f"there are {self.most} listeners already; remove one")
        await asyncio.to_thread(self.store.put_listener, made)
        self._tell_these([*there, made])
        return made

    async def unlisten(self, client: str, id_: str) -> bool:
        """Whether that listener was there; with no client's name, whoever's."""
        there = await asyncio.to_thread(self._there)
        if not any(one.id == id_ and client in ("", one.client) for one in there):
            return False
        await asyncio.to_thread(self.store.drop_listener, id_)
        self._tell_these([one for one in there if one.id != id_])
        return True

    def line(self, id_: str) -> Line | None:
        """The way to a listener; None where it listens no more, and is owed nothing."""
        return self._lines.get(id_)

    async def close(self) -> None:
        for id_ in [*self._lines]:
            self._end(id_)
        await asyncio.gather(*self._ending)

    def _there(self) -> list[Hub]:
        ours = {f"eventType={one}" for one in (*self.types, ",".join(self.types))}
        return [one for one in self.store.listeners() if one.query in ours]

    def _may_hear(self, listener: Hub) -> bool:
        return any(within(listener.callback, one) for one in self.allowed(listener.client))

    def _tell_these(self, there: Iterable[Hub]) -> None:
        self.listening = tuple(filter(self._may_hear, there))
        for id_ in self._lines.keys() - {one.id for one in self.listening}:
            self._end(id_)
        for one in self.listening:
            if one.id not in self._lines:
                self._lines[one.id] = Line(one, self.clock)
        self.changed(self.listening)

    def _end(self, id_: str) -> None:
        ending = asyncio.get_running_loop().create_task(self._lines.pop(id_).end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


class Line:
    """The way to one listener, with connections of its own: who is slow or hangs holds up nobody else.

    The log says when it begins not to take what it is told, and when that ends.
    """

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self.hub, self._types = hub, hub.query.partition("=")[2].split(",")
        self._target = Target(hub.callback, (), PATIENCE, clock, AT_ONCE)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = asyncio.Queue[tuple[Sequence[HubEvent], Callable[[], None]]](WAITING)
        self._teller: asyncio.Task[None] | None = None
        self._missed = 0  # since it began to miss some
        self._ended = False

    async def post(self, event: HubEvent) -> Outcome:
        """One attempt, when it is its turn."""
        async with self._turn:
            if self._ended:
                return Outcome("failed", reason="it listens no more")
            return await self._target.post(event.id, event.body)

    def take(self, events: Sequence[HubEvent], done: Callable[[], None]) -> bool:
        """Tell these after those before them, and say when that is `done`. False where too many wait already.

        What it does not take in a few tries it misses.
        """
        if self._waiting.full():
            self._miss(f"{WAITING} wait for it already")
            return False
        self._waiting.put_nowait((events, done))
        if self._teller is None:
            self._teller = asyncio.create_task(self._tell())
        return True

    async def _tell(self) -> None:
        while True:
            events, done = await self._waiting.get()
            for event in events:
                if event.type in self._types and (reason := await self._tried(event)):
                    self._miss(reason)
                    break
            else:
                if self._missed and self._waiting.empty():
                    log.info("a listener is told again", callback=self.hub.callback, missed=self._missed)
                    self._missed = 0
            done()

    async def _tried(self, event: HubEvent) -> str:
        """Why it did not take it, or an empty text."""
        for pause in PAUSES:
            await asyncio.sleep(pause)
            found = await attempt(self.post(event))
            if found.status in ("sent", "failed"):
                break
        return "" if found.status == "sent" else found.reason

    def _miss(self, reason: str) -> None:
        self._missed += 1
        if self._missed == 1:
            log.warning("a listener misses what it is told", callback=self.hub.callback, reason=reason)

    async def end(self) -> None:
        self._ended = True
        if self._teller:
            self._teller.cancel()
        for _ in range(AT_ONCE):  # who is asked now may answer
            await self._turn.acquire()
        await self._target.close()


def address_of(written: str) -> str:
    """An address as it will be called: without dot segments and the port that goes without saying.

    Raises EventError for what is none, and for what a server might read as another.

    >>> address_of("https://VAS.example:443/hook/../admin")
    'https://vas.example/admin'
    """
    try:
        url = httpx.URL(written)
        host = url.host
    except (httpx.InvalidURL, ValueError):  # a host that is no name, too
        url, host = httpx.URL(), ""
    if url.scheme not in ("http", "https") or not host or not written.isprintable() or STEPS.search(url.path):
        shown = "".join(one if one.isprintable() else "?" for one in written[:200])
        hint = "write it like `https://vas.example/kairos`"
        raise EventError(f"`callback`: `{shown}` is no address to call; {hint}", "callback")
    return str(url)


def within(address: str, allowed: str) -> bool:
    """Whether an address is an allowed one, or below it.

    >>> within("https://vas.example/hook/1", "https://vas.example/hook")
    True
    >>> within("https://vas.example.evil.example/", "https://vas.example"), within("https://a@b/", "https://a")
    (False, False)
    >>> within("https://vas.example/hook/../admin", "https://vas.example/hook")
    False
    """
    try:
        address, allowed = address_of(address), address_of(allowed)
    except EventError:
        return False
    return address == allowed or address.startswith(allowed.rstrip("/") + "/")
