"""The ESME's side: a bind that keeps itself up."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any, Protocol

from kairos.smpp.errors import BindRefused, NotBound, SmppError
from kairos.smpp.pdu import Bind, BindReceiver, BindTransmitter, Pdu, encode
from kairos.smpp.session import Handler, Role, Session, SessionOptions
from kairos.smpp.statistics import BindStatistics, Counters, total
from kairos.smpp.status import status_name

log = logging.getLogger("kairos.smpp")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try: anything from 0 to `first * 2^tries`, `most` at most (full jitter).

    Tries count anew once a bind has held for `steady` seconds. All in seconds.
    """

    first: float = 0.5
    most: float = 30.0
    steady: float = 10.0

    def delay(self, tries: int, rng: random.Random) -> float:
        """Seconds to wait after this many failures in a row.

        >>> Backoff().delay(20, random.Random(1)) <= 30.0
        True
        """
        return rng.uniform(0, min(self.most, self.first * 2 ** min(tries, 30)))


_KINDS: dict[type[Bind], str] = {BindTransmitter: "transmitter", BindReceiver: "receiver"}


class ClientState(Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    BOUND = "bound"
    WAITING = "waiting"
    CLOSED = "closed"


class Link(Protocol):
    """The way to an SMSC: one bind (`Client`) or several (`Binds`)."""

    @property
    def last_error(self) -> str:
        """Why it is not bound, where it is not."""

    @property
    def session(self) -> Session | None:
        """A session that a request could go over now."""

    async def start(self) -> None: ...
    async def bound(self) -> Session: ...
    async def request(self, pdu: Pdu, *, urgent: int = False) -> Pdu: ...
    async def close(self) -> None: ...
    def statistics(self) -> tuple[BindStatistics, ...]: ...


class Client:
    """Connects, binds, and does so again whenever the bind is lost, until `close()`.

    `bind` says how and as whom (BindTransmitter, BindReceiver, BindTransceiver). `handle` gets what the SMSC sends,
    from the bind response on. With `tls`, the server proves that it is `server_name` (the host, where that is empty).
    `rng` and `sleep` are chance and time: hand in your own to test. Raises EncodeError for a
    bind that cannot be written.
    """

    def __init__(
        self,
        host: str,
        port: int,
        bind: Bind,
        handle: Handler,
        options: SessionOptions | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
        rng: random.Random | None = None,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        encode(bind)  # a bind that cannot be written should not be found out by trying for ever
        self.host = host
        self.port = port
        self.bind = bind
        self.options = options or SessionOptions()
        self.state = ClientState.IDLE
        self.session: Session | None = None
        self.last_error = ""
        self.binds = 0  # how many times it was bound
        self._tls: dict[str, Any] = {}
        if tls is not None:
            timeout = {"ssl_handshake_timeout": self.options.response_timeout}
            self._tls = {"ssl": tls, "server_hostname": server_name or host, **timeout}
        self.on_change: Callable[[], None] = lambda: None  # there may be room for a request, or the session ended
        self._past = Counters()  # of sessions that ended
        self._handle = handle
        self._rng = rng or random.Random()
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        self._bound = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect; returns at once. `await bound()` to wait for the bind."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_bound())

    async def bound(self) -> Session:
        """Wait until bound; gives the session. Put a timeout around it: an SMSC may stay away."""
        while True:
            await self._bound.wait()
            if self.session is not None and self.session.is_bound:
                return self.session
            if self.state is ClientState.CLOSED:
                raise NotBound("the client is closed")
            if self.session is not None:  # it is saying farewell
                await self.session.closed()
            await asyncio.sleep(0)

    async def request(
        self,
        pdu: Pdu,
        timeout: float | None = None,  # noqa: ASYNC109 (a wire's timer)
        *,
        urgent: int = False,
    ) -> Pdu:
        """As `Session.request`, on the session of the moment. Raises NotBound at once while there is none."""
        session = self.session
        if session is None or not session.is_bound:
            because = f": {self.last_error}" if self.last_error else ""
            raise NotBound(f"not bound to {self.host}:{self.port} ({self.state.value}{because})")
        return await session.request(pdu, timeout, urgent=urgent)

    def statistics(self) -> tuple[BindStatistics, ...]:
        """How this bind stands, and what went over all its sessions."""
        session = self.session
        state, kind = self.state.value, type(self.bind)
        rate = session.window.pace.rate if session else self.options.rate
        one = BindStatistics(
            address=f"{self.host}:{self.port}",
            kind=_KINDS.get(kind, "transceiver"),
            standby=False,
            state=state,
            bound_for=session.bound_for if session else None,
            binds=self.binds,
            last_error=self.last_error,
            outstanding=session.outstanding if session else 0,
            waiting=session.window.waiting if session else 0,
            window=self.options.window,
            rate=rate if rate < inf else 0.0,
            counters=total(self._past, session.counters) if session else total(self._past),
        )
        return (one,)

    async def close(self) -> None:
        """Finish what is under way, unbind, and stay away."""
        session = self.session
        self.state = ClientState.CLOSED
        if session is not None:
            await session.unbind()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if session is not None:
            await session.finish_handlers(self.options.grace)
        self._bound.set()

    async def _keep_bound(self) -> None:
        tries = 0
        while self.state is not ClientState.CLOSED:
            self.state = ClientState.CONNECTING
            if await self._one_session():
                tries = 0
            if self.state is ClientState.CLOSED:
                return
            self.state = ClientState.WAITING
            log.info("%s:%d: %s; trying again", self.host, self.port, self.last_error)
            await self._sleep(self._backoff.delay(tries, self._rng))
            tries += 1

    async def _one_session(self) -> bool:
        """From connecting to the end of the session; whether it was steady."""
        loop = asyncio.get_running_loop()
        session = Session(Role.ESME, self._handle, self.options, on_bound=self._enter)
        try:
            async with asyncio.timeout(self.options.response_timeout):
                await loop.create_connection(lambda: session.wire, self.host, self.port, **self._tls)
            await self._bind(session)
            since = loop.time()
            self.last_error = await session.closed()
            return loop.time() - since >= self._backoff.steady
        except (OSError, SmppError, ValueError) as fault:  # a timeout is an OSError, a bad host name a ValueError
            self.last_error = str(fault) or "no connection in time"
            return False
        finally:
            self._bound.clear()
            self.session = None
            session.abort(self.last_error or "closed")
            self._past.add(session.counters)
            self.on_change()
            await session.closed()

    def _enter(self, session: Session) -> None:
        self.session = session
        self.state = ClientState.BOUND
        self.binds += 1
        session.window.on_change = self.on_change
        self._bound.set()
        self.on_change()

    async def _bind(self, session: Session) -> None:
        response = await session.bind_as(self.bind)
        if not response.ok:
            raise BindRefused(
                f"the bind as `{self.bind.system_id}` was refused: {status_name(response.status)}",
                status=response.status,
            )
