"""What every TM Forum door reads of a request: a body of JSON."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from kairos.api.events import TooLargeError, body_of
from kairos.api.tmf import TmfError

B = TypeVar("B")


async def read_body(request: Request, kind: type[B], limit: int, hint: str = "") -> tuple[dict[str, Any], B]:
    """The body as it was sent, and as it is understood; `limit` in bytes. Raises TmfError."""
    try:
        sent = msgspec.json.decode(await body_of(request, limit), type=dict[str, Any])
        return sent, msgspec.convert(sent, kind, str_keys=True)
    except (TooLargeError, ClientDisconnect):
        raise TmfError(413, f"the body is larger than {limit} bytes, or it did not come whole") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TmfError(400, f"the body cannot be read: {error}", hint) from None
