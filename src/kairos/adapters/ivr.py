"""A dialler calls, and a voice tells the offer: 1 takes it, 2 declines it, 9 ends all calls. docs/channels.md

The call is asked for with a signed webhook whose id is the offer's key. The dialler then fetches what to say (VoiceXML
2.1), and brings the digits, or how the call ended, to a path with a secret in it.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal
from xml.sax.saxutils import escape, quoteattr

import msgspec

from kairos.adapters.webhooks import Target, body, of_text
from kairos.domain.inbound import Verb, Word
from kairos.domain.inputs import Delivery
from kairos.domain.message import Outgoing, Text
from kairos.engine.loop import Loop
from kairos.ports import Outcome, Store

IVR: Final = "ivr"
DIGITS: Final[Mapping[str, Verb | Literal["stop"]]] = {"1": "accept", "2": "decline", "9": "stop"}
UNHEARD: Final = frozenset({"no_answer", "busy", "failed", "canceled"})  # nothing was told: its limit is given back
HEARD: Final = frozenset({"answered", "completed", "hung_up"})
COMMITTED_WITHIN: Final = (0.0, 0.05, 0.2, 0.5)  # seconds

_text = msgspec.msgpack.Decoder(Text).decode


class Dialler:
    """A Channel: who takes the request makes the call. `callbacks`: how the dialler reaches us, secret included."""

    def __init__(self, target: Target, callbacks: str) -> None:
        self.target, self.callbacks = target, callbacks
        self.close = target.close

    async def send(self, text: Text) -> Outcome:
        where = {"document": f"{self.callbacks}/{text.offer}", "callback": self.callbacks}
        found = await self.target.post(text.offer, body("call", self.target.clock(), of_text(text) | where))
        return replace(found, peer_id=text.offer) if found.status in ("sent", "unknown") else found


class Voice:
    """What the HTTP door asks for the dialler."""

    def __init__(self, loop: Loop, secret: str, callbacks: str) -> None:
        self.loop, self.secret, self.callbacks = loop, secret, callbacks

    def knows(self, secret: str) -> bool:
        return hmac.compare_digest(secret.encode(), self.secret.encode())

    async def document(self, offer: str) -> str | None:
        """What is said in a call, each time as another turn; None for one that there is not."""
        row = await self._row(offer)
        if row is None:
            return None
        text = _text(row.payload)
        return spoken(text.text, offer, self.callbacks, secrets.token_hex(8), text.reply_in)

    async def _row(self, offer: str) -> Outgoing | None:
        """The call's row; a dialler may be quicker than the commit that tells that it has the request."""
        for wait in COMMITTED_WITHIN:
            await asyncio.sleep(wait)
            row = await self.loop.aside.read(Store.outgoing_by_peer_id, offer)
            if row is not None:
                return row if row.channel == IVR else None
        return None

    async def heard(self, offer: str, call: str, digits: str, state: str) -> Mapping[str, Any] | None:
        """What digits, or the end of a call, mean; None for a call that there is not. Raises KairosError."""
        row = await self._row(offer)
        if row is None:
            return None
        text, now = _text(row.payload), self.loop.clock()
        if digits:
            said = DIGITS.get(digits)
            if said is None:
                return {"offer": offer, "status": "unclear", "again": True}
            name = text.msisdn or text.destination
            identity = f"ivr/{offer}/{call}/{digits}"
            answer = await self.loop.submit(Word(identity, name, offer, said, IVR, now, f"pressed {digits}"))
            again = answer.outcome == "confirm"
            return {"offer": offer, "status": answer.outcome or answer.status, "because": answer.reason, "again": again}
        if state in UNHEARD:
            news = Delivery(row.id, row.subscriber, "dropped", now, offer=offer, decision=text.decision, reason=state)
            await self.loop.submit(news, own=True)
        elif state in HEARD:
            await self.loop.submit(Delivery(row.id, 0, "delivered", now), own=True)
        return {"offer": offer, "status": state, "again": False}


def spoken(text: str, offer: str, callback: str, turn: str, language: str = "") -> str:
    """VoiceXML 2.1 that says a text in its language and hands the digit that is pressed to the callback, with whose
    `turn` it is: one submit that is repeated is one answer, and what is pressed when asked again is another.

    >>> "<prompt>2 GB &lt;now&gt;</prompt>" in spoken("2 GB <now>", "5da2-17", "https://kairos.example/v1/ivr/s", "t1")
    True
    """
    choices = "".join(f'<choice dtmf="{digit}" next={quoteattr(f"#d{digit}")}/>' for digit in DIGITS)
    forms = "".join(
        f'<form id="d{digit}"><var name="offer" expr="{_js(offer)}"/><var name="digits" expr="\'{digit}\'"/>'
        f'<var name="call" expr="{_js(turn)}"/><block><submit next={quoteattr(callback)} method="post" '
        f'namelist="offer digits call"/></block></form>'
        for digit in DIGITS
    )
    voice = f" xml:lang={quoteattr(language)}" if language else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<vxml version="2.1" xmlns="http://www.w3.org/2001/vxml"{voice}>'
        f'<menu id="ask"><prompt>{escape(text)}</prompt>{choices}<noinput><reprompt/></noinput></menu>{forms}</vxml>'
    )


def _js(word: str) -> str:
    """A text as ECMAScript has it, within an attribute: a key has no character that either would read."""
    return "'" + "".join(c for c in word if c.isalnum() or c in "-_") + "'"
