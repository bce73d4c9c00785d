"""One attempt of a call over HTTP: bounded in time and in what is read of its answer; and what no answer means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from kairos.ports import Outcome

MAX_ANSWER: Final = 65_536  # octets that are read
# The call never left: it cannot have had an effect.
NEVER_LEFT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

Meaning = Callable[[httpx.Response, bytes], Outcome]  # of an answer and as much of its body as MAX_ANSWER


class Attempts:
    """Calls to one counterpart, over connections that are kept until it is closed. It follows no redirects.

    `timeout_s` bounds an attempt from its first octet to its last, however slowly the counterpart talks. `told` hears
    of trouble when it begins and changes, and an empty text when it ends, not of each attempt.
    """

    def __init__(self, timeout_s: float, at_once: int, told: Callable[[str], None], **client: Any) -> None:
        self.timeout_s, self._trouble, self._told = timeout_s, "", told
        # No proxy from the environment: a call goes where the settings say.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=timeout_s / 2),
            limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once),
            trust_env=False,
            follow_redirects=False,
            **client,
        )

    async def call(
        self,
        method: str,
        url: str,
        meaning: Meaning,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        check: Callable[[httpx.Response], None] = lambda _: None,
    ) -> Outcome:
        """Never raises for what the network or the counterpart does. What `check` raises ends the connection."""
        try:
            async with (
                asyncio.timeout(self.timeout_s),
                self._client.stream(method, url, content=content, headers=headers) as response,
            ):
                check(response)
                body = await _read(response)
        except NEVER_LEFT as error:
            return self._noted(Outcome("retry", reason=f"no connection: {_words(error)}"))
        except httpx.HTTPError as error:
            return self._noted(Outcome("unknown", reason=f"no answer: {_words(error)}"))
        except TimeoutError:
            return self._noted(Outcome("unknown", reason=f"no answer within {self.timeout_s:g} s"))
        return self._noted(meaning(response, body))

    async def close(self) -> None:
        await self._client.aclose()

    def _noted(self, found: Outcome) -> Outcome:
        trouble = found.reason if found.status in ("retry", "unknown") else ""
        if trouble != self._trouble:
            self._trouble = trouble
            self._told(trouble)
        return found


async def _read(response: httpx.Response) -> bytes:
    read = bytearray()
    async for chunk in response.aiter_raw():
        read += chunk
        if len(read) > MAX_ANSWER:
            break  # leaving the stream closes the connection
    return bytes(read[:MAX_ANSWER])


def _words(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
