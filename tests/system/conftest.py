"""The real server as a process of its own, between the ends of a synthetic operator in the test's process."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import socket
import sqlite3
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.noon import noon
from tests.system.broken_store import Faults, Fuse
from tests.system.killed import FORKING, serve

from kairos.domain.subscriber import State
from kairos.engine.work import decode_state
from kairos.simulate import Operator, OperatorSettings
from kairos.simulate.eocn import Notification
from kairos.simulate.events import balances_field
from kairos.simulate.handsets import Answer, Seen
from kairos.simulate.ocs import Order

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
HOST = "127.0.0.1"
PATIENCE = 90.0  # seconds: only ever used up where something is broken
HOUR = 3_600_000
Told = tuple[str, str, Mapping[str, object]]  # an event's kind, whom it concerns, its data
UNSENT = "SELECT id, key, channel, status, attempts FROM outbox WHERE status IN ('pending', 'sending')"


@dataclass
class Server:
    """`kairos run`, started as often as a test likes: always on the same store and the same ports."""

    folder: Path
    settings: Path
    environment: Mapping[str, str]
    breaking: str = ""  # code that it runs before it starts
    ports: dict[str, int] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.ports['http_port']}"

    @asynccontextmanager
    async def connection(self, port: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(HOST, self.ports[port])
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):  # the other end was faster
                await writer.wait_closed()

    @property
    def store(self) -> Path:
        return self.folder / "kairos.db"

    @property
    def log(self) -> str:
        """All that it said on standard error, over every start."""
        return (self.folder / "kairos.log").read_text(encoding="utf-8")

    async def start(self) -> None:
        """Returns when all doors are open."""
        kairos = (
            ("-c", f"{self.breaking}\nfrom kairos.cli import main\nmain()") if self.breaking else ("-m", "kairos.cli")
        )
        command = (sys.executable, *kairos, "run", "--settings", str(self.settings), "--announce")
        with (self.folder / "kairos.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=log, env={**os.environ, **self.environment}
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self.process.stdout.readline()
        assert line, f"kairos ended early:\n{self.log}"
        self.ports = json.loads(line)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def kill(self) -> None:
        """kill -9, wherever it stands."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def end(self) -> int:
        """Ask it to end, and give back its exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@dataclass
class BreakableServer(Server):
    """The same, forked: it dies where a fuse says, and its disk and clock break when they are told to."""

    fuse: Fuse = field(default_factory=Fuse)  # of the next start
    forked: Any = None
    door: Any = None

    async def start(self) -> None:
        environment = {**os.environ, **self.environment}
        self._write(Faults())
        self.door, far = FORKING.Pipe()
        log = self.folder / "kairos.log"
        self.forked = FORKING.Process(target=serve, args=(far, self.settings, environment, log, self.fuse), daemon=True)
        await asyncio.to_thread(self.forked.start)
        far.close()
        try:
            self.ports = await self._hear()
        except EOFError:
            if not self.fuse.point:
                raise AssertionError(f"kairos ended early:\n{self.log}") from None

    async def break_(self, **wrong: Any) -> None:
        """From now on that is wrong, and nothing else; returns when it is so."""
        self._write(Faults(**wrong))
        self.door.send("look")
        assert await self._hear() == "in force"

    def _write(self, faults: Faults) -> None:
        new = self.folder / "faults.new"
        new.write_bytes(msgspec.json.encode(faults))
        new.replace(self.folder / "faults.json")

    async def _hear(self) -> Any:
        assert await asyncio.to_thread(self.door.poll, PATIENCE), "nothing was heard of kairos"
        return self.door.recv()

    async def died(self) -> int | None:
        """Wait until it has ended, however; minus the signal that ended it, or None where it lives on."""
        await asyncio.to_thread(self.forked.join, PATIENCE)
        self.door.close()
        code: int | None = self.forked.exitcode
        return code

    async def kill(self) -> None:
        self.forked.kill()
        await self.died()

    async def end(self) -> int:
        self.forked.terminate()
        code = await self.died()
        assert code is not None, "it does not end"
        return code

    @property
    def alive(self) -> bool:
        return self.forked is not None and bool(self.forked.is_alive())


@dataclass
class System:
    """The server, the operator around it, and what a test does and sees from the operator's side."""

    server: Server
    operator: Operator
    http: httpx.AsyncClient
    serial: itertools.count[int] = field(default_factory=itertools.count)
    used: set[str] = field(default_factory=set)

    # -- what happens --------------------------------------------------------------------------------------------------

    async def restart(self) -> None:
        """Start the server again after it ended; the operator's binds come back by themselves."""
        await self.server.start()
        async with asyncio.timeout(PATIENCE):
            await self.operator.bound()

    def with_language(self, language: str) -> str:
        """The next subscriber of that language whom no test has used."""
        speak = [one.msisdn for one in self.operator.subscribers if one.language == language]
        free = [msisdn for msisdn in speak if msisdn not in self.used]
        self.used.add(free[0])
        return free[0]

    async def known(self, msisdn: str, *, main: int = 500, top_up: int = 500, **profile: object) -> None:
        """A prepaid subscriber who agreed to offers, at noon, with money (minor units) and no allowance."""
        await self.tell(self.introduction(msisdn, main=main, top_up=top_up, **profile))

    async def all_known(self, main: Callable[[], int] = lambda: 500, *, streamed: bool = False) -> None:
        """The same of all subscribers, in one request; `streamed`: each with three data sessions besides."""
        told: list[Told] = []
        for one in self.operator.subscribers:
            told += self.introduction(one.msisdn, main=main())
            told += [("data_session", one.msisdn, {"app": one.app, "bytes": 60_000_000})] * 3 * streamed
        await self.tell(told)

    def introduction(self, msisdn: str, *, main: int = 500, top_up: int = 500, **profile: object) -> list[Told]:
        """The events that make a subscriber known."""
        account = self.operator.ocs.accounts[msisdn]
        account.main = account.opening = main
        account.data_kb = account.voice_min = 0
        subscriber = self.operator.handsets[msisdn].subscriber
        known = {"plan": "prepaid", "language": subscriber.language, "time_zone": noon(), "marketing_consent": True}
        wallets = balances_field(self.operator.ocs.balances(msisdn))
        recharge = {"amount": f"{top_up // 100}.{top_up % 100:02d}", "balances": wallets}
        return [("profile", msisdn, known | profile), ("recharge", msisdn, recharge)]

    async def tell(self, events: Iterable[Told]) -> None:
        """Events that happened ten minutes ago; each must be applied."""
        feed, at = self.operator.feed, self.operator.now() - HOUR // 6
        body = [feed.event(kind, msisdn, data, at) for kind, msisdn, data in events]
        answer = await self.post(msgspec.json.encode(body))
        assert answer.status_code == 200, answer.text
        assert {result["status"] for result in answer.json()["results"]} == {"applied"}, answer.text

    async def post(self, body: bytes, kind: str = "application/cloudevents-batch+json") -> httpx.Response:
        return await self.http.post(f"{self.server.url}/v1/events", content=body, headers={"content-type": kind})

    async def call(self, msisdn: str, minutes: int = 6) -> Seen:
        """A call ends, charged by the minute: what came to the handset of it."""
        async with asyncio.timeout(PATIENCE):
            notification = await self.operator.end_of_call(msisdn, "voice", minutes)
            assert notification is not None
            return await self.operator.arrived(notification)

    async def text_charged(self, msisdn: str) -> Seen:
        """A text message was charged: what came to the handset of it."""
        async with asyncio.timeout(PATIENCE):
            notification = await self.operator.end_of_call(msisdn, "sms", 1)
            assert notification is not None
            return await self.operator.arrived(notification)

    async def submit(self, msisdn: str, text: str) -> Notification:
        """The charging system submits any text, and was answered."""
        usage = next(iter(self.operator.notifications.values())).usage if self.operator.notifications else None
        said = Notification(f"t{next(self.serial)}", msisdn, usage, text)  # type: ignore[arg-type]
        async with asyncio.timeout(PATIENCE):
            await self.operator.charging.submit(said)
        return said

    async def reply(self, msisdn: str, text: str) -> Seen:
        """What comes back on a reply."""
        async with asyncio.timeout(PATIENCE):
            return await self.operator.answered(self.operator.reply(msisdn, text))

    async def said_to(self, answer: Answer) -> Seen:
        async with asyncio.timeout(PATIENCE):
            return await self.operator.answered(answer)

    # -- what is seen --------------------------------------------------------------------------------------------------

    def inbox(self, msisdn: str) -> list[str]:
        return [seen.text for seen in self.operator.handsets[msisdn].inbox]

    def orders(self, msisdn: str) -> list[Order]:
        return self.operator.ocs.orders_of.get(msisdn, [])

    async def decisions(self, msisdn: str) -> list[dict[str, Any]]:
        """Why, newest first, as the server tells over HTTP."""
        answer = await self.http.get(f"{self.server.url}/v1/subscribers/{msisdn}/decisions")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["decisions"]
        return found

    async def stats(self) -> dict[str, Any]:
        answer = await self.http.get(f"{self.server.url}/v1/stats")
        found: dict[str, Any] = answer.json()
        return found

    async def counted(self, name: str) -> int:
        return int((await self.stats())["counts"].get(name, 0))

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds, however slow the machine is."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"never came: {what}"
            await asyncio.sleep(0.01)

    async def drained(self) -> None:
        """Wait until nothing waits to be sent."""
        ours = f"{UNSENT} AND channel <> 'calls'"  # what waits for an agent may wait for hours
        await self.until(lambda: not self.rows(ours), "the outbox to be empty")

    def still_open(self) -> dict[str, Any]:
        """What has not come to its end, for whoever looks into a failure."""
        operator = self.operator
        waiting = [one for one in operator.handsets.values() if one.waiting is not None and one.waiting.accepts]
        missing = [one for one in operator.notifications.values() if one.acknowledged and not one.delivered]
        return {
            "waiting": [self.all_of(one.msisdn) for one in waiting[:3]],
            "missing": missing[:3],
            "events": operator.feed.under_way,
            "texts": operator.smsc.under_way,
            "outbox": self.rows(UNSENT)[:20],
            "log": self.server.log[-2000:],
        }

    def all_of(self, msisdn: str) -> dict[str, Any]:
        """Everything about one subscriber's last doings, on both sides."""
        handset, state = self.operator.handsets[msisdn], self.states()[msisdn]
        sql = f"SELECT id, key, channel, status, attempts FROM outbox WHERE subscriber = {state.id} ORDER BY id DESC"
        return {
            "answers": handset.answers[-3:],
            "inbox": [(seen.at, seen.text) for seen in handset.inbox[-6:]],
            "orders": self.orders(msisdn)[-3:],
            "offers": [(offer.key, offer.number, offer.status, offer.changed) for offer in state.offers],
            "outbox": self.rows(sql)[:8],
        }

    def states(self) -> dict[str, State]:
        """Every subscriber's state, read from the store's file."""
        with closing(sqlite3.connect(f"file:{self.server.store}?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT blob FROM current_state").fetchall()
        return {state.msisdn: state for (blob,) in rows if (state := decode_state(blob))}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the store's file."""
        with closing(sqlite3.connect(f"file:{self.server.store}?mode=ro", uri=True)) as store:
            return store.execute(sql).fetchall()


RESERVED: deque[int] = deque()  # descriptors: they are held to our end, and nobody warns of that


def free_port() -> int:
    """A port that nobody listens on, below those that outgoing connections are given: it stays free between starts.

    No other test is given it, whichever process it runs in: there kairos would be bound to by the wrong operator while
    ours is restarting. Who has a port holds that of UDP, too.
    """
    while True:
        port, twin = random.randint(12_000, 30_000), socket.socket(type=socket.SOCK_DGRAM)
        try:
            twin.bind((HOST, port))
            socket.create_server((HOST, port)).close()
        except OSError:
            twin.close()
            continue
        RESERVED.append(twin.detach())
        if len(RESERVED) > 200:  # the first of them are not used any more
            os.close(RESERVED.popleft())
        return port


Launch = Callable[..., AbstractAsyncContextManager[System]]


@asynccontextmanager
async def launched(
    folder: Path,
    *,
    operator: OperatorSettings | None = None,
    settings: Path = EXAMPLE / "kairos.toml",
    restarts: bool = False,
    breakable: bool = False,
    breaking: str = "",
    key: str = "",
    **environment: object,
) -> AsyncIterator[System]:
    """A server and its operator, bound to one another. `restarts`: on ports that stay. `breakable`: BreakableServer.

    `key`: what the operator shows at the HTTP door.
    `breaking`: code that the server runs before it starts. `environment`: settings without KAIROS_.
    """
    around = Operator(operator or OperatorSettings(subscribers=60, smsc_port=free_port(), receipt_after=0.02))
    await around.start()
    chosen = {
        "ACCOUNTS_OCS_PASSWORD": "ocs",
        "ACCOUNTS_INFO_PASSWORD": "info",
        "SMSC_PASSWORD": "kairos",
        "SMSC_PORT": around.smsc_port,
        "CHANNELS_IVR_URL": around.calls_url,
        "CHANNELS_IVR_SECRET": "whsec_" + "MDEy" * 8,
        "CHANNELS_IVR_KEY": "thediallerknowsit",
        "FULFILMENT_URL": around.ocs_url,
        "STORE_PATH": folder / "kairos.db",
        "NOTIFICATIONS_PORT": free_port() if restarts else 0,
        "HTTP_PORT": free_port() if restarts else 0,
        "NOTIFICATIONS_DECIDE_WITHIN_MS": 60_000,  # a slow machine is not what is tested here
        "NOTIFICATIONS_PARTS_WITHIN_S": PATIENCE,
        "LEARNING_ON": "false",  # a process more for each start: a test that wants it says so
    } | environment
    kind = BreakableServer if breakable else Server
    server = kind(folder, settings, {f"KAIROS_{name}": str(value) for name, value in chosen.items()}, breaking)
    shown = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE, headers=shown) as http:
        try:
            await server.start()
            await around.connect((HOST, server.ports["smpp_port"]), server.url, key)
            async with asyncio.timeout(PATIENCE):
                await around.bound()
            yield System(server, around, http)
        finally:
            if not server.alive:
                print(f"kairos has ended:\n{server.log[-10_000:]}")  # noqa: T201
            await around.stop()
            if server.alive:
                await server.end()


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Starts a system of the test's own: `async with launch(ENGINE_BATCH=1) as system`."""
    return lambda **options: launched(tmp_path, **options)


@pytest.fixture(scope="session")
def launch_in() -> Launch:
    """As `launch`, in a folder that is named."""
    return launched


@pytest.fixture(scope="session")
def a_free_port() -> Callable[[], int]:
    return free_port


def store_process(kairos: int) -> int:
    """The child of kairos that has the store open."""
    for child in Path(f"/proc/{kairos}/task/{kairos}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"adapters.sqlite.process" in command or b"broken_store" in command:
            return int(child)
    raise AssertionError("the store has no process of its own")
