"""One subscriber, one offer, four doors: told by SMS, seen on its page, asked of an agent, taken elsewhere."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from kairos.simulate.browser import NUMBER_HEADER, Screen, read
from kairos.simulate.scenario import link_in

URL = "https://offers.example"
USSD_SECRET = "u" * 32
PAGE = {"PAGE_URL": URL, "PAGE_SECRET": "s" * 32, "PAGE_NUMBER_HEADER": NUMBER_HEADER}
USSD = {"USSD_SECRET": USSD_SECRET, "USSD_WITHIN_S": 60}
WHOLE_DAY = {"app": "web", "bytes": 2_000_000_000}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system(launch_in: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    async with launch_in(tmp_path_factory.mktemp("voice"), restarts=True, **PAGE, **USSD) as running:
        yield running


class Doors:
    """The ways in which one subscriber reaches kairos."""

    def __init__(self, system: Any, msisdn: str) -> None:
        self.system, self.msisdn = system, msisdn
        self.session = uuid.uuid4().hex  # of a dialogue

    async def offered_by_sms(self) -> str:
        """The message, with its link: they use much data and have none left."""
        await self.system.known(self.msisdn)
        self.system.operator.tell("data_session", self.msisdn, WHOLE_DAY)
        await self.system.until(lambda: any(map(link_in, self.system.inbox(self.msisdn))), "the message with its link")
        return next(str(text) for text in self.system.inbox(self.msisdn) if link_in(text))

    async def page(self, link: str, **headers: str) -> tuple[int, Screen]:
        answer = await self.system.http.get(link.replace(URL, self.system.server.url), headers=headers)
        return answer.status_code, read(answer.text)

    async def asked_of_an_agent(self) -> dict[str, Any]:
        body = {"id": uuid.uuid4().hex, "subscriber": f"+{self.msisdn}", "channel": "care"}
        answer = await self.system.http.post(f"{self.system.server.url}/v1/decisions", json=body)
        (told,) = answer.json()["offers"]
        return dict(told)

    async def dialled(self, code: str, *keys: str) -> str:
        """The screen of a dialogue by its gateway's HTTP callback, after these keys."""
        session = {"sessionId": self.session, "phoneNumber": f"+{self.msisdn}", "serviceCode": code}
        url = f"{self.system.server.url}/v1/ussd/{USSD_SECRET}/callback"
        answer = await self.system.http.post(url, data=session | {"text": "*".join(keys)})
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    async def taken_in_the_app(self, key: str) -> str:
        body = {"id": uuid.uuid4().hex, "subscriber": self.msisdn, "offer": key, "answer": "accept", "channel": "app"}
        answer = await self.system.http.post(f"{self.system.server.url}/v1/responses", json=body)
        return str(answer.json()["status"])

    @property
    def charged(self) -> list[int]:
        """What the charging system took from them, order by order, in its own ledger."""
        charges = self.system.operator.ocs.charges()
        return [charges[order.key] for order in self.system.orders(self.msisdn)]


async def forwarded(doors: Doors, link: str) -> None:
    """Whoever else has the link takes nothing that costs more than a tap may; and a guessed one opens nothing."""
    friend = doors.system.with_language("en")
    status, seen = await doors.page(link)
    assert (status, "from the phone that this offer was sent to" in seen.news) == (200, True)
    status, seen = await doors.page(link, **{NUMBER_HEADER: friend})
    assert (status, seen.news) == (200, "This offer was sent to another number.")
    assert await doors.system.operator.browser.take(link, friend)
    assert (await doors.page(link[:-1] + ("2" if link[-1] != "2" else "3")))[0] == 404


async def test_told_by_sms_seen_on_its_page_asked_of_an_agent_taken_by_ussd_and_charged_once(system: Any) -> None:
    doors = Doors(system, system.with_language("en"))
    text = await doors.offered_by_sms()
    offers = list(system.states()[doors.msisdn].offers)
    (made,) = offers
    status, seen = await doors.page(link_in(text), **{NUMBER_HEADER: doors.msisdn})
    assert (status, seen.looks, "seal" in seen.form) == (200, "open", True)
    told = await doors.asked_of_an_agent()
    assert (told["offer"], told["channel"], told["title"]) == (made.key, "sms", made.title)
    assert told["shown_price"] in text
    assert system.states()[doors.msisdn].offers == offers  # looking and asking wrote nothing
    await forwarded(doors, link_in(text))
    assert system.states()[doors.msisdn].offers == offers
    before = system.operator.ocs.accounts[doors.msisdn].main
    listed = await doors.dialled("*123*4#")
    assert (made.title in listed, told["shown_price"] in listed) == (True, True)
    asked = await doors.dialled("*123*4#", "1")
    (yes,) = re.findall(r"^(\d+) Yes$", asked, re.MULTILINE)
    assert system.states()[doors.msisdn].offers == offers
    assert "is on its way" in await doors.dialled("*123*4#", "1", yes)
    late = await system.operator.browser.take(link_in(text), doors.msisdn, twice=True)
    assert late
    assert late.settled
    assert await doors.taken_in_the_app(told["offer"]) in ("accepted", "fulfilled")
    again = await system.reply(doors.msisdn, str(told["number"]))
    await system.drained()
    assert "is active" in again.text or "already" in again.text
    assert (await doors.page(link_in(text)))[1].looks == "done"
    assert doors.charged == [1]
    assert before - system.operator.ocs.accounts[doors.msisdn].main == made.price


async def test_a_tap_that_was_answered_survives_a_kill_and_is_charged_once(system: Any) -> None:
    doors = Doors(system, system.with_language("en"))
    text = await doors.offered_by_sms()
    number = str(system.states()[doors.msisdn].offers[0].number)
    answer = await system.operator.tap(doors.msisdn, number, link_in(text), twice=True)
    await system.server.kill()
    await system.restart()
    assert "is active" in (await system.said_to(answer)).text
    status, seen = await doors.page(link_in(text))
    assert (status, seen.looks) == (200, "done")
    assert doors.charged == [1]
