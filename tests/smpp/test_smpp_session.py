"""Sessions over real sockets: who may say what, windows, timers, farewells, reconnecting, and peers that misbehave."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count, pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.waiting import until

from kairos.smpp import (
    AlertNotification,
    Backoff,
    BindReceiver,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    Client,
    ClientState,
    DataSm,
    DeliverSm,
    DeliverSmResp,
    EncodeError,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Handler,
    NotBound,
    NotSent,
    Pdu,
    PduError,
    QuerySm,
    QuerySmResp,
    ResponseTimeout,
    Server,
    Session,
    SessionLost,
    SessionOptions,
    State,
    Status,
    SubmitSm,
    SubmitSmResp,
    Tag,
    Unbind,
    UnbindResp,
    UnreadableResponse,
    decode_pdu,
    encode_pdu,
    passwords,
    serve,
    tlvs,
)
from kairos.smpp.wire import Wire

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]

SECRET = "a passphrase of more than eight octets"
SECRETS = {"ocs": SECRET, "app": "b"}
QUICK = SessionOptions(response_timeout=60, enquire_every=60, grace=0.3)
HELLO = SubmitSm(source_addr="4040", destination_addr="15550100", short_message=b"Hi")


# --- peers: a real server, a real client, and a hand-driven one that sends exactly what it is told ---


async def answer(session: Session, pdu: Pdu) -> Pdu | None:
    """A handler that takes everything."""
    return pdu.response(message_id="m1") if isinstance(pdu, SubmitSm) else pdu.response()


@dataclass
class Raw:
    """A peer by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    got: list[Pdu] = field(default_factory=list)

    async def send(self, *pdus: Pdu | bytes) -> None:
        self.writer.write(b"".join(one if isinstance(one, bytes) else encode_pdu(one) for one in pdus))
        await self.writer.drain()

    async def read(self) -> Pdu:
        async with asyncio.timeout(60):
            head = await self.reader.readexactly(4)
            pdu = decode_pdu(head + await self.reader.readexactly(int.from_bytes(head, "big") - 4))
        self.got.append(pdu)
        return pdu

    async def ask(self, pdu: Pdu | bytes) -> Pdu:
        await self.send(pdu)
        return await self.read()

    async def ended(self) -> bytes:
        """What is left until the other side closes."""
        async with asyncio.timeout(60):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def bind(self, bind: Pdu | None = None) -> Pdu:
        return await self.ask(bind or BindTransceiver(sequence=1, system_id="ocs", password=SECRET))

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@dataclass
class Peers:
    """Makes peers and ends them when the test ends."""

    ends: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)

    async def server(self, handle: Handler = answer, options: SessionOptions = QUICK, **settings: Any) -> Server:
        authenticate = settings.pop("authenticate", passwords(SECRETS))
        server = await serve("127.0.0.1", 0, authenticate, handle, options, **settings)
        self.ends.append(server.close)
        return server

    async def client(self, port: int, handle: Handler = answer, options: SessionOptions = QUICK, **more: Any) -> Client:
        bind = more.pop("bind", BindTransceiver(system_id="ocs", password=SECRET))
        client = Client(more.pop("host", "127.0.0.1"), port, bind, handle, options, **more)
        self.ends.insert(0, client.close)
        await client.start()
        return client

    async def bound(self, port: int, handle: Handler = answer, options: SessionOptions = QUICK, **more: Any) -> Session:
        client = await self.client(port, handle, options, **more)
        async with asyncio.timeout(60):
            return await client.bound()

    async def raw(self, port: int) -> Raw:
        raw = Raw(*await asyncio.open_connection("127.0.0.1", port))
        self.ends.insert(0, raw.close)
        return raw

    async def smsc(self, script: Callable[[Raw], Awaitable[None]]) -> int:
        """A server by hand: `script` runs for each connection; returns the port."""

        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            raw = Raw(reader, writer)
            try:
                await script(raw)
                await raw.ended()
            finally:
                writer.close()

        listener = await asyncio.start_server(run, "127.0.0.1", 0)

        async def end() -> None:
            listener.close()

        self.ends.append(end)
        return int(listener.sockets[0].getsockname()[1])


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    made = Peers()
    yield made
    for end in made.ends:
        await end()


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is ours, and that we do not listen on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


class Gate:
    """A handler that holds every request until it is let go."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Pdu, asyncio.Future[Pdu | None]]] = []
        self.most = 0

    async def __call__(self, session: Session, pdu: Pdu) -> Pdu | None:
        future: asyncio.Future[Pdu | None] = asyncio.get_running_loop().create_future()
        self.waiting.append((pdu, future))
        self.most = max(self.most, len(self.waiting))
        return await future

    def release(self, at: int = 0) -> None:
        pdu, future = self.waiting.pop(at)
        if not future.done():
            future.set_result(pdu.response(message_id=str(pdu.sequence)))


# --- binds ---


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (BindTransmitter, State.BOUND_TX),
        (BindReceiver, State.BOUND_RX),
        (BindTransceiver, State.BOUND_TRX),
    ],
)
async def test_bind(peers: Peers, kind: type[BindTransceiver], state: State) -> None:
    server = await peers.server(system_id="SMSC-1")
    session = await peers.bound(server.port, bind=kind(system_id="ocs", password=SECRET))
    await until(lambda: server.sessions("ocs"))
    theirs = server.sessions("ocs")[0]
    assert session.state is theirs.state is state
    assert theirs.account == "ocs"
    assert server.accounts == ("ocs",)
    assert (server.receiver("ocs") is not None) == (state is not State.BOUND_TX)


async def test_the_bind_response_names_us_and_our_version(peers: Peers) -> None:
    raw = await peers.raw((await peers.server(system_id="SMSC-1")).port)
    response = await raw.bind()
    assert isinstance(response, BindTransceiverResp)
    assert response.system_id == "SMSC-1"
    assert response.tlv(Tag.sc_interface_version) == b"\x34"


@pytest.mark.parametrize(
    ("system_id", "password"),
    [
        ("ocs", "wrong"),
        ("ocs", SECRET[:8]),
        ("ocs", ""),
        ("nobody", SECRET),
        ("nobody", ""),
        ("nobody", "no such account"),
    ],
)
async def test_a_wrong_password_is_refused_and_the_connection_closed(
    peers: Peers, caplog: pytest.LogCaptureFixture, system_id: str, password: str
) -> None:
    server = await peers.server()
    raw = await peers.raw(server.port)
    response = await raw.bind(BindTransceiver(sequence=1, system_id=system_id, password=password))
    assert response == BindTransceiverResp(sequence=1, status=Status.ESME_RBINDFAIL)
    assert await raw.ended() == b""
    assert server.accounts == ()
    assert "refused: no such account, or another password" in caplog.text


async def test_a_check_that_fails_is_a_system_error(peers: Peers) -> None:
    async def broken(bind: object, peer: str) -> str:
        raise RuntimeError("the table is gone")

    raw = await peers.raw((await peers.server(authenticate=broken)).port)
    assert (await raw.bind()).status == Status.ESME_RSYSERR


async def test_who_may_say_what(peers: Peers) -> None:
    raw = await peers.raw((await peers.server()).port)
    assert (await raw.ask(replace(HELLO, sequence=1))).status == Status.ESME_RINVBNDSTS
    assert (await raw.bind(BindReceiver(sequence=2, system_id="ocs", password=SECRET))).ok
    assert (await raw.bind(BindReceiver(sequence=3, system_id="ocs", password=SECRET))).status == Status.ESME_RALYBND
    assert (await raw.ask(replace(HELLO, sequence=4))).status == Status.ESME_RINVBNDSTS
    assert (await raw.ask(DeliverSm(sequence=5))).status == Status.ESME_RINVBNDSTS
    assert (await raw.ask(EnquireLink(sequence=6))) == EnquireLinkResp(sequence=6)


async def test_an_esme_takes_no_bind_and_no_submit(peers: Peers) -> None:
    got: list[Pdu] = []

    async def script(raw: Raw) -> None:
        bind = await raw.read()
        await raw.send(bind.response(), replace(HELLO, sequence=8), BindTransceiver(sequence=9))
        got.extend([await raw.read(), await raw.read()])

    await peers.bound(await peers.smsc(script))
    await until(lambda: len(got) == 2)
    assert [(one.sequence, one.status) for one in got] == [(8, Status.ESME_RINVBNDSTS), (9, Status.ESME_RALYBND)]


async def test_we_send_only_what_the_bind_allows(peers: Peers) -> None:
    server = await peers.server()
    session = await peers.bound(server.port, bind=BindTransmitter(system_id="ocs", password=SECRET))
    await until(lambda: server.sessions("ocs"))
    theirs = server.sessions("ocs")[0]
    for wrong in (DeliverSm(), Unbind(), BindReceiver()):
        with pytest.raises(NotBound):
            await session.request(wrong)
    with pytest.raises(NotBound, match="bound_tx"):
        await theirs.request(DeliverSm())
    with pytest.raises(NotBound):
        theirs.send(AlertNotification())
    with pytest.raises(TypeError, match="request"):
        session.send(HELLO)
    assert (await session.request(HELLO)).ok


async def test_nobody_stays_without_a_bind(peers: Peers) -> None:
    server = await peers.server(options=replace(QUICK, bind_within=0.05))
    raw = await peers.raw(server.port)
    assert await raw.ended() == b""


# --- both ways ---


async def test_every_field_goes_both_ways(peers: Peers) -> None:
    seen: list[Pdu] = []

    async def note(session: Session, pdu: Pdu) -> Pdu | None:
        seen.append(pdu)
        return pdu.response(message_id="m1" if isinstance(pdu, SubmitSm) else "", tlvs=((0x1400, b"own"),))

    server = await peers.server(note)
    session = await peers.bound(server.port, note)
    submit = SubmitSm(
        source_addr_ton=5,
        source_addr="kairos",
        destination_addr="15550100",
        esm_class=0x40,
        priority_flag=1,
        validity_period="000000001000000R",
        registered_delivery=1,
        data_coding=8,
        short_message=b"\0\x01\xff",
        tlvs=(*tlvs(user_message_reference=7), (0x1401, b"vendor"), (0x1401, b"again")),
    )
    response = await session.request(submit)
    assert isinstance(response, SubmitSmResp)
    assert (response.message_id, response.tlvs) == ("m1", ((0x1400, b"own"),))
    deliver = DeliverSm(source_addr="15550100", destination_addr="4040", short_message=b"1")
    receiver = server.receiver("ocs")
    assert receiver is not None
    assert (await receiver.request(deliver)).ok
    assert [replace(one, sequence=0) for one in seen] == [submit, deliver]
    assert submit.sequence == 0  # a PDU of ours is not changed by sending it


async def test_other_requests_reach_the_handler(peers: Peers) -> None:
    async def handle(session: Session, pdu: Pdu) -> Pdu | None:
        if isinstance(pdu, QuerySm):
            return pdu.response(message_id=pdu.message_id, message_state=2)
        return pdu.response(Status.ESME_RINVDSTADR) if isinstance(pdu, DataSm) else None

    heard: list[Pdu] = []

    async def listen(session: Session, pdu: Pdu) -> Pdu | None:
        heard.append(pdu)
        return None

    server = await peers.server(handle)
    session = await peers.bound(server.port, listen)
    state = await session.request(QuerySm(message_id="7"))
    assert isinstance(state, QuerySmResp)
    assert (state.message_id, state.message_state) == ("7", 2)
    assert (await session.request(DataSm())).status == Status.ESME_RINVDSTADR
    server.sessions("ocs")[0].send(AlertNotification(source_addr="15550100"))
    await until(lambda: heard)
    assert isinstance(heard[0], AlertNotification)


async def test_a_handler_may_answer_later_or_fail(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    async def handle(session: Session, pdu: Pdu) -> Pdu | None:
        assert isinstance(pdu, SubmitSm)
        if pdu.short_message == b"fail":
            raise ValueError("broken on purpose")
        if pdu.short_message == b"huge":
            return pdu.response(message_id="x" * 100)
        asyncio.get_running_loop().call_later(0.01, session.send, pdu.response(message_id="late"))
        return None

    server = await peers.server(handle)
    session = await peers.bound(server.port)
    later = await session.request(HELLO)
    assert isinstance(later, SubmitSmResp)
    assert later.message_id == "late"
    for text in (b"fail", b"huge"):
        assert (await session.request(replace(HELLO, short_message=text))).status == Status.ESME_RSYSERR
    assert "broken on purpose" in caplog.text
    assert server.sessions("ocs")[0].counters.handler_failures == 2


async def test_answers_may_come_in_any_order(peers: Peers) -> None:
    gate = Gate()
    session = await peers.bound((await peers.server(gate)).port)
    asked = [asyncio.create_task(session.request(replace(HELLO, short_message=b"%d" % n))) for n in range(5)]
    await until(lambda: len(gate.waiting) == 5)
    expected = {pdu.short_message: str(pdu.sequence) for pdu, _ in gate.waiting if isinstance(pdu, SubmitSm)}
    for at in (4, 1, 2, 0, 0):
        gate.release(at)
    answers = await asyncio.gather(*asked)
    assert [one.message_id for one in answers if isinstance(one, SubmitSmResp)] == [
        expected[b"%d" % n] for n in range(5)
    ]


async def test_what_follows_the_bind_response_in_one_segment_is_handled(peers: Peers) -> None:
    heard: list[Pdu] = []
    answers: list[Pdu] = []

    async def listen(session: Session, pdu: Pdu) -> Pdu | None:
        heard.append(pdu)
        return pdu.response()

    async def script(raw: Raw) -> None:
        bind = await raw.read()
        await raw.send(bind.response(), *(DeliverSm(sequence=n, short_message=b"%d" % n) for n in (7, 8, 9)))
        answers.extend([await raw.read() for _ in range(3)])

    await peers.bound(await peers.smsc(script), listen)
    await until(lambda: len(answers) == 3)
    assert [one.sequence for one in heard] == [7, 8, 9]
    assert answers == [DeliverSmResp(sequence=n) for n in (7, 8, 9)]


async def test_octet_by_octet(peers: Peers) -> None:
    raw = await peers.raw((await peers.server()).port)
    bind = BindTransceiver(sequence=1, system_id="ocs", password=SECRET)
    for pdu in (bind, replace(HELLO, sequence=2)):
        for at in encode_pdu(pdu):
            await raw.send(bytes((at,)))
            await asyncio.sleep(0)
        assert (await raw.read()).ok


# --- window, timeouts, back-pressure ---


async def test_the_window_holds(peers: Peers) -> None:
    gate = Gate()
    server = await peers.server(gate)
    session = await peers.bound(server.port, options=replace(QUICK, window=4))
    asked = [asyncio.create_task(session.request(HELLO)) for _ in range(20)]
    await until(lambda: len(gate.waiting) == 4)
    assert session.outstanding == 4
    asked[10].cancel()  # one that waits for a place
    asked[0].cancel()  # one that is outstanding: its place goes to the next
    await until(lambda: len(gate.waiting) == 5)
    for _ in range(19):
        await until(lambda: gate.waiting)
        assert session.outstanding <= 4
        gate.release()
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, SubmitSmResp) for one in done) == 18
    assert session.outstanding == session.window.used == 0
    assert session.counters.unmatched == 1


async def test_a_place_given_to_one_who_leaves_goes_on(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    session = await peers.bound((await peers.server(gate)).port, options=replace(QUICK, window=1))
    first, second, third = (asyncio.create_task(session.request(HELLO)) for _ in range(3))
    await until(lambda: gate.waiting and session.window.waiting == 2)
    leave = session.window.leave

    def leave_and_cancel(*, urgent: bool) -> None:
        leave(urgent=urgent)
        second.cancel()  # the place is second's, and before it can run it is cancelled

    monkeypatch.setattr(session.window, "leave", leave_and_cancel)
    gate.release()
    await until(lambda: second.done())
    await until(lambda: gate.waiting)
    gate.release()
    assert (await first).ok
    assert (await third).ok
    assert second.cancelled()
    assert session.window.used == 0


async def test_no_answer_in_time(peers: Peers) -> None:
    gate = Gate()
    server = await peers.server(gate)
    session = await peers.bound(server.port, options=replace(QUICK, window=1))
    with pytest.raises(ResponseTimeout, match="SubmitSm#"):
        await session.request(HELLO, timeout=0.02)
    await until(lambda: gate.waiting)
    gate.release()
    await until(lambda: session.counters.unmatched == 1)
    again = asyncio.create_task(session.request(HELLO))
    await until(lambda: gate.waiting)
    gate.release()
    assert (await again).ok
    assert session.counters.timeouts == 1


async def test_no_more_than_concurrency_at_once_and_all_are_answered(peers: Peers) -> None:
    gate = Gate()
    server = await peers.server(gate, replace(QUICK, concurrency=3))
    raw = await peers.raw(server.port)
    await raw.bind()
    await raw.send(*(replace(HELLO, sequence=n) for n in range(2, 52)))
    await until(lambda: len(gate.waiting) == 3)
    session = server.sessions("ocs")[0]
    assert session.wire.held
    for n in range(2, 52):
        await until(lambda: gate.waiting)
        gate.release()
        assert (await raw.read()).sequence == n
    assert gate.most == 3
    await until(lambda: not session.wire.held)
    assert await raw.ask(EnquireLink(sequence=99)) == EnquireLinkResp(sequence=99)


async def test_messages_that_nobody_can_take_do_not_hold_up_the_answers_to_our_own(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    server = await peers.server()
    session = await peers.bound(server.port, gate, replace(QUICK, concurrency=2, deaf_for=0.05))
    (smsc,) = server.sessions("ocs")
    held, hold = list[bool](), session.wire.hold  # it may be over before anybody looks

    def holding(now: bool) -> None:
        held.append(now)
        hold(now)

    monkeypatch.setattr(session.wire, "hold", holding)
    delivered = [asyncio.create_task(smsc.request(DeliverSm(short_message=b"1"))) for _ in range(5)]
    await until(lambda: True in held)
    assert (await session.request(HELLO)).ok
    await until(lambda: sum(one.done() for one in delivered) == 3)
    assert {(await one).status for one in delivered[2:]} == {Status.ESME_RX_T_APPN}
    assert (await smsc.request(DeliverSm())).status == Status.ESME_RX_T_APPN  # at once
    for _ in range(2):
        gate.release()
    assert [(await one).ok for one in delivered[:2]] == [True, True]
    more = asyncio.create_task(smsc.request(DeliverSm()))
    await until(lambda: gate.waiting)
    gate.release()
    assert (await more).ok


async def test_sequence_numbers_wrap_and_skip_what_is_outstanding(peers: Peers) -> None:
    gate = Gate()
    session = await peers.bound((await peers.server(gate)).port)
    session._next = count(1)
    first = asyncio.create_task(session.request(HELLO))
    await until(lambda: gate.waiting)
    session._next = count(0x7FFFFFFF)
    more = [asyncio.create_task(session.request(HELLO)) for _ in range(2)]
    await until(lambda: len(gate.waiting) == 3)
    assert [pdu.sequence for pdu, _ in gate.waiting] == [1, 0x7FFFFFFF, 2]
    for _ in range(3):
        gate.release()
    assert all(one.ok for one in await asyncio.gather(first, *more))


async def test_what_cannot_be_written_is_not_sent_and_costs_no_place(peers: Peers) -> None:
    session = await peers.bound((await peers.server()).port, options=replace(QUICK, window=1))
    for _ in range(3):
        with pytest.raises(EncodeError, match="destination_addr"):
            await session.request(SubmitSm(destination_addr="1" * 30))
    assert (await session.request(HELLO)).ok


# --- the end ---


async def test_the_peer_vanishes(peers: Peers) -> None:
    async def script(raw: Raw) -> None:
        await raw.send((await raw.read()).response())
        await raw.read()
        raw.writer.transport.abort()

    session = await peers.bound(await peers.smsc(script), options=replace(QUICK, window=1))
    sent, waits = (asyncio.create_task(session.request(HELLO)) for _ in range(2))
    with pytest.raises(SessionLost):
        await sent
    with pytest.raises(NotSent):
        await waits
    with pytest.raises(NotBound):
        await session.request(HELLO)
    assert session.state is State.CLOSED


async def test_a_handler_that_outlives_its_session_ends_quietly(peers: Peers) -> None:
    gate = Gate()
    server = await peers.server(gate)
    raw = await peers.raw(server.port)
    await raw.bind()
    await raw.send(replace(HELLO, sequence=2))
    await until(lambda: gate.waiting)
    session = server.sessions("ocs")[0]
    await raw.close()
    await session.closed()
    assert server.accounts == ()
    gate.release()
    await session.finish_handlers(1)
    assert session.counters.responses_sent == 0


async def test_an_unbind_from_the_peer_waits_for_answers(peers: Peers) -> None:
    gate = Gate()
    server = await peers.server(gate, replace(QUICK, grace=60))
    raw = await peers.raw(server.port)
    await raw.bind()
    await raw.send(replace(HELLO, sequence=2), Unbind(sequence=3))
    await until(lambda: gate.waiting)
    gate.release()
    assert [await raw.read(), await raw.read()] == [SubmitSmResp(sequence=2, message_id="2"), UnbindResp(sequence=3)]
    assert await raw.ended() == b""


async def test_our_unbind_waits_for_answers(peers: Peers) -> None:
    gate = Gate()
    server = await peers.server(gate)
    session = await peers.bound(server.port, options=replace(QUICK, grace=60))
    asked = asyncio.create_task(session.request(HELLO))
    await until(lambda: gate.waiting)
    leaving = asyncio.create_task(session.unbind())
    await until(lambda: session.state is State.UNBINDING)
    with pytest.raises(NotBound, match="unbinding"):
        await session.request(HELLO)
    gate.release()
    assert (await asked).ok
    await leaving
    assert session.state is State.CLOSED
    assert await session.closed() == "unbound"


async def test_a_request_during_our_farewell_is_put_off(peers: Peers) -> None:
    server = await peers.server(options=replace(QUICK, grace=60))
    port = server.port
    raw = await peers.raw(port)
    await raw.bind()
    closing = asyncio.create_task(server.close())
    unbind = await raw.read()
    assert isinstance(unbind, Unbind)
    assert (await raw.ask(replace(HELLO, sequence=5))).status == Status.ESME_RSYSERR
    await raw.send(unbind.response())
    await closing
    assert await raw.ended() == b""
    with pytest.raises(ConnectionRefusedError):
        await peers.raw(port)


async def test_a_peer_that_never_answers_the_unbind_is_left(peers: Peers) -> None:
    server = await peers.server(options=replace(QUICK, grace=0.05))
    raw = await peers.raw(server.port)
    await raw.bind()
    await server.close()
    assert isinstance(await raw.read(), Unbind)
    assert await raw.ended() == b""


# --- enquire_link and inactivity ---


async def test_a_silent_peer_is_enquired_and_left_when_it_does_not_answer(peers: Peers) -> None:
    server = await peers.server(options=replace(QUICK, enquire_every=0.03))
    raw = await peers.raw(server.port)
    await raw.bind()
    session = server.sessions("ocs")[0]
    for patience in (QUICK.response_timeout, 0.05):  # with the next
        enquiry = await raw.read()
        assert isinstance(enquiry, EnquireLink)
        assert session.is_bound
        session.options = replace(session.options, response_timeout=patience)
        await raw.send(enquiry.response())
    assert isinstance(await raw.read(), EnquireLink)
    assert await session.closed() == "the peer did not answer enquire_link"
    assert server.accounts == ()


@pytest.mark.parametrize("asks", ["esme", "smsc"])
async def test_either_side_enquires_and_is_answered(peers: Peers, asks: str) -> None:
    often = replace(QUICK, enquire_every=0.02)
    server = await peers.server(options=often if asks == "smsc" else QUICK)
    session = await peers.bound(server.port, options=often if asks == "esme" else QUICK)
    theirs = server.sessions("ocs")[0]
    asking, asked = (session, theirs) if asks == "esme" else (theirs, session)
    await until(lambda: asking.counters.enquiries_sent > 2)
    assert asked.counters.enquiries_received >= 2
    assert (asked.counters.enquiries_sent, asking.counters.timeouts) == (0, 0)
    assert session.is_bound
    assert theirs.is_bound


async def test_nothing_to_say_for_long_ends_the_session(peers: Peers) -> None:
    server = await peers.server(options=replace(QUICK, inactivity=0.05, enquire_every=0.02))
    raw = await peers.raw(server.port)
    await raw.bind()
    while not isinstance(pdu := await raw.read(), Unbind):
        await raw.send(pdu.response())
    await raw.send(pdu.response())
    assert await raw.ended() == b""


# --- peers that misbehave ---


async def test_unknown_commands_and_broken_bodies_are_answered_and_the_session_goes_on(peers: Peers) -> None:
    server = await peers.server()
    raw = await peers.raw(server.port)
    await raw.bind()
    unknown = bytes.fromhex("00000010 00000099 00000000 00000005")
    assert await raw.ask(unknown) == GenericNack(sequence=5, status=Status.ESME_RINVCMDID)
    broken = bytes.fromhex("00000014 00000004 00000000 00000006 00000000")
    assert await raw.ask(broken) == SubmitSmResp(sequence=6, status=Status.ESME_RINVCMDLEN)
    no_answer = bytes.fromhex("00000011 00000102 00000000 00000007 00")
    assert await raw.ask(no_answer) == GenericNack(sequence=7, status=Status.ESME_RINVCMDLEN)
    strange_response = bytes.fromhex("00000010 80000099 00000000 00000008")
    await raw.send(strange_response, SubmitSmResp(sequence=77), GenericNack(sequence=0))
    assert (await raw.ask(replace(HELLO, sequence=9))).ok
    counters = server.sessions("ocs")[0].counters
    assert (counters.bad_pdus, counters.unmatched, counters.nacks_received) == (4, 2, 1)


@pytest.mark.parametrize("length", ["00000000", "0000000F", "7FFFFFFF", "00020000", "47455420"])
async def test_a_length_that_cannot_be_is_nacked_and_the_session_closed(peers: Peers, length: str) -> None:
    raw = await peers.raw((await peers.server()).port)
    await raw.bind()
    nack = await raw.ask(bytes.fromhex(length + "00000004 00000000 00000005"))
    assert nack == GenericNack(sequence=5, status=Status.ESME_RINVCMDLEN)
    assert await raw.ended() == b""


async def test_garbage_ends_the_session_and_nothing_else(peers: Peers) -> None:
    server = await peers.server()
    raw, other = await peers.raw(server.port), await peers.raw(server.port)
    await other.bind()
    await raw.send(b"GET / HTTP/1.1\r\nHost: example.invalid\r\n\r\n")
    await raw.ended()
    assert (await other.ask(replace(HELLO, sequence=2))).ok


async def test_answers_of_the_wrong_kind(peers: Peers) -> None:
    async def script(raw: Raw) -> None:
        await raw.send((await raw.read()).response())
        first = await raw.read()
        await raw.send(DeliverSmResp(sequence=first.sequence), GenericNack(sequence=first.sequence, status=3))
        second = await raw.read()
        await raw.send(bytes.fromhex("00000013 80000004 00000000") + second.sequence.to_bytes(4, "big") + b"abc")

    session = await peers.bound(await peers.smsc(script))
    assert isinstance(await session.request(HELLO), GenericNack)
    with pytest.raises(UnreadableResponse):
        await session.request(HELLO)
    assert session.counters.unmatched == 1


async def test_receivers_take_turns(peers: Peers) -> None:
    server = await peers.server()
    for kind in (BindReceiver, BindTransmitter, BindTransceiver):
        await peers.bound(server.port, bind=kind(system_id="ocs", password=SECRET))
    await until(lambda: len(server.sessions("ocs")) == 3)
    turns = [server.receiver("ocs") for _ in range(4)]
    assert turns[0] is turns[2] is not turns[1]
    assert turns[1] is turns[3]
    assert all(one is not None and one.receives for one in turns)
    assert server.receiver("nobody") is None


# --- the client: a bind that keeps itself up ---


class Sleeper:
    """Time that passes at once, and is written down."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0.001)


async def test_it_binds_again_after_every_loss(peers: Peers) -> None:
    async def script(raw: Raw) -> None:
        await raw.send((await raw.read()).response())
        await raw.read()
        raw.writer.transport.abort()

    client = await peers.client(await peers.smsc(script), sleep=Sleeper())
    for times in (1, 2, 3):
        async with asyncio.timeout(60):
            await client.bound()
        assert client.binds == times
        with pytest.raises(SessionLost):
            await client.request(HELLO)


async def test_it_waits_longer_and_longer_by_chance(peers: Peers, unused_port: int) -> None:
    sleeper = Sleeper()
    client = await peers.client(unused_port, rng=random.Random(7), backoff=Backoff(1, 8), sleep=sleeper)
    await until(lambda: len(sleeper.slept) >= 6)
    chance = random.Random(7)
    assert sleeper.slept[:6] == [chance.uniform(0, most) for most in (1, 2, 4, 8, 8, 8)]
    with pytest.raises(NotBound, match=str(unused_port)):
        await client.request(HELLO)


async def test_a_refused_bind_is_tried_again_and_says_why(peers: Peers) -> None:
    answers = [Status.ESME_RBINDFAIL, Status.ESME_RALYBND, Status.ESME_ROK]

    async def script(raw: Raw) -> None:
        bind = await raw.read()
        await raw.send(bind.response(answers.pop(0)))

    said: list[str] = []

    async def sleep(seconds: float) -> None:
        said.append(client.last_error)

    client = await peers.client(await peers.smsc(script), sleep=sleep)
    async with asyncio.timeout(60):
        await client.bound()
    assert [text.rsplit(" ", 1)[1] for text in said] == ["ESME_RBINDFAIL", "ESME_RALYBND"]
    assert "`ocs`" in said[0]


async def test_a_server_that_never_answers_the_bind_is_left(peers: Peers) -> None:
    async def script(raw: Raw) -> None:
        await raw.read()

    sleeper = Sleeper()
    client = await peers.client(await peers.smsc(script), options=SessionOptions(response_timeout=0.05), sleep=sleeper)
    await until(lambda: "no answer" in client.last_error)
    assert client.state is not ClientState.BOUND


def test_names_that_cannot_be_sent_are_refused_at_once() -> None:
    with pytest.raises(EncodeError, match="system_id"):
        Client("127.0.0.1", 2775, BindTransceiver(system_id="longer than the standard"), answer)
    with pytest.raises(EncodeError, match="system_id"):
        Server(passwords(SECRETS), answer, QUICK, "longer than the standard")


async def test_a_host_that_is_no_name_is_an_error_like_others(peers: Peers) -> None:
    sleeper = Sleeper()
    client = await peers.client(2775, host="a" * 100 + ".invalid", sleep=sleeper)
    await until(lambda: len(sleeper.slept) > 1)
    assert client.last_error


async def test_closing_is_final(peers: Peers) -> None:
    server = await peers.server()
    client = await peers.client(server.port)
    async with asyncio.timeout(60):
        await client.bound()
    await client.close()
    assert client.state is ClientState.CLOSED
    with pytest.raises(NotBound):
        await client.request(HELLO)
    with pytest.raises(NotBound):
        await client.bound()
    assert server.accounts == ()


async def test_closing_while_waiting_or_connecting(peers: Peers, unused_port: int) -> None:
    client = await peers.client(unused_port)
    await asyncio.sleep(0.02)
    await client.close()
    assert client.state is ClientState.CLOSED
    never_started = await peers.client(unused_port)
    await never_started.close()


async def test_its_handler_can_use_the_client_at_once(peers: Peers) -> None:
    """What comes with the bind response finds a client that is bound."""
    states: list[ClientState] = []

    async def listen(session: Session, pdu: Pdu) -> Pdu | None:
        states.append(client.state)
        assert client.session is session
        return pdu.response()

    async def script(raw: Raw) -> None:
        await raw.send((await raw.read()).response(), DeliverSm(sequence=1))
        await raw.read()

    client = await peers.client(await peers.smsc(script), listen)
    async with asyncio.timeout(60):
        await client.bound()
    await until(lambda: states)
    assert states == [ClientState.BOUND]


async def test_a_thousand_requests_at_once(peers: Peers) -> None:
    server = await peers.server()
    client = await peers.client(server.port, bind=BindTransceiver(system_id="app", password="b"))
    async with asyncio.timeout(60):
        await client.bound()
    answers = await asyncio.gather(*(client.request(HELLO) for _ in range(1000)))
    assert all(one.ok for one in answers)
    theirs = server.sessions("app")[0].counters
    assert theirs.requests_received == theirs.responses_sent == 1000


async def test_the_servers_end_is_heard(peers: Peers) -> None:
    server = await peers.server()
    client = await peers.client(server.port, sleep=Sleeper())
    async with asyncio.timeout(60):
        session = await client.bound()
        await server.close()
        assert await session.closed() == "the peer unbound"


# --- the wire, octets at a time ---


class Heard:
    """Takes down what a wire brings."""

    def __init__(self) -> None:
        self.pdus: list[Pdu] = []
        self.faults: list[tuple[int, bool]] = []

    def on_open(self) -> None: ...

    def on_read(self) -> None: ...

    def on_lost(self, cause: Exception | None) -> None: ...

    def on_pdu(self, pdu: Pdu) -> None:
        self.pdus.append(pdu)

    def on_clogged(self, clogged: bool) -> None:
        pass

    def on_bad_pdu(self, fault: PduError, *, fatal: bool) -> None:
        self.faults.append((fault.status, fatal))


class Transport:
    """Notes what the wire asks of it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.reading = True

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("192.0.2.1", 2775)

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, octets: bytes) -> None:
        self.written.append(octets)


def heard_in(chunks: list[bytes]) -> Heard:
    async def listen() -> Heard:
        heard = Heard()
        wire = Wire(max_pdu=500)
        wire.attach(heard)
        for chunk in chunks:
            wire.data_received(chunk)
        return heard

    return asyncio.run(listen())


def cut_at(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(at % (len(stream) + 1) for at in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.binary(max_size=60), max_size=6), st.lists(st.integers(0, 2000), max_size=12))
@settings(deadline=None, max_examples=60)
def test_any_cutting_of_the_stream_brings_the_same_pdus(texts: list[bytes], cuts: list[int]) -> None:
    sent = [DeliverSm(sequence=n, short_message=text) for n, text in enumerate(texts)]
    stream = b"".join(map(encode_pdu, sent))
    assert heard_in(cut_at(stream, cuts)).pdus == sent


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
@settings(deadline=None, max_examples=100)
def test_any_octets_are_heard_the_same_however_cut(stream: bytes, cuts: list[int]) -> None:
    whole, pieces = heard_in([stream]), heard_in(cut_at(stream, cuts))
    assert (whole.pdus, whole.faults) == (pieces.pdus, pieces.faults)
    assert [fatal for _, fatal in whole.faults].count(True) <= 1


async def test_a_peer_that_reads_nothing_is_not_read_either() -> None:
    wire, transport = Wire(500), Transport()
    wire.attach(Heard())
    wire.connection_made(cast(asyncio.Transport, transport))
    wire.pause_writing()
    assert not transport.reading
    wire.hold(True)
    wire.resume_writing()
    assert not transport.reading
    wire.hold(False)
    assert transport.reading


async def test_what_one_turn_of_the_loop_sends_goes_out_together() -> None:
    wire, transport = Wire(500), Transport()
    wire.attach(Heard())
    wire.connection_made(cast(asyncio.Transport, transport))
    for text in (b"a", b"b", b"c"):
        wire.send(text)
    assert transport.written == []
    await asyncio.sleep(0)
    wire.send(b"d")
    await asyncio.sleep(0)
    assert transport.written == [b"abc", b"d"]


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": getattr(uvloop, "new_event_loop", None)}


@pytest.mark.parametrize("kind", LOOPS)
def test_a_client_that_is_closed_while_it_connects_ends(kind: str) -> None:
    """At every turn of the loop: a transport may be cancelled in the making, and not every loop tells of that."""
    if LOOPS[kind] is None:
        pytest.skip(f"{kind} is not installed")

    async def close_after(turns: int) -> None:
        server = await serve("127.0.0.1", 0, passwords(SECRETS), answer, QUICK)
        bind = BindTransceiver(system_id="ocs", password=SECRET)
        client = Client("127.0.0.1", server.port, bind, answer, QUICK)
        await client.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await client.close()
        await server.close()
        assert client.state is ClientState.CLOSED

    for turns in range(12):
        with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
            runner.run(close_after(turns))
