"""Messages of other systems over HTTP (TMF681), and what they are told of them. docs/gateway.md"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
import structlog

from kairos.adapters.esme import Esmes
from kairos.adapters.hubs import Hubs, hub_event
from kairos.adapters.rfc3339 import iso
from kairos.adapters.senders import PARTS_AT_MOST, Sender
from kairos.domain.message import Carried, Text
from kairos.domain.passage import (
    EMERGENCY,
    FINAL,
    Asked,
    Communication,
    Handed,
    Hub,
    Passage,
    Stand,
    Withdrawal,
    told_why,
)
from kairos.engine.loop import Loop, Submission
from kairos.errors import EventError, ForbiddenError, KairosError, StoreError
from kairos.ports import Outcome, Store
from kairos.smpp import TextError, measure

log = structlog.get_logger("kairos.gateway")

PATH: Final = "/tmf-api/communicationManagement/v4/communicationMessage"
EVENT: Final = "CommunicationMessageStateChangeEvent"
SCANNED: Final = 5_000  # messages that a list looks at, the newest
AT_ONCE: Final = 100  # of these in one read
PATIENCE: Final = 10.0  # seconds: a decision about what is not urgent
SENT_PLAIN: Final = "sent plain: nothing could be decided or kept"
ARRIVED: Final = frozenset({"sent", "delivered", "merged"})

Resource = dict[str, Any]


class Gateway:
    """What the HTTP door asks for other systems. `send`: a text to the SMSC, past a store that is down."""

    def __init__(
        self,
        loop: Loop,
        store: Store,
        senders: Mapping[str, Sender],
        msisdn: Callable[[str], str],
        send: Callable[[Text], Awaitable[Outcome]],
        decide_within: float,
    ) -> None:
        self.loop, self.store, self.senders, self.msisdn = loop, store, senders, msisdn
        self.send, self.decide_within = send, decide_within
        self.locked = False
        self.hubs = Hubs(store, loop.clock, (EVENT,), self._may_be_told, changed=self._listen_to)
        self.callbacks = Callbacks(self.hubs, self.shown)

    def wire(self, esmes: Esmes, merge_within: int, *, locked: bool = False) -> None:
        """Tell the engine who sends, who listens, and how long a text is known. `locked`: who calls has a name."""
        self.locked, engine = locked, self.loop.engine
        engine.senders, engine.merge_within = frozenset(self.senders), merge_within

        def whole(account: str, key: str, parts: tuple[Carried, ...]) -> Any:
            read = esmes.submissions.whole if account in self.senders else esmes.reader.whole
            return read(account, key, parts)

        engine.read_whole = whole
        self.hubs.open()

    async def close(self) -> None:
        await self.hubs.close()

    # -- messages ------------------------------------------------------------------------------------------------------

    async def create(self, client: str, key: str, asked: Asked, document: Mapping[str, Any]) -> Resource:
        """Hand a message over; with the same `key` again it is the same one. Answered when it is kept, and decided.

        Raises EventError for what is wrong with it, ForbiddenError for what this client may not send, and KairosError
        where that cannot be now.
        """
        sender, now = self._sender(client, asked.source), self.loop.clock()
        sends = asked.sends or sender.sends[0]
        if sends not in sender.sends:
            raise ForbiddenError(f"`{sender.name}` may not send `{sends}`: it sends {' '.join(sender.sends)}")
        later = asked.not_before if asked.not_before > now else 0
        until = min(asked.until or 2**62, (later or now) + sender.validity)
        if until <= max(now, later):
            raise EventError("its validity ends before it could be sent", "characteristic")
        self._measure(asked.content)
        numbers = self._numbers(asked.receivers)
        id_ = blake2b(f"{sender.name}/{key}".encode(), digest_size=16).hexdigest() if key else uuid.uuid4().hex
        communication = Communication(id_, sender.name, now, now, dict(document))
        messages = [
            Handed(
                f"{id_}.{place}",
                sender.name,
                number,
                asked.source,
                asked.content,
                sends,
                now,
                until,
                later,
                id_,
                priority=min(asked.priority, sender.priority),
                tries=asked.tries,
            )
            for place, number in enumerate(numbers, 1)
        ]
        try:
            return await self._handed(communication, messages)
        except KairosError:
            if not messages[0].always:
                raise
            return await self._plain(communication, messages)

    async def _handed(self, communication: Communication, messages: Sequence[Handed]) -> Resource:
        known = await asyncio.to_thread(self.store.communication, communication.id)
        if known and known.gone:
            raise EventError("a message of this key was deleted", "Idempotency-Key")
        there = {one.key for one in await asyncio.to_thread(self.store.passages, communication.id)} if known else ()
        wanted = [one for one in messages if one.key not in there]
        always = messages[0].always
        posted = [] if known else [self.loop.post(communication, regulated=always)]
        posted += [self.loop.post(one, regulated=always) for one in wanted]
        for one in posted:  # the first that fails is told; the others may be waited for no more
            one.let_go()
        if posted:
            patience = self.decide_within if always else PATIENCE
            await asyncio.wait([one.answer for one in posted], timeout=patience)
        if not all(one.answer.done() for one in posted):
            if always:
                return await self._overtake(communication, messages, posted)
            raise StoreError("it was not decided in time; send it again")
        for one in posted:
            if error := one.answer.exception():
                raise error if isinstance(error, KairosError) else StoreError("it could not be decided")
        return await asyncio.to_thread(self._resource, known or communication)

    async def _overtake(
        self, communication: Communication, messages: Sequence[Handed], posted: Sequence[Submission]
    ) -> Resource:
        """Too slow for what always goes out: it goes out plain, and what was queued is withdrawn."""
        late = {one.input.key: one for one in posted if isinstance(one.input, Handed) and not one.answer.done()}
        overtaken = asyncio.get_running_loop().create_future()
        for submission in late.values():
            submission.overtaken = overtaken
        sent: Resource | None = None
        try:
            sent = await self._plain(communication, [one for one in messages if one.key in late])
        finally:
            overtaken.set_result(sent is not None)
        return sent

    async def _plain(self, communication: Communication, messages: Sequence[Handed]) -> Resource:
        """Past the store. Raises KairosError where nobody could be reached."""
        outcomes = await asyncio.gather(*(self.send(_plain(one)) for one in messages))
        if messages and not any(outcome.status == "sent" for outcome in outcomes):
            raise StoreError("it could be neither kept nor sent; send it again")
        log.warning("sent plain", sender=communication.client, messages=len(messages))
        stands: list[Passage] = [
            _stands_at(one, "sent" if outcome.status == "sent" else "failed", self.loop.clock())
            for one, outcome in zip(messages, outcomes, strict=True)
        ]
        return self._as_resource(communication, stands)

    def _sender(self, client: str, source: str) -> Sender:
        """Whose message it is: the client's, or (a door without locks) of whoever has that sender id."""
        if client:
            sender = self.senders.get(client)
            if sender is None:
                raise ForbiddenError(f"`{client}` is no sender: the settings have no [senders.{client}]")
        else:
            sender = next((one for one in self.senders.values() if source in one.ids), None)
        if sender is None or source not in sender.ids:
            whose = f"of `{client}`" if client else "of anybody"
            raise ForbiddenError(f"`{source[:60]}` is no sender id {whose}")
        return sender

    def _numbers(self, written: Iterable[str]) -> list[str]:
        found = []
        for place, number in enumerate(written):
            try:
                found.append(self.msisdn(number))
            except EventError as error:
                raise EventError(f"`receiver[{place}].phoneNumber`: {error}", "receiver") from None
        return list(dict.fromkeys(found))

    def _measure(self, content: str) -> None:
        try:
            parts = measure(content).parts
        except TextError as error:
            raise EventError(f"`content` cannot be sent: {error}", "content") from None
        if parts > PARTS_AT_MOST:
            raise EventError(f"`content` is {parts} SMS long; {PARTS_AT_MOST} are the most", "content")

    async def message(self, client: str, id_: str) -> Resource | None:
        """One message of a client's, with how it stands."""
        found = await asyncio.to_thread(self._known, client, id_)
        return await asyncio.to_thread(self._resource, found) if found else None

    async def messages(
        self, client: str, holds: Callable[[Resource], bool], offset: int, limit: int
    ) -> tuple[list[Resource], bool]:
        """A page of those that hold, the newest first; and whether these are all that there are from `offset` on."""
        found: list[Resource] = []
        before = scanned = 0
        while scanned < SCANNED:
            page, before = await asyncio.to_thread(self.store.communications, client, before, AT_ONCE)
            scanned += len(page)
            shown = await asyncio.to_thread(self._resources, page)
            found += [one for one in shown if holds(one)]
            if len(found) > offset + limit or not before:
                break
        return found[offset : offset + limit], not before and len(found) <= offset + limit

    async def change(self, client: str, id_: str, changes: Mapping[str, Any]) -> Resource | None:
        """Change what may still be changed; None where there is no such message."""
        known = await asyncio.to_thread(self._known, client, id_)
        if known is None:
            return None
        await self.loop.submit(
            msgspec.structs.replace(known, document={**known.document, **changes}, changed=self.loop.clock()), own=True
        )
        return await self.message(client, id_)

    async def cancel(self, client: str, id_: str) -> int | None:
        """Take back what waits; to how many it will not go. None where there is no such message."""
        known = await asyncio.to_thread(self._known, client, id_)
        if known is None:
            return None
        passages = await asyncio.to_thread(self.store.passages, id_)
        taken = [await take_out(self.loop, one) for one in passages if one.stand == "delayed"]
        return sum(taken)

    async def delete(self, client: str, id_: str) -> bool:
        """Take back what waits, and show the message no more; what went out stays on record."""
        known = await asyncio.to_thread(self._known, client, id_)
        if known is None:
            return False
        await self.cancel(client, id_)
        await self.loop.submit(msgspec.structs.replace(known, gone=True, changed=self.loop.clock()), own=True)
        return True

    def _known(self, client: str, id_: str) -> Communication | None:
        found = self.store.communication(id_)
        return found if found and not found.gone and client in ("", found.client) else None

    def shown(self, id_: str) -> Resource | None:
        """One message, for whoever listens."""
        found = self.store.communication(id_)
        return self._resource(found) if found else None

    def _resource(self, communication: Communication) -> Resource:
        return self._as_resource(communication, self.store.passages(communication.id))

    def _resources(self, communications: Sequence[Communication]) -> list[Resource]:
        return [self._resource(one) for one in communications]

    def _as_resource(self, communication: Communication, passages: Sequence[Passage]) -> Resource:
        return resource(communication, passages, self.loop.clock(), self._number)

    def _number(self, written: str) -> str:
        try:
            return self.msisdn(written)
        except EventError:
            return ""

    # -- who listens ---------------------------------------------------------------------------------------------------

    def _may_be_told(self, client: str) -> Iterator[str]:
        """Where a client's listeners may be; who came by an open door hears nobody behind a lock."""
        if client or not self.locked:
            for name in [client] if client else self.senders:
                yield from self.senders[name].callbacks if name in self.senders else ()

    def _listen_to(self, listeners: Iterable[Hub]) -> None:
        found: dict[str, tuple[Hub, ...]] = {}
        for one in listeners:
            found[one.client] = (*found.get(one.client, ()), one)
        self.loop.engine.listeners = found


class Callbacks:
    """A Channel to those who listen: one POST for each change, with the message as it is by now."""

    def __init__(self, hubs: Hubs, shown: Callable[[str], Resource | None]) -> None:
        self.hubs, self.shown = hubs, shown

    async def send(self, text: Text) -> Outcome:
        line = self.hubs.line(text.source)
        if line is None:
            return Outcome("failed")  # it listens no more: nobody is owed this
        try:
            message = await asyncio.to_thread(self.shown, text.message_id)
        except KairosError as error:
            return Outcome("retry", reason=str(error))
        if message is None:
            return Outcome("failed")
        news = msgspec.json.decode(text.text)
        id_ = f"{news['key']}-{news['stand']}-{news['at']}"
        return await line.post(hub_event(id_, EVENT, iso(news["at"]), "communicationMessage", message))


async def take_out(loop: Loop, passage: Passage) -> bool:
    """Take back a message that waits for its time; whether it did."""
    about = Withdrawal(passage.key, passage.sender, passage.subscriber, loop.clock())
    return (await loop.submit(about, own=True)).status == "applied"


def _plain(handed: Handed) -> Text:
    return Text(
        handed.source,
        handed.msisdn,
        handed.text,
        account=handed.sender,
        message_id=handed.key,
        purpose=handed.purpose,
        passage=handed.key,
        send_by=handed.until,
        priority=handed.priority,
        emergency=handed.sends == EMERGENCY,
    )


def _stands_at(handed: Handed, stand: Stand, now: int) -> Passage:
    return Passage(
        handed.key,
        handed.sender,
        handed.communication,
        0,
        handed.msisdn,
        handed.source,
        handed.sends,
        stand,
        now,
        SENT_PLAIN,
        changed=now,
        valid=handed.until,
    )


def resource(
    communication: Communication, passages: Sequence[Passage], now: int, msisdn: Callable[[str], str]
) -> Resource:
    """A communicationMessage as TMF681 has it; how it stands with each receiver is beside the number."""
    by_number = {one.msisdn: one for one in passages}
    shown = dict(communication.document)
    changed = max((one.changed for one in passages), default=communication.changed)
    shown |= {
        "id": communication.id,
        "href": f"{PATH}/{communication.id}",
        "state": state_of(passages, now),
        "lastUpdate": iso(max(changed, communication.changed)),
        "receiver": [
            {**one, **_told(by_number.get(msisdn(str(one["phoneNumber"]))))} for one in shown.get("receiver", [])
        ],
    }
    if passages and all(_ended(one, now) for one in passages):
        shown["sendTimeComplete"] = iso(changed)
    return shown


def _told(passage: Passage | None) -> Resource:
    """How it stands, why, and until when."""
    told: Resource = {"status": passage.stand if passage else "accepted"}
    if passage and passage.why:
        told["statusReason"] = told_why(passage.stand, passage.why, passage.until)
    if passage and passage.until > 0:
        told["statusUntil"] = iso(passage.until)
    return told


def _ended(passage: Passage, now: int) -> bool:
    """Whether nothing more can become of it; what no receipt comes of has its end, too."""
    return passage.stand in FINAL or (passage.stand == "sent" and passage.valid < now)


def state_of(passages: Sequence[Passage], now: int) -> str:
    """TMF681's state of a message, of how it stands with its receivers.

    >>> state_of([], 0)
    'initial'
    """
    stands = {one.stand for one in passages}
    if not all(_ended(one, now) for one in passages) or not passages:
        return "inProgress" if stands - {"accepted", "delayed"} else "initial"
    if stands & ARRIVED:
        return "completed"
    return "cancelled" if stands == {"cancelled"} else "failed"
