"""One SMPP session, the same class for both roles: requests with a window, responses by sequence number, timers.

What one side may send depends on its role (`esme` or `smsc`) and on the bind; everything else is symmetric.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import count

from kairos.smpp.bucket import Bucket, Pace
from kairos.smpp.errors import (
    NotBound,
    NotSent,
    PduError,
    ResponseTimeout,
    SessionLost,
    SmppError,
    UnreadableResponse,
)
from kairos.smpp.pdu import (
    MAX_SEQUENCE,
    PDUS,
    RESPONSE_BIT,
    AlertNotification,
    Bind,
    BindReceiver,
    BindResp,
    BindTransmitter,
    CancelSm,
    DataSm,
    DeliverSm,
    EnquireLink,
    GenericNack,
    Pdu,
    QuerySm,
    ReplaceSm,
    SubmitMulti,
    SubmitSm,
    Unbind,
    UnbindResp,
    encode,
)
from kairos.smpp.statistics import Counters
from kairos.smpp.status import HASTE, Status, status_name
from kairos.smpp.window import Window
from kairos.smpp.wire import Wire

log = logging.getLogger("kairos.smpp")


class Role(Enum):
    """Which side of the session we are."""

    ESME = "esme"
    SMSC = "smsc"


class State(Enum):
    """The states of SMPP 3.4, section 2.2, and the farewell."""

    OPEN = "open"
    BOUND_TX = "bound_tx"
    BOUND_RX = "bound_rx"
    BOUND_TRX = "bound_trx"
    UNBINDING = "unbinding"
    CLOSED = "closed"


_TX = frozenset({State.BOUND_TX, State.BOUND_TRX})
_RX = frozenset({State.BOUND_RX, State.BOUND_TRX})
BOUND = _TX | _RX

# Who may send what, and in which states (section 2.3). Enquire_link and unbind are anybody's.
_MAY_SEND: dict[Role, dict[type[Pdu], frozenset[State]]] = {
    Role.ESME: dict.fromkeys((SubmitSm, SubmitMulti, DataSm, QuerySm, CancelSm, ReplaceSm), _TX),
    Role.SMSC: dict.fromkeys((DeliverSm, DataSm, AlertNotification), _RX),
}
_HOUSEKEEPING = (Bind, BindResp, Unbind, UnbindResp, EnquireLink)
SILENT = 5  # so many requests in a row without an answer, and the next go one by one
FULL = 10  # so many more answers RMSGQFUL than others, and it is the peer's own queue that is full
_OTHER = {Role.ESME: Role.SMSC, Role.SMSC: Role.ESME}


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Times in seconds, sizes in octets.

    `window`: our requests without an answer at one time; `rate`: our requests a second (0: as many as come); `reserve`:
    the share of both (0 to 1) that only urgent requests may use. `concurrency`: the peer's requests in our handler at
    one time; beyond it we stop reading, so the peer feels it. An ESME does so for `deaf_for` at most, since the answers
    to its own requests come the same way; then it refuses, for the time being, what finds no place. `inactivity`:
    unbind after so long without a message (None: never). `grace`: how long a farewell waits for what is under way.
    """

    window: int = 32
    rate: float = 0.0
    reserve: float = 0.0
    response_timeout: float = 10.0
    enquire_every: float = 30.0
    inactivity: float | None = None
    bind_within: float = 10.0
    grace: float = 5.0
    max_pdu: int = 70_000
    concurrency: int = 256
    deaf_for: float = 1.0


@dataclass(slots=True)
class _Pending:
    request: Pdu
    answer: asyncio.Future[Pdu]
    since: float
    timer: asyncio.TimerHandle | None = None


Handler = Callable[["Session", Pdu], Awaitable[Pdu | None]]
Accept = Callable[["Session", Bind], Awaitable[tuple[Pdu, str]]]


class Session:
    """An open SMPP session. Servers and clients make it; handlers and callers use it.

    A handler gets (session, request) and returns the response, `request.response(...)`; None sends none now, and
    `session.send(response)` may do so later. Handlers of one session run concurrently, so responses may leave out of
    order, as SMPP allows. A handler that raises is answered with ESME_RSYSERR and logged. A handler that waits for a
    request on the *same* session holds one of its `concurrency` places meanwhile.
    """

    def __init__(
        self,
        role: Role,
        handle: Handler,
        options: SessionOptions,
        *,
        accept: Accept | None = None,
        on_open: Callable[[Session], None] | None = None,
        on_bound: Callable[[Session], None] | None = None,
        on_close: Callable[[Session], None] | None = None,
    ) -> None:
        self.role = role
        self.options = options
        self.state = State.OPEN
        self.account = ""  # whose session it is: the server's account, the client's system_id
        self.bind: Bind | None = None
        self.counters = Counters()
        self.bound_at = 0.0  # by the loop's clock
        self.limit: Bucket | None = None  # how fast the peer may ask
        self.close_reason = ""
        self._handle = handle
        self._accept = accept
        self._opened = on_open
        self._on_bound = on_bound
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self.window = Window(options.window, Pace(options.rate, options.reserve, self._loop.time()), self._loop)
        self._wire = Wire(options.max_pdu)
        self._wire.attach(self)
        self._unanswered = 0  # our requests since the last answer
        self._full = 0  # answers RMSGQFUL lately beyond the others
        self._next = count(1)
        self._pending: dict[int, _Pending] = {}
        self._backlog: deque[Pdu] = deque()
        self._busy = False  # what comes is refused until a place is free
        self._handling: set[asyncio.Task[None]] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._heard = self._active = self._loop.time()
        self._bind_timer: asyncio.TimerHandle | None = None
        self._deaf_timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None

    # --- for callers ----------------------------------------------------------------------------

    @property
    def wire(self) -> Wire:
        """The asyncio protocol of this session, for whoever opens the connection."""
        return self._wire

    @property
    def peer(self) -> str:
        """The other end's address and port."""
        return self._wire.peer

    @property
    def is_bound(self) -> bool:
        return self.state in BOUND

    @property
    def receives(self) -> bool:
        """Whether a deliver_sm can travel on this session."""
        return self.state in _RX

    @property
    def transmits(self) -> bool:
        """Whether a submit_sm can travel on this session."""
        return self.state in _TX

    @property
    def outstanding(self) -> int:
        """Our requests without an answer."""
        return len(self._pending)

    @property
    def heard(self) -> float:
        """When the peer last sent anything, by the event loop's clock."""
        return self._heard

    @property
    def bound_for(self) -> float | None:
        """Seconds since the bind; None where there is none."""
        return self._loop.time() - self.bound_at if self.state in BOUND else None

    def __repr__(self) -> str:
        return f"<Session {self.role.value} {self.account or '?'} {self.peer} {self.state.value}>"

    async def request(
        self,
        pdu: Pdu,
        timeout: float | None = None,  # noqa: ASYNC109 (a wire's timer)
        *,
        urgent: int = False,
    ) -> Pdu:
        """Send a request and wait for its response, whatever its status; waits for a place in the window first.

        Those that are not `urgent` may use only a part of the window and of the rate (see SessionOptions.reserve); an
        EMERGENCY goes before all that waits.

        The response is the request's own kind or a GenericNack. Raises NotSent (NotBound, EncodeError) where it surely
        did not go out, ResponseLost (ResponseTimeout, SessionLost, UnreadableResponse) where the peer may have it.
        `timeout` (seconds) counts from the sending; None takes the options'.
        """
        self._check_may_send(pdu)
        if pdu.answer is None:
            raise TypeError(f"{type(pdu).__name__} has no response; use `send`")
        await self.window.enter(urgent=urgent)
        return await self.request_entered(pdu, timeout, urgent=urgent)

    async def request_entered(self, pdu: Pdu, timeout: float | None, *, urgent: int) -> Pdu:  # noqa: ASYNC109
        """As `request`, by one who has entered the window."""
        try:
            self._check_may_send(pdu)  # the session may have ended while we waited
            self._active = self._loop.time()
            response = await self._transact(pdu, timeout)
        finally:
            self.window.leave(urgent=urgent)
        self._mind(response.status)
        return response

    def _mind(self, status: int) -> None:
        """Go slower where the peer means all that we send: many say RMSGQFUL of one subscriber's queue alone."""
        full = status == Status.ESME_RMSGQFUL
        self._full = min(FULL, self._full + 1) if full else max(0, self._full - 1)
        if status in HASTE:
            self.counters.throttled_received += 1
            if not full or self._full == FULL:
                self.window.pace.throttled(self._loop.time())

    def send(self, pdu: Pdu) -> None:
        """Send what has no answer: a response that a handler left out, or an alert_notification.

        A response on a session that has ended goes nowhere: the peer will ask again.
        """
        if pdu.command_id & RESPONSE_BIT:
            self._respond(pdu)
            return
        self._check_may_send(pdu)
        if pdu.answer is not None:
            raise TypeError(f"{type(pdu).__name__} has a response; use `request`")
        if self._wire.clogged:
            raise NotSent(f"{type(pdu).__name__} was not sent: the peer does not read")
        self._write(pdu, encode(pdu, self._sequence()))

    async def unbind(self) -> None:
        """Say farewell: finish what is under way, unbind, close. Returns when closed.

        Nothing new is taken or sent from now on. What is under way in either direction has `grace` seconds, and so has
        the peer to answer the unbind.
        """
        if self.state in BOUND:
            self.state = State.UNBINDING
            self.window.end()
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.options.grace):
                        await self._quiet()
                await self._transact(Unbind(), self.options.grace)
            except SmppError as fault:
                log.debug("%r: unbind: %s", self, fault)
        self.close("unbound")
        await self.closed()

    def close(self, reason: str) -> None:
        """Close after writing what is left; every outstanding request fails with SessionLost(reason)."""
        if not self.close_reason:
            self.close_reason = reason
        if self._closing is None and not self._closed.done():
            self._closing = self._loop.call_later(self.options.grace, self._wire.abort)  # a peer that reads no more
            self._wire.close()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self.close_reason = self.close_reason or reason
        self._wire.abort()
        self.on_lost(None)  # not left to the transport: uvloop says nothing of one that was cancelled in the making

    async def closed(self) -> str:
        """Wait until the connection is gone; returns why."""
        await asyncio.shield(self._closed)
        return self.close_reason

    async def finish_handlers(self, grace: float) -> None:
        """After the end: let running handlers finish, cancel what is still running after `grace` seconds."""
        if self._handling:
            _, late = await asyncio.wait(self._handling, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def bind_as(self, bind: Bind) -> Pdu:
        """As an ESME, on a fresh connection: bind, and return the response, whatever its status."""
        self.account = bind.system_id
        return await self._transact(bind, self.options.response_timeout)

    # --- sending --------------------------------------------------------------------------------

    def _check_may_send(self, pdu: Pdu) -> None:
        if self.state not in BOUND:
            reason = self.close_reason or f"the session is {self.state.value}"
            raise NotBound(f"{type(pdu).__name__} was not sent: {reason}")
        states = _MAY_SEND[self.role].get(type(pdu))
        if states is None and type(pdu) is not EnquireLink:
            raise NotBound(f"{type(pdu).__name__} is not sent by an {self.role.value.upper()} on a bound session")
        if states is not None and self.state not in states:
            raise NotBound(f"{type(pdu).__name__} cannot be sent while {self.state.value}")

    def _sequence(self) -> int:
        while True:
            number = next(self._next)
            if number > MAX_SEQUENCE:
                self._next = count(1)
            elif number not in self._pending:
                return number

    async def _transact(self, pdu: Pdu, limit: float | None) -> Pdu:
        sequence = self._sequence()
        octets = encode(pdu, sequence)
        if self.state is State.CLOSED or self._closed.done():
            raise NotBound(f"{type(pdu).__name__} was not sent: {self.close_reason}")
        pending = _Pending(pdu, self._loop.create_future(), self._loop.time())
        self._pending[sequence] = pending  # before the write, or a fast answer would find nobody
        seconds = self.options.response_timeout if limit is None else limit
        pending.timer = self._loop.call_later(seconds, self._time_out, sequence, seconds)
        self.counters.requests_sent += not isinstance(pdu, _HOUSEKEEPING)
        self._write(pdu, octets)
        try:
            return await pending.answer
        finally:
            pending.timer.cancel()
            self._pending.pop(sequence, None)
            self._check_quiet()

    def _time_out(self, sequence: int, seconds: float) -> None:
        pending = self._pending.pop(sequence, None)
        if pending is not None and not pending.answer.done():
            self.counters.timeouts += 1
            if not isinstance(pending.request, _HOUSEKEEPING):
                self._answered(self._unanswered + 1)
            name = type(pending.request).__name__
            pending.answer.set_exception(ResponseTimeout(f"{name}#{sequence}: no answer within {seconds:g} s"))

    def _answered(self, unanswered: int = 0) -> None:
        self._unanswered = unanswered
        self.window.narrow(unanswered >= SILENT)

    def _respond(self, response: Pdu) -> None:
        if self._closed.done():
            return
        octets = encode(response)
        if not isinstance(response, _HOUSEKEEPING):
            self.counters.responses_sent += 1
            self.counters.refused_sent += response.status != 0
        self._write(response, octets)

    def _write(self, pdu: Pdu, octets: bytes) -> None:
        self.counters.sent[type(pdu).__name__] += 1
        self.counters.octets_out += len(octets)
        self._wire.send(octets)

    def _check_quiet(self) -> None:
        if self._handling or self._backlog or self._pending:
            self._idle.clear()
        else:
            self._idle.set()

    async def _quiet(self) -> None:
        """Wait until no request is under way in either direction."""
        self._check_quiet()
        await self._idle.wait()

    # --- what the wire brings -------------------------------------------------------------------

    def on_open(self) -> None:
        if self._closed.done():  # given up while it was being connected
            self._wire.abort()
            return
        self._heard = self._active = self._loop.time()
        if self._opened is not None:
            self._opened(self)
        if self._closed.done():  # turned away
            return
        self._bind_timer = self._loop.call_later(self.options.bind_within, self._bind_too_late)
        self._chore(self._keep_alive())

    def on_pdu(self, pdu: Pdu) -> None:
        self.counters.received[type(pdu).__name__] += 1
        if pdu.command_id & RESPONSE_BIT:
            self._on_response(pdu)
        elif isinstance(pdu, EnquireLink):
            self.counters.enquiries_received += 1
            answer = pdu.response()
            self._write(answer, encode(answer))
        else:
            self._on_request(pdu)

    def on_read(self) -> None:
        self._heard = self._loop.time()
        self.counters.octets_in = self._wire.octets_in
        self._hold()

    def on_clogged(self, clogged: bool) -> None:
        self.window.hold(clogged)

    def on_bad_pdu(self, fault: PduError, *, fatal: bool) -> None:
        self.counters.bad_pdus += 1
        log.warning("%r: %s", self, fault)
        if fault.command_id & RESPONSE_BIT:
            self._on_bad_response(fault)
        else:
            kind = PDUS.get(fault.command_id)
            answer = GenericNack if fatal or kind is None or kind.answer is None else kind.answer
            self._respond(answer(sequence=fault.sequence, status=fault.status))
        if fatal:
            self.close(str(fault))

    def on_lost(self, cause: Exception | None) -> None:
        if self._closed.done():
            return
        self.state = State.CLOSED
        self.close_reason = self.close_reason or (f"connection lost: {cause}" if cause else "the peer closed")
        for timer in (self._bind_timer, self._deaf_timer, self._closing):
            if timer is not None:
                timer.cancel()
        for sequence, pending in self._pending.items():
            if not pending.answer.done():
                name = type(pending.request).__name__
                pending.answer.set_exception(SessionLost(f"{name}#{sequence}: {self.close_reason}"))
        self._pending.clear()
        self._backlog.clear()
        self.window.end()
        self._check_quiet()
        for chore in self._chores:
            chore.cancel()
        self._closed.set_result(None)
        if self._on_close is not None:
            self._on_close(self)

    def _on_response(self, pdu: Pdu) -> None:
        if not isinstance(pdu, _HOUSEKEEPING):
            self._answered()  # late ones, too
        pending = self._pending.get(pdu.sequence)
        if isinstance(pdu, GenericNack):
            self.counters.nacks_received += 1
        elif pending is not None and type(pdu) is not pending.request.answer:
            pending = None
        if pending is None or pending.answer.done():
            self.counters.unmatched += 1
            return
        if not isinstance(pending.request, _HOUSEKEEPING):
            self.counters.responses_received += 1
            self.counters.refused_received += pdu.status != 0
            self.counters.statuses[pdu.status] += 1
            self.counters.latency.note(self._loop.time() - pending.since)
        if isinstance(pending.request, Bind) and pdu.ok:
            self._become_bound(pending.request)  # at once: what follows in the same segment is for a bound session
        pending.answer.set_result(pdu)

    def _on_bad_response(self, fault: PduError) -> None:
        pending = self._pending.get(fault.sequence)
        if pending is not None and not pending.answer.done():
            pending.answer.set_exception(UnreadableResponse(str(fault)))

    def _on_request(self, pdu: Pdu) -> None:
        self.counters.requests_received += not isinstance(pdu, _HOUSEKEEPING)
        self._active = self._loop.time()
        if isinstance(pdu, Unbind):
            self._chore(self._on_unbind(pdu))
            return
        status = self._refusal(pdu)
        if status:
            if pdu.answer is not None:
                self._respond(pdu.response(status))
            return
        if isinstance(pdu, Bind):
            self.bind = pdu
        if len(self._handling) < self.options.concurrency:
            self._start(pdu)
        elif self._busy:
            self._refuse(pdu)
        else:
            self._backlog.append(pdu)

    def _hold(self) -> None:
        """Read only while nothing waits for a place; an ESME may not do without for long."""
        held = bool(self._backlog)
        self._wire.hold(held)
        if held and self._deaf_timer is None and self.role is Role.ESME:
            self._deaf_timer = self._loop.call_later(self.options.deaf_for, self._deaf_too_long)
        elif not held and self._deaf_timer is not None:
            self._deaf_timer.cancel()
            self._deaf_timer = None

    def _deaf_too_long(self) -> None:
        self._busy = True
        while self._backlog:
            self._refuse(self._backlog.popleft())
        self._hold()

    def _refuse(self, pdu: Pdu) -> None:
        if pdu.answer is not None:
            self._respond(pdu.response(self._not_now))

    @property
    def _not_now(self) -> Status:
        """How a peer hears that it may come again. An SMSC may take any other status for final."""
        return Status.ESME_RX_T_APPN if self.role is Role.ESME else Status.ESME_RSYSERR

    def _refusal(self, pdu: Pdu) -> int:
        if isinstance(pdu, Bind):
            if self.state in BOUND or self.bind is not None:
                return Status.ESME_RALYBND
            if self._accept is None or self.state is not State.OPEN:
                return Status.ESME_RINVBNDSTS
            return Status.ESME_ROK
        if self.state is State.UNBINDING:
            return self._not_now  # ask again on the next session
        states = _MAY_SEND[_OTHER[self.role]].get(type(pdu), frozenset())
        if self.state not in states:
            return Status.ESME_RINVBNDSTS
        if self.limit is not None and self.limit.take(self._loop.time()) > 0.0:
            self.counters.throttled_sent += 1
            return Status.ESME_RTHROTTLED
        return Status.ESME_ROK

    def _start(self, pdu: Pdu) -> None:
        work = self._bind(pdu) if isinstance(pdu, Bind) else self._run(pdu)
        task = self._loop.create_task(work)
        self._handling.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._handling.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.counters.handler_failures += 1
            log.error("%r: %s", self, failure, exc_info=failure)
        self._busy = False
        while self._backlog and len(self._handling) < self.options.concurrency:
            self._start(self._backlog.popleft())
        if not self._backlog:
            self._hold()
        self._check_quiet()

    async def _run(self, pdu: Pdu) -> None:
        try:
            response = await self._handle(self, pdu)
            if response is not None:
                self._respond(response)
        except Exception:
            self.counters.handler_failures += 1
            log.exception("%r: the handler of %s failed", self, pdu)
            if pdu.answer is not None:
                self._respond(pdu.response(Status.ESME_RSYSERR))

    # --- bind and farewell ----------------------------------------------------------------------

    async def _bind(self, pdu: Pdu) -> None:
        assert isinstance(pdu, Bind)
        assert self._accept is not None
        try:
            response, account = await self._accept(self, pdu)
        except Exception:
            log.exception("%r: the bind of `%s` could not be checked", self, pdu.system_id)
            response, account = pdu.response(Status.ESME_RSYSERR), ""
        if self.state is not State.OPEN or self._closed.done():
            return
        self._respond(response)
        if response.ok:
            self.account = account
            self._become_bound(pdu)
        else:
            self.close(f"the bind of `{pdu.system_id}` was refused: {status_name(response.status)}")

    def _become_bound(self, bind: Bind) -> None:
        self.bind = bind
        self.bound_at = self._loop.time()
        if isinstance(bind, BindTransmitter):
            self.state = State.BOUND_TX
        elif isinstance(bind, BindReceiver):
            self.state = State.BOUND_RX
        else:
            self.state = State.BOUND_TRX
        if self._bind_timer is not None:
            self._bind_timer.cancel()
        if self._on_bound is not None:
            self._on_bound(self)

    def _bind_too_late(self) -> None:
        if self.state is State.OPEN:
            self.close(f"no bind within {self.options.bind_within:g} s")

    async def _on_unbind(self, pdu: Pdu) -> None:
        """Answer what is in our hands, then the unbind, then close."""
        if self.state in BOUND:
            self.state = State.UNBINDING
            self.window.end()
        if self._handling:
            await asyncio.wait(self._handling, timeout=self.options.grace)
        self._respond(pdu.response())
        self.close("the peer unbound")

    def _chore(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # --- timers ---------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        """Enquire when nothing was heard for a while; close when there is no answer, or nothing to do for long."""
        every = self.options.enquire_every
        inactivity = self.options.inactivity
        while True:
            now = self._loop.time()
            silent_until = self._heard + every
            idle_until = self._active + inactivity if inactivity is not None else float("inf")
            await asyncio.sleep(max(0.001, min(silent_until, idle_until) - now))
            now = self._loop.time()
            if not self.is_bound:
                self._heard = now
            elif inactivity is not None and now >= self._active + inactivity and not self._pending:
                self._chore(self._leave_idle())
                return
            elif now >= self._heard + every:
                await self._enquire()

    async def _enquire(self) -> None:
        self._heard = self._loop.time()
        if self._wire.held:
            return  # we chose not to read, so silence says nothing about the peer
        self.counters.enquiries_sent += 1
        try:
            await self._transact(EnquireLink(), self.options.response_timeout)
        except ResponseTimeout:
            self.abort("the peer did not answer enquire_link")
        except SmppError as fault:
            log.debug("%r: enquire_link: %s", self, fault)

    async def _leave_idle(self) -> None:
        self.close_reason = f"no message for {self.options.inactivity:g} s"
        await self.unbind()
