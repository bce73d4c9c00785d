"""Those who ask over HTTP: what they are told, what they say, and what is no request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from kairos.api import create_app
from kairos.errors import EventError, StoreError


@dataclass
class Counter:
    """Knows one subscriber, who has one offer, `k`."""

    down: bool = False
    heard: list[tuple[Any, ...]] = field(default_factory=list)

    def _check(self, subscriber: str) -> None:
        if self.down:
            raise StoreError("the disk is gone")
        if subscriber == "nonsense":
            raise EventError("`subscriber`: `nonsense` is no number", "subscriber")

    async def decide(
        self, request: str, subscriber: str, channel: str, event: str, data: bytes, at_most: int
    ) -> Mapping[str, Any] | None:
        self._check(subscriber)
        self.heard.append((request, subscriber, channel, event, data, at_most))
        return {"id": request, "offers": [{"offer": "k"}]} if subscriber == "+12025550123" else None

    async def respond(
        self, request: str, subscriber: str, offer: str, said: str, channel: str, who: str
    ) -> Mapping[str, Any] | str:
        self._check(subscriber)
        self.heard.append((request, subscriber, offer, said, channel, who))
        return {"id": request, "status": "accepted"} if offer == "k" else f"there is no offer `{offer}`"

    async def subscriber(self, name: str) -> Mapping[str, Any] | None:
        self._check(name)
        return {"msisdn": "12025550123"} if name == "+12025550123" else None


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def client(counter: Counter) -> httpx.AsyncClient:
    nothing: Any = object()
    app = create_app(nothing, nothing, CollectorRegistry(), lambda: 0, inbound=counter)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kairos")


ASK: dict[str, Any] = {"id": "1", "subscriber": "+12025550123", "channel": "care"}
SAY: dict[str, Any] = {**ASK, "offer": "k", "answer": "accept"}


async def test_who_asks_is_answered(client: httpx.AsyncClient, counter: Counter) -> None:
    answer = await client.post("/v1/decisions", json=ASK)
    assert (answer.status_code, answer.json()["offers"]) == (200, [{"offer": "k"}])
    why = {"event": "data_session", "data": {"app": "video"}, "at_most": 1}
    await client.post("/v1/decisions", json=ASK | why)
    assert counter.heard == [
        ("1", "+12025550123", "care", "inbound", b"{}", 3),
        ("1", "+12025550123", "care", "data_session", b'{"app":"video"}', 1),
    ]


async def test_what_they_say_is_handed_on(client: httpx.AsyncClient, counter: Counter) -> None:
    answer = await client.post("/v1/responses", json=SAY | {"who": "agent 17"})
    assert (answer.status_code, answer.json()) == (200, {"id": "1", "status": "accepted"})
    assert counter.heard == [("1", "+12025550123", "k", "accept", "care", "agent 17")]


async def test_all_about_a_subscriber(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/subscribers/+12025550123")).json() == {"msisdn": "12025550123"}
    assert (await client.get("/v1/subscribers/+12025550199")).status_code == 404
    assert (await client.get("/v1/subscribers/nonsense")).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("decisions", {**ASK, "subscriber": "+12025550199"}, 404, "nobody is known by `+12025550199`"),
        ("decisions", {**ASK, "subscriber": "nonsense"}, 422, "is no number"),
        (
            "decisions",
            {"subscriber": "+12025550123", "channel": "care"},
            400,
            "needs an `id`, or the header `Idempotency-Key`",
        ),
        ("decisions", {**ASK, "id": ""}, 400, "`$.id`"),
        ("decisions", {**ASK, "channel": "Call Centre"}, 400, "`$.channel`"),
        ("decisions", {**ASK, "at_most": 11}, 400, "`$.at_most`"),
        ("decisions", {**ASK, "chanel": "x"}, 400, "unknown field `chanel`"),
        ("decisions", {**ASK, "data": "x" * 30_000}, 413, "larger than"),
        ("responses", {**SAY, "offer": "x"}, 404, "there is no offer `x`"),
        ("responses", {**SAY, "answer": "maybe"}, 400, "an answer is accept, decline or keep"),
        ("responses", {**SAY, "offer": 7}, 400, "`$.offer`"),
        ("responses", {**SAY, "subscriber": "nonsense"}, 422, "is no number"),
    ],
)
async def test_what_cannot_be_is_said(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = await client.post(f"/v1/{path}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("decisions", {**ASK, "channel": "Call Centre"}, "channel"),
        ("decisions", {**ASK, "chanel": "x"}, "chanel"),
        ("decisions", {"id": "1", "channel": "care"}, "subscriber"),
        ("responses", {**SAY, "answer": "maybe"}, "answer"),
    ],
)
async def test_a_body_that_cannot_be_read_names_its_field(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await client.post(f"/v1/{path}", json=body)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


async def test_a_deep_body_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/decisions", content=b'{"id": "1", "data": ' + b"[" * 9000)
    assert answer.status_code == 400


async def test_a_store_that_is_down_is_asked_again(client: httpx.AsyncClient, counter: Counter) -> None:
    counter.down = True
    for answer in (
        await client.post("/v1/decisions", json=ASK),
        await client.post("/v1/responses", json=SAY),
        await client.get("/v1/subscribers/+12025550123"),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_the_document_says_what_a_body_holds(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    body = document["paths"]["/v1/responses"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["subscriber", "offer", "answer", "channel"]
    assert body["properties"]["answer"]["enum"] == ["accept", "decline", "keep"]
    assert body["additionalProperties"] is False


@pytest.mark.parametrize("key", ['"8e03978e-40d5"', "8e03978e-40d5"])
async def test_the_header_names_a_request(client: httpx.AsyncClient, counter: Counter, key: str) -> None:
    bare = {name: value for name, value in SAY.items() if name != "id"}
    headers = {"Idempotency-Key": key}
    answer = await client.post("/v1/responses", json=bare, headers=headers)
    assert (answer.status_code, answer.json()["id"]) == (200, "8e03978e-40d5")
    ask = {name: value for name, value in ASK.items() if name != "id"}
    assert (await client.post("/v1/decisions", json=ask, headers=headers)).json()["id"] == "8e03978e-40d5"
    assert [one[0] for one in counter.heard] == ["8e03978e-40d5"] * 2
    same = await client.post("/v1/decisions", json=ask | {"id": "8e03978e-40d5"}, headers=headers)
    assert same.status_code == 200
    other = await client.post("/v1/responses", json=SAY, headers=headers)
    assert (other.status_code, other.json()["field"]) == (400, "id")
    assert "name two requests" in other.json()["detail"]


@pytest.mark.parametrize("key", ["", '""', '"a', "a b", "a" * 201, '"\\x"', "a\tb"])
async def test_a_header_that_names_nothing_is_refused(client: httpx.AsyncClient, counter: Counter, key: str) -> None:
    answer = await client.post("/v1/decisions", json=ASK, headers=[("Idempotency-Key", key)])
    assert (answer.status_code, "Idempotency-Key" in answer.json()["detail"]) == (400, True)
    assert counter.heard == []
