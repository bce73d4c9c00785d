"""For the shop, the call centre, the app and the web: what is best for who asks, their answer, and all about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from fastapi import FastAPI, Request
from msgspec import Meta, Raw, Struct, field
from starlette.responses import Response

from kairos.api.idempotency import PARAMETER, request_id
from kairos.api.json_body import json_of, read_json
from kairos.api.lock import about
from kairos.api.problem import ProblemError, problem
from kairos.domain.inbound import MOST, Verb
from kairos.errors import EventError

BODY_LIMIT = 20_000  # bytes
ASK = (
    """write it as in {"id": "7f3a", "subscriber": "+12025550123", "channel": "care"}; """
    "a channel is small letters, digits and `_`"
)
SAY = (
    """write it as in {"id": "7f3b", "subscriber": "+12025550123", "offer": "5da2-4447", """
    """"answer": "accept", "channel": "care"}; an answer is accept, decline or keep"""
)

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Channel = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for offers. `event` with its `data` says why they came; a repeat has the same `id`."""

    subscriber: Name
    channel: Channel
    id: Id = ""  # else the header names it
    event: Name = "inbound"
    data: Raw = field(default_factory=lambda: Raw(b"{}"))
    at_most: Annotated[int, Meta(ge=1, le=MOST)] = 3


class Spoken(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an answer to an offer. `who` heard it: an agent's name or number, kept as proof."""

    subscriber: Name
    offer: Name
    answer: Verb
    channel: Channel
    id: Id = ""  # else the header names it
    who: Annotated[str, Meta(max_length=100)] = ""


B = TypeVar("B", Asked, Spoken)


class Inbound(Protocol):
    """The running kairos, as who asks sees it. All raise KairosError where that cannot be now."""

    async def decide(
        self, request: str, subscriber: str, channel: str, event: str, data: bytes, at_most: int
    ) -> Mapping[str, Any] | None:
        """What they are told, as plain data; None for somebody who is not known. Raises EventError."""
        ...

    async def respond(
        self, request: str, subscriber: str, offer: str, said: Verb, channel: str, who: str
    ) -> Mapping[str, Any] | str:
        """How the offer stands then, as plain data; in words which of the two is not known. Raises EventError."""
        ...

    async def subscriber(self, name: str) -> Mapping[str, Any] | None:
        """All that is known of somebody, as plain data; None where nobody is. Raises EventError."""
        ...


def _body(kind: type[Struct]) -> dict[str, Any]:
    """What the OpenAPI document says of a body that is read by hand."""
    _, schemas = msgspec.json.schema_components((kind,))
    return {
        "parameters": [PARAMETER],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schemas[kind.__name__]}}},
    }


def add_inbound(app: FastAPI, inbound: Inbound) -> None:
    """The routes."""

    @app.post("/v1/decisions", response_model=None, openapi_extra=_body(Asked))
    async def decisions(request: Request) -> Response:
        """What is open for a subscriber who asks, unchanged; else what is best for them now, the best first."""
        asked = await _read(request, Asked, ASK)
        about(request, asked.subscriber, asked.channel)
        try:
            found = await inbound.decide(
                asked.id, asked.subscriber, asked.channel, asked.event, bytes(asked.data), asked.at_most
            )
        except EventError as error:
            return problem(422, str(error), error.field)
        return json_of(found) if found else _nobody(asked.subscriber)

    @app.post("/v1/responses", response_model=None, openapi_extra=_body(Spoken))
    async def responses(request: Request) -> Response:
        """Take an open offer, decline it or keep it; answered after the commit, in words for an agent."""
        said = await _read(request, Spoken, SAY)
        about(request, said.subscriber, f"{said.answer} {said.offer}")
        try:
            found = await inbound.respond(said.id, said.subscriber, said.offer, said.answer, said.channel, said.who)
        except EventError as error:
            return problem(422, str(error), error.field)
        return problem(404, found) if isinstance(found, str) else json_of(found)

    @app.get("/v1/subscribers/{name}", response_model=None)
    async def subscriber(name: str) -> Response:
        """All that is known of a subscriber, for one screen."""
        try:
            found = await inbound.subscriber(name)
        except EventError as error:
            return problem(400, str(error), "name")
        return json_of(found) if found else _nobody(name)


async def _read(request: Request, kind: type[B], example: str) -> B:
    read = await read_json(request, kind, BODY_LIMIT, example)
    try:
        known_by = request_id(request, read.id)
    except ValueError as error:
        raise ProblemError(400, str(error), "id") from None
    return read if known_by == read.id else msgspec.structs.replace(read, id=known_by)


def _nobody(name: str) -> Response:
    return problem(404, f"nobody is known by `{name}`", "subscriber")
