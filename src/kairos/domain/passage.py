"""Messages of other systems on their way through: what a sender hands over, and the record of what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from msgspec import Struct

from kairos.domain.message import Carried
from kairos.domain.purpose import Purpose
from kairos.domain.switch import stated

EMERGENCY: Final = "emergency"
# What a sender may be declared to send, and what that is to the contact policy.
SENDS: Final[Mapping[str, Purpose]] = {
    EMERGENCY: "regulatory",
    "government": "regulatory",
    "service": "service",
    "care": "care",
    "marketing": "marketing",
    "third_party": "third_party",
}
ALWAYS: Final[frozenset[Purpose]] = frozenset({"regulatory", "service"})  # that go out though nobody can decide

SENDER: Final = "sender:"  # before a sender's name, where a contact has the name of an action
SCHEDULED: Final = "scheduled"
EXPIRED: Final = "its validity has passed"
CANCELLED: Final = "cancelled by its sender"
UNKNOWN: Final = "nobody is known by this number"
TOO_MANY: Final = "too many messages wait for this subscriber"
CHANGED_HANDS: Final = "the number has changed hands"
POLICY: Final = "contact policy"

Stand = Literal[
    "accepted", "delayed", "merged", "refused", "expired", "cancelled", "sent", "delivered", "failed"
]  # refused: by a rule, before or after it was accepted
IMPERSONAL: Final = frozenset({UNKNOWN, CHANGED_HANDS, TOO_MANY})
FINAL: Final[frozenset[Stand]] = frozenset({"merged", "refused", "expired", "cancelled", "delivered", "failed"})


def told_why(stand: Stand, why: str, until: int = 0) -> str:
    """Why, in words for its sender: what holds for a time by its name; of what is known of the subscriber, one word.

    Consents, registers, pauses and the holdout are the rules without an end. With one word for all of them no stranger
    learns who has complained, or who is in a control group.

    >>> told_why("refused", "holdout"), told_why("refused", "open complaint")
    ('contact policy', 'contact policy')
    >>> told_why("refused", "2 own messages per 1 day", 1772625600000), told_why("refused", UNKNOWN)
    ('2 own messages per 1 day', 'nobody is known by this number')
    """
    personal = stand == "refused" and until <= 0 and why not in IMPERSONAL and not why.startswith(stated(""))
    return POLICY if personal else why


class Handed(Struct, frozen=True, array_like=True, gc=False):
    """A message of another system for one subscriber, as a door took it. Times in ms.

    `key` is what its sender knows it by; of a communication with several receivers, with the receiver's place. `sends`
    is a word of `SENDS`.
    """

    notification: ClassVar[None] = None

    key: str
    sender: str
    msisdn: str
    source: str  # the sender id that the subscriber sees
    text: str
    sends: str
    happened: int
    until: int  # after this it is not sent any more
    not_before: int = 0
    communication: str = ""  # of TMF681, where it came so
    receipt: int = 0  # registered_delivery, of who waits for receipts over SMPP
    carried: tuple[Carried, ...] = ()  # the sender's own PDUs
    priority: int = 0  # priority_flag (SMPP 3.4, 5.2.14), where it has no PDU of its own
    tries: int = 0  # attempts to send it, at most; 0: as many as there is time for
    fingerprint: str = ""  # what a retry of it over SMPP has too

    @property
    def identity(self) -> str:
        return f"message/{self.sender}/{self.key}"

    @property
    def purpose(self) -> Purpose:
        return SENDS[self.sends]

    @property
    def always(self) -> bool:
        return self.purpose in ALWAYS


class Withdrawal(Struct, frozen=True, array_like=True, gc=False):
    """A sender takes back a message that waits."""

    key: str
    sender: str
    subscriber: int
    happened: int

    @property
    def identity(self) -> str:
        return f"withdrawal/{self.key}"


class Passed(Struct, frozen=True, array_like=True, gc=False):
    """A text that was taken: the same one within a while is merged into it."""

    digest: bytes
    key: str
    at: int


class Passing(Struct, array_like=True, gc=False):
    """Of one subscriber: messages that wait for their time, and the texts that were taken lately."""

    waiting: list[Handed] = []
    lately: list[Passed] = []

    def __bool__(self) -> bool:
        return bool(self.waiting or self.lately)


class Passage(Struct, frozen=True, array_like=True, gc=False):
    """The record of one message for one subscriber. `why` is the rule's name, `until` (ms) the end of what it names.

    Of one that was merged, `why` is the key of the message that it was merged into.
    """

    key: str
    sender: str
    communication: str
    subscriber: int  # 0: nobody was known by the number
    msisdn: str
    source: str
    sends: str
    stand: Stand
    at: int
    why: str = ""
    until: int = 0
    changed: int = 0
    valid: int = 0  # until when it may be sent
    outgoing: int = 0  # its row of the outbox
    receipt: int = 0  # registered_delivery


class PassageNews(Struct, frozen=True, array_like=True, gc=False):
    """A change of a record that is there."""

    key: str
    stand: Stand
    changed: int
    why: str = ""
    until: int = 0
    outgoing: int = 0  # 0 leaves what is there


class Asked(Struct, frozen=True, gc=False):
    """What a TMF681 communicationMessage asks for. Times in ms."""

    content: str
    source: str
    receivers: tuple[str, ...]  # numbers as they were written
    sends: str = ""  # a word of SENDS; empty: what its sender sends by itself
    not_before: int = 0
    until: int = 0  # 0: as long as its sender's messages are valid
    priority: int = 0
    tries: int = 0


class Communication(Struct, frozen=True, array_like=True, gc=False):
    """A TMF681 communicationMessage as its sender wrote it; its receivers are passages. `at`, `changed` in ms."""

    id: str
    client: str
    at: int
    changed: int
    document: dict[str, Any]
    gone: bool = False  # deleted: nobody is shown it any more

    @property
    def subscriber(self) -> int:
        """No state is concerned."""
        return 0


class Hub(Struct, frozen=True, array_like=True, gc=False):
    """Who listens at a hub (TMF680, TMF681): where, and by which `query`, whose event types say at which hub."""

    id: str
    client: str
    callback: str
    query: str
    at: int
