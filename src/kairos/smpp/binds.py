"""Several binds to one SMSC as one way there: the load is shared, and what is lost is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from math import inf

from kairos.smpp.client import Client
from kairos.smpp.errors import NotBound, NotSent
from kairos.smpp.pdu import BindReceiver, Pdu
from kairos.smpp.session import Session
from kairos.smpp.statistics import BindStatistics
from kairos.smpp.window import Turns


class Binds:
    """Clients of one SMSC, used like a single one.

    A request goes over the bind with room that is the least loaded, in turn where they are equal; over a `standby` only
    while no other bind has room; and waits, urgent ones first, while none has. One that surely was not sent is tried
    over another bind at once; one whose outcome is unknown is never repeated here. Receivers only receive.

    One that is not urgent waits `patience` seconds for its turn at most, and then is not sent: whoever asked may think
    again whether it should be. An urgent one waits `urgent_patience`. A bind that answers nothing is asked one thing
    at a time until it does.
    """

    def __init__(
        self,
        clients: Sequence[Client],
        standby: Sequence[Client] = (),
        patience: float = inf,
        urgent_patience: float = inf,
    ) -> None:
        if not clients:
            raise ValueError("at least one bind is needed")
        self._all = (*clients, *standby)
        self._standby = frozenset(standby)
        self._senders = [client for client in self._all if not isinstance(client.bind, BindReceiver)]
        self._patience = {True: urgent_patience, False: patience}
        self._turn = 0
        self._turns: Turns[tuple[Session | None]] | None = None

    @property
    def session(self) -> Session | None:
        """A session that a request could go over now; None while there is none."""
        return next((one.session for one in self._senders if one.session and one.session.transmits), None)

    @property
    def last_error(self) -> str:
        """What ended, or hindered, a bind that is down; of the first such."""
        return next((one.last_error for one in self._all if one.last_error and not one.session), "")

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        self._turns = Turns(asyncio.get_running_loop(), self._offer, _give_back)
        for client in self._all:
            client.on_change = self._turns.admit
            await client.start()

    @property
    def waiting(self) -> int:
        """Requests that wait for room on a bind."""
        return len(self._turns) if self._turns else 0

    async def bound(self) -> Session:
        """Wait until one bind that can send stands. Raises NotBound when closed."""
        waits = [asyncio.ensure_future(client.bound()) for client in self._senders]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def request(
        self,
        pdu: Pdu,
        timeout: float | None = None,  # noqa: ASYNC109 (a wire's timer)
        *,
        urgent: int = False,
    ) -> Pdu:
        """As `Session.request`, over one bind after the other until it is sent. Raises NotBound while none stands."""
        fault: NotSent | None = None
        while self._turns is not None:
            (session,) = await self._enter(self._turns, urgent)
            if session is None:
                break
            try:
                return await session.request_entered(pdu, timeout, urgent=urgent)
            except NotSent as error:
                fault = error
            if session.transmits:  # it is the request that does not fit
                break
        raise fault or NotBound(f"no bind to the SMSC stands: {self.last_error or 'still connecting'}")

    async def close(self) -> None:
        """Finish what is under way, unbind every bind, and stay away."""
        await asyncio.gather(*(client.close() for client in self._all))

    def statistics(self) -> tuple[BindStatistics, ...]:
        """How each bind stands, and what went over all its sessions."""
        return tuple(
            replace(one, standby=client in self._standby) for client in self._all for one in client.statistics()
        )

    async def _enter(self, turns: Turns[tuple[Session | None]], urgent: int) -> tuple[Session | None]:
        patience = self._patience[urgent > 0]
        try:
            async with asyncio.timeout(patience if patience < inf else None):
                return await turns.get(urgent=urgent)
        except TimeoutError:
            raise NotSent(f"no bind had room within {patience:g} s") from None

    def _offer(self, urgent: bool) -> tuple[float, tuple[Session | None] | None]:
        """A session whose window the request has entered, or the seconds until one has room; none where none stands."""
        standing = [(one.session, one in self._standby) for one in self._senders if one.session is not None]
        standing = [(session, standby) for session, standby in standing if session.transmits]
        if not standing:
            return 0.0, (None,)
        self._turn += 1
        at = self._turn % len(standing)
        ranked = sorted((*standing[at:], *standing[:at]), key=lambda one: (one[1], one[0].window.load))
        soonest = inf
        for session, _ in ranked:
            wait = session.window.take(urgent=urgent)
            if wait == 0.0:
                return 0.0, (session,)
            soonest = min(soonest, wait)
        return soonest, None


def _give_back(got: tuple[Session | None], urgent: bool) -> None:
    if got[0] is not None:
        got[0].window.leave(urgent=urgent)
