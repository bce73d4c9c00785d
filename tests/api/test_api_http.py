"""The HTTP door over ASGI: what comes back for good, mixed, bad and hostile requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from kairos.api import create_app
from kairos.domain.event import Event
from kairos.domain.inputs import Change
from kairos.domain.money import Currency
from kairos.errors import KairosError, StoreError
from kairos.ingest import EventReader, Unreadable
from kairos.playbook.vocabulary import Vocabulary, Wallet

NOW = 1_795_543_205_000  # 2026-11-24 18:00:05 UTC
ONE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
READER = EventReader(
    Vocabulary({"recharge": {"amount": "money"}, "ping": {}}, {"main": Wallet("main", "money", 2)}), Currency("XTS")
)


@dataclass(frozen=True)
class Answer:
    status: str
    reason: str = ""


@dataclass
class Memory:
    """Applies each identity once; numbers ending in 9 belong to nobody, those in 8 break something."""

    applied: dict[str, Any] = field(default_factory=dict)
    failure: Exception | None = None
    kept: list[bytes] = field(default_factory=list)

    def reader(self) -> EventReader:
        return READER

    async def submit(self, events: Sequence[Event | Change]) -> Sequence[Answer]:
        if self.failure:
            raise self.failure
        return [self._answer(event) for event in events]

    def _answer(self, event: Event | Change) -> Answer:
        if event.msisdn.endswith("9"):
            return Answer("rejected", f"nobody is known by `{event.msisdn}`")
        if event.msisdn.endswith("8"):
            return Answer("failed", "this event could not be applied")
        if event.identity in self.applied:
            return Answer("duplicate")
        self.applied[event.identity] = event
        return Answer("applied")

    def rejected(self, entries: Sequence[Unreadable]) -> None:
        self.kept += [entry.written for entry in entries]

    async def dead_letters(self, kind: str, limit: int) -> Sequence[Any]:
        return [{"kind": kind or "event", "id": 1}][:limit]

    def troubles(self) -> Sequence[str]:
        return [str(self.failure)] if self.failure else []

    async def look(self) -> None:
        pass

    def stats(self) -> Mapping[str, Any]:
        return {"applied": len(self.applied)}


class Book:
    """Explains decision 7, which is about one subscriber."""

    async def decision(self, number: int) -> Any | None:
        return {"id": 7, "because": {"booster": "can afford it"}} if number == 7 else None

    async def subscriber(self, msisdn: str) -> Sequence[Any] | None:
        return [await self.decision(7)] if msisdn == "447700900123" else None


def client_of(memory: Memory, body_limit: int = 10_000) -> httpx.AsyncClient:
    app = create_app(memory, Book(), CollectorRegistry(), lambda: NOW, region="GB", body_limit=body_limit)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://kairos.test")


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
async def client(memory: Memory) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(memory) as client:
        yield client


def event(**changes: Any) -> dict[str, Any]:
    whole = {
        "specversion": "1.0",
        "id": "1",
        "source": "/ocs",
        "type": "recharge",
        "subject": "+447700900123",
        "time": "2026-11-24T18:00:00Z",
        "data": {"amount": "12.50"},
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


async def post(client: httpx.AsyncClient, body: Any, media: str = BATCH, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post("/v1/events", content=content, headers={"content-type": media, **headers})


def problem_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    fields: dict[str, Any] = response.json()
    assert fields["status"] == status
    assert fields["title"]
    assert "Traceback" not in response.text
    return fields


class TestEvents:
    async def test_one_event(self, client: httpx.AsyncClient, memory: Memory) -> None:
        response = await post(client, event(), ONE)
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        assert response.json() == {"results": [{"index": 0, "id": "1", "status": "applied"}]}
        assert memory.applied["/ocs/1"].data == {"amount": 1250}

    async def test_binary_mode(self, client: httpx.AsyncClient, memory: Memory) -> None:
        headers = {f"CE-{name}": value for name, value in event(data=None).items()}
        response = await client.post("/v1/events", json={"amount": "1"}, headers=headers)
        assert response.json()["results"][0]["status"] == "applied"
        assert memory.applied["/ocs/1"].data == {"amount": 100}

    async def test_a_mixed_batch_has_a_result_per_index(self, client: httpx.AsyncClient, memory: Memory) -> None:
        batch = [
            event(),
            event(id="2", type="recharg"),
            event(),
            event(id="3", subject="+447700900129"),
            event(id=None),
            event(id="4", data={"amount": True}),
            event(id="5/5"),
        ]
        response = await post(client, batch)
        assert response.status_code == 200
        results = response.json()["results"]
        assert [result["index"] for result in results] == list(range(7))
        assert [result["id"] for result in results] == ["1", "2", "1", "3", "", "4", "5/5"]
        expected = ["applied", "rejected", "duplicate", "rejected", "rejected", "rejected", "applied"]
        assert [result["status"] for result in results] == expected
        assert [result["error"]["detail"] for result in results if "error" in result] == [
            "`recharg` is not a known event type; did you mean `recharge`?",
            "nobody is known by `447700900129`",
            "`id` is missing",
            '`amount`: must be an amount such as "12.50", not `true`',
        ]
        assert results[1]["error"] | {"detail": ""} == {
            "title": "Bad Request",
            "status": 400,
            "detail": "",
            "field": "type",
        }
        assert list(memory.applied) == ["/ocs/1", "/ocs/5/5"]

    async def test_400_only_when_none_is_readable(self, client: httpx.AsyncClient) -> None:
        fields = problem_of(await post(client, [event(type="x"), 5]), 400)
        assert fields["detail"] == "no event could be read"
        assert [result["status"] for result in fields["results"]] == ["rejected", "rejected"]
        assert (await post(client, [event(subject="+447700900129")])).status_code == 200
        assert (await post(client, [])).json() == {"results": []}

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 9000, b"{}"])
    async def test_a_body_that_cannot_be_read(self, client: httpx.AsyncClient, body: bytes) -> None:
        assert problem_of(await post(client, body), 400)["detail"]

    @pytest.mark.parametrize(
        ("media", "headers"), [("text/plain", {}), ("application/json", {}), (ONE, {"content-encoding": "gzip"})]
    )
    async def test_415(self, client: httpx.AsyncClient, media: str, headers: dict[str, str]) -> None:
        assert "send" in problem_of(await post(client, event(), media, **headers), 415)["detail"]

    async def test_413_by_length_and_by_what_comes(self, client: httpx.AsyncClient, memory: Memory) -> None:
        async def drip() -> AsyncIterator[bytes]:
            for _ in range(11):
                yield b" " * 1000

        large = problem_of(await post(client, b" " * 10_001), 413)
        assert large["detail"] == "the body is larger than 10000 bytes; send smaller batches"
        problem_of(await client.post("/v1/events", content=drip(), headers={"content-type": ONE}), 413)
        assert (await post(client, json.dumps(event()).encode().ljust(10_000), ONE)).status_code == 200

    @pytest.mark.parametrize("failure", [StoreError("disk full"), KairosError("20000 inputs are waiting")])
    async def test_503_when_nothing_can_be_taken(
        self, client: httpx.AsyncClient, memory: Memory, failure: KairosError
    ) -> None:
        memory.failure = failure
        response = await post(client, [event()])
        assert "send all of them again" in problem_of(response, 503)["detail"]
        assert response.headers["retry-after"] == "1"
        memory.failure = None
        assert (await post(client, [event()])).json()["results"][0]["status"] == "applied"

    async def test_what_could_not_be_applied_costs_no_other_event(self, client: httpx.AsyncClient) -> None:
        good, broken = event(), event(id="2", subject="+447700900128")
        results = (await post(client, [good, broken])).json()["results"]
        assert [result["status"] for result in results] == ["applied", "failed"]
        assert results[1]["error"]["status"] == 500
        alone = await post(client, [broken])
        assert "send all of them again" in problem_of(alone, 503)["detail"]
        assert alone.headers["retry-after"] == "1"

    async def test_a_bug_shows_nothing_of_the_inside(self, client: httpx.AsyncClient, memory: Memory) -> None:
        memory.failure = ZeroDivisionError("secret")
        response = await post(client, [event()])
        problem_of(response, 500)
        assert "secret" not in response.text

    async def test_other_methods_and_places(self, client: httpx.AsyncClient) -> None:
        problem_of(await client.get("/v1/events"), 405)
        problem_of(await client.get("/nowhere"), 404)


class TestReading:
    async def test_health(self, client: httpx.AsyncClient, memory: Memory) -> None:
        response = await client.get("/health")
        assert (response.status_code, response.json()) == (200, {"live": True, "ready": True, "troubles": []})
        memory.failure = StoreError("disk full")
        response = await client.get("/health")
        assert (response.status_code, response.json()["troubles"]) == (503, ["disk full"])

    async def test_metrics_count_what_became_of_events(self, client: httpx.AsyncClient) -> None:
        await post(client, [event(), event(), event(type="x")])
        text = (await client.get("/metrics")).text
        for status in ("applied", "duplicate", "rejected"):
            assert f'kairos_http_events_total{{status="{status}"}} 1.0' in text
        assert "kairos_http_events_seconds_count 1.0" in text

    async def test_stats(self, client: httpx.AsyncClient) -> None:
        await post(client, [event()])
        assert (await client.get("/v1/stats")).json() == {"applied": 1}

    async def test_why(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/decisions/7")).json()["because"] == {"booster": "can afford it"}
        assert problem_of(await client.get("/v1/decisions/8"), 404)["detail"] == "there is no decision `8`"

    @pytest.mark.parametrize("number", ["x", "0", "-1", str(2**63), "1.5", "9" * 5000])
    async def test_what_is_no_decision_number(self, client: httpx.AsyncClient, number: str) -> None:
        assert problem_of(await client.get(f"/v1/decisions/{number}"), 400)["field"] == "decision"

    @pytest.mark.parametrize("written", ["447700900123", "+447700900123", "%2B447700900123", "07700 900123"])
    async def test_why_for_a_subscriber(self, client: httpx.AsyncClient, written: str) -> None:
        response = await client.get(f"/v1/subscribers/{written}/decisions")
        assert [decision["id"] for decision in response.json()["decisions"]] == [7]

    async def test_nobody_there(self, client: httpx.AsyncClient) -> None:
        problem_of(await client.get("/v1/subscribers/447700900124/decisions"), 404)
        assert problem_of(await client.get("/v1/subscribers/me/decisions"), 400)["field"] == "msisdn"

    async def test_the_specification_names_every_route_and_what_events_takes(self, client: httpx.AsyncClient) -> None:
        specification = (await client.get("/openapi.json")).json()
        assert set(specification["paths"]) == {
            "/v1/events",
            "/health",
            "/metrics",
            "/v1/stats",
            "/v1/dead-letters",
            "/v1/decisions/{decision}",
            "/v1/subscribers/{msisdn}/decisions",
        }
        assert BATCH in specification["paths"]["/v1/events"]["post"]["requestBody"]["content"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=300),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(
        st.dictionaries(st.sampled_from(list(event())), JSON).map(lambda changes: event(**changes)), max_size=4
    ).map(lambda batch: json.dumps(batch).encode()),
)
MEDIA = st.sampled_from(
    [ONE, BATCH, "application/json", "text/plain", "", ";;", "application/cloudevents+json; charset=x"]
)
HEADERS = st.dictionaries(
    st.sampled_from(["ce-specversion", "ce-id", "ce-type", "ce-source", "ce-subject", "ce-time", "content-encoding"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=20),
)


@settings(deadline=None, max_examples=200)
@given(BODIES, MEDIA, HEADERS)
async def test_no_body_gives_a_server_error(body: bytes, media: str, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in {"content-type": media, **headers}.items()]
    async with client_of(Memory()) as client:
        response = await client.post("/v1/events", content=body, headers=raw)
    assert response.status_code in (200, 400, 413, 415)
    if response.status_code != 200:
        problem_of(response, response.status_code)
