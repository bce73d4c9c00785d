"""TMF680 recommendations, judged by the published Swagger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.swagger import Swagger, swagger

from kairos.adapters.inbound import HttpInbound
from kairos.adapters.recommendations import HttpRecommendations
from kairos.api import create_app
from kairos.api.recommendations import BASE, QUERY, add_recommendations

NUMBER = "+12025550123"
PARTY = {"id": NUMBER, "@referredType": "Individual"}
SYNC: dict[str, Any] = {"instantSyncRecommendation": True, "relatedParty": PARTY, "channel": [{"id": "Care desk"}]}


@pytest.fixture
def published() -> Swagger:
    return swagger("TMF680-Recommendation-v4.0.0.swagger.json")


@pytest.fixture
async def client(counter: tuple[HttpInbound, Any]) -> AsyncIterator[httpx.AsyncClient]:
    nothing: Any = object()
    more = [partial(add_recommendations, recommendations=HttpRecommendations(counter[0]))]
    app = create_app(nothing, nothing, CollectorRegistry(), lambda: 0, inbound=counter[0], more=more)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kairos") as client:
        yield client


async def test_what_is_best_is_in_the_answer(
    client: httpx.AsyncClient, published: Swagger, counter: tuple[HttpInbound, Any]
) -> None:
    asked = SYNC | {
        "name": "shelf",
        "category": [{"id": "data", "@referredType": "Category"}],
        "place": {"role": "shop", "id": "9", "name": "High Street"},
        "shoppingCart": [{"id": "c1"}],
        "shoppingCartItem": [{"itemId": "1"}],
        "productOrder": [{"id": "o1"}],
        "productOrderItem": [{"itemId": "1"}],
    }
    published.judge("QueryProductRecommendation_Create", asked)
    answer = await client.post(QUERY, json=asked)
    assert answer.headers["content-type"] == "application/json;charset=utf-8"
    published.judge_response("/queryProductRecommendation", "post", answer.status_code, answer.json())
    told = answer.json()
    assert {name: told[name] for name in asked} == asked
    assert (told["state"], told["lifecycleStatus"], told["href"]) == ("done", "done", f"{QUERY}/{told['id']}")
    (item,) = told["recommendationItem"]
    price = item["product"]["productPrice"][0]["price"]
    assert price["taxIncludedAmount"] == {"unit": "XTS", "value": 45}
    assert b'"value":45.00' in answer.content  # with the currency's decimals, as written money has them
    terms = {term["name"]: term for term in item["product"]["productTerm"]}
    assert terms["validity"]["description"] == "7 days"
    assert terms["offer"]["validFor"]["endDateTime"] == told["validFor"]["endDateTime"] == "2026-03-05T12:00:00.000Z"
    assert (item["priority"], item["productOffering"]["id"]) == (1, "booster/large")
    says = {one["name"]: one["value"] for one in item["product"]["productCharacteristic"]}
    assert (says["channel"], says["text"]) == ("care_desk", "2 GB for 7 days at T$45")
    inbound, bench = counter
    taken = await inbound.respond("yes", NUMBER, item["id"], "accept", "care", "")
    assert not isinstance(taken, str)
    assert taken["status"] == "accepted"
    assert [one.price for one in bench.state().purchases] == [4500]


async def test_the_same_offer_is_told_by_every_door_without_a_write(
    client: httpx.AsyncClient, counter: tuple[HttpInbound, Any]
) -> None:
    inbound, bench = counter
    told = await inbound.decide("1", NUMBER, "app", "inbound", b"{}", 3)
    assert told is not None
    before = bench.state()
    for party in (NUMBER, "imsi:001010000000001"):
        answer = await client.post(QUERY, json=SYNC | {"relatedParty": PARTY | {"id": party}})
        (item,) = answer.json()["recommendationItem"]
        assert item["id"] == told["offers"][0]["offer"]
    assert bench.state() == before


async def test_an_event_may_be_the_reason_with_its_fields(client: httpx.AsyncClient) -> None:
    why = {"recommendationType": "recharge", "characteristic": [{"name": "amount", "value": "10.50"}], "maxNumber": 1}
    answer = await client.post(QUERY, json=SYNC | why)
    assert answer.status_code == 201, answer.text
    assert len(answer.json()["recommendationItem"]) == 1
    wrong = await client.post(QUERY, json=SYNC | why | {"characteristic": [{"name": "amuont", "value": "1"}]})
    assert (wrong.status_code, "`amuont`" in wrong.json()["reason"]) == (400, True)
    named = await client.post(QUERY, json=SYNC | {"recommendationType": "home page"})  # a word of theirs, told back
    assert named.json()["recommendationType"] == "home page"


async def test_amounts_are_exact(client: httpx.AsyncClient) -> None:
    answer = await client.post(QUERY, json=SYNC)
    (item,) = answer.json()["recommendationItem"]
    price = item["product"]["productPrice"][0]["price"]
    assert Decimal(str(price["dutyFreeAmount"]["value"])) <= Decimal("45.00")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"relatedParty": {**PARTY, "id": "+12025550199"}}, "nobody is known by `+12025550199`"),
        ({"relatedParty": {**PARTY, "id": "nonsense"}}, "`nonsense` is not an international phone number"),
        ({"relatedParty": {"@referredType": "Individual"}}, "missing required field `id`"),
        ({"relatedParty": [PARTY]}, "`$.relatedParty`"),
        ({"relatedParty": None}, "`$.relatedParty`"),
        ({"channel": [{"name": "care"}]}, "missing required field `id`"),
        ({"maxNumber": 0}, "`$.maxNumber`"),
        ({"instantSyncRecommendation": "yes"}, "`$.instantSyncRecommendation`"),
        ({"place": {"id": "9"}}, "missing required field `role`"),
    ],
)
async def test_what_is_no_request_is_told_as_tm_forum_has_it(
    client: httpx.AsyncClient, published: Swagger, body: dict[str, Any], said: str
) -> None:
    answer = await client.post(QUERY, json=SYNC | body)
    published.judge_response("/queryProductRecommendation", "post", answer.status_code, answer.json())
    assert (answer.status_code, answer.json()["code"]) == (400, "badRequest")
    assert said in answer.json()["reason"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PATCH", QUERY, 405), ("PUT", f"{BASE}/queryProductRecommendation", 405), ("GET", f"{BASE}/nothing", 404)],
)
async def test_what_is_not_there_is_an_error_object(
    client: httpx.AsyncClient, published: Swagger, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    published.judge("Error", answer.json())
    elsewhere = await client.get("/v1/nothing")
    assert elsewhere.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 40_000, b'{"relatedParty": ' + b"[" * 9000])
async def test_a_body_that_is_none_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(QUERY, content=body)
    assert (answer.status_code, answer.json()["@type"]) == (400, "Error")
    large = await client.post(QUERY, content=b"x" * 60_000)
    assert (large.status_code, large.json()["status"]) == (413, "413")
