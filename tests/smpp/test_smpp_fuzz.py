"""Peers that say anything at any time: no crash, no leak, no unbounded memory. Long mode plays 100,000 sessions.

Sessions run over transports in memory, on a loop whose clock goes ahead as soon as everybody waits: a day of time-outs
passes in a moment. A smaller number goes over sockets. A peer is played by chance: whole PDUs of any kind in any state,
mutated ones, random octets, cut anywhere, silence, a peer that reads nothing, one that vanishes; and so are our own
side's calls and handlers.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import selectors
import socket
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kairos.smpp import (
    AlertNotification,
    Backoff,
    Bind,
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    Client,
    DataSm,
    DeliverSm,
    NotSent,
    Pdu,
    Role,
    Session,
    SessionOptions,
    SmppError,
    Status,
    SubmitSm,
    decode_pdu,
    encode_pdu,
    passwords,
    serve,
)
from kairos.smpp.bucket import Bucket
from kairos.smpp.pdu import PDUS

T = TypeVar("T")
KINDS = tuple(PDUS.values())
BINDS: tuple[type[Bind], ...] = (BindTransceiver, BindTransmitter, BindReceiver)
MAX_PDU = 400
READ = 2000  # octets at once, at most
LONG = 100_000


class Chance(Protocol):
    def randrange(self, start: int, stop: int | None = None) -> int: ...


class Drawn:
    """Chance that was drawn beforehand, so that Hypothesis never gives an example up in the middle of a session."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.numbers = iter(numbers)
        self.rest = random.Random(0)

    def randrange(self, start: int, stop: int | None = None) -> int:
        first, end = (0, start) if stop is None else (start, stop)
        number = next(self.numbers, None)
        return self.rest.randrange(first, end) if number is None else first + number % (end - first)


def pick(chance: Chance, *choices: T) -> T:
    return choices[chance.randrange(len(choices))]


# --- a loop whose clock goes ahead ---


class Ahead(selectors.SelectSelector):
    """Waits for nothing: the time that a loop would wait is over at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits, and nobody for the time"
        self.now += max(timeout, 0.0)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.ahead = Ahead()
        super().__init__(self.ahead)
        self.faults: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, fault: self.faults.append(fault))

    def time(self) -> float:
        return self.ahead.now

    def timers(self) -> int:
        return sum(not handle.cancelled() for handle in self._scheduled)  # type: ignore[attr-defined]


def on_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end; nothing may be left over, and nothing may have gone wrong unseen."""
    loop = Loop()
    try:
        result = loop.run_until_complete(work())
        gc.collect(0)
        loop.run_until_complete(asyncio.sleep(0))
        assert not asyncio.all_tasks(loop)
        assert loop.timers() == 0
        assert loop.faults == []
        return result
    except BaseException:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        raise
    finally:
        loop.close()


# --- one session, and its peer ---


class Transport(asyncio.Transport):
    """What the session writes, and whether it wants to read."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.reading = True
        self.written = bytearray()
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 2775)

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.end(None)

    def abort(self) -> None:
        self.end(None)

    def end(self, cause: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.session.wire.connection_lost, cause)


class Play:
    """One session from its connection to its end."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.role = pick(chance, Role.ESME, Role.SMSC)
        options = SessionOptions(
            window=pick(chance, 1, 2, 8),
            rate=pick(chance, 0.0, 0.0, 3.0),
            reserve=pick(chance, 0.0, 0.5, 1.0),
            response_timeout=pick(chance, 0.5, 10.0),
            enquire_every=pick(chance, 1.0, 30.0),
            inactivity=pick(chance, None, 5.0),
            bind_within=5.0,
            grace=pick(chance, 0.0, 1.0),
            max_pdu=MAX_PDU,
            concurrency=pick(chance, 1, 3),
        )
        self.raised = 0
        self.bound = 0
        self.session = Session(
            self.role,
            self.handle,
            options,
            accept=self.accept if self.role is Role.SMSC else None,
            on_bound=self.on_bound,
        )
        self.transport = Transport(self.session)
        self.inbox = bytearray()
        self.sent = 0  # octets of what the session wrote that were looked at
        self.asked: list[Pdu] = []  # what the session asked, and the peer has not answered
        self.calls: list[asyncio.Task[Any]] = []

    def on_bound(self, session: Session) -> None:
        self.bound += 1
        session.limit = pick(self.chance, None, Bucket(1.0, 2.0, session._loop.time()))

    async def handle(self, session: Session, pdu: Pdu) -> Pdu | None:
        try:
            return await self.respond(session, pdu)
        except Exception:
            self.raised += 1
            raise

    async def respond(self, session: Session, pdu: Pdu) -> Pdu | None:
        how = self.chance.randrange(8)
        if how == 0:
            raise RuntimeError("a handler that fails")
        if how == 1:
            await asyncio.sleep(pick(self.chance, 0.1, 100.0))
        if how == 2:
            session.send(pdu.response(Status.ESME_RSYSERR) if pdu.answer else AlertNotification())
        if how == 3:
            await self.call(lambda: session.request(self.ours()))
        return None if how in (2, 4) or pdu.answer is None else pdu.response(pick(self.chance, 0, 0x58))

    async def accept(self, session: Session, bind: Bind) -> tuple[Pdu, str]:
        how = self.chance.randrange(10)
        if how == 0:
            raise RuntimeError("a check that fails")
        if how == 1:
            await asyncio.sleep(3.0)
        return (bind.response(Status.ESME_RBINDFAIL), "") if how == 2 else (bind.response(system_id="smsc"), "ocs")

    # the plot

    async def run(self) -> None:
        self.session.wire.connection_made(self.transport)
        self.begin()
        for _ in range(self.chance.randrange(8)):
            await asyncio.sleep(0)
            self.deliver()
        for _ in range(self.chance.randrange(16)):
            self.step()
            self.deliver()
            for _ in range(self.chance.randrange(4)):
                await asyncio.sleep(0)
            self.check()
        await self.finish()

    def begin(self) -> None:
        """Mostly, the session gets bound."""
        if self.role is Role.ESME:
            self.calls.append(
                asyncio.ensure_future(self.call(lambda: self.session.bind_as(pick(self.chance, *BINDS)())))
            )
        if self.chance.randrange(8):
            bind = pick(self.chance, *BINDS)
            if self.role is Role.SMSC:
                self.inbox += encode_pdu(bind(sequence=1, system_id="ocs"))
            else:
                self.calls.append(asyncio.ensure_future(self.answer_soon()))

    async def answer_soon(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.answer(always=True)

    def step(self) -> None:
        steps: tuple[tuple[int, Callable[[], object]], ...] = (
            (5, lambda: self.say(encode_pdu(self.theirs()))),
            (4, self.answer),
            (2, lambda: self.say(self.mutated(encode_pdu(self.theirs())))),
            (1, lambda: self.say(bytes(self.chance.randrange(256) for _ in range(self.chance.randrange(60))))),
            (1, lambda: self.say(encode_pdu(self.theirs())[: self.chance.randrange(1, 40)])),
            (2, lambda: self.say(encode_pdu(self.right()) * self.chance.randrange(1, 12))),
            (6, self.request),
            (1, lambda: self.calls.append(asyncio.ensure_future(self.pass_time()))),
            (1, lambda: self.clog(True)),
            (2, lambda: self.clog(False)),
            (1, self.leave),
        )
        turn = self.chance.randrange(sum(weight for weight, _ in steps))
        for weight, do in steps:
            turn -= weight
            if turn < 0:
                do()
                return

    def say(self, octets: bytes) -> None:
        self.inbox += octets[: 4 * READ]

    def deliver(self) -> None:
        """What the peer said, cut anywhere, as far as the session reads."""
        while self.inbox and self.transport.reading and not self.transport.closed:
            size = self.chance.randrange(1, READ)
            chunk = bytes(self.inbox[:size])
            del self.inbox[:size]
            self.session.wire.data_received(chunk)

    def theirs(self) -> Pdu:
        return self.some(pick(self.chance, *KINDS))

    def right(self) -> Pdu:
        """What a peer may well say in the state that the session is in."""
        return self.some(pick(self.chance, *((SubmitSm, DataSm) if self.role is Role.SMSC else (DeliverSm, DataSm))))

    def some(self, kind: type[Pdu]) -> Pdu:
        pdu = kind(sequence=self.chance.randrange(20), status=pick(self.chance, 0, 0, 0x58, 0x14, 0x401))
        if isinstance(pdu, SubmitSm | DeliverSm):
            pdu.short_message = bytes(self.chance.randrange(100))
        pdu.tlvs = pick(self.chance, (), (), ((0x1400, b"own"),), ((0x0424, bytes(200)),))
        return pdu

    def ours(self) -> Pdu:
        right: tuple[type[Pdu], ...] = (SubmitSm, DataSm) if self.role is Role.ESME else (DeliverSm, DataSm)
        kind = pick(self.chance, *right) if self.chance.randrange(8) else pick(self.chance, *KINDS)
        return kind()

    def mutated(self, octets: bytes) -> bytes:
        changed = bytearray(octets)
        for _ in range(self.chance.randrange(1, 4)):
            at = self.chance.randrange(len(changed))
            changed[at] = self.chance.randrange(256)
            if self.chance.randrange(3) == 0:
                del changed[at : at + self.chance.randrange(4)]
            if len(changed) < 2:
                break
        if self.chance.randrange(2):  # so that more than the length is looked at
            changed[:4] = len(changed).to_bytes(4, "big")
        return bytes(changed)

    def answer(self, always: bool = False) -> None:
        """Answer what the session asked: rightly, wrongly, again, or not."""
        self.check()
        for pdu in self.asked:
            how = 9 if always else self.chance.randrange(10)
            if how == 0:
                continue
            assert pdu.answer is not None
            kind = pdu.answer if how > 2 else pick(self.chance, *KINDS)
            answer = kind(sequence=pdu.sequence, status=0 if how > 3 else pick(self.chance, 0x58, 0x14, 0x08))
            self.say(encode_pdu(answer) * (2 if how == 1 else 1))
        self.asked.clear()
        self.deliver()

    def request(self) -> None:
        urgent = bool(self.chance.randrange(2))
        timeout = pick(self.chance, None, 0.2)
        if self.chance.randrange(6) == 0:
            self.calls.append(asyncio.ensure_future(self.call(self.alert)))
        else:
            pdu = self.ours()
            work = self.call(lambda: self.session.request(pdu, timeout, urgent=urgent))
            self.calls.append(asyncio.ensure_future(work))
        if self.chance.randrange(5) == 0:
            pick(self.chance, *self.calls).cancel()

    async def alert(self) -> None:
        self.session.send(AlertNotification())

    async def call(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Whatever happens, a caller gets an answer or an error of ours."""
        with suppress(SmppError, TypeError):  # TypeError: a PDU that is no request
            await work()

    async def pass_time(self) -> None:
        await asyncio.sleep(pick(self.chance, 0.1, 2.0, 40.0))

    def clog(self, clogged: bool) -> None:
        """The peer reads no more, or again."""
        if not self.transport.closed:
            self.session.wire.pause_writing() if clogged else self.session.wire.resume_writing()

    def leave(self) -> None:
        if (how := self.chance.randrange(5)) == 0:
            self.calls.append(asyncio.ensure_future(self.session.unbind()))
        elif how == 1:
            self.session.close("enough")
        elif how == 2:
            self.session.abort("at once")
        else:
            self.transport.end(pick(self.chance, None, ConnectionResetError("reset")))

    # what must hold

    def check(self) -> None:
        session = self.session
        assert len(session.wire._in) <= MAX_PDU + READ
        assert len(session._backlog) <= (MAX_PDU + READ) / 16
        assert len(session._handling) <= session.options.concurrency
        assert session.window.used <= session.options.window or session.window._over
        at = self.sent
        written = self.transport.written
        while at < len(written):  # what we write can be read
            length = int.from_bytes(written[at : at + 4], "big")
            pdu = decode_pdu(bytes(written[at : at + length]))
            at += length
            if pdu.answer is not None:
                self.asked.append(pdu)
        self.sent = at

    async def finish(self) -> None:
        """In the end the peer is gone, and nothing is left."""
        if self.chance.randrange(3) == 0:
            await asyncio.sleep(200.0)  # silence: the timers have their say
        if self.chance.randrange(3) == 0:
            await self.session.unbind()
        self.transport.end(None)
        await self.session.closed()
        await self.session.finish_handlers(self.session.options.grace)
        async with asyncio.timeout(1000.0):
            await asyncio.gather(*self.calls, return_exceptions=True)
        for call in self.calls:
            assert call.cancelled() or call.exception() is None
        session = self.session
        self.check()
        assert session.outstanding == session.window.used == session.window.waiting == 0
        assert not session._handling
        assert not session._backlog
        assert self.bound <= 1
        assert session.counters.handler_failures == self.raised
        if session._chores:
            await asyncio.wait(session._chores, timeout=1)
        assert not session._chores


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What handlers and peers do here is logged, and nobody reads it."""
    logging.getLogger("kairos.smpp").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("kairos.smpp").setLevel(logging.NOTSET)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 2**16), max_size=200))
def test_a_peer_may_say_anything(numbers: list[int]) -> None:
    async def play() -> None:
        await Play(Drawn(numbers)).run()

    on_loop(play)


def played(seed: int, count: int) -> tuple[int, Counter[str]]:
    """Play sessions from a seed; gives how many are still in memory, and what happened in them."""
    seen: Counter[str] = Counter()
    alive: list[weakref.ref[Session]] = []

    async def play() -> None:
        for number in range(count):
            one = Play(random.Random(f"{seed}/{number}"))
            try:
                await one.run()
            except BaseException as error:
                error.add_note(f"session {number} of seed {seed}")
                raise
            alive.append(weakref.ref(one.session))
            counters = one.session.counters
            seen["bound"] += one.bound
            seen["bad PDUs"] += counters.bad_pdus
            seen["requests in"] += counters.requests_received
            seen["requests out"] += counters.requests_sent
            seen["throttled"] += counters.throttled_sent + counters.throttled_received
            seen["timeouts"] += counters.timeouts

    on_loop(play)
    gc.collect()
    return sum(one() is not None for one in alive), seen


def test_sessions_leave_nothing_behind() -> None:
    left, seen = played(seed=1, count=200)
    assert left == 0
    assert seen["bound"] > 100
    assert min(seen.values()) > 10, seen


@pytest.mark.long
def test_a_hundred_thousand_sessions(capsys: pytest.CaptureFixture[str]) -> None:
    batch = 2000
    played(seed=-1, count=batch)
    blocks = []
    total: Counter[str] = Counter()
    for seed in range(LONG // batch):
        left, seen = played(seed, batch)
        assert left == 0
        total += seen
        blocks.append(sys.getallocatedblocks())
    third = len(blocks) // 3
    with capsys.disabled():
        print(f"\n{LONG:,} fuzzed sessions: {dict(total)}; memory blocks {blocks[0]:,} to {blocks[-1]:,}")  # noqa: T201 (asked for)
    assert min(blocks[-third:]) - min(blocks[:third]) < 2000  # flat


# --- memory is bounded ---


async def bound_session(options: SessionOptions) -> tuple[Session, Transport]:
    """An SMSC's session in memory, bound."""

    async def take(session: Session, pdu: Pdu) -> Pdu:
        return pdu.response()

    async def accept(session: Session, bind: Bind) -> tuple[Pdu, str]:
        return bind.response(), "ocs"

    session = Session(Role.SMSC, take, options, accept=accept)
    transport = Transport(session)
    session.wire.connection_made(transport)
    session.wire.data_received(encode_pdu(BindTransceiver(sequence=1)))
    while not session.is_bound:
        await asyncio.sleep(0)
    return session, transport


def test_nothing_is_piled_up_for_a_peer_that_reads_nothing() -> None:
    async def play() -> None:
        session, transport = await bound_session(SessionOptions(window=4, response_timeout=0.5, enquire_every=60))
        await asyncio.sleep(0)
        session.wire.pause_writing()
        before = len(transport.written)
        requests = [asyncio.create_task(session.request(DeliverSm(), urgent=True)) for _ in range(5000)]
        for _ in range(200):
            await asyncio.sleep(0.1)
            with pytest.raises(NotSent):
                session.send(AlertNotification())
        assert len(transport.written) == before
        session.wire.resume_writing()
        await asyncio.sleep(0.1)
        assert len(transport.written) - before < 4 * 100
        answers = await asyncio.gather(*requests, return_exceptions=True)  # nobody answers the enquire_link either
        assert all(isinstance(answer, SmppError) for answer in answers)
        assert session.close_reason == "the peer did not answer enquire_link"

    on_loop(play)


# --- over sockets ---


async def babble(port: int, chance: random.Random) -> None:
    """One connection that says anything, reads what it likes, and ends one way or the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    play = Play.__new__(Play)  # for what it makes by chance
    play.chance, play.role = chance, Role.SMSC
    with suppress(ConnectionError):
        if chance.randrange(4):
            writer.write(encode_pdu(pick(chance, *BINDS)(sequence=1, system_id="ocs", password="b")))
        for _ in range(chance.randrange(8)):
            octets = encode_pdu(play.theirs())
            octets = play.mutated(octets) if chance.randrange(3) == 0 else octets
            at = chance.randrange(len(octets) + 1)
            writer.write(octets[:at])
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(octets[at:] if chance.randrange(6) else b"")
            if chance.randrange(3) == 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1000), 0.01)
    if chance.randrange(2):
        writer.transport.abort()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def alone() -> None:
    """Nothing of them is left over."""
    async with asyncio.timeout(60):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0.01)


async def take_all(session: Session, pdu: Pdu) -> Pdu | None:
    await asyncio.sleep(0)
    return pdu.response() if pdu.answer else None


OPTIONS = SessionOptions(response_timeout=0.2, enquire_every=0.2, bind_within=0.3, grace=0.2, max_pdu=MAX_PDU)


async def serve_babblers(count: int) -> None:
    server = await serve("127.0.0.1", 0, passwords({"ocs": "b"}), take_all, OPTIONS)
    for start in range(0, count, 50):
        babblers = (babble(server.port, random.Random(f"sockets/{start + number}")) for number in range(50))
        await asyncio.gather(*babblers)
    async with asyncio.timeout(60):
        while server._open:
            await asyncio.sleep(0.01)
    client = Client("127.0.0.1", server.port, BindTransceiver(system_id="ocs", password="b"), take_all)
    await client.start()
    async with asyncio.timeout(60):
        await client.bound()
        assert (await client.request(SubmitSm())).ok
    await client.close()
    await server.close()
    await alone()


async def bind_to_babblers(count: int) -> None:
    seeds = iter(range(10**9))

    async def smsc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chance = random.Random(f"smsc/{next(seeds)}")
        play = Play.__new__(Play)
        play.chance, play.role = chance, Role.ESME
        with suppress(ConnectionError, asyncio.IncompleteReadError, SmppError):
            head = await reader.readexactly(4)
            bind = decode_pdu(head + await reader.readexactly(int.from_bytes(head, "big") - 4))
            writer.write(encode_pdu(bind.response(pick(chance, 0, 0, 0, Status.ESME_RBINDFAIL))))
            for _ in range(chance.randrange(6)):
                octets = encode_pdu(play.theirs())
                writer.write(play.mutated(octets) if chance.randrange(3) == 0 else octets)
                await writer.drain()
                await asyncio.sleep(0)
        if chance.randrange(2):
            writer.transport.abort()
        writer.close()

    listener = await asyncio.start_server(smsc, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    clients = [
        Client("127.0.0.1", port, kind(system_id="ocs"), take_all, OPTIONS, backoff=Backoff(first=0.001, most=0.001))
        for kind in BINDS
    ]
    for client in clients:
        await client.start()
    async with asyncio.timeout(120):
        while next(seeds) < count:
            requests = (client.request(SubmitSm()) for client in clients)
            await asyncio.gather(*requests, return_exceptions=True)
            await asyncio.sleep(0.01)
    await asyncio.gather(*(client.close() for client in clients))
    listener.close()
    await listener.wait_closed()
    await alone()


async def test_a_server_outlives_babblers_over_sockets() -> None:
    await serve_babblers(100)


async def test_clients_outlive_babblers_over_sockets() -> None:
    await bind_to_babblers(60)


@pytest.mark.long
async def test_thousands_of_babblers_over_sockets() -> None:
    await serve_babblers(5000)
    await bind_to_babblers(2000)


async def test_half_pdus_by_the_hundred_are_bounded_and_end() -> None:
    options = SessionOptions(bind_within=1.0, grace=0.2)
    server = await serve("127.0.0.1", 0, passwords({"ocs": "b"}), take_all, options, connections=100)
    half = (60_000).to_bytes(4, "big") + bytes(20_000)
    writers = []
    for _ in range(200):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(half)
        writers.append(writer)
    assert len(server._open) <= 100
    assert sum(len(session.wire._in) for session in server._open) <= 100 * 60_000
    async with asyncio.timeout(60):
        while server._open:
            await asyncio.sleep(0.01)
    for writer in writers:
        writer.close()
    await server.close()


async def test_a_peer_that_asks_and_never_reads_is_stopped() -> None:
    server = await serve("127.0.0.1", 0, passwords({"ocs": "b"}), take_all)
    assert server._listener is not None
    with socket.socket() as peer:
        for one in (peer, server._listener.sockets[0]):
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # of the system: full soon
                one.setsockopt(socket.SOL_SOCKET, buffer, 65536)
        peer.connect(("127.0.0.1", server.port))
        peer.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, encode_pdu(BindTransceiver(sequence=1, system_id="ocs", password="b")))
        many = b"".join(encode_pdu(SubmitSm(sequence=number)) for number in range(1000))
        sent, left, in_vain = 0, b"", 0
        while sent < 200_000_000 and in_vain < 100:  # turns of the loop: the server has had as many
            left = left or many
            try:
                taken = peer.send(left)
            except BlockingIOError:
                taken, in_vain = 0, in_vain + 1
                await asyncio.sleep(0.01)
            else:
                in_vain = 0
                await asyncio.sleep(0)
            sent, left = sent + taken, left[taken:]
        assert 0 < sent < 100_000_000
        session = server.sessions("ocs")[0]
        transport = session.wire._transport
        assert transport is not None
        assert transport.get_write_buffer_size() < 2_000_000
        assert len(session._backlog) < 50_000
    await server.close()
