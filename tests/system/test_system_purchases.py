"""Purchases in steps at the charging system, over HTTP: `kill -9` around each call, and every way to fail there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kairos.fulfil import FORWARD
from kairos.simulate import Operator, OperatorSettings
from kairos.simulate.ocs_door import FAULTS

DONE = "Talk 60 is active."


async def offered(system: Any) -> str:
    """Somebody to whom an offer was said just now."""
    msisdn: str = system.with_language("en")
    await system.known(msisdn)
    await system.call(msisdn)
    return msisdn


def settled(operator: Operator, msisdn: str) -> tuple[int, list[str]]:
    """How often they were charged, less refunds, and what they were given."""
    charges = operator.ocs.charges()
    return sum(charges[order.key] for order in operator.ocs.orders_of[msisdn]), operator.ocs.accounts[msisdn].passes


def around(**more: Any) -> OperatorSettings:
    return OperatorSettings(subscribers=60, receipt_after=0.02, **more)


@pytest.mark.parametrize("mode", ["order", "steps"])
async def test_killed_around_each_call_it_is_charged_once_and_provisioned(
    launch: Any, a_free_port: Any, mode: str
) -> None:
    settings = around(smsc_port=a_free_port())
    async with launch(operator=settings, restarts=True, FULFILMENT_MODE=mode, FULFILMENT_TIMEOUT_S=2) as system:
        operator: Operator = system.operator
        for step in FORWARD if mode == "steps" else ("order",):
            for point in ("before", "after"):
                msisdn = await offered(system)
                killed = asyncio.Event()

                async def kill(at: str, when: str, step: str = step, point: str = point, done: Any = killed) -> None:
                    if (at, when) == (step, point) and not done.is_set():
                        done.set()
                        await system.server.kill()

                operator.ocs_faults.when = kill
                answer = operator.reply(msisdn, "1")
                await system.until(killed.is_set, f"the kill {point} {step}")
                await system.restart()
                assert (await system.said_to(answer)).text.startswith(DONE), (step, point)
                assert (settled(operator, msisdn)[0], len(settled(operator, msisdn)[1])) == (1, 1), (step, point)
        await system.drained()
        assert (operator.ocs.charges_repeated(), operator.ocs.unbalanced()) == (0, [])
        assert {status for (status,) in system.rows("SELECT status FROM purchase")} == {"done"}


async def test_whatever_goes_wrong_at_a_counterpart_that_keeps_no_keys_it_charges_once(
    launch: Any, a_free_port: Any
) -> None:
    settings = around(smsc_port=a_free_port())
    async with launch(operator=settings, FULFILMENT_MODE="steps", FULFILMENT_TIMEOUT_S=0.5) as system:
        operator: Operator = system.operator
        operator.ocs.honours_keys = False
        operator.ocs_faults.late = 1.0
        asked = []
        for step in ("charge", "provision"):
            for fault in FAULTS:
                msisdn = await offered(system)
                operator.ocs_faults.coming[step].append(fault)
                asked.append((msisdn, (await system.reply(msisdn, "1")).text))
        assert [text for _, text in asked if not text.startswith(DONE)] == []
        assert {settled(operator, msisdn)[0] for msisdn, _ in asked} == {1}
        assert (operator.ocs.charges_repeated(), operator.ocs.unbalanced()) == (0, [])


async def test_what_cannot_be_provisioned_is_refunded_and_told_once(launch: Any, a_free_port: Any) -> None:
    settings = around(smsc_port=a_free_port())
    patience = {"FULFILMENT_PROVISION_WITHIN_S": 0.2, "FULFILMENT_TIMEOUT_S": 1}
    async with launch(operator=settings, FULFILMENT_MODE="steps", **patience) as system:
        operator: Operator = system.operator
        msisdn = await offered(system)
        before = operator.ocs.accounts[msisdn].main
        operator.ocs_faults.coming["provision"] += ["error"] * 50
        told = await system.reply(msisdn, "1")
        assert not told.text.startswith(DONE)
        assert settled(operator, msisdn) == (0, [])
        assert operator.ocs.accounts[msisdn].main == before
        assert [entry.reason for entry in operator.ocs.entries if entry.msisdn == msisdn][-2:] == ["order", "refund"]
        ((status, key),) = system.rows("SELECT status, key FROM purchase")
        assert status == "refunded"
        shown = (await system.http.get(f"{system.server.url}/v1/purchases/{key}")).json()
        went = ["reserve", "charge", "provision", "deprovision", "refund"]
        assert [step["name"] for step in shown["steps"]] == went
        assert shown["proof"][0]["text"] == "1"


@pytest.mark.parametrize("mode", ["order", "steps"])
async def test_under_load_with_faults_and_kills_the_ledger_is_whole(launch: Any, a_free_port: Any, mode: str) -> None:
    settings = around(rate=60.0, seed=3, think=(0.02, 0.3), smsc_port=a_free_port(), ocs_faults=0.25)
    patience = {"FULFILMENT_TIMEOUT_S": 0.5, "FULFILMENT_PROVISION_WITHIN_S": 1}
    async with launch(operator=settings, restarts=True, FULFILMENT_MODE=mode, **patience) as system:
        operator: Operator = system.operator
        operator.ocs.honours_keys = False
        operator.ocs_faults.late = 1.0
        await system.all_known(lambda: 2000)
        living = asyncio.create_task(operator.run(3600))
        for bought in (5, 15, 30):
            await system.until(lambda bought=bought: len(operator.ocs.orders) > bought, "purchases")
            await system.server.kill()
            await system.restart()
        living.cancel()
        operator.ocs_faults.share = 0.0
        await system.drained()
        assert operator.ocs_faults.happened
        assert (operator.ocs.charges_repeated(), operator.ocs.unbalanced()) == (0, [])
        ended = dict(system.rows("SELECT key, status FROM purchase"))
        assert set(ended.values()) <= {"done", "refused", "refunded"}
        charged = {key for key, count in operator.ocs.charges().items() if count}
        provisioned = {key for key, order in operator.ocs.orders.items() if order.provisioned}
        assert charged <= {key for key, status in ended.items() if status == "done"} == provisioned
