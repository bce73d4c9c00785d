"""One TCP connection as PDUs: frames in, coalesced writes out, back-pressure both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from kairos.smpp.errors import PduError
from kairos.smpp.pdu import HEADER, Pdu, decode
from kairos.smpp.status import Status


class Frames(Protocol):
    """Who hears what the wire brings."""

    def on_open(self) -> None: ...
    def on_pdu(self, pdu: Pdu) -> None: ...
    def on_bad_pdu(self, fault: PduError, *, fatal: bool) -> None:
        """`fatal`: the frame's length cannot be trusted, so nothing after it can be read."""

    def on_read(self) -> None:
        """All that came in one read has been handed over."""

    def on_clogged(self, clogged: bool) -> None:
        """The peer does not take what was written; or takes it again."""

    def on_lost(self, cause: Exception | None) -> None: ...


class Wire(asyncio.Protocol):
    """Cuts the stream by command_length; writes what one turn of the event loop gathered in one go.

    Reading pauses while `hold()` is in force, and while the peer does not take what was written.
    """

    def __init__(self, max_pdu: int) -> None:
        self._max_pdu = max_pdu
        self._frames: Frames | None = None
        self._transport: asyncio.Transport | None = None
        self._in = bytearray()
        self._out: list[bytes] = []
        self._held = False
        self._clogged = False
        self._deaf = False
        self.peer = ""
        self.octets_in = 0
        self._call_soon: Callable[..., object] = asyncio.get_running_loop().call_soon

    def attach(self, frames: Frames) -> None:
        self._frames = frames

    @property
    def held(self) -> bool:
        """Whether we chose not to read."""
        return self._held

    @property
    def clogged(self) -> bool:
        """Whether the peer does not take what was written."""
        return self._clogged

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "")
        assert self._frames is not None
        self._frames.on_open()

    def data_received(self, data: bytes) -> None:
        self.octets_in += len(data)
        if self._deaf:
            return
        self._in += data
        at = 0
        size = len(self._in)
        while size - at >= 16 and not self._deaf:
            length = int.from_bytes(self._in[at : at + 4], "big")
            if not 16 <= length <= self._max_pdu:
                self._bad_length(length, at)
                return
            if size - at < length:
                break
            self._hand_over(bytes(self._in[at : at + length]))
            at += length
        del self._in[:at]
        if self._frames is not None:
            self._frames.on_read()

    def pause_writing(self) -> None:
        self._set_clogged(True)

    def resume_writing(self) -> None:
        self._set_clogged(False)

    def connection_lost(self, cause: Exception | None) -> None:
        self._deaf = True
        self._out.clear()
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.on_lost(cause)

    # what the session calls

    def send(self, octets: bytes) -> None:
        """Write soon: everything sent in this turn of the loop goes out together."""
        if not self._out:
            self._call_soon(self._flush)
        self._out.append(octets)

    def hold(self, held: bool) -> None:
        """Stop reading, or go on."""
        if held is not self._held:
            self._held = held
            self._set_reading()

    def close(self) -> None:
        """Write what is left, then close; nothing more is read."""
        self._deaf = True
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what is not yet written is gone."""
        self._deaf = True
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _set_clogged(self, clogged: bool) -> None:
        self._clogged = clogged
        self._set_reading()
        if self._frames is not None:
            self._frames.on_clogged(clogged)

    def _set_reading(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._held or self._clogged:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _hand_over(self, octets: bytes) -> None:
        try:
            pdu = decode(octets)
        except PduError as fault:
            if self._frames is not None:
                self._frames.on_bad_pdu(fault, fatal=False)
            return
        if self._frames is not None:
            self._frames.on_pdu(pdu)

    def _bad_length(self, length: int, at: int) -> None:
        _, command_id, _, sequence = HEADER.unpack_from(self._in, at)
        self._deaf = True
        self._in.clear()
        fault = PduError(
            f"command_length is {length}; 16 to {self._max_pdu} octets are taken",
            status=Status.ESME_RINVCMDLEN,
            sequence=sequence,
            command_id=command_id,
        )
        if self._frames is not None:
            self._frames.on_bad_pdu(fault, fatal=True)
