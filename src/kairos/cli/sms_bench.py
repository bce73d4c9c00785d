"""`kairos bench sms`: the server and the synthetic operator, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from kairos.adapters.callers import made
from kairos.bench import sms
from kairos.cli.child import child
from kairos.cli.demo import environment_for, example

SUBSCRIBERS = 3000


def run(rate: float, seconds: float, step_seconds: float) -> dict[str, object]:
    """Measure with the example playbook, on a store in the system's folder for temporary files (TMPDIR)."""
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as folder:
        return asyncio.run(_run(Path(folder), rate, seconds, step_seconds))


async def _run(folder: Path, rate: float, seconds: float, step_seconds: float) -> dict[str, object]:
    settings = example() / "kairos.toml"
    size = ("--subscribers", str(SUBSCRIBERS))
    async with child("synthetic operator", "kairos.simulate.paced", *size, log=folder / "operator.log") as operator:
        key = made()
        environment = environment_for(settings, folder, await operator.line(), key)
        command = ("run", "--settings", str(settings), "--announce")
        log = folder / "kairos.log"
        async with child("server", "kairos.cli", *command, log=log, environment=environment) as server:
            doors = await server.line()
            http = f"http://127.0.0.1:{doors['http_port']}"
            smpp = f"127.0.0.1:{doors['smpp_port']}"
            await operator.tell({"kairos_smpp": smpp, "kairos_http": http, "kairos_key": key})
            await operator.line()

            async def ask(rate: float, seconds: float) -> dict[str, Any]:
                before = cpu_seconds(server.process.pid)
                await operator.tell({"rate": rate, "seconds": seconds})
                step = await operator.line()
                used = cpu_seconds(server.process.pid) - before
                return step | ({"server_cpu_us": round(used / step["sent"] * 1e6)} if used else {})

            return await sms.measure(ask, rate, seconds, step_seconds)


def cpu_seconds(process: int) -> float:
    """What a process has used so far, where the system tells it as Linux does; else 0."""
    try:
        figures = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(figures[11]) + int(figures[12])) / os.sysconf("SC_CLK_TCK")
