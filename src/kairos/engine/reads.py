"""States that are read before their turn, and kept as new as the store until then."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from kairos.engine.engine import Engine, concerned, split_concerned
from kairos.engine.work import Input, Work
from kairos.ports import Aside, Loaded


@dataclass(slots=True, eq=False)
class Read:
    """What the store knows of some subscribers, and (`landed`) what is committed of them while it is being read."""

    subscribers: Collection[str | int]
    loaded: Loaded = field(default_factory=lambda: Loaded({}, {}))
    landed: list[Work] | None = field(default_factory=list)


class Reads:
    """Reads beside the loop: a disk that hangs must not hold up what goes out plain meanwhile.

    Each hears of every commit (`land`) until somebody is `done` with it, so it is as new as the store; what is in
    flight then goes on top of it.
    """

    def __init__(self, engine: Engine, aside: Aside) -> None:
        self._engine, self._aside = engine, aside
        self.kept: set[Read] = set()

    async def read(self, inputs: Iterable[Input]) -> Read:
        """Raises StoreError where they cannot be read."""
        read = self.keep(Read(concerned(inputs)))
        try:
            read.loaded = await self._aside.load(*split_concerned(read.subscribers))
        except BaseException:
            self.kept.discard(read)
            raise
        self._engine.overlay(read.loaded, read.subscribers, read.landed or ())
        read.landed = None
        return read

    def keep(self, read: Read) -> Read:
        self.kept.add(read)
        return read

    def land(self, work: Work) -> None:
        """A work was committed."""
        for read in self.kept:
            if read.landed is None:
                self._engine.overlay(read.loaded, read.subscribers, [work])
            else:
                read.landed.append(work)

    def done(self, reads: Iterable[Read]) -> None:
        self.kept.difference_update(reads)


def joined(reads: Sequence[Read]) -> Loaded:
    """All that they know, in the first of them. Where two know of one subscriber, both are as new as the store."""
    loaded = reads[0].loaded if reads else Loaded({}, {})
    for read in reads[1:]:
        loaded.subscribers.update(read.loaded.subscribers)
        loaded.states.update(read.loaded.states)
        loaded.moved.update(read.loaded.moved)
    return loaded
