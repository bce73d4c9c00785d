"""Who may send the next request: places for those under way, the pace, and a share kept for what is urgent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Final, Generic, TypeVar

from kairos.smpp.bucket import Pace

T = TypeVar("T")

# How urgent a request is: `False` (0), `True` (1), or this.
EMERGENCY: Final = 2


class Turns(Generic[T]):
    """Those who wait for something, an emergency first, then what is urgent; each kind keeps its order.

    `take(urgent)` gives what they wait for after 0.0 seconds, or says how long it is not worth asking (inf: until
    `admit` is called again); `give_back` takes it from one who left meanwhile.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[bool], tuple[float, T | None]],
        give_back: Callable[[T, bool], None],
    ) -> None:
        self._loop = loop
        self._take = take
        self._give_back = give_back
        self._turns = tuple(OrderedDict[asyncio.Future[T], None]() for _ in range(EMERGENCY + 1))  # by urgency
        self._timer: asyncio.TimerHandle | None = None
        self._due = inf  # of the timer; uvloop's handle of a very short one cannot say

    def __len__(self) -> int:
        return sum(map(len, self._turns))

    def queued(self, *, urgent: int) -> bool:
        """Whether somebody waits who goes first."""
        return any(self._turns[urgent:])

    async def get(self, *, urgent: int) -> T:
        """What is waited for, when it is our turn."""
        if not self.queued(urgent=urgent):
            _, got = self._take(urgent > 0)
            if got is not None:
                return got
        turns = self._turns[urgent]
        turn: asyncio.Future[T] = self._loop.create_future()
        turns[turn] = None
        self.admit()
        try:
            return await turn
        except asyncio.CancelledError:
            turns.pop(turn, None)
            if turn.done() and not turn.cancelled():
                self._give_back(turn.result(), urgent > 0)
            raise

    def admit(self) -> None:
        """Something changed: let in who may go now."""
        for urgent in range(EMERGENCY, -1, -1):
            turns = self._turns[urgent]
            while turns:
                turn = next(iter(turns))
                if not turn.done():  # else it was cancelled, and is not yet gone
                    wait, got = self._take(urgent > 0)
                    if got is None:
                        self._come_back(wait)
                        return
                    turn.set_result(got)
                turns.popitem(last=False)
        self._forget_timer()

    def _come_back(self, wait: float) -> None:
        due = self._loop.time() + wait
        if self._timer is not None and self._due <= due:
            return
        self._forget_timer()
        if wait < inf:
            self._due = due
            self._timer = self._loop.call_later(wait, self._again)

    def _again(self) -> None:
        self._timer = None
        self.admit()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Window:
    """At most `size` requests under way, at the rate of `pace`.

    Requests that are not urgent may hold `ordinary` of the places (at least one), and among those who wait, urgent ones
    go first. `on_change` is called when there may be room again.
    """

    def __init__(self, size: int, pace: Pace, loop: asyncio.AbstractEventLoop) -> None:
        self.size = size
        self.ordinary = max(1, int(size * (1.0 - pace.reserve)))
        self.pace = pace
        self.used = 0
        self.on_change: Callable[[], None] | None = None
        self._ordinary_used = 0
        self._loop = loop
        self._turns: Turns[Window] = Turns(loop, self._offer, lambda _, urgent: self.leave(urgent=urgent))
        self._held = False
        self._narrow = False
        self._over = False

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._turns)

    @property
    def load(self) -> float:
        """How full it is: 1 where every place is taken, more where requests wait."""
        return (self.used + self.waiting) / self._places

    @property
    def _places(self) -> int:
        return 1 if self._narrow else self.size

    async def enter(self, *, urgent: int) -> None:
        """Wait for a turn; `leave` gives it back."""
        await self._turns.get(urgent=urgent)

    def take(self, *, urgent: bool) -> float:
        """Enter at once and return 0.0; or the seconds until the pace allows it (inf: until somebody leaves)."""
        if self._turns.queued(urgent=urgent):
            return inf
        return self._offer(urgent)[0]

    def leave(self, *, urgent: int) -> None:
        self.used -= 1
        self._ordinary_used -= not urgent
        self._changed()

    def hold(self, held: bool) -> None:
        """Let nobody in while the peer does not take what was written."""
        self._held = held
        self._changed()

    def narrow(self, narrow: bool) -> None:
        """Let one in at a time while the peer answers nothing."""
        if narrow is not self._narrow:
            self._narrow = narrow
            self._changed()

    def end(self) -> None:
        """The session ends: whoever waits, or comes later, goes through at once and finds it so."""
        self._over = True
        self._changed()

    def _changed(self) -> None:
        self._turns.admit()
        if self.on_change is not None:
            self.on_change()

    def _offer(self, urgent: bool) -> tuple[float, Window | None]:
        wait = 0.0
        if not self._over:
            if self._held or self.used >= self._places or (not urgent and self._ordinary_used >= self.ordinary):
                return inf, None
            wait = self.pace.take(self._loop.time(), urgent=urgent)
        if wait > 0.0:
            return wait, None
        self.used += 1
        self._ordinary_used += not urgent
        return 0.0, self
