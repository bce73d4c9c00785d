"""A dialler calls: what it is asked for, what it says, and what is pressed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.channels.conftest import Web, bench_of, by_mail
from tests.channels.dispatching import dispatching, settled
from tests.hanging import Hanging

from kairos.adapters.ivr import Dialler, Voice
from kairos.adapters.webhooks import Target
from kairos.api import create_app
from kairos.api.ivr import add_ivr
from kairos.domain.inputs import Change

SECRET = "0123456789abcdef"
PATH = f"/v1/ivr/{SECRET}"
FORM = {"content-type": "application/x-www-form-urlencoded"}
VXML = "{http://www.w3.org/2001/vxml}"


@dataclass
class Line:
    bench: Any
    http: httpx.AsyncClient

    @property
    def offer(self) -> Any:
        (offer,) = self.bench.state().offers
        return offer

    async def press(self, digits: str, **more: str) -> httpx.Response:
        return await self.http.post(PATH, json={"offer": self.offer.key, "call": "c1", "digits": digits} | more)


@pytest.fixture
def call_bench(texts: dict[str, str]) -> Any:
    files = by_mail(texts)
    booster = files["offers/booster.yaml"].replace("channel: email", "channel: ivr")
    policy = files["contact_policy.yaml"].replace("{email: mail_consent}", "{ivr: mail_consent}")
    return bench_of(files | {"offers/booster.yaml": booster, "contact_policy.yaml": policy})


@pytest.fixture
def twice_bench(texts: dict[str, str]) -> Any:
    """As `call_bench`, and the yes must be said twice."""
    files = by_mail(texts)
    booster = files["offers/booster.yaml"].replace("channel: email", "channel: ivr") + "\nconfirm: twice\n"
    policy = files["contact_policy.yaml"].replace("{email: mail_consent}", "{ivr: mail_consent}")
    asks = '\nconfirm: {en: "Reply {number} again to buy {title} for {price}"}\n'
    changed = {"offers/booster.yaml": booster, "contact_policy.yaml": policy}
    return bench_of(files | changed | {"messages.yaml": files["messages.yaml"] + asks})


@asynccontextmanager
async def calling(bench: Any, web: Web) -> AsyncIterator[Line]:
    """The dialler was asked for a call to a subscriber, and took it."""
    callbacks = f"https://kairos.example{PATH}"
    channel = Dialler(Target(f"{web.url}/calls", [b"s" * 24], 5.0, lambda: bench.now, 4), callbacks)
    bench.profile()
    async with dispatching(bench, channel, "ivr") as loop:
        voice = Voice(loop, SECRET, callbacks)
        nothing: Any = object()
        more = [lambda app: add_ivr(app, voice)]
        app = create_app(nothing, nothing, CollectorRegistry(), lambda: 0, more=more)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kairos") as http:
            await loop.submit(bench.event("data_session", app="video", bytes=1.0))
            await settled(bench, "sent")
            yield Line(bench, http)
    await channel.close()


async def test_the_dialler_is_asked_once_and_told_what_to_say_and_where_to(call_bench: Any, web: Web) -> None:
    async with calling(call_bench, web) as line:
        ((path, headers, body),) = web.got
        asked = json.loads(body)
        assert (path, headers["webhook-id"], asked["type"]) == ("/calls", line.offer.key, "call")
        assert (asked["data"]["subscriber"], asked["data"]["language"]) == ("+12025550123", "en")
        where = asked["data"]["document"]
        assert where == f"https://kairos.example{PATH}/{line.offer.key}"
        document = ET.fromstring((await line.http.get(where.removeprefix("https://kairos.example"))).text)
        assert document.get("{http://www.w3.org/XML/1998/namespace}lang") == "en"
        menu = document.find(f"{VXML}menu")
        assert menu is not None
        assert "500 MB for 1 day" in str(menu.findtext(f"{VXML}prompt"))
        assert [choice.get("dtmf") for choice in menu.iter(f"{VXML}choice")] == ["1", "2", "9"]
        submits = [one.get("next") for one in document.iter(f"{VXML}submit")]
        assert set(submits) == {f"https://kairos.example{PATH}"}


async def test_a_call_that_cannot_be_read_holds_up_only_who_asks_for_it(call_bench: Any, web: Web) -> None:
    async with calling(call_bench, web) as line:
        hanging = Hanging(call_bench.store, "outgoing_by_peer_id")
        asked = asyncio.create_task(line.http.get(f"{PATH}/{line.offer.key}"))
        await hanging.reached()
        hanging.end()
        assert (await asked).status_code == 200


@pytest.mark.parametrize(("digit", "status"), [("1", "accepted"), ("2", "declined"), ("9", "withdrawn")])
async def test_what_is_pressed_is_a_yes_a_no_or_the_end_of_calls(
    call_bench: Any, web: Web, digit: str, status: str
) -> None:
    async with calling(call_bench, web) as line:
        for _ in range(2):  # a gateway that repeats
            answer = await line.press(digit)
            assert answer.status_code == 200, answer.text
        assert line.offer.status == status
        if digit == "1":
            assert len([row for row in call_bench.store.outgoing([1, 2, 3]) if row.channel == "ocs"]) == 1
        consent = call_bench.state().attributes[call_bench.program.plan.places["mail_consent"]]
        assert consent is (False if digit == "9" else None)


async def test_a_number_that_another_has_by_now_is_not_stopped(call_bench: Any, web: Web) -> None:
    async with calling(call_bench, web) as line:
        key = line.offer.key
        call_bench.now += 1_000
        call_bench.apply(Change("crm/1", "number_recycled", "12025550123", call_bench.now))
        call_bench.profile()  # of whoever has it now
        answer = await line.http.post(PATH, json={"offer": key, "call": "c1", "digits": "9"})
        assert answer.json()["status"] == "unknown offer"
        state = call_bench.state()
        assert (state.offers, state.attributes[call_bench.program.plan.places["mail_consent"]]) == ([], None)


async def test_a_form_is_answered_with_a_voice(call_bench: Any, web: Web) -> None:
    async with calling(call_bench, web) as line:
        at = f"{PATH}?offer={line.offer.key}"
        unclear = await line.http.post(at, content="CallSid=c1&Digits=7", headers=FORM)
        assert "<menu" in unclear.text
        taken = await line.http.post(at, content="CallSid=c1&Digits=1", headers=FORM)
        assert "<disconnect/>" in taken.text
        assert line.offer.status == "accepted"


@pytest.mark.parametrize(
    ("pressed", "gaps"),
    [("11", (2_000, 4_000)), ("111", (2_000, 2_000, 2_000)), ("711", (500, 500, 4_000)), ("171", (500, 500, 4_000))],
)
async def test_who_presses_too_soon_or_another_digit_can_still_say_yes_twice(
    twice_bench: Any, web: Web, pressed: str, gaps: tuple[int, ...]
) -> None:
    async with calling(twice_bench, web) as line:
        said = (await line.http.get(f"{PATH}/{line.offer.key}")).text
        for digit, gap in zip(pressed, gaps, strict=True):
            twice_bench.now += gap
            assert line.offer.status == "open"
            (call,) = set(re.findall(r"""name="call" expr="'([\w-]+)'\"""", said))
            form = f"offer={line.offer.key}&digits={digit}&call={call}"
            for _ in range(2):  # a submit that is repeated is one answer
                said = (await line.http.post(PATH, content=form, headers=FORM)).text
                twice_bench.now += 1
        assert line.offer.status == "accepted"
        assert "<disconnect/>" in said


@pytest.mark.parametrize("state", ["no-answer", "busy", "failed"])
async def test_who_was_never_reached_was_not_contacted(call_bench: Any, web: Web, state: str) -> None:
    async with calling(call_bench, web) as line:
        for _ in range(2):
            answer = await line.http.post(PATH, json={"offer": line.offer.key, "call": "c1", "state": state})
            assert answer.status_code == 200
        assert (line.offer.status, call_bench.state().contacts) == ("withdrawn", [])
        assert call_bench.store.outgoing([1])[0].status == "dropped"
        assert call_bench.store.dead_letters() == []


async def test_who_hung_up_was_contacted(call_bench: Any, web: Web) -> None:
    async with calling(call_bench, web) as line:
        await line.http.post(PATH, json={"offer": line.offer.key, "call": "c1", "state": "hung_up"})
        assert (line.offer.status, len(call_bench.state().contacts)) == ("open", 1)
        assert call_bench.store.outgoing([1])[0].status == "delivered"


async def test_a_call_whose_request_was_never_answered_may_have_been_made_and_is_heard(
    call_bench: Any, web: Web
) -> None:
    web.answers = [500]
    channel = Dialler(Target(f"{web.url}/calls", [b"s" * 24], 5.0, lambda: call_bench.now, 4), "https://x.example")
    call_bench.profile()
    async with dispatching(call_bench, channel, "ivr") as loop:
        await loop.submit(call_bench.event("data_session", app="video", bytes=1.0))
        await settled(call_bench, "failed")
        voice = Voice(loop, SECRET, "https://x.example")
        heard = await voice.heard(call_bench.state().offers[0].key, "c1", "1", "")
        assert heard is not None
        assert heard["status"] == "accepted"
    await channel.close()


@pytest.mark.parametrize(
    ("path", "content", "headers", "status"),
    [
        ("/v1/ivr/fedcba9876543210", b'{"offer": "k", "digits": "1"}', {}, 404),
        ("/v1/ivr/%FF%FE", b'{"offer": "k", "digits": "1"}', {}, 404),
        (PATH, b'{"offer": "nothing-1", "digits": "1"}', {}, 404),
        (PATH, b"[]", {}, 400),
        (PATH, b'{"offer": {"a": 1}}', {}, 400),
        (PATH, b'{"digits": "1"}', {}, 400),
        (PATH, b"\xff=\xfe", FORM, 400),
        (PATH, b"x" * 20_000, {}, 413),
    ],
)
async def test_what_is_no_call_is_refused(
    call_bench: Any, web: Web, path: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    async with calling(call_bench, web) as line:
        answer = await asyncio.wait_for(line.http.post(path, content=content, headers=headers), 60)
        assert answer.status_code == status, answer.text
        assert line.offer.status == "open"
        assert SECRET not in answer.text
