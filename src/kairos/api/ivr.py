"""For the dialler: what a call says, and what was pressed or became of it. The path has a secret in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import Response

from kairos.api.body import whole_body
from kairos.api.json_body import json_of
from kairos.api.problem import problem

BODY_LIMIT = 10_000  # bytes
VOICEXML = "application/voicexml+xml"
GOODBYE = (
    '<?xml version="1.0" encoding="UTF-8"?><vxml version="2.1" xmlns="http://www.w3.org/2001/vxml">'
    "<form><block><disconnect/></block></form></vxml>"
)
NO_SUCH_CALL = "there is no such call"
NAMES = {  # how diallers call the same thing
    "offer": ("offer",),
    "call": ("call", "CallSid"),
    "digits": ("digits", "Digits"),
    "state": ("state", "CallStatus"),
}
EXAMPLE = """write it as in {"offer": "5da2-17", "call": "c1", "digits": "1"}, or with `state` in place of `digits`"""


class Voice(Protocol):
    """The calls of a running kairos."""

    def knows(self, secret: str) -> bool: ...

    async def document(self, offer: str) -> str | None:
        """VoiceXML of a call, each time as another turn; None for one that there is not."""
        ...

    async def heard(self, offer: str, call: str, digits: str, state: str) -> Mapping[str, Any] | None:
        """What it means, as plain data; None for a call that there is not. Raises KairosError."""
        ...


def add_ivr(app: FastAPI, voice: Voice) -> None:
    """The routes."""

    @app.get("/v1/ivr/{secret}/{offer}", response_model=None)
    async def document(secret: str, offer: str) -> Response:
        """What is said in a call."""
        found = await voice.document(offer) if voice.knows(secret) else None
        return Response(found, media_type=VOICEXML) if found else problem(404, NO_SUCH_CALL)

    @app.post("/v1/ivr/{secret}", response_model=None)
    async def heard(secret: str, request: Request) -> Response:
        """A digit that was pressed, or how a call ended: as a form or as JSON, answered likewise."""
        if not voice.knows(secret):
            return problem(404, NO_SUCH_CALL)
        try:
            said, is_form = _fields(request, await whole_body(request, BODY_LIMIT))
        except (msgspec.DecodeError, ValueError, RecursionError):
            return problem(400, f"the body cannot be read; {EXAMPLE}")
        if not said["offer"] or not (said["digits"] or said["state"]):
            return problem(400, f"`offer`, and one of `digits` and `state`, are wanted; {EXAMPLE}")
        found = await voice.heard(said["offer"], said["call"], said["digits"], said["state"].replace("-", "_"))
        if found is None:
            return problem(404, NO_SUCH_CALL)
        if not is_form:
            return json_of(found)
        again = await voice.document(said["offer"]) if found["again"] else None
        return Response(again or GOODBYE, media_type=VOICEXML)


def _fields(request: Request, body: bytes) -> tuple[dict[str, str], bool]:
    """What was said, by our names, and whether it was a form. Raises ValueError, DecodeError."""
    is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if is_form:
        found: dict[str, Any] = dict(parse_qsl(body.decode(), max_num_fields=100))
    else:
        found = msgspec.json.decode(body, type=dict[str, str | int | None])
    found = dict(request.query_params) | found
    return {
        ours: next((str(found[n])[:200] for n in names if found.get(n)), "") for ours, names in NAMES.items()
    }, is_form
