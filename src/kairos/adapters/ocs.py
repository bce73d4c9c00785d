"""The charging system (OCS) over HTTP: one call, one final answer, however often it has to be asked. docs/fulfilment.md

POST {url}, or {url}/{step} for each step of a purchase
Idempotency-Key: <key of the call>
{"msisdn", "product", "price": "10.00", "currency", "charge", "action", "variant"}

2xx                         done; but 202, or a body with another `status` than done: not final
402                         refused, `insufficient_funds` unless the body gives another `reason`
3xx 401 407 408 425 429     it could not be asked, or is busy: come back
503, no connection          come back
other 4xx                   refused for good, for the `reason` in the body
other 5xx                   it may have happened
no answer, half of one      it may have happened

What may have happened is asked for: GET {url}/{key}, or {url}/{step}/{key}: 200 with a `status`, or 404.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec
import structlog

from kairos.adapters.http_attempt import Attempts
from kairos.adapters.trouble import Trouble
from kairos.domain.message import Order
from kairos.errors import Diagnostic, SettingsError
from kairos.fulfil import INSUFFICIENT_FUNDS
from kairos.ports import Outcome

log = structlog.get_logger("kairos.ocs")

KEY: Final = "Idempotency-Key"
MAX_REASON: Final = 200  # characters that are kept
AT_ONCE: Final = 16  # orders asked at a time

# Credentials, redirects and haste are between us and the counterpart: nothing that a subscriber should hear of.
COME_BACK: Final = frozenset({401, 407, 408, 425, 429})
OK, ACCEPTED, PAYMENT_REQUIRED, NOT_FOUND, UNAVAILABLE = 200, 202, 402, 404, 503
CANNOT_TELL: Final = frozenset({405, 501})  # a counterpart that cannot be asked: then the key alone must hold


class _Answer(msgspec.Struct):
    status: str = ""
    reason: str = ""


_read = msgspec.json.Decoder(_Answer).decode
_write = msgspec.json.Encoder().encode


class HttpFulfiller:
    """A Fulfiller over HTTP/1.1. It keeps connections open until it is closed.

    `digits` are the currency's decimals (ISO 4217): prices travel as exact decimal text. `timeout_s` bounds an attempt.
    Raises SettingsError for what is no address.
    """

    def __init__(self, url: str, timeout_s: float, digits: int) -> None:
        self.url = _checked(url)
        self.digits = digits
        # Not compressed: an answer has bounds.
        kinds = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        trouble = Trouble(log, "orders are not answered", "orders are answered again", url=self.url)
        self.attempts = Attempts(timeout_s, AT_ONCE, trouble, headers=kinds)

    async def fulfil(self, order: Order) -> Outcome:
        """One attempt. Never raises for what the network or the counterpart does."""
        sent = _write(document(order, self.digits))
        return await self._attempt("POST", self._address(order), outcome, order.key, sent)

    async def ask(self, order: Order) -> Outcome:
        """What became of a call that was sent before; `absent` where it never came, or where nobody can tell."""
        return await self._attempt("GET", f"{self._address(order)}/{quote(order.key, safe='~')}", known, order.key)

    def _address(self, order: Order) -> str:
        return self.url if order.step == "order" else f"{self.url}/{order.step}"

    async def _attempt(
        self, method: str, url: str, read: Callable[[int, bytes], Outcome], key: str, sent: bytes | None = None
    ) -> Outcome:
        def check(response: httpx.Response) -> None:
            if response.headers.get(KEY, key) != key:
                raise httpx.RemoteProtocolError("it answers another call")

        return await self.attempts.call(
            method,
            url,
            lambda response, body: read(response.status_code, body),
            content=sent,
            headers={KEY: key},
            check=check,
        )

    async def close(self) -> None:
        await self.attempts.close()


def document(order: Order, digits: int) -> dict[str, Any]:
    """What the counterpart reads; what is not needed is left out.

    >>> document(Order("k", "15550100", "DATA500_1D", 1000, "XTS", True, "booster", "small"), 2)["price"]
    '10.00'
    """
    tax = _major(order.tax, digits) if order.tax else ""
    more = {"tax": tax, "products": list(order.products), "payer": order.payer}
    if order.step != "order":
        more |= {"step": order.step, "purchase": order.purchase, "undoes": order.undoes}
    return {
        "msisdn": order.msisdn,
        "product": order.product,
        "price": _major(order.price, digits),
        "currency": order.currency,
        "charge": order.charges,
        "action": order.action,
        "variant": order.variant,
        **{name: value for name, value in more.items() if value},
    }


def _major(amount: int, digits: int) -> str:
    return f"{Decimal(amount).scaleb(-digits):f}"


def outcome(status: int, body: bytes) -> Outcome:
    """What an answer means, by its status; a body that cannot be read says nothing.

    >>> outcome(402, b"").reason, outcome(409, b'{"reason": "not_in_this_plan"}').reason, outcome(503, b"").status
    ('insufficient_funds', 'not_in_this_plan', 'retry')
    """
    answer = _answer(body)
    if 200 <= status < 300:
        if status == ACCEPTED or answer.status not in ("", "done"):
            return Outcome("unknown", reason=f"HTTP {status}: not done yet")
        return Outcome("done")
    if status in COME_BACK or status < 400 or status == UNAVAILABLE:
        return Outcome("retry", reason=f"HTTP {status}")
    if status >= 500:
        return Outcome("unknown", reason=f"HTTP {status}")
    usual = INSUFFICIENT_FUNDS if status == PAYMENT_REQUIRED else f"HTTP {status}"
    return Outcome("refused", reason=_words_of(answer) or usual)


def known(status: int, body: bytes) -> Outcome:
    """What it means when a call was asked for. Only a `status` of the counterpart's own is final.

    >>> known(200, b'{"status": "done"}').status, known(404, b"").status, known(200, b"<html>").status
    ('done', 'absent', 'unknown')
    >>> known(200, b'{"status": "refused", "reason": "insufficient_funds"}').reason
    'insufficient_funds'
    """
    answer = _answer(body)
    if status == NOT_FOUND or status in CANNOT_TELL:
        return Outcome("absent", reason=f"HTTP {status}")
    if status == OK and answer.status == "done":
        return Outcome("done")
    if status == OK and answer.status == "refused":
        return Outcome("refused", reason=_words_of(answer) or "refused")
    return Outcome("unknown", reason=f"asked for it: HTTP {status}")


def _answer(body: bytes) -> _Answer:
    try:
        return _read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Answer()


def _words_of(answer: _Answer) -> str:
    return " ".join(answer.reason.split())[:MAX_REASON]


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
