"""Time that goes by at once. What runs out is then all that can happen next, however slow the machine is."""

from __future__ import annotations

import asyncio


def ahead(seconds: float) -> None:
    """The clock of the event loop goes ahead by so much: what was to be over by then is over now."""
    loop = asyncio.get_running_loop()
    clock = loop.time
    loop.time = lambda: clock() + seconds  # type: ignore[method-assign]
