"""A vocabulary of a fictional operator with every type of field."""

from __future__ import annotations

import pytest

from kairos.domain.money import Currency
from kairos.playbook.vocabulary import Vocabulary, Wallet


@pytest.fixture(scope="session")
def currency() -> Currency:
    return Currency("XTS", 2, "T$")


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary(
        events={
            "end_of_call": {"service": "text", "cost": "money", "balances": "balances", "duration_s": "number"},
            "recharge": {"amount": "money", "first": "boolean", "valid_until": "time", "birthday": "date"},
            "data_session": {"app": "text", "bytes": "number"},
        },
        wallets={
            "main": Wallet("main", "money", 2),
            "data": Wallet("data", "MB", 1),
            "voice": Wallet("voice", "min", 0),
        },
    )
