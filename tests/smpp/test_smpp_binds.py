"""Several binds as one way to the SMSC, and what both sides count."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import pytest
from tests.waiting import until

from kairos.smpp import (
    Backoff,
    Bind,
    BindReceiver,
    Binds,
    BindTransceiver,
    BindTransmitter,
    Client,
    DeliverSm,
    NotBound,
    NotSent,
    Pdu,
    ResponseLost,
    Server,
    Session,
    SessionOptions,
    State,
    Status,
    SubmitSm,
    passwords,
    serve,
)
from kairos.smpp.bucket import Pace

QUICK = SessionOptions(response_timeout=90, enquire_every=60, grace=0.3)
SOON = Backoff(first=0.01, most=0.01)
HELLO = SubmitSm(source_addr="4040", destination_addr="15550100", short_message=b"Hi")


@dataclass
class Site:
    """An SMSC that counts what it takes; `hold` lets it keep silent, `status` refuse."""

    server: Server
    taken: list[Pdu] = field(default_factory=list)
    by_session: Counter[int] = field(default_factory=Counter)
    status: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, session: Session, pdu: Pdu) -> Pdu:
        self.taken.append(pdu)
        self.by_session[id(session)] += 1
        await self.hold.wait()
        return pdu.response(self.status)


Make = Callable[..., Awaitable[Site]]


@dataclass
class World:
    stack: AsyncExitStack
    delivered: list[Pdu] = field(default_factory=list)

    async def site(self, options: SessionOptions = QUICK, **more: object) -> Site:
        site: Site

        async def handle(session: Session, pdu: Pdu) -> Pdu:
            return await site.handle(session, pdu)

        server = await serve("127.0.0.1", 0, passwords({"k": "k"}), handle, options, **more)  # type: ignore[arg-type]
        site = Site(server)
        site.hold.set()
        self.stack.push_async_callback(server.close)
        return site

    def client(self, site: Site, kind: type[Bind] = BindTransceiver, options: SessionOptions = QUICK) -> Client:
        bind = kind(system_id="k", password="k")
        return Client("127.0.0.1", site.server.port, bind, self.take, options, backoff=SOON)

    async def start(self, binds: Binds, count: int) -> None:
        self.stack.push_async_callback(binds.close)
        await binds.start()
        await until(lambda: sum(one.state == "bound" for one in binds.statistics()) == count)

    async def take(self, session: Session, pdu: Pdu) -> Pdu:
        self.delivered.append(pdu)
        return pdu.response()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(stack)


def only(server: Server) -> Session:
    return server.sessions("k")[0]


# --- sharing and taking over ---


async def test_the_load_is_shared(world: World) -> None:
    site = await world.site()
    binds = Binds([world.client(site) for _ in range(3)])
    await world.start(binds, 3)
    for _ in range(9):
        await binds.request(HELLO)
    await asyncio.gather(*(binds.request(HELLO) for _ in range(60)))
    assert sorted(site.by_session.values()) == [23, 23, 23]


async def test_the_bind_with_room_is_taken(world: World) -> None:
    stuck, free = await world.site(), await world.site()
    stuck.hold.clear()
    binds = Binds([world.client(site, options=replace(QUICK, window=2)) for site in (stuck, free)])
    await world.start(binds, 2)
    requests = [asyncio.create_task(binds.request(HELLO)) for _ in range(30)]
    await until(lambda: len(free.taken) >= 26)
    assert len(stuck.taken) == 2
    stuck.hold.set()
    await asyncio.gather(*requests)


async def test_a_standby_is_for_when_the_others_are_gone(world: World) -> None:
    first, second = await world.site(), await world.site()
    binds = Binds([world.client(first)], standby=[world.client(second)])
    await world.start(binds, 2)
    for _ in range(4):
        await binds.request(HELLO)
    assert (len(first.taken), len(second.taken)) == (4, 0)
    await first.server.close()
    assert (await binds.request(HELLO)).ok
    assert len(second.taken) == 1
    assert [one.standby for one in binds.statistics()] == [False, True]


async def test_what_surely_was_not_sent_goes_over_another_bind_at_once(world: World) -> None:
    one, other = await world.site(), await world.site()
    one.hold.clear()
    first = world.client(one)
    binds = Binds([first, world.client(other)])
    await world.start(binds, 2)
    other.hold.clear()
    requests = [asyncio.create_task(binds.request(HELLO)) for _ in range(100)]  # more than both have room for
    await until(lambda: len(one.taken) == len(other.taken) == 32)
    assert binds.waiting == 36
    only(one.server).abort("cut")
    other.hold.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert sum(isinstance(answer, ResponseLost) for answer in answers) == 32
    assert sum(isinstance(answer, Pdu) and answer.ok for answer in answers) == 68
    one.hold.set()
    await until(lambda: first.session)
    assert len(one.taken) + len(other.taken) == 100


async def test_a_bind_that_answers_nothing_is_asked_one_thing_at_a_time(world: World) -> None:
    hung, well = await world.site(), await world.site()
    hung.hold.clear()
    clients = [world.client(hung, options=replace(QUICK, response_timeout=0.2)), world.client(well)]
    binds = Binds(clients, urgent_patience=0.05)
    await world.start(binds, 2)

    async def lost(timeout: float | None = None) -> int:  # noqa: ASYNC109 (a wire's timer)
        answers = await asyncio.gather(*(binds.request(HELLO, timeout) for _ in range(20)), return_exceptions=True)
        return sum(isinstance(answer, ResponseLost) for answer in answers)

    assert await lost() == 10
    assert await lost() == 1
    well.hold.clear()
    assert await lost(0.2) == 20
    asked = [asyncio.create_task(binds.request(HELLO, 0.2, urgent=True)) for _ in range(3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(answer, NotSent) for answer in answers] == [False, False, True]  # it hears so, and soon
    hung.hold.set()
    well.hold.set()  # what they answer late is a sign of life, too
    await until(lambda: sum(one.counters.unmatched for one in binds.statistics()) > 0)
    assert await lost(QUICK.response_timeout) == 0
    assert len(hung.taken) > 16


async def test_urgent_requests_go_first_and_find_room(world: World) -> None:
    site = await world.site()
    site.hold.clear()
    options = replace(QUICK, window=4, reserve=0.5)
    binds = Binds([world.client(site, options=options) for _ in range(2)])
    await world.start(binds, 2)
    late = replace(HELLO, short_message=b"late")
    others = [asyncio.create_task(binds.request(late)) for _ in range(20)]
    await until(lambda: len(site.taken) == binds.waiting - 12 == 4)
    urgent = [asyncio.create_task(binds.request(HELLO, urgent=True)) for _ in range(10)]
    await until(lambda: len(site.taken) == 8)
    site.hold.set()
    await asyncio.gather(*urgent, *others)
    assert [pdu.short_message for pdu in site.taken[4:14] if isinstance(pdu, SubmitSm)] == [b"Hi"] * 10


async def test_what_is_not_urgent_does_not_wait_for_long(world: World) -> None:
    site = await world.site()
    site.hold.clear()
    binds = Binds([world.client(site, options=replace(QUICK, window=1))], patience=0.02)
    await world.start(binds, 1)
    first = asyncio.create_task(binds.request(HELLO))
    await until(lambda: site.taken)
    urgent = asyncio.create_task(binds.request(HELLO, urgent=True))
    with pytest.raises(NotSent, match="no bind had room within"):
        await binds.request(HELLO)
    assert binds.waiting == 1
    site.hold.set()
    assert (await first).ok
    assert (await urgent).ok


async def test_who_gives_up_waiting_leaves_no_trace(world: World) -> None:
    site = await world.site()
    site.hold.clear()
    binds = Binds([world.client(site, options=replace(QUICK, window=1)) for _ in range(2)])
    await world.start(binds, 2)
    first = [asyncio.create_task(binds.request(HELLO)) for _ in range(2)]
    await until(lambda: len(site.taken) == 2)
    waiting = [asyncio.create_task(binds.request(HELLO)) for _ in range(50)]
    await until(lambda: binds.waiting == 50)
    for task in waiting:
        task.cancel()
    await until(lambda: binds.waiting == 0)
    site.hold.set()
    await asyncio.gather(*first)
    assert [one.outstanding for one in binds.statistics()] == [0, 0]


async def test_what_may_have_arrived_is_never_repeated(world: World) -> None:
    one, other = await world.site(), await world.site()
    one.hold.clear()
    binds = Binds([world.client(one)], standby=[world.client(other)])
    await world.start(binds, 2)
    request = asyncio.create_task(binds.request(HELLO))
    await until(lambda: one.taken)
    only(one.server).abort("cut")
    with pytest.raises(ResponseLost):
        await request
    assert other.taken == []


async def test_without_any_bind_it_is_said_at_once(world: World) -> None:
    site = await world.site()
    binds = Binds([world.client(site), world.client(site)])
    with pytest.raises(NotBound, match="still connecting"):
        await binds.request(HELLO)
    await world.start(binds, 2)
    assert (await binds.bound()).is_bound
    await binds.close()
    assert binds.session is None
    with pytest.raises(NotBound):
        await binds.request(HELLO)
    with pytest.raises(NotBound):
        await binds.bound()


async def test_a_transmitter_sends_and_a_receiver_receives(world: World) -> None:
    site = await world.site()
    binds = Binds([world.client(site, BindReceiver), world.client(site, BindTransmitter)])
    await world.start(binds, 2)
    await asyncio.gather(*(binds.request(HELLO) for _ in range(5)))
    assert binds.session is not None
    assert binds.session.state is State.BOUND_TX
    receiver = site.server.receiver("k")
    assert receiver is not None
    await receiver.request(DeliverSm())
    assert len(world.delivered) == 1
    assert [(one.kind, one.counters.requests_sent) for one in binds.statistics()] == [
        ("receiver", 0),
        ("transmitter", 5),
    ]


# --- haste ---


async def test_an_account_that_is_too_fast_is_told_so_over_all_its_binds(world: World) -> None:
    site = await world.site(rates={"k": 0.01})  # one at once, and no other for long
    clients = [world.client(site) for _ in range(2)]
    await world.start(Binds(clients), 2)
    answers = await asyncio.gather(*(clients[turn % 2].request(HELLO) for turn in range(40)))
    assert {answer.status for answer in answers} == {0, Status.ESME_RTHROTTLED}
    assert sum(answer.ok for answer in answers) == len(site.taken) == 1
    statistics = site.server.statistics()[0]
    assert statistics.rate == 0.01
    assert statistics.counters.throttled_sent == 39


@pytest.mark.parametrize(("status", "told"), [(Status.ESME_RTHROTTLED, 1), (Status.ESME_RMSGQFUL, 10)])
async def test_a_bind_that_is_told_to_slow_down_is_spared(
    world: World, status: Status, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "PAUSE", 60.0)
    hasty, calm = await world.site(), await world.site()
    hasty.status = status
    binds = Binds([world.client(hasty), world.client(calm)])
    await world.start(binds, 2)
    answers = [await binds.request(HELLO) for _ in range(40)]
    assert [answer.status for answer in answers].count(status) == len(hasty.taken) == told
    assert [one.counters.throttled_received for one in binds.statistics()] == [told, 0]
    assert binds.statistics()[0].rate > 0


async def test_one_subscribers_full_queue_slows_nobody_down(world: World) -> None:
    site = await world.site()
    binds = Binds([world.client(site)])
    await world.start(binds, 1)
    for turn in range(60):
        site.status = Status.ESME_RMSGQFUL if turn % 3 == 0 else Status.ESME_ROK
        await binds.request(HELLO)
    assert binds.statistics()[0].counters.throttled_received == 20
    assert binds.statistics()[0].rate == 0.0  # no limit


# --- what is counted ---


async def test_what_is_for_an_account_goes_round_its_bind_that_does_not_answer(world: World) -> None:
    site = await world.site()
    gate = asyncio.Event()

    async def never(session: Session, pdu: Pdu) -> Pdu:
        await gate.wait()
        return pdu.response()

    hung = Client("127.0.0.1", site.server.port, BindTransceiver(system_id="k", password="k"), never, QUICK)
    await world.start(Binds([hung, world.client(site)]), 2)

    async def deliver() -> Pdu:
        session = site.server.receiver("k")
        assert session is not None
        return await session.request(DeliverSm())

    asked = [asyncio.create_task(deliver()) for _ in range(10)]
    await until(lambda: sum(one.done() for one in asked) == 5)
    async with asyncio.timeout(60):  # the five are not given up before
        assert all([(await deliver()).ok for _ in range(20)])
    gate.set()
    await asyncio.gather(*asked)


async def test_one_account_does_not_take_all_connections(world: World) -> None:
    site = await world.site(connections=8)
    binds = Binds([world.client(site) for _ in range(8)])
    await world.start(binds, 2)
    await until(lambda: sum("RALYBND" in one.last_error for one in binds.statistics()) == 6)
    assert len(site.server.sessions("k")) == 2


async def test_both_sides_count_over_all_sessions(world: World) -> None:
    site = await world.site()
    client = world.client(site)
    binds = Binds([client])
    await world.start(binds, 1)
    for _ in range(3):
        await binds.request(HELLO)
    only(site.server).abort("cut")
    await until(lambda: client.binds == 2)
    site.status = Status.ESME_RINVDSTADR
    await binds.request(HELLO)
    await until(lambda: site.server.statistics()[0].sessions)
    ours, theirs = binds.statistics()[0], site.server.statistics()[0]
    assert (ours.binds, theirs.binds) == (2, 2)
    assert ours.counters.sent == {"BindTransceiver": 2, "SubmitSm": 4}
    assert theirs.counters.received == ours.counters.sent
    assert theirs.counters.sent == ours.counters.received == {"BindTransceiverResp": 2, "SubmitSmResp": 4}
    assert ours.counters.statuses == {0: 3, Status.ESME_RINVDSTADR: 1}
    assert ours.counters.octets_out == theirs.counters.octets_in > 0
    assert theirs.counters.octets_out == ours.counters.octets_in > 0
    assert ours.counters.latency.answers == sum(ours.counters.latency.counts) == 4
    assert 0 < ours.counters.latency.mean <= ours.counters.latency.most
    assert (ours.state, theirs.account, theirs.sessions) == ("bound", "k", 1)
    assert ours.bound_for is not None
    assert theirs.bound_for is not None
    await binds.close()
    await until(lambda: not site.server.statistics()[0].sessions)
    assert binds.statistics()[0].counters.requests_sent == site.server.statistics()[0].counters.requests_received == 4
    assert binds.statistics()[0].bound_for is site.server.statistics()[0].bound_for is None


async def test_more_connections_than_allowed_are_turned_away(world: World) -> None:
    site = await world.site(connections=3)
    await world.start(Binds([world.client(site)]), 1)
    ends = [await asyncio.open_connection("127.0.0.1", site.server.port) for _ in range(3)]
    async with asyncio.timeout(60):
        assert await ends[2][0].read() == b""
    for _, writer in ends:
        writer.close()
    assert len(site.server.sessions("k")) == 1


# --- farewell ---


async def test_a_farewell_waits_for_both_directions_and_sends_nothing_new(world: World) -> None:
    site = await world.site(options=replace(QUICK, grace=60))
    gate = asyncio.Event()

    async def slow(session: Session, pdu: Pdu) -> Pdu:
        await gate.wait()
        return pdu.response()

    options = replace(QUICK, window=1, grace=60)
    client = Client("127.0.0.1", site.server.port, BindTransceiver(system_id="k", password="k"), slow, options)
    await world.start(Binds([client]), 1)
    site.hold.clear()
    under_way = asyncio.create_task(client.request(HELLO))
    waiting = asyncio.create_task(client.request(HELLO))
    await until(lambda: site.taken)
    delivering = asyncio.create_task(only(site.server).request(DeliverSm()))
    await until(lambda: client.statistics()[0].counters.received["DeliverSm"])
    closing = asyncio.create_task(client.close())
    with pytest.raises(NotBound):
        await waiting
    assert not closing.done()
    refused = await only(site.server).request(DeliverSm())
    assert refused.status == Status.ESME_RX_T_APPN  # many take another for final, and drop the reply or receipt
    gate.set()
    assert (await delivering).ok
    assert not closing.done()
    site.hold.set()
    assert (await under_way).ok
    await closing
    assert len(site.taken) == 1
