"""What the operator's ledgers say of a run: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kairos import enrich
from kairos.playbook import load_texts, read
from kairos.simulate import Operator
from kairos.simulate.figures import settle
from kairos.simulate.scenario import refusal_in

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
PATIENCE = 90.0

# Counters that the operator's ledgers know exactly, and what they hold before the traffic.
ADDED_UP = ("recharges_30d", "recharged_30d", "data_used_7d", "spend_7d", "calls_7d")
RECHARGED = {"recharges_30d": 1, "recharged_30d": 500}
KNOWN = RECHARGED | {"data_used_7d": 180_000_000}


async def calm_down(system: Any, living: asyncio.Task[None]) -> None:
    """A while of peace, then an end to what happens, and to what is under way."""
    async with asyncio.timeout(PATIENCE):
        await system.operator.bound()
    await asyncio.sleep(1)
    living.cancel()
    assert await system.operator.drain(PATIENCE), system.still_open()


async def all_is_well(system: Any, known: Mapping[str, int] = KNOWN) -> None:
    """By the operator's ledgers: nothing acknowledged is lost or applied twice, no offer said or charged twice."""
    operator: Operator = system.operator
    figures = operator.figures(final=True)
    assert unsettled(operator) == []
    assert figures.accepted > figures.unsettled
    assert (figures.charged_twice, figures.unasked, figures.duplicate_offers) == (0, 0, 0), figures
    assert (figures.undelivered, figures.notifications_refused, figures.events_rejected) == (0, 0, 0), (
        operator.feed.complaints
    )
    assert figures.notifications_delivered == figures.notifications_acknowledged == len(operator.notifications)
    assert told_two_ways(operator) == {}
    await receipts_for_all(system)
    await system.drained()
    assert await system.server.end() == 0
    assert applied(system) == happened(operator, known)


def unsettled(operator: Operator) -> list[Any]:
    """Acceptances that became neither an order nor a clear no, with all that their handsets saw and did.

    A handset takes the first message that comes as the answer; after a crash that may be another one's, said again. So
    any clear no counts that came after the yes and told no other yes its end.
    """
    found = []
    for msisdn, handset in operator.handsets.items():
        recharges = [one for one in operator.ocs.recharges if one.msisdn == msisdn]
        accepted, _ = settle(handset.answers, operator.ocs.orders_of[msisdn], recharges)
        told = {id(seen) for one in accepted if one.reason and one.answer for seen in one.answer.answered}
        spare = [seen for seen in handset.inbox if id(seen) not in told and refusal_in(seen.text)]
        for one in accepted:
            if one.fulfilled or one.reason:
                continue
            asked = one.answer.sent.at if one.answer and one.answer.sent else 0.0
            later = next((seen for seen in spare if seen.at > asked), None)
            if later is None:
                found.append((one, handset.inbox, handset.answers))
            else:
                spare.remove(later)
    return found


def told_two_ways(operator: Operator) -> dict[str, set[str]]:
    """Notifications that came with more than one text: one that is repeated must repeat its line and its number."""
    texts: defaultdict[str, set[str]] = defaultdict(set)
    for handset in operator.handsets.values():
        for seen in handset.inbox:
            if seen.ref:
                texts[seen.ref].add(seen.text)
    return {ref: said for ref, said in texts.items() if len(said) > 1}


async def receipts_for_all(system: Any) -> None:
    """Each notification's receipt reaches the charging system, under the id that it was answered with."""
    await system.until(lambda: not without_receipt(system.operator), "every receipt")


def without_receipt(operator: Operator) -> set[str]:
    """Ids of notifications, as they were answered, that no receipt came for."""
    receipts = operator.charging.receipts
    return {one.message_id for one in operator.notifications.values()} - {
        id_ for id_, states in receipts.items() if states
    }


def happened(operator: Operator, known: Mapping[str, int]) -> dict[str, Counter[str]]:
    """What the charging system's ledgers say that counters have to hold, by subscriber."""
    told = {one.msisdn: Counter(known) for one in operator.subscribers}
    for one in operator.ocs.recharges:
        told[one.msisdn] += Counter({"recharges_30d": 1, "recharged_30d": one.amount})
    for notification in operator.notifications.values():
        usage = notification.usage
        told[usage.msisdn] += Counter({"spend_7d": usage.cost, "calls_7d": int(usage.service == "voice")})
        if usage.service == "data":
            told[usage.msisdn] += Counter({"data_used_7d": usage.quantity * 1000})
    return told


def applied(system: Any) -> dict[str, Counter[str]]:
    """What these counters hold in the store, over all their buckets."""
    names = list(read(load_texts(EXAMPLE)).vocabulary.counters)
    found = {}
    for msisdn, state in system.states().items():
        sums = {name: int(sum(enrich.counter_buckets(state, place)[1::2])) for place, name in enumerate(names)}
        found[msisdn] = Counter({name: sums[name] for name in ADDED_UP if sums[name]})
    return found
