"""Recommendations as TM Forum words them (TMF680 v4), of what everybody who asks is told."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from decimal import Decimal
from typing import Any, Final, TypeVar

import httpx
import msgspec
import structlog
from msgspec import Raw

from kairos.adapters.http_attempt import Connections
from kairos.adapters.inbound import HttpInbound
from kairos.adapters.rfc3339 import iso
from kairos.domain.inbound import Sought
from kairos.domain.recommendation import UNDER_WAY, Kept, Listener
from kairos.errors import EventError, KairosError
from kairos.playbook.vocabulary_file import INBOUND
from kairos.ports import Queries

log = structlog.get_logger("kairos.recommendations")
R = TypeVar("R")

FAILED: Final = "terminatedWithError"
CREATED: Final = "QueryProductRecommendationCreateEvent"
CHANGED: Final = "QueryProductRecommendationStateChangeEvent"
TIMEOUT: Final = 5.0  # seconds that a listener may take each time
JSON: Final = {"content-type": "application/json"}
PAUSES: Final = (0.0, 1.0, 3.0)  # seconds before each try to tell one
AT_ONCE: Final = 100  # recommendations that are answered, or told, in one round
LISTENERS: Final = 100
_resource: Final = msgspec.json.Decoder(dict[str, Any], float_hook=lambda text: Raw(text.encode())).decode

PLACE: Final = "place"  # the field that takes where they are, where the event has one
UNITS: Final = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1, "millisecond"))


class HttpRecommendations:
    """The same Visit as any other door's. What is kept is in `queries`, opened when it is first wanted.

    `kept_for` in ms (0: for ever), `most` of them; `allowed`: how addresses of listeners may begin.
    """

    def __init__(
        self,
        inbound: HttpInbound,
        queries: Callable[[], Queries],
        *,
        kept_for: int = 0,
        most: int = 1000,
        allowed: Collection[str] = (),
    ) -> None:
        self.inbound, self.clock = inbound, inbound.loop.clock
        self.kept_for, self.most, self.allowed = kept_for, most, allowed
        self._open = queries
        self._queries: Queries | None = None
        self._thread = ThreadPoolExecutor(1, "kairos-recommendations")  # the store's file is one thread's
        self._came, self._ended = asyncio.Event(), asyncio.Event()

    async def recommend(self, key: str, sought: Sought) -> Mapping[str, Any] | None:
        kind, data = self._why(sought)
        found = await self.inbound.decide(
            f"tmf680/{key}", sought.subscriber, sought.channel, kind, data, sought.at_most
        )
        return None if found is None else recommended(found["offers"], self.inbound.loop.clock())

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

    async def listen(self, callback: str, query: str) -> Listener | None:
        listener = Listener(uuid.uuid4().hex, callback, query, self._checked(callback, query))
        known = await self._do(lambda queries: queries.listeners())
        if any((one.callback, one.query) == (callback, query) for one in known):
            return None
        if len(known) >= LISTENERS:
            raise EventError(f"there are {LISTENERS} listeners already; DELETE one first")
        await self._do(lambda queries: queries.listen(listener))
        return listener

    async def unlisten(self, key: str) -> bool:
        return await self._do(lambda queries: queries.unlisten(key))

    def _checked(self, callback: str, query: str) -> str:
        """The type of event that a listener wants. Raises EventError where it cannot be one.

        We call whatever they name, so operations say which addresses these may be.
        """
        address = _address(callback)
        if address is None or address.scheme not in ("http", "https") or address.userinfo:
            raise EventError("`callback` is no address of HTTP: write it like `https://host/path`", "callback")
        if not any(_begins(address, one) for one in map(_address, self.allowed)):
            hint = "name how it begins in `listeners` of [recommendations] in the settings"
            raise EventError(f"`callback` is none of the addresses that may be told; {hint}", "callback")
        name, _, event_type = query.partition("=")
        if query and (name != "eventType" or event_type not in (CREATED, CHANGED)):
            what = f"`query` can be `eventType={CREATED}` or `eventType={CHANGED}`, or left out"
            raise EventError(what, "query")
        return event_type

    # -- what is kept is answered, and told ----------------------------------------------------------------------------

    async def run(self, *, every: float = 1.0) -> None:
        """Until cancelled: answer what is kept, and tell listeners; who is slow to listen keeps nobody waiting."""
        async with aclosing(Connections(LISTENERS, timeout=TIMEOUT)) as connections:
            telling = self._on(self._ended, lambda: self.tell_ended(connections), every)
            await asyncio.gather(self._on(self._came, self.answer_kept, every), telling)

    async def _on(self, wake: asyncio.Event, work: Callable[[], Awaitable[bool]], every: float) -> None:
        """Work while there is some, and look again when woken, or after `every` seconds."""
        trouble = ""
        while True:
            wake.clear()
            try:
                done, trouble = await work(), ""
            except KairosError as error:
                done = False
                if str(error) != trouble:
                    trouble = str(error)
                    log.warning("recommendations that are kept wait", reason=trouble)
            except Exception as error:  # what is wrong with one of them must not end the server
                done = False
                if repr(error) != trouble:
                    trouble = repr(error)
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

    async def tell_ended(self, connections: Connections) -> bool:
        """Whether there was something to tell. What is cut short is told once more."""
        untold = await self._do(lambda queries: queries.untold(AT_ONCE))
        if untold:
            listeners = await self._do(lambda queries: queries.listeners())
            await asyncio.gather(*(self._tell(connections, one, untold) for one in listeners))
            await self._do(lambda queries: queries.mark_told([kept.key for kept in untold]))
        return bool(untold)

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

    async def _tell(self, connections: Connections, listener: Listener, several: Sequence[Kept]) -> None:
        """Each as it was made and as it ended. Who does not take one after a few tries misses those beside it, too."""
        try:
            self._checked(listener.callback, listener.query)  # the settings may have changed since
            for kept in several:
                for event in _events(kept):
                    wanted = listener.event_type in ("", event["eventType"])
                    if wanted and not await _posted(connections, listener, event):
                        log.warning("a listener was not told", callback=listener.callback, recommendation=kept.key)
                        return
        except EventError as error:
            log.warning("a listener was not told", callback=listener.callback, reason=str(error))
        except Exception:  # the others are not told anew because of it
            log.exception("a listener was not told", callback=listener.callback)

    async def _do(self, what: Callable[[Queries], R]) -> R:
        def done() -> R:
            if self._queries is None:
                self._queries = self._open()
            return what(self._queries)

        return await asyncio.get_running_loop().run_in_executor(self._thread, done)

    async def close(self) -> None:
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


def _events(kept: Kept) -> Iterator[dict[str, Any]]:
    """What TMF680 tells of one that has ended. An event has the same id whenever it is told."""
    ended = _plain(kept.resource)
    begun = {name: value for name, value in ended.items() if name not in ("recommendationItem", "validFor", "reason")}
    begun |= {"state": UNDER_WAY, "lifecycleStatus": UNDER_WAY, "lastUpdate": iso(kept.at)}
    for kind, resource in ((CREATED, begun), (CHANGED, ended)):
        yield {
            "eventId": f"{kept.key}/{kind}",
            "eventTime": resource["lastUpdate"],
            "eventType": kind,
            "title": kind,
            "event": {"queryProductRecommendation": resource},
        }


def _address(written: str) -> httpx.URL | None:
    """As it is called: without `..`, which would lead out of what is allowed; None for what cannot be."""
    try:
        address = httpx.URL(written)
        hidden = re.split(r"[/\\]", address.path)  # what is escaped is undone here, as who is called may do it
        return None if not address.host or ".." in hidden else address
    except (httpx.InvalidURL, ValueError):  # a control character, a host that is no name
        return None


def _begins(address: httpx.URL, allowed: httpx.URL | None) -> bool:
    return (
        allowed is not None
        and (address.scheme, address.host, address.port) == (allowed.scheme, allowed.host, allowed.port)
        and address.path.startswith(allowed.path)
    )


async def _posted(connections: Connections, listener: Listener, event: Mapping[str, Any]) -> bool:
    body = msgspec.json.encode(event)
    for pause in PAUSES:
        await asyncio.sleep(pause)
        with suppress(httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            async with (
                connections.one() as client,
                asyncio.timeout(TIMEOUT),  # for all of it: httpx's own is for each read
                client.stream("POST", listener.callback, content=body, headers=JSON) as answer,
            ):
                if answer.is_success:  # what it says beside that is not read
                    return True
    return False


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
