"""The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-06): a request's `id`, if its body has none."""

from __future__ import annotations

import re
from typing import Any, Final

from starlette.requests import Request

HEADER: Final = "idempotency-key"
LONGEST: Final = 200  # characters, as of an `id`
QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # a String of RFC 8941, 3.3.3
BARE: Final = re.compile(r"[!#-\[\]-~]+")  # as many clients send it

PARAMETER: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The request's `id` where the body has none: a String of RFC 8941, or the bare text",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST + 2, "pattern": "^[!-~]+$"},
}


def request_id(request: Request, named: str) -> str:
    """What a request is known by: `named` in its body, or its header; both must agree. Raises ValueError, in words."""
    written = request.headers.get(HEADER)
    if written is None:
        if not named:
            raise ValueError("a request needs an `id`, or the header `Idempotency-Key`: a repeat has the same")
        return named
    key = read_key(written)
    if named and named != key:
        raise ValueError("`id` and the header `Idempotency-Key` name two requests: send one of them, or the same twice")
    return key


def read_key(written: str) -> str:
    r"""The key in a header's value. Raises ValueError, in words.

    >>> read_key('"8e03978e-40d5"'), read_key("8e03978e-40d5"), read_key(r'"a \"b\""')
    ('8e03978e-40d5', '8e03978e-40d5', 'a "b"')
    """
    quoted = QUOTED.fullmatch(written)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else written if BARE.fullmatch(written) else ""
    if not 0 < len(key) <= LONGEST:
        raise ValueError(f'`Idempotency-Key` must be 1 to {LONGEST} printable characters, as in `"8e03978e"`')
    return key
