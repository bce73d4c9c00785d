"""What the HTTP door says of a purchase reaches it by its own key and by each of its steps'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from kairos.adapters.memory import MemoryStore
from kairos.adapters.purchases import HttpPurchases
from kairos.domain.inputs import Reversal
from kairos.domain.purchase import Purchase, Step
from kairos.engine.work import Answer
from kairos.ports import Batch


@dataclass
class Taken:
    """A loop that notes what it is handed."""

    news: Any = None

    async def submit(self, news: Any) -> Answer:
        self.news = news
        return Answer("applied")


@pytest.mark.parametrize("key", ["k~2", "k~2.charge", "k~2.provision1"])
async def test_a_purchase_is_found_by_any_of_its_steps_keys(key: str) -> None:
    step = Step("charge", "k~2.charge", "P", status="done")
    one = Purchase("k~2", "k", 1, 7, "12025550123", "", "booster", "small", ("P",), 1000, "XTS", True, 5, (step,))
    store, loop = MemoryStore(), Taken()
    store.commit(Batch(purchases={one.key: one}))
    purchases = HttpPurchases(store, loop, lambda: 9)  # type: ignore[arg-type]
    shown = await purchases.purchase(key)
    assert shown
    assert shown["key"] == "k~2"
    assert await purchases.reverse(key, "reversed", "complaint 7")
    assert loop.news == Reversal(key, 7, "reversed", 9, "complaint 7")
    assert await purchases.reverse("other.charge", "reversed", "") is None
