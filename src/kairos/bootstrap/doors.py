"""The doors: where they listen, with what certificates, and who may come in."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from ssl import SSLContext

import structlog
import uvicorn
from starlette.types import ASGIApp

from kairos.adapters import oidc, tls
from kairos.adapters.callers import Callers, hashed
from kairos.api.connection import connections
from kairos.domain.caller import Caller
from kairos.errors import Diagnostic, SettingsError
from kairos.settings import Http, Notifications, Settings, is_loopback

log = structlog.get_logger("kairos")


@contextmanager
def listening(section: str, host: str, port: int) -> Iterator[None]:
    """Turns an address that cannot be had into a SettingsError."""
    try:
        yield
    except OSError as error:
        known = error.errno or 0
        reason = os.strerror(known) if known > 0 else str(error.strerror).partition(" (")[0]
        hint = f"is another kairos running? else set `host` and `port` of [{section}]"
        raise SettingsError([Diagnostic("", 0, f"cannot listen on {host}:{port}: {reason.lower()}", hint)]) from None


def door_tls(section: str, door: Notifications | Http) -> SSLContext | None:
    """TLS for a door, if the settings ask for it. Raises SettingsError."""
    files = {"cert_file": door.cert_file, "key_file": door.key_file, "client_ca_file": door.client_ca_file}
    need_tls(section, door.tls, files)
    if not door.tls and not is_loopback(door.host):
        log.warning(
            "what is said at this door, keys and passwords too, can be read on its way", door=section, tls=False
        )
    return tls.for_door(section, **files) if door.tls else None


def need_tls(section: str, on: bool, keys: Mapping[str, str]) -> None:
    """Who names certificates means TLS: going without would be silent."""
    for key in (key for key, value in keys.items() if value and not on):
        what = f"`{section}.{key}` is set, but `{section}.tls` is not true"
        raise SettingsError([Diagnostic("", 0, what, f"set `tls = true` in [{section}]")])


def callers_of(settings: Settings) -> Callers | None:
    """Who may call at the HTTP door; None where the settings name nobody. Raises SettingsError."""
    keys: dict[str, Caller] = {}
    for name, client in settings.clients.items():
        caller = Caller(name, roles=frozenset(client.roles.split()), rate=client.rate)
        for digest in [*client.key_sha256.split(), *([hashed(client.key)] if client.key else [])]:
            if keys.setdefault(digest, caller) is not caller:
                what = f"clients `{keys[digest].name}` and `{name}` have the same key"
                raise SettingsError([Diagnostic("", 0, what, f"make another with `kairos key {name}`")])
    one, tokens = settings.oidc, None
    if not keys and not one.issuer and not is_loopback(settings.http.host):
        log.warning("the HTTP door has no lock, and other machines reach it", host=settings.http.host)
    if one.issuer:
        tokens = oidc.Tokens(
            one.issuer,
            one.audience,
            one.algorithms.split(),
            oidc.in_file(Path(one.jwks_file)) if one.jwks_file else oidc.published(one.issuer),
            leeway=one.leeway_s,
            roles_claim=one.roles_claim,
            roles_prefix=one.roles_prefix,
            once=one.once,
            rate=one.rate,
        )
    return Callers(keys, tokens, time.time) if keys or tokens else None


def http_socket(http: Http) -> socket.socket:
    """Where the HTTP door listens. Raises SettingsError."""
    with listening("http", http.host, http.port):
        family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
        door = socket.create_server((http.host, http.port), family=family, backlog=2048)
    # asyncio (uvloop aside) does it only for sockets that name their protocol; else an answer's end waits 40 ms
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return door


def http_server(app: ASGIApp, http: Http, context: SSLContext | None) -> uvicorn.Server:
    """What serves the HTTP door; signals and the log are kairos's own."""
    config = uvicorn.Config(
        app,
        http=connections(http.request_within_s, http.connections),
        ws="none",
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=http.idle_s,
    )
    config.load()
    config.ssl = context
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]  # signals are ours
    return server
