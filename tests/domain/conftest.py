from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest


@pytest.fixture(scope="session")
def programs(bench_with: Callable[..., Any]) -> Callable[[str], Any]:
    """A program whose only budget counts prices of 10 and 45, with this at its end."""

    @cache
    def program(pace: str) -> Any:
        from tests.conftest import TEXTS

        budget = f"budget: {{spend: 3, per: calendar day{pace}}}"
        offer = TEXTS["offers/booster.yaml"].replace("price: 10,", "price: 0.10,").replace("price: 45,", "price: 0.45,")
        return bench_with({"offers/booster.yaml": offer + budget}).program.decide

    return program
