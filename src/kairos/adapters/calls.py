"""The call centre's list: offers that agents tell by telephone. docs/channels.md

An entry is an outbox row that waits for an agent. Whoever claims it has it for a while (a lease), and only then it is
marked as being sent: so it is asked once more whether it may be told, no two agents have the same one, and what nobody
claims in time gives its limit and its offer back. What an agent was given and never came back from may have been told:
nobody else gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kairos.adapters.webhooks import of_text
from kairos.domain.inbound import CallResult, Verb, Word
from kairos.domain.message import Outgoing, Text
from kairos.engine.loop import Loop
from kairos.errors import EventError
from kairos.ingest import read_name
from kairos.ports import Clock, Outcome

CALLS: Final = "calls"
SAID: Final[Mapping[str, Verb | Literal["stop"]]] = {"accepted": "accept", "declined": "decline", "stop": "stop"}
GIVEN_WITHIN: Final = 5.0  # seconds that an agent waits for a call to be theirs


@dataclass(slots=True, eq=False)
class Entry:
    """A call to be made. `claimed`: an agent asks for it; `settled`: they have it, or they never will."""

    text: Text
    claimed: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    until: int = 0  # ms: when its lease ends; 0: nobody has it
    result: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class CallList:
    """A Channel and its Room. `lease_s`: how long an agent has; `again_after_s`: when who was not reached is tried."""

    def __init__(self, clock: Clock, lease_s: float, again_after_s: float) -> None:
        self.clock, self.lease_s, self.again_after_s = clock, lease_s, again_after_s
        self._waiting: dict[str, Entry] = {}
        self._given: dict[str, Entry] = {}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def __call__(self, row: Outgoing, text: Text, /) -> AbstractAsyncContextManager[object]:
        return self._place(row, text)

    @asynccontextmanager
    async def _place(self, _: Outgoing, text: Text) -> AsyncIterator[None]:
        """Wait for an agent, until it is too late to call."""
        entry = self._waiting[text.offer] = Entry(text)
        left = max(0.0, text.send_by - self.clock()) / 1000 + 0.01 if text.send_by else None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await entry.claimed.wait()
            self._waiting.pop(text.offer, None)
            self._given[text.offer] = entry
            yield
        finally:
            self._waiting.pop(text.offer, None)
            self._given.pop(text.offer, None)
            entry.settled.set()

    async def send(self, text: Text) -> Outcome:
        """What came of the call; it was marked, and may be told now. Never raises."""
        entry = self._given[text.offer]
        if not entry.claimed.is_set():
            return Outcome("retry", reason="nobody claims it")
        entry.until = self.clock() + round(self.lease_s * 1000)
        entry.settled.set()
        await asyncio.wait({entry.result}, timeout=self.lease_s)
        return entry.result.result() if entry.result.done() else Outcome("unknown", reason="the agent never came back")

    async def claim(self, limit: int) -> list[Entry]:
        """The next calls, those first that must be made soonest. What may not be told any more is passed by."""
        given: list[Entry] = []
        while len(given) < limit and self._waiting:
            next_ = sorted(self._waiting.values(), key=lambda one: one.text.send_by)[: limit - len(given)]
            for entry in next_:
                del self._waiting[entry.text.offer]
                entry.claimed.set()
            await _settled(next_)
            given += [entry for entry in next_ if entry.until]
        return given

    def has(self, offer: str) -> bool:
        """Whether an agent has this call, and brought nothing yet."""
        entry = self._given.get(offer)
        return entry is not None and entry.until > 0 and not entry.result.done()

    def settle(self, offer: str, result: CallResult) -> bool:
        """Note what came of a call; False where nobody has it."""
        if not self.has(offer):
            return False
        if result == "not_reached":
            outcome = Outcome("retry", reason="not reached", after=self.again_after_s)
        elif result == "wrong_person":
            outcome = Outcome("failed", reason="wrong person")
        else:
            outcome = Outcome("sent", offer)
        self._given[offer].result.set_result(outcome)
        return True


async def _settled(entries: Iterable[Entry]) -> None:
    """Wait for them, but not for long: an agent asks again, and whoever is behind has a lease that ends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(GIVEN_WITHIN):
            await asyncio.gather(*(entry.settled.wait() for entry in entries))


class CallDesk:
    """What the HTTP door asks for agents: the list, and what they bring back."""

    def __init__(self, calls: CallList, loop: Loop, region: str = "") -> None:
        self.calls, self.loop, self.region = calls, loop, region

    def waiting(self) -> int:
        return self.calls.waiting

    async def claim(self, limit: int) -> list[dict[str, Any]]:
        return [of_text(entry.text) | {"until": entry.until} for entry in await self.calls.claim(limit)]

    async def settle(
        self, request: str, offer: str, subscriber: str, result: CallResult, who: str
    ) -> Mapping[str, Any] | str:
        """What became of it; in words what is not known. A yes, a no and a STOP are the subscriber's own, whoever had
        the call, and are kept before the call is noted as made. What is brought again is answered as it was, and ends
        no other agent's call. Raises EventError, and KairosError where not now."""
        status, because = str(result), ""
        try:
            name = read_name(subscriber, self.region)
        except EventError as error:
            raise EventError(f"`subscriber`: {error}", "subscriber") from None
        said = SAID.get(result)
        if said:
            answer = await self.loop.submit(Word(f"call/{request}", name, offer, said, CALLS, self.loop.clock(), who))
            if answer.status == "rejected":
                return answer.reason
            status, because = answer.outcome or result, answer.reason
        brought = f"call/{offer}/{request}"
        noting: Literal["called", "called_before"] = "called" if self.calls.has(offer) else "called_before"
        answer = await self.loop.submit(Word(brought, name, offer, noting, CALLS, self.loop.clock(), who))
        if answer.status == "rejected" and not said:
            return answer.reason
        noted = answer.status == "duplicate" or self.calls.settle(offer, result)
        return {"id": request, "offer": offer, "status": status, "because": because, "noted": noted}
