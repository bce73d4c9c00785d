"""Recommendations as TM Forum words them (TMF680 v4), of what everybody who asks is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
import structlog
from msgspec import Raw

from kairos.adapters.hubs import HubEvent, Hubs, hub_event
from kairos.adapters.inbound import HttpInbound
from kairos.adapters.rfc3339 import iso
from kairos.adapters.trouble import Trouble
from kairos.domain.inbound import Sought
from kairos.domain.recommendation import UNDER_WAY, Kept
from kairos.errors import EventError, KairosError
from kairos.playbook.vocabulary_file import INBOUND
from kairos.ports import Queries

log = structlog.get_logger("kairos.recommendations")
R = TypeVar("R")

FAILED: Final = "terminatedWithError"
CREATED: Final = "QueryProductRecommendationCreateEvent"
CHANGED: Final = "QueryProductRecommendationStateChangeEvent"
EVENTS: Final = (CREATED, CHANGED)
AT_ONCE: Final = 100  # recommendations that are answered, or told, in one round
_resource: Final = msgspec.json.Decoder(dict[str, Any], float_hook=lambda text: Raw(text.encode())).decode

PLACE: Final = "place"  # the field that takes where they are, where the event has one
UNITS: Final = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1, "millisecond"))


class HttpRecommendations:
    """The same Visit as any other door's. What is kept is in `queries`, opened when it is first wanted.

    `kept_for` in ms (0: for ever), `most` of them; `hubs`: who is told what becomes of them.
    """

    def __init__(
        self,
        inbound: HttpInbound,
        queries: Callable[[], Queries],
        hubs: Hubs,
        *,
        kept_for: int = 0,
        most: int = 1000,
    ) -> None:
        self.inbound, self.clock, self.hubs = inbound, inbound.loop.clock, hubs
        self.kept_for, self.most = kept_for, most
        self._open = queries
        self._queries: Queries | None = None
        self._thread = ThreadPoolExecutor(1, "kairos-recommendations")  # the store's file is one thread's
        self._came, self._ended = asyncio.Event(), asyncio.Event()
        self._owed: dict[str, set[str]] = {}  # of those that were handed out: who is not done with it

    async def recommend(self, key: str, sought: Sought) -> Mapping[str, Any] | None:
        kind, data = self._why(sought)
        found = await self.inbound.decide(
            f"tmf680/{key}", sought.subscriber, sought.channel, kind, data, sought.at_most
        )
        return None if found is None else recommended(found["offers"], self.clock())

    async def keep(self, key: str, sought: Sought, resource: Mapping[str, Any], client: str) -> Mapping[str, Any]:
        name = self.inbound.name(sought.subscriber)
        kind, data = self._why(sought)
        self.inbound.reader().fields(kind, data)  # what cannot be read is refused now
        now = self.clock()
        stands = {**resource, "state": UNDER_WAY, "lifecycleStatus": UNDER_WAY, "lastUpdate": iso(now)}
        kept = Kept(key, name, now, UNDER_WAY, sought, msgspec.json.encode(stands), client=client)
        before = now - self.kept_for if self.kept_for else 0
        await self._do(lambda queries: queries.put(kept, before, self.most))
        self._came.set()
        return stands

    async def kept(self, key: str, client: str | None) -> Mapping[str, Any] | None:
        found = await self._do(lambda queries: queries.get(key))
        return _plain(found.resource) if found and client in (None, found.client) else None

    async def all_kept(self, client: str | None) -> Sequence[Mapping[str, Any]]:
        return await self._do(lambda queries: [_plain(resource) for resource in queries.resources(client)])

    # -- what is kept is answered, and told ----------------------------------------------------------------------------

    async def run(self, *, every: float = 1.0) -> None:
        """Until cancelled: answer what is kept, and tell those who listen."""
        telling = self._on(self._ended, self.tell_ended, every)
        await asyncio.gather(self._on(self._came, self.answer_kept, every), telling)

    async def _on(self, wake: asyncio.Event, work: Callable[[], Awaitable[bool]], every: float) -> None:
        """Work while there is some, and look again when woken, or after `every` seconds."""
        trouble = Trouble(log, "recommendations that are kept wait")
        while True:
            wake.clear()
            try:
                done = await work()
                trouble.now("")
            except KairosError as error:
                done = False
                trouble.now(str(error))
            except Exception as error:  # what is wrong with one of them must not end the server
                done = False
                if trouble.changes(repr(error)):
                    log.exception("recommendations that are kept broke")
            if not done:
                with suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), every)

    async def answer_kept(self) -> bool:
        """Whether there was one to answer. What is cut short is done anew under its key: it makes no second offer."""
        waiting = await self._do(lambda queries: queries.under_way(AT_ONCE))
        ended = await asyncio.gather(*map(self._answered, waiting))
        if ended:
            await self._do(lambda queries: queries.finish(ended))
            self._ended.set()
        return bool(waiting)

    async def tell_ended(self) -> bool:
        """Hand what has ended to those who listen, and mark what they are done with; whether there was something.

        What is cut short is told once more.
        """
        listening = {hub.id for hub in self.hubs.listening}
        done = [key for key, owed in self._owed.items() if owed.isdisjoint(listening)]
        if done:
            await self._do(lambda queries: queries.mark_told(done))
            for key in done:
                del self._owed[key]
        untold = await self._do(lambda queries: queries.untold(AT_ONCE + len(self._owed)))
        new = [kept for kept in untold if kept.key not in self._owed]
        for kept in new:
            self._hand_out(kept, listening)
        return bool(new or done)

    def _hand_out(self, kept: Kept, listening: Collection[str]) -> None:
        events, owed = _events(kept), set[str]()
        self._owed[kept.key] = owed
        for id_ in listening:
            line = self.hubs.line(id_)
            if line and line.take(events, partial(self._done, owed, id_)):
                owed.add(id_)

    def _done(self, owed: set[str], id_: str) -> None:
        owed.discard(id_)
        self._ended.set()

    async def _answered(self, kept: Kept) -> tuple[str, str, bytes]:
        try:
            found = await self.recommend(kept.key, kept.sought)
            why = f"nobody is known by `{kept.sought.subscriber}`"
        except EventError as error:  # the playbook has changed since
            found, why = None, str(error)
        except KairosError:
            raise
        except Exception:  # it would break each time, and those beside it would wait
            log.exception("a recommendation cannot be answered", recommendation=kept.key)
            found, why = None, "it could not be answered; the log says why"
        end = found or {
            "state": FAILED,
            "lifecycleStatus": FAILED,
            "lastUpdate": iso(self.clock()),
            "reason": why,
        }
        return kept.key, end["state"], msgspec.json.encode({**_plain(kept.resource), **end})

    async def _do(self, what: Callable[[Queries], R]) -> R:
        def done() -> R:
            if self._queries is None:
                self._queries = self._open()
            return what(self._queries)

        return await asyncio.get_running_loop().run_in_executor(self._thread, done)

    async def close(self) -> None:
        await self.hubs.close()
        if self._queries is not None:
            await self._do(lambda queries: queries.close())
        self._thread.shutdown()

    def _why(self, sought: Sought) -> tuple[str, bytes]:
        """The event, if they seek for one that some action answers, and its fields."""
        answered = self.inbound.loop.engine.program.decide.answers
        kind = sought.kind if sought.kind in answered else INBOUND
        takes_place = sought.place and PLACE in self.inbound.reader().kinds.get(kind, {})
        fields = ({PLACE: sought.place} if takes_place else {}) | sought.fields
        return kind, msgspec.json.encode(fields)


def _plain(resource: bytes) -> dict[str, Any]:
    """A resource of JSON, amounts with the decimals that they have there."""
    found: dict[str, Any] = _resource(resource)
    return found


def _events(kept: Kept) -> list[HubEvent]:
    """What TMF680 tells of one that has ended: as it was made, and as it ended."""
    ended = _plain(kept.resource)
    begun = {name: value for name, value in ended.items() if name not in ("recommendationItem", "validFor", "reason")}
    begun |= {"state": UNDER_WAY, "lifecycleStatus": UNDER_WAY, "lastUpdate": iso(kept.at)}
    return [
        hub_event(f"{kept.key}/{kind}", kind, resource["lastUpdate"], "queryProductRecommendation", resource)
        for kind, resource in ((CREATED, begun), (CHANGED, ended))
    ]


def recommended(offers: list[Mapping[str, Any]], now: int) -> dict[str, Any]:
    """The attributes of a recommendation that is done, of the offers as they are told (`inbound.plain_offer`)."""
    ends = [offer["until"] for offer in offers]
    return {
        "state": "done",
        "lifecycleStatus": "done",
        "lastUpdate": iso(now),
        "validFor": {"startDateTime": iso(now), "endDateTime": iso(min(ends, default=now))},
        "recommendationItem": [_item(offer, place) for place, offer in enumerate(offers, 1)],
    }


def _item(offer: Mapping[str, Any], place: int) -> dict[str, Any]:
    """One offer; its `id` is what takes it (POST /v1/responses). What is only said has none."""
    offering = {
        "id": f"{offer['action']}/{offer['variant']}" if offer["variant"] else offer["action"],
        "name": offer["title"],
        "@referredType": "ProductOffering",
    }
    says = {name: offer[name] for name in ("text", "language", "kind", "status", "channel", "shown_price", "number")}
    more = {"replyTo": offer["reply_to"], "redeemedBy": offer["redeemed_by"], "confirmTwice": offer["confirm_twice"]}
    product = {
        "name": offer["title"],
        "description": offer["text"],
        "productOffering": offering,
        "productPrice": [_price(offer)],
        "productTerm": _terms(offer),
        "productCharacteristic": [{"name": name, "value": value} for name, value in (says | more).items()],
    }
    taken_by = {"id": offer["offer"]} if offer["offer"] else {}
    return {**taken_by, "priority": place, "product": product, "productOffering": offering}


def _price(offer: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts are JSON numbers with the decimals that the currency has, written exactly."""
    unit, net = offer["currency"], Decimal(offer["price"]) - Decimal(offer["tax"])
    return {
        "name": offer["title"],
        "priceType": "oneTime",
        "price": {
            "taxIncludedAmount": {"unit": unit, "value": Raw(offer["price"].encode())},
            "dutyFreeAmount": {"unit": unit, "value": Raw(str(net).encode())},
        },
    }


def _terms(offer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Until when it can be taken, and how long the product is valid then, where that is known."""
    period = {"startDateTime": iso(offer["made"]), "endDateTime": iso(offer["until"])}
    terms: list[dict[str, Any]] = [{"name": "offer", "validFor": period}]
    if lasts := offer["lasts"]:
        length, unit = next(one for one in UNITS if lasts % one[0] == 0)
        duration = {"amount": lasts // length, "units": unit}
        terms.append({"name": "validity", "description": offer["validity"], "duration": duration})
    return terms
