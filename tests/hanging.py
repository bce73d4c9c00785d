"""A disk that hangs: reads of a store that come back when they are told to."""

from __future__ import annotations

import asyncio
import threading
from typing import Any


class Hanging:
    """One read of a store. It gives what it found when it began, which may be old by then."""

    def __init__(self, store: Any, name: str) -> None:
        self._store, self._name, self._read = store, name, getattr(store, name)
        self._told = threading.Event()
        self.begun = 0
        setattr(store, name, self)

    def __call__(self, *args: Any) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise AssertionError(f"`{self._name}` would hold up everything that runs in this event loop")
        found = self._read(*args)
        self.begun += 1
        assert self._told.wait(60)
        return found

    async def reached(self) -> None:
        """Somebody waits for it."""
        async with asyncio.timeout(30):
            while not self.begun:
                await asyncio.sleep(0.001)

    def end(self) -> None:
        delattr(self._store, self._name)
        self._told.set()
