"""The charging system (OCS) over HTTP: one order, one final answer, however often it has to be asked.

POST {url}
Idempotency-Key: <key of the offer>
{"msisdn", "product", "price": "10.00", "currency", "charge", "action", "variant"}

2xx                      done; but 202, or a body with another `status` than done: not final, ask again
402                      refused, `insufficient_funds` unless the body gives another `reason`
3xx 401 407 408 425 429  it could not be asked, or is busy: come back
other 4xx                refused for good, for the `reason` in the body
5xx, no connection       come back
no answer, half of one   it may have happened: ask again; the key makes that safe
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Final

import httpx
import msgspec
import structlog

from kairos.domain.message import Order
from kairos.errors import Diagnostic, SettingsError
from kairos.fulfil import INSUFFICIENT_FUNDS
from kairos.ports import Outcome

log = structlog.get_logger("kairos.ocs")

MAX_ANSWER: Final = 65_536  # octets that are read
MAX_REASON: Final = 200  # characters that are kept
AT_ONCE: Final = 16
"""Orders asked at a time. httpx looks through all that wait for each one: a thousand at once made 70 a second, 16 made
500."""

# Credentials, redirects and haste are between us and the counterpart: nothing that a subscriber should hear of.
COME_BACK: Final = frozenset({401, 407, 408, 425, 429})
ACCEPTED, PAYMENT_REQUIRED = 202, 402

# The order never left: it cannot have had an effect.
_NEVER_LEFT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class _Answer(msgspec.Struct):
    status: str = ""
    reason: str = ""


_read = msgspec.json.Decoder(_Answer).decode
_write = msgspec.json.Encoder().encode


class HttpFulfiller:
    """A Fulfiller over HTTP/1.1. It keeps connections open until it is closed.

    `digits` are the currency's decimals (ISO 4217): prices travel as exact decimal text. `timeout_s` bounds an attempt
    from its first octet to its last, however slowly the counterpart talks. Raises SettingsError for what is no address.
    """

    def __init__(self, url: str, timeout_s: float, digits: int) -> None:
        self.url = _checked(url)
        self.timeout_s = timeout_s
        self.digits = digits
        self._trouble = ""
        self._places = asyncio.Semaphore(AT_ONCE)
        # No proxy from the environment: an order goes where the settings say. Not compressed: an answer has bounds.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=timeout_s / 2),
            limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
            headers={"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"},
            trust_env=False,
        )

    async def fulfil(self, order: Order) -> Outcome:
        """One attempt. Never raises for what the network or the counterpart does."""
        async with self._places:  # waiting for a place is no part of the attempt
            return await self._attempt(order)

    async def _attempt(self, order: Order) -> Outcome:
        try:
            async with asyncio.timeout(self.timeout_s):
                status, body = await self._ask(order)
        except _NEVER_LEFT as error:
            return self._noted(Outcome("retry", reason=f"no connection: {_words(error)}"))
        except httpx.HTTPError as error:
            return self._noted(Outcome("unknown", reason=f"no answer: {_words(error)}"))
        except TimeoutError:
            return self._noted(Outcome("unknown", reason=f"no answer within {self.timeout_s:g} s"))
        return self._noted(outcome(status, body))

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, order: Order) -> tuple[int, bytes]:
        """Status and body, as much of it as MAX_ANSWER."""
        body, headers = _write(document(order, self.digits)), {"Idempotency-Key": order.key}
        async with self._client.stream("POST", self.url, content=body, headers=headers) as response:
            read = bytearray()
            async for chunk in response.aiter_raw():
                read += chunk
                if len(read) > MAX_ANSWER:
                    break  # leaving the stream closes the connection
            return response.status_code, bytes(read[:MAX_ANSWER])

    def _noted(self, found: Outcome) -> Outcome:
        """Log when trouble begins, changes or ends, not each attempt of each order."""
        trouble = found.reason if found.status in ("retry", "unknown") else ""
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                log.warning("orders are not answered", url=self.url, reason=trouble)
            else:
                log.info("orders are answered again", url=self.url)
        return found


def document(order: Order, digits: int) -> dict[str, str | bool]:
    """What the counterpart reads.

    >>> document(Order("k", "15550100", "DATA500_1D", 1000, "XTS", True, "booster", "small"), 2)["price"]
    '10.00'
    """
    return {
        "msisdn": order.msisdn,
        "product": order.product,
        "price": f"{Decimal(order.price).scaleb(-digits):f}",
        "currency": order.currency,
        "charge": order.charges,
        "action": order.action,
        "variant": order.variant,
    }


def outcome(status: int, body: bytes) -> Outcome:
    """What an answer means, by its status; a body that cannot be read says nothing.

    >>> outcome(402, b"").reason, outcome(409, b'{"reason": "not_in_this_plan"}').reason, outcome(503, b"").status
    ('insufficient_funds', 'not_in_this_plan', 'retry')
    """
    try:
        answer = _read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        answer = _Answer()
    if 200 <= status < 300:
        if status == ACCEPTED or answer.status not in ("", "done"):
            return Outcome("unknown", reason=f"HTTP {status}: not done yet")
        return Outcome("done")
    if status in COME_BACK or not 400 <= status < 500:
        return Outcome("retry", reason=f"HTTP {status}")
    reason = " ".join(answer.reason.split())[:MAX_REASON]
    return Outcome("refused", reason=reason or (INSUFFICIENT_FUNDS if status == PAYMENT_REQUIRED else f"HTTP {status}"))


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
        usable = parsed.scheme in ("http", "https") and bool(parsed.host)
    except (httpx.InvalidURL, TypeError):
        usable = False
    if not usable:
        raise SettingsError(
            [Diagnostic("", 0, f"`{url}` is no HTTP address for orders", "write `http://host:port/path`")]
        )
    return url


def _words(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
