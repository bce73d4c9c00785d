"""`kairos demo`: a synthetic operator in a process of its own, against the real server; a live table while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.live import Live

import kairos
from kairos.cli.live_view import picture
from kairos.errors import Diagnostic, KairosError, SettingsError

ASKED = [
    "events",
    "notifications_submitted",
    "notifications_delivered",
    "offers_delivered",
    "accepted",
    "declined",
    "fulfilled",
    "refused_with_reason",
    "charged_twice",
    "lost",
    "duplicates",
    "p50_ms",
    "p99_ms",
    "by_kind",
]


def register(app: typer.Typer) -> None:
    app.command(help="Watch the main job: a synthetic operator against the real server, on this machine.")(demo)


def demo(
    seconds: Annotated[str, typer.Option("--for", help="How long, such as 20s or 2m; else until Ctrl-C.")] = "60s",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    subscribers: Annotated[int, typer.Option(help="How many synthetic subscribers.")] = 400,
    rate: Annotated[float, typer.Option(help="Chargeable events a second.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 1,
    playbook: Annotated[Path | None, typer.Option(help="A folder with a playbook and kairos.toml.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the store in this folder, for `kairos explain`.")] = None,
) -> None:
    options = [
        "--subscribers",
        str(subscribers),
        "--rate",
        str(rate),
        "--for",
        str(duration(seconds)),
        "--seed",
        str(seed),
    ]
    with tempfile.TemporaryDirectory(prefix="kairos-demo-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        final = asyncio.run(watch(playbook or example(), folder, options, live=not as_json))
        if keep:
            settings = (playbook or example()) / "kairos.toml"
            typer.echo(f"Try: KAIROS_STORE_PATH={folder}/kairos.db kairos explain 1 --settings {settings}")
    if as_json:
        typer.echo(json.dumps({name: final[name] for name in ASKED}))


def duration(text: str) -> float:
    """Seconds of `20s`, `2m` or a plain number.

    >>> duration("2m")
    120.0
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in "sm" else (text, "s")
    try:
        return float(number) * {"s": 1, "m": 60}[unit]
    except ValueError:
        raise KairosError(f"`{text}` is no duration; write it like 20s or 2m") from None


def example() -> Path:
    """The example playbook: in the checkout, or as it came with the package."""
    package = Path(kairos.__file__).parent
    for folder in (package.parents[1] / "examples" / "prepaid", package / "examples" / "prepaid"):
        if (folder / "kairos.toml").exists():
            return folder
    raise SettingsError([Diagnostic("examples/prepaid", 0, "is not here", "name a folder with --playbook")])


async def watch(playbook: Path, folder: Path, options: Sequence[str], *, live: bool) -> dict[str, Any]:
    """Run operator and server; show what the operator counts; give back its last figures."""
    async with AsyncExitStack() as stack:
        operator = await stack.enter_async_context(process("kairos.simulate", *options))
        ports = await line_of(operator)
        environment = environment_for(playbook / "kairos.toml", folder, ports)
        run = ("run", "--settings", str(playbook / "kairos.toml"), "--announce")
        server = await stack.enter_async_context(process("kairos.cli", *run, environment=environment))
        doors = await line_of(server)
        http = f"http://127.0.0.1:{doors['http_port']}"
        assert operator.stdin is not None
        address = {"kairos_smpp": f"127.0.0.1:{doors['smpp_port']}", "kairos_http": http}
        operator.stdin.write(json.dumps(address).encode() + b"\n")
        await operator.stdin.drain()
        return await show(operator, http, live=live)


def environment_for(settings: Path, folder: Path, ports: Mapping[str, Any]) -> dict[str, str]:
    """Where the operator is, a store of its own, free ports, and the (invented) passwords that it knows."""
    accounts = tomllib.loads(settings.read_text(encoding="utf-8")).get("accounts", {})
    passwords = {f"KAIROS_ACCOUNTS_{name.upper()}_PASSWORD": name for name in accounts}
    return passwords | {
        "KAIROS_SMSC_PASSWORD": "kairos",
        "KAIROS_SMSC_PORT": str(ports["smsc_port"]),
        "KAIROS_FULFILMENT_URL": str(ports["ocs_url"]),
        "KAIROS_STORE_PATH": str(folder / "kairos.db"),
        "KAIROS_NOTIFICATIONS_PORT": "0",
        "KAIROS_HTTP_PORT": "0",
    }


@asynccontextmanager
async def process(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process of ours with its input and output as pipes; asked to end at the end, made to after 10 s."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}, limit=1 << 22,
    )  # fmt: skip
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            try:
                await asyncio.wait_for(started.wait(), 10)
            except TimeoutError:
                started.kill()
                await started.wait()


async def line_of(started: asyncio.subprocess.Process) -> dict[str, Any]:
    """The next line of a process, as JSON. Raises KairosError where it ended instead."""
    assert started.stdout is not None
    line = await started.stdout.readline()
    if not line:
        raise KairosError("a process of the demo ended early; what it said is above")
    said: dict[str, Any] = json.loads(line)
    return said


async def show(operator: asyncio.subprocess.Process, http: str, *, live: bool) -> dict[str, Any]:
    """Read the operator's lines until its last; draw each."""
    drawing = Live(refresh_per_second=4) if live else nullcontext()
    async with httpx.AsyncClient(base_url=http, timeout=2.0) as server:
        with drawing as table:
            while True:
                said = await line_of(operator)
                if said["type"] == "error":
                    raise KairosError(said["message"])
                if table:
                    table.update(picture(said, await refusals(server)))
                if said["type"] == "final":
                    return said


async def refusals(server: httpx.AsyncClient) -> dict[str, int]:
    """Why offers were not made, by kairos' own count; empty while it does not answer."""
    try:
        stats: dict[str, Any] = (await server.get("/v1/stats")).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return dict(stats.get("refusals", {}))
