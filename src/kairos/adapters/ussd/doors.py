"""The gateways of one kairos together: what they share, their start and end, and the way of what we begin."""

from __future__ import annotations

from collections import Counter

from kairos.adapters.ussd.dialogues import Dialogues
from kairos.adapters.ussd.http import HttpSystems, HttpUssd, XmlPush
from kairos.adapters.ussd.smpp import UssdSmpp
from kairos.domain.message import Text
from kairos.ports import Outcome


class UssdDoors:
    """A Channel of dialogues that we begin, where a gateway does that for us."""

    def __init__(
        self,
        dialogues: Dialogues,
        http: HttpUssd,
        smpp: UssdSmpp | None,
        xml: XmlPush | None,
        systems: HttpSystems,
        *,
        pushes: bool,
    ) -> None:
        self.dialogues, self.http, self.smpp, self.xml, self.systems = dialogues, http, smpp, xml, systems
        self._push: XmlPush | UssdSmpp | None = (xml or smpp) if pushes else None

    async def send(self, text: Text) -> Outcome:
        if self._push is None:
            return Outcome("failed", reason="no USSD gateway begins dialogues: see `push` of [ussd]")
        return await self._push.send(text)

    async def start(self) -> None:
        if self.smpp:
            await self.smpp.client.start()

    async def run(self) -> None:
        """Until cancelled."""
        await self.dialogues.run()

    async def close(self) -> None:
        if self.smpp:
            await self.smpp.close()
        if self.xml:
            await self.xml.close()
        await self.systems.close()

    def gauges(self) -> dict[str, float]:
        counted = self.dialogues.counts + (self.smpp.counts if self.smpp else Counter())
        figures = {f"ussd.{name}": float(count) for name, count in counted.items()}
        bound = {"ussd_bound": float(self.smpp.client.session is not None)} if self.smpp else {}
        return figures | {"ussd.open": float(self.dialogues.open)} | bound
