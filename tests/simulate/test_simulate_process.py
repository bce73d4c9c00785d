"""python -m kairos.simulate as a process: the handshake, the lines, the end."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Any

import pytest


async def launch(*options: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kairos.simulate", *options, stdin=PIPE, stdout=PIPE
    )


async def line(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        found: dict[str, Any] = json.loads(await process.stdout.readline())
    return found


async def test_it_tells_its_ports_is_told_of_kairos_and_ends_with_its_figures(fake_kairos: Callable[..., Any]) -> None:
    process = await launch("--subscribers", "40", "--rate", "80", "--for", "3", "--json-every", "0.5", "--seed", "2")
    ports = await line(process)
    fake = await fake_kairos(ports["smsc_port"], ports["ocs_url"])
    assert process.stdin is not None
    process.stdin.write(b"not json\n")
    assert (await line(process))["type"] == "error"
    host, port = fake.smpp
    process.stdin.write(json.dumps({"kairos_smpp": f"{host}:{port}", "kairos_http": fake.url}).encode() + b"\n")
    lines = [await line(process)]
    while lines[-1]["type"] != "final":
        lines.append(await line(process))
    assert await process.wait() == 0
    final = lines[-1]
    assert {one["type"] for one in lines[:-1]} == {"stats"}
    assert final["settled"]
    assert final["notifications_submitted"] == final["notifications_delivered"] > 20
    assert final["accepted"] == final["fulfilled"] + final["refused_with_reason"] > 0
    assert (final["lost"], final["duplicates"], final["charged_twice"]) == (0, 0, 0)
    assert final["history"] > 40


@pytest.mark.parametrize("options", [(), ("--kairos-smpp", "127.0.0.1:1", "--kairos-http", "http://127.0.0.1:1")])
async def test_it_ends_when_nobody_comes(options: tuple[str, ...]) -> None:
    process = await launch("--subscribers", "5", "--bind-within", "0.3", *options)
    assert (await line(process))["type"] == "ports"
    assert "not bound within 0.3 s" in (await line(process))["message"]
    assert await process.wait() == 1


async def test_it_ends_with_whoever_started_it() -> None:
    process = await launch("--subscribers", "5")
    assert (await line(process))["type"] == "ports"
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(60):
        assert await process.wait() == 1
