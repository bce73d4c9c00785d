"""One attempt to have a request answered over SMPP, and what it means that no answer came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kairos.ports import Outcome
from kairos.smpp import EncodeError, NotSent, Pdu, SmppError


async def attempt(requested: Awaitable[Pdu], meaning: Callable[[Pdu], Outcome]) -> Outcome:
    """What `meaning` makes of the response; else whether the request surely never left, or may have arrived."""
    try:
        response = await requested
    except NotSent as error:
        return Outcome("retry", reason=str(error))
    except EncodeError as error:
        return Outcome("failed", reason=str(error))
    except SmppError as error:
        return Outcome("unknown", reason=str(error))
    return meaning(response)
