"""Connections of the HTTP door on httptools, where that is installed."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kairos.api.connection import _Timely


class HttpToolsConnection(_Timely, HttpToolsProtocol):
    """The parser says where a message begins, its headers end, and it ends."""

    _begun = _headed = False

    def on_message_begin(self) -> None:
        self._begun, self._headed = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._headed = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._begun = False
        super().on_message_complete()

    def _coming(self) -> bool:
        return self._begun

    def _in_headers(self) -> bool:
        return not self._headed
