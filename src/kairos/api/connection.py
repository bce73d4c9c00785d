"""Connections of the HTTP door: a request must come whole within a limit, and its headers must come to an end.

uvicorn closes a connection that is idle after a request, and waits for ever for one that never comes whole. Where a
request comes in one piece, which most do, this costs nothing but a look.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from kairos.api.problem import problem_fields

HEADERS_LIMIT = 65_536  # bytes that may come before the headers end


class _Timely:
    """What both of uvicorn's protocols have to do. `coming`: a request, or its first octet, is waited for."""

    within = 30.0  # seconds
    most = 1000  # connections that are open at a time
    connections: set[Any]
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    cycle: Any
    _late: asyncio.TimerHandle | None = None
    _got = 0  # bytes of headers that have not come to an end

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        if len(self.connections) > self.most:
            transport.close()
            return
        self._late = self.loop.call_later(self.within, self._too_late)

    def connection_lost(self, error: Exception | None) -> None:
        self._in_time()
        super().connection_lost(error)  # type: ignore[misc]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # type: ignore[misc]
        if not self._coming():
            if self._late:
                self._in_time()
            self._got = 0
            return
        if self._late is None:
            self._late = self.loop.call_later(self.within, self._too_late)
        self._got = self._got + len(data) if self._in_headers() else 0
        if self._got > HEADERS_LIMIT:
            self._refuse(431, f"more than {HEADERS_LIMIT} bytes of headers")

    def _in_time(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        self._refuse(408, f"the request did not come whole within {self.within:g} s")

    def _refuse(self, status: int, why: str) -> None:
        """Say why where nothing was said yet, and close; the application sees that the caller has gone."""
        if self.transport.is_closing():
            return
        if self._coming() and (self.cycle is None or self.cycle.response_complete or not self.cycle.response_started):
            fields = problem_fields(status, why)
            body = msgspec.json.encode({"type": "about:blank"} | fields)
            head = f"HTTP/1.1 {status} {fields['title']}\r\ncontent-type: application/problem+json\r\n"
            head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
        self.transport.close()

    def _coming(self) -> bool:
        raise NotImplementedError

    def _in_headers(self) -> bool:
        raise NotImplementedError


class H11Connection(_Timely, H11Protocol):
    """On h11, the parser that is always there."""

    conn: h11.Connection

    def _coming(self) -> bool:
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _in_headers(self) -> bool:
        return self.conn.their_state is h11.IDLE


def connections(within: float, most: int) -> type[asyncio.Protocol]:
    """The protocol for uvicorn, on httptools where that is installed."""
    kind: type[_Timely] = H11Connection
    try:
        from kairos.api.connection_fast import HttpToolsConnection
    except ImportError:
        pass
    else:
        kind = HttpToolsConnection
    return type(kind.__name__, (kind,), {"within": within, "most": most})
