"""What operations does over HTTP: ask how kairos stands, turn switches, try an offer on a test subscriber."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from fastapi import FastAPI, Request
from msgspec import Struct
from starlette.responses import Response

from kairos.api.json_body import json_of, read_json
from kairos.api.lock import about, caller_of
from kairos.api.problem import problem
from kairos.domain.switch import Switch, wrong_turn
from kairos.errors import EventError

SHOWN = 100  # changes of switches
BODY_LIMIT = 10_000  # bytes
TRIAL_EXAMPLE = """write it as in {"msisdn": "+12025550123", "offer": "booster"}"""
EXAMPLE = """write it as in {"on": false, "reason": "wrong prices", "who": "ada"}"""


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
        return json_of(await operations.status())

    @app.post("/v1/trials", response_model=None)
    async def trial(request: Request) -> Response:
        """Let a test subscriber have an offer now; answers with the decision, explained."""
        wanted = await read_json(request, Trial, BODY_LIMIT, TRIAL_EXAMPLE)
        about(request, wanted.msisdn, wanted.offer)
        try:
            return json_of(await operations.trial(wanted.msisdn, wanted.offer, wanted.past_switches))
        except EventError as error:
            return problem(422, str(error), error.field)

    _add_switches(app, operations)


def _add_switches(app: FastAPI, operations: Operations) -> None:
    @app.get("/v1/switches", response_model=None)
    async def switches() -> Response:
        """Every switch that was ever turned as it stands (all others are on), and the latest changes, newest first."""
        now, past = await operations.switches(), await operations.switch_history(SHOWN)
        return json_of({"switches": [_plain(switch) for switch in now], "history": [_plain(switch) for switch in past]})

    @app.get("/v1/switches/{name}", response_model=None)
    async def switch(name: str) -> Response:
        """How one switch stands."""
        if wrong := operations.wrong_name(name):
            return problem(404, wrong, "name")
        found = [one for one in await operations.switches() if one.name == name]
        return json_of(_plain(found[0] if found else Switch(name, True, "", "", 0)))

    @app.put("/v1/switches/{name}", response_model=None)
    async def turn(name: str, request: Request) -> Response:
        """Turn a switch: `on`, for off a `reason`, and `who`. It holds when this is answered."""
        if wrong := operations.wrong_name(name):
            return problem(404, wrong, "name")
        wanted = await read_json(request, Turn, BODY_LIMIT, EXAMPLE)
        if wrong := wrong_turn(wanted.on, wanted.reason):
            return problem(400, wrong, "reason")
        client = caller_of(request.state) or (request.client.host if request.client else "http")
        who = f"{wanted.who} via {client}" if wanted.who and caller_of(request.state) else wanted.who or client
        about(request, "", f"{name} {'on' if wanted.on else 'off'}: {wanted.reason.strip()}")
        return json_of(_plain(await operations.turn(name, wanted.on, wanted.reason.strip(), who)))


def _plain(switch: Switch) -> dict[str, Any]:
    return msgspec.structs.asdict(switch)
