"""What was answered first, so that a retry gets it again and does nothing more.

What has an identity of its own (its text's reference, a TLV) is a retry whenever it comes again. What has none is told
by its fingerprint, and counts as a retry only where the first answer may not have been seen: the session that it came
on was lost before the answer was surely delivered, or kairos was away meanwhile, were it several times. Else the same
text twice is two texts: two calls may cost the same.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from kairos.domain.inputs import Answered, end_of_a_run
from kairos.engine.loop import Loop
from kairos.ports import Clock
from kairos.smpp import DataSm, DeliverSm, Session, SubmitSm, Tag, message_bytes

KEPT = 100_000  # of the latest; what is forgotten before its time is counted
RETRY_WITHIN = 1_800_000  # ms: who tries again does so within half an hour
PART = (Tag.sar_msg_ref_num, Tag.sar_total_segments, Tag.sar_segment_seqnum)
SURELY = 1.0  # seconds: a session that was heard so long after an answer has delivered it
BEFORE_THE_END = 1_000  # ms: what was answered so shortly before kairos went away may not have been seen


@dataclass(slots=True, eq=False)
class First:
    """The first that came of one identity. `answer` is the message id that it got, or "" where it was refused."""

    account: str
    at: int  # ms
    session: Session | None  # that its answer went to; None: of an earlier run
    own: bool  # its identity is its own; or may be, of an earlier run
    answer: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    answered: float = 0.0  # by the event loop's clock; 0: not yet
    unseen: bool = False  # of an earlier run, and may not have been seen

    @property
    def surely_seen(self) -> bool:
        """Whether whoever brought it knows its answer, or can still hear it."""
        if self.session is None:
            return not self.unseen
        return self.session.is_bound or self.over

    @property
    def over(self) -> bool:
        """Whether nothing that comes can be a retry of it any more: it was refused, or its answer was seen."""
        if self.answer.done() and not self.answer.result():
            return True
        if self.session is None:
            return not self.unseen
        if not self.answered:
            return False
        return self.session.close_reason == "the peer unbound" or self.session.heard - self.answered >= SURELY


def fingerprint(pdu: SubmitSm | DeliverSm | DataSm, more: bytes = b"") -> str:
    """What a retry has in common with the first: addresses, coding, text, which part of it, and `more`."""
    digest = hashlib.blake2b(digest_size=12)
    header, text = message_bytes(pdu)
    told = [value for tag, value in pdu.tlvs if tag in PART]
    for part in (pdu.source_addr.encode(), pdu.destination_addr.encode(), header, text, more, *told):
        digest.update(len(part).to_bytes(4, "big") + part)
    digest.update(bytes((pdu.data_coding,)))
    return digest.hexdigest()


class FirstAnswers:
    """The latest, by identity. Bounded; `counts["forgotten_early"]` tells how many left before their time."""

    def __init__(self, loop: Loop, clock: Clock) -> None:
        self.loop, self.clock = loop, clock
        self.counts: Counter[str] = Counter()
        self._known: OrderedDict[str, list[First]] = OrderedDict()

    def remember(self, records: Iterable[Answered], ended: int) -> None:
        """Take what earlier runs answered, oldest first; the last of each may not have been seen.

        `ended` (ms): when the last of them wrote anything, as far as known.
        """
        run: list[Answered] = []
        for one in (*records, end_of_a_run(ended)):
            if one.ends_a_run:
                self._remember_run(run, max([one.at, *(told.at for told in run)]))
                run = []
            elif one.identity:
                run.append(one)

    def _remember_run(self, run: list[Answered], ended: int) -> None:
        for one in run:
            if asked_again := next((first for first in self._known.get(one.identity, ()) if first.unseen), None):
                asked_again.unseen = False
        for one in run:
            first = First(one.account, one.at, None, own=True, unseen=one.at >= ended - BEFORE_THE_END)
            first.answer.set_result(one.message_id)
            self._keep(one.identity, first)

    def again(self, identity: str, session: Session, *, own: bool) -> First | None:
        """The first that this is a retry of; None where it is new. `own`: the identity is its own, no fingerprint."""
        for first in self._known.get(identity, ()):
            refused = first.answer.done() and not first.answer.result()
            if refused or (not own and (first.surely_seen or self.clock() - first.at > RETRY_WITHIN)):
                continue
            if not own:  # its answer goes this way now
                if first.unseen:
                    self._note(Answered(first.account, first.answer.result(), "", identity, self.clock()))
                first.session, first.answered, first.unseen = session, 0.0, False
            self.counts["retries"] += 1
            return first
        return None

    def begin(self, identity: str, account: str, session: Session, *, own: bool) -> First:
        """Note one that is new; `settle` it in any case."""
        first = First(account, self.clock(), session, own)
        self._keep(identity, first)
        return first

    def settle(self, first: First, message_id: str) -> None:
        """What it was answered; `""`: it was refused, so that the next try is as new."""
        gone = first.session is not None and first.session.close_reason  # then nobody hears this answer
        first.answered = 0.0 if gone else asyncio.get_running_loop().time()
        if not first.answer.done():
            first.answer.set_result(message_id)

    def forget(self, identity: str, first: First) -> None:
        """Somebody else knows it: what the engine took is kept in the subscriber's state."""
        held = [one for one in self._known.get(identity, ()) if one is not first]
        if held:
            self._known[identity] = held
        else:
            self._known.pop(identity, None)

    def _note(self, told: Answered) -> None:
        """Tell the next run that it was asked for in this one."""
        self.loop.post(told, own=True).let_go()

    def _keep(self, identity: str, first: First) -> None:
        since = self.clock() - RETRY_WITHIN
        self._known[identity] = [
            *(one for one in self._known.get(identity, ()) if one.at > since and not one.over),
            first,
        ]
        self._known.move_to_end(identity)
        while self._known:
            oldest, held = next(iter(self._known.items()))
            wanted = held[-1].at > since and not all(one.over and not one.own for one in held)
            if len(self._known) <= KEPT and wanted:
                return
            self.counts["forgotten_early"] += wanted
            del self._known[oldest]
