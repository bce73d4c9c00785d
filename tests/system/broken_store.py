"""The store on a disk that breaks, whose commits are points to die at: in kairos' own process, or, run as a module, in
the place of the store's (`kairos.adapters.sqlite.process`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from kairos.adapters.sqlite import process
from kairos.adapters.sqlite.store import SqliteStore
from kairos.domain.message import Text
from kairos.errors import StoreError
from kairos.ports import Batch, Loaded

FAULTS: Final = "KILLED_FAULTS"  # in the environment: the file that says what is wrong
FUSE: Final = "KILLED_FUSE"  # and where to die

_text = msgspec.msgpack.Decoder(Text).decode


class Faults(msgspec.Struct):
    """What is wrong just now."""

    clock_ms: int = 0  # the clock is so far ahead
    commit_s: float = 0.0  # a commit takes so much longer
    load_s: float = 0.0  # so does reading states
    read_s: float = 0.0  # or whatever else
    disk_full: bool = False  # no file can grow, the log neither
    read_only: bool = False  # the store's file system was remounted


def now_wrong() -> Faults:
    """As the test has written it down."""
    return msgspec.json.decode(Path(os.environ[FAULTS]).read_bytes(), type=Faults)


@dataclass
class Fuse:
    """Where kairos is killed: the `nth` time that it comes by a `point`, or after so many seconds."""

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


kairos = os.getpid()  # whose store this is
fuse = Fuse()


def die() -> None:
    """The store's process never outlives the one whose it is."""
    for one in (kairos, os.getpid()):
        os.kill(one, signal.SIGKILL)


class BrokenStore(SqliteStore):
    def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        time.sleep(now_wrong().load_s)
        return super().load(names, subscribers)

    def _told(self, what: str) -> AbstractContextManager[None]:
        if what == "read":
            time.sleep(now_wrong().read_s)
        return super()._told(what)

    def commit(self, *batches: Batch) -> None:
        points = {point for batch in batches for point in commits(batch)}
        for point in points:
            fuse.reach(f"before {point}")
        wrong = now_wrong()
        time.sleep(wrong.commit_s)
        if wrong.read_only:
            raise StoreError("cannot commit the store: attempt to write a readonly database")
        super().commit(*batches)
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


def in_its_place() -> None:
    """From now on a store that is opened is a broken one, in whichever process."""
    vars(process).update(SqliteStore=BrokenStore, __name__="tests.system.broken_store")  # which that process runs


if __name__ == "__main__":
    kairos = int(sys.argv[1])
    fuse = msgspec.json.decode(os.environ[FUSE], type=Fuse)
    in_its_place()
    process.main()
