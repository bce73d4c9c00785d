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
from kairos.ports import Clock, Store


class HttpPurchases:
    """Read from the store, in threads; changed through the engine like everything else."""

    def __init__(self, store: Store, loop: Loop, clock: Clock) -> None:
        self.store, self.loop, self.clock = store, loop, clock

    async def purchase(self, key: str) -> Mapping[str, Any] | None:
        found = await asyncio.to_thread(self.store.purchase, key)
        return shown(found) if found else None

    async def reverse(self, key: str, status: str, reason: str) -> Answer | None:
        found = await asyncio.to_thread(self.store.purchase, key)
        if found is None:
            return None
        return await self.loop.submit(Reversal(key, found.subscriber, status, self.clock(), reason))


def shown(purchase: Purchase) -> dict[str, Any]:
    """A purchase as JSON can hold it."""
    plain = msgspec.structs.asdict(purchase)
    steps = [msgspec.structs.asdict(step) for step in purchase.steps]
    proof = [msgspec.structs.asdict(said) for said in purchase.proof]
    taken = [msgspec.structs.asdict(one) for one in purchase.taken]
    return plain | {"steps": steps, "proof": proof, "products": list(purchase.products), "taken": taken}
