"""`kairos bench events`: the whole engine on a durable store, beside a bare loop over the same tables."""

from __future__ import annotations

import asyncio
import random
import resource
import tempfile
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kairos.adapters.sqlite.lessons import SqliteLessons
from kairos.adapters.sqlite.process import SqliteProcess
from kairos.bench import bare_store, workload
from kairos.domain.decision import read_decision
from kairos.domain.event import Event
from kairos.engine.engine import Engine
from kairos.engine.lessons import Lessons
from kairos.engine.loop import Loop, Submission, tune_interpreter
from kairos.engine.program import Program, compile_program
from kairos.learn import FixedPropensity, LearnedPropensity, variants_of
from kairos.playbook import read
from kairos.ports import Aside, Scorer

UNDER_WAY = 4  # batches that the source keeps waiting


def run(
    subscribers: int = 1_000_000, count: int = 400_000, batch: int = 500, checkpoint_pages: int = 4000, seed: int = 1
) -> dict[str, object]:
    """Prepare a store, run the bare loop on it and then the engine, at the same settings; compare.

    The temporary files take about 5 GB in the system's folder for them (TMPDIR).
    """
    program = compile_program(read(workload.texts(seed)))
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as name:
        folder = Path(name)
        prepared = folder / "prepared.db"
        chance = random.Random(seed)
        bare_store.prepare(prepared, subscribers, lambda n: workload.state(program, n, chance), workload.msisdn)
        bare = bare_store.run(prepared, subscribers, count // 4, batch, checkpoint_pages, seed, workload.msisdn)
        engine = measure(program, prepared, subscribers, count, batch, checkpoint_pages, seed, FixedPropensity())
        learned = measure(
            program, prepared, subscribers, count, batch, checkpoint_pages, seed + 1, learner_of(program, prepared)
        )
        fdatasync = bare_store.fdatasync_us(folder)
    return {
        **engine,
        "ratio_to_bare_store": round(engine["events_per_s"] / bare["events_per_s"], 3),
        "learner_on": {
            "events_per_s": learned["events_per_s"],
            "ratio": round(learned["events_per_s"] / engine["events_per_s"], 3),
        },
        "bare_store": bare,
        "subscribers": subscribers,
        "batch": batch,
        "checkpoint_pages": checkpoint_pages,
        "fdatasync_us": fdatasync,
    }


def measure(
    program: Program,
    path: Path,
    subscribers: int,
    count: int,
    batch: int,
    checkpoint_pages: int,
    seed: int,
    scorer: Scorer,
) -> dict[str, float]:
    """Feed the engine as fast as it goes; every event is acknowledged after its commit."""
    store = SqliteProcess(path, checkpoint_pages)
    engine = Engine(store, program, scorer)
    events = list(workload.events(subscribers, count, seed))
    tune_interpreter()
    written = bare_store.written_bytes()
    started, cpu = time.perf_counter(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    first = engine.ids.decision
    feed = asyncio.run(_feed(engine, store.aside, events, batch))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    written = bare_store.written_bytes() - written
    mix = _mix(store, first, count)
    store.close()
    its = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_of_store = its.ru_utime + its.ru_stime - before.ru_utime - before.ru_stime
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, its.ru_maxrss
    return {
        "events_per_s": round(count / seconds),
        "bytes_written_an_event": round(written / count),
        "stall_p99_ms": round(float(np.percentile(feed.waits, 99)) * 1000, 1),
        "stall_max_ms": round(max(feed.waits) * 1000, 1),
        "cpu_us_an_event": round((cpu + cpu_of_store) / count * 1e6, 1),
        "cpu_us_an_event_of_the_store": round(cpu_of_store / count * 1e6, 1),
        "peak_rss_mb": round(sum(memory) / 1024),
        "events": count,
        **mix,
    }


def learner_of(program: Program, path: Path) -> Scorer:
    """A learned propensity after the decisions in a store; what it has learned changes nothing of its cost."""
    lessons = Lessons(program, window=7 * workload.DAY, half_life=60 * workload.DAY)
    with closing(SqliteLessons(path, newest=20_000)) as store:
        while records := store.decisions():
            lessons.decided(records)
    version = lessons.publish(workload.START)
    assert version is not None
    return LearnedPropensity(version, variants_of(program.playbook), channels=program.decide.channels)


@dataclass(slots=True)
class Feed:
    """When each chunk of events was acknowledged, and the longest waits between two of them, in seconds."""

    waits: list[float] = field(default_factory=list)
    now: int = workload.START  # the clock follows the events


async def _feed(engine: Engine, aside: Aside, events: list[Event], batch: int) -> Feed:
    """Keep UNDER_WAY batches in the queue until every event is acknowledged."""
    feed = Feed()
    loop = Loop(engine, lambda: feed.now, lambda _rows: None, aside=aside, batch=batch, queue=2 * UNDER_WAY * batch)
    running = asyncio.create_task(loop.run())
    under_way: deque[Submission] = deque()
    last = time.perf_counter()
    for start in range(0, len(events), batch):
        chunk = events[start : start + batch]
        feed.now = chunk[-1].happened
        under_way.append([loop.post(event) for event in chunk][-1])
        if len(under_way) == UNDER_WAY:
            await under_way.popleft().answer
            now = time.perf_counter()
            feed.waits.append(now - last)
            last = now
    for submission in under_way:
        await submission.answer
    loop.close()
    await running
    return feed


def _mix(store: SqliteProcess, first: int, count: int) -> dict[str, float]:
    """What the events met, from every hundredth decision record."""
    records = [read_decision(blob) for number in range(first, first + count, 100) if (blob := store.decision(number))]
    candidates = [len(record.scores.arm) for record in records]
    return {
        "arbitrated": round(sum(map(bool, candidates)) / len(records), 3),
        "fewest_candidates": min(filter(None, candidates)),
        "said": round(sum(record.chosen is not None for record in records) / len(records), 3),
    }
