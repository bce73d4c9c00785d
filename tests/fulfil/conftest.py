"""An accepted offer to begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kairos.domain.subscriber import OpenOffer

NOW = 1_772_625_600_000


@pytest.fixture(scope="session")
def offer() -> Callable[..., OpenOffer]:
    def make(key: str = "k1", status: str = "accepted", **changes: Any) -> OpenOffer:
        known: dict[str, Any] = {
            "number": 1,
            "key": key,
            "decision": 1,
            "action": "booster",
            "variant": "small",
            "kind": "sell",
            "title": "500 MB for 1 day",
            "price": 1050,
            "product": "DATA500_1D",
            "charges": True,
            "language": "en",
            "short_code": "5000",
            "channel": "sms",
            "made": NOW - 1000,
            "expires": NOW + 1000,
            "after_decline": 0,
            "status": status,
        }
        return OpenOffer(**(known | changes))

    return make
