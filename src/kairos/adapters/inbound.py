"""What the HTTP door asks of a running kairos for those who ask, and for an agent's screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from kairos.adapters.subscribers import Subscribers
from kairos.domain.inbound import Told, Verb, Visit, Word
from kairos.engine.loop import Loop
from kairos.engine.program import Program
from kairos.errors import EventError, did_you_mean
from kairos.ingest import EventReader, read_name
from kairos.playbook.vocabulary_file import INBOUND


class HttpInbound:
    """Through the engine, as everything is; what is only read is read in a thread. `reader`: of the playbook in use."""

    def __init__(
        self, loop: Loop, subscribers: Subscribers, reader: Callable[[], EventReader], region: str = ""
    ) -> None:
        self.loop, self.subscribers, self.reader, self.region = loop, subscribers, reader, region

    async def decide(
        self, request: str, subscriber: str, channel: str, event: str, data: bytes, at_most: int
    ) -> Mapping[str, Any] | None:
        fields = self._fields(event, data)
        name, now = self.name(subscriber), self.loop.clock()
        answer = await self.loop.ask(Visit(f"ask/{request}", name, channel, now, event, fields, at_most))
        if answer.status == "rejected":
            return None
        program = self.loop.engine.program
        return {
            "id": request,
            "channel": channel,
            "decision": answer.decision,
            "because": answer.reason,
            "offers": [plain_offer(program, told) for told in answer.offers],
        }

    async def respond(
        self, request: str, subscriber: str, offer: str, said: Verb, channel: str, who: str
    ) -> Mapping[str, Any] | str:
        name, now = self.name(subscriber), self.loop.clock()
        answer = await self.loop.ask(Word(f"say/{request}", name, offer, said, channel, now, who))
        if answer.status == "rejected":
            return answer.reason
        (told,) = answer.offers
        stands = plain_offer(self.loop.engine.program, told)
        return {"id": request, "status": answer.outcome, "because": answer.reason, "offer": stands}

    async def subscriber(self, name: str) -> Mapping[str, Any] | None:
        program, switches = self.loop.engine.program, self.loop.engine.switches
        known_as = self.name(name)
        return await asyncio.to_thread(self.subscribers.shown, program, switches, known_as, self.loop.clock())

    def name(self, written: str) -> str:
        """A subscriber's name as it is kept. Raises EventError."""
        try:
            return read_name(written, self.region)
        except EventError as error:
            raise EventError(f"`subscriber`: {error}", "subscriber") from None

    def _fields(self, event: str, data: bytes) -> dict[str, Any]:
        """The event's fields. What no action answers is a mistake, and no reason to say nothing."""
        answered = self.loop.engine.program.decide.answers
        if event != INBOUND and event not in answered:
            known = [*answered, INBOUND]
            hint = did_you_mean(event, known) or f"known: {', '.join(f'`{kind}`' for kind in known)}"
            raise EventError(f"no action answers `{event}`; {hint}", "event")
        return self.reader().fields(event, data)


def plain_offer(program: Program, told: Told) -> dict[str, Any]:
    """An offer as JSON can hold it: money is exact decimal text, times are ms."""
    currency, arm = program.playbook.currency, program.decide.named.get((told.action, told.variant))
    validity = arm.variant.fields.get("validity", "") if arm else ""
    return {
        "offer": told.key,
        "status": told.status,
        "action": told.action,
        "variant": told.variant,
        "kind": told.kind,
        "title": told.title,
        "text": told.text,
        "language": told.language,
        "price": currency.exact(told.price),
        "tax": currency.exact(told.tax),
        "currency": currency.code,
        "shown_price": currency.show(told.price),
        "charges": told.charges,
        "validity": validity,
        "lasts": told.lasts,
        "number": told.number,
        "reply_to": told.reply_to,
        "made": told.made,
        "until": told.until,
        "channel": told.channel,
        "confirm_twice": told.twice,
        "redeemed_by": told.redeemed_by,
        "decision": told.decision,
    }
