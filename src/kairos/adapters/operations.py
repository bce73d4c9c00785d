"""What operations asks of a running kairos and does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from kairos.adapters.status import Status
from kairos.domain.switch import Switch, wrong_name
from kairos.engine.switchboard import Switchboard
from kairos.playbook.playbook import Playbook
from kairos.ports import Clock


class HttpOperations:
    """Its status and its switches, in threads: a store that hangs holds up its own request alone."""

    def __init__(self, switchboard: Switchboard, status: Status, clock: Clock) -> None:
        self.switchboard, self._status, self.clock = switchboard, status, clock

    async def status(self) -> Mapping[str, Any]:
        return await self._status.report()

    def troubles(self) -> Sequence[str]:
        return self._status.troubles()

    def wrong_name(self, name: str) -> str:
        return wrong_name(name, names_of(self.switchboard.engine.program.playbook))

    async def switches(self) -> Sequence[Switch]:
        return await asyncio.to_thread(self.switchboard.store.switches)

    async def switch_history(self, limit: int) -> Sequence[Switch]:
        return await asyncio.to_thread(self.switchboard.store.switch_history, limit)

    async def turn(self, name: str, on: bool, reason: str, who: str) -> Switch:
        switch = Switch(name, on, reason, who, self.clock())
        await asyncio.to_thread(self.switchboard.store.turn_switch, switch)
        await self.switchboard.look()
        return switch


def names_of(playbook: Playbook) -> Mapping[str, tuple[str, ...]]:
    """What the parts of a playbook's marketing may be called in a switch."""
    return {
        "channel": tuple(sorted({t.channel for action in playbook.actions for t in action.treatments})),
        "action": tuple(action.name for action in playbook.actions),
        "issue": tuple(sorted({action.issue for action in playbook.actions})),
    }
