"""A process of ours that speaks in lines of JSON; what it says on standard error is kept in a file."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kairos.errors import KairosError

PATIENCE = 120.0  # seconds of silence; then something hangs
GRACE = 10.0  # seconds to end when asked to
TAIL = 2000  # characters of the log that are shown when it died


class Child:
    """One running process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    async def line(self) -> dict[str, Any]:
        """Its next line. Raises KairosError, with the end of its log, where it ended or hangs instead."""
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
        except TimeoutError:
            raise KairosError(f"the {self.name} said nothing for {PATIENCE:.0f} s\n{self.tail()}") from None
        if not line:
            raise KairosError(f"the {self.name} ended early\n{self.tail()}")
        said: dict[str, Any] = json.loads(line)
        return said

    async def tell(self, said: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(said).encode() + b"\n")
        await self.process.stdin.drain()

    def ask_to_end(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()

    def tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip()


@asynccontextmanager
async def child(
    name: str, module: str, *arguments: str, log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run `python -m module`, out of reach of the terminal's Ctrl-C: asked to end, and then made to.

    Of our environment it gets all but the settings of kairos; those are `environment`.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("KAIROS_")}
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", module, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=inherited | dict(environment or {}),
            limit=1 << 22,
            start_new_session=True,
        )
    one = Child(name, process, log)
    try:
        yield one
    finally:
        one.ask_to_end()
        try:
            await asyncio.wait_for(process.wait(), GRACE)
        except TimeoutError:
            process.kill()
            await process.wait()
