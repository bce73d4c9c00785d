"""Events over HTTP, sent again until each has a result: CloudEvents in batches, and what other systems post in JSON of
their own, as lines.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from kairos.simulate.ocs import Balances, show

Event = dict[str, Any]  # a CloudEvent in its JSON shape

EVERY, RETRY_EVERY = 0.05, 0.25  # seconds

_SOURCE = "//synthetic.example/ocs"
_PREFIX = "example.synthetic."
_BATCH = "application/cloudevents-batch+json"
_LINES = "application/x-ndjson"
_CATEGORIES = {"video": "VIDEO_STREAMING", "music": "AUDIO_STREAMING", "games": "GAMING", "social": "SOCIAL"}
_ITEMS = (("RBT_2041", "RING_BACK_TONE"), ("GAME_118", "GAME"), ("NEWS_7", "NEWS"))


def rfc3339(at: int) -> str:
    """A moment (ms since the epoch) as the wire has it.

    >>> rfc3339(1_795_424_400_500)
    '2026-11-23T09:00:00.500Z'
    """
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def balances_field(left: Balances) -> list[dict[str, str]]:
    """Wallets as an event's `balances`; an allowance that is there says when it expires."""
    fields = [{"wallet": "main", "amount": show(left.main)}]
    data = f"{left.data_kb // 1000}.{left.data_kb % 1000:03d}"
    for wallet, amount, there, until in (
        ("data", data, left.data_kb, left.data_until),
        ("voice", str(left.voice_min), left.voice_min, left.voice_until),
    ):
        fields.append({"wallet": wallet, "amount": amount} | ({"expires": rfc3339(until)} if there else {}))
    return fields


class EventFeed:
    """Collects events and posts them, a batch each `EVERY` seconds. `url` may change while it runs.

    `source`: what it posts is another system's JSON, as lines, to the door of that name.
    """

    def __init__(self, *, ids: Iterator[str], clock: Callable[[], int], source: str = "") -> None:
        self.url = ""
        self._path = f"/v1/sources/{source}" if source else "/v1/events"
        self._media = _LINES if source else _BATCH
        self.key = ""  # of kairos' HTTP door, where it has a lock
        self.results: Counter[str] = Counter()  # applied, duplicate, rejected
        self.complaints: list[str] = []  # the first few errors, as kairos worded them
        self.sent = 0
        self._ids = ids
        self._clock = clock
        self._queue: list[Event] = []
        self._posting = 0
        self._http = httpx.AsyncClient(timeout=10.0, trust_env=False)
        self._task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> int:
        """Events without a result."""
        return len(self._queue) + self._posting

    def event(self, kind: str, msisdn: str, data: Mapping[str, object], at: int | None = None) -> Event:
        """A CloudEvent with a fresh id; `at` in ms since the epoch, now where it is None."""
        return {
            "specversion": "1.0",
            "id": next(self._ids),
            "source": _SOURCE,
            "type": _PREFIX + kind,
            "subject": "+" + msisdn,
            "time": rfc3339(self._clock() if at is None else at),
            "data": dict(data),
        }

    def add(self, event: Event) -> None:
        """Send it with the next batch."""
        self._queue.append(event)
        self.sent += 1

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._http.aclose()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            if self._queue and self.url:
                batch, self._queue = self._queue[:500], self._queue[500:]
                await self.post(batch)

    async def post(self, batch: Sequence[Event]) -> None:
        """Post one batch until it is answered: the same ids every time, so that repeating it changes nothing."""
        self._posting += len(batch)
        body = msgspec.json.Encoder().encode_lines(batch) if self._media == _LINES else msgspec.json.encode(batch)
        while True:
            answer = await self._try(body)
            if answer is not None:
                break
            await asyncio.sleep(RETRY_EVERY)
        self._posting -= len(batch)
        self._note(answer, len(batch))

    async def _try(self, body: bytes) -> httpx.Response | None:
        """The answer, where it is one to keep."""
        try:
            headers = {"content-type": self._media} | ({"authorization": f"Bearer {self.key}"} if self.key else {})
            answer = await self._http.post(self.url + self._path, content=body, headers=headers)
        except httpx.TransportError:
            return None
        return None if answer.status_code >= 500 or answer.status_code == 429 else answer

    def _note(self, answer: httpx.Response, size: int) -> None:
        if answer.status_code != 200:
            self.results["rejected"] += size
            self._complain(f"{answer.status_code}: {answer.text}")
            return
        for result in answer.json()["results"]:
            self.results[result["status"]] += 1
            if result["status"] == "rejected":
                self._complain(str(result.get("error")))

    def _complain(self, text: str) -> None:
        if len(self.complaints) < 5:
            self.complaints.append(text[:500])


def app_start(report: str, msisdn: str, app: str, at: int) -> Event:
    """What traffic detection reports as an application starts."""
    return {
        "reportId": report,
        "event": "APPLICATION_START",
        "subscriber": {"msisdn": msisdn},
        "application": {"id": f"{app}-of-others", "category": _CATEGORIES.get(app, "WEB")},
        "startTime": at,
    }


def app_stop(report: str, msisdn: str, app: str, began: int, at: int, size: int) -> Event:
    """And as it stops."""
    report_of_start = app_start(report, msisdn, app, began)
    usage = {"uplinkBytes": size // 100, "downlinkBytes": size - size // 100}
    return report_of_start | {"event": "APPLICATION_STOP", "stopTime": at, "usage": usage}


def vas_purchase(transaction: str, msisdn: str, item: int, minor: int, at: int) -> Event:
    """What a platform for value-added services tells of a purchase there."""
    sku, category = _ITEMS[item % len(_ITEMS)]
    return {
        "transactionId": transaction,
        "status": "CHARGED",
        "msisdn": "+" + msisdn,
        "purchasedAt": rfc3339(at),
        "item": {"sku": sku, "category": category},
        "price": {"amountMinor": minor, "currency": "XTS"},
    }
