"""How a running kairos stands: troubles in words, the gravest first, and every figure behind them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from kairos.adapters.status import Links, PlaybookWatch, Status
from kairos.cli.status_view import picture
from kairos.domain.budget import Standing
from kairos.domain.message import Outgoing
from kairos.domain.switch import Switch, Switches
from kairos.engine.dispatch import Dispatcher
from kairos.engine.loop import Loop
from kairos.engine.switchboard import Switchboard
from kairos.errors import StoreError
from kairos.ports import Batch
from kairos.smpp import AccountStatistics, BindStatistics, Counters

MINUTE = 60_000
SMSC = "10.0.0.1:2775"


@dataclass
class Desk:
    """A status over a bench, with binds that the test makes and breaks."""

    bench: Any
    smsc: tuple[bool, str] = (True, "")  # bound, and what it ended with last
    accounts: tuple[str, ...] = ()
    ussd: tuple[bool, str] | None = None
    known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        bench = self.bench
        self.loop = Loop(bench.engine, lambda: bench.now, lambda _: None, queue=10)
        charging: Any = None
        dispatcher = Dispatcher(bench.store, self.loop, {}, charging, lambda: bench.now)
        self.board = Switchboard(bench.store, bench.engine, dispatcher)
        self.links = Links(self.binds, lambda: bench.now)
        self.links.accounts = self.bound_accounts
        self.links.ussd = lambda: self.bind(*self.ussd) if self.ussd else []
        self.playbook = PlaybookWatch("small", "abc", bench.now)
        self.letters: dict[str, float] = {}
        self.status = Status(
            self.loop, dispatcher, self.board, bench.store, self.links, self.playbook, "kairos.db", lambda: self.letters
        )

    def binds(self) -> list[BindStatistics]:
        return self.bind(*self.smsc)

    @staticmethod
    def bind(bound: bool, error: str) -> list[BindStatistics]:
        state, since = ("bound", 1.0) if bound else ("waiting", None)
        counters = Counters(requests_sent=70, throttled_received=3)
        return [BindStatistics(SMSC, "transceiver", False, state, since, 1, error, 0, 0, 10, 0.0, counters)]

    def bound_accounts(self) -> list[AccountStatistics]:
        self.known |= {*self.accounts}
        sessions = {name: int(name in self.accounts) for name in sorted(self.known)}
        return [AccountStatistics(n, count, 1, 1.0, 0, 0, 10, 0.0, Counters()) for n, count in sessions.items()]

    def later(self, ms: int) -> None:
        self.links.look()
        self.bench.now += ms
        self.links.look()


@pytest.fixture
async def desk(bench: Any) -> AsyncIterator[Desk]:
    desk = Desk(bench)
    running = asyncio.create_task(desk.loop.run())
    await desk.board.look()
    desk.later(1000)
    yield desk
    desk.loop.close()
    await asyncio.wait_for(running, 60)


async def test_all_is_well(desk: Desk) -> None:
    await desk.loop.submit(desk.bench.event("recharge", amount=1))
    found = await desk.status.report()
    assert (found["well"], found["troubles"], found["counts"]["events"]) == (True, [], 1)
    assert set(found["timings_ms"]) == {"happened", "answering", "deciding", "committing"}


async def test_a_bind_that_is_lost_and_comes_back(desk: Desk) -> None:
    desk.accounts = ("ocs",)
    desk.later(1000)
    desk.smsc = (False, "connection reset")
    desk.accounts = ()
    desk.later(0)
    desk.later(40_000)
    assert desk.status.troubles() == [
        "not bound to the SMSC 10.0.0.1:2775 for 40 s: connection reset",
        "account `ocs` is not bound for 40 s; it was before",
    ]
    desk.smsc = (False, "connection refused")  # another reason: the outage is the same
    desk.later(3 * MINUTE)
    assert desk.status.troubles()[0] == "not bound to the SMSC 10.0.0.1:2775 for 3 min: connection refused"
    desk.smsc, desk.accounts = (True, ""), ("ocs",)
    desk.later(1000)
    assert desk.status.troubles() == []


async def test_a_ussd_gateway_that_is_away_is_said_in_words_and_in_the_log(desk: Desk) -> None:
    with capture_logs() as lines:
        desk.ussd = (False, "the bind was refused: ESME_RBINDFAIL")
        desk.later(40_000)
        assert desk.status.troubles() == [
            "not bound to the USSD gateway 10.0.0.1:2775 for 40 s: the bind was refused: ESME_RBINDFAIL"
        ]
        desk.ussd = (True, "")
        desk.later(1000)
    assert desk.status.troubles() == []
    assert [one["event"] for one in lines] == [
        "not bound to the USSD gateway; trying again",
        "bound to the USSD gateway",
    ]
    assert [one["sent"] for one in (await desk.status.report())["ussd"]] == [70]


async def test_switches_that_are_off_are_said_the_gravest_first(desk: Desk) -> None:
    off = [Switch(name, False, "a reason", "ada", desk.bench.now) for name in ("action:x", "charging", "marketing")]
    desk.bench.engine.turn(Switches({switch.name: switch for switch in off}))
    said = desk.status.troubles()
    assert [word.partition(" is off since 2026-03-04 12:00:01 UTC, by ada: a reason")[0] for word in said] == [
        "marketing",
        "charging",
        "action:x",
    ]


async def test_switches_that_cannot_be_read(desk: Desk) -> None:
    def broken() -> Any:
        raise StoreError("the disk is gone")

    desk.bench.store.switches = broken
    await desk.board.look()
    assert desk.status.troubles() == ["marketing is off, for the switches cannot be read: the disk is gone"]


async def test_a_store_that_fails_and_cannot_be_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(desk.bench.store, "commit", full)
    monkeypatch.setattr(desk.bench.store, "figures", full)
    with pytest.raises(StoreError):
        await desk.loop.submit(desk.bench.event("recharge", amount=1))
    found = await desk.status.report()
    assert found["troubles"] == [
        "the store does not take batches: the disk is full",
        "the store cannot be read: the disk is full",
    ]
    assert found["store"]["last_error"] == "the disk is full"


async def test_what_waits_for_too_long_is_said(desk: Desk) -> None:
    now = desk.bench.now
    rows = [Outgoing(n, f"k{n}", 7, channel, b"", now) for n, channel in enumerate(["ocs", "receipt", "sms"], 1)]
    desk.bench.store.commit(Batch(outgoing=rows))
    assert (await desk.status.report())["well"]
    desk.later(5 * MINUTE)
    found = await desk.status.report()
    assert found["troubles"] == [
        "an order waits for 5 min to be sent, with 0 others",
        "a receipt waits for 5 min to be sent, with 0 others",
        "a message waits for 5 min to be sent, with 0 others",
    ]


async def test_who_takes_no_news_for_a_while_is_said(desk: Desk) -> None:
    desk.status.untold = lambda: [
        ("crm", desk.bench.now - 5 * MINUTE, "no answer within 3 s"),
        ("new", desk.bench.now, ""),
    ]
    assert desk.status.troubles() == ["news.crm takes no news for 5 min: no answer within 3 s"]


async def test_a_freeze_that_holds_is_shown_and_is_no_trouble(desk: Desk, bench_with: Any) -> None:
    policy = "freeze: [{from: wed 00:00, to: thu 00:00, why: billing run}]\n"
    desk.bench.engine.use(bench_with({"contact_policy.yaml": policy}).program)
    found = await desk.status.report()
    assert (found["troubles"], found["frozen"]) == ([], [{"why": "billing run", "until": 1_772_668_800_000}])
    console = Console(width=80, record=True, highlight=False, file=io.StringIO())
    console.print(picture(found))
    assert "billing run, until 2026-03-05 00:00 UTC" in console.export_text()


async def test_budgets_are_shown_in_money_and_with_the_end_of_their_period(
    desk: Desk, bench_with: Any, texts: dict[str, str]
) -> None:
    offer = texts["offers/booster.yaml"] + "budget: {spend: 100, per: calendar day, pace: even}\n"
    desk.bench.engine.use(bench_with({"offers/booster.yaml": offer}).program)
    midnight = desk.bench.now - desk.bench.now % 86_400_000
    desk.bench.store.commit(Batch(budgets={("budget of booster", midnight): Standing(1000, 550)}))
    desk.bench.now = midnight + 43_200_000
    (found,) = (await desk.status.report())["budgets"]
    amounts = [found[name] for name in ("cap", "allowed", "reserved", "spent", "left")]
    assert amounts == [10000, 5000, 1000, 550, 8450]
    assert (found["shown"]["left"], found["pace"], found["until"]) == ("T$84.50", "even", midnight + 86_400_000)
    console = Console(width=100, record=True, highlight=False, file=io.StringIO())
    console.print(picture(await desk.status.report()))
    shown = " ".join(console.export_text().split())
    assert "budget of booster T$100 T$50 T$10 T$5.50 T$84.50 2026-03-05 00:00 UTC" in shown


async def test_messages_that_wait_for_the_end_of_a_freeze_are_no_trouble(desk: Desk) -> None:
    desk.bench.store.commit(Batch(outgoing=[Outgoing(1, "k1", 7, "sms", b"", desk.bench.now)]))
    desk.later(5 * MINUTE)
    assert (await desk.status.report())["troubles"] == ["a message waits for 5 min to be sent, with 0 others"]
    desk.status.dispatcher.held_back["sms"] += 1
    assert (await desk.status.report())["troubles"] == []


async def test_dead_letters_are_a_trouble_unless_what_they_tell_of_was_passed_on(desk: Desk) -> None:
    desk.letters = {"dead_letters.unread": 500}
    assert desk.status.troubles() == []
    desk.letters["dead_letters.event"] = 3
    assert desk.status.troubles() == ["3 dead letters wait for somebody to look: `kairos dead-letters list`"]


async def test_a_playbook_that_is_refused_and_a_picture_of_everything(desk: Desk) -> None:
    desk.playbook.refused, desk.playbook.refused_since = "offers/x.yaml:3: unknown name `balanse`", desk.bench.now
    desk.bench.profile()
    desk.letters = {"dead_letters.text": 2}
    desk.bench.engine.turn(Switches({"marketing": Switch("marketing", False, "wrong " * 30, "ada", 0)}))
    found = await desk.status.report()
    assert found["troubles"][-2].startswith("the playbook in the folder is refused since 2026-03-04 12:00:01 UTC")
    console = Console(width=80, record=True, highlight=False, file=io.StringIO())
    console.print(picture(found))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.split() for line in text.splitlines()]
    (bind,) = (line for line in lines if line[:1] == ["SMSC"])
    assert (bind[:3], bind[-2:]) == (["SMSC", SMSC, "bound"], ["70", "3"])
    assert ["refused", "offers/x.yaml:3:", "unknown", "name", "`balanse`"] in lines
    assert ["model", "fixed-0.05"] in lines
    assert ["switches", "marketing", "off"] in lines
