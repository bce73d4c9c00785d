"""Errors as RFC 9457 problem+json: what is wrong and what to do, never a stack trace."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from kairos.api.body import TooLargeError
from kairos.api.tmf import PATH, TmfError, tmf_error
from kairos.errors import EventError, ForbiddenError, KairosError

log = structlog.get_logger("kairos.api")

PROBLEM = "application/problem+json"
RETRY_AFTER = {"retry-after": "1"}  # seconds


def problem_fields(status: int, detail: str, field: str = "", **more: Any) -> dict[str, Any]:
    """The members of a problem; `field` names what is wrong in the sender's own words.

    >>> problem_fields(400, "`time` is missing", "time")
    {'title': 'Bad Request', 'status': 400, 'detail': '`time` is missing', 'field': 'time'}
    """
    fields = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return fields | ({"field": field} if field else {}) | more


def problem(status: int, detail: str, field: str = "", headers: dict[str, str] | None = None, **more: Any) -> Response:
    """A response with a problem; `more` are further members."""
    body = msgspec.json.encode({"type": "about:blank", **problem_fields(status, detail, field, **more)})
    return Response(body, status, headers, PROBLEM)


class ProblemError(Exception):
    """What a route cannot take: it is answered with a problem, with what to do in its `detail`."""

    def __init__(self, status: int, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.status, self.detail, self.field = status, detail, field


def refusal(path: str, status: int, detail: str, field: str = "", headers: dict[str, str] | None = None) -> Response:
    """What goes wrong on a path, as those who call there read errors."""
    if path.startswith(PATH):
        return tmf_error(status, detail, headers=headers)
    return problem(status, detail, field, headers)


def handle_errors(app: FastAPI) -> None:
    """Let everything that goes wrong outside a route's own care answer with a problem, or as TM Forum has it."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _told(request, error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return _told(request, 400, f"`{name}`: {first['msg']}", name)

    @app.exception_handler(ProblemError)
    async def unfit(request: Request, error: ProblemError) -> Response:
        return _told(request, error.status, error.detail, error.field)

    @app.exception_handler(TmfError)
    async def as_tmf(_request: Request, error: TmfError) -> Response:
        return tmf_error(error.status, error.reason, error.message)

    @app.exception_handler(TooLargeError)
    async def too_large(request: Request, error: TooLargeError) -> Response:
        return _told(request, 413, str(error))

    @app.exception_handler(EventError)
    async def misread(request: Request, error: EventError) -> Response:
        return _told(request, 400, str(error), error.field)

    @app.exception_handler(ForbiddenError)
    async def forbidden(request: Request, error: ForbiddenError) -> Response:
        return _told(request, 403, str(error))

    @app.exception_handler(KairosError)
    async def not_now(request: Request, error: KairosError) -> Response:
        log.warning("not now", reason=str(error))
        return _told(request, 503, str(error), headers=RETRY_AFTER)

    @app.exception_handler(RecursionError)
    async def too_deep(request: Request, error: RecursionError) -> Response:
        log.warning("nested too deeply", route=_route(request), reason=str(error))
        return _told(request, 400, "the body is nested too deeply")

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        log.error("request failed", route=_route(request), exc_info=error)
        return _told(request, 500, "something went wrong inside; it was logged")


def _route(request: Request) -> str:
    """Which route it was; a path itself may name a subscriber, or hold a secret."""
    return f"{request.method} {getattr(request.scope.get('route'), 'path', '')}".strip()


def _told(
    request: Request, status: int, detail: str, field: str = "", headers: dict[str, str] | None = None
) -> Response:
    return refusal(request.url.path, status, detail, field, headers)
