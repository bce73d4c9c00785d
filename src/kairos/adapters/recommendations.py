"""Recommendations as TM Forum words them (TMF680 v4), of what everybody who asks is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Raw

from kairos.adapters.inbound import HttpInbound
from kairos.domain.inbound import Sought
from kairos.playbook.vocabulary_file import INBOUND

PLACE: Final = "place"  # the field that takes where they are, where the event has one
UNITS: Final = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1, "millisecond"))


class HttpRecommendations:
    """The same Visit as any other door's."""

    def __init__(self, inbound: HttpInbound) -> None:
        self.inbound = inbound

    async def recommend(self, key: str, sought: Sought) -> Mapping[str, Any] | None:
        kind, data = self._why(sought)
        found = await self.inbound.decide(
            f"tmf680/{key}", sought.subscriber, sought.channel, kind, data, sought.at_most
        )
        return None if found is None else recommended(found["offers"], self.inbound.loop.clock())

    def _why(self, sought: Sought) -> tuple[str, bytes]:
        """The event, if they seek for one that some action answers, and its fields."""
        answered = self.inbound.loop.engine.program.decide.answers
        kind = sought.kind if sought.kind in answered else INBOUND
        takes_place = sought.place and PLACE in self.inbound.reader().kinds.get(kind, {})
        fields = ({PLACE: sought.place} if takes_place else {}) | sought.fields
        return kind, msgspec.json.encode(fields)


def recommended(offers: list[Mapping[str, Any]], now: int) -> dict[str, Any]:
    """The attributes of a recommendation that is done, of the offers as they are told (`inbound.plain_offer`)."""
    ends = [offer["until"] for offer in offers]
    return {
        "state": "done",
        "lifecycleStatus": "done",
        "lastUpdate": timestamp(now),
        "validFor": {"startDateTime": timestamp(now), "endDateTime": timestamp(min(ends, default=now))},
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
    period = {"startDateTime": timestamp(offer["made"]), "endDateTime": timestamp(offer["until"])}
    terms: list[dict[str, Any]] = [{"name": "offer", "validFor": period}]
    if lasts := offer["lasts"]:
        length, unit = next(one for one in UNITS if lasts % one[0] == 0)
        duration = {"amount": lasts // length, "units": unit}
        terms.append({"name": "validity", "description": offer["validity"], "duration": duration})
    return terms


def timestamp(ms: int) -> str:
    """A time as RFC 3339.

    >>> timestamp(1_772_625_600_250)
    '2026-03-04T12:00:00.250Z'
    """
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
