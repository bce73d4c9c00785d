"""One voice on every channel, at the running server: SMS, the care desk's HTTP, the charging system's ledger."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

from kairos.domain.subscriber import OpenOffer


class Desk:
    """A care agent's screen."""

    def __init__(self, system: Any) -> None:
        self.system = system

    async def ask(self, msisdn: str, **more: Any) -> dict[str, Any]:
        body = {"id": uuid.uuid4().hex, "subscriber": f"+{msisdn}", "channel": "care"} | more
        return self._ok(await self.system.http.post(f"{self.system.server.url}/v1/decisions", json=body))

    async def say(self, msisdn: str, offer: str, answer: str, **more: Any) -> dict[str, Any]:
        body = {"id": uuid.uuid4().hex, "subscriber": msisdn, "offer": offer, "answer": answer, "channel": "care"}
        return self._ok(await self.system.http.post(f"{self.system.server.url}/v1/responses", json=body | more))

    async def see(self, msisdn: str) -> dict[str, Any]:
        return self._ok(await self.system.http.get(f"{self.system.server.url}/v1/subscribers/{msisdn}"))

    def _ok(self, answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def offer_of(system: Any, msisdn: str) -> OpenOffer:
    offer: OpenOffer
    (offer,) = system.states()[msisdn].offers
    return offer


def charged(system: Any, msisdn: str) -> list[int]:
    """What the charging system took from them, order by order."""
    charges = system.operator.ocs.charges()
    return [charges[order.key] for order in system.orders(msisdn)]


async def test_what_was_offered_by_sms_is_taken_at_the_care_desk_and_charged_once(launch: Any) -> None:
    async with launch() as system:
        desk, msisdn = Desk(system), system.with_language("en")
        await system.known(msisdn)
        seen = await system.call(msisdn)
        made = offer_of(system, msisdn)
        assert made.title in seen.text or str(made.number) in seen.text
        for channel in ("care", "app", "web"):
            (told,) = (await desk.ask(msisdn, channel=channel))["offers"]
            assert (told["offer"], told["number"], told["until"]) == (made.key, made.number, made.expires)
            assert int(told["price"].replace(".", "")) == made.price
        assert offer_of(system, msisdn) == made
        before = system.operator.ocs.accounts[msisdn].main
        first = await desk.say(msisdn, made.key, "accept", id="yes", who="agent 17")
        assert first["status"] == "accepted"
        again = await desk.say(msisdn, made.key, "accept", id="yes")
        other = await desk.say(msisdn, made.key, "accept", channel="app")
        late = await system.reply(msisdn, str(made.number))
        await system.drained()
        assert {again["status"], other["status"]} <= {"accepted", "fulfilled"}
        assert "charged only once" in late.text or "active" in late.text
        assert charged(system, msisdn) == [1]
        assert before - system.operator.ocs.accounts[msisdn].main == made.price
        await system.until(lambda: any("is active" in text for text in system.inbox(msisdn)), "the confirmation")
        shown = await desk.see(msisdn)
        (offer,) = shown["offers"]
        assert (offer["offer"], offer["status"], offer["channel"]) == (made.key, "fulfilled", "notification")
        assert [one["outcome"] for one in offer["answers"]] == ["accepted", "fulfilled"]
        assert offer["said"][0]["text"] == "yes (care, agent 17)"
        assert [one["status"] for one in shown["purchases"]] == ["done"]


async def test_a_no_at_the_care_desk_keeps_it_from_coming_back_by_sms(launch: Any) -> None:
    async with launch(restarts=True) as system:
        desk, msisdn = Desk(system), system.with_language("en")
        await system.known(msisdn)
        await system.call(msisdn)
        made = offer_of(system, msisdn)
        assert (await desk.say(msisdn, made.key, "decline"))["status"] == "declined"
        await system.server.kill()
        await system.restart()
        for _ in range(3):
            seen = await system.call(msisdn)
            assert made.title not in seen.text
        assert made.action not in [one["action"] for one in (await desk.ask(msisdn))["offers"]]
        assert made.action in [one["action"] for one in (await desk.see(msisdn))["rests"]]
        assert {one.action for one in system.states()[msisdn].offers if one.status == "open"} & {made.action} == set()
        assert charged(system, msisdn) == []


async def test_what_the_app_was_told_is_taken_by_sms_though_the_server_was_killed_between(launch: Any) -> None:
    async with launch(restarts=True) as system:
        desk, msisdn = Desk(system), system.with_language("en")
        await system.known(msisdn)
        await system.tell([("end_of_call", msisdn, {"service": "voice", "cost": "0.10"})] * 3)
        answer = await desk.ask(msisdn, channel="app", id="app/1")
        told = answer["offers"][0]
        await system.server.kill()
        await system.restart()
        repeated = await desk.ask(msisdn, channel="app", id="app/1")
        assert [one["offer"] for one in repeated["offers"]] == [one["offer"] for one in answer["offers"]]
        done = await system.reply(msisdn, str(told["number"]))
        assert done.text.startswith(told["title"])
        assert charged(system, msisdn) == [1]
