"""python -m kairos.simulate.paced: notifications at a set rate, each on time whatever came of those before (open loop).

One JSON object a line. It says `ports`, and hears where kairos is, as `python -m kairos.simulate` does. Then, for each
line `{"rate": 500, "seconds": 10}`, it says `step`: what it sent and saw. The end of standard input ends it.

A latency is from the moment that the schedule says to the handset: a submitter that comes late, or waits for a place in
the window, counts against kairos too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import random
import sys
import time
from collections.abc import Sequence
from itertools import chain, cycle

import msgspec

from kairos.simulate.eocn import Notification
from kairos.simulate.events import balances_field
from kairos.simulate.figures import percentile
from kairos.simulate.operator import Operator, OperatorSettings
from kairos.simulate.starter import Address, tell
from kairos.simulate.subscribers import pick_service

MONEY = 100_000_000  # minor units: nobody runs out
AT_MOST = 10.0  # seconds after a step to wait for what is not there
USES = {"voice": 6, "data": 4000, "sms": 1, "mms": 1, "vas": 1}
BATCH = 500  # events of a request


class Step(msgspec.Struct, frozen=True):
    """One while at one rate."""

    rate: float
    seconds: float
    sent: int
    delivered: int  # all in all
    behind: int  # sent, and not delivered when the schedule ended
    p50_ms: float
    p99_ms: float
    max_ms: float
    riding: float  # share that carried an offer
    operator_cpu: float  # seconds of ours in a second


class Wanted(msgspec.Struct, frozen=True):
    """A step, as a line asks for it."""

    rate: float
    seconds: float


class Load:
    """The subscribers, each next in turn."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self._turn = cycle(operator.subscribers)
        self._chance = random.Random(operator.settings.seed)

    async def introduce(self) -> None:
        """Tell kairos of everybody: a plan, a language, consent, and money."""
        operator = self.operator
        told = []
        for one in operator.subscribers:
            account = operator.ocs.accounts[one.msisdn]
            account.main = account.opening = MONEY
            profile = {"plan": one.plan, "language": one.language, "time_zone": one.time_zone}
            wallets = balances_field(operator.ocs.balances(one.msisdn))
            told.append(operator.feed.event("profile", one.msisdn, profile | {"marketing_consent": one.consent}))
            told.append(operator.feed.event("recharge", one.msisdn, {"amount": "5.00", "balances": wallets}))
        for start in range(0, len(told), BATCH):
            await operator.feed.post(told[start : start + BATCH])

    async def step(self, wanted: Wanted) -> Step:
        """Submit at this rate for so long; wait for what is under way."""
        began, cpu = time.perf_counter(), time.process_time()
        total = int(wanted.rate * wanted.seconds)
        sent: list[Notification] = []
        while len(sent) < total:
            due = min(total, int((time.perf_counter() - began) * wanted.rate) + 1)
            sent.extend(self._submit(began + number / wanted.rate) for number in range(len(sent), due))
            await asyncio.sleep(0.001)
        behind = sum(not one.delivered for one in sent)
        cpu = (time.process_time() - cpu) / (time.perf_counter() - began)
        deadline = time.perf_counter() + AT_MOST
        while time.perf_counter() < deadline and not all(one.delivered for one in sent):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return self._measured(wanted, sent, behind, cpu)

    def _submit(self, scheduled: float) -> Notification:
        one = next(self._turn)
        service = pick_service(one, self._chance)
        notification = self.operator.submit_at(scheduled, one.msisdn, service, USES[service])
        assert notification is not None
        return notification

    def _measured(self, wanted: Wanted, sent: Sequence[Notification], behind: int, cpu: float) -> Step:
        """What never came waited as long as we did."""
        never = AT_MOST + wanted.seconds
        waits = [(one.seconds if one.delivered else never) * 1000 for one in sent]
        refs = {one.ref for one in sent}
        inboxes = (handset.inbox for handset in self.operator.handsets.values())
        riding = {seen.ref for seen in chain.from_iterable(inboxes) if seen.offer} & refs
        return Step(
            rate=wanted.rate,
            seconds=wanted.seconds,
            sent=len(sent),
            delivered=sum(bool(one.delivered) for one in sent),
            behind=behind,
            p50_ms=round(percentile(waits, 0.5), 2),
            p99_ms=round(percentile(waits, 0.99), 2),
            max_ms=round(max(waits), 2),
            riding=round(len(riding) / len(sent), 3),
            operator_cpu=round(cpu, 3),
        )


async def live(subscribers: int, seed: int) -> None:
    """Until standard input ends."""
    operator = Operator(OperatorSettings(subscribers=subscribers, seed=seed, window=1000))
    await operator.start()
    tell("ports", **operator.ports)
    try:
        address = msgspec.json.decode(await asyncio.to_thread(sys.stdin.readline), type=Address)
        await operator.connect(address.smpp, address.kairos_http, address.kairos_key)
        await operator.bound()
        load = Load(operator)
        await load.introduce()
        gc.disable()  # between steps alone: half a second's look at all that our ledgers hold is no wait of kairos'
        tell("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            gc.collect()
            gc.freeze()
            step = await load.step(msgspec.json.decode(line, type=Wanted))
            tell("step", **msgspec.to_builtins(step))
    finally:
        await operator.stop()


def main(given: Sequence[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kairos.simulate.paced", description="Notifications at a set rate.")
    parser.add_argument("--subscribers", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(given)
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(live(options.subscribers, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
