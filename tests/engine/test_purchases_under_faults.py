"""Any order of faults and crashes, with the real dispatcher and the synthetic ledger: charged once, whole, or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kairos.domain.message import Order, Text
from kairos.domain.subscriber import Bucket
from kairos.engine.dispatch import Backoff, Dispatcher, Patience
from kairos.engine.engine import Engine
from kairos.engine.loop import Loop
from kairos.fulfil import ENDED, FORWARD
from kairos.learn import FixedPropensity
from kairos.ports import Outcome
from kairos.simulate.ocs import Ocs, OrderRequest, show
from kairos.simulate.subscribers import population

PEOPLE = population(1, seed=3)
MSISDN = PEOPLE[0].msisdn
DAY = 86_400_000
OFFER = """
offer: booster
title: a bundle
issue: upsell
product: [MARKET_DATA2G_7D, MARKET_TALK60_1D]
variants: {large: {price: 45, value: 24}}
answers: {end_of_call: 5 minutes}
treatments: {ride: {channel: notification, message: booster_line}}
accept_within: 24 hours
after_decline: 14 days
fulfil: {charge: price, provision: product}
"""
QUICK = Backoff(0.0001, 0.0002)

# What becomes of one call, and of one question.
CALLS = ["done", "lost", "ignored", "error", "refused", "killed before", "killed after"]
ASKED = ["known", "known", "known", "busy"]


class Counterpart:
    """Keeps no keys, but can be asked. Plays the faults of a test in turn; then all goes well."""

    def __init__(self, ocs: Ocs, calls: list[str], asked: list[str]) -> None:
        self.ocs, self.calls, self.asked = ocs, list(calls), list(asked)
        self.killed = asyncio.Event()

    async def fulfil(self, order: Order) -> Outcome:
        await asyncio.sleep(0)
        fault = self.calls.pop(0) if self.calls else "done"
        if fault == "refused" and order.step in (*FORWARD, "order"):
            return Outcome("refused", reason="no_such_product")
        if fault in ("ignored", "error"):
            return Outcome("unknown" if fault == "ignored" else "retry")
        if fault == "killed before":
            await self._dies()
        status, reason = self._carry_out(order)
        if fault == "killed after":
            await self._dies()
        if fault == "lost":
            return Outcome("unknown")
        return Outcome("done") if status < 300 else Outcome("refused", reason=reason)

    async def ask(self, order: Order) -> Outcome:
        await asyncio.sleep(0)
        if self.asked and self.asked.pop(0) == "busy":
            return Outcome("retry")
        found: Any = self.ocs.orders.get(order.key) if order.step == "order" else self.ocs.calls.get(order.key)
        if found is None:
            return Outcome("absent")
        return Outcome("done") if found.status < 300 else Outcome("refused", reason=found.reason)

    async def _dies(self) -> None:
        self.killed.set()
        await asyncio.Event().wait()

    def _carry_out(self, order: Order) -> tuple[int, str]:
        request = OrderRequest(
            order.msisdn, order.product, show(order.price), order.currency, order.charges,
            products=order.products, purchase=order.purchase, undoes=order.undoes,
        )  # fmt: skip
        if order.step == "order":
            made = self.ocs.order(order.key, request)
            return made.status, made.reason
        call = self.ocs.call(order.step, order.key, request)
        return call.status, call.reason


class Handset:
    async def send(self, _: Text) -> Outcome:
        return Outcome("sent")


async def live(bench: Any, counterpart: Counterpart) -> None:
    """One life of kairos, till it is killed or there is nothing left to do."""
    dispatcher: Dispatcher
    engine = Engine(bench.store, bench.program, FixedPropensity(), steps=bench.options["steps"])
    loop = Loop(engine, lambda: bench.now, lambda rows: dispatcher.hand(rows))
    channels = dict.fromkeys(("notification", "sms", "relay", "receipt"), Handset())
    patience = Patience(call=DAY, provision=DAY)
    dispatcher = Dispatcher(
        bench.store, loop, channels, counterpart, lambda: bench.now, backoff=QUICK, patience=patience
    )
    tasks = [asyncio.create_task(loop.run()), asyncio.create_task(dispatcher.run())]
    async with asyncio.timeout(60):
        while bench.store.unsent(0, 1) and not counterpart.killed.is_set():
            await asyncio.sleep(0.001)
    await dispatcher.close()
    loop.close()
    await asyncio.gather(*tasks)


async def bought(bench: Any, counterpart: Counterpart) -> None:
    while bench.store.unsent(0, 1):
        counterpart.killed = asyncio.Event()
        await live(bench, counterpart)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(CALLS), max_size=8), st.lists(st.sampled_from(ASKED), max_size=6), st.booleans())
def test_charged_once_and_whole_or_not_at_all(
    bench_with: Callable[..., Any], calls: list[str], asked: list[str], stepped: bool
) -> None:
    bench = bench_with({"offers/booster.yaml": OFFER}, steps=FORWARD if stepped else ("order",))
    ocs = Ocs(PEOPLE, lambda: bench.now)
    ocs.honours_keys = False
    ocs.accounts[MSISDN].main = 10_000
    profile = {"plan": "prepaid", "language": "en", "marketing_consent": True}
    balances = [Bucket("main", 10_000), Bucket("data", 100_000, bench.now + DAY)]
    bench.apply(bench.event("profile", msisdn=MSISDN, **profile))
    bench.apply(bench.event("end_of_call", msisdn=MSISDN, notification="n", service="v", cost=1, balances=balances))
    bench.apply(bench.reply("1", msisdn=MSISDN))
    asyncio.run(bought(bench, Counterpart(ocs, calls, asked)))

    (purchase,) = bench.store.purchases("", 2)
    assert purchase.status in ENDED
    assert ocs.charges_repeated() == 0
    assert ocs.unbalanced() == []
    assert (ocs.accounts[MSISDN].main == 10_000 - 4500) == (purchase.status == "done")
    assert (ocs.accounts[MSISDN].main == 10_000) == (purchase.status != "done")
    assert bench.state(MSISDN).offers[0].status == ("fulfilled" if purchase.status == "done" else "refused")
