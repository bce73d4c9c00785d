"""POST /v1/sources/NAME: what another system posts in JSON of its own, answered so that it repeats what should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog
from fastapi import FastAPI, Request
from msgspec import UNSET
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kairos.api.body import TooLargeError, body_of
from kairos.api.events import REFUSED, Result, Results
from kairos.api.ingress import Answered
from kairos.api.json_body import json_of
from kairos.api.lock import client_of
from kairos.api.problem import RETRY_AFTER, problem, problem_fields
from kairos.domain.event import Event
from kairos.domain.inputs import Change
from kairos.errors import EventError, KairosError
from kairos.ingest import Mapped, Passed, TooLongError, Unreadable

log = structlog.get_logger("kairos.api")

BODY_LIMIT = 1_048_576  # bytes
GOOD = ("applied", "duplicate", "ignored")
Outcome = Mapped | Unreadable | Passed

_BODY = {
    "requestBody": {
        "required": True,
        "content": {name: {"schema": {}} for name in ("application/json", "application/x-ndjson")},
    }
}


class Sources(Protocol):
    """The systems that post JSON of their own, as the door sees them."""

    def known(self, source: str) -> bool: ...

    def opens(self, source: str, secret: str, client: str) -> bool:
        """Whether who comes with this secret in the path (else empty), as that client (else empty), may post."""
        ...

    def refused(self, source: str) -> int:
        """The status that tells this source not to repeat what can never be read."""
        ...

    async def read(self, source: str, media: str, body: bytes) -> Sequence[tuple[int, Outcome]]:
        """What becomes of each payload. Raises EventError for the whole of it, TooLongError where that takes long."""
        ...

    async def submit(self, events: Sequence[Event | Change]) -> Sequence[Answered]:
        """As `Ingress` does. Raises KairosError where they cannot be taken now."""
        ...

    def count(self, source: str, results: Sequence[str], unread: Sequence[Unreadable]) -> None:
        """Count what became of a request, and keep what could not be read where the settings say so."""
        ...


def add_sources(app: FastAPI, sources: Sources) -> None:
    """The routes."""

    @app.post("/v1/sources/{source}", response_model=None, openapi_extra=_BODY)
    async def post(request: Request, source: str) -> Response:
        """JSON of a system's own (an object, an array, or lines), made events by the mappings of the settings."""
        return await _answer(request, sources, source, "")

    @app.post("/v1/sources/{source}/{secret}", response_model=None, openapi_extra=_BODY)
    async def post_with_secret(request: Request, source: str, secret: str) -> Response:
        """The same, for a system that can be told nothing but a URL: the source's secret is in the path."""
        return await _answer(request, sources, source, secret)


async def _answer(request: Request, sources: Sources, source: str, secret: str) -> Response:
    """Whatever breaks is logged without the path: a secret may stand in it."""
    try:
        return await _take(request, sources, source, secret)
    except Exception as error:
        log.error("request failed", source=source if sources.known(source) else "", exc_info=error)
        return problem(500, "something went wrong inside; it was logged")


async def _take(request: Request, sources: Sources, source: str, secret: str) -> Response:
    if not sources.known(source):
        return problem(404, f"there is no source `{source[:40]}`; name it in the settings, in [sources.NAME]", "source")
    if not sources.opens(source, secret, client_of(request)):
        if secret:
            return problem(403, f"the secret in the path is not that of the source `{source}`")
        what = f"the source `{source}` has a secret; post to /v1/sources/{source}/SECRET, or as a client"
        return problem(401, f"{what} with the role `ingest`")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        return problem(415, f"content-encoding `{encoding[:60]}` cannot be read; send the body as it is")
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        body = await body_of(request, BODY_LIMIT)
        outcomes = await sources.read(source, media, body)
    except TooLargeError:
        return problem(413, f"the body is larger than {BODY_LIMIT} bytes; send less at once")
    except TooLongError as error:
        return problem(413, str(error))
    except EventError as error:
        sources.count(source, ["rejected"], [])
        return problem(400 if sources.refused(source) >= 400 else sources.refused(source), str(error), error.field)
    except ClientDisconnect:
        return problem(400, "the connection was closed before the body was complete")
    return await _applied(sources, source, outcomes)


async def _applied(sources: Sources, source: str, outcomes: Sequence[tuple[int, Outcome]]) -> Response:
    """Apply what could be read. A sender reads the status alone: 503 while anything is to be sent again."""
    readable = [outcome.event for _, outcome in outcomes if isinstance(outcome, Mapped)]
    try:
        answers = iter(await sources.submit(readable) if readable else ())
    except KairosError as error:
        log.warning("events not taken", source=source, count=len(readable), reason=str(error))
        return problem(503, "the events cannot be taken now; send all of them again", headers=RETRY_AFTER)
    results = [
        _result(index, outcome, next(answers) if isinstance(outcome, Mapped) else None) for index, outcome in outcomes
    ]
    unread = [outcome for _, outcome in outcomes if isinstance(outcome, Unreadable)]
    sources.count(source, [result.status for result in results], unread)
    if any(result.status == "failed" for result in results):
        what = "some of it could not be applied; send all of it again, what was applied is not applied twice"
        return problem(503, what, headers=RETRY_AFTER, results=results)
    if results and not any(result.status in GOOD for result in results):
        refused = sources.refused(source)
        return problem(refused, "nothing of it could be read", results=results)
    return json_of(Results(results))


def _result(index: int, outcome: Outcome, answer: Answered | None) -> Result:
    if isinstance(outcome, Unreadable):
        return Result(index, outcome.id, "rejected", problem_fields(422, str(outcome.error), outcome.error.field))
    if answer is None or isinstance(outcome, Passed):
        return Result(index, "", "ignored")
    refused = problem_fields(REFUSED[answer.status], answer.reason) if answer.status in REFUSED else UNSET
    return Result(index, outcome.id, answer.status, refused)
