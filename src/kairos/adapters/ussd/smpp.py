"""A USSD gateway that speaks SMPP: steps come as deliver_sm, screens go as submit_sm, and we may begin ourselves."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

import structlog
from msgspec.structs import replace

from kairos.adapters.smpp_attempt import attempt
from kairos.adapters.ussd.dialogues import MOST, Dialogues
from kairos.domain.message import Text
from kairos.errors import EventError, KairosError
from kairos.ports import Outcome
from kairos.smpp import (
    TEMPORARY,
    DataSm,
    DeliverSm,
    Handler,
    Link,
    Pdu,
    Session,
    SmppError,
    Status,
    parse_receipt,
    status_name,
)
from kairos.ussd import Heard, Show
from kairos.ussd.profiles import Line, Profile, heard, shown

log = structlog.get_logger("kairos.ussd")

GATEWAY: Final = "smpp"


class UssdSmpp:
    """An ESME's bind on the gateway, in the words of one profile. `address`: ours, where we begin. `chance`: for the
    first number that we begin under, so that those of before a restart do not come again at once."""

    def __init__(
        self,
        client: Callable[[Handler], Link],
        dialogues: Dialogues,
        profile: Profile,
        address: str = "",
        chance: Callable[[int], int] = random.randrange,
    ) -> None:
        self.client = client(self.handle)
        self.dialogues, self.profile, self.address = dialogues, profile, address
        self.counts: Counter[str] = Counter()
        self._numbers = chance(profile.session.most)
        self._began: dict[str, Line] = {}  # by the key of a dialogue that we began: as it was sent
        # of a gateway that renumbers: what stood lately under a number (a key of ours; empty: they dialled), and when
        self._under: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle(self, _session: Session, pdu: Pdu) -> Pdu:
        """Take a step: acknowledged when what it said is done and safe; its screen goes out after that."""
        if not isinstance(pdu, DeliverSm | DataSm):
            return pdu.response(Status.ESME_RINVCMDID)
        if parse_receipt(pdu):
            return pdu.response()
        found = heard(self.profile, pdu)
        if found is None:
            return pdu.response()
        said, line = found
        key = f"{GATEWAY}:{said.session}"
        if self.profile.renumbers and key not in self._began and (ours := self._ours(said, line)):
            key, said = ours, _renamed(said, ours)
        pushed = key in self._began
        try:
            show = await self.dialogues.hear(GATEWAY, said)
        except EventError as error:
            log.warning("a step was refused", reason=str(error))
            return pdu.response(Status.ESME_RINVSRCADR)
        except KairosError as error:
            log.warning("not taken", reason=str(error))
            return pdu.response(Status.ESME_RX_T_APPN)
        if said.kind in ("abort", "timeout") or not show.more:
            self._began.pop(key, None)
        if said.kind in ("begin", "input"):
            task = asyncio.create_task(self._show(line, show, said.step, pushed=pushed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return pdu.response()

    async def send(self, text: Text) -> Outcome:
        """Begin a dialogue with an offer, or only tell something."""
        line = self._line(text)
        key = f"{GATEWAY}:{line.session}"

        async def bring(show: Show) -> Outcome:
            if show.more:
                self._remember(key, line)
            outcome = await self._pushed(line, show)
            if outcome.status in ("retry", "failed"):
                self._began.pop(key, None)
            return outcome

        return await self.dialogues.begin(key, text, bring)

    async def close(self) -> None:
        await self.client.close()

    def _line(self, text: Text) -> Line:
        """Under a number that no dialogue of theirs has, or had a short while ago: a late key of it answers nothing."""
        while True:
            self._numbers = self._numbers % self.profile.session.most + 1
            line = Line(text.destination, self.address or text.source, self._numbers)
            if not self.dialogues.knows(f"{GATEWAY}:{line.session}"):
                return line

    def _ours(self, said: Heard, line: Line) -> str:
        """A dialogue that we began with them, and that the gateway has given a number of its own: nobody dialled it.

        A late key of one that they dialled, or of another that we began, must not answer it.
        """
        now = self.dialogues.clock()
        while self._under and (len(self._under) > MOST or self._over(now)):
            self._under.popitem(last=False)
        known, _ = self._under.pop(line.session, (None, 0))
        key = self.dialogues.of(line.msisdn)
        ours = key if key in self._began else ""
        under = "" if said.kind == "begin" else ours if known is None else known
        if under or known is not None or said.kind == "begin":
            self._under[line.session] = under, now
        return ours if under == ours else ""

    def _over(self, now: int) -> bool:
        """Whether what was heard of longest ago ended by itself, and its late keys are past, too."""
        return next(iter(self._under.values()))[1] <= now - 2 * self.dialogues.ttl

    def _remember(self, key: str, line: Line) -> None:
        self._began[key] = line
        if len(self._began) > 2 * self.dialogues.open + 100:  # some were abandoned
            self._began = {one: known for one, known in self._began.items() if self.dialogues.of(known.msisdn) == one}

    async def _pushed(self, line: Line, show: Show) -> Outcome:
        def meaning(response: Pdu) -> Outcome:
            if response.ok:
                return Outcome("sent", getattr(response, "message_id", ""))
            reason = status_name(response.status)
            return Outcome("retry" if response.status in TEMPORARY else "failed", reason=reason)

        return await attempt(self.client.request(shown(self.profile, line, show, 1, pushed=True)), meaning)

    async def _show(self, line: Line, show: Show, step: int, *, pushed: bool) -> None:
        """A screen that is not taken is not sent again: the gateway asks again, or the subscriber dials."""
        screen = max(step, 0) + 1
        try:
            response = await self.client.request(shown(self.profile, line, show, screen, pushed=pushed), urgent=True)
        except SmppError as error:
            self.counts["unshown"] += 1
            log.warning("a screen was not shown", reason=str(error))
            return
        self.counts["shown" if response.ok else "unshown"] += 1
        if not response.ok:
            log.warning("a screen was refused", reason=status_name(response.status))


def _renamed(said: Heard, key: str) -> Heard:
    return replace(said, session=key.removeprefix(f"{GATEWAY}:"))
