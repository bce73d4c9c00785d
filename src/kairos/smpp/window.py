"""Who may send the next request: places for those under way, the pace, and a share kept for what is urgent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from math import inf

from kairos.smpp.bucket import Pace

_Turns = OrderedDict[asyncio.Future[None], None]


class Window:
    """At most `size` requests under way, at the rate of `pace`.

    Requests that are not urgent may hold `ordinary` of the places (at least one); among those who wait, urgent ones go
    first. Each kind keeps its order.
    """

    def __init__(self, size: int, pace: Pace, loop: asyncio.AbstractEventLoop) -> None:
        self.size = size
        self.ordinary = max(1, int(size * (1.0 - pace.reserve)))
        self.pace = pace
        self.used = 0
        self._ordinary_used = 0
        self._loop = loop
        self._urgent: _Turns = OrderedDict()
        self._others: _Turns = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._held = False
        self._over = False

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._urgent) + len(self._others)

    def room(self, *, urgent: bool) -> bool:
        """Whether a request would find a place at once (the pace may still make it wait a moment)."""
        paused = not urgent and self.pace.paused(self._loop.time())
        return not (paused or self._queued(urgent)) and self._place(urgent)

    @property
    def load(self) -> float:
        """How full it is: 1 where every place is taken, more where requests wait."""
        return (self.used + self.waiting) / self.size

    async def enter(self, *, urgent: bool) -> None:
        """Wait for a turn; `leave` gives it back."""
        if not self._queued(urgent) and self._take(urgent) == 0.0:
            return
        turns = self._urgent if urgent else self._others
        turn: asyncio.Future[None] = self._loop.create_future()
        turns[turn] = None
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            turns.pop(turn, None)
            if turn.done() and not turn.cancelled():
                self.leave(urgent=urgent)
            raise

    def leave(self, *, urgent: bool) -> None:
        self.used -= 1
        self._ordinary_used -= not urgent
        self._admit()

    def hold(self, held: bool) -> None:
        """Let nobody in while the peer does not take what was written."""
        self._held = held
        self._admit()

    def end(self) -> None:
        """The session ends: whoever waits, or comes later, goes through at once and finds it so."""
        self._over = True
        self._admit()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _queued(self, urgent: bool) -> bool:
        """Whether somebody waits who goes first."""
        return bool(self._urgent) or (not urgent and bool(self._others))

    def _place(self, urgent: bool) -> bool:
        if self._over:
            return True
        return not self._held and self.used < self.size and (urgent or self._ordinary_used < self.ordinary)

    def _take(self, urgent: bool) -> float:
        """Take a place and return 0.0, or the seconds until the pace allows it (inf: until somebody leaves)."""
        wait = inf
        if self._place(urgent):
            wait = 0.0 if self._over else self.pace.take(self._loop.time(), urgent=urgent)
        if wait == 0.0:
            self.used += 1
            self._ordinary_used += not urgent
        return wait

    def _admit(self) -> None:
        """Let in who may go, urgent ones first; come back when the pace allows the next."""
        for turns, urgent in ((self._urgent, True), (self._others, False)):
            while turns:
                turn = next(iter(turns))
                if not turn.done():  # else it was cancelled, and is not yet gone
                    wait = self._take(urgent)
                    if wait > 0.0:
                        self._come_back(wait)
                        return
                    turn.set_result(None)
                turns.popitem(last=False)

    def _come_back(self, wait: float) -> None:
        if wait < inf and (self._timer is None or self._timer.when() > self._loop.time() + wait):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(wait, self._again)

    def _again(self) -> None:
        self._timer = None
        self._admit()
