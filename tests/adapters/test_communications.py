"""TMF681 before the real engine: other systems over HTTP, held to the published Swagger where it is there."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from tests.channels.conftest import web_server
from tests.conftest import HOUR, MSISDN, NOON

from kairos.adapters.gateway import EVENT
from kairos.api.communications import MESSAGE, add_communications
from kairos.api.problem import handle_errors
from kairos.api.tmf import TMF681
from kairos.domain.message import Text
from kairos.smpp import MessageState

SWAGGER = Path("/work/shared/specs/TMF681-Communication-v4.0.0.swagger.json")
NIGHT, MORNING = NOON + 10 * HOUR, "2026-03-05T08:00:00.000Z"


class Named:
    """As the lock names a client."""

    def __init__(self, app: Any, client: str) -> None:
        self.app, self.client = app, client

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["client"] = self.client
        await self.app(scope, receive, send)


@asynccontextmanager
async def door(world: Any, client: str = "vas") -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    handle_errors(app)
    add_communications(app, world.gateway)
    transport = httpx.ASGITransport(app=Named(app, client), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://kairos") as http:
        yield http


def message(text: str = "Play now", *numbers: str, **more: Any) -> dict[str, Any]:
    receivers = [{"phoneNumber": f"+{number}"} for number in numbers or (MSISDN,)]
    body = {"content": text, "messageType": "SMS", "sender": {"phoneNumber": "1234"}, "receiver": receivers}
    return body | more


def purpose(name: str) -> dict[str, Any]:
    return {"characteristic": [{"name": "purpose", "value": name}]}


@pytest.fixture
def definition() -> Any:
    """Checks something against a definition of the published Swagger."""
    if not SWAGGER.exists():
        pytest.skip("the published Swagger is not here")
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(SWAGGER.read_text(encoding="utf-8"))
    checker = jsonschema.FormatChecker()

    def check(value: Any, name: str) -> None:
        schema = {"$ref": f"#/definitions/{name}", "definitions": document["definitions"]}
        jsonschema.Draft4Validator(schema, format_checker=checker).validate(value)

    return check


async def test_a_message_is_sent_and_its_state_goes_on_with_receipts(start: Any) -> None:
    world = await start()
    async with door(world) as http:
        answer = await http.post(MESSAGE, json=message(description="a game"))
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert (made["state"], made["receiver"][0]["status"], made["description"]) == ("initial", "accepted", "a game")
        assert made["href"] == answer.headers["location"] == f"{MESSAGE}/{made['id']}"
        await world.until(lambda: world.peer.texts == ["Play now"])
        (out,) = world.peer.submitted
        assert (out.source_addr, out.destination_addr, out.registered_delivery) == ("1234", MSISDN, 1)
        await world.until(lambda: world.store.passages(made["id"])[0].stand == "sent")
        assert (await http.get(made["href"])).json()["state"] == "inProgress"
        await world.peer.receipt("1", MessageState.DELIVERED)
        await world.until(lambda: world.store.passages(made["id"])[0].stand == "delivered")
        shown = (await http.get(made["href"])).json()
        assert (shown["state"], shown["receiver"][0]["status"]) == ("completed", "delivered")
        assert shown["sendTimeComplete"] == shown["lastUpdate"]


async def test_every_resource_and_error_is_as_published(start: Any, definition: Any) -> None:
    world = await start()
    async with door(world) as http:
        sent = message(**purpose("third_party"), priority="1", tryTimes=3, logFlag=True)
        definition(sent, "CommunicationMessage_Create")
        made = (await http.post(MESSAGE, json=sent)).json()
        definition(made, "CommunicationMessage")
        assert made["characteristic"] == sent["characteristic"]
        for one in (await http.get(MESSAGE)).json():
            definition(one, "CommunicationMessage")
        definition((await http.patch(made["href"], json={"description": "x"})).json(), "CommunicationMessage")
        hub = await http.post(f"{TMF681}/hub", json={"callback": "http://127.0.0.1/x", "query": f"eventType={EVENT}"})
        definition(hub.json(), "EventSubscription")
        for answer in (
            await http.get(f"{MESSAGE}/none"),
            await http.post(MESSAGE, json={}),
            await http.post(MESSAGE, content=b"{"),
            await http.post(MESSAGE, json=message(sender={"phoneNumber": "5000"})),
            await http.put(MESSAGE, json={}),
            await http.get(f"{MESSAGE}?colour=red"),
            await http.post(f"{TMF681}/hub", json={"callback": "http://elsewhere.example/"}),
        ):
            assert 400 <= answer.status_code < 500
            definition(answer.json(), "Error")
            assert answer.json()["status"] == str(answer.status_code)


async def test_each_receiver_has_a_state_of_its_own(start: Any) -> None:
    world = await start()
    quiet = "12025550188"
    await world.loop.submit(world.bench.event("profile", msisdn=quiet, marketing_consent=False))
    async with door(world) as http:
        made = (await http.post(MESSAGE, json=message("Hello", MSISDN, quiet, "12025550199"))).json()
        told = [(one["status"], one.get("statusReason")) for one in made["receiver"]]
        assert told == [
            ("accepted", None),
            ("refused", "contact policy"),
            ("refused", "nobody is known by this number"),
        ]
        await world.until(lambda: world.peer.texts == ["Hello"])
        refused = (await http.post(MESSAGE, json=message("Hello again", quiet))).json()
        assert refused["state"] == "failed"


@pytest.mark.parametrize(
    ("held_out", "profile"),
    [("0%", {"open_tickets": 1}), ("0%", {"marketing_consent": False}), ("99%", {"marketing_consent": True})],
)
async def test_a_sender_learns_nothing_of_a_person_from_why_it_is_refused(
    running_world: Any, bench_with: Any, texts: dict[str, str], held_out: str, profile: dict[str, Any]
) -> None:
    policy = texts["contact_policy.yaml"].replace("holdout: 0%", f"holdout: {held_out}")
    async with running_world(bench_with({"contact_policy.yaml": policy})) as world, door(world) as http:
        await world.loop.submit(world.bench.event("profile", **{"marketing_consent": True, **profile}))
        (receiver,) = (await http.post(MESSAGE, json=message())).json()["receiver"]
        told = {name: receiver.get(name) for name in ("status", "statusReason", "statusUntil")}
        assert told == {"status": "refused", "statusReason": "contact policy", "statusUntil": None}


async def test_in_the_night_it_is_delayed_and_can_be_cancelled(start: Any) -> None:
    world = await start()
    world.bench.now = NIGHT
    async with door(world) as http:
        made = (await http.post(MESSAGE, json=message())).json()
        (receiver,) = made["receiver"]
        assert (receiver["status"], receiver["statusReason"], receiver["statusUntil"]) == (
            "delayed",
            "quiet hours",
            MORNING,
        )
        shown = (await http.patch(made["href"], json={"state": "cancelled"})).json()
        assert (shown["state"], shown["receiver"][0]["status"]) == ("cancelled", "cancelled")
        assert (await http.patch(made["href"], json={"state": "cancelled"})).status_code == 200
        other = (await http.post(MESSAGE, json=message("Other"))).json()
        assert (await http.delete(other["href"])).status_code == 204
        assert (await http.get(other["href"])).status_code == 404
        assert (await http.delete(other["href"])).status_code == 404
        assert [one["id"] for one in (await http.get(MESSAGE)).json()] == [made["id"]]
        assert world.store.passages(other["id"])[0].stand == "cancelled"
    assert world.bench.state().passing is None


async def test_what_is_on_its_way_cannot_be_cancelled_nor_changed(start: Any) -> None:
    world = await start()
    async with door(world) as http:
        made = (await http.post(MESSAGE, json=message())).json()
        await world.until(lambda: world.peer.submitted)
        assert (await http.patch(made["href"], json={"state": "cancelled"})).status_code == 409
        answer = await http.patch(made["href"], json={"content": "Something else"})
        assert (answer.status_code, answer.json()["reason"]) == (400, "`content` cannot be changed")
        assert (await http.patch(made["href"], json={"content": "Play now", "logFlag": True})).json()["logFlag"] is True


@pytest.mark.parametrize("by", ["header", "externalId"])
async def test_with_the_same_key_it_is_the_same_message(start: Any, by: str) -> None:
    world = await start()
    body, headers = message(), {}
    if by == "header":
        headers = {"Idempotency-Key": "order 7"}
    else:
        body["characteristic"] = [{"name": "externalId", "value": "order 7"}]
    async with door(world) as http:
        answers = await asyncio.gather(*(http.post(MESSAGE, json=body, headers=headers) for _ in range(4)))
        answers.append(await http.post(MESSAGE, json=body, headers=headers))
        assert {one.json()["id"] for one in answers} == {answers[0].json()["id"]}
        await world.until(lambda: world.peer.submitted)
        await asyncio.sleep(0.05)
    assert len(world.peer.submitted) == 1
    assert len(world.bench.state().contacts) == 1


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"sender": {"phoneNumber": "5000"}}, 403, "`5000` is no sender id of `vas`"),
        ({"sender": {"name": "Shop"}}, 403, "`Shop` is no sender id of `vas`"),
        ({"sender": {}}, 400, "`sender` names no sender id"),
        (purpose("emergency"), 403, "`vas` may not send `emergency`: it sends third_party"),
        (purpose("fun"), 400, "`characteristic`: `fun` is no purpose"),
        ({"messageType": "Email"}, 400, "`messageType`: `Email` cannot be sent here"),
        ({"attachment": [{"name": "x"}]}, 400, "`attachment`: an SMS has none"),
        ({"receiver": []}, 400, "`$.receiver`"),
        ({"receiver": [{"email": "ada@example.com"}]}, 400, "phoneNumber"),
        ({"receiver": [{"phoneNumber": "12"}]}, 400, "`receiver[0].phoneNumber`"),
        ({"receiver": [{"phoneNumber": f"+1202555{n:04d}"} for n in range(101)]}, 400, "length <= 100"),
        ({"content": ""}, 400, "$.content"),
        ({"content": "x" * 2000}, 400, "`content` is 14 SMS long; 10 are the most"),
        ({"scheduledSendTime": "2026-03-04T12:00:00"}, 400, "`scheduledSendTime` names no time zone"),
        ({"scheduledSendTime": "soon"}, 400, "scheduledSendTime"),
        ({"tryTimes": -1}, 400, "tryTimes"),
        ({"priority": "high"}, 400, "priority"),
        ({"colour": "red"}, 400, "`colour`"),
        ({"characteristic": [{"name": "validUntil", "value": "2026-03-04T11:00:00Z"}]}, 400, "its validity ends"),
    ],
)
async def test_what_cannot_be_taken_says_why(start: Any, changes: Any, status: int, words: str) -> None:
    world = await start()
    async with door(world) as http:
        answer = await http.post(MESSAGE, json=message() | changes)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["reason"]
    assert not world.peer.submitted


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"x"', b"{" * 50_000, b"[" * 90_000, b"\xff", b'{"content": 1}', b"x" * 200_000]
)
async def test_no_body_breaks_it(start: Any, body: bytes) -> None:
    world = await start()
    async with door(world) as http:
        answer = await http.post(MESSAGE, content=body)
    assert answer.status_code in (400, 413)
    assert answer.json()["reason"]


async def test_filters_fields_and_pages(start: Any) -> None:
    world = await start()
    world.bench.now = NIGHT
    async with door(world) as http:
        for number in range(5):
            assert (await http.post(MESSAGE, json=message(f"Text {number}", priority=str(number % 2)))).is_success
        every = (await http.get(MESSAGE)).json()
        assert [one["content"] for one in every] == [f"Text {number}" for number in (4, 3, 2, 1, 0)]
        page = await http.get(f"{MESSAGE}?offset=1&limit=2&fields=content")
        assert page.json() == [{key: one[key] for key in ("id", "href", "content")} for one in every[1:3]]
        assert page.headers["x-result-count"] == "2"
        assert "x-total-count" not in page.headers, "nobody has counted them"
        found = await http.get(f'{MESSAGE}?priority="1"')
        assert [one["content"] for one in found.json()] == ["Text 3", "Text 1"]
        assert found.headers["x-total-count"] == "2"
        assert len((await http.get(f'{MESSAGE}?lastUpdate="{every[0]["lastUpdate"]}"')).json()) == 5
        assert (await http.get(f"{MESSAGE}?state=completed")).json() == []
        assert len((await http.get(f"{MESSAGE}?receiver.status=delayed")).json()) == 5
        one = (await http.get(f"{every[0]['href']}?fields=state")).json()
        assert one == {"id": every[0]["id"], "href": every[0]["href"], "state": "initial"}
        for query in ("colour=red", "fields=colour", "limit=-1", "offset=x"):
            assert (await http.get(f"{MESSAGE}?{query}")).status_code == 400


async def test_nobody_sees_or_touches_anothers_messages(start: Any) -> None:
    world = await start()
    async with door(world) as http, door(world, "shop") as shop, door(world, "stranger") as stranger:
        made = (await http.post(MESSAGE, json=message())).json()
        for other in (shop, stranger):
            assert (await other.get(made["href"])).status_code == 404
            assert (await other.delete(made["href"])).status_code == 404
            assert (await other.patch(made["href"], json={"state": "cancelled"})).status_code == 404
            assert (await other.get(MESSAGE)).json() == []
        assert (await stranger.post(MESSAGE, json=message())).status_code == 403
    async with door(world, "") as unlocked:
        assert len((await unlocked.get(MESSAGE)).json()) == 1
        assert (await unlocked.post(MESSAGE, json=message("By whoever has the id"))).json()["receiver"][0]["status"]


async def test_while_the_store_fails_alarms_go_out_and_marketing_comes_back_later(start: Any) -> None:
    world = await start()
    world.store.failing = True
    async with door(world) as http, door(world, "alarm") as alarm:
        answer = await http.post(MESSAGE, json=message())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        sent = message("Leave the building", MSISDN, "12025550188", sender={"id": "112"})
        answer = await alarm.post(MESSAGE, json=sent)
        assert answer.status_code == 201
        assert [one["status"] for one in answer.json()["receiver"]] == ["sent", "sent"]
    assert world.peer.texts == ["Leave the building"] * 2


async def test_while_the_store_hangs_an_alarm_goes_out_once(start: Any) -> None:
    world = await start(decide_within=0.1)
    world.store.gate.clear()
    async with door(world, "alarm") as alarm:
        sent = message("Leave the building", sender={"id": "112"})
        made = (await alarm.post(MESSAGE, json=sent)).json()
        assert made["receiver"][0]["status"] == "sent"
        world.store.gate.set()
        await world.until(lambda: [row.status for row in world.rows("emergency")] == ["dropped"])
        assert (await alarm.get(made["href"])).json()["receiver"][0]["status"] == "sent"
    assert world.peer.texts == ["Leave the building"]


async def test_an_emergency_never_waits_behind_a_campaign_of_the_government(start: Any) -> None:
    """Neither in the outbox, of which a part is in memory, nor before the SMSC, which takes its time."""
    world = await start()
    world.dispatcher.hold = 90
    world.peer.awake.clear()
    async with door(world, "state") as state, door(world, "alarm") as alarm:
        numbers = [str(12025550100 + n) for n in range(100)]
        campaign = message("Vote on Sunday", *numbers, sender={"id": "State"})
        assert (await state.post(MESSAGE, json=campaign)).status_code == 201
        await world.until(lambda: world.peer.submitted)
        await alarm.post(MESSAGE, json=message("Leave the building", "12025550155", sender={"id": "112"}))
        window = world.smsc.client.statistics()[0].window
        await world.until(lambda: world.smsc.client.statistics()[0].waiting > window)
        world.peer.awake.set()
        await world.until(lambda: "Leave the building" in world.peer.texts)
        assert world.peer.texts.index("Leave the building") == window, "what was on its way already"
        await world.until(lambda: len(world.peer.texts) == 101)


# -- who listens -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listener(answers: list[int]) -> AsyncIterator[tuple[str, list[Any]]]:
    """A callback that answers as it is told, then 204; and what it was told."""
    got: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        body = await reader.readexactly(length)
        status = answers.pop(0) if answers else 204
        if status == 204:
            got.append(json.loads(body))
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", got


def allow(world: Any, *callbacks: str) -> None:
    """As if the settings allowed these callbacks to each sender."""
    world.gateway.senders = {
        name: dataclasses.replace(one, callbacks=callbacks) for name, one in world.gateway.senders.items()
    }


def told(world: Any) -> list[Text]:
    return [msgspec.msgpack.decode(row.payload, type=Text) for row in world.handed if row.channel == "callback"]


async def test_listeners_are_told_of_each_change_until_they_take_it(start: Any, definition: Any) -> None:
    world = await start()
    async with door(world) as http, listener([503, 500]) as (url, got):
        allow(world, url)
        made = (await http.post(f"{TMF681}/hub", json={"callback": f"{url}/listener"})).json()
        assert (await http.post(f"{TMF681}/hub", json={"callback": f"{url}/listener"})).status_code == 409
        sent = (await http.post(MESSAGE, json=message())).json()
        await world.until(lambda: len(got) == 2)
        await world.peer.receipt("1", MessageState.DELIVERED)
        await world.until(lambda: len(got) == 3)
        assert {one["eventType"] for one in got} == {EVENT}
        assert len({one["eventId"] for one in got}) == 3
        last = got[-1]["event"]["communicationMessage"]
        assert (last["id"], last["state"]) == (sent["id"], "completed")
        definition(last, "CommunicationMessage")
        assert (await http.delete(f"{TMF681}/hub/{made['id']}")).status_code == 204
        assert (await http.delete(f"{TMF681}/hub/{made['id']}")).status_code == 404
        await http.post(MESSAGE, json=message("More"))
        await asyncio.sleep(0.1)
        assert len(got) == 3


async def test_a_listener_that_hangs_holds_up_no_other_of_its_client(start: Any) -> None:
    world = await start()
    world.dispatcher.hold = 1  # of what is for one
    async with door(world) as http, web_server() as hangs, web_server() as sound:
        allow(world, hangs.url, sound.url)
        hangs.answers = ["hang"] * 9
        for web in (hangs, sound):
            assert (await http.post(f"{TMF681}/hub", json={"callback": web.url})).status_code == 201
        await http.post(MESSAGE, json=message())
        await world.until(lambda: len(sound.got) == 2)
        await world.peer.receipt("1", MessageState.DELIVERED)
        await world.until(lambda: len(sound.got) == 3)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"callback": "http://elsewhere.example/x"}, 403),
        ({"callback": "http://127.0.0.1.evil.example/"}, 403),
        ({"callback": "http://127.0.0.1@evil.example/"}, 403),
        ({"callback": "http://127.0.0.1/hook"}, 403),
        ({"callback": "http://127.0.0.1/x/../admin"}, 403),
        ({"callback": "http://127.0.0.1/x/%2e%2e/admin"}, 400),
        ({"callback": "http://127.0.0.1/x/..%2Fadmin"}, 400),
        ({"callback": "http://127.0.0.1/x/..;/admin"}, 400),
        ({"callback": "http://127.0.0.1/x/\u0001"}, 400),
        ({"callback": "http://127.0.0.1/x/\u0085"}, 400),
        ({"callback": "http://[::1/x"}, 400),
        ({"callback": "127.0.0.1/x"}, 400),
        ({"callback": "file:///x"}, 400),
        ({"callback": "http://127.0.0.1/x", "query": "eventType=Other"}, 400),
        ({}, 400),
        ({"callback": 7}, 400),
    ],
)
async def test_callbacks_go_where_operations_allowed(start: Any, body: Any, status: int) -> None:
    world = await start()
    allow(world, "http://127.0.0.1/x")
    async with door(world) as http:
        assert (await http.post(f"{TMF681}/hub", json=body)).status_code == status
    assert world.store.listeners() == []


async def test_a_callback_may_be_written_in_any_way_that_means_the_allowed_one(start: Any) -> None:
    world = await start()
    allow(world, "http://LocalHost:80/x")
    async with door(world) as http:
        for callback in ("http://localhost/x", "http://localhost:80/x/é?y=1", "http://LOCALHOST/y/../x/z"):
            assert (await http.post(f"{TMF681}/hub", json={"callback": callback})).status_code == 201


async def test_who_listens_is_allowed_anew_at_every_start(start: Any, capsys: Any) -> None:
    world = await start()
    allow(world, "http://127.0.0.1/x")
    async with door(world) as http:
        made = (await http.post(f"{TMF681}/hub", json={"callback": "http://127.0.0.1/x/1"})).json()
        assert [one.id for one in world.gateway.hubs.listening] == [made["id"]]
        allow(world, "http://127.0.0.1/y")
        world.gateway.wire(world.esmes, 600_000)
        assert not world.gateway.hubs.listening
        assert capsys.readouterr().out.count("http://127.0.0.1/x/1") == 1
        other = (await http.post(f"{TMF681}/hub", json={"callback": "http://127.0.0.1/y"})).json()
        assert [one.id for one in world.gateway.hubs.listening] == [other["id"]], "and with the next listener, too"
        await http.post(MESSAGE, json=message())
        assert {text.source for text in told(world)} == {other["id"]}


async def test_who_listens_since_the_door_had_no_lock_hears_nobody_behind_it(start: Any) -> None:
    world = await start()
    async with door(world, "") as http:
        made = (await http.post(f"{TMF681}/hub", json={"callback": "http://127.0.0.1/x"})).json()
        await http.post(MESSAGE, json=message("One"))
        assert {text.source for text in told(world)} == {made["id"]}
    heard = len(told(world))
    world.gateway.wire(world.esmes, 600_000, locked=True)
    async with door(world) as http:
        assert (await http.post(MESSAGE, json=message("Two"))).status_code == 201
    assert len(told(world)) == heard
