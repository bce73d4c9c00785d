"""For the call centre: the calls to be made, claimed by agents, and what came of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Query, Request
from msgspec import Meta, Struct
from starlette.responses import Response

from kairos.api.json_body import json_of, read_json
from kairos.api.lock import about
from kairos.api.problem import problem
from kairos.domain.inbound import CallResult
from kairos.errors import EventError

BODY_LIMIT = 10_000  # bytes
NOT_KEPT = {"cache-control": "no-store"}
EXAMPLE = """write it as in {"id": "7f3c", "subscriber": "+12025550123", "result": "accepted", "who": "agent 17"}; a \
result is accepted, declined, keep, stop, not_reached or wrong_person"""


class Brought(Struct, frozen=True, forbid_unknown_fields=True):
    """What an agent brings back. A repeat has the same `id`; `who` called is kept with a yes as its proof."""

    id: Annotated[str, Meta(min_length=1, max_length=200)]
    subscriber: Annotated[str, Meta(min_length=1, max_length=100)]
    result: CallResult
    who: Annotated[str, Meta(max_length=100)] = ""


class Calls(Protocol):
    """The list of a running kairos."""

    def waiting(self) -> int: ...

    async def claim(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The next ones, each for one agent alone until its lease ends."""
        ...

    async def settle(
        self, request: str, offer: str, subscriber: str, result: CallResult, who: str
    ) -> Mapping[str, Any] | str:
        """What became of it, as plain data; in words what is not known. Raises EventError, KairosError."""
        ...


def add_calls(app: FastAPI, calls: Calls) -> None:
    """The routes."""

    @app.get("/v1/calls", response_model=None)
    async def waiting() -> Response:
        """How many calls wait for an agent."""
        return json_of({"waiting": calls.waiting()}, headers=NOT_KEPT)

    @app.post("/v1/calls", response_model=None)
    async def claim(request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 1) -> Response:
        """Claim the next calls, those first that must be made soonest: nobody else gets them."""
        claimed = await calls.claim(limit)
        for one in claimed:
            about(request, one["subscriber"], f"claimed {one['offer']}")
        return json_of({"calls": claimed}, headers=NOT_KEPT)

    @app.post("/v1/calls/{offer}", response_model=None)
    async def settle(offer: str, request: Request) -> Response:
        """What came of a call: accepted, declined, keep, stop, not_reached or wrong_person."""
        brought = await read_json(request, Brought, BODY_LIMIT, EXAMPLE)
        about(request, brought.subscriber, f"{brought.result} {offer}")
        try:
            found = await calls.settle(brought.id, offer, brought.subscriber, brought.result, brought.who)
        except EventError as error:
            return problem(422, str(error), error.field)
        return problem(404, found) if isinstance(found, str) else json_of(found, headers=NOT_KEPT)
