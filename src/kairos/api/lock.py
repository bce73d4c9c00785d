"""The lock of the HTTP door: who calls, whether they may, how often, and what is kept of it; one place for every route.

It goes by the table in api/roles.py, and by the router's own patterns in the router's own order, so that both always
mean the same route. It is plain ASGI, and costs a request some microseconds (docs/security.md).
"""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, NamedTuple, Protocol

import structlog
from fastapi import FastAPI
from starlette.datastructures import State
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kairos.api.problem import refusal
from kairos.api.roles import OPEN, Gate, Kept, Row, gates
from kairos.domain.caller import ADMIN, ANYBODY, NOBODY, Caller
from kairos.smpp.bucket import Bucket

log = structlog.get_logger("kairos.lock")

LONGEST: Final = 8192  # bytes of a credential
HEADERS: Final = 100  # of a request
HEADERS_LIMIT: Final = 32_768  # bytes of all of them
BUCKETS: Final = 10_000  # callers whose rate is remembered
TELL_AGAIN: Final = 1.0  # seconds between two log lines about callers who are not known

ELSEWHERE: Final = Gate("", "", Row(OPEN), frozenset({"nobody has it"}))  # the router has no such route, and says so
PAGE_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
SHOWN: Final = (  # what browsers are told where the route says nothing else
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", PAGE_POLICY),
)


class Callers(Protocol):
    """Who there is."""

    async def who(self, credential: str) -> Caller | None:
        """The caller who shows this key or token; None for every other."""
        ...


class Trail(Protocol):
    """What is kept of calls. Neither blocks; `first` returns when the line is on the disk, or cannot be had there."""

    def counted(self, who: Caller, did: str, status: int) -> None: ...

    def line(self, who: Caller, did: str, about: str, status: int, address: str, detail: str) -> None: ...

    async def first(self, who: Caller, did: str, about: str, status: int, address: str, detail: str) -> None: ...


def about(request: Request, subscriber: str, detail: str = "") -> None:
    """Whom a call is about, and what else the audit trail should say, where the body says it and not the path; said of
    several, each is a line."""
    request.state.about = [*getattr(request.state, "about", ()), (subscriber, detail)]


def caller_of(state: State) -> str:
    """Who calls, as a record of theirs may say it: the client, and whom its token was issued for."""
    client, subject = getattr(state, "client", ""), getattr(state, "subject", "")
    return f"{client} ({subject})" if client and subject else client


def client_of(request: Request) -> str:
    """The client that calls, whoever its token was issued for; empty where the door has no lock."""
    return str(getattr(request.state, "client", ""))


def may(request: Request, role: str) -> bool:
    """Whether the caller has a role; where no lock is, everybody has all."""
    roles = getattr(request.state, "roles", ANYBODY.roles)
    return role in roles or ADMIN in roles


class Lock:
    """Stands before the application. Without `callers` everybody may do everything, from this machine alone.

    `insecure`: from other machines, too. `scope["state"]` gets `client`, `subject` and `roles`.
    """

    def __init__(
        self,
        app: FastAPI,
        callers: Callers | None,
        trail: Trail,
        *,
        insecure: bool = False,
        open_metrics: bool = False,
        body_limit: int = 1_048_576,
        tls: bool = False,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises LookupError for a route that the table of roles does not have."""
        self._app: ASGIApp = app
        self._callers, self._trail, self._insecure, self._tick = callers, trail, insecure, tick
        self._limit = body_limit
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._told, self._untold = -TELL_AGAIN, 0
        self._shown = (*SHOWN, (b"strict-transport-security", b"max-age=31536000")) if tls else SHOWN
        self._routes = gates(app.routes)
        if open_metrics:
            self._routes = [(route, {m: _opened(gate) for m, gate in of.items()}) for route, of in self._routes]
        self._plain: dict[tuple[str, str], Gate] = {}  # paths without parameters, looked up at once
        for route, of_methods in self._routes:
            for method in of_methods if not route.param_convertors else ():
                self._plain[method, route.path] = self._match(method, route.path)

    # -- the way of a request ------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        gate = self._plain.get((scope["method"], scope["path"])) or self._match(scope["method"], scope["path"])
        state = scope["state"] = scope.get("state", {})
        state["client"], state["subject"], state["roles"] = "", "", NOBODY.roles
        shown, refused = self._look(scope["headers"])
        caller, limit = NOBODY, ""
        if refused is None:
            caller, refused = await self._admitted(gate, shown)
        state["client"], state["subject"], state["roles"] = caller.name, caller.subject, caller.roles
        if refused is None and caller.rate:
            limit, refused = self._paced(caller)
        if refused is not None:
            self._note_refusal(scope, gate, caller, refused.status)
            response = refusal(scope["path"], refused.status, refused.why, headers=refused.headers)
            await response(scope, receive, self._speaker(send, limit))
            return
        if gate.row.kept:
            await self._kept(gate, caller, scope, self._bounded(receive, shown), self._speaker(send, limit))
        else:
            await self._app(scope, self._bounded(receive, shown), self._speaker(send, limit))

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """There are no routes for websockets; the application's beginning and end are not locked."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)

    def _match(self, method: str, path: str) -> Gate:
        """The gate of the route that the router will choose."""
        for route, of_methods in self._routes:
            if method in of_methods and route.path_regex.match(path):
                return of_methods[method]
        return ELSEWHERE

    def _look(self, headers: list[tuple[bytes, bytes]]) -> tuple[_Shown, _Refused | None]:
        """What the headers show, and what is wrong with them."""
        authorization = key = host = origin = length = b""
        size = credentials = 0
        chunked = False
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"authorization":
                authorization, credentials = value, credentials + 1
            elif name == b"x-api-key":
                key, credentials = value, credentials + 1
            elif name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        shown = _Shown(authorization, key, host, origin, chunked, credentials)
        if size > HEADERS_LIMIT or len(headers) > HEADERS:
            wrong = f"more than {HEADERS} headers, or more than {HEADERS_LIMIT} bytes of them"
            return shown, _Refused(431, wrong)
        if length and (not length.isdigit() or len(length) > 18 or int(length) > self._limit):
            wrong = f"the body is larger than {self._limit} bytes"
            return shown, _Refused(413, wrong)
        return shown, None

    async def _admitted(self, gate: Gate, shown: _Shown) -> tuple[Caller, _Refused | None]:
        if self._callers is None:
            return ANYBODY, self._strange(shown) if gate.roles and not self._insecure else None
        caller = NOBODY
        if shown.credentials:
            credential = shown.credential() if shown.credentials == 1 else ""
            caller = (credential and await self._callers.who(credential)) or NOBODY
        if not gate.roles or caller.roles & gate.roles:
            return caller, None
        if caller is NOBODY:
            return caller, _unknown(bool(shown.credentials))
        return caller, None if gate is ELSEWHERE else _forbidden(gate)

    @staticmethod
    def _strange(shown: _Shown) -> _Refused | None:
        """Without a lock, a browser on this machine is what others could reach the door through: a page of theirs
        that sends requests here, or has a name of theirs lead here (DNS rebinding)."""
        host, origin = shown.host.decode("latin-1"), shown.origin.decode("latin-1")
        if (not host or _is_address(host)) and (not origin or origin.partition("://")[2] == host):
            return None
        return _Refused(403, "this door has no lock, so it answers under its address alone, and no other site's page")

    def _paced(self, caller: Caller) -> tuple[str, _Refused | None]:
        """What is left of a caller's rate, and a refusal where nothing is."""
        who, rate = (caller.name, caller.subject), caller.rate
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = Bucket(rate, max(1.0, rate), self._tick())
            if len(self._buckets) > BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(who)
        wait = bucket.take(self._tick())
        left = f'"client";r={int(bucket.left)};t={math.ceil((bucket.burst - bucket.left) / rate)}'
        if not wait:
            return left, None
        seconds = max(1, math.ceil(wait))
        wrong = f"more than {rate:g} requests a second; go on in {seconds} s"
        policy = f'"client";q={int(bucket.burst)};w={math.ceil(bucket.burst / rate)}'
        return left, _Refused(429, wrong, {"retry-after": str(seconds), "ratelimit-policy": policy})

    # -- what goes back, and what is kept ------------------------------------------------------------------------------

    def _bounded(self, receive: Receive, shown: _Shown) -> Receive:
        """The body, up to the limit: one that announces its length was looked at, and the server holds it to that.

        What goes beyond it is the last that a route sees, so that it can say that the body is too large.
        """
        if not shown.chunked:
            return receive
        left = self._limit

        async def bounded() -> Message:
            nonlocal left
            if left < 0:
                return {"type": "http.disconnect"}
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {**message, "more_body": True}

        return bounded

    def _speaker(self, send: Send, limit: str) -> Send:
        shown = self._shown

        async def speak(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = list(message.get("headers", ()))
                names = {name for name, _ in headers}
                headers += [pair for pair in shown if pair[0] not in names]
                if limit:
                    headers.append((b"ratelimit", limit.encode()))
            await send(message)

        return speak

    async def _kept(self, gate: Gate, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on, and keep what came of it; for what must be kept first, before the answer."""
        status = 0
        kept: Kept = gate.row.kept

        async def speak(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if kept == "first":
                    for told in self._told_of(gate, caller, scope, status):
                        await self._trail.first(*told)
            await send(message)

        try:
            await self._app(scope, receive, speak)
        finally:
            if kept == "counted":
                self._trail.counted(caller, gate.method + " " + gate.template, status)
            elif kept == "line" or not status:  # who went away before the answer did something all the same
                self._tell(gate, caller, scope, status)

    def _tell(self, gate: Gate, caller: Caller, scope: Scope, status: int) -> None:
        for told in self._told_of(gate, caller, scope, status):
            self._trail.line(*told)

    def _told_of(
        self, gate: Gate, caller: Caller, scope: Scope, status: int
    ) -> list[tuple[Caller, str, str, int, str, str]]:
        """The lines of a call: one, or one for each whom it was about."""
        in_path = str(scope.get("path_params", {}).get(gate.row.about, ""))
        address = scope["client"][0] if scope.get("client") else ""
        did, said = f"{gate.method} {gate.template}", scope["state"].get("about") or [("", "")]
        return [(caller, did, whom or in_path, status, address, detail) for whom, detail in said]

    def _note_refusal(self, scope: Scope, gate: Gate, caller: Caller, status: int) -> None:
        """A known caller's is kept. Of strangers the log tells, once a second at most: they must not fill the disk."""
        if caller.name:
            if status == 403:
                self._tell(gate, caller, scope, status)
            else:
                self._trail.counted(caller, f"{gate.method} {gate.template}".strip() or "elsewhere", status)
            return
        self._untold += 1
        if self._tick() - self._told >= TELL_AGAIN:
            self._told, times, self._untold = self._tick(), self._untold, 0
            address = scope["client"][0] if scope.get("client") else ""
            log.warning("refused at the HTTP door", status=status, address=address, times=times)


class _Refused(NamedTuple):
    """Why a request goes no further."""

    status: int
    why: str
    headers: dict[str, str] | None = None


class _Shown(NamedTuple):
    """What a request's headers show."""

    authorization: bytes
    key: bytes
    host: bytes
    origin: bytes
    chunked: bool
    credentials: int

    def credential(self) -> str:
        """The key or token in it; empty where there is none that can be read."""
        if self.key:
            return self.key.decode("latin-1") if len(self.key) <= LONGEST else ""
        scheme, _, value = self.authorization.partition(b" ")
        value = value.strip()
        if len(value) > LONGEST:
            return ""
        if scheme.lower() == b"bearer":
            return value.decode("latin-1")
        if scheme.lower() != b"basic":
            return ""
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2].decode("latin-1")
        except binascii.Error:
            return ""


def _opened(gate: Gate) -> Gate:
    return gate._replace(roles=frozenset()) if gate.template == "/metrics" else gate


def _is_address(host: str) -> bool:
    """Whether a Host header names an address, and no name that somebody could lead elsewhere.

    >>> _is_address("127.0.0.1:8080"), _is_address("[::1]:80"), _is_address("localhost"), _is_address("evil.example:80")
    (True, True, True, False)
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _unknown(tried: bool) -> _Refused:
    """Whatever was wrong with it, the answer is the same (RFC 6750, 3.1)."""
    challenge = 'Bearer realm="kairos"' + (', error="invalid_token"' if tried else "")
    return _Refused(401, "a key or token that is good here and now is needed", {"www-authenticate": challenge})


def _forbidden(gate: Gate) -> _Refused:
    roles = gate.row.roles.split()
    challenge = f'Bearer realm="kairos", error="insufficient_scope", scope="{" ".join(roles)}"'
    needed = " or ".join(f"`{role}`" for role in roles)
    return _Refused(403, f"this needs the role {needed}", {"www-authenticate": challenge})
