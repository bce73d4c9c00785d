"""The lock of the HTTP door: every route has a row, and every row lets in whom it names and nobody else."""

from __future__ import annotations

import base64
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from typing import Any
from unittest.mock import MagicMock

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from tests.api.test_api_http import NOW, Book, Memory, problem_of
from tests.untold import Untold

from kairos import api
from kairos.api import create_app
from kairos.api.lock import HEADERS_LIMIT, LONGEST, Lock, about
from kairos.api.roles import TABLE
from kairos.api.tmf import PATH
from kairos.domain.caller import ADMIN, ROLES, Caller

HERE = "http://127.0.0.1:8080"
SWITCH = "/v1/switches/marketing"


def whole_app() -> FastAPI:
    """Every door that there is: each function `add_...` of the room, whatever it needs."""
    app = create_app(Memory(), Book(), CollectorRegistry(), lambda: NOW)
    for found in pkgutil.iter_modules(api.__path__, f"{api.__name__}."):
        module = import_module(found.name)
        for name, add in vars(module).items():
            if name.startswith("add_") and name != "add_hub" and add.__module__ == found.name:  # others add that
                _, *needed = (one for one in signature(add).parameters.values() if one.default is one.empty)
                add(app, *(MagicMock() for _ in needed))
    return app


def table_app() -> FastAPI:
    """A route for every row, which answers with what the lock told it."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    async def told(request: Request) -> Response:
        about(request, "+12025550123", await _text(request))
        return Response(f"{request.state.client}|{request.state.subject}|{' '.join(sorted(request.state.roles))}")

    for method, path in TABLE:
        app.add_api_route(path, told, methods=[method], response_model=None)
    return app


async def _text(request: Request) -> str:
    return (await request.body()).decode()


@dataclass
class Known:
    """Callers by what they show."""

    callers: Mapping[str, Caller]

    async def who(self, credential: str) -> Caller | None:
        return self.callers.get(credential)


KNOWN = Known({role: Caller(role, "ada", frozenset({role})) for role in ROLES} | {"none": Caller("none")})


@dataclass
class Kept(Untold):
    """What the trail was told, in words."""

    told: list[str] = field(default_factory=list)

    def counted(self, who: Caller, did: str, status: int) -> None:
        self.told.append(f"counted {who.name} {did} {status}")

    def line(self, who: Caller, did: str, about: str, status: int, address: str, detail: str) -> None:
        self.told.append(f"line {who.name} {did} {about} {status} {detail}".strip())

    async def first(self, who: Caller, did: str, about: str, status: int, address: str, detail: str) -> None:
        self.told.append(f"first {who.name} {did} {about} {status} {detail}".strip())


@asynccontextmanager
async def door(
    callers: Known | None = KNOWN, kept: Kept | None = None, at: str = HERE, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    lock = Lock(table_app(), callers, kept or Untold(), **options)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(lock), base_url=at) as client:
        yield client


def bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


def calls() -> Iterator[tuple[str, str, str]]:
    """Each row with a path of its template, and the roles that it names."""
    for (method, template), row in TABLE.items():
        yield method, re.sub(r"\{\w+\}", "7", template), row.roles


# -- the table ---------------------------------------------------------------------------------------------------------


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    routes: Any = whole_app().routes
    there = {(method, route.path) for route in routes for method in route.methods if method != "HEAD"}
    assert there == set(TABLE)


def test_every_row_names_roles_that_there_are() -> None:
    assert {role for row in TABLE.values() for role in row.roles.split()} <= set(ROLES)


def test_a_parameter_that_names_a_subscriber_is_in_the_path() -> None:
    assert [path for (_, path), row in TABLE.items() if row.about and f"{{{row.about}}}" not in path] == []


def test_a_route_without_a_row_keeps_the_door_shut() -> None:
    app = whole_app()
    app.add_api_route("/v1/backdoor", lambda: "", methods=["GET"])
    with pytest.raises(LookupError, match="GET /v1/backdoor has no row"):
        Lock(app, KNOWN, Untold())


def test_what_is_mounted_keeps_the_door_shut() -> None:
    app = whole_app()
    app.mount("/inside", FastAPI())
    with pytest.raises(LookupError, match="`/inside` cannot be locked"):
        Lock(app, KNOWN, Untold())


@pytest.mark.parametrize(("method", "path", "named"), [*calls()])
async def test_who_may_and_who_may_not(method: str, path: str, named: str) -> None:
    async with door() as client:
        for role in (*ROLES, "none"):
            answer = await client.request(method, path, headers=bearer(role))
            allowed = not named or role == ADMIN or role in named.split()
            assert answer.status_code == (200 if allowed else 403), role
            if allowed:
                assert answer.text == f"{role}|{'ada' * (role != 'none')}|{role * (role != 'none')}"
            else:
                said = answer.json()["reason"] if path.startswith(PATH) else problem_of(answer, 403)["detail"]
                assert said.startswith("this needs the role `")
                assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        stranger = await client.request(method, path)
        assert stranger.status_code == (401 if named else 200)


async def test_the_document_says_the_locks() -> None:
    document = create_app(Memory(), Book(), CollectorRegistry(), lambda: NOW).openapi()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "basic", "key"}
    assert document["paths"]["/health"]["get"]["security"] == []
    events = document["paths"]["/v1/events"]["post"]
    assert (events["x-roles"], len(events["security"])) == (["ingest"], 3)
    assert {"401", "403", "429"} <= set(events["responses"])


# -- what is shown -----------------------------------------------------------------------------------------------------

BASIC = base64.b64encode(b"whoever:operator").decode()
GOOD = [
    {"authorization": "Bearer operator"},
    {"authorization": "bearer  operator "},
    {"authorization": f"Basic {BASIC}"},
    {"x-api-key": "operator"},
]
BAD: list[Any] = [
    {},
    {"authorization": "Bearer unknown"},
    {"authorization": "Bearer "},
    {"authorization": "operator"},
    {"authorization": "Digest operator"},
    {"authorization": "Basic operator"},
    {"authorization": "Basic ####"},
    {"authorization": "Bearer operator, Bearer admin"},
    {"authorization": "Bearer " + "operator" * LONGEST, "x": "y"},
    {"x-api-key": "operator" + "x" * LONGEST},
    {"x-api-key": "op\u00e9rator"},
    {"authorization": "Bearer operator", "x-api-key": "admin"},
    [("authorization", "Bearer operator"), ("authorization", "Bearer operator")],
]


@pytest.mark.parametrize("headers", GOOD)
async def test_a_key_may_come_in_three_ways(headers: dict[str, str]) -> None:
    async with door() as client:
        assert (await client.get("/v1/status", headers=headers)).text == "operator|ada|operator"


@pytest.mark.parametrize("headers", BAD)
async def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(headers: Any) -> None:
    async with door() as client:
        encoded = [(name, value.encode("latin-1")) for name, value in dict(headers).items()]
        answer = await client.get("/v1/status", headers=headers if isinstance(headers, list) else encoded)
        if len(str(headers)) > HEADERS_LIMIT:
            problem_of(answer, 431)
            return
        assert problem_of(answer, 401)["detail"] == "a key or token that is good here and now is needed"
        assert answer.headers["www-authenticate"].startswith('Bearer realm="kairos"')
        assert ("invalid_token" in answer.headers["www-authenticate"]) == bool(headers)


async def test_who_speaks_tm_forums_words_is_refused_in_them() -> None:
    path = "/tmf-api/communicationManagement/v4/communicationMessage"
    async with door() as client:
        for headers, status, code in (({}, 401, "unauthorized"), (bearer("care"), 403, "forbidden")):
            answer = await client.post(path, headers=headers)
            told = answer.json()
            assert (answer.status_code, told["@type"], told["code"]) == (status, "Error", code)
            assert "www-authenticate" in answer.headers


async def test_nobody_learns_which_paths_there_are() -> None:
    async with door() as client:
        for path in ("/v1/nothing", "/", "//v1/status", "/v1/status/", "/v1/status%2f", "/V1/STATUS"):
            problem_of(await client.get(path), 401)
            assert (await client.get(path, headers=bearer("care"))).status_code in (307, 404), path
        problem_of(await client.delete("/v1/status"), 401)
        assert (await client.delete("/v1/status", headers=bearer("care"))).status_code == 405


async def test_a_path_is_what_the_router_takes_it_for() -> None:
    async with door() as client:
        for path in ("/v1/st%61tus", "/v1/subscribers/%2B12025550123", "/v1/subscribers/../status"):
            assert (await client.get(path, headers=bearer("ingest"))).status_code == 403, path


async def test_health_is_open_and_metrics_are_not_unless_told_so() -> None:
    async with door() as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/health", headers=bearer("wrong"))).text == "||"
        assert (await client.get("/metrics")).status_code == 401
    async with door(open_metrics=True) as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/v1/status")).status_code == 401


async def test_troubles_are_for_operators() -> None:
    memory = Memory()
    app = create_app(memory, Book(), CollectorRegistry(), lambda: NOW)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Lock(app, KNOWN, Untold())), base_url=HERE) as client:
        assert (await client.get("/health")).json() == {"live": True, "ready": True}
        assert (await client.head("/health")).status_code == 200
        assert (await client.get("/health", headers=bearer("operator"))).json()["troubles"] == []


# -- without a lock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080", "http://192.0.2.7"])
async def test_without_a_lock_everybody_here_may_do_everything(at: str) -> None:
    async with door(None, at=at) as client:
        assert (await client.put(SWITCH)).text == f"||{' '.join(sorted(ROLES))}"
        assert (await client.put(SWITCH, headers={"origin": at})).status_code == 200


async def test_without_a_lock_another_sites_page_reaches_nothing() -> None:
    """A browser on this machine: a page of another site that posts here, or a name of theirs that leads here."""
    async with door(None) as client:
        problem_of(await client.post("/v1/reversals", headers={"origin": "https://evil.example"}), 403)
        problem_of(await client.post("/v1/reversals", headers={"origin": "null"}), 403)
        problem_of(await client.get("/v1/status", headers={"host": "evil.example:8080"}), 403)
        named = {"host": "offers.example", "origin": "https://offers.example"}  # what is open is open by every name
        assert (await client.get("/health", headers=named)).status_code == 200
    async with door(None, insecure=True) as client:
        assert (await client.get("/v1/status", headers={"host": "kairos.example"})).status_code == 200


# -- rates and limits --------------------------------------------------------------------------------------------------


async def test_a_client_has_its_rate() -> None:
    now = [100.0]
    callers = Known({"a": Caller("a", "", frozenset({"care"}), 2.0), "b": Caller("b", "", frozenset({"care"}), 0.5)})
    kept = Kept()
    async with door(callers, kept, tick=lambda: now[0]) as client:
        answers = [await client.get("/v1/purchases/7", headers=bearer("a")) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["ratelimit"] for answer in answers] == [
            '"client";r=1;t=1',
            '"client";r=0;t=1',
            '"client";r=0;t=1',
        ]
        assert problem_of(answers[2], 429)["detail"] == "more than 2 requests a second; go on in 1 s"
        assert (answers[2].headers["retry-after"], answers[2].headers["ratelimit-policy"]) == ("1", '"client";q=2;w=1')
        assert (await client.get("/v1/purchases/7", headers=bearer("b"))).status_code == 200
        slow = await client.get("/v1/purchases/7", headers=bearer("b"))
        assert (slow.headers["retry-after"], slow.headers["ratelimit-policy"]) == ("2", '"client";q=1;w=2')
        now[0] += 0.5
        assert (await client.get("/v1/purchases/7", headers=bearer("a"))).status_code == 200
    assert kept.told[2] == "counted a GET /v1/purchases/{key} 429"


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([0.2, 0.5, 1.0, 2.0, 7.0]),
    gaps=st.lists(st.sampled_from([0.0, 0.01, 0.3, 1.0, 4.0]), min_size=1, max_size=40),
)
async def test_nobody_goes_beyond_their_rate_and_who_waits_as_told_is_served(rate: float, gaps: list[float]) -> None:
    now, served = [0.0], []
    callers = Known({"a": Caller("a", "", frozenset({"care"}), rate)})
    async with door(callers, tick=lambda: now[0]) as client:
        for gap in gaps:
            now[0] += gap
            answer = await client.get("/v1/purchases/7", headers=bearer("a"))
            assert int(re.findall(r"r=(\d+)", answer.headers["ratelimit"])[0]) <= max(1.0, rate)
            if answer.status_code == 429:
                now[0] += int(answer.headers["retry-after"])
                assert (await client.get("/v1/purchases/7", headers=bearer("a"))).status_code == 200
            served.append(now[0])
    for first, begin in enumerate(served):
        for last in range(first, len(served)):
            assert last - first + 1 <= max(1.0, rate) + rate * (served[last] - begin) + 1e-6


async def test_who_calls_often_is_not_forgotten_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.api.lock.BUCKETS", 2)
    callers = Known({name: Caller(name, "", frozenset({"care"}), 2.0) for name in "abc"})
    async with door(callers, tick=lambda: 100.0) as client:
        found = [(await client.get("/v1/purchases/7", headers=bearer(name))).status_code for name in "abaca"]
    assert found == [200, 200, 200, 200, 429]


async def test_headers_and_bodies_have_limits() -> None:
    async with door(body_limit=100) as client:
        many = {f"x-{number}": "1" for number in range(120)}
        problem_of(await client.get("/v1/status", headers=bearer("operator") | many), 431)
        problem_of(await client.get("/v1/status", headers=bearer("operator") | {"x": "y" * HEADERS_LIMIT}), 431)
        problem_of(await client.post("/v1/events", headers=bearer("ingest"), content=b"x" * 101), 413)
        for length in ("-1", "1e3", "9" * 30):
            problem_of(await client.post("/v1/events", headers=bearer("ingest") | {"content-length": length}), 413)


async def test_a_body_that_does_not_say_its_length_ends_at_the_limit() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"x" * 1000

    lock = Lock(whole_app(), KNOWN, Untold(), body_limit=5000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(lock), base_url=HERE) as client:
        answer = await client.post("/v1/decisions", headers=bearer("care"), content=endless())
    problem_of(answer, 413)
    assert read < 10


async def test_events_in_chunks_that_are_too_many_are_said_to_be_so() -> None:
    async def large() -> AsyncIterator[bytes]:
        for _ in range(1100):
            yield b"x" * 1000

    kind = {"content-type": "application/cloudevents+json"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Lock(whole_app(), KNOWN, Untold())), base_url=HERE
    ) as client:
        problem_of(await client.post("/v1/events", headers=bearer("ingest") | kind, content=large()), 413)


@pytest.mark.parametrize(
    ("path", "role"), [("/v1/decisions", "care"), ("/v1/trials", "operator"), ("/v1/events", "ingest")]
)
async def test_deeply_nested_bodies_are_refused(path: str, role: str) -> None:
    deep = b"[" * 2000 + b"]" * 2000
    bodies = [deep, b'{"id": "1", "subscriber": "+12025550123", "channel": "app", "data": ' + deep + b"}"]
    lock = Lock(whole_app(), KNOWN, Untold())
    transport = httpx.ASGITransport(lock, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
        for body in bodies:
            kind = {"content-type": "application/cloudevents+json"}
            problem_of(await client.post(path, headers=bearer(role) | kind, content=body), 400)


# -- what goes back, and what is kept ----------------------------------------------------------------------------------


async def test_browsers_are_told_what_not_to_do() -> None:
    async with door(tls=True) as client:
        for answer in (await client.get("/health"), await client.get("/v1/status")):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_a_routes_own_word_to_browsers_stands() -> None:
    app = table_app()

    @app.middleware("http")
    async def own(request: Request, call_next: Any) -> Any:
        answer = await call_next(request)
        answer.headers["cache-control"] = "max-age=5"
        return answer

    lock = Lock(app, KNOWN, Untold())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(lock), base_url=HERE) as client:
        assert (await client.get("/health")).headers.get_list("cache-control") == ["max-age=5"]


async def test_what_is_kept_of_a_call() -> None:
    kept = Kept()
    async with door(KNOWN, kept) as client:
        await client.post("/v1/events", headers=bearer("ingest"))
        await client.get("/v1/subscribers/7", headers=bearer("care"))
        await client.put(SWITCH, headers=bearer("operator"), content=b"off")
        await client.get("/v1/stats", headers=bearer("operator"))
        await client.get("/v1/status", headers=bearer("care"))
        await client.get("/v1/status", headers=bearer("wrong"))
        await client.get("/health")
    assert kept.told == [
        "counted ingest POST /v1/events 200",
        "line care GET /v1/subscribers/{name} +12025550123 200",
        "first operator PUT /v1/switches/{name} +12025550123 200 off",
        "line care GET /v1/status  403",
    ]


async def test_there_is_nothing_for_websockets() -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await Lock(table_app(), KNOWN, Untold())({"type": "websocket", "path": "/v1/status"}, receive, send)
    assert said == [{"type": "websocket.close", "code": 1008}]
