"""Bodies of JSON: what comes in as a route understands it, and what goes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kairos.api.body import whole_body
from kairos.api.problem import ProblemError

B = TypeVar("B")
_FIELD = re.compile(r" at `\$\.([^`]+)`|field `([^`]+)`")


async def read_json(request: Request, kind: type[B], limit: int, example: str) -> B:
    """The body; `limit` in bytes. Raises ProblemError and TooLargeError, which end the request."""
    try:
        return msgspec.json.decode(await whole_body(request, limit), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"the body cannot be read: {error}; {example}", field_of(str(error))) from None


def field_of(error: str) -> str:
    """The field that cannot be read, as msgspec names it; empty where it is the whole.

    >>> field_of("Expected `str`, got `int` - at `$.channel`"), field_of("Object contains unknown field `chanel`")
    ('channel', 'chanel')
    """
    found = _FIELD.search(error)
    return found[1] or found[2] if found else ""


def json_of(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, "application/json")
