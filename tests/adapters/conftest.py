"""Both SMPP sides of kairos on loopback: a scripted SMSC, accounts that bind, and between them the real loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from kairos.adapters.esme import Esmes
from kairos.adapters.esme_messages import Messages
from kairos.adapters.esme_notifications import Account, Reader
from kairos.adapters.gateway import Gateway, take_out
from kairos.adapters.inbound import HttpInbound
from kairos.adapters.memory import MemoryStore
from kairos.adapters.senders import Sender, Submissions
from kairos.adapters.smsc import Smsc
from kairos.adapters.subscribers import Subscribers
from kairos.domain.message import Outgoing
from kairos.domain.subscriber import Bucket
from kairos.engine.dispatch import Backoff, Dispatcher
from kairos.engine.engine import Engine
from kairos.engine.explain import Explainer
from kairos.engine.loop import Loop
from kairos.engine.passages import FIRST
from kairos.engine.program import compile_program
from kairos.errors import StoreError
from kairos.ingest import EventReader, Template, compile_patterns, normalise
from kairos.learn import FixedPropensity
from kairos.playbook import read
from kairos.ports import Batch, Channel, Outcome
from kairos.smpp import (
    BindTransceiver,
    CancelSm,
    Client,
    DataSm,
    DeliverSm,
    MessageState,
    Pdu,
    QuerySm,
    ReplaceSm,
    Server,
    Session,
    SessionOptions,
    Status,
    SubmitSm,
    passwords,
    receipt_for,
    serve,
    split,
    text_of,
)

MSISDN = "12025550123"
NOTIFICATION = "Your call cost T$0.35. Balance T$12.40. Ref 8f3a21"
SENDERS = {
    name: Sender(name, frozenset(ids), sends, callbacks=("http://127.0.0.1",))
    for name, ids, sends in [
        ("vas", ["1234", "Games"], ("third_party",)),
        ("shop", ["Shop"], ("service", "marketing")),
        ("alarm", ["112"], ("emergency",)),
        ("state", ["State"], ("government",)),
    ]
}
PATIENT = SessionOptions(response_timeout=60.0)
SILENCE = -1  # instead of a status: no answer comes, and who asked gives it up


class GatedStore(MemoryStore):
    """A store whose commits wait for a gate, and fail while they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.failing = False

    def commit(self, batch: Batch) -> None:
        self.gate.wait(60)
        if self.failing:
            raise StoreError("the disk is full")
        super().commit(batch)


@dataclass
class FakeSmsc:
    """Answers submissions as it is told to, else with ids that count from `first_id`."""

    answers: deque[int] = field(default_factory=deque)
    submitted: list[SubmitSm | DataSm] = field(default_factory=list)
    asked: list[QuerySm | CancelSm | ReplaceSm] = field(default_factory=list)
    first_id: int = 1
    awake: asyncio.Event = field(default_factory=asyncio.Event)  # else no answer comes yet
    server: Server | None = None
    give_up: Callable[[int], None] = lambda _: None  # the request of this number

    async def handle(self, _: Session, pdu: Pdu) -> Pdu | None:
        if isinstance(pdu, QuerySm | CancelSm | ReplaceSm):
            return self.asked_about(pdu)
        assert isinstance(pdu, SubmitSm | DataSm)
        self.submitted.append(pdu)
        await self.awake.wait()
        status = self.answers.popleft() if self.answers else 0
        if status == SILENCE:
            self.give_up(pdu.sequence)
            return None
        return pdu.response(status) if status else pdu.response(message_id=str(self.first_id + len(self.submitted) - 1))

    def asked_about(self, pdu: QuerySm | CancelSm | ReplaceSm) -> Pdu:
        """The state of what was submitted here; what is not known is refused."""
        self.asked.append(pdu)
        if pdu.message_id not in map(str, range(self.first_id, self.first_id + len(self.submitted))):
            return pdu.response(Status.ESME_RINVMSGID)
        if isinstance(pdu, QuerySm):
            return pdu.response(message_id=pdu.message_id, final_date="260304120100000+", message_state=2)
        return pdu.response()

    @property
    def texts(self) -> list[str]:
        return [text_of([pdu]) for pdu in self.submitted]

    async def deliver(self, pdu: DeliverSm | DataSm) -> int:
        """Hand something to kairos; the status of its answer."""
        assert self.server is not None
        session = self.server.receiver("kairos")
        assert session is not None
        return (await session.request(pdu)).status

    async def receipt(self, message_id: str, state: MessageState = MessageState.DELIVERED, error: str = "000") -> int:
        about = SubmitSm(source_addr="5000", destination_addr=MSISDN)
        dates = {"submitted": "2603041200", "done": "2603041201"}
        return await self.deliver(receipt_for(about, message_id, state, error=error, **dates))

    async def reply(self, text: str, reference: int = 7) -> list[int]:
        """A subscriber's text to 5000; the statuses of its parts."""
        return [await self.deliver(part) for part in self.parts(text, reference)]

    @staticmethod
    def parts(text: str, reference: int = 7, source: str = MSISDN) -> list[DeliverSm]:
        return [
            DeliverSm(
                source_addr=source,
                destination_addr="5000",
                esm_class=part.esm_class,
                data_coding=part.data_coding,
                short_message=part.short_message,
            )
            for part in split(text, reference)
        ]


@dataclass
class Esme:
    """An account's bind: what it submits, and what is delivered to it."""

    client: Client
    received: list[DeliverSm] = field(default_factory=list)
    status: int = 0  # of its answers

    async def handle(self, _: Session, pdu: Pdu) -> Pdu:
        assert isinstance(pdu, DeliverSm)
        self.received.append(pdu)
        return pdu.response(self.status)

    async def submit(self, text: str = NOTIFICATION, **fields: Any) -> Any:
        (part,) = split(text, 1)
        whole = {"data_coding": part.data_coding, "short_message": part.short_message, "registered_delivery": 1}
        numbers = {"source_addr": "5000", "destination_addr": MSISDN}
        return await self.client.request(SubmitSm(**{**whole, **numbers, **fields}), 10)

    @property
    def texts(self) -> list[str]:
        return [text_of([pdu]) for pdu in self.received]


class NoOrders:
    """No charging system."""

    async def fulfil(self, _: Any) -> Outcome:
        return Outcome("done")

    async def ask(self, _: Any) -> Outcome:
        return Outcome("absent")


@dataclass
class World:
    """kairos between the SMSC and the accounts `ocs` (rides), `slow` (does not), `info` and `named` (by a TLV)."""

    bench: Any
    peer: FakeSmsc
    decide_within: float
    queue: int = 1000

    def __post_init__(self) -> None:
        self.store = self.bench.store = GatedStore()
        self.bench.engine = Engine(self.store, self.bench.program, FixedPropensity())
        clock = lambda: self.bench.now  # noqa: E731
        self.handed: list[Outgoing] = []
        self.loop = Loop(self.bench.engine, clock, self._hand, queue=self.queue)
        playbook = self.bench.program.playbook
        start = "Your {service:word...} cost {cost:money}. Balance {balances.main:money}"
        texts = [start + end for end in (". Ref {id}", ", data {balances.data:number} MB. Ref {id}")]
        templates = [Template(account, "en", "end_of_call", text) for account in ("ocs", "slow") for text in texts]
        templates.append(Template("named", "en", "end_of_call", start))  # texts without a reference
        patterns = compile_patterns(templates, playbook.vocabulary, playbook.currency)
        accounts = [Account("ocs"), Account("slow", rides=False), Account("info", rides=False)]
        accounts.append(Account("named", identity_tlv=0x1501))
        accounts += [Account(name, identity_tlv=0x1501, sends=True) for name in SENDERS]
        msisdn: Callable[[str], str] = lambda text: normalise(text, "")  # noqa: E731
        self.esmes = Esmes(
            Reader(accounts, patterns, clock, msisdn),
            self.loop,
            clock,
            lambda *about: self.smsc.forward(*about),
            self.decide_within,
            Messages(
                self.store,
                lambda pdu: self.smsc.client.request(pdu),
                lambda *about: self.smsc.forwarded(*about),
                lambda row: self.dispatcher.take_back(row),
                lambda passage: take_out(self.loop, passage),
            ).asked,
            Submissions(SENDERS, clock, msisdn),
        )
        self.gateway = Gateway(
            self.loop, self.store, SENDERS, msisdn, lambda text: self.smsc.send(text), self.decide_within
        )
        self.gateway.wire(self.esmes, 600_000)
        self.smsc = Smsc(self._client, self.loop, clock, msisdn, self.esmes.deliver)
        ways: dict[str, Channel] = {
            "notification": self.smsc,
            "sms": self.smsc,
            "relay": self.esmes,
            "receipt": self.esmes,
            **dict.fromkeys(FIRST.values(), self.smsc),
            "callback": self.gateway.callbacks,
        }
        quick = Backoff(0.01, 0.02)
        self.dispatcher = Dispatcher(self.store, self.loop, ways, NoOrders(), clock, backoff=quick, chance=lambda: 0.5)

    def _hand(self, rows: Any) -> None:
        self.handed += [row for row, _ in rows]
        self.dispatcher.hand(rows)

    def _client(self, handle: Any) -> Client:
        assert self.peer.server is not None
        bind = BindTransceiver(system_id="kairos", password="kairos")
        client = Client("127.0.0.1", self.peer.server.port, bind, handle, PATIENT)

        def give_up(sequence: int) -> None:
            assert client.session is not None
            client.session._time_out(sequence, 0.0)

        self.peer.give_up = give_up
        return client

    def rows(self, channel: str) -> list[Outgoing]:
        """The outbox's rows of a channel, as they stand."""
        return self.store.outgoing([row.id for row in self.handed if row.channel == channel])

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(bench: Any, decide_within: float = 60.0, **options: Any) -> AsyncIterator[World]:
    peer = FakeSmsc()
    peer.awake.set()
    peer.server = await serve("127.0.0.1", 0, passwords({"kairos": "kairos"}), peer.handle)
    world = World(bench, peer, decide_within, **options)
    engine = asyncio.create_task(world.loop.run())
    await world.smsc.client.start()
    await world.smsc.client.bound()
    world.esmes.server = await serve(
        "127.0.0.1",
        0,
        passwords(dict.fromkeys(("ocs", "slow", "info", "named", *SENDERS), "pw")),
        world.esmes.handle,
        PATIENT,
    )
    sending = asyncio.create_task(world.dispatcher.run())
    try:
        yield world
    finally:
        world.store.gate.set()
        await world.esmes.server.close()
        await world.smsc.client.close()
        await world.dispatcher.close()
        await world.gateway.close()
        await sending
        world.loop.close()
        await asyncio.wait_for(engine, 60)
        await peer.server.close()


Start = Callable[..., Awaitable[World]]
Bind = Callable[..., Awaitable[Esme]]


@pytest.fixture
async def start(bench: Any) -> AsyncIterator[Start]:
    """Start the world; a subscriber who can be offered something is known in it."""
    async with AsyncExitStack() as stack:

        async def begin(**options: Any) -> World:
            world = await stack.enter_async_context(running(bench, **options))
            profile = bench.event("profile", plan="prepaid", language="en", marketing_consent=True)
            await world.loop.submit(profile)
            return world

        yield begin


@pytest.fixture(scope="session")
def running_world() -> Callable[..., Any]:
    """The world as a context of its own, for a test that needs many."""
    return running


@pytest.fixture
async def bind() -> AsyncIterator[Bind]:
    """Bind an account to the world."""
    bound: list[Client] = []

    async def begin(world: World, account: str, kind: type = BindTransceiver) -> Esme:
        assert world.esmes.server is not None
        esme = Esme(client=None)  # type: ignore[arg-type]
        esme.client = Client(
            "127.0.0.1", world.esmes.server.port, kind(system_id=account, password="pw"), esme.handle, PATIENT
        )
        bound.append(esme.client)
        await esme.client.start()
        await esme.client.bound()
        return esme

    yield begin
    for client in bound:
        await client.close()


@pytest.fixture
async def counter(bench_with: Callable[..., Any], texts: dict[str, str]) -> AsyncIterator[tuple[HttpInbound, Any]]:
    """A shop before an engine whose booster is told to who asks; one subscriber has T$50."""
    booster = texts["offers/booster.yaml"].replace("data_session: 5 minutes}", "inbound: always, recharge: always}")
    ask = "treatments:\n  ask: {channel: inbound, message: booster_told}"
    vocabulary = texts["vocabulary.yaml"].replace("open_tickets: number}", "open_tickets: number, shock: time}")
    shock = "  shock: {type: time, from: [profile.shock], default: 2000-01-01}\ncounters:"
    policy = texts["contact_policy.yaml"].replace(
        "open_tickets > 0}", "open_tickets > 0, bill shock: days_since(shock) <= 14}"
    )
    files = texts | {
        "offers/booster.yaml": booster.replace("treatments:", ask),
        "messages.yaml": texts["messages.yaml"] + 'booster_told: {en: "{title} at {price}"}\n',
        "vocabulary.yaml": vocabulary.replace("counters:", shock),
        "contact_policy.yaml": policy,
    }
    bench = bench_with(files)
    program = bench.program.playbook
    bench.store.save_playbook(program.revision, program.vocabulary.layout, files)
    bench.profile()
    known = bench.event("end_of_call", service="voice", cost=1, balances=[Bucket("main", 5000), Bucket("data", 9)])
    named = {"imsi": "001010000000001"}
    bench.apply(msgspec.structs.replace(known, happened=bench.now - 3_600_000, named=named))
    loop = Loop(bench.engine, lambda: bench.now, lambda _: None)
    running = asyncio.create_task(loop.run())
    explainer = Explainer(bench.store, lambda texts: compile_program(read(texts)))
    reader = EventReader(program.vocabulary, program.currency)
    yield HttpInbound(loop, Subscribers(bench.store, explainer, lambda _: None), lambda: reader), bench
    loop.close()
    await asyncio.wait_for(running, 60)
