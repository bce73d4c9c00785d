"""What went over sessions, for whoever watches: a session's counters, and the sums of a bind or an account."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, fields

LATENCY_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds, and beyond


@dataclass(slots=True)
class Latency:
    """Seconds from a request to its response. `counts` has one place for each of LATENCY_BOUNDS and one for longer.

    >>> latency = Latency()
    >>> latency.note(0.003); latency.note(0.005); latency.note(9.0)
    >>> latency.counts[2], latency.counts[-1], latency.most, round(latency.mean, 3)
    (2, 1, 9.0, 3.003)
    """

    answers: int = 0
    total: float = 0.0
    most: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))

    @property
    def mean(self) -> float:
        return self.total / self.answers if self.answers else 0.0

    def note(self, seconds: float) -> None:
        self.answers += 1
        self.total += seconds
        self.most = max(self.most, seconds)
        self.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1

    def add(self, other: Latency) -> None:
        self.answers += other.answers
        self.total += other.total
        self.most = max(self.most, other.most)
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]


@dataclass(slots=True)
class Counters:
    """What went over a session so far. Requests and responses count no bind, unbind or enquire_link.

    `sent` and `received` count every PDU by its class's name, `statuses` what the peer's responses said.
    """

    requests_sent: int = 0
    responses_received: int = 0
    requests_received: int = 0
    responses_sent: int = 0
    refused_sent: int = 0  # responses of ours with an error status
    refused_received: int = 0
    throttled_sent: int = 0  # of these, for haste: the peer's, and ours
    throttled_received: int = 0
    timeouts: int = 0
    unmatched: int = 0  # responses to nothing outstanding: late, repeated, or of the wrong kind
    bad_pdus: int = 0
    nacks_received: int = 0
    enquiries_sent: int = 0
    enquiries_received: int = 0
    handler_failures: int = 0
    octets_in: int = 0
    octets_out: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    latency: Latency = field(default_factory=Latency)

    def add(self, other: Counters) -> None:
        """Add another session's."""
        for name in (one.name for one in fields(self)):
            ours, theirs = getattr(self, name), getattr(other, name)
            if isinstance(ours, int):
                setattr(self, name, ours + theirs)
            elif isinstance(ours, Latency):
                ours.add(theirs)
            else:
                ours.update(theirs)


def total(*counters: Counters) -> Counters:
    """Their sum, new.

    >>> total(Counters(timeouts=1), Counters(timeouts=2)).timeouts
    3
    """
    result = Counters()
    for one in counters:
        result.add(one)
    return result


@dataclass(frozen=True, slots=True)
class BindStatistics:
    """One bind of ours, over all its sessions. `bound_for`: seconds, None while not bound; `rate`: 0 is no limit."""

    address: str
    kind: str  # transceiver, transmitter or receiver
    standby: bool
    state: str
    bound_for: float | None
    binds: int  # how many times it was bound: reconnects are one less
    last_error: str
    outstanding: int
    waiting: int
    window: int
    rate: float
    counters: Counters


@dataclass(frozen=True, slots=True)
class AccountStatistics:
    """An account that binds to us, over all its sessions since we listen. `rate`: what it may, 0 is no limit."""

    account: str
    sessions: int  # bound now
    binds: int  # how many there ever were
    bound_for: float | None  # seconds of the oldest session that is bound now
    outstanding: int
    waiting: int
    window: int  # of all sessions together
    rate: float
    counters: Counters
