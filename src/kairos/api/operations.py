"""What operations does over HTTP: ask how kairos stands, turn switches, try an offer on a test subscriber."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from fastapi import FastAPI, Request
from msgspec import Struct
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kairos.api.events import TooLargeError, body_of
from kairos.api.lock import about, caller_of
from kairos.api.problem import UNREADABLE, problem, unreadable
from kairos.domain.switch import Switch, wrong_turn
from kairos.errors import EventError, KairosError

log = structlog.get_logger("kairos.api")

SHOWN = 100  # changes of switches
BODY_LIMIT = 10_000  # bytes
TRIAL_EXAMPLE = """write it as in {"msisdn": "+12025550123", "offer": "booster"}"""
EXAMPLE = """write it as in {"on": false, "reason": "wrong prices", "who": "ada"}"""
RETRY_AFTER = {"retry-after": "1"}  # seconds


class Operations(Protocol):
    """The running kairos, as operations sees it. All raise StoreError where the store cannot be used."""

    async def status(self) -> Mapping[str, Any]:
        """How everything stands, as plain data; `troubles` says in words what is wrong."""
        ...

    def troubles(self) -> Sequence[str]:
        """What is wrong, in words, the gravest first; quick, and without asking the store."""
        ...

    async def trial(self, msisdn: str, offer: str, past_switches: bool) -> Any:
        """Let a test subscriber have an offer now; the decision, explained. Raises EventError where that is refused."""
        ...

    def wrong_name(self, name: str) -> str:
        """What is wrong with a switch's name, or an empty text."""
        ...

    async def switches(self) -> Sequence[Switch]:
        """Every switch that was ever turned, as it stands."""
        ...

    async def switch_history(self, limit: int) -> Sequence[Switch]:
        """The latest changes, the newest first."""
        ...

    async def turn(self, name: str, on: bool, reason: str, who: str) -> Switch:
        """Turn a switch; it holds when this returns."""
        ...


class Turn(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a PUT."""

    on: bool
    reason: str = ""
    who: str = ""


class Trial(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a trial."""

    msisdn: str
    offer: str
    past_switches: bool = False


def add_operations(app: FastAPI, operations: Operations) -> None:
    """The routes."""

    @app.get("/v1/status", response_model=None)
    async def status() -> Response:
        """How everything stands: what is wrong, binds, queues, lags, the store, switches."""
        return _json(await operations.status())

    @app.post("/v1/trials", response_model=None, openapi_extra=_TURN)
    async def trial(request: Request) -> Response:
        """Let a test subscriber have an offer now; answers with the decision, explained."""
        try:
            wanted = msgspec.json.decode(await body_of(request, BODY_LIMIT), type=Trial)
            about(request, wanted.msisdn, wanted.offer)
            return _json(await operations.trial(wanted.msisdn, wanted.offer, wanted.past_switches))
        except (TooLargeError, ClientDisconnect):
            return problem(413, f"the body is larger than {BODY_LIMIT} bytes, or it did not come whole")
        except UNREADABLE as error:
            return unreadable(error, TRIAL_EXAMPLE)
        except EventError as error:
            return problem(422, str(error), error.field)
        except KairosError as error:
            return _not_now(error)

    _add_switches(app, operations)


def _add_switches(app: FastAPI, operations: Operations) -> None:
    @app.get("/v1/switches", response_model=None)
    async def switches() -> Response:
        """Every switch that was ever turned as it stands (all others are on), and the latest changes, newest first."""
        try:
            now, past = await operations.switches(), await operations.switch_history(SHOWN)
        except KairosError as error:
            return _not_now(error)
        return _json({"switches": [_plain(switch) for switch in now], "history": [_plain(switch) for switch in past]})

    @app.get("/v1/switches/{name}", response_model=None)
    async def switch(name: str) -> Response:
        """How one switch stands."""
        if wrong := operations.wrong_name(name):
            return problem(404, wrong, "name")
        try:
            found = [one for one in await operations.switches() if one.name == name]
        except KairosError as error:
            return _not_now(error)
        return _json(_plain(found[0] if found else Switch(name, True, "", "", 0)))

    @app.put("/v1/switches/{name}", response_model=None, openapi_extra=_TURN)
    async def turn(name: str, request: Request) -> Response:
        """Turn a switch: `on`, for off a `reason`, and `who`. It holds when this is answered."""
        if wrong := operations.wrong_name(name):
            return problem(404, wrong, "name")
        try:
            wanted = msgspec.json.decode(await body_of(request, BODY_LIMIT), type=Turn)
        except (TooLargeError, ClientDisconnect):
            return problem(413, f"the body is larger than {BODY_LIMIT} bytes, or it did not come whole")
        except UNREADABLE as error:
            return unreadable(error, EXAMPLE)
        if wrong := wrong_turn(wanted.on, wanted.reason):
            return problem(400, wrong, "reason")
        client = caller_of(request.state) or (request.client.host if request.client else "http")
        who = f"{wanted.who} via {client}" if wanted.who and caller_of(request.state) else wanted.who or client
        about(request, "", f"{name} {'on' if wanted.on else 'off'}: {wanted.reason.strip()}")
        try:
            turned = await operations.turn(name, wanted.on, wanted.reason.strip(), who)
        except KairosError as error:
            return _not_now(error)
        return _json(_plain(turned))


_TURN = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


def _not_now(error: KairosError) -> Response:
    log.warning("not now", reason=str(error))
    return problem(503, str(error), headers=RETRY_AFTER)


def _plain(switch: Switch) -> dict[str, Any]:
    return msgspec.structs.asdict(switch)


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
