"""A store's calls beside the event loop, for any store: in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from kairos.errors import FallenError
from kairos.ports import Batch, Loaded, Store

P = ParamSpec("P")
R = TypeVar("R")


class InThreads:
    """A `kairos.ports.Aside` for any store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._turn = asyncio.Lock()  # who came first goes first
        self._reading = asyncio.Lock()  # so do they
        self._broken = -1  # the latest chain in which a commit failed

    async def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded:
        return await asyncio.get_running_loop().run_in_executor(None, self.store.load, names, subscribers)

    async def commit(self, batch: Batch, chain: int) -> None:
        async with self._turn:
            if chain == self._broken:
                raise FallenError
            try:
                await asyncio.get_running_loop().run_in_executor(None, self.store.commit, batch)
            except BaseException:
                self._broken = chain
                raise

    async def read(self, ask: Callable[Concatenate[Store, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        read: Callable[..., R] = getattr(self.store, ask.__name__)
        async with self._reading:
            return await asyncio.get_running_loop().run_in_executor(None, partial(read, *args, **kwargs))

    async def close(self) -> None:
        """The store is another's to close."""
