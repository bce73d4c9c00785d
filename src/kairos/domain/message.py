"""What leaves kairos: messages and orders, written in the transaction that decided them and sent after it."""

from __future__ import annotations

from msgspec import Struct


class Carried(Struct, frozen=True, array_like=True, gc=False):
    """A PDU of an account, or for one: `pdu` is its octets (SMPP 3.4, section 4) with sequence number 0."""

    message_id: str  # the id that the account knows it by
    pdu: bytes


class Text(Struct, frozen=True, array_like=True, gc=False):
    """A text message to a handset (channel `notification`, `sms`), or to any other address that a subscriber has on a
    channel, or relayed to another service (`relay`).

    A `notification` is sent at least once; what carries only an offer at most once (`marketing`), and never after
    `send_by` (0: no limit).
    """

    source: str
    destination: str
    text: str
    marketing: bool = False
    send_by: int = 0
    offer: str = ""  # key of the open offer that it carries
    decision: int = 0
    account: str = ""  # whose notification it is, and where a relayed reply goes
    message_id: str = ""  # the id that the account knows it by
    receipt: bool = False
    plain: str = ""  # the notification as it came, without our line; empty where it has none
    carried: tuple[Carried, ...] = ()  # the account's own PDUs, in the order of their parts: all their fields go out
    action: str = ""  # of the offer that it carries: what switches and freezes stop it by
    issue: str = ""
    past_switches: bool = False  # a tester asked for it though switches are off
    purpose: str = ""  # of what it says of ours; empty: marketing
    template_id: str = ""  # of what it says of ours, as the regulator knows it
    entity_id: str = ""  # and its sender's
    msisdn: str = ""  # whose it is, where the destination is another address of theirs
    subject: str = ""
    html: str = ""
    media: str = ""  # the name of a file that goes with it
    reply_in: str = ""  # the language of its choices, where a dialogue asks for a yes or no; of what is no SMS, its own
    instead: str = ""  # the channel that it goes out on where a dialogue surely never reached the handset
    passage: str = ""  # the key of another system's message; `account` is its sender
    priority: int = 0  # its priority_flag (SMPP 3.4, 5.2.14)
    tries: int = 0  # attempts, at most; 0: as many as there is time for
    emergency: bool = False  # it goes before everything else


class Order(Struct, frozen=True, array_like=True, gc=False):
    """One call to the charging system (channel `ocs`): a whole order, or one step of it.

    `key` is its Idempotency-Key: at most one effect, ever.
    """

    key: str
    msisdn: str
    product: str
    price: int  # minor units
    currency: str
    charges: bool
    action: str
    variant: str
    step: str = "order"  # else reserve, charge, provision, confirm, release, refund, deprovision
    purchase: str = ""  # the key that all steps of it share
    undoes: str = ""  # key of the step that it undoes
    payer: str = ""  # who pays, where it is not the subscriber
    products: tuple[str, ...] = ()  # a bundle of several, in one call
    tax: int = 0  # the part of its price that is tax


class Outgoing(Struct, array_like=True, gc=False):
    """A row of the outbox. Status: pending, sending, sent, delivered, failed, dropped."""

    id: int
    key: str  # derived from the identity of the input that caused it
    subscriber: int
    channel: str
    payload: bytes  # MessagePack of Text or Order
    due: int  # ms: when it was written, later when there was the last news of it but a mark before an attempt
    status: str = "pending"
    attempts: int = 0
    peer_id: str = ""  # the id that the counterpart (SMSC) gave it
