"""Reading what accounts submit: which event a notification announces, and by what a retry of it is known."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

import msgspec
import structlog

from kairos.adapters.first_answers import fingerprint
from kairos.deliver import pdus_of
from kairos.domain.event import Event, Notification
from kairos.domain.message import Carried
from kairos.errors import EventError
from kairos.ingest import Matched, Patterns, refusal
from kairos.ports import Clock
from kairos.smpp import DataSm, SubmitSm, concatenation, encode_pdu, text_of

log = structlog.get_logger("kairos.esme")

RECEIPTS = 0x13  # registered_delivery: a final or an intermediate receipt is asked for (SMPP 3.4, 5.2.17)


@dataclass(frozen=True, slots=True)
class Account:
    """An ESME's rights: `rides` says whether offers ride on its notifications or follow as messages of their own;
    `rides_on_flash`, whether also on those of class 0.
    """

    name: str
    rides: bool = True
    rides_on_flash: bool = False
    identity_tlv: int = 0  # the TLV that names a message, the same on every try; 0: none does
    sends: bool = False  # it is another system's, and none of its messages is a notification


@dataclass(frozen=True, slots=True)
class Came:
    """What an account submitted. `own`: its identity is no fingerprint; `until`: when it has to be answered."""

    account: str
    identity: str
    own: bool
    until: float
    event: Event | None = None
    message_id: str = ""  # that we answer with, where we take it


class Reader:
    """Makes events of PDUs. `unread` is told (account, PDU, text) of what no pattern reads."""

    def __init__(
        self,
        accounts: Sequence[Account],
        patterns: Patterns,
        clock: Clock,
        msisdn: Callable[[str], str],
        unread: Callable[[str, SubmitSm, str], None] = lambda _account, _pdu, _text: None,
    ) -> None:
        self.accounts: Mapping[str, Account] = {account.name: account for account in accounts}
        self.patterns, self.clock, self.msisdn, self.unread = patterns, clock, msisdn, unread
        self.counts: Counter[str] = Counter()

    def came(self, account: str, pdu: SubmitSm | DataSm, until: float) -> Came:
        """What a PDU is. A part of a longer message is no event by itself."""
        said = concatenation(pdu)
        name = self._name(account, [pdu])
        notifies = not said and not self.accounts[account].sends
        event = self._event(account, [pdu], name) if isinstance(pdu, SubmitSm) and notifies else None
        if event and event.notification:
            told = event.notification
            return Came(
                account, told.fingerprint or event.identity, not told.fingerprint, until, event, told.message_id
            )
        if name:
            return Came(account, f"{account}/{name}/{said.part if said else 0}", True, until)
        return Came(account, f"{account}/{fingerprint(pdu)}", False, until)

    def whole(self, account: str, message_id: str, carried: tuple[Carried, ...]) -> Event | None:
        """The event that a notification in several parts announces, in their order; None where no pattern reads it."""
        pdus = pdus_of(carried)
        event = self._event(account, pdus, self._name(account, pdus))
        if event is None or event.notification is None:
            return None
        told = msgspec.structs.replace(event.notification, message_id=message_id, carried=carried, fingerprint="")
        return msgspec.structs.replace(event, notification=told)

    def _name(self, account: str, pdus: Sequence[SubmitSm | DataSm]) -> str:
        tag = self.accounts[account].identity_tlv
        value = next((found for pdu in pdus if tag and (found := pdu.tlv(tag))), b"")
        return f"tlv:{value.hex()}" if value else ""

    def _event(self, account: str, pdus: Sequence[SubmitSm], name: str) -> Event | None:
        try:
            text = text_of(pdus)
            matched = self.patterns.match(account, text)
            if matched is None:
                self.unread(account, pdus[0], text)
                return None
            return self._read(account, pdus, text, matched, matched.id or name)
        except EventError:
            return None
        except Exception:  # whatever breaks, the notification must go out
            log.exception("a notification could not be read", account=account)
            return None

    def _read(self, account: str, pdus: Sequence[SubmitSm], text: str, matched: Matched, reference: str) -> Event:
        first = pdus[0]
        msisdn = self.msisdn(first.destination_addr)
        identity = f"{account}/{msisdn}/{reference or uuid4().hex}"
        message_id = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
        now = self.clock()
        notification = Notification(
            account=account,
            message_id=message_id,
            source=first.source_addr,
            destination=first.destination_addr,
            text=text,
            language=matched.language,
            receipt=any(pdu.registered_delivery & RECEIPTS for pdu in pdus),
            rides=self._rides(account, pdus, now),
            carried=(Carried(message_id, encode_pdu(first, 0)),),
            fingerprint="" if reference else f"{account}/{fingerprint(first)}",
        )
        return Event(identity, matched.kind, msisdn, now, matched.data, notification)

    def _rides(self, account: str, pdus: Sequence[SubmitSm], now: int) -> bool:
        """Whether a line may go with it: the account permits it, and the message can carry it."""
        permits = self.accounts[account]
        if not permits.rides:
            return False
        found = (refusal(pdu, now, flash=permits.rides_on_flash) for pdu in pdus)
        reason = next(filter(None, found), "")
        if reason:
            self.counts[f"no_line.{reason}"] += 1
        return not reason
