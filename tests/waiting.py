"""How tests wait: until something holds, however busy the machine is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object]) -> None:
    """Wait until it holds; fails after a minute."""
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.002)
