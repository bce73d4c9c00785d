"""A `kairos run` that dies, or whose disk and clock break, where and when a test says.

Production code knows nothing of this: its parts are wrapped here, from outside; the store is in `broken_store`. Each
server is forked from a process that has everything imported, so that a start costs a fraction of a second.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
from tests.system import broken_store
from tests.system.broken_store import Faults, Fuse

from kairos import bootstrap
from kairos.adapters.esme import Esmes
from kairos.adapters.log import logs
from kairos.adapters.smsc import Smsc
from kairos.bootstrap import Kairos
from kairos.cli.run import serve_until_signal
from kairos.domain.message import Text
from kairos.ports import Outcome
from kairos.settings import load_settings
from kairos.smpp import DataSm, DeliverSm, Pdu, Session, SubmitSm, parse_receipt

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["kairos.bootstrap", "kairos.cli.run", "kairos.adapters.sqlite", "uvloop"])
JUST_AFTER = 0.003  # seconds: what was handed over has left by then

faults = Faults()


class WrappedSmsc(Smsc):
    async def send(self, text: Text) -> Outcome:
        what = "own message" if text.marketing else "notification" if text.account else "answer"
        broken_store.fuse.reach(f"before send: {what}")
        outcome = await super().send(text)
        broken_store.fuse.reach(f"after send: {what}")
        return outcome

    async def handle(self, session: Session, pdu: Pdu) -> Pdu:
        response = await super().handle(session, pdu)
        if isinstance(pdu, DeliverSm | DataSm):
            what = "receipt" if parse_receipt(pdu) else "reply"
            broken_store.fuse.reach(f"before acknowledge: {what}")
            broken_store.fuse.reach(f"after acknowledge: {what}", JUST_AFTER)
        return response


class WrappedEsmes(Esmes):
    async def send(self, text: Text) -> Outcome:
        what = "receipt" if text.message_id else "relayed reply"
        broken_store.fuse.reach(f"before send: {what}")
        outcome = await super().send(text)
        broken_store.fuse.reach(f"after send: {what}")
        return outcome

    async def handle(self, session: Session, pdu: Pdu) -> Pdu:
        response = await super().handle(session, pdu)
        if isinstance(pdu, SubmitSm | DataSm):
            broken_store.fuse.reach("before acknowledge: notification")
            broken_store.fuse.reach("after acknowledge: notification", JUST_AFTER)
        return response


class WrappedKairos(Kairos):
    """Tells its ports to whoever started it, and takes faults from there."""

    starter: Connection

    async def start(self) -> None:
        await super().start()
        self.starter.send({"smpp_port": self.smpp_port, "http_port": self.http_port})
        threading.Thread(target=self._listen, daemon=True).start()
        if broken_store.fuse.seconds:
            asyncio.get_running_loop().call_later(broken_store.fuse.seconds, broken_store.die)

    def _listen(self) -> None:
        global faults
        while True:
            try:
                self.starter.recv()
            except EOFError:
                broken_store.die()
            faults = broken_store.now_wrong()
            most = resource.RLIM_INFINITY
            for process in {os.getpid(), getattr(self.store, "pid", os.getpid())}:
                resource.prlimit(process, resource.RLIMIT_FSIZE, (1 if faults.disk_full else most, most))
            self.starter.send("in force")


def now() -> int:
    return time.time_ns() // 1_000_000 + faults.clock_ms


def serve(starter: Connection, settings: Path, environment: Mapping[str, str], log: Path, point: Fuse) -> None:
    """What a forked process runs: `kairos run`, with these parts in the places of their models."""
    broken_store.fuse, broken_store.kairos = point, os.getpid()
    os.environ[broken_store.FUSE] = msgspec.json.encode(point).decode()
    os.environ[broken_store.FAULTS] = str(log.with_name("faults.json"))
    broken_store.in_its_place()
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
