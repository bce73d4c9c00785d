"""A soak: a busy operator, and a fault every few seconds; at the end all ledgers agree, and memory is flat.

`make soak` runs ten minutes at 2,000 events a second. SOAK_SECONDS, SOAK_RATE (events a second, in all), SOAK_NOTIFIED
(how many of them are end-of-call notifications over SMPP; the others come over HTTP), SOAK_FAULT_EVERY, SOAK_SEED say
otherwise.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from tests.system.broken_store import Fuse
from tests.system.conftest import store_process
from tests.system.ledgers import applied, told_two_ways, unsettled, without_receipt

from kairos.simulate import Operator, OperatorSettings
from kairos.smpp import Pdu, Session, Status, SubmitSm

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
SECONDS = float(os.environ.get("SOAK_SECONDS", "30"))
RATE = float(os.environ.get("SOAK_RATE", "2000"))
NOTIFIED = float(os.environ.get("SOAK_NOTIFIED", "200"))
EVERY = float(os.environ.get("SOAK_FAULT_EVERY", "3"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
SUBSCRIBERS = 2000
STILL = 18  # times 5 seconds in which nothing ended: then nothing will
WARM = 60.0  # seconds of a life that its memory may grow
GROWS = 0.02  # share of itself a minute that counts as flat

pytestmark = pytest.mark.long


class Soak:
    """The system, what is fed to it beside the operator's own traffic, and what was seen of its memory."""

    def __init__(self, system: Any, playbook: Path) -> None:
        self.system, self.playbook = system, playbook
        self.operator: Operator = system.operator
        self.chance = random.Random(SEED)
        self.fed: dict[str, Counter[str]] = {one.msisdn: Counter() for one in self.operator.subscribers}
        self.events = 0
        self.faults: Counter[str] = Counter()
        self.lives: list[list[tuple[float, float, float]]] = [[]]  # of each (seconds, MB of kairos, MB of its store)
        self.smsc_answers: Callable[[], Status | float] = lambda: 0.0

    # -- load ----------------------------------------------------------------------------------------------------------

    async def feed(self, rate: float) -> None:
        """Charged events over HTTP, at this rate; none is said twice, so the counters must come out exactly."""
        turn = itertools.cycle(self.operator.subscribers)
        began, done = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * rate)
            for _ in range(min(due - done, 1000)):
                msisdn = next(turn).msisdn
                cost = self.chance.randint(1, 90)
                data = {"service": "voice", "cost": f"0.{cost:02d}"}
                self.operator.feed.add(self.operator.feed.event("end_of_call", msisdn, data))
                self.fed[msisdn] += Counter({"spend_7d": cost, "calls_7d": 1})
                self.events += 1
            done = due
            await asyncio.sleep(0.02)

    async def watch(self) -> None:
        """Sample the server's memory."""
        began = time.monotonic()
        while True:
            try:
                kairos = self.system.server.forked.pid
                self.lives[-1].append((time.monotonic() - began, resident(kairos), resident(store_process(kairos))))
            except (OSError, IndexError, AssertionError):
                pass  # it is dead just now
            await asyncio.sleep(1)

    # -- faults --------------------------------------------------------------------------------------------------------

    async def break_things(self, until: float) -> None:
        """One fault after the other. In the second half nobody is killed: that life shows how memory goes."""
        half = time.monotonic() + (until - time.monotonic()) / 2
        kinds = [
            self.killed,
            self.smsc_away,
            self.smsc_slow,
            self.smsc_throttles,
            self.ocs_away,
            self.ocs_answers_late,
            self.disk_slow,
            self.disk_read_only,
            self.clock_jumps,
            self.playbook_changes,
            self.marketing_off,
        ]
        for kind in itertools.cycle(kinds):
            if time.monotonic() + EVERY > until:
                return
            if kind == self.killed and time.monotonic() > half:
                continue
            next_one = time.monotonic() + EVERY
            await kind(EVERY / 3)
            self.faults[kind.__name__] += 1
            await asyncio.sleep(max(0.0, next_one - time.monotonic()))

    async def killed(self, seconds: float) -> None:
        await self.system.server.kill()
        self.lives.append([])
        self.system.server.fuse = Fuse()
        await self.system.server.start()

    async def smsc_away(self, seconds: float) -> None:
        await self.operator.smsc.stop()
        await asyncio.sleep(seconds)
        await self.operator.smsc.start()

    async def smsc_slow(self, seconds: float) -> None:
        await self._answering(lambda: self.chance.uniform(0, 0.5), seconds)

    async def smsc_throttles(self, seconds: float) -> None:
        await self._answering(lambda: Status.ESME_RTHROTTLED if self.chance.random() < 0.5 else 0.0, seconds)

    async def _answering(self, how: Callable[[], Status | float], seconds: float) -> None:
        self.smsc_answers = how
        await asyncio.sleep(seconds)
        self.smsc_answers = lambda: 0.0

    async def ocs_away(self, seconds: float) -> None:
        self.operator.ocs.out_of_service = True
        await asyncio.sleep(seconds)
        self.operator.ocs.out_of_service = False

    async def ocs_answers_late(self, seconds: float) -> None:
        """Or loses, fails and forgets: half of all calls go wrong, before or after they were carried out."""
        self.operator.ocs_faults.share = 0.5
        await asyncio.sleep(seconds)
        self.operator.ocs_faults.share = 0.0

    async def disk_slow(self, seconds: float) -> None:
        await self._broken(seconds, commit_s=0.15)

    async def disk_read_only(self, seconds: float) -> None:
        await self._broken(seconds / 3, read_only=True)

    async def clock_jumps(self, seconds: float) -> None:
        """Back only: a promise made while it was ahead is not taken by what happens after it went back."""
        await self._broken(seconds, clock_ms=-50 * 60_000)

    async def _broken(self, seconds: float, **wrong: Any) -> None:
        await self.system.server.break_(**wrong)
        await asyncio.sleep(seconds)
        await self.system.server.break_()

    async def playbook_changes(self, seconds: float) -> None:
        offer = self.playbook / "offers" / "missed_talk.yaml"
        text = offer.read_text(encoding="utf-8")
        prices = ("price: 0.70", "price: 0.60")
        before, after = prices if prices[0] in text else reversed(prices)
        draft = offer.with_suffix(".draft")
        draft.write_text(text.replace(before, after), encoding="utf-8")
        draft.replace(offer)

    async def marketing_off(self, seconds: float) -> None:
        for state in ("off", "on"):
            turn = ("switch", "marketing", state, "--reason", "soak", "--store", str(self.system.server.store))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "kairos.cli", *turn, stdout=asyncio.subprocess.DEVNULL
            )
            assert await process.wait() == 0
            await asyncio.sleep(seconds if state == "off" else 0)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def comes_to_rest(self) -> bool:
        """Whether all that is under way ends, as long as something of it does: on a busy machine much waits by now.

        What is tried again is tried every 30 seconds at least.
        """
        left, rounds = self.left(), 0
        while not await self.operator.drain(5) and rounds < STILL:
            before, left = left, self.left()
            rounds = rounds + 1 if left == before else 0
        return rounds < STILL

    def left(self) -> list[int]:
        """How much of each is under way."""
        operator = self.operator
        waiting = sum(one.waiting is not None and one.waiting.accepts for one in operator.handsets.values())
        undelivered = sum(not one.delivered for one in operator.notifications.values())
        return [operator.feed.under_way, operator.smsc.under_way, len(operator.ocs.orders), waiting, undelivered]

    def miscounted(self) -> list[str]:
        """Subscribers whose counters are not what happened to them.

        A notification that went out past us (under the SMSC's own id) may be counted, all others must be.
        """
        held = applied(self.system)
        sure = {msisdn: Counter(fed) for msisdn, fed in self.fed.items()}
        perhaps = {msisdn: Counter[str]() for msisdn in self.fed}
        for one in self.operator.notifications.values():
            told = Counter({"spend_7d": one.usage.cost, "calls_7d": int(one.usage.service == "voice")})
            past_us = one.message_id in self.operator.smsc.accepted
            (perhaps if past_us else sure)[one.msisdn].update(told)
            if one.usage.service == "data":
                sure[one.msisdn]["data_used_7d"] += one.usage.quantity * 1000
        return [
            msisdn
            for msisdn in self.fed
            for name in ("spend_7d", "calls_7d", "data_used_7d")
            if not 0 <= held[msisdn][name] - sure[msisdn][name] <= perhaps[msisdn][name]
        ]

    def growth(self) -> tuple[float, float, float, float]:
        """MB of kairos and of its store at the end of the last life, and MB a minute that each grew after it was warm
        (Theil-Sen).
        """
        life = self.lives[-1]
        warm = [one for one in life if one[0] - life[0][0] > WARM][::5]
        pairs = list(itertools.combinations(warm, 2))
        grew = [median([(b[i] - a[i]) / (b[0] - a[0]) * 60 for a, b in pairs] or [0.0]) for i in (1, 2)]
        return life[-1][1], life[-1][2], grew[0], grew[1]


def resident(process: int) -> float:
    """MB in memory."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def answering(soak: Soak) -> None:
    """Let the SMSC answer late, or not now, when the soak says so."""
    handle = soak.operator.smsc._handle

    async def answer(session: Session, pdu: Pdu) -> Pdu | None:
        how = soak.smsc_answers() if isinstance(pdu, SubmitSm) else 0.0
        if isinstance(how, Status):
            return pdu.response(how)
        if how:
            await asyncio.sleep(how)
        return await handle(session, pdu)

    soak.operator.smsc._handle = answer  # type: ignore[method-assign, assignment]


async def test_soak(launch: Any, a_free_port: Any, tmp_path: Path) -> None:
    playbook = Path(shutil.copytree(EXAMPLE, tmp_path / "prepaid"))
    around = OperatorSettings(
        subscribers=SUBSCRIBERS,
        rate=NOTIFIED,
        seed=SEED,
        think=(0.5, 3.0),
        receipt_after=0.1,
        smsc_port=a_free_port(),
        window=500,
    )
    started = time.monotonic()
    async with launch(
        operator=around,
        settings=playbook / "kairos.toml",
        breakable=True,
        restarts=True,
        RELOAD_EVERY_S=1,
        FULFILMENT_TIMEOUT_S=1,
        SMSC_RESPONSE_TIMEOUT_S=3,
        NOTIFICATIONS_DECIDE_WITHIN_MS=1000,
    ) as system:
        soak = Soak(system, playbook)
        operator = soak.operator
        await operator.smsc.stop()
        answering(soak)
        await operator.smsc.start()
        known = [system.introduction(one.msisdn, main=1_000_000) for one in operator.subscribers]
        for some in range(0, len(known), 200):
            await system.tell(itertools.chain.from_iterable(known[some : some + 200]))
        tasks = [
            asyncio.create_task(work)
            for work in (operator.run(SECONDS + 3600), soak.feed(RATE - NOTIFIED * 1.4), soak.watch())
        ]
        began = time.monotonic()
        await soak.break_things(began + SECONDS)
        await asyncio.sleep(max(0.0, began + SECONDS - time.monotonic()))
        for task in tasks[:2]:
            task.cancel()
        seconds = time.monotonic() - began
        assert await soak.comes_to_rest(), system.still_open()
        await system.drained()
        await system.until(lambda: not without_receipt(operator), "every receipt")
        tasks[2].cancel()
        figures = operator.figures(final=True)
        assert await system.server.end() == 0
        mb, store_mb, mb_a_minute, store_mb_a_minute = soak.growth()
        summary = {
            "seconds": round(seconds),
            "events_a_second": round((len(operator.notifications) + operator.feed.sent) / seconds),
            "notifications": len(operator.notifications),
            "http_events": operator.feed.sent,
            "faults": dict(soak.faults),
            "accepted": figures.accepted,
            "orders": len(operator.ocs.orders),
            "offers": figures.offers_delivered,
            "notifications_repeated": figures.duplicate_notifications,
            "past_us": sum(one.message_id in operator.smsc.accepted for one in operator.notifications.values()),
            "lost": figures.undelivered,
            "offers_twice": figures.duplicate_offers,
            "two_texts": len(told_two_ways(operator)),
            "charged_twice": figures.charged_twice,
            "unasked": figures.unasked,
            "unsettled": len(unsettled(operator)),
            "no_receipt": len(without_receipt(operator)),
            "rejected": figures.events_rejected,
            "miscounted": len(soak.miscounted()),
            "p50_ms": figures.p50_ms,
            "p99_ms": figures.p99_ms,
            "rss_mb": round(mb, 1),
            "rss_mb_a_minute": round(mb_a_minute, 2),
            "store_rss_mb": round(store_mb, 1),
            "store_rss_mb_a_minute": round(store_mb_a_minute, 2),
            "minutes_in_all": round((time.monotonic() - started) / 60, 1),
        }
        print(f"\n{json.dumps(summary)}")  # noqa: T201
        print([tuple(map(round, one)) for one in soak.lives[-1][::20]])  # noqa: T201
        never = (
            "lost",
            "offers_twice",
            "charged_twice",
            "unasked",
            "unsettled",
            "no_receipt",
            "rejected",
            "miscounted",
        )
        assert [system.all_of(one.msisdn) | {"yes": one} for one, *_ in unsettled(operator)[:3]] == []
        assert {name: summary[name] for name in (*never, "miscounted") if summary[name]} == {}
        assert mb_a_minute + store_mb_a_minute <= GROWS * (mb + store_mb), soak.lives[-1][::30]
