"""What operations asks of a running kairos and does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from kairos.adapters.explanations import plain
from kairos.adapters.status import Status
from kairos.domain.event import Event
from kairos.domain.switch import Switch, wrong_name
from kairos.engine.explain import Explainer
from kairos.engine.loop import Loop
from kairos.engine.switchboard import Switchboard
from kairos.engine.trials import TRIAL
from kairos.errors import EventError
from kairos.ingest import normalise
from kairos.playbook.playbook import Playbook


class HttpOperations:
    """Its status and its switches, in threads: a store that hangs holds up its own request alone."""

    def __init__(self, switchboard: Switchboard, status: Status, loop: Loop, explainer: Explainer, region: str) -> None:
        self.switchboard, self._status, self.loop, self.explainer = switchboard, status, loop, explainer
        self.region, self.clock = region, loop.clock

    async def status(self) -> Mapping[str, Any]:
        return await self._status.report()

    def troubles(self) -> Sequence[str]:
        return self._status.troubles()

    async def trial(self, msisdn: str, offer: str, past_switches: bool) -> Any:
        number = normalise(msisdn, self.region)
        event = Event(f"trial/{uuid4().hex}", TRIAL, number, self.clock(), {}, trial=offer, past_switches=past_switches)
        answer = await self.loop.submit(event)
        if answer.status != "applied":
            raise EventError(answer.reason)
        found = await asyncio.to_thread(self.explainer.decision, answer.decision)
        return plain(found) if found else {"decision": answer.decision}

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
