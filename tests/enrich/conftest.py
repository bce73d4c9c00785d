"""A vocabulary of a fictional operator that uses every kind of attribute and counter."""

from __future__ import annotations

import pytest

from kairos.enrich import Plan, compile_plan
from kairos.playbook.vocabulary import Attribute, Counter, Vocabulary, Wallet
from kairos.rules import parse

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def make_vocabulary() -> Vocabulary:
    data_only = parse("end_of_call.service = 'data'", {"end_of_call.service": "text"})
    attributes = [
        Attribute("plan", "text", default="prepaid", sources=(("profile", "plan"),)),
        Attribute("last_app", "text", sources=(("data_session", "app"),)),
        Attribute("last_event", "time", sources=(("data_session", "happened"), ("recharge", "happened"))),
        Attribute("balance_then", "money", sources=(("end_of_call", "balances.main"),)),
        Attribute("balance", "money", total="main"),
        Attribute("data_left_mb", "number", total="data"),
        Attribute("expires_in_h", "number", soonest_expiry=("data", "voice")),
        Attribute("bundle", "boolean", default=False),
        Attribute("time_zone", "text", sources=(("profile", "time_zone"),)),
        Attribute("marketing_consent", "boolean", sources=(("profile", "consent"),)),
    ]
    counters = [
        Counter("data_used_7d", "sum", "data_session", "bytes", 7 * DAY, DAY, "number"),
        Counter("recharges_30d", "count", "recharge", "", 30 * DAY, DAY, "number"),
        Counter("recharged_1d", "sum", "recharge", "amount", DAY, HOUR, "money"),
        Counter("largest_recharge", "max", "recharge", "amount", DAY, HOUR, "money"),
        Counter("smallest_session", "min", "data_session", "bytes", DAY, 3 * HOUR, "number"),
        Counter("data_cost_1h", "sum", "end_of_call", "cost", HOUR, 10 * MINUTE, "money", where=data_only),
    ]
    return Vocabulary(
        events={
            "end_of_call": {"service": "text", "cost": "money", "balances": "balances"},
            "recharge": {"amount": "money", "happened": "time"},
            "data_session": {"app": "text", "bytes": "number"},
            "profile": {"plan": "text", "time_zone": "text", "consent": "boolean"},
        },
        wallets={
            "main": Wallet("main", "money", 2),
            "data": Wallet("data", "MB", 1),
            "voice": Wallet("voice", "min", 0),
        },
        attributes={a.name: a for a in attributes},
        counters={c.name: c for c in counters},
    )


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return make_vocabulary()


@pytest.fixture(scope="session")
def plan(vocabulary: Vocabulary) -> Plan:
    return compile_plan(vocabulary, "UTC")
