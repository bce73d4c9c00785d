"""A `kairos run` that dies, or whose disk and clock break, where and when a test says.

Production code knows nothing of this: its ports are wrapped here, from outside. Each server is forked from a process
that has everything imported, so that a start costs a fraction of a second.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import msgspec

from kairos import bootstrap
from kairos.adapters.esme import Esmes
from kairos.adapters.log import logs
from kairos.adapters.smsc import Smsc
from kairos.bootstrap import Kairos
from kairos.cli.run import serve_until_signal
from kairos.domain.message import Text
from kairos.engine.program import Program
from kairos.errors import StoreError
from kairos.ports import Batch, Loaded, Outcome, Store
from kairos.settings import Settings, load_settings
from kairos.smpp import DataSm, DeliverSm, Pdu, Session, SubmitSm, parse_receipt

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["kairos.bootstrap", "kairos.cli.run", "kairos.adapters.sqlite", "uvloop"])
JUST_AFTER = 0.003  # seconds: what was handed over has left by then

_text = msgspec.msgpack.Decoder(Text).decode


class Faults(msgspec.Struct):
    """What is wrong just now."""

    clock_ms: int = 0  # the clock is so far ahead
    commit_s: float = 0.0  # a commit takes so much longer
    load_s: float = 0.0  # so does reading states
    disk_full: bool = False  # no file can grow, the log neither
    read_only: bool = False  # the store's file system was remounted


@dataclass
class Fuse:
    """Where this process kills itself: the `nth` time that it comes by a `point`, or after so many seconds."""

    point: str = ""
    nth: int = 1
    seconds: float = 0.0

    def reach(self, point: str, after: float = 0.0) -> None:
        if point != self.point:
            return
        self.nth -= 1
        if self.nth == 0:
            if after:
                asyncio.get_running_loop().call_later(after, die)
            else:
                die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


fuse = Fuse()
faults = Faults()


class WrappedStore:
    """The store, on a disk that breaks; commits are points to die at."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        if faults.load_s:
            time.sleep(faults.load_s)
        return self._store.load(names, subscribers)

    def commit(self, batch: Batch) -> None:
        points = set(commits(batch))
        for point in points:
            fuse.reach(f"before {point}")
        if faults.commit_s:
            time.sleep(faults.commit_s)
        if faults.read_only:
            raise StoreError("cannot commit the store: attempt to write a readonly database")
        self._store.commit(batch)
        for point in points:
            fuse.reach(f"after {point}")


def commits(batch: Batch) -> Iterator[str]:
    """The points that a commit is."""
    for row in batch.outgoing:
        if row.channel == "sms":
            yield "commit: own message" if _text(row.payload).marketing else "commit: answer"
        else:
            yield f"commit: {'acceptance' if row.channel == 'ocs' else row.channel}"
    for update in batch.updates:
        if update.status == "sending":
            yield "mark: own message"
        elif update.status == "sent":
            yield "commit: news of a message"
    if any(response.outcome in ("fulfilled", "refused") for response in batch.responses):
        yield "commit: order's answer"


class WrappedSmsc(Smsc):
    async def send(self, text: Text) -> Outcome:
        what = "own message" if text.marketing else "notification" if text.account else "answer"
        fuse.reach(f"before send: {what}")
        outcome = await super().send(text)
        fuse.reach(f"after send: {what}")
        return outcome

    async def handle(self, session: Session, pdu: Pdu) -> Pdu:
        response = await super().handle(session, pdu)
        if isinstance(pdu, DeliverSm | DataSm):
            what = "receipt" if parse_receipt(pdu) else "reply"
            fuse.reach(f"before acknowledge: {what}")
            fuse.reach(f"after acknowledge: {what}", JUST_AFTER)
        return response


class WrappedEsmes(Esmes):
    async def send(self, text: Text) -> Outcome:
        what = "receipt" if text.message_id else "relayed reply"
        fuse.reach(f"before send: {what}")
        outcome = await super().send(text)
        fuse.reach(f"after send: {what}")
        return outcome

    async def handle(self, session: Session, pdu: Pdu) -> Pdu:
        response = await super().handle(session, pdu)
        if isinstance(pdu, SubmitSm | DataSm):
            fuse.reach("before acknowledge: notification")
            fuse.reach("after acknowledge: notification", JUST_AFTER)
        return response


class WrappedKairos(Kairos):
    """Tells its ports to whoever started it, and takes faults from there."""

    starter: Connection

    def __init__(self, settings: Settings, store: Store, program: Program) -> None:
        super().__init__(settings, cast("Store", WrappedStore(store)), program)

    async def start(self) -> None:
        await super().start()
        self.starter.send({"smpp_port": self.smpp_port, "http_port": self.http_port})
        threading.Thread(target=self._listen, daemon=True).start()
        if fuse.seconds:
            asyncio.get_running_loop().call_later(fuse.seconds, die)

    def _listen(self) -> None:
        global faults
        while True:
            try:
                faults = msgspec.convert(self.starter.recv(), Faults)
            except EOFError:
                die()
            most = resource.RLIM_INFINITY
            for process in (os.getpid(), cast("Any", self.store).pid):
                resource.prlimit(process, resource.RLIMIT_FSIZE, (1 if faults.disk_full else most, most))
            self.starter.send("in force")


def now() -> int:
    return time.time_ns() // 1_000_000 + faults.clock_ms


def serve(starter: Connection, settings: Path, environment: Mapping[str, str], log: Path, point: Fuse) -> None:
    """What a forked process runs: `kairos run`, with these parts in the places of their models."""
    global fuse
    fuse = point
    said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    WrappedKairos.starter = starter
    bootstrap.Kairos = WrappedKairos  # type: ignore[misc]
    for name, part in {"Smsc": WrappedSmsc, "Esmes": WrappedEsmes, "now": now}.items():
        setattr(bootstrap.kairos, name, part)
    logs()
    try:
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    except ImportError:
        pass
    asyncio.run(serve_until_signal(load_settings(settings, environment), announce=False))
