"""Purchases over HTTP: what became of one, and what somebody outside says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec
import structlog
from fastapi import FastAPI, Request
from msgspec import Struct
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kairos.api.events import TooLargeError, body_of
from kairos.api.ingress import Answered
from kairos.api.lock import about
from kairos.api.problem import UNREADABLE, problem, unreadable
from kairos.errors import KairosError

log = structlog.get_logger("kairos.api")

BODY_LIMIT = 10_000  # bytes
EXAMPLE = """write it as in {"key": "5da2-4447", "status": "reversed", "reason": "complaint 7"}"""
RETRY_AFTER = {"retry-after": "1"}  # seconds


class Purchases(Protocol):
    """The purchases of a running kairos. Both raise KairosError where that cannot be now."""

    async def purchase(self, key: str) -> Mapping[str, Any] | None:
        """A purchase as plain data; None where there is none."""
        ...

    async def reverse(self, key: str, status: str, reason: str, amount: str | None) -> Answered | None:
        """Say what became of a purchase, and how much of its price went back in all; None where there is none."""
        ...


class Said(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST: `reversed`, or of a stuck purchase how it ended. `amount`: what went back in all, if less."""

    key: str
    status: Literal["reversed", "done", "refused"] = "reversed"
    reason: str = ""
    amount: str | None = None


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


def add_purchases(app: FastAPI, purchases: Purchases) -> None:
    """The routes."""

    @app.get("/v1/purchases/{key}", response_model=None)
    async def purchase(key: str, request: Request) -> Response:
        """What became of a purchase, step by step, and what the subscriber said."""
        about(request, "", key)
        try:
            found = await purchases.purchase(key)
        except KairosError as error:
            return _not_now(error)
        return _json(found) if found else problem(404, f"there is no purchase `{key}`", "key")

    @app.post("/v1/reversals", response_model=None, openapi_extra=_BODY)
    async def reversal(request: Request) -> Response:
        """Say that a purchase was reversed outside, or how a stuck one ended; answered after the commit."""
        try:
            said = msgspec.json.decode(await body_of(request, BODY_LIMIT), type=Said)
        except (TooLargeError, ClientDisconnect):
            return problem(413, f"the body is larger than {BODY_LIMIT} bytes, or it did not come whole")
        except UNREADABLE as error:
            return unreadable(error, EXAMPLE)
        about(request, "", f"{said.key} {said.status} {said.amount or ''}".strip())
        if said.amount is not None and said.status != "reversed":
            return problem(400, f"an amount goes back where a purchase is reversed, not {said.status}", "amount")
        try:
            answer = await purchases.reverse(said.key, said.status, said.reason, said.amount)
        except KairosError as error:
            return _not_now(error)
        if answer is None:
            return problem(404, f"there is no purchase `{said.key}`", "key")
        if answer.status == "rejected":
            return problem(409, answer.reason, "status" if said.amount is None else "amount")
        return _json({"key": said.key, "status": answer.status})


def _not_now(error: KairosError) -> Response:
    log.warning("purchases not reached", reason=str(error))
    return problem(503, str(error), headers=RETRY_AFTER)


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
