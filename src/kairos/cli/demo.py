"""`kairos demo`: a synthetic operator in a process of its own, against the real server; a live table while it runs."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import secrets
import shlex
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import kairos
from kairos.errors import Diagnostic, KairosError, SettingsError

if TYPE_CHECKING:
    import httpx

    from kairos.cli.child import Child
    from kairos.cli.live_view import Draw

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
    "gateway",
    "by_channel",
]
STORE = "kairos.db"
OPERATORS_ACCOUNTS = ("ocs", "info")
OPERATORS_SOURCES = ("dpi", "vas")  # in the JSON of the presets of these names
PARTNER = "games"  # the content partner's name, where the settings know it as a sender
OTHERS = 1.0  # messages a second of a content partner, where the settings know it


def register(app: typer.Typer) -> None:
    app.command(help="Watch the main job on this machine, live.")(demo)


def demo(
    seconds: Annotated[str, typer.Option("--for", help="How long, such as 20s or 2m; 0: until Ctrl-C.")] = "60s",
    as_json: Annotated[bool, typer.Option("--json", help="No table; one JSON object as the last line.")] = False,
    subscribers: Annotated[int, typer.Option(min=1, help="How many synthetic subscribers.")] = 400,
    rate: Annotated[float, typer.Option(min=0.1, help="Chargeable events a second.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 1,
    playbook: Annotated[Path | None, typer.Option(help="A copy of examples/prepaid that you changed.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the store in this new folder, for `kairos explain`.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Save the last frame as a picture, an SVG file.")] = None,
) -> None:
    options = {"--subscribers": subscribers, "--rate": rate, "--for": duration(seconds), "--seed": seed}
    options["--others"] = OTHERS
    arguments = [str(word) for pair in options.items() for word in pair]
    settings, sources = sound(playbook or example())
    arguments += ["--sources", ",".join(sources)]
    with tempfile.TemporaryDirectory(prefix="kairos-demo-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STORE).exists():
            raise KairosError(f"`{folder}` has a store already; name a new folder with --keep")
        try:
            final = asyncio.run(watch(settings, folder, arguments, live=not as_json, svg=svg))
        except asyncio.CancelledError:
            raise typer.Exit(130) from None
    for complaint in final["complaints"]:
        typer.echo(f"an event was refused: {complaint}", err=True)
    if keep:
        someone = f"+{final['recent'][-1][0]}" if final["recent"] else "1"
        typer.echo(f"Why? kairos explain {someone} --store {shlex.quote(str(folder / STORE))}", err=as_json)
    if as_json:
        typer.echo(json.dumps({name: final[name] for name in ASKED}))


def duration(text: str) -> float:
    """Seconds of `20s`, `2m` or a plain number.

    >>> duration("2m")
    120.0
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in ("s", "m") else (text, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60}[unit]
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise KairosError(f"`{text}` is no duration; write it like 20s or 2m")
    return seconds


def example() -> Path:
    """The example playbook: in the checkout, or as it came with the package."""
    package = Path(kairos.__file__).parent
    for folder in (package.parents[1] / "examples" / "prepaid", package / "examples" / "prepaid"):
        if (folder / "kairos.toml").exists():
            return folder
    raise SettingsError([Diagnostic("examples/prepaid", 0, "is not here", "name a folder with --playbook")])


def sound(playbook: Path) -> tuple[Path, list[str]]:
    """The settings in a playbook's folder, when both can be used, and which of the operator's other systems they know.

    Raises SettingsError, PlaybookError.
    """
    from kairos.cli.playbook import read
    from kairos.settings import load_settings

    settings = playbook / "kairos.toml"
    if not settings.exists():
        raise SettingsError([Diagnostic(str(settings), 0, "is not there", "the demo needs one beside the playbook")])
    chosen = load_settings(settings, {})
    if missing := [name for name in OPERATORS_ACCOUNTS if name not in chosen.accounts]:
        hint = " and ".join(f"[accounts.{name}]" for name in missing)
        raise SettingsError([Diagnostic(str(settings), 0, "the synthetic operator could not bind", f"add {hint}")])
    read(Path(chosen.playbook))
    return settings, [name for name in OPERATORS_SOURCES if name in chosen.sources]


async def watch(
    settings: Path, folder: Path, options: Sequence[str], *, live: bool, svg: Path | None = None
) -> dict[str, Any]:
    """Run operator and server; show what the operator counts; give back its last figures.

    Ctrl-C asks the operator to come to its end, so that its last figures come too; a second ends all at once.
    """
    from kairos.adapters.callers import made
    from kairos.cli.child import child
    from kairos.cli.live_view import drawing

    run = ("run", "--settings", str(settings), "--announce")
    stopper = _Stopper()
    async with AsyncExitStack() as stack:
        draw = stack.enter_context(drawing(quiet=not live, svg=svg))
        operator = await stack.enter_async_context(
            child("synthetic operator", "kairos.simulate", *options, log=folder / "operator.log")
        )
        key, partner = made(), made()
        environment = environment_for(settings, folder, await operator.line(), key, partner)
        server = await stack.enter_async_context(
            child("server", "kairos.cli", *run, log=folder / "kairos.log", environment=environment)
        )
        doors = await server.line()
        http = f"http://127.0.0.1:{doors['http_port']}"
        stopper.operator = operator
        address = {"kairos_smpp": f"127.0.0.1:{doors['smpp_port']}", "kairos_http": http}
        await operator.tell(address | {"kairos_key": key, "partner_key": partner})
        try:
            return await _follow(operator, server, http, key, draw)
        except KairosError:
            if stopper.operator:
                raise
            raise asyncio.CancelledError from None  # asked to end before there was a figure


class _Stopper:
    """What a signal does: the first ends the operator in order, once it is at work; the next, this command."""

    def __init__(self) -> None:
        self.operator: Child | None = None
        self.task = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self)

    def __call__(self) -> None:
        if self.operator:
            self.operator.ask_to_end()
            self.operator = None
        elif self.task:
            self.task.cancel()


def environment_for(
    settings: Path, folder: Path, ports: Mapping[str, Any], key: str, partner: str = ""
) -> dict[str, str]:
    """Where the operator is, a store of its own, free ports, and the (invented) passwords and the keys that it knows:
    its own, and that of its content partner."""
    from kairos.settings import read_settings, variable

    text = settings.read_text(encoding="utf-8")
    chosen = read_settings(text, {}, str(settings))
    secrets_of = {variable(("accounts", name, "password")): name for name in chosen.accounts}
    if partner and PARTNER in chosen.senders:
        secrets_of |= {variable(("clients", PARTNER, "roles")): "send", variable(("clients", PARTNER, "key")): partner}
    return secrets_of | {
        "KAIROS_SMSC_HOST": "127.0.0.1",
        "KAIROS_SMSC_PORT": str(ports["smsc_port"]),
        "KAIROS_SMSC_PASSWORD": "kairos",
        "KAIROS_USSD_HOST": "127.0.0.1",
        "KAIROS_USSD_PORT": str(ports["ussd_port"]),
        "KAIROS_USSD_PASSWORD": "kairos",
        "KAIROS_USSD_PROFILE": "6d",
        "KAIROS_USSD_PUSH": "smpp",
        "KAIROS_FULFILMENT_URL": str(ports["ocs_url"]),
        "KAIROS_STORE_PATH": str((folder / STORE).absolute()),
        "KAIROS_NOTIFICATIONS_HOST": "127.0.0.1",
        "KAIROS_NOTIFICATIONS_PORT": "0",
        "KAIROS_HTTP_HOST": "127.0.0.1",
        "KAIROS_HTTP_PORT": "0",
        "KAIROS_CLIENTS_SYNTHETIC_ROLES": "ingest operator care",
        "KAIROS_CLIENTS_SYNTHETIC_KEY": key,
        "KAIROS_CHANNELS_IVR_URL": str(ports["calls_url"]),
        "KAIROS_CHANNELS_IVR_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "KAIROS_CHANNELS_IVR_KEY": secrets.token_hex(16),
        "KAIROS_USSD_TTL_S": "5",  # so long after its start kairos begins no dialogue: somebody may be in one
        "KAIROS_PAGE_URL": "https://offers.example",  # which the operator's network leads to the port that is chosen
        "KAIROS_PAGE_SECRET": secrets.token_hex(32),
        "KAIROS_PAGE_NUMBER_HEADER": "x-msisdn",
    }


async def _follow(operator: Child, server: Child, http: str, key: str, draw: Draw) -> dict[str, Any]:
    """Draw each of the operator's lines, until its last. Raises KairosError where either process fails."""
    import httpx

    shown = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=http, timeout=2.0, trust_env=False, headers=shown) as client:
        while True:
            said = await operator.line()
            if said["type"] == "error":
                raise KairosError(f"{said['message']}\n{server.tail()}")
            if server.process.returncode is not None:
                raise KairosError(f"the server ended early\n{server.tail()}")
            draw(said, await refusals(client))
            if said["type"] == "final":
                return said


async def refusals(server: httpx.AsyncClient) -> dict[str, int]:
    """Why offers were not made, by kairos' own count; empty while it does not answer."""
    import httpx

    try:
        stats: dict[str, Any] = (await server.get("/v1/stats")).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return dict(stats.get("refusals", {}))
