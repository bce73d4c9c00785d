"""What the HTTP door says of a purchase reaches it by its own key and by each of its steps', to the cent."""

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

    engine: Any = None
    news: Any = None

    async def submit(self, news: Any) -> Answer:
        self.news = news
        return Answer("applied")


def bought(currency: str = "XTS", engine: Any = None) -> tuple[HttpPurchases, Taken]:
    step = Step("charge", "k~2.charge", "P", status="done")
    one = Purchase("k~2", "k", 1, 7, "12025550123", "", "booster", "small", ("P",), 1000, currency, True, 5, (step,))
    store, loop = MemoryStore(), Taken(engine)
    store.commit(Batch(purchases={one.key: one}))
    return HttpPurchases(store, loop, lambda: 9), loop  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["k~2", "k~2.charge", "k~2.provision1"])
async def test_a_purchase_is_found_by_any_of_its_steps_keys(key: str) -> None:
    purchases, loop = bought()
    shown = await purchases.purchase(key)
    assert shown
    assert shown["key"] == "k~2"
    assert await purchases.reverse(key, "reversed", "complaint 7")
    assert loop.news == Reversal(key, 7, "reversed", 9, "complaint 7")
    assert await purchases.reverse("other.charge", "reversed", "") is None


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        ("2.50", "XTS", 250),
        ("2.505", "XTS", "`2.505` has more than 2 decimals"),
        ("half", "XTS", "`half` is not a number"),
        ("2.50", "XXX", "its price is in XXX, and amounts are read in XTS: say that all of it went back"),
    ],
)
async def test_a_part_that_went_back_is_read_exactly(bench: Any, amount: str, currency: str, said: int | str) -> None:
    purchases, loop = bought(currency, bench.engine)
    answer = await purchases.reverse("k~2", "reversed", "", amount)
    assert answer
    told = answer.reason if loop.news is None else loop.news.amount
    assert told == said
