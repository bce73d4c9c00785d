"""The SQLite store in a process of its own: what it does there takes nothing from the thread that decides.

In one process, reading and committing hold the interpreter for a quarter of the time that deciding needs, and each of
SQLite's steps hands it over and back. So the calls of the store go over socket pairs (`DOORS` of them, so that a long
commit holds up no read), pickled, to a process that has no other work. Nothing else changes: a call returns when the
store has done it, and `commit` when it is on disk.

That process ends with ours, however ours ends: the kernel kills it (Linux), or it meets the end of its doors.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pickle
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from kairos.adapters.log import logs
from kairos.adapters.sqlite.store import SqliteStore
from kairos.errors import FallenError, StoreError
from kairos.ports import Batch, Loaded, Store

TOGETHER: Final = 8  # commits in one transaction, at most
DOORS: Final = 8  # calls of threads at the same time: who writes, who waits behind it, and reads, which must not wait
OF_THE_LOOP: Final = ("load", "commit", "read")  # what an event loop asks has doors of its own
PREDECESSOR: Final = 2.0  # seconds that a killed kairos may take to let go of the store
SWITCH: Final = 0.0005  # seconds that a thread may hold up another: a read must not wait for a commit's Python
IN_HASTE: Final = 2.0  # seconds that the thread that decides waits for a read of its own, which takes some 0.1 ms
LATE: Final = "the store does not answer"
ENDED: Final = "the store's process has ended; start kairos again"
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

# Batches come and go through many threads. Left alone, glibc gives each of them a heap of its own that keeps the most
# that it ever held, and takes large blocks from there, too: memory then creeps up for as long as batches vary in size.
MALLOC: Final = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "8388608"}

P = ParamSpec("P")
R = TypeVar("R")


def _asked(method: Callable[Concatenate[SqliteStore, P], R]) -> Callable[Concatenate[SqliteProcess, P], R]:
    """The same method, done in the other process."""

    def call(self: SqliteProcess, /, *args: P.args, **kwargs: P.kwargs) -> R:
        done: R = self._call(method.__name__, args, kwargs)
        return done

    return call


class SqliteProcess:
    """A `kairos.ports.Store`: `SqliteStore` with the same arguments, elsewhere. Raises StoreError as it does.

    Once that process has ended, every call raises StoreError. Where nobody closed the store, `died` is called with the
    exit status first: by whoever hears of it first, in any thread.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        checkpoint_pages: int = 4000,
        *,
        copy: bool = True,
        died: Callable[[int], None] = lambda _status: None,
    ) -> None:
        ours, theirs = zip(*(socket.socketpair() for _ in range(len(OF_THE_LOOP) + DOORS)), strict=True)
        numbers = [door.fileno() for door in theirs]
        arguments = (os.fspath(path), str(checkpoint_pages), "copy" if copy else "", *map(str, numbers))
        self._process = subprocess.Popen(
            (sys.executable, "-m", __name__, str(os.getpid()), *arguments),
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            env=MALLOC | os.environ,
        )
        for door in theirs:
            door.close()
        self._closing, self._died = False, died
        self._deciding = 0  # the thread that must not wait for long, if there is one
        self._own: Connection | None = None  # its door
        self._late = False  # whether an answer is still to come there that it did not wait for
        self._doors = queue.LifoQueue[Connection]()
        self.aside = Beside(dict(zip(OF_THE_LOOP, ours, strict=False)), self._lost)
        for door in ours[len(OF_THE_LOOP) :]:
            self._doors.put(Connection(door.detach()))
        try:
            self._epoch: str = self._call("opened", (), {})
        except BaseException:
            self._process.wait()
            raise
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def pid(self) -> int:
        return self._process.pid

    epoch_of = _asked(SqliteStore.epoch_of)
    keep = _asked(SqliteStore.keep)
    next_ids = _asked(SqliteStore.next_ids)
    load = _asked(SqliteStore.load)
    holders = _asked(SqliteStore.holders)
    commit = _asked(SqliteStore.commit)
    outgoing = _asked(SqliteStore.outgoing)
    unsent = _asked(SqliteStore.unsent)
    outgoing_by_peer_id = _asked(SqliteStore.outgoing_by_peer_id)
    answered_by_peer_id = _asked(SqliteStore.answered_by_peer_id)
    answered = _asked(SqliteStore.answered)
    latest_answered = _asked(SqliteStore.latest_answered)
    notification = _asked(SqliteStore.notification)
    timers_due = _asked(SqliteStore.timers_due)
    decision = _asked(SqliteStore.decision)
    decisions = _asked(SqliteStore.decisions)
    responses_to = _asked(SqliteStore.responses_to)
    responses = _asked(SqliteStore.responses)
    purchase = _asked(SqliteStore.purchase)
    purchases = _asked(SqliteStore.purchases)
    purchases_of = _asked(SqliteStore.purchases_of)
    budgets = _asked(SqliteStore.budgets)
    passage = _asked(SqliteStore.passage)
    passages = _asked(SqliteStore.passages)
    passages_to = _asked(SqliteStore.passages_to)
    communication = _asked(SqliteStore.communication)
    communications = _asked(SqliteStore.communications)
    listeners = _asked(SqliteStore.listeners)
    put_listener = _asked(SqliteStore.put_listener)
    drop_listener = _asked(SqliteStore.drop_listener)
    dead_letters = _asked(SqliteStore.dead_letters)
    count_dead_letters = _asked(SqliteStore.count_dead_letters)
    trim_dead_letters = _asked(SqliteStore.trim_dead_letters)
    forget = _asked(SqliteStore.forget)
    save_playbook = _asked(SqliteStore.save_playbook)
    playbook = _asked(SqliteStore.playbook)
    playbook_with_layout = _asked(SqliteStore.playbook_with_layout)
    model = _asked(SqliteStore.model)
    newest_model = _asked(SqliteStore.newest_model)
    choices = _asked(SqliteStore.choices)
    suppressed = _asked(SqliteStore.suppressed)
    switches = _asked(SqliteStore.switches)
    switch_history = _asked(SqliteStore.switch_history)
    turn_switch = _asked(SqliteStore.turn_switch)
    figures = _asked(SqliteStore.figures)

    def hurry(self) -> None:
        """From now on this thread waits `IN_HASTE` for an answer at most: it decides, and all else waits for it."""
        self._deciding, self._own = threading.get_ident(), self._doors.get()

    def close(self) -> None:
        """Returns when the store is closed."""
        self._closing, self._deciding = True, 0
        with suppress(StoreError):
            self._call("close", (), {})
        self._process.wait()
        self.aside.leave()

    def _lost(self) -> None:
        """A door broke. That process is no use any more, if it is not dead yet: its clients would wait for ever."""
        self._process.kill()
        self._watch()

    def _watch(self) -> None:
        status = self._process.wait()
        if not self._closing:
            self._died(status)

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        asked = pickle.dumps((name, args, kwargs), pickle.HIGHEST_PROTOCOL)
        try:
            done, value = self._in_haste(asked) if threading.get_ident() == self._deciding else self._at_leisure(asked)
        except (EOFError, OSError) as error:
            self._lost()
            raise StoreError(ENDED) from error
        if not done:
            raise value
        return value

    def _at_leisure(self, asked: bytes) -> tuple[bool, Any]:
        door = self._doors.get()
        try:
            door.send_bytes(asked)
            done, value = pickle.loads(door.recv_bytes())
        finally:
            self._doors.put(door)
        return done, value

    def _in_haste(self, asked: bytes) -> tuple[bool, Any]:
        """A disk may hang just now. That holds up the thread once, not with each call: until the answer has come that
        it did not wait for, the next calls fail at once."""
        assert self._own is not None
        if self._late and not self._own.poll():
            raise StoreError(LATE)
        if self._late:
            self._own.recv_bytes()
        self._own.send_bytes(asked)
        self._late = not self._own.poll(IN_HASTE)
        if self._late:
            raise StoreError(LATE)
        done, value = pickle.loads(self._own.recv_bytes())
        return done, value


class Frames(asyncio.Protocol):
    """One end of a socket pair in an event loop: pickled calls out, their answers in, in the same order.

    A frame is as `multiprocessing.connection` writes it: its length in four octets (or -1 and eight), then itself.
    What is asked before the transport is there goes first.
    """

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._early: list[bytes] = []
        self._read = bytearray()
        self._awaited: deque[asyncio.Future[tuple[bool, Any]]] = deque()
        self._transport: asyncio.Transport | None = None
        self._closed = False  # by us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(0)  # at once: uvloop else lets all go first that is to run
        if self._early:
            self._transport.writelines(self._early)
            self._early.clear()
        if self._closed:
            self._transport.close()

    async def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """What the store's method gives. Raises StoreError as it does, and where the process has ended."""
        if self._closed or (self._transport and self._transport.is_closing()):
            raise StoreError(ENDED)
        asked = pickle.dumps((name, args, kwargs), pickle.HIGHEST_PROTOCOL)
        length = len(asked)
        head = struct.pack("!i", length) if length <= 0x7FFFFFFF else struct.pack("!iQ", -1, length)
        if self._transport:
            self._transport.writelines([head, asked])
        else:
            self._early += (head, asked)
        answer: asyncio.Future[tuple[bool, Any]] = asyncio.get_running_loop().create_future()
        self._awaited.append(answer)
        done, value = await answer
        if not done:
            raise value
        return value

    def data_received(self, data: bytes) -> None:
        self._read += data
        while len(self._read) >= 4:
            (length,), start = struct.unpack_from("!i", self._read), 4
            if length == -1:
                if len(self._read) < 12:
                    return
                (length,), start = struct.unpack_from("!Q", self._read, 4), 12
            if len(self._read) < start + length:
                return
            with memoryview(self._read) as frame:
                answer = pickle.loads(frame[start : start + length])
            del self._read[: start + length]
            awaited = self._awaited.popleft()
            if not awaited.done():
                awaited.set_result(answer)

    def close(self) -> None:
        self._closed = True
        if self._transport:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        for awaited in self._awaited:
            if not awaited.done():
                awaited.set_exception(StoreError(ENDED))
        self._awaited.clear()
        if not self._closed:
            self._closed = True
            self._ended()


class Beside:
    """A `kairos.ports.Aside` over doors of its own (`OF_THE_LOOP`), without a thread on our side: handing the
    interpreter from thread to thread and back took longer than reading a state."""

    def __init__(self, doors: Mapping[str, socket.socket], ended: Callable[[], None]) -> None:
        self._doors, self._ended = doors, ended
        self._opened: dict[str, tuple[Frames, asyncio.Task[None]]] = {}

    async def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        found: Loaded = await self._door("load").call("load", names, subscribers)
        return found

    async def commit(self, batch: Batch, chain: int) -> None:
        await self._door("commit").call("commit", batch, chain)

    async def read(self, ask: Callable[Concatenate[Store, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        found: R = await self._door("read").call(ask.__name__, *args, **kwargs)
        return found

    async def close(self) -> None:
        for frames, opening in self._opened.values():
            await opening
            frames.close()

    def leave(self) -> None:
        """Close what no loop has opened."""
        for door in (door for name, door in self._doors.items() if name not in self._opened):
            door.close()

    def _door(self, name: str) -> Frames:
        """Opened by the first who asks; what is asked meanwhile waits in its order."""
        if name not in self._opened:
            frames = Frames(self._ended)
            self._opened[name] = frames, asyncio.create_task(self._open(frames, self._doors[name]))
        return self._opened[name][0]

    async def _open(self, frames: Frames, door: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: frames, sock=door)
        except OSError as error:  # the store is closed
            frames.connection_lost(error)


# -- the other process -------------------------------------------------------------------------------------------------


def serve(parent: int, path: str, checkpoint_pages: int, copy: bool, doors: list[Connection]) -> None:
    """Open the store and do what is asked at the doors, until it is closed or nobody is left to ask."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for our parent, who finishes what is under way first
        signal.signal(number, signal.SIG_IGN)
    _die_with(parent)
    try:
        store = open_store(path, checkpoint_pages, copy=copy)
    except StoreError as error:
        pickle.loads(doors[-1].recv_bytes())
        doors[-1].send_bytes(pickle.dumps((False, error)))
        return
    sys.setswitchinterval(SWITCH)
    over = threading.Event()
    living = [*doors]
    for name, door in zip_longest(OF_THE_LOOP, doors):
        serving = _commit if name == "commit" else _answer
        threading.Thread(target=_serve, args=(serving, store, door, living, over), daemon=True).start()
    over.wait()


def _serve(
    serving: Callable[[SqliteStore, Connection], None],
    store: SqliteStore,
    door: Connection,
    living: list[Connection],
    over: threading.Event,
) -> None:
    """Serve a door until its end. It is over with the store, with the last door, or where one breaks for another reason
    (memory is short): who waits at it would hear nothing, and so it all ends at once.
    """
    closed = False
    try:
        with suppress(EOFError, OSError):
            serving(store, door)
            closed = True
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    living.remove(door)
    if closed or not living:
        over.set()


def _answer(store: SqliteStore, door: Connection) -> None:
    """Whatever is asked, one call after the other, until the store is closed."""
    name = ""
    while name != "close":
        name, args, kwargs = pickle.loads(door.recv_bytes())
        call = partial(getattr, store, "epoch") if name == "opened" else partial(getattr(store, name), *args, **kwargs)
        _tell(door, *_tried(call))


def _commit(store: SqliteStore, door: Connection) -> None:
    """The commits that wait are one transaction; should it fail, each is tried alone, until one fails: with it goes the
    rest of its chain."""
    broken = -1
    while True:
        waiting = [pickle.loads(door.recv_bytes())[1]]
        while len(waiting) < TOGETHER and door.poll():
            waiting.append(pickle.loads(door.recv_bytes())[1])
        sound = [batch for batch, chain in waiting if chain != broken]
        together = len(sound) > 1 and _tried(partial(store.commit, *sound))[0]
        for batch, chain in waiting:
            done, value = together, cast(Any, None)
            if chain == broken:
                done, value = False, FallenError()
            elif not together:
                done, value = _tried(partial(store.commit, batch))
            if not done:
                broken = chain
            _tell(door, done, value)


def _tried(call: Callable[[], Any]) -> tuple[bool, Any]:
    """Whether it was done, and what it gave or what went wrong."""
    try:
        return True, call()
    except StoreError as error:
        return False, error
    except Exception:  # a bug: it reaches whoever asked, with the place where it is
        return False, RuntimeError(traceback.format_exc())


def _tell(door: Connection, done: bool, value: Any) -> None:
    door.send_bytes(pickle.dumps((done, value), pickle.HIGHEST_PROTOCOL))


def open_store(path: str, checkpoint_pages: int, *, copy: bool) -> SqliteStore:
    """The store in this process; one that is open still may be that of a kairos which was killed just now."""
    until = time.monotonic() + PREDECESSOR
    while True:
        try:
            return SqliteStore(path, checkpoint_pages, copy=copy)
        except StoreError as error:
            if "open already" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _die_with(parent: int) -> None:
    """Have the kernel kill us when our parent has died; where it cannot, the doors' end tells us."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    """What this module does as a process of its own."""
    logs()
    _, parent, path, pages, copy, *numbers = sys.argv
    serve(int(parent), path, int(pages), bool(copy), [Connection(int(number)) for number in numbers])


if __name__ == "__main__":
    main()
