"""USSD at the running server: menus over SMPP, forms and XML over HTTP, dialogues of our own, and what goes wrong."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import msgspec
import pytest
from tests.noon import example_at_noon

from kairos.simulate import OperatorSettings
from kairos.simulate.ussd import USSR_CONFIRM, Dialogue, Screen
from kairos.smpp import Status

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
PATIENCE = 60.0
SECRET = "a secret of this test that is long enough"
Ussd = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def ussd(launch: Any, a_free_port: Callable[[], int], tmp_path: Path) -> Ussd:
    """A system whose operator has a USSD gateway, too; without settings of one's own the example, where it is noon."""

    def build(settings: Path | None = None, **more: Any) -> Any:
        port = a_free_port()
        around = OperatorSettings(subscribers=60, smsc_port=a_free_port(), ussd_port=port, receipt_after=0.02)
        gateway = {
            "HOST": "127.0.0.1",
            "PORT": port,
            "PASSWORD": "kairos",
            "PROFILE": "6d",
            "PUSH": "smpp",
            "WITHIN_S": PATIENCE,
        }
        named = {f"USSD_{key}": value for key, value in (gateway | {"SECRET": SECRET} | more).items()}
        if settings:
            return launch(operator=around, settings=settings, **named)
        return launch(operator=around, PLAYBOOK=example_at_noon(tmp_path / "prepaid"), **named)

    return build


async def gateway_bound(system: Any) -> Any:
    gateway = system.operator.ussd
    await system.until(lambda: gateway.bound, "kairos on the USSD gateway")
    return gateway


async def shown(dialogue: Dialogue) -> Screen:
    async with asyncio.timeout(PATIENCE):
        return await dialogue.screen()


async def pressed(gateway: Any, dialogue: Dialogue, *keys: str) -> Screen:
    for key in keys:
        await asyncio.sleep(0.55)  # the same key sooner would be the same step
        await gateway.press(dialogue, key)
        await shown(dialogue)
    return dialogue.screens[-1]


def path(system: Any, name: str, secret: str = SECRET) -> str:
    return f"{system.server.url}/v1/ussd/{secret}/{name}"


def form(msisdn: str, text: str = "", session: str = "s1", code: str = "*123#") -> dict[str, str]:
    return {"sessionId": session, "phoneNumber": f"+{msisdn}", "serviceCode": code, "text": text}


def charges(system: Any, msisdn: str) -> list[int]:
    counted = system.operator.ocs.charges()
    return [counted[order.key] for order in system.orders(msisdn)]


async def test_an_offer_of_a_notification_is_taken_by_ussd_and_by_sms_at_once_and_charged_once(ussd: Ussd) -> None:
    async with ussd() as system:
        gateway, msisdn = await gateway_bound(system), system.with_language("en")
        await system.known(msisdn)
        await system.call(msisdn)
        (made,) = system.states()[msisdn].offers
        dialogue = await gateway.dial(msisdn, "*123#")
        assert (await shown(dialogue)).text.startswith("My account\n1 My offers\n2 My balance")
        assert made.title in (await pressed(gateway, dialogue, "1")).text
        assert system.states()[msisdn].offers == [made]  # told as it is, unchanged
        yes = (await pressed(gateway, dialogue, "1")).key("Yes")
        assert yes not in ("", "1")
        assert (await pressed(gateway, dialogue, "1")).key("Yes") == yes  # the same key again is the same screen
        assert system.orders(msisdn) == []
        reply = system.operator.reply(msisdn, str(made.number))
        await asyncio.gather(gateway.press(dialogue, yes), gateway.bring(dialogue, USSR_CONFIRM, yes))
        last = await shown(dialogue)
        await system.said_to(reply)
        await system.drained()
        assert (last.more, "on its way" in last.text) == (False, True)
        await gateway.again(dialogue, yes)
        assert gateway.alike == 1
        assert charges(system, msisdn) == [1]
        shown_texts = {screen.text for screen in dialogue.screens[-2:]}
        assert shown_texts == {last.text}
        await system.until(lambda: any("is active" in text for text in system.inbox(msisdn)), "the confirmation")

        balance = await gateway.dial(msisdn, "*123*2#")
        assert (await shown(balance)).text.startswith("Balance T$")
        late = await gateway.dial(msisdn, "*123*4#")
        await shown(late)
        assert (await pressed(gateway, balance, "0")).text == "Please dial *123# again."  # a handset has one dialogue


async def test_who_leaves_before_an_offer_gets_it_by_sms_once_and_kairos_may_begin_itself(ussd: Ussd) -> None:
    async with ussd(TTL_S=4) as system:
        gateway, msisdn = await gateway_bound(system), system.with_language("en")
        started = asyncio.get_running_loop().time()
        await system.known(msisdn, main=120)
        await system.tell([("data_session", msisdn, {"app": "web", "bytes": 90_000_000})])
        dialogue = await gateway.dial(msisdn, "*123*4#")
        assert "1 500MB for 24 hours T$1" in (await shown(dialogue)).text
        await pressed(gateway, dialogue, "1")
        await gateway.abort(dialogue)
        await system.until(lambda: any("500MB" in text for text in system.inbox(msisdn)), "the SMS")
        (offer,) = system.states()[msisdn].offers
        assert "active" in (await system.reply(msisdn, str(offer.number))).text
        assert charges(system, msisdn) == [1]
        await gateway.abort(dialogue)
        await system.drained()
        assert sum("500MB" in text and "active" not in text for text in system.inbox(msisdn)) == 1

        player, other = system.with_language("en"), system.with_language("en")
        for one in (player, other):
            await system.known(one, dpi_consent=True)
            await system.tell([("data_session", one, {"app": "games", "bytes": 1000})] * 3)
        await asyncio.sleep(started + 4 - asyncio.get_running_loop().time())  # nothing is begun right after a start
        pushed = await play(system, player)
        assert pushed.screens[0].text.endswith("1 Yes\n2 No thanks")
        assert (await pressed(gateway, pushed, "1")).more is False
        await system.drained()
        assert charges(system, player) == [1]

        gateway.refusing = Status.ESME_RSUBMITFAIL
        await system.post(event(system, other))
        await system.until(lambda: any("Games" in text for text in system.inbox(other)), "the SMS in its place")
        await system.drained()
        assert sum("Reply" in text for text in system.inbox(other)) == 1
        assert not [one for one in gateway.dialogues.values() if one.msisdn == other]


def event(system: Any, msisdn: str) -> bytes:
    data = {"app": "games", "bytes": 1000}
    return msgspec.json.encode([system.operator.feed.event("data_session", msisdn, data, system.operator.now())])


async def play(system: Any, msisdn: str) -> Dialogue:
    """They play now, and kairos begins a dialogue about it."""
    gateway = system.operator.ussd
    await system.post(event(system, msisdn))
    await system.until(lambda: any(one.msisdn == msisdn for one in gateway.dialogues.values()), "the dialogue")
    dialogue: Dialogue = next(one for one in gateway.dialogues.values() if one.msisdn == msisdn)
    await shown(dialogue)
    return dialogue


@asynccontextmanager
async def another_system(asked: list[dict[str, str]]) -> AsyncIterator[str]:
    """A system that shows a screen, and then hands back; the settings that name it."""

    async def care(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked_for = await reader.readuntil(b"\r\n\r\n")
        length = int(asked_for.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        asked.append(dict(parse_qsl((await reader.readexactly(length)).decode(), keep_blank_values=True)))
        body = ["CON Care\n1 Language", "END Back we go", "what?"][len(asked) - 1]
        returned = "ussd-return: kairos\r\n" if len(asked) == 2 else ""
        head = f"HTTP/1.1 200 OK\r\n{returned}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(f"{head}{body}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(care, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield f'\n[ussd.systems.self_care]\nurl = "http://127.0.0.1:{port}/"\ntimeout_s = {PATIENCE}\n'


async def handed_over_and_back(system: Any, asked: list[dict[str, str]]) -> None:
    gateway, msisdn = await gateway_bound(system), system.with_language("en")
    await system.known(msisdn)
    dialogue = await gateway.dial(msisdn, "*123#")
    assert (await shown(dialogue)).key("Settings") == "4"
    assert (await pressed(gateway, dialogue, "4")).text == "Care\n1 Language"
    assert (asked[0]["phoneNumber"], asked[0]["serviceCode"], asked[0]["text"]) == (f"+{msisdn}", "*123*9#", "")
    assert (await pressed(gateway, dialogue, "1")).text.startswith("My account")
    assert asked[1]["text"] == "1"
    assert (await pressed(gateway, dialogue, "4")).text == "Please dial again in a moment."


async def test_gateways_that_speak_http_and_systems_that_are_handed_to(ussd: Ussd, tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []
    settings = tmp_path / "mine"
    async with another_system(asked) as named:
        _copied(settings, named)
        async with ussd(settings / "kairos.toml") as system:
            await handed_over_and_back(system, asked)
            await by_form(system)
            await by_xml(system)


async def by_form(system: Any) -> None:
    http, msisdn = system.http, system.with_language("en")
    await system.known(msisdn)
    await system.call(msisdn)
    (made,) = system.states()[msisdn].offers

    async def step(text: str, **more: str) -> str:
        answer = await http.post(path(system, "callback"), data=form(msisdn, text, **more))
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    first = await step("")
    assert first.startswith("CON My account\n1 My offers")
    assert first.endswith("4 Settings\n5 Main menu")  # this form can hand a dialogue back
    offers = await step("1")
    assert (await step("1"), await step("")) == (offers, first)  # again, and late
    confirm = await step("1*1")
    assert made.title in confirm
    repeated = await asyncio.gather(*(step("1*1*2") for _ in range(5)))
    assert set(repeated) == {f"END Thank you. {made.title} is on its way."}
    assert await step("1*1*2*1") == repeated[0]  # after the end there is nothing more
    await system.drained()
    assert charges(system, msisdn) == [1]
    back = await http.get(path(system, "callback"), params=form(msisdn, "5", "s2"))
    assert (back.text.strip(), back.headers["ussd-return"]) == ("END", "parent")
    await rejected(system, msisdn)


async def rejected(system: Any, msisdn: str) -> None:
    http: httpx.AsyncClient = system.http
    laughs = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><dialog type="&b;"/>'
    cases = [
        (await http.post(path(system, "callback", "guess"), data=form(msisdn)), 404, ""),
        (await http.post(path(system, "dialog", "guess"), content=b"<dialog/>"), 404, ""),
        (await http.post(path(system, "interrupted", "guess"), data=form(msisdn)), 404, ""),
        (await http.post(path(system, "callback"), data={"sessionId": "s"}), 400, "phoneNumber"),
        (await http.post(path(system, "callback"), data=form("12")), 400, ""),
        (await http.post(path(system, "callback"), content=b"\xff\x00&=&="), 400, "sessionId"),
        (await http.post(path(system, "callback"), content=b"a=b&" * 5000), 413, ""),
        (await http.post(path(system, "callback"), content=b"a=b&" * 100), 400, ""),
        (await http.post(path(system, "dialog"), content=laughs), 400, "dialog"),
        (await http.post(path(system, "dialog"), content=b"<dialog>" + b" " * 20_000), 413, ""),
        (await http.post(path(system, "dialog"), content=b"no xml"), 400, "dialog"),
        (await http.post(path(system, "dialog"), content=b"<dialog/>"), 400, "localId"),
        (await http.post(path(system, "interrupted"), data=form(msisdn) | {"status": "Incomplete"}), 204, ""),
    ]
    for answer, status, field in cases:
        assert answer.status_code == status, answer.text
        assert "Traceback" not in answer.text
        assert not field or answer.json()["field"] == field
    assert SECRET not in system.server.log


async def by_xml(system: Any) -> None:
    msisdn = system.with_language("fr")
    await system.known(msisdn)
    begin = (
        '<dialog type="Begin" localId="7" mapMessagesSize="1"><processUnstructuredSSRequest_Request invokeId="3" '
        f'dataCodingScheme="15" string="*123#"><msisdn number="{msisdn}"/>'
        "</processUnstructuredSSRequest_Request></dialog>"
    )

    async def step(document: str) -> str:
        answer = await system.http.post(path(system, "dialog"), content=document.encode())
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    menu = await step(begin)
    assert 'string="Mon compte&#10;1 Mes offres' in menu
    ours = f'localId="7" userObject="{msisdn}/7"'
    assert f'userObject="{msisdn}/7"' in menu
    key = f'<dialog type="Continue" {ours}><unstructuredSSRequest_Response string="{{}}"/></dialog>'
    assert "Solde T$" in await step(key.format(2))
    assert "Aide" in await step(key.format(0))
    over = await step(f'<dialog type="Unknown" {ours} mapUserAbortChoice="isUserSpecificReason"/>')
    assert 'type="End"' in over
    assert "Composez *123#" not in over
    assert "Please dial *123# again" in await step(key.format(1))


def _copied(folder: Any, more: str) -> None:
    shutil.copytree(EXAMPLE, folder)
    with (folder / "kairos.toml").open("a", encoding="utf-8") as file:
        file.write(more)
