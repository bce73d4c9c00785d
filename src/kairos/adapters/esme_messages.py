"""What accounts ask about messages that they submitted: query_sm, cancel_sm, replace_sm, under the ids that they know.

What the SMSC has is asked of the SMSC, under its own id; what still waits with us is answered from the outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import msgspec
import structlog

from kairos.domain.channel import NOTIFICATION
from kairos.domain.message import Outgoing, Text
from kairos.domain.passage import Passage, Stand
from kairos.errors import KairosError
from kairos.ports import Store
from kairos.smpp import CancelSm, MessageState, Pdu, QuerySm, QuerySmResp, ReplaceSm, SmppError, Status

log = structlog.get_logger("kairos.esme")

PAGE = 1000
PAGES = 20  # of what waits, among which the id of a part is looked for
FAILED = {
    QuerySm: Status.ESME_RQUERYFAIL,
    CancelSm: Status.ESME_RCANCELFAIL,
    ReplaceSm: Status.ESME_RREPLACEFAIL,
}

# How a message of another system stands, as query_sm tells it.
STATES: Mapping[Stand, MessageState] = {
    "accepted": MessageState.ENROUTE,
    "delayed": MessageState.ENROUTE,
    "sent": MessageState.ENROUTE,
    "merged": MessageState.ENROUTE,
    "refused": MessageState.REJECTED,
    "expired": MessageState.EXPIRED,
    "cancelled": MessageState.DELETED,
    "delivered": MessageState.DELIVERED,
    "failed": MessageState.UNDELIVERABLE,
}

_text = msgspec.msgpack.Decoder(Text).decode

Ask = QuerySm | CancelSm | ReplaceSm


@dataclass(frozen=True, slots=True)
class Found:
    """Where a message is: with the SMSC under `peer_id`, or in an outbox row. Of another system: its record, too."""

    peer_id: str = ""
    row: Outgoing | None = None
    passage: Passage | None = None


class Messages:
    """Answers about messages. `ours(account, id)`: forwarded lately; `withdraw`: take a row back unsent."""

    def __init__(
        self,
        store: Store,
        request: Callable[[Pdu], Awaitable[Pdu]],
        ours: Callable[[str, str], bool],
        withdraw: Callable[[int], Awaitable[bool]],
        take_out: Callable[[Passage], Awaitable[bool]] | None = None,
    ) -> None:
        self.store, self.request, self.ours, self.withdraw = store, request, ours, withdraw
        self.take_out = take_out  # another system's message that waits
        self._looking = asyncio.Lock()  # one at a time: who asks much must not hold up the commits and reads of others

    async def asked(self, pdu: Ask, account: str) -> Pdu:
        """The answer. Unknown, and other accounts' messages: ESME_RINVMSGID; no answer to be had: the failure's own."""
        if not pdu.message_id:  # "all to this number": others' are among them
            return pdu.response(FAILED[type(pdu)])
        try:
            async with self._looking:
                found = await asyncio.to_thread(self._find, account, pdu.message_id)
            if found is None:
                return pdu.response(Status.ESME_RINVMSGID)
            if found.peer_id:
                return await self._of_the_smsc(pdu, found.peer_id)
            if found.passage:
                return await self._of_others(pdu, found.passage)
            assert found.row is not None
            return await self._of_the_outbox(pdu, found.row)
        except (SmppError, KairosError) as error:
            log.warning("no answer about a message", account=account, reason=str(error))
            return pdu.response(FAILED[type(pdu)])

    async def _of_the_smsc(self, pdu: Ask, peer_id: str) -> Pdu:
        response = await self.request(replace(pdu, sequence=0, message_id=peer_id))
        if type(response) is not pdu.answer:
            return pdu.response(response.status or FAILED[type(pdu)])
        if response.ok and isinstance(response, QuerySmResp):
            return replace(response, sequence=pdu.sequence, message_id=pdu.message_id)
        return replace(response, sequence=pdu.sequence)

    async def _of_the_outbox(self, pdu: Ask, row: Outgoing) -> Pdu:
        waits = row.status in ("pending", "sending")
        if isinstance(pdu, QuerySm):
            state = MessageState.ENROUTE if waits else MessageState.UNDELIVERABLE
            return pdu.response(message_id=pdu.message_id, message_state=int(state))
        if isinstance(pdu, CancelSm) and waits and await self.withdraw(row.id):
            return pdu.response()
        return pdu.response(FAILED[type(pdu)])

    async def _of_others(self, pdu: Ask, passage: Passage) -> Pdu:
        if isinstance(pdu, QuerySm):
            return pdu.response(message_id=pdu.message_id, message_state=int(STATES[passage.stand]))
        if isinstance(pdu, CancelSm) and passage.stand == "delayed" and self.take_out and await self.take_out(passage):
            return pdu.response()
        return pdu.response(FAILED[type(pdu)])

    def _passage(self, passage: Passage) -> Found:
        """Where it is; what was merged is where the message is that it was merged into, for who asks only."""
        into = self.store.passage(passage.why) if passage.stand == "merged" else None
        if into:
            return Found(passage=msgspec.structs.replace(passage, stand=into.stand))
        rows = self.store.outgoing([passage.outgoing]) if passage.stand == "sent" else []
        return Found(rows[0].peer_id if rows else "", passage=passage)

    def _find(self, account: str, message_id: str) -> Found | None:
        if self.ours(account, message_id):
            return Found(message_id)
        if passage := self.store.passage(message_id):
            return self._passage(passage) if passage.sender == account else None
        told = self.store.answered(account, message_id)
        if told:
            return Found(told.peer_id)
        row = self.store.notification(message_id) or self._waiting(message_id)
        text = _text(row.payload) if row else None
        if row is None or text is None or text.account != account:
            return None
        ids = [one.message_id for one in text.carried] or [text.message_id]
        return Found(row.peer_id if message_id == ids[-1] else "", row)

    def _waiting(self, message_id: str) -> Outgoing | None:
        """A message in several parts that waits, by a part that is not the one that completed it."""
        after = 0
        for _ in range(PAGES):
            rows = self.store.unsent(after, PAGE)
            for row in rows:
                if row.channel == NOTIFICATION and message_id in _ids(row):
                    return row
            if len(rows) < PAGE:
                return None
            after = rows[-1].id
        return None


def _ids(row: Outgoing) -> list[str]:
    return [one.message_id for one in _text(row.payload).carried]
