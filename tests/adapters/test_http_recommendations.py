"""TMF680 recommendations, judged by the published Swagger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.ahead import ahead
from tests.channels.conftest import Web, web_server
from tests.serving import drip, serving
from tests.swagger import Swagger, swagger
from tests.untold import Untold

from kairos.adapters.hubs import PATIENCE, Hubs
from kairos.adapters.inbound import HttpInbound
from kairos.adapters.recommendations import EVENTS, HttpRecommendations
from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.queries import SqliteQueries
from kairos.api import create_app
from kairos.api.lock import Lock
from kairos.api.recommendations import QUERY, add_recommendations
from kairos.api.tmf import TMF680
from kairos.domain.caller import Caller
from kairos.domain.inbound import Sought
from kairos.domain.passage import Hub

DAY = 86_400_000
NUMBER = "+12025550123"
PARTY = {"id": NUMBER, "@referredType": "Individual"}
SYNC: dict[str, Any] = {"instantSyncRecommendation": True, "relatedParty": PARTY, "channel": [{"id": "Care desk"}]}


@pytest.fixture
def published() -> Swagger:
    return swagger("TMF680-Recommendation-v4.0.0.swagger.json")


@pytest.fixture
async def kept(counter: tuple[HttpInbound, Any], tmp_path: Path) -> AsyncIterator[HttpRecommendations]:
    """Answers nothing that is kept until it is told to."""
    store = SqliteStore(tmp_path / "kairos.db")
    hubs = Hubs(store, counter[0].loop.clock, EVENTS, lambda _: ["http://127.0.0.1/in"])
    recommendations = HttpRecommendations(
        counter[0], lambda: SqliteQueries(tmp_path / "kairos.db"), hubs, kept_for=DAY, most=5
    )
    yield recommendations
    await recommendations.close()
    store.close()


@pytest.fixture
async def client(counter: tuple[HttpInbound, Any], kept: HttpRecommendations) -> AsyncIterator[httpx.AsyncClient]:
    nothing: Any = object()
    more = [partial(add_recommendations, recommendations=kept)]
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
    [("PATCH", QUERY, 405), ("PUT", f"{TMF680}/queryProductRecommendation", 405), ("GET", f"{TMF680}/nothing", 404)],
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


# -- what is kept ------------------------------------------------------------------------------------------------------

LATER: dict[str, Any] = {"relatedParty": PARTY, "channel": [{"id": "care"}], "name": "tonight"}


async def test_what_is_kept_is_answered_later_and_found(
    client: httpx.AsyncClient, kept: HttpRecommendations, published: Swagger
) -> None:
    answer = await client.post(QUERY, json=LATER)
    published.judge_response("/queryProductRecommendation", "post", answer.status_code, answer.json())
    made = answer.json()
    assert (made["state"], answer.headers["location"]) == ("inProgress", made["href"])
    assert "recommendationItem" not in made
    assert await kept.answer_kept()
    assert not await kept.answer_kept()
    found = await client.get(made["href"])
    published.judge_response("/queryProductRecommendation/{id}", "get", found.status_code, found.json())
    assert (found.json()["state"], len(found.json()["recommendationItem"])) == ("done", 1)
    assert b'"value":45.00' in found.content
    some = await client.get(made["href"], params={"fields": "state,lastUpdate"})
    assert some.json().keys() == {"id", "href", "state", "lastUpdate"}
    missing = await client.get(f"{QUERY}/nothing")
    published.judge_response("/queryProductRecommendation/{id}", "get", missing.status_code, missing.json())
    assert missing.status_code == 404


async def test_a_list_is_filtered_and_comes_in_pages(
    client: httpx.AsyncClient, kept: HttpRecommendations, published: Swagger
) -> None:
    for name in ("a", "b", "b"):
        await client.post(QUERY, json=LATER | {"name": name})
    await kept.answer_kept()
    await client.post(QUERY, json=LATER | {"name": "b"})

    async def listed(**query: str) -> tuple[list[Any], int, int]:
        answer = await client.get(QUERY, params=query)
        published.judge_response("/queryProductRecommendation", "get", answer.status_code, answer.json())
        total, here = answer.headers["x-total-count"], answer.headers["x-result-count"]
        return [one.get("name") for one in answer.json()], int(total), int(here)

    assert await listed() == (["a", "b", "b", "b"], 4, 4)
    assert await listed(name='"b"', limit="2") == (["b", "b"], 3, 2)
    assert await listed(name="b", offset="2") == (["b"], 3, 1)
    assert await listed(state="done") == (["a", "b", "b"], 3, 3)
    assert await listed(state="inProgress,done", name='"a"') == (["a"], 1, 1)
    assert await listed(**{"relatedParty.id": f'"{NUMBER}"', "channel.id": "care"}) == (["a", "b", "b", "b"], 4, 4)
    assert await listed(**{"channel.id": "app"}) == ([], 0, 0)
    assert await listed(fields="id", limit="1") == ([None], 4, 1)
    last = (await client.get(QUERY, params={"limit": "1"})).json()[0]["lastUpdate"]
    assert (await listed(lastUpdate=f'"{last}"'))[1] >= 1


@pytest.mark.parametrize(
    "query", ["nothing=1", "fields=nothing", "limit=-1", "offset=x", "limit=1e3", "state.gt=done.x&chanel.id=1"]
)
async def test_what_is_no_filter_is_refused(client: httpx.AsyncClient, published: Swagger, query: str) -> None:
    answer = await client.get(f"{QUERY}?{query}")
    published.judge_response("/queryProductRecommendation", "get", answer.status_code, answer.json())
    assert answer.status_code == 400


@dataclass
class Trailed(Untold):
    told: list[tuple[str, ...]] = field(default_factory=list)

    def line(self, who: Caller, did: str, about: str, status: int, address: str, detail: str) -> None:
        self.told.append((who.name, did.split()[0], about, str(status), detail))


class Known:
    async def who(self, credential: str) -> Caller | None:
        return Caller(credential, roles=frozenset({"decide" if credential in ("app", "web") else credential}))


async def test_each_client_sees_its_own_and_the_care_desk_all(
    counter: tuple[HttpInbound, Any], kept: HttpRecommendations
) -> None:
    nothing: Any = object()
    more, trail = [partial(add_recommendations, recommendations=kept)], Trailed()
    app = create_app(nothing, nothing, CollectorRegistry(), lambda: 0, inbound=counter[0], more=more)
    locked = httpx.ASGITransport(Lock(app, Known(), trail))
    async with httpx.AsyncClient(transport=locked, base_url="http://127.0.0.1") as client:

        async def called(who: str, method: str, path: str, **more: Any) -> httpx.Response:
            return await client.request(method, path, headers={"x-api-key": who}, **more)

        made = {who: (await called(who, "POST", QUERY, json=LATER | {"name": who})).json() for who in ("app", "web")}
        await kept.answer_kept()
        seen = {"app": ["app"], "web": ["web"], "care": ["app", "web"], "admin": ["app", "web"]}
        trail.told.clear()
        for who, names in seen.items():
            listed = await called(who, "GET", QUERY)
            assert [one["name"] for one in listed.json()] == names
            assert listed.headers["x-total-count"] == str(len(names))
            assert trail.told.pop() == (who, "GET", NUMBER, "200", f"shown: {len(names)}")
            for asked, one in made.items():
                status = 200 if asked in names else 404
                assert (await called(who, "GET", one["href"])).status_code == status
                assert trail.told.pop() == (who, "GET", NUMBER if status == 200 else "", str(status), "")


async def test_the_oldest_go_and_what_is_old(
    client: httpx.AsyncClient, counter: tuple[HttpInbound, Any], kept: HttpRecommendations
) -> None:
    for name in "abcdefg":
        await client.post(QUERY, json=LATER | {"name": name})
    assert [one["name"] for one in (await client.get(QUERY)).json()] == list("cdefg")
    counter[1].now += 2 * DAY
    await client.post(QUERY, json=LATER | {"name": "h"})
    assert [one["name"] for one in (await client.get(QUERY)).json()] == ["h"]


async def test_one_that_cannot_be_answered_ends_and_says_why(
    client: httpx.AsyncClient, kept: HttpRecommendations, published: Swagger
) -> None:
    made = (await client.post(QUERY, json=LATER | {"relatedParty": PARTY | {"id": "+12025550199"}})).json()
    await kept.answer_kept()
    found = (await client.get(made["href"])).json()
    published.judge("QueryProductRecommendation", found)
    assert (found["state"], found["reason"]) == ("terminatedWithError", "nobody is known by `+12025550199`")
    refused = await client.post(QUERY, json=LATER | {"characteristic": [{"name": "app", "value": "x"}]})
    assert refused.status_code == 400


async def test_what_was_answered_and_not_written_down_makes_no_second_offer(
    client: httpx.AsyncClient, kept: HttpRecommendations, counter: tuple[HttpInbound, Any]
) -> None:
    """As by a kill between the engine's commit and ours."""
    made = (await client.post(QUERY, json=LATER)).json()
    (waiting,) = await kept._do(lambda queries: queries.under_way(9))
    first = await kept.recommend(waiting.key, waiting.sought)
    assert first is not None
    await kept.answer_kept()
    found = (await client.get(made["href"])).json()
    assert [one["id"] for one in found["recommendationItem"]] == [one["id"] for one in first["recommendationItem"]]
    assert len(counter[1].state().offers) == 1


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.01)


async def all_told(kept: HttpRecommendations) -> None:
    """Until those who listen are done with all that has ended."""
    await kept.tell_ended()
    async with asyncio.timeout(60):
        while kept._owed:
            await asyncio.sleep(0.01)
            await kept.tell_ended()


def allow(kept: HttpRecommendations, *callbacks: str) -> None:
    kept.hubs.allowed = lambda _: callbacks


def heard(web: Web) -> list[tuple[str, Any]]:
    return [(path, json.loads(body)) for path, _, body in web.got]


async def test_listeners_are_told_of_both_events_until_they_leave(
    client: httpx.AsyncClient, kept: HttpRecommendations, published: Swagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kairos.adapters.hubs.PAUSES", (0.0, 0.0))
    async with web_server() as web:
        allow(kept, web.url)
        both = await client.post(f"{TMF680}/hub", json={"callback": f"{web.url}/a"})
        published.judge_response("/hub", "post", both.status_code, both.json())
        one = {"callback": f"{web.url}/b", "query": "eventType=QueryProductRecommendationStateChangeEvent"}
        second = (await client.post(f"{TMF680}/hub", json=one)).json()
        assert second["query"] == one["query"]
        twice = await client.post(f"{TMF680}/hub", json=one)
        published.judge_response("/hub", "post", twice.status_code, twice.json())
        assert twice.status_code == 409
        await client.post(QUERY, json=LATER)
        assert not await kept.tell_ended()  # nothing has ended
        await kept.answer_kept()
        web.answers = [503]
        await all_told(kept)
        assert not await kept.tell_ended()
        told = heard(web)
        by_path = {end: [event["eventType"] for way, event in told if way.endswith(end)] for end in ("/a", "/b")}
        assert [*dict.fromkeys(by_path["/a"])] == [*EVENTS]
        assert [*dict.fromkeys(by_path["/b"])] == [EVENTS[1]]
        assert len(told) == 4  # one was refused, and said again
        for _, event in told:
            published.judge(event["eventType"], event)
        await client.delete(f"{TMF680}/hub/{second['id']}")
        await client.post(QUERY, json=LATER)
        await kept.answer_kept()
        web.got.clear()
        await all_told(kept)
        assert {path[-2:] for path, _ in heard(web)} == {"/a"}
    gone = await client.delete(f"{TMF680}/hub/{second['id']}")
    published.judge_response("/hub/{id}", "delete", gone.status_code, gone.json())
    assert gone.status_code == 404


async def test_a_listener_that_hangs_holds_up_no_other(
    client: httpx.AsyncClient, kept: HttpRecommendations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what ends later; it misses what finds too many waiting for it, and the log says when that began and ended."""
    monkeypatch.setattr("kairos.adapters.hubs.PAUSES", (0.0,))
    async with web_server() as hangs, web_server() as sound:
        monkeypatch.setattr(kept.hubs, "allowed", lambda _: (hangs.url, sound.url))
        monkeypatch.setattr("kairos.adapters.hubs.WAITING", 1)
        for web in (hangs, sound):
            assert (await client.post(f"{TMF680}/hub", json={"callback": web.url})).status_code == 201
        hangs.answers = ["hang"]
        with capture_logs() as lines:
            for told in (2, 4, 6, 8):  # the first hangs, the second waits, two are missed
                await client.post(QUERY, json=LATER)
                await kept.answer_kept()
                await kept.tell_ended()
                await until(partial(_got, sound, told))
            assert [line["event"] for line in lines] == ["a listener misses what it is told"]
            hangs.hanging.set()
            await all_told(kept)
        assert len(hangs.got) == 3, "the one that hung, and both events of the one that waited"
        assert [line["missed"] for line in lines if line["event"] == "a listener is told again"] == [3]


async def _got(web: Web, number: int) -> bool:
    return len(web.got) == number


async def test_what_an_older_kairos_took_is_held_to_the_settings(
    client: httpx.AsyncClient, kept: HttpRecommendations, capsys: Any
) -> None:
    async with web_server() as web:
        allow(kept, "HTTP" + web.url[4:] + "/c")
        query = f"eventType={','.join(EVENTS)}"
        for key, callback in (
            ("a", f"{web.url}/c/\x01"),
            ("b", "http://xn--/in"),
            ("c", f"{web.url}/c"),
            ("d", web.url),
        ):
            kept.hubs.store.put_listener(Hub(key, "", callback, query, 0))
        kept.hubs.store.put_listener(Hub("e", "", f"{web.url}/c", "eventType=Another", 0))  # of another hub
        kept.hubs.open()
        assert capsys.readouterr().out.count("xn--") == 1
        await client.post(QUERY, json=LATER)
        await kept.answer_kept()
        await all_told(kept)
        assert [path[-2:] for path, _ in heard(web)] == ["/c"] * 2


@pytest.mark.parametrize("begins", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: "])
async def test_an_endless_listener_is_not_listened_to(
    client: httpx.AsyncClient,
    kept: HttpRecommendations,
    monkeypatch: pytest.MonkeyPatch,
    begins: bytes,
) -> None:
    """What drips for ever takes no longer than a try may."""
    monkeypatch.setattr("kairos.adapters.hubs.PAUSES", (0.0,))
    called: list[Any] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.append(asyncio.current_task())
        asyncio.get_running_loop().call_later(0.2, ahead, PATIENCE)
        await drip(begins, b"x", 0.05)(reader, writer)

    async with serving(listen) as door:
        address = f"{door}/in"
        allow(kept, address)
        assert (await client.post(f"{TMF680}/hub", json={"callback": address})).status_code == 201
        await client.post(QUERY, json=LATER)
        await kept.answer_kept()
        await all_told(kept)
        await asyncio.wait(called, timeout=60)
    assert len(called) == 1


async def test_one_that_breaks_ends_and_the_next_is_answered(
    client: httpx.AsyncClient, kept: HttpRecommendations, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = [(await client.post(QUERY, json=LATER)).json() for _ in range(2)]
    recommend = kept.recommend

    async def breaks(key: str, sought: Sought) -> Mapping[str, Any] | None:
        if key == broken["id"]:
            raise ZeroDivisionError
        return await recommend(key, sought)

    monkeypatch.setattr(kept, "recommend", breaks)
    assert await kept.answer_kept()
    ended = [(await client.get(one["href"])).json() for one in (broken, sound)]
    assert [one["state"] for one in ended] == ["terminatedWithError", "done"]
    assert "the log says why" in ended[0]["reason"]


async def test_what_breaks_does_not_end_the_server(
    client: httpx.AsyncClient, kept: HttpRecommendations, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, broke = kept.answer_kept, list[int]()

    async def breaks() -> bool:
        if len(broke) < 2:
            broke.append(1)
            raise ZeroDivisionError
        return await answer()

    monkeypatch.setattr(kept, "answer_kept", breaks)
    made = (await client.post(QUERY, json=LATER)).json()

    async def done() -> bool:
        assert not running.done(), running.exception()
        return bool((await client.get(made["href"])).json()["state"] == "done")

    running = asyncio.create_task(kept.run(every=0.01))
    try:
        await until(done)
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.mark.parametrize(
    "callback",
    [
        "http://127.0.0.1/other",
        "http://127.0.0.1:81/in",
        "http://127.0.0.2/in",
        "https://127.0.0.1/in",
        "http://127.0.0.1@evil.example/in",
        "http://a@127.0.0.1/in",
        "file:///in",
        "http://[/in",
        "http://127.0.0.1/in/\x01",
        "http://127.0.0.1/in/\n",
        "http://127.0.0.1\t/in",
        "http://xn--/in",
        "http://127.0.0.1/in/../admin",
        "http://127.0.0.1/in/%2e%2E/admin",
        "http://127.0.0.1/in/..%2fadmin",
        "http://127.0.0.1/in/..\\admin",
        "",
    ],
)
async def test_only_addresses_that_operations_named_are_told(
    client: httpx.AsyncClient, published: Swagger, callback: str
) -> None:
    answer = await client.post(f"{TMF680}/hub", json={"callback": callback})
    published.judge_response("/hub", "post", answer.status_code, answer.json())
    assert answer.status_code in (400, 403)
    assert "callback" in answer.json()["reason"]
