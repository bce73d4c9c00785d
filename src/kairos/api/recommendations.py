"""TMF680 Recommendation Management v4: what is best for who asks, as TM Forum words it. See docs/tmf.md."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Protocol

from fastapi import FastAPI, Request
from msgspec import Meta, Struct, field
from starlette.responses import Response

from kairos.api.hubs import Listeners, add_hub
from kairos.api.lock import about, client_of, may
from kairos.api.tmf import TMF680, TmfError, matches, read_body, read_page, selected, tmf_json
from kairos.domain.caller import CARE
from kairos.domain.inbound import MOST, Sought

QUERY: Final = f"{TMF680}/queryProductRecommendation"
BODY_LIMIT: Final = 50_000  # bytes
EXAMPLE: Final = (
    'write it as in {"instantSyncRecommendation": true, '
    '"relatedParty": {"id": "+12025550123", "@referredType": "Individual"}, "channel": [{"id": "care"}]}'
)
ATTRIBUTES: Final = (  # of a queryProductRecommendation: `fields` and filters may name them
    *("id", "href", "name", "description", "state", "lifecycleStatus", "lastUpdate", "recommendationType", "reason"),
    *("instantSyncRecommendation", "relatedParty", "channel", "category", "place", "validFor", "recommendationItem"),
    *("productOrder", "productOrderItem", "shoppingCart", "shoppingCartItem", "characteristic", "maxNumber"),
    *("@type", "@baseType", "@schemaLocation"),
)
OURS: Final = ("id", "href", "state", "validFor", "recommendationItem", "lastUpdate", "lifecycleStatus")

Text = Annotated[str, Meta(max_length=1000)]
Named = Annotated[str, Meta(min_length=1, max_length=100)]


class Ref(Struct, frozen=True):
    """A reference to something of another system's."""

    id: Named
    href: Text | None = None
    name: Text | None = None


class Item(Struct, frozen=True, rename="camel"):
    """An item of an order or a cart."""

    entity_href: Text | None = None
    entity_id: Text | None = None
    item_id: Text | None = None
    name: Text | None = None


class Party(Struct, frozen=True):
    """Who asks: an MSISDN, or `imsi:`, `account:` and its value."""

    id: Named
    href: Text | None = None
    name: Text | None = None
    role: Text | None = None
    referred_type: Text | None = field(default=None, name="@referredType")


class Place(Struct, frozen=True):
    """Where they are."""

    role: Text
    id: Text | None = None
    href: Text | None = None
    name: Text | None = None


class Characteristic(Struct, frozen=True):
    """A field of the event that `recommendationType` names: what the rules see of why they ask."""

    name: Named
    value: Any


class Wanted(Struct, frozen=True, rename="camel"):
    """QueryProductRecommendation_Create. `characteristic` and `maxNumber` are extensions of ours."""

    related_party: Party
    instant_sync_recommendation: bool = False
    name: Text | None = None
    description: Text | None = None
    recommendation_type: Text | None = None
    channel: list[Ref] = []
    category: list[Ref] = []
    place: Place | None = None
    product_order: list[Ref] = []
    product_order_item: list[Item] = []
    shopping_cart: list[Ref] = []
    shopping_cart_item: list[Item] = []
    recommendation_item: list[dict[str, Any]] = []
    characteristic: list[Characteristic] = []
    max_number: Annotated[int, Meta(ge=1, le=MOST)] = 3
    base_type: Text | None = field(default=None, name="@baseType")
    schema_location: Text | None = field(default=None, name="@schemaLocation")
    type: Text | None = field(default=None, name="@type")

    @property
    def sought(self) -> Sought:
        """In kairos' own words."""
        written = (self.channel[0].id if self.channel else "tmf680").lower()
        word = re.sub(r"[^a-z0-9_]+", "_", written).strip("_")
        channel = (word if word[:1].isalpha() else f"channel_{word}")[:32]
        fields = {one.name: one.value for one in self.characteristic}
        place = (self.place.name or self.place.id or "") if self.place else ""
        kind = self.recommendation_type or ""
        return Sought(self.related_party.id, channel, kind, fields, place, self.max_number)


class Recommendations(Protocol):
    """The running kairos. All raise KairosError where that cannot be now, and EventError for what is no request."""

    @property
    def hubs(self) -> Listeners: ...

    async def recommend(self, key: str, sought: Sought) -> Mapping[str, Any] | None:
        """What is best for them, as attributes of the resource; None for somebody who is not known."""
        ...

    async def keep(self, key: str, sought: Sought, resource: Mapping[str, Any], client: str) -> Mapping[str, Any]:
        """Keep one that a client wants answered later; the resource as it is now. Durable when this returns."""
        ...

    async def kept(self, key: str, client: str | None) -> Mapping[str, Any] | None:
        """One that is kept, if that client asked for it; None: whoever did."""
        ...

    async def all_kept(self, client: str | None) -> Sequence[Mapping[str, Any]]:
        """All that are kept and that client asked for (None: whoever did), the oldest first."""
        ...


def add_recommendations(app: FastAPI, recommendations: Recommendations) -> None:
    """The routes."""

    @app.post(QUERY, response_model=None, status_code=201)
    async def query(request: Request) -> Response:
        """Ask what is best for a subscriber; with `instantSyncRecommendation` it is in the answer."""
        sent, wanted = await read_body(request, Wanted, BODY_LIMIT, EXAMPLE)
        about(request, wanted.related_party.id)
        key = uuid.uuid4().hex
        if not wanted.instant_sync_recommendation:
            kept = await recommendations.keep(key, wanted.sought, resource_of(sent, key, {}), client_of(request))
            return tmf_json(kept, 201, {"location": kept["href"]})
        found = await recommendations.recommend(key, wanted.sought)
        if found is None:
            raise TmfError(400, f"nobody is known by `{wanted.related_party.id}`", "`relatedParty.id` names who asks")
        resource = resource_of(sent, key, found)
        return tmf_json(resource, 201, {"location": resource["href"]})

    @app.get(QUERY, response_model=None)
    async def queries(request: Request) -> Response:
        """Those kept that the caller may see: `fields`, `offset`, `limit`, and any attribute as a filter."""
        page = read_page(request.query_params.multi_items(), ATTRIBUTES)
        found = [one for one in await recommendations.all_kept(_seen(request)) if matches(one, page.filters)]
        shown = found[page.offset : page.offset + page.limit]
        about(request, shown[0]["relatedParty"]["id"] if shown else "", f"shown: {len(shown)}")
        counts = {"x-total-count": str(len(found)), "x-result-count": str(len(shown))}
        return tmf_json([selected(one, page.fields) for one in shown], 200, counts)

    @app.get(QUERY + "/{key}", response_model=None)
    async def one(key: str, request: Request) -> Response:
        """One that is kept: how it stands, and what was found."""
        fields = read_page(request.query_params.multi_items(), ATTRIBUTES).fields
        found = await recommendations.kept(key, _seen(request))
        if found is None:
            raise TmfError(
                404, f"there is no queryProductRecommendation `{key}`", "those answered at once are not kept"
            )
        about(request, found["relatedParty"]["id"])
        return tmf_json(selected(found, fields))

    add_hub(app, TMF680, recommendations.hubs, lambda _: "")  # operations' own, whoever of them asks


def _seen(request: Request) -> str | None:
    """The client whose recommendations a caller may see; None: everybody's, for who may see all about a subscriber."""
    return None if may(request, CARE) else client_of(request)


def resource_of(sent: Mapping[str, Any], key: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The resource: what was sent, and what was found."""
    kept = {name: value for name, value in sent.items() if name not in OURS}
    kept["relatedParty"] = {"@referredType": "Individual", **kept["relatedParty"]}
    kept.setdefault("@type", "QueryProductRecommendation")
    return {"id": key, "href": f"{QUERY}/{key}", **kept, **found}
