"""One attempt of a call over HTTP: bounded in time and in what is read of its answer; and what no answer means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from kairos.adapters.trouble import Trouble
from kairos.ports import Outcome

MAX_ANSWER: Final = 65_536  # octets that are read
# The call never left: it cannot have had an effect.
NEVER_LEFT: Final = (httpx.ConnectError, httpx.ConnectTimeout)

Meaning = Callable[[httpx.Response, bytes], Outcome]  # of an answer and as much of its body as MAX_ANSWER


class Connections:
    """So many connections at once, kept until they are closed; each is a client's own. No redirects are followed.

    A request that was cancelled before it had begun holds its place in a pool of httpx for ever (encode/httpcore#1093):
    once all were lost like that, no order went out until the next start. So what is cut short, by a time-out or a stop,
    is closed with its client, and others have nothing to do with it.
    """

    def __init__(self, at_once: int, **client: Any) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._resting: list[httpx.AsyncClient] = []
        one = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        # No proxy from the environment: a call goes where the settings say.
        alone = {"verify": httpx.create_ssl_context(trust_env=False), "trust_env": False}
        self._settings = {**alone, "limits": one, "follow_redirects": False, **client}

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for one request at a time; waits for a place. A time-out of one's own goes within."""
        async with self._places:
            client = self._resting.pop() if self._resting else httpx.AsyncClient(**self._settings)
            whole = False
            try:
                yield client
                whole = True
            except httpx.HTTPError:
                whole = True
                raise
            finally:
                if whole:
                    self._resting.append(client)
                else:
                    await client.aclose()

    async def aclose(self) -> None:
        """Close those that rest; what is under way closes its own when it is stopped."""
        while self._resting:
            await self._resting.pop().aclose()


class Attempts:
    """Calls to one counterpart, over connections that are kept until it is closed.

    `timeout_s` bounds an attempt from its first octet to its last, however slowly the counterpart talks; it does not
    count the wait for a connection.
    """

    def __init__(self, timeout_s: float, at_once: int, trouble: Trouble, **client: Any) -> None:
        self.timeout_s, self._noted = timeout_s, trouble.noted
        timeout = httpx.Timeout(timeout_s, connect=timeout_s / 2)
        self._connections = Connections(at_once, timeout=timeout, **client)

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
                self._connections.one() as client,
                asyncio.timeout(self.timeout_s),
                client.stream(method, url, content=content, headers=headers) as response,
            ):
                check(response)
                body = await beginning(response.aiter_raw(), MAX_ANSWER)
        except NEVER_LEFT as error:
            return self._noted(Outcome("retry", reason=f"no connection: {_words(error)}"))
        except httpx.HTTPError as error:
            return self._noted(Outcome("unknown", reason=f"no answer: {_words(error)}"))
        except TimeoutError:
            return self._noted(Outcome("unknown", reason=f"no answer within {self.timeout_s:g} s"))
        return self._noted(meaning(response, body[:MAX_ANSWER]))

    async def close(self) -> None:
        await self._connections.aclose()


async def beginning(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """All octets of an answer, or one more than the limit: leaving its stream closes the connection."""
    read = bytearray()
    async for chunk in chunks:
        read += chunk
        if len(read) > limit:
            break
    return bytes(read[: limit + 1])


def _words(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
