"""What can go wrong on an SMPP session, told apart by what the caller may do next.

The question that matters after a failure is whether the peer may have seen the request: `NotSent` says surely not (send
it again, anywhere), `ResponseLost` says perhaps (sending it again may make a second message).
"""

from __future__ import annotations


class SmppError(Exception):
    """The root: catch this to catch everything this package raises on purpose."""


class PduError(SmppError):
    """Bytes from the peer that are no valid PDU.

    `status` is the ESME_* code to answer with, `sequence` the number to answer to, `command_id` what the peer called it
    (0 where the header could not be read).
    """

    def __init__(self, message: str, *, status: int, sequence: int = 0, command_id: int = 0) -> None:
        self.status = status
        self.sequence = sequence
        self.command_id = command_id
        super().__init__(message)


class EncodeError(SmppError, ValueError):
    """A PDU of our own that does not fit the wire format; names the PDU and the field."""


class TextError(SmppError, ValueError):
    """A text that cannot be written in the encoding asked for, or needs more than 255 parts."""


class NotSent(SmppError):  # noqa: N818 (names the fact that the caller acts on)
    """The request never left; sending it again is safe."""


class NotBound(NotSent):
    """There is no session, or it is bound in a way that does not allow this command."""


class BindRefused(SmppError):  # noqa: N818
    """The SMSC answered the bind with an error; `status` is its ESME_* code."""

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


class ResponseLost(SmppError):  # noqa: N818
    """The request was sent, its answer is unknown: the peer may have taken it."""


class ResponseTimeout(ResponseLost):
    """No answer within the response timeout; a late one is counted and ignored."""


class SessionLost(ResponseLost):
    """The session ended while the answer was outstanding."""


class UnreadableResponse(ResponseLost):
    """An answer came, but its body could not be read."""
