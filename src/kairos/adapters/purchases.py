"""What the HTTP door asks of a running kairos about purchases."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from kairos.domain.inputs import Reversal
from kairos.domain.purchase import Purchase
from kairos.engine.loop import Loop
from kairos.engine.work import Answer
from kairos.fulfil import purchase_of
from kairos.ports import Clock, Store


class HttpPurchases:
    """Read from the store, in threads; changed through the engine like everything else. Any step's key will do."""

    def __init__(self, store: Store, loop: Loop, clock: Clock) -> None:
        self.store, self.loop, self.clock = store, loop, clock

    async def purchase(self, key: str) -> Mapping[str, Any] | None:
        found = await asyncio.to_thread(self.store.purchase, purchase_of(key))
        return shown(found) if found else None

    async def reverse(self, key: str, status: str, reason: str, amount: str | None = None) -> Answer | None:
        found = await asyncio.to_thread(self.store.purchase, purchase_of(key))
        if found is None:
            return None
        try:
            returned = None if amount is None else self._minor(amount, found)
        except ValueError as error:
            return Answer("rejected", str(error))
        return await self.loop.submit(Reversal(key, found.subscriber, status, self.clock(), reason, returned))

    def _minor(self, amount: str, purchase: Purchase) -> int:
        """Raises ValueError, in words, for what is no amount of the purchase's currency."""
        currency = self.loop.engine.program.playbook.currency
        if purchase.currency != currency.code:
            what = f"its price is in {purchase.currency}, and amounts are read in {currency.code}"
            raise ValueError(f"{what}: say that all of it went back")
        return currency.parse(amount)


def shown(purchase: Purchase) -> dict[str, Any]:
    """A purchase as JSON can hold it."""
    plain = msgspec.structs.asdict(purchase)
    steps = [msgspec.structs.asdict(step) for step in purchase.steps]
    proof = [msgspec.structs.asdict(said) for said in purchase.proof]
    taken = [msgspec.structs.asdict(one) for one in purchase.taken]
    return plain | {"steps": steps, "proof": proof, "products": list(purchase.products), "taken": taken}
