"""The synthetic USSD gateway: kairos binds to it; handsets dial, read screens, press keys, and sometimes go away.

It speaks SMPP with the dialogue's number in the upper bits of `its_session_info` and its end in the lowest. It repeats
a step when told to, as gateways do whose link was lost, and it begins dialogues where kairos asks for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from kairos.smpp import (
    DataSm,
    DeliverSm,
    NotSent,
    Pdu,
    ResponseLost,
    Server,
    Session,
    SessionOptions,
    Status,
    SubmitSm,
    Tag,
    decode,
    encode,
    message_bytes,
    passwords,
    serve,
)

# ussd_service_op: in and out of kairos
PSSR_INDICATION, USSR_CONFIRM, USER_ABORT = 0x01, 0x12, 0x81
USSR_REQUEST, USSN_REQUEST = 0x02, 0x03
ACCOUNT = PASSWORD = "kairos"  # that kairos binds with
MOST = 0x7FFF  # dialogues of one handset that are told apart


@dataclass(frozen=True, slots=True)
class Screen:
    """What a handset shows. `more`: it awaits a key."""

    text: str
    more: bool
    at: float

    def key(self, *labels: str) -> str:
        """The key whose line says one of these, whatever its case; "" where none does."""
        wanted = {label.casefold() for label in labels}
        lines = (line.partition(" ") for line in self.text.split("\n"))
        return next((key for key, _, label in lines if key.isdecimal() and label.casefold() in wanted), "")


@dataclass(slots=True)
class Dialogue:
    """One dialogue of a handset. `pushed`: kairos began it."""

    msisdn: str
    number: int
    service: str
    pushed: bool = False
    screens: list[Screen] = field(default_factory=list)
    refused: str = ""
    ended: bool = False  # for the handset: by its last screen, or because it went away
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def screen(self) -> Screen:
        """The next screen. Put a timeout around it."""
        await self.arrived.wait()
        return self.screens[-1]


class UssdGateway:
    """Listens for kairos; `timer` gives seconds that never go back. `on_pushed` gets dialogues that kairos began."""

    def __init__(
        self,
        timer: Callable[[], float],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_pushed: Callable[[Dialogue], None] = lambda _dialogue: None,
    ) -> None:
        self.port, self._host = port, host
        self._timer, self._on_pushed = timer, on_pushed
        self._server: Server | None = None
        self.numbers = itertools.cycle(range(1, MOST + 1))
        self.dialogues: dict[tuple[str, int], Dialogue] = {}
        self.refusing = 0  # with this status, what kairos begins is refused
        self.unread = 0  # screens for a dialogue that is not there any more
        self.repeated = self.alike = 0  # steps that were brought again, and those that got the same screen

    async def start(self) -> None:
        options = SessionOptions(response_timeout=10.0, window=1000, grace=1.0)
        self._server = await serve(
            self._host, self.port, passwords({ACCOUNT: PASSWORD}), self._handle, options, system_id="synthetic-ussd"
        )
        self.port = self._server.port

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    @property
    def bound(self) -> bool:
        return self._server is not None and any(one.receives for one in self._server.sessions(ACCOUNT))

    # --- what a handset does --------------------------------------------------------------------

    async def dial(self, msisdn: str, code: str) -> Dialogue:
        """Begin a dialogue; returns when kairos has acknowledged it. Its screen comes by itself."""
        dialogue = Dialogue(msisdn, next(self.numbers), code.strip("*#").partition("*")[0])
        self.dialogues[msisdn, dialogue.number] = dialogue
        await self.begin(dialogue, code)
        return dialogue

    async def begin(self, dialogue: Dialogue, code: str) -> None:
        await self.bring(dialogue, PSSR_INDICATION, code)

    async def press(self, dialogue: Dialogue, key: str) -> None:
        await self.bring(dialogue, USSR_CONFIRM, key)

    async def abort(self, dialogue: Dialogue) -> None:
        dialogue.ended = True
        await self.bring(dialogue, USER_ABORT, "")

    async def again(self, dialogue: Dialogue, key: str) -> None:
        """Bring the step of just now once more, as a gateway does that saw no answer; its screen must be the same."""
        before = dialogue.screens[-1].text
        await self.bring(dialogue, USSR_CONFIRM, key)
        self.repeated += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                self.alike += (await dialogue.screen()).text == before

    async def bring(self, dialogue: Dialogue, operation: int, text: str) -> None:
        data_coding, octets = encode(text)
        pdu = DeliverSm(
            service_type="USSD",
            source_addr_ton=1,
            source_addr_npi=1,
            source_addr=dialogue.msisdn,
            destination_addr=dialogue.service,
            data_coding=data_coding,
            short_message=octets,
            tlvs=(
                (Tag.ussd_service_op, bytes((operation,))),
                (Tag.its_session_info, (dialogue.number << 1).to_bytes(2, "big")),
            ),
        )
        dialogue.arrived.clear()
        session = self._server.receiver(ACCOUNT) if self._server is not None else None
        if session is None:
            dialogue.refused = "kairos is not bound"
            return
        with contextlib.suppress(NotSent, ResponseLost):
            response = await session.request(pdu)
            dialogue.refused = "" if response.ok else Status(response.status).name

    # --- what kairos sends ----------------------------------------------------------------------

    async def _handle(self, _session: Session, pdu: Pdu) -> Pdu | None:
        if not isinstance(pdu, SubmitSm | DataSm):
            return pdu.response(Status.ESME_RINVCMDID) if pdu.answer is not None else None
        operation = (pdu.tlv(Tag.ussd_service_op) or b"\0")[-1]
        info = int.from_bytes(pdu.tlv(Tag.its_session_info) or b"\0\0", "big")
        key = (pdu.destination_addr, info >> 1)
        dialogue = self.dialogues.get(key)
        begins = dialogue is None and operation in (USSR_REQUEST, USSN_REQUEST)
        if begins and self.refusing:
            return pdu.response(self.refusing)
        if begins:
            dialogue = self.dialogues[key] = Dialogue(*key, pdu.source_addr, pushed=True)
        if dialogue is None or (dialogue.ended and not begins):
            self.unread += 1
            return pdu.response(Status.ESME_RINVDSTADR if dialogue is None else 0, message_id="0")
        more = operation == USSR_REQUEST and not info & 1
        dialogue.screens.append(Screen(decode(pdu.data_coding, message_bytes(pdu)[1]), more, self._timer()))
        dialogue.ended = False if more else dialogue.ended
        dialogue.arrived.set()
        if begins:
            self._on_pushed(dialogue)
        return pdu.response(message_id=f"u{info}")
