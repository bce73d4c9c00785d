"""The bare store: what the tables alone cost, with nothing decided; and what the disk is worth."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from kairos.adapters.sqlite import SqliteStore
from kairos.domain.message import Outgoing
from kairos.ports import Batch

RECORD, TEXT = 450, 220  # bytes of a decision record and of an outbox payload, as `bench events` writes them
PREPARED_AT_ONCE = 20_000


def prepare(path: Path, subscribers: int, blob: Callable[[int], bytes], msisdn: Callable[[int], str]) -> None:
    """A store with so many subscribers, ids from 1."""
    store = SqliteStore(path, checkpoint_pages=100_000)
    for start in range(1, subscribers + 1, PREPARED_AT_ONCE):
        ids = range(start, min(start + PREPARED_AT_ONCE, subscribers + 1))
        identities = [("msisdn", msisdn(id_), id_, 0) for id_ in ids]
        store.commit(Batch(states={id_: blob(id_) for id_ in ids}, identities=identities))
    store.close()


def run(
    path: Path,
    subscribers: int,
    events: int,
    batch: int,
    checkpoint_pages: int,
    seed: int,
    msisdn: Callable[[int], str],
) -> dict[str, float]:
    """One thread, one transaction after another: read states by number, write them back with a record each, and an
    outbox row with every fourth. Returns `events_per_s` and `bytes_written_an_event`."""
    store = SqliteStore(path, checkpoint_pages)
    chance = random.Random(seed)
    ids = store.next_ids()
    decision, outgoing, hot = ids.decision, ids.outgoing, max(1, subscribers // 100)
    record, text = os.urandom(RECORD), os.urandom(TEXT)
    written, started = written_bytes(), time.perf_counter()
    for _ in range(events // batch):
        wanted = [1 + chance.randrange(hot if chance.random() < 0.1 else subscribers) for _ in range(batch)]
        loaded = store.load([msisdn(id_) for id_ in wanted], [])
        rows = [Outgoing(outgoing + n, f"ocs/{outgoing + n}#sms", 1, "sms", text, 0) for n in range(batch // 4)]
        decisions = [(decision + n, id_, 0, record) for n, id_ in enumerate(wanted)]
        store.commit(
            Batch(states=loaded.states, decisions=decisions, outgoing=rows, positions=[("bench", 0, decision)])
        )
        decision, outgoing = decision + batch, outgoing + batch // 4
    seconds = time.perf_counter() - started
    store.close()
    return {
        "events_per_s": round(events / seconds),
        "bytes_written_an_event": round((written_bytes() - written) / events),
    }


def written_bytes() -> int:
    """What this process has sent to the disk so far (Linux; 0 elsewhere)."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def fdatasync_us(folder: Path, times: int = 200) -> float:
    """The median cost of fdatasync after 4 KB, in microseconds, in that folder."""
    took = []
    with (folder / "fdatasync").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"\0" * 4096)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    return round(sorted(took)[times // 2] * 1e6, 1)
