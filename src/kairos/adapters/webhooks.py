"""Outgoing webhooks, signed as Standard Webhooks 1.0 says, and a channel that is a system of one's own.

POST {url}
webhook-id: <key>                  the same whenever this is sent again
webhook-timestamp: <seconds>
webhook-signature: v1,<base64 of HMAC-SHA-256 over "id.timestamp.body">, one for each secret

2xx                         taken
3xx 401 403 407 408 425 429 503, no connection    it was not taken: come back
other 4xx                   refused for good
other 5xx, no answer        it may have been taken: an offer is not sent again
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

import httpx
import msgspec
import structlog

from kairos.adapters.http_attempt import Attempts
from kairos.adapters.rfc3339 import iso
from kairos.adapters.trouble import Trouble
from kairos.domain.message import Text
from kairos.errors import Diagnostic, SettingsError
from kairos.ports import Clock, Outcome

log = structlog.get_logger("kairos.webhooks")

PREFIX: Final = "whsec_"
SHORTEST, LONGEST = 24, 64  # octets of a secret
COME_BACK: Final = frozenset({401, 403, 407, 408, 425, 429, 503})
LONGEST_WAIT: Final = 3600.0  # seconds that a counterpart may tell us to stay away

_write = msgspec.json.Encoder().encode


def read_secrets(written: str, setting: str) -> list[bytes]:
    """Secrets with blanks between them, each `whsec_` and base64. Raises SettingsError, which shows none of them."""
    found = []
    for one in written.split() or [""]:
        try:
            secret = base64.b64decode(one.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            secret = b""
        if not one.startswith(PREFIX) or not SHORTEST <= len(secret) <= LONGEST:
            what = f"`{setting}` is no secret for webhooks"
            hint = f"write `{PREFIX}` and base64 of {SHORTEST} to {LONGEST} octets (`openssl rand -base64 32`)"
            raise SettingsError([Diagnostic("", 0, what, hint)])
        found.append(secret)
    return found


def signatures(secrets: Sequence[bytes], id_: str, timestamp: int, body: bytes) -> str:
    """One for each secret, so that a receiver that knows the old one or the new one can check it.

    >>> secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> signatures([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = b".".join((id_.encode(), str(timestamp).encode(), body))
    return " ".join("v1," + base64.b64encode(hmac.digest(one, signed, sha256)).decode() for one in secrets)


class Target:
    """Somebody who is told by webhook. It follows no redirects and reads no more of an answer than it must.

    `section`: of the settings, for the log.
    """

    def __init__(
        self, url: str, secrets: Sequence[bytes], timeout_s: float, clock: Clock, at_once: int, section: str = ""
    ) -> None:
        self.url, self.secrets, self.clock = url, secrets, clock
        kinds = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "kairos"}
        host = httpx.URL(url).host  # the rest of it may hold a token
        trouble = Trouble(log, "a webhook is not taken", "a webhook is taken again", section=section, host=host)
        self.attempts = Attempts(timeout_s, at_once, trouble, headers=kinds)

    async def post(self, id_: str, body: bytes) -> Outcome:
        """One attempt, as long as it may take. Never raises for what the network or the target does."""
        timestamp = self.clock() // 1000
        headers = {"webhook-id": id_, "webhook-timestamp": str(timestamp)}
        if self.secrets:
            headers["webhook-signature"] = signatures(self.secrets, id_, timestamp, body)
        return await self.attempts.call(
            "POST",
            self.url,
            lambda response, _: outcome(response.status_code, response.headers.get("retry-after", "")),
            content=body,
            headers=headers,
        )

    async def close(self) -> None:
        await self.attempts.close()


def outcome(status: int, retry_after: str = "") -> Outcome:
    """What an answer means.

    >>> outcome(204).status, outcome(302).status, outcome(422).status, outcome(500).status, outcome(429, "7").after
    ('sent', 'retry', 'failed', 'unknown', 7.0)
    """
    if 200 <= status < 300:
        return Outcome("sent")
    reason = f"HTTP {status}"
    if status < 400 or status in COME_BACK:
        wait = float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 9 else 0.0
        return Outcome("retry", reason=reason, after=min(wait, LONGEST_WAIT))
    return Outcome("unknown" if status >= 500 else "failed", reason=reason)


class Webhook:
    """A Channel: a system of the operator's own takes the message and brings it to whoever it is for."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.close = target.close

    async def send(self, text: Text) -> Outcome:
        found = await self.target.post(text.offer, body("message", self.target.clock(), of_text(text)))
        return replace(found, peer_id=text.offer) if found.status == "sent" else found


def body(kind: str, at: int, data: dict[str, Any]) -> bytes:
    """What is sent: its kind, when it happened (ISO 8601), and all about it."""
    return _write({"type": kind, "timestamp": iso(at), "data": data})


def of_text(text: Text) -> dict[str, Any]:
    """A message as others read it; what it has not is left out."""
    fields = {
        "offer": text.offer,
        "decision": text.decision,
        "subscriber": f"+{text.msisdn or text.destination}",
        "address": text.destination,
        "subject": text.subject,
        "text": text.text,
        "language": text.reply_in,
        "html": text.html,
        "media": text.media,
        "reply_to": text.source,
        "action": text.action,
        "issue": text.issue,
        "purpose": text.purpose or "marketing",
        "send_by": iso(text.send_by) if text.send_by else "",
    }
    return {name: value for name, value in fields.items() if value}
