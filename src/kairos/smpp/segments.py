"""Messages in several parts: cutting a text, and putting the parts of a subscriber's message together again.

Parts are told by the user data header's concatenation elements (3GPP TS 23.040, 9.2.3.24.1 and .8) or by sar_* TLVs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from kairos.smpp import text as texts
from kairos.smpp.errors import TextError
from kairos.smpp.pdu import UDHI, DataSm, DeliverSm, SubmitSm, message_bytes
from kairos.smpp.text import MAX_PARTS, Encoding
from kairos.smpp.tlv import Tag, number

MessagePdu = SubmitSm | DeliverSm | DataSm


@dataclass(frozen=True, slots=True)
class Segment:
    """One part as fields of a submit_sm or deliver_sm. `short_message` begins with the header where there is one."""

    esm_class: int
    data_coding: int
    short_message: bytes
    part: int
    parts: int


def split(text: str, reference: int, encoding: Encoding | None = None, *, wide: bool = False) -> list[Segment]:
    """The text as the messages to send, one if it fits: at most 140 octets each on the air, header included.

    `reference` (modulo 256, or 65536 if `wide`) must differ between messages under way to one subscriber. Raises
    TextError for more than 255 parts, or a character that the encoding lacks.

    >>> [(s.esm_class, len(s.short_message)) for s in split("a" * 161, reference=7)]
    [(64, 159), (64, 14)]
    """
    data_coding, octets = texts.encode(text, encoding)
    chosen = encoding or (Encoding.GSM7 if data_coding == 0 else Encoding.UCS2)
    if len(octets) <= chosen.single * chosen.unit:
        return [Segment(0, data_coding, octets, 1, 1)]
    pieces = texts.cut(octets, chosen, wide=wide)
    if len(pieces) > MAX_PARTS:
        raise TextError(f"the text needs {len(pieces)} parts; {MAX_PARTS} is the most there can be")
    return [
        Segment(UDHI, data_coding, _header(reference, len(pieces), part, wide) + piece, part, len(pieces))
        for part, piece in enumerate(pieces, 1)
    ]


def _header(reference: int, parts: int, part: int, wide: bool) -> bytes:
    if wide:
        return b"\x06\x08\x04" + (reference % 65536).to_bytes(2, "big") + bytes((parts, part))
    return bytes((5, 0, 3, reference % 256, parts, part))


@dataclass(frozen=True, slots=True)
class Concatenation:
    """What a part says of itself. `kind` (udh8, udh16 or sar) keeps references of different widths apart."""

    kind: str
    reference: int
    parts: int
    part: int


def concatenation(pdu: MessagePdu) -> Concatenation | None:
    """How the PDU belongs to a longer message; None where it is whole, or where what it says cannot be.

    >>> concatenation(DeliverSm(esm_class=0x43, short_message=b"\\x05\\x00\\x03\\x07\\x02\\x01Hi"))
    Concatenation(kind='udh8', reference=7, parts=2, part=1)
    """
    found = _from_header(message_bytes(pdu)[0]) or _from_tlvs(pdu)
    return found if found and 1 <= found.part <= found.parts and found.parts > 1 else None


def _from_header(header: bytes) -> Concatenation | None:
    at = 1
    found = None  # an element that is repeated counts by its last (TS 23.040, 9.2.3.24)
    while at + 2 <= len(header):
        kind, length = header[at], header[at + 1]
        value = header[at + 2 : at + 2 + length]
        at += 2 + length
        if kind == 0x00 and length == 3 and len(value) == 3:
            found = Concatenation("udh8", value[0], value[1], value[2])
        elif kind == 0x08 and length == 4 and len(value) == 4:
            found = Concatenation("udh16", int.from_bytes(value[:2], "big"), value[2], value[3])
    return found


def _from_tlvs(pdu: MessagePdu) -> Concatenation | None:
    if not pdu.tlvs:
        return None
    reference = number(pdu.tlv(Tag.sar_msg_ref_num))
    parts = number(pdu.tlv(Tag.sar_total_segments))
    part = number(pdu.tlv(Tag.sar_segment_seqnum))
    if reference is None or parts is None or part is None:
        return None
    return Concatenation("sar", reference, parts, part)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A message's PDUs in the order of its parts; `complete` is False where parts are missing."""

    pdus: tuple[MessagePdu, ...]
    complete: bool = True

    def text(self, default: Encoding = Encoding.GSM7) -> str:
        """The text of the parts that are here. Parts of one coding are joined first: a character may span two."""
        runs: list[tuple[int, bytes]] = []
        for pdu in self.pdus:
            octets = message_bytes(pdu)[1]
            if runs and runs[-1][0] == pdu.data_coding:
                runs[-1] = (pdu.data_coding, runs[-1][1] + octets)
            else:
                runs.append((pdu.data_coding, octets))
        return "".join(texts.decode(coding, octets, default) for coding, octets in runs)


_Key = tuple[str, str, str, str, int, int]  # bind, source, destination, kind, reference, parts


@dataclass(slots=True)
class _Gathering:
    until: float
    parts: dict[int, MessagePdu] = field(default_factory=dict)
    again: list[MessagePdu] = field(default_factory=list)  # once finished: the parts repeated since, from the first on

    def repeats(self, part: int, pdu: MessagePdu) -> bool:
        before = self.parts.get(part)
        return before is not None and message_bytes(before) == message_bytes(pdu)

    def repeat(self, part: int, pdu: MessagePdu) -> None:
        """Note a part of a finished message. Told once more to its end, the message is as it was."""
        if part != len(self.again) + 1:
            self.again.clear()
        if part == len(self.again) + 1:
            self.again.append(pdu)
        if len(self.again) == len(self.parts):
            self.again.clear()

    def left(self, complete: bool) -> Assembled:
        return Assembled(tuple(self.parts[part] for part in sorted(self.parts)), complete)


class Reassembler:
    """Gathers parts by (bind, source, destination, reference, number of parts), `ttl` seconds from a message's first.

    It never loses a part: a message that has to leave unfinished, because its time is over, because more than `limit`
    parts are held, or because its reference number was taken for another message, comes out with `complete=False`. A
    repeated part changes nothing, also after its message was completed (unless it turns out to begin another message
    of the same reference, as from senders that never change it). `clock` gives seconds that never go back.
    """

    def __init__(self, ttl: float, clock: Callable[[], float], limit: int = 10_000) -> None:
        self._ttl = ttl
        self._clock = clock
        self._limit = limit
        self._gathering: OrderedDict[_Key, _Gathering] = OrderedDict()
        self._finished: OrderedDict[_Key, _Gathering] = OrderedDict()
        self._held = 0
        self._remembered = 0

    def __len__(self) -> int:
        """Parts held that wait for others."""
        return self._held

    def add(self, bind: str, pdu: MessagePdu) -> list[Assembled]:
        """Take one PDU; give back what is ready: a message it is or completes, and messages that had to leave."""
        said = concatenation(pdu)
        left = self.expire()
        if said is None:
            return [*left, Assembled((pdu,))]
        key = (bind, pdu.source_addr, pdu.destination_addr, said.kind, said.reference, said.parts)
        gathering = self._gathering.get(key)
        if gathering is not None and gathering.repeats(said.part, pdu):
            return left
        finished = self._finished.get(key)
        if gathering is None and finished is not None and finished.repeats(said.part, pdu):
            finished.repeat(said.part, pdu)
            return left
        if gathering is not None and said.part in gathering.parts:  # the reference number was taken again
            left.append(self._leave(key))
            gathering = None
        if gathering is None:
            gathering = self._begin(key, said.part)
        gathering.parts[said.part] = pdu
        self._held += 1
        if len(gathering.parts) == said.parts:
            return [*left, self._finish(key)]
        while self._held > self._limit:
            left.append(self._leave(next(iter(self._gathering))))
        return left

    def reopen(self, bind: str, pdu: MessagePdu) -> None:
        """The message that `pdu` completed was not taken, so `pdu` was refused: wait for this part once more."""
        said = concatenation(pdu)
        key = (bind, pdu.source_addr, pdu.destination_addr, said.kind, said.reference, said.parts) if said else None
        finished = self._finished.pop(key, None) if key else None
        if said is None or key is None or finished is None:
            return
        self._remembered -= len(finished.parts)
        parts = {part: one for part, one in finished.parts.items() if part != said.part}
        self._gathering[key] = _Gathering(self._clock() + self._ttl, parts)
        self._held += len(parts)

    def expire(self) -> list[Assembled]:
        """The messages whose time is over, as far as they came. Call it now and then, or their parts stay."""
        now = self._clock()
        while self._finished and next(iter(self._finished.values())).until <= now:
            self._forget()
        left = []
        while self._gathering and next(iter(self._gathering.values())).until <= now:
            left.append(self._leave(next(iter(self._gathering))))
        return left

    def _begin(self, key: _Key, part: int) -> _Gathering:
        """A new message; what looked like repeats of the last one up to this part was its beginning."""
        gathering = self._gathering[key] = _Gathering(self._clock() + self._ttl)
        finished = self._finished.get(key)
        if finished is not None:
            if len(finished.again) == part - 1:
                gathering.parts.update(enumerate(finished.again, 1))
                self._held += len(finished.again)
            finished.again = []
        return gathering

    def _leave(self, key: _Key) -> Assembled:
        gathering = self._gathering.pop(key)
        self._held -= len(gathering.parts)
        return gathering.left(complete=False)

    def _finish(self, key: _Key) -> Assembled:
        gathering = self._gathering.pop(key)
        self._held -= len(gathering.parts)
        before = self._finished.pop(key, None)
        self._remembered += len(gathering.parts) - (len(before.parts) if before else 0)
        self._finished[key] = _Gathering(self._clock() + self._ttl, gathering.parts)
        while self._remembered > self._limit:
            self._forget()
        return gathering.left(complete=True)

    def _forget(self) -> None:
        _, finished = self._finished.popitem(last=False)
        self._remembered -= len(finished.parts)
