"""Dialogues behind any gateway: answered in time, once for a step, broken off when nobody goes on, and bounded."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.adapters.conftest import GatedStore
from tests.ahead import ahead
from tests.conftest import NOON, TEXTS, compiled
from tests.serving import drip, serving

from kairos.adapters.ussd import dialogues
from kairos.adapters.ussd.dialogues import BUSY, Dialogues
from kairos.adapters.ussd.doors import UssdDoors
from kairos.adapters.ussd.http import ACCEPTED_WITHIN, AwayError, HttpSystems, HttpUssd, XmlPush
from kairos.adapters.ussd.smpp import UssdSmpp
from kairos.domain.event import Event
from kairos.domain.inbound import Visit
from kairos.domain.inputs import Fulfilment
from kairos.domain.message import Text
from kairos.domain.subscriber import Bucket, OpenOffer
from kairos.engine.engine import Engine
from kairos.engine.loop import Loop
from kairos.engine.work import decode_state
from kairos.errors import EventError, StoreError
from kairos.learn import FixedPropensity
from kairos.playbook.ussd import WORDS, WORDS_OF_OFFERS
from kairos.simulate.ussd import Dialogue, UssdGateway
from kairos.smpp import BindTransceiver, Client, SessionOptions, Status
from kairos.ussd import Heard, Session, Show
from kairos.ussd.profiles import PROFILES

NUMBER = "12025550123"
MENUS = """
entries: {"*123#": main, "*123*4#": offers}
menus:
  main: {title: Account, items: [{label: Offers, offers: yes}, {label: Balance, text: "Balance {balance}"}]}
words:
""" + "".join(f'  "{word}": "{word}"\n' for word in (*WORDS, *WORDS_OF_OFFERS))
FILES = TEXTS | {
    "ussd.yaml": MENUS,
    "offers/booster.yaml": TEXTS["offers/booster.yaml"]
    .replace("data_session: 5 minutes}", "inbound: always}")
    .replace("treatments:", "treatments:\n  menu: {channel: ussd, message: booster_menu, fallback: sms}"),
    "messages.yaml": TEXTS["messages.yaml"] + 'booster_menu: {en: "{size} {price}"}\n',
}


@dataclass
class Desk:
    """The dialogues, the loop behind them, and a clock that the test turns."""

    store: GatedStore
    loop: Loop
    dialogues: Dialogues
    now: list[int]
    sent: list[str] = field(default_factory=list)

    async def hear(self, text: str, *, kind: Any = "input", session: str = "s", step: int = -1, **more: Any) -> Show:
        self.now[0] += 2_000
        code = more.pop("code", "*123*4#" if kind == "begin" else "")
        return await self.dialogues.hear("test", Heard(session, NUMBER, code, text, kind, step, **more))

    def statuses(self) -> list[str]:
        return [offer.status for offer in self.offers()]

    def offers(self) -> list[OpenOffer]:
        loaded = self.store.load([NUMBER], [])
        return decode_state(loaded.states[loaded.subscribers[NUMBER]]).offers


@asynccontextmanager
async def opened(files: dict[str, str] = FILES, **options: Any) -> AsyncIterator[Desk]:
    store, now, options = GatedStore(), [NOON], {"within": 60.0} | options
    engine = Engine(store, compiled(files), FixedPropensity())
    sent: list[str] = []
    loop = Loop(engine, lambda: now[0], lambda rows: sent.extend(row.channel for row, _ in rows))
    running = asyncio.create_task(loop.run())
    balances = [Bucket("main", 5000), Bucket("data", 100_000, NOON + 86_400_000)]
    known = {"plan": "prepaid", "language": "en", "marketing_consent": True}
    await loop.submit(Event("p", "profile", NUMBER, NOON, known))
    await loop.submit(Event("e", "end_of_call", NUMBER, NOON - 3_600_000, {"service": "voice", "balances": balances}))
    try:
        desk = Desk(store, loop, Dialogues(loop, lambda: now[0], **options), now, sent)
        desk.dialogues.settled = 0  # kairos has run for long
        yield desk
    finally:
        store.gate.set()
        loop.close()
        await running


async def test_a_yes_is_safe_before_it_is_answered_and_a_repeat_waits_for_the_same_answer() -> None:
    async with opened() as desk:
        assert (await desk.hear("", kind="begin")).text == "offers\n1 2 GB T$45"
        await desk.hear("1")
        desk.store.gate.clear()
        first = asyncio.create_task(desk.hear("2"))
        await asyncio.sleep(0.05)
        again = asyncio.create_task(desk.hear("2"))
        await asyncio.sleep(0.05)
        assert not first.done()
        desk.store.gate.set()
        assert await first == await again == Show("taken", more=False)
        assert (desk.sent, desk.statuses()) == (["ocs"], ["accepted"])
        assert desk.dialogues.counts["repeated"] == 1


async def test_what_takes_too_long_is_told_so_and_still_done_once() -> None:
    async with opened() as desk:
        await desk.hear("", kind="begin")
        await desk.hear("1")
        desk.store.gate.clear()
        patience, desk.dialogues.within = desk.dialogues.within, 0.05
        assert await desk.hear("2") == Show("working", more=False)
        assert await desk.hear("2") == Show("working", more=False)
        desk.store.gate.set()
        desk.dialogues.within = patience
        async with asyncio.timeout(60):
            while not desk.sent:
                await asyncio.sleep(0.01)
        assert await desk.hear("2") == Show("working", more=False)
        assert (desk.sent, desk.statuses()) == (["ocs"], ["accepted"])
        assert await desk.hear("", kind="begin", session="t") == Show("nothing", more=False)


async def test_a_look_that_takes_too_long_asks_for_another_try() -> None:
    async with opened(within=0.05) as desk:
        desk.store.gate.clear()
        assert await desk.hear("", kind="begin") == Show("later", more=False)


async def test_a_store_that_fails_is_answered_too() -> None:
    async with opened() as desk:
        desk.store.failing = True
        assert await desk.hear("", kind="begin") == Show("later", more=False)
        desk.store.failing = False
        assert (await desk.hear("", kind="begin", session="t")).text.startswith("offers")


async def test_one_whose_end_breaks_the_engine_is_the_only_one_that_ends_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(ttl=180.0) as desk:
        await desk.hear("", kind="begin")
        desk.now[0] += 200_000

        async def broken(_: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(desk.loop, "submit", broken)
        await desk.dialogues.sweep()
        assert desk.dialogues.open == 0


async def test_a_system_that_talks_for_ever_is_away() -> None:
    """No read of it ever times out, and the dialogue waits for it."""
    async with serving(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"C")) as url:
        systems = HttpSystems({"shop": (url, 0.1)})
        async with asyncio.timeout(60):
            with pytest.raises(AwayError, match="`shop` did not answer"):
                await systems.say("shop", Session("s", NUMBER, "*123#"), "", ())
        await systems.close()


async def test_what_nobody_goes_on_with_is_broken_off_and_its_offer_said_by_sms_once() -> None:
    async with opened(ttl=180.0) as desk:
        await desk.hear("", kind="begin")
        desk.now[0] += 170_000
        await desk.dialogues.sweep()
        assert desk.dialogues.open == 1
        desk.now[0] += 10_000
        await desk.dialogues.sweep()
        await desk.dialogues.sweep()
        assert (desk.dialogues.open, desk.sent) == (0, ["sms"])
        assert await desk.hear("1") == Show("again", more=False)


async def test_a_break_that_cannot_be_kept_is_to_be_brought_again() -> None:
    async with opened() as desk:
        await desk.hear("", kind="begin")
        desk.store.failing = True
        with pytest.raises(StoreError):
            await desk.hear("", kind="abort")
        desk.store.failing = False
        await desk.hear("", kind="abort")
        await desk.hear("", kind="abort")
        assert desk.sent == ["sms"]


async def test_who_dials_while_what_they_left_is_broken_off_stays_in_the_new_dialogue() -> None:
    async with opened() as desk:
        await desk.hear("", kind="begin")
        await desk.hear("1")
        desk.store.gate.clear()
        broken = asyncio.create_task(desk.hear("", kind="abort"))
        await asyncio.sleep(0.05)
        begun = asyncio.create_task(desk.hear("", kind="begin"))
        await asyncio.sleep(0.05)
        desk.store.gate.set()
        await broken
        assert (await begun).text.startswith("offers")
        assert desk.dialogues.busy(NUMBER)
        assert (await desk.hear("1")).text.startswith("2 GB")


async def test_a_push_that_never_came_to_be_takes_nothing_of_what_was_dialled_meanwhile() -> None:
    async with opened() as desk:
        desk.dialogues.push("test:s", pushed())
        await desk.hear("", kind="begin")
        desk.dialogues.forget("test:s")
        assert (await desk.hear("1")).text.startswith("2 GB")


async def test_who_took_an_offer_and_hangs_up_gets_no_sms() -> None:
    async with opened() as desk:
        await desk.hear("", kind="begin")
        await desk.hear("1")
        await desk.hear("2")
        await desk.hear("", kind="abort")
        assert desk.sent == ["ocs"]


async def test_a_restart_in_the_middle_of_an_accumulated_text_leads_to_the_offers_and_takes_none() -> None:
    async with opened() as desk:
        show = await desk.hear("2", step=3, code="*123#", ahead=("1", "1"))
        assert show.text.startswith("offers\n1 2 GB")
        assert desk.statuses() == ["open"]
        assert (await desk.hear("1", step=4, code="*123#", ahead=("1", "1", "2"))).text.startswith("2 GB T$45\n2 yes")


async def test_another_subscriber_on_the_same_session_is_told_to_dial() -> None:
    async with opened() as desk:
        await desk.hear("", kind="begin")
        other = Heard("s", "12025550199", "", "1", "input")
        assert await desk.dialogues.hear("test", other) == Show("again", more=False)


async def pressed(desk: Desk, *keys: str) -> Show:
    """A step of a gateway that counts them, and brings all keys each time."""
    kind = "input" if keys else "begin"
    return await desk.hear(keys[-1] if keys else "", kind=kind, step=len(keys), code="*123*4#", ahead=keys[:-1])


async def test_a_session_that_is_used_again_after_its_end_is_another_dialogue() -> None:
    async with opened() as desk:
        await pressed(desk)
        await pressed(desk, "1")
        assert await pressed(desk, "1", "2") == Show("taken", more=False)
        assert await pressed(desk, "1", "2") == Show("taken", more=False)  # a repeat
        (offer,) = desk.offers()
        order = next(row for row in desk.store.outgoing(range(1, 20)) if row.channel == "ocs")
        done = Fulfilment(order.id, order.subscriber, offer.key, "refused", desk.now[0], "insufficient_funds")
        await desk.loop.submit(done)
        assert desk.statuses() == ["unpaid"]
        assert (await pressed(desk)).text == "offers\n1 2 GB T$45"  # they topped up
        assert desk.statuses() == ["unpaid"]
        await pressed(desk, "1")
        assert await pressed(desk, "1", "2") == Show("taken", more=False)
        assert (desk.sent.count("ocs"), desk.statuses()) == (2, ["accepted"])


async def test_other_keys_under_a_number_that_was_answered_are_another_dialogue_and_take_nothing() -> None:
    async with opened() as desk:
        await pressed(desk)
        assert (await pressed(desk, "1")).text.startswith("2 GB")
        assert await pressed(desk, "2") == Show("offers\n1 2 GB T$45", more=True)
        assert await pressed(desk, "2") == Show("offers\n1 2 GB T$45", more=True)
        assert desk.statuses() == ["open"]


async def test_whoever_was_handed_back_may_begin_again_on_the_same_session() -> None:
    menus = MENUS.replace("items: [", "items: [{label: Up, parent: yes}, ")
    async with opened(FILES | {"ussd.yaml": menus}) as desk:
        first = Heard("s", NUMBER, "*123#", "", "begin", 0)
        for _ in range(2):
            desk.now[0] += 20_000
            assert (await desk.dialogues.hear("http", first, ("parent",))).text.startswith("Account\n1 Up")
            up = Heard("s", NUMBER, "*123#", "1", "input", 1)
            assert (await desk.dialogues.hear("http", up, ("parent",))).to == "parent"
        assert (await desk.dialogues.hear("http", first, ("parent",))).text.startswith("Account")
        two = Heard("s", NUMBER, "*123#", "2", "input", 1)
        assert (await desk.dialogues.hear("http", two, ("parent",))).text.startswith("offers")


@pytest.mark.parametrize("step", [-1, 0])
async def test_another_subscriber_who_begins_on_the_same_session_is_not_shown_what_the_first_was(step: int) -> None:
    async with opened() as desk:
        await desk.hear("", kind="begin", step=step)
        other = Heard("s", "12025550199", "*123*4#", "", "begin", step)
        assert await desk.dialogues.hear("test", other) == Show("nothing", more=False)


async def test_who_is_not_known_sees_the_menu_in_the_first_language_and_nothing_is_written() -> None:
    async with opened() as desk:
        stranger = Heard("x", "12025550199", "*123#", "", "begin")
        show = await desk.dialogues.hear("test", stranger)
        assert show.text == "Account\n1 Offers\n2 Balance"
        key = Heard("x", "12025550199", "", "1", "input")
        assert (await desk.dialogues.hear("test", key)).text.startswith("nothing")
        with pytest.raises(EventError):
            await desk.dialogues.hear("test", Heard("y", "twelve", "*123#", "", "begin"))


async def test_no_more_dialogues_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogues, "MOST", 1)
    async with opened() as desk:
        await desk.hear("", kind="begin")
        other = Heard("z", "12025550199", "*123#", "", "begin")
        assert await desk.dialogues.hear("test", other) == Show("later", more=False)


async def test_a_playbook_without_menus_says_so() -> None:
    async with opened({name: text for name, text in FILES.items() if name != "ussd.yaml"}) as desk:
        assert await desk.hear("", kind="begin") == dialogues.CLOSED


# -- dialogues that we begin -------------------------------------------------------------------------------------------


def pushed(**more: Any) -> Text:
    return Text("5000", NUMBER, "2 GB for T$45?", True, offer="k", reply_in="en", **more)


def unbound(handle: Any) -> Client:
    return Client("127.0.0.1", 9, BindTransceiver(system_id="kairos", password="kairos"), handle)


@asynccontextmanager
async def on_gateway(desk: Desk, **profile: Any) -> AsyncIterator[tuple[UssdGateway, UssdSmpp]]:
    gateway = UssdGateway(asyncio.get_running_loop().time)
    await gateway.start()
    bind = BindTransceiver(system_id="kairos", password="kairos")

    def client(handle: Any) -> Client:
        return Client("127.0.0.1", gateway.port, bind, handle, SessionOptions(response_timeout=60.0))

    door = UssdSmpp(client, desk.dialogues, replace(PROFILES["6d"], **profile), chance={0x7FFF: 0}.__getitem__)
    await door.client.start()
    try:
        async with asyncio.timeout(60):
            await door.client.bound()
        yield gateway, door
    finally:
        await door.close()
        await gateway.close()


async def test_what_we_begin_over_smpp_is_answered_though_the_gateway_numbers_it_anew() -> None:
    async with opened() as desk, on_gateway(desk, renumbers=True) as (gateway, door):
        await desk.hear("", kind="begin")
        await desk.hear("", kind="abort")
        (offer,) = desk.offers()
        outcome = await door.send(Text("5000", NUMBER, "2 GB for T$45?", True, offer=offer.key, reply_in="en"))
        assert outcome.status == "sent"
        (dialogue,) = gateway.dialogues.values()
        assert dialogue.screens[0].text == "2 GB for T$45?\n1 yes\n2 no"
        dialogue.number = 77
        gateway.dialogues[NUMBER, 77] = dialogue
        await gateway.press(dialogue, "1")
        async with asyncio.timeout(60):
            assert (await dialogue.screen()).text == "taken"
        assert desk.statuses() == ["accepted"]


@pytest.mark.parametrize(
    ("status", "instead", "outcome"),
    [
        (Status.ESME_RSUBMITFAIL, "", "failed"),
        (Status.ESME_RSUBMITFAIL, "sms", "failed"),
        (Status.ESME_RTHROTTLED, "", "retry"),
        (Status.ESME_RTHROTTLED, "sms", "failed"),
    ],
)
async def test_what_a_gateway_refuses_surely_did_not_reach_the_handset(
    status: Status, instead: str, outcome: str
) -> None:
    async with opened() as desk, on_gateway(desk) as (gateway, door):
        gateway.refusing = status
        assert (await door.send(pushed(instead=instead))).status == outcome
        assert desk.dialogues.open == 0


async def test_what_asks_nothing_is_told_and_over() -> None:
    async with opened() as desk, on_gateway(desk) as (gateway, door):
        assert (await door.send(Text("5000", NUMBER, "Calls cost half after 8 pm.", True))).status == "sent"
        (dialogue,) = gateway.dialogues.values()
        assert (dialogue.screens[0].text, dialogue.screens[0].more) == ("Calls cost half after 8 pm.", False)
        assert desk.dialogues.open == 0


@pytest.mark.parametrize(("instead", "outcome"), [("", "retry"), ("sms", "failed")])
async def test_whoever_is_in_a_dialogue_is_not_interrupted(instead: str, outcome: str) -> None:
    async with opened() as desk, on_gateway(desk) as (gateway, door):
        await desk.hear("", kind="begin")
        assert (await door.send(pushed(instead=instead))).status == outcome
        assert gateway.dialogues == {}
        await desk.hear("", kind="abort")
        assert (await door.send(pushed(instead=instead))).status == "sent"


async def test_for_as_long_as_a_dialogue_lasts_nothing_is_begun_after_a_start() -> None:
    async with opened() as desk:
        anew = Dialogues(desk.loop, lambda: desk.now[0])  # what was said before stands on handsets, and nowhere else
        door = UssdSmpp(unbound, anew, PROFILES["6d"])
        desk.now[0] += 179_999
        assert (await door.send(pushed())).reason == BUSY
        desk.now[0] += 1
        assert not anew.busy(NUMBER)


async def test_what_we_begin_after_a_restart_has_other_numbers() -> None:
    async with opened() as desk:
        for first in (0, 700, 0x7FFE):
            door = UssdSmpp(unbound, desk.dialogues, PROFILES["6d"], chance={0x7FFF: first}.__getitem__)
            assert door._line(pushed()).number == first + 1


@pytest.mark.parametrize("renumbers", [False, True])
async def test_a_key_of_a_dialogue_that_they_dialled_takes_nothing_that_we_say_in_another(renumbers: bool) -> None:
    async with opened() as desk, on_gateway(desk, renumbers=renumbers) as (gateway, door):
        gateway.numbers = itertools.cycle([50])  # not the first of ours
        dialled = await gateway.dial(NUMBER, "*123*4#")
        async with asyncio.timeout(60):
            assert "2 GB" in (await dialled.screen()).text
            await gateway.abort(dialled)
            (offer,) = desk.offers()
            sent = await door.send(Text("5000", NUMBER, "2 GB for T$45?", True, offer=offer.key, reply_in="en"))
            assert sent.status == "sent"
            await gateway.press(dialled, "1")
            await gateway.press(dialled, "1")
            await asyncio.sleep(0.1)
        assert desk.statuses() == ["open"]


async def test_a_late_key_of_what_we_began_and_is_over_takes_nothing_that_we_begin_next() -> None:
    async with opened() as desk, on_gateway(desk, renumbers=True) as (gateway, door):
        await desk.loop.ask(Visit("v", NUMBER, "ussd", desk.now[0]))
        (offer,) = desk.offers()
        assert (await door.send(pushed())).status == "sent"
        first, second = (Dialogue(NUMBER, number, "5000", pushed=True) for number in (77, 78))  # the gateway's own
        await gateway.press(first, "7")  # leads nowhere
        desk.now[0] += 181_000
        await desk.dialogues.sweep()  # nobody went on with it
        assert (await door.send(Text("5000", NUMBER, "2 GB?", True, offer=offer.key, reply_in="en"))).status == "sent"
        for key in ("1", "1"):
            desk.now[0] += 1_000
            await gateway.press(first, key)
        assert desk.statuses() == ["open"]
        await gateway.press(second, "1")
        assert desk.statuses() == ["accepted"]


async def test_a_number_that_they_dialled_long_ago_may_be_what_we_begin() -> None:
    async with opened() as desk, on_gateway(desk, renumbers=True) as (gateway, door):
        gateway.numbers = itertools.cycle([50])
        await gateway.abort(await gateway.dial(NUMBER, "*123*4#"))
        (offer,) = desk.offers()
        desk.now[0] += 2 * desk.dialogues.ttl
        assert (await door.send(Text("5000", NUMBER, "2 GB?", True, offer=offer.key, reply_in="en"))).status == "sent"
        await gateway.press(Dialogue(NUMBER, 50, "5000", pushed=True), "1")
        assert desk.statuses() == ["accepted"]


async def test_where_nobody_begins_dialogues_it_is_refused_at_once() -> None:
    async with opened() as desk:
        doors = UssdDoors(desk.dialogues, HttpUssd(desk.dialogues, ""), None, None, HttpSystems({}), pushes=False)
        assert (await doors.send(pushed())).status == "failed"
        assert not doors.http.knows("")
        await doors.close()


# -- XML, begun by them ------------------------------------------------------------------------------------------------


def xml(local: str, text: str, *, begins: str = "", named: str = "") -> bytes:
    name = "processUnstructuredSSRequest_Request" if begins else "unstructuredSSRequest_Response"
    whom = f'<msisdn number="{begins}"/>' if begins else ""
    kind, brought = "Begin" if begins else "Continue", f' userObject="{named}"' if named else ""
    return f'<dialog type="{kind}" localId="{local}"{brought}><{name} string="{text}">{whom}</{name}></dialog>'.encode()


@pytest.mark.parametrize("gap", [2_000, 30_000])
@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("first", [NUMBER, "12025550177"])
async def test_the_keys_of_one_never_act_for_another_under_the_same_local_id(gap: int, names: bool, first: str) -> None:
    stranger = "12025550177"
    async with opened() as desk:
        http = HttpUssd(desk.dialogues, "x")
        answers = {}
        for who in (first, stranger if first == NUMBER else NUMBER):  # at two nodes behind one address
            desk.now[0] += gap
            answers[who] = (await http.dialog(xml("4711", "*123#", begins=who))).decode()
            assert "1 Offers" in answers[who]
        named = answers[stranger].partition('userObject="')[2].partition('"')[0] if names else ""
        for key in ("1", "1", "2"):
            desk.now[0] += 5_000
            shown = (await http.dialog(xml("4711", key, named=named))).decode()
            assert "2 GB" not in shown
        assert desk.offers() == []


async def test_a_gateway_that_does_not_bring_our_name_is_known_by_its_local_id() -> None:
    async with opened() as desk:
        http = HttpUssd(desk.dialogues, "x")
        await http.dialog(xml("7", "*123*4#", begins=NUMBER))
        for key in ("1", "2"):
            desk.now[0] += 5_000
            shown = await http.dialog(xml("7", key))
        assert b"taken" in shown
        assert desk.statuses() == ["accepted"]


# -- XML, begun by us --------------------------------------------------------------------------------------------------

ANSWERS: dict[str, tuple[list[tuple[int, str]], str, list[str]]] = {
    "taken": (
        [
            (200, '<dialog type="Continue"><unstructuredSSRequest_Response string="1"/></dialog>'),
            (200, '<dialog type="Continue"><unstructuredSSNotify_Response/></dialog>'),
            (200, ""),
        ],
        "sent",
        ["unstructuredSSRequest_Request", "unstructuredSSNotify_Request", 'prearrangedEnd="false"'],
    ),
    "refused": ([(503, "")], "failed", ["unstructuredSSRequest_Request"]),
    "aborted": (
        [(200, '<dialog type="End"><errComponents><errorComponent/></errComponents></dialog>')],
        "sent",
        ["unstructuredSSRequest_Request"],
    ),
    "garbage": ([(200, "<html>")], "sent", ["unstructuredSSRequest_Request"]),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_dialogue_that_we_begin_in_xml(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.adapters.ussd.http.ACCEPTED_WITHIN", 60.0)
    answers, outcome, said = ANSWERS[name]
    heard: list[str] = []

    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                writer.close()
                return
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = (await reader.readexactly(length)).decode()
            cookie = "JSESSIONID=abc" in head.decode()
            assert cookie == bool(heard)
            heard.append(body)
            status, answer = answers[len(heard) - 1]
            told = f"HTTP/1.1 {status} X\r\nset-cookie: JSESSIONID=abc; Path=/\r\ncontent-length: {len(answer)}\r\n\r\n"
            writer.write((told + answer).encode())

    async with serving(gateway) as address, opened() as desk:
        await desk.loop.ask(Visit("v", NUMBER, "ussd", desk.now[0]))
        (offer,) = desk.offers()
        push = XmlPush(desk.dialogues, f"{address}/mobicents")
        found = await push.send(Text("5000", NUMBER, "2 GB?", True, offer=offer.key, reply_in="en"))
        assert found.status == outcome
        assert [word in body for word, body in zip(said, heard, strict=True)] == [True] * len(said)
        assert f'number="{NUMBER}"' in heard[0]
        assert desk.statuses() == (["accepted"] if name == "taken" else ["open"])
        assert desk.sent == {"taken": ["ocs"], "refused": []}.get(name, ["sms"])
        await push.close()


async def test_a_gateway_that_refuses_late_ends_a_dialogue_that_counted_as_sent() -> None:
    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"</dialog>")
        ahead(ACCEPTED_WITHIN)
        await sent.wait()
        writer.write(b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n")

    sent = asyncio.Event()
    async with serving(gateway) as address, opened() as desk:
        await desk.loop.ask(Visit("v", NUMBER, "ussd", desk.now[0]))
        (offer,) = desk.offers()
        push = XmlPush(desk.dialogues, address)
        found = await push.send(Text("5000", NUMBER, "2 GB?", True, offer=offer.key, reply_in="en"))
        assert (found.status, desk.dialogues.open, desk.sent) == ("sent", 1, [])
        sent.set()
        async with asyncio.timeout(60):
            while not desk.sent:
                await asyncio.sleep(0.01)
        assert (desk.dialogues.open, desk.sent) == (0, ["sms"])
        await push.close()


async def test_a_gateway_that_is_not_there_surely_has_nothing() -> None:
    async with opened() as desk:
        push = XmlPush(desk.dialogues, "http://127.0.0.1:9/x")
        assert (await push.send(pushed())).status == "retry"
        assert (await push.send(pushed(instead="sms"))).status == "failed"
        await push.close()
