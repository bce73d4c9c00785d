"""`kairos bench memory`: what a subscriber costs on disk and in memory, at several sizes."""

from __future__ import annotations

import multiprocessing
import random
import resource
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

from kairos.adapters.sqlite import SqliteStore
from kairos.bench import bare_store, workload
from kairos.engine.engine import Engine
from kairos.engine.program import compile_program
from kairos.learn import FixedPropensity
from kairos.playbook import read

SIZES = (10_000, 100_000, 1_000_000)
BATCH = 500
SAMPLE = 1000  # states that are measured


def run(sizes: Sequence[int] = SIZES, events: int = 100_000, seed: int = 1) -> dict[str, object]:
    """For each number of subscribers: bytes a subscriber, in the file, in memory and as a state record.

    Each store is as full as it gets (see `bare_store.prepare`) and takes `events` events of the mix of `bench events`,
    in a process of its own. `memory` is what that process grew by, from before it opened the store; `rss` is all of it.
    """
    figures: dict[str, object] = {"events": events, "seed": seed}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
            path = Path(folder) / "kairos.db"
            _prepare(path, size, seed)
            alone = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=alone) as process:
                state, memory, rss = process.submit(_measure, path, size, events, seed).result()
            figures |= {
                f"state_bytes_{size}": round(state),
                f"disk_bytes_a_subscriber_{size}": round(path.stat().st_size / size),
                f"memory_bytes_a_subscriber_{size}": round(memory / size),
                f"rss_mb_{size}": round(rss / 1e6),
            }
    return figures


def _prepare(path: Path, subscribers: int, seed: int) -> None:
    program, chance = compile_program(read(workload.texts(seed))), random.Random(seed)
    bare_store.prepare(path, subscribers, lambda n: workload.state(program, n, chance), workload.msisdn)


def _measure(path: Path, subscribers: int, events: int, seed: int) -> tuple[float, int, int]:
    """Mean bytes of a state record, by how much this process grew, and its size, both in bytes."""
    program = compile_program(read(workload.texts(seed)))
    before = _resident()
    store = SqliteStore(path)
    engine = Engine(store, program, FixedPropensity())
    coming = workload.events(subscribers, events, seed)
    while batch := list(islice(coming, BATCH)):
        work = engine.apply(batch, batch[-1].happened)
        store.commit(work.batch)
        engine.flying.clear()
    after = _resident()
    states = store.load([], random.Random(seed).sample(range(1, subscribers + 1), min(SAMPLE, subscribers))).states
    store.close()
    return sum(map(len, states.values())) / len(states), after - before, after


def _resident() -> int:
    """Bytes of memory that this process holds now; where the system does not tell, the most that it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
