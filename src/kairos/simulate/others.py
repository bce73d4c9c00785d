"""Other systems that send to the same subscribers through kairos: a content partner over TMF681, with a ledger."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

import httpx

from kairos.simulate import scenario

PATH = "/tmf-api/communicationManagement/v4/communicationMessage"
TWICE = 0.08  # another system of theirs sends the same
TEXTS = (
    "Games: a new season has begun. Play today, the first level is free.",
    "Games: your friends are three levels ahead of you.",
    "Games: double coins until Sunday.",
)
STATUSES = ("delayed", "merged", "refused")


class OtherSystems:
    """`rate` messages a second. Once kairos says that it knows no such sender, nothing more is sent."""

    def __init__(self, msisdns: Sequence[str], rate: float, rng: random.Random) -> None:
        self.url = ""
        self.key = ""  # of kairos' HTTP door, where it has a lock
        self.rate = rate
        self.sent: Counter[str] = Counter()  # by what kairos answered: accepted, delayed, merged, refused
        self.arrived = 0
        self._msisdns, self._rng = msisdns, rng
        self._http = httpx.AsyncClient(timeout=10.0, trust_env=False)
        self._due = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        return len(self._tasks)

    def tick(self, passed: float) -> None:
        """What is due by now, in seconds since the start."""
        while self.rate and self._due < passed:
            self._due += 1 / self.rate
            self._spawn(self._campaign(self._rng.choice(self._msisdns), self._rng.choice(TEXTS)))

    async def _campaign(self, msisdn: str, text: str) -> None:
        again = self._rng.random() < TWICE
        await self.send(msisdn, text)
        if again:
            await self.send(msisdn, text)

    async def send(self, msisdn: str, text: str) -> str:
        """Hand one message over; how it stands, or an empty text where kairos does not take it."""
        body = {
            "messageType": "SMS",
            "content": text,
            "sender": {"name": scenario.PARTNER},
            "receiver": [{"phoneNumber": f"+{msisdn}"}],
        }
        try:
            headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
            answer = await self._http.post(self.url + PATH, json=body, headers=headers)
        except httpx.TransportError:
            return ""
        if answer.status_code != 201:
            self.rate = self.rate if answer.status_code >= 500 else 0.0
            return ""
        status = str(answer.json()["receiver"][0]["status"])
        self.sent[status] += 1
        return status

    def figures(self) -> dict[str, int]:
        """All that was handed over, what of it did not go out at once and why, and what handsets saw."""
        told = {status: self.sent[status] for status in STATUSES}
        return {"sent": self.sent.total(), **told, "arrived": self.arrived} if self.sent else {}

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
