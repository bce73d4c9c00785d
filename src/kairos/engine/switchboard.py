"""Looking at the switches: other processes turn them in the store, and within a second or two they hold here."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from kairos.domain.switch import CHARGING, MARKETING, UNREAD, Switch, Switches
from kairos.engine.dispatch import Dispatcher
from kairos.engine.engine import Engine
from kairos.ports import Store

log = structlog.get_logger("kairos.switches")


class Switchboard:
    """Turns an engine and its dispatcher as the store says. Until the first look, marketing is off.

    `every`: seconds between looks. `patience`: a look that takes longer counts as none, and marketing is off until one
    succeeds; charging stays as it was last known.
    """

    def __init__(
        self, store: Store, engine: Engine, dispatcher: Dispatcher, *, every: float = 1.0, patience: float = 10.0
    ) -> None:
        self.store, self.engine, self.dispatcher = store, engine, dispatcher
        self.every, self.patience = every, patience
        self.trouble = "they were not looked at yet"  # why nobody knows how they stand; empty where somebody does
        self._looked = asyncio.Event()
        self._said: dict[str, Switch] = {}
        self._take(UNREAD)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self.every)

    async def looked(self, within: float) -> None:
        """Wait for the first look, so many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._looked.wait()

    async def look(self) -> None:
        """Look now, in a thread: a store that hangs holds up nothing. Returns with the store's answer."""
        looking = asyncio.ensure_future(asyncio.to_thread(self.store.switches))
        done, _ = await asyncio.wait({looking}, timeout=self.patience)
        if not done:
            self._fail(f"no answer for {self.patience:.0f} s")
        try:
            found = await looking
        except Exception as error:  # whatever it is, nobody knows how the switches stand
            self._fail(str(error) or repr(error))
            self._looked.set()
            return
        self._looked.set()
        if self.trouble and self._said:
            log.info("the switches are read again")
        self.trouble = ""
        self._take(Switches({switch.name: switch for switch in found if not switch.on}))
        self._say(found)

    def _fail(self, why: str) -> None:
        if why != self.trouble:
            log.error("the switches cannot be read: marketing is off until they are", reason=why)
        self.trouble = why
        self._take(Switches(self.engine.switches.off, read=False))

    def _take(self, switches: Switches) -> None:
        self.engine.turn(switches)
        if switches.charging:
            self.dispatcher.charging.set()
        else:
            self.dispatcher.charging.clear()

    def _say(self, found: list[Switch]) -> None:
        """Log what was turned since the last look; at the start, what is off."""
        for switch in found:
            known = self._said.get(switch.name)
            if switch != known and (known or not switch.on):
                self._log(switch)
        self._said = {switch.name: switch for switch in found}

    @staticmethod
    def _log(switch: Switch) -> None:
        grave = switch.name in (MARKETING, CHARGING) and not switch.on
        word = "on" if switch.on else "off"
        (log.warning if grave else log.info)(
            f"switched {word}", switch=switch.name, reason=switch.reason, who=switch.who, at=switch.at
        )
