"""A process that commits is killed at random points, many times: what it told us was committed is there, whole."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from kairos.adapters.sqlite import SqliteStore

WRITER = textwrap.dedent(
    """
    import sys
    from kairos.adapters.sqlite import SqliteStore
    from kairos.domain.inputs import Response, Timer
    from kairos.domain.message import Outgoing
    from kairos.ports import Batch, OutgoingUpdate

    store = SqliteStore(sys.argv[1], checkpoint_pages=64)
    turn = store.next_ids().decision
    while True:
        mark = b"%d" % turn
        store.commit(Batch(
            states={s: mark * 300 for s in (1, 2, 500, 1000 + turn)},
            identities=[("msisdn", "15550100", 1000 + turn, turn)],
            decisions=[(turn, 1, turn, mark)],
            outgoing=[Outgoing(turn, str(turn), 1, "sms", mark, turn)],
            updates=[OutgoingUpdate(turn - 1, "sent", turn, 1, str(turn - 1))],
            timers=[Timer(turn, turn, 1, str(turn))],
            timers_done=[turn - 1],
            responses=[Response(1, turn, str(turn), "accepted", "", turn)],
            positions=[("in", 0, turn)],
        ))
        print(turn, flush=True)
        turn += 1
    """
)


def killed_after(seconds: float, code: str, *arguments: object) -> int:
    """Let a writer run, kill it, and give the last batch that it said was committed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    first = writer.stdout.readline()
    time.sleep(seconds)
    writer.kill()
    said = first + writer.stdout.read()
    writer.stdout.close()
    writer.wait()
    return max(int(line) for line in said.splitlines(keepends=True) if line.endswith("\n"))


def check_whole(path: Path, acknowledged: int) -> int:
    """Every batch up to the last one is there with all of its rows, and nothing of a later one. Gives the last one."""
    store = SqliteStore(path)
    last = store.next_ids().decision - 1
    assert acknowledged <= last <= acknowledged + 1
    mark = b"%d" % last * 300
    loaded = store.load(["15550100"], [1, 2, 500])
    assert loaded.subscribers == {"15550100": 1000 + last}
    assert loaded.states == dict.fromkeys([1, 2, 500, 1000 + last], mark)
    every = range(1, last + 1)
    assert [store.decision(i) for i in every] == [b"%d" % i for i in every]
    assert [row.id for row in store.outgoing(every)] == list(every)
    assert [row.id for row in store.unsent(0, 10)] == [last]
    assert [timer.id for timer in store.timers_due(2**62, 10)] == [last]
    assert all(len(store.responses(str(i))) == 1 for i in every)
    assert store.next_ids().outgoing == store.next_ids().timer == last + 1
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT position FROM input_position").fetchall() == [(last,)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return last


def test_every_acknowledged_batch_survives_kill_9_whole(tmp_path: Path) -> None:
    chance = random.Random(5)
    path = tmp_path / "kairos.db"
    last = 0
    for _ in range(20):
        acknowledged = killed_after(chance.uniform(0, 0.3), WRITER, path)
        assert acknowledged > last
        last = check_whole(path, acknowledged)
    assert last > 20
