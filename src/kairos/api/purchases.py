"""Purchases over HTTP: what became of one, and what somebody outside says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from fastapi import FastAPI, Request
from msgspec import Struct
from starlette.responses import Response

from kairos.api.ingress import Answered
from kairos.api.json_body import json_of, read_json
from kairos.api.lock import about
from kairos.api.problem import problem

BODY_LIMIT = 10_000  # bytes
EXAMPLE = """write it as in {"key": "5da2-4447", "status": "reversed", "reason": "complaint 7"}"""


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


def add_purchases(app: FastAPI, purchases: Purchases) -> None:
    """The routes."""

    @app.get("/v1/purchases/{key}", response_model=None)
    async def purchase(key: str, request: Request) -> Response:
        """What became of a purchase, step by step, and what the subscriber said."""
        about(request, "", key)
        found = await purchases.purchase(key)
        return json_of(found) if found else problem(404, f"there is no purchase `{key}`", "key")

    @app.post("/v1/reversals", response_model=None)
    async def reversal(request: Request) -> Response:
        """Say that a purchase was reversed outside, or how a stuck one ended; answered after the commit."""
        said = await read_json(request, Said, BODY_LIMIT, EXAMPLE)
        about(request, "", f"{said.key} {said.status} {said.amount or ''}".strip())
        if said.amount is not None and said.status != "reversed":
            return problem(400, f"an amount goes back where a purchase is reversed, not {said.status}", "amount")
        answer = await purchases.reverse(said.key, said.status, said.reason, said.amount)
        if answer is None:
            return problem(404, f"there is no purchase `{said.key}`", "key")
        if answer.status == "rejected":
            return problem(409, answer.reason, "status" if said.amount is None else "amount")
        return json_of({"key": said.key, "status": answer.status})
