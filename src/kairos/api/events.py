"""POST /v1/events: the hot route. Read, submit, answer after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from kairos.api.body import TooLargeError, body_of
from kairos.api.ingress import Answered, Ingress
from kairos.api.json_body import json_of
from kairos.api.problem import RETRY_AFTER, problem, problem_fields
from kairos.errors import EventError, KairosError
from kairos.ingest import Readable, Unreadable, UnsupportedMediaTypeError
from kairos.ports import Clock

log = structlog.get_logger("kairos.api")

REFUSED = {"rejected": 422, "failed": 500}


class Result(Struct, frozen=True):
    """What became of one event of a request."""

    index: int
    id: str
    status: str  # applied, duplicate, rejected (for good), failed (this time)
    error: dict[str, Any] | UnsetType = UNSET


class Results(Struct, frozen=True):
    """The answer to a request that had at least one readable event."""

    results: list[Result]


async def take_events(
    request: Request, ingress: Ingress, clock: Clock, body_limit: int
) -> tuple[Response, list[Result]]:
    """Read a request's events, apply the readable ones, and say what became of each; the results are for counting."""
    try:
        entries = await _entries(request, ingress, clock, body_limit)
    except TooLargeError:
        return problem(413, f"the body is larger than {body_limit} bytes; send smaller batches"), []
    except UnsupportedMediaTypeError as error:
        return problem(415, str(error)), []
    except EventError as error:
        return problem(400, str(error), error.field), []
    except ClientDisconnect:
        return problem(400, "the connection was closed before the body was complete"), []
    if unreadable := [entry for entry in entries if isinstance(entry, Unreadable)]:
        ingress.rejected(unreadable)
    readable = [entry.event for entry in entries if isinstance(entry, Readable)]
    if entries and not readable:
        results = _results(entries, [])
        return problem(400, "no event could be read", results=results), results
    try:
        answers = await ingress.submit(readable) if readable else []
    except KairosError as error:
        log.warning("events not taken", count=len(readable), reason=str(error))
        return problem(503, "the events cannot be taken now; send all of them again", headers=RETRY_AFTER), []
    results = _results(entries, answers)
    if results and all(result.status == "failed" for result in results):
        return problem(
            503, "no event could be applied; send all of them again", headers=RETRY_AFTER, results=results
        ), []
    return json_of(Results(results)), results


async def _entries(request: Request, ingress: Ingress, clock: Clock, body_limit: int) -> list[Readable | Unreadable]:
    headers = request.headers
    encoding = headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnsupportedMediaTypeError(f"content-encoding `{encoding[:60]}` cannot be read; send the body as it is")
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > body_limit:
        raise TooLargeError(body_limit)
    body = await body_of(request, body_limit)
    return ingress.reader().read(headers.get("content-type", ""), headers, body, clock())


def _results(entries: Sequence[Readable | Unreadable], answers: Sequence[Answered]) -> list[Result]:
    """One result per entry; the readable ones take the answers in turn."""
    turn = iter(answers)
    results = []
    for index, entry in enumerate(entries):
        if isinstance(entry, Unreadable):
            error = problem_fields(400, str(entry.error), entry.error.field)
            results.append(Result(index, entry.id, "rejected", error))
            continue
        answer = next(turn)
        refused = problem_fields(REFUSED[answer.status], answer.reason) if answer.status in REFUSED else UNSET
        results.append(Result(index, entry.id, answer.status, refused))
    return results
