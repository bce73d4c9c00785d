"""A request's body, as it came and no longer than it may be."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request


class TooLargeError(Exception):
    """The body is larger than a limit in bytes, as far as it came."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes, or it did not come whole")


async def body_of(request: Request, limit: int) -> bytes:
    """Of `limit` bytes at most. Raises TooLargeError, and ClientDisconnect where it does not come whole."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLargeError(limit)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def whole_body(request: Request, limit: int) -> bytes:
    """The same, and TooLargeError is raised for both: the application answers it."""
    try:
        return await body_of(request, limit)
    except ClientDisconnect:
        raise TooLargeError(limit) from None
