"""What happened before the clock starts: profiles, and 30 days of habits as events with past times."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from kairos.simulate.events import Event, EventFeed, balances_field
from kairos.simulate.ocs import HOUR, Ocs, show
from kairos.simulate.subscribers import Subscriber, pick_app

_DAY = 24 * HOUR
_EVE = 10 * 60_000  # the past ends ten minutes ago, with a recharge that tells the wallets' balances


def history(subscribers: Iterable[Subscriber], feed: EventFeed, ocs: Ocs, now: int, rng: random.Random) -> list[Event]:
    """Every subscriber's past, in the order of time for each of them; `now` in ms since the epoch."""
    return [event for one in subscribers for event in _past(one, feed, ocs, now, rng)]


def _past(one: Subscriber, feed: EventFeed, ocs: Ocs, now: int, rng: random.Random) -> Iterator[Event]:
    persona = one.persona
    told: list[tuple[int, str, dict[str, object]]] = []
    for _ in range(rng.randint(*persona.sessions)):
        size = rng.randint(*persona.session_mb) * 1_000_000
        told.append((_moment(one, now, 30, rng), "data_session", {"app": pick_app(one, rng), "bytes": size}))
    for _ in range(rng.randint(*persona.calls)):
        cost = show(rng.randint(*persona.call_cost))
        told.append((_moment(one, now, 7, rng), "end_of_call", {"service": "voice", "cost": cost}))
    for _ in range(rng.randint(*persona.recharges) - 1):
        amount = show(one.top_up)
        told.append((_moment(one, now, 30, rng), "recharge", {"amount": amount}))
    yield feed.event("profile", one.msisdn, _profile(one), now - 31 * _DAY)
    for at, kind, data in sorted(told, key=lambda entry: entry[0]):
        yield feed.event(kind, one.msisdn, data, at)
    wallets = balances_field(ocs.balances(one.msisdn))
    yield feed.event("recharge", one.msisdn, {"amount": show(one.top_up), "balances": wallets}, now - _EVE)


def _profile(one: Subscriber) -> dict[str, object]:
    return {
        "plan": one.plan,
        "language": one.language,
        "time_zone": one.time_zone,
        "marketing_consent": one.consent,
    }


def _moment(one: Subscriber, now: int, days: int, rng: random.Random) -> int:
    """Some time in the last days, within the subscriber's usual hours."""
    first, last = one.hours
    midnight = now - now % _DAY - rng.randrange(days) * _DAY
    at = midnight + (first + rng.uniform(0, (last - first) % 24 + 1)) * HOUR
    return min(int(at) - (_DAY if at > now - _EVE else 0), now - _EVE - 1)
