"""How fast requests may go: a token bucket, and a pace that gives way when the peer says that it is too fast.

Both are plain arithmetic: seconds of a clock that never goes back are handed in.
"""

from __future__ import annotations

from math import inf

_EDGE = 1e-9  # seconds and tokens are floats: a token that lacks this much is whole


class Bucket:
    """Tokens flow in, `rate` a second, and `burst` of them at most wait to be taken."""

    def __init__(self, rate: float, burst: float, now: float = 0.0) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    @property
    def left(self) -> float:
        """Tokens that waited to be taken when one was asked for last."""
        return self._tokens

    def take(self, now: float, keep: float = 0.0) -> float:
        """Take a token and return 0.0, or the seconds until there is one, with `keep` others left in the bucket.

        >>> bucket = Bucket(rate=2, burst=1)
        >>> bucket.take(0.0), bucket.take(0.0), bucket.take(0.5)
        (0.0, 0.5, 0.0)
        """
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(now, self._at)
        lacking = min(1.0 + keep, self.burst) - self._tokens
        if lacking > _EDGE:
            return lacking / self.rate
        self._tokens = max(0.0, self._tokens - 1.0)
        return 0.0


class Pace:
    """At most `limit` requests in any second (0: as many as come), and fewer once the peer says that it is too fast.

    A refusal for haste (`throttled`) halves the rate, and requests that are not urgent pause for `PAUSE` seconds; what
    was under way then and is refused too counts as the same refusal. Each second without one gives back a tenth. A
    part of each burst, `reserve` (0 to 1), is for urgent requests alone.
    """

    PAUSE = 1.0
    GROWTH = 1.1  # times the rate, each second
    SLOWEST = 1.0  # requests a second
    BURST = 20  # one in so many of a second's requests may go at once

    def __init__(self, limit: float = 0.0, reserve: float = 0.0, now: float = 0.0) -> None:
        self.limit = limit or inf
        self.reserve = reserve
        self.rate = self.limit
        self._ceiling = self.limit  # beyond it a rate that gave way is no limit any more
        self._bucket = Bucket(1.0, 1.0, now)
        self._at = now
        self._paused_until = -inf
        self._second = 0  # what went in the second under way, and in the one before
        self._before = 0
        self._began = now
        self._fit(self.rate)

    def take(self, now: float, *, urgent: bool = True) -> float:
        """Count one request, which may go, and return 0.0; or the seconds until it is worth asking again."""
        self._recover(now)
        if not urgent and now < self._paused_until:
            return self._paused_until - now
        wait = 0.0
        if self.rate < inf:
            wait = self._bucket.take(now, 0.0 if urgent else self.reserve * self._bucket.burst)
        if wait == 0.0:
            self._note(now)
        return wait

    def throttled(self, now: float) -> None:
        """The peer refused a request for haste."""
        if now < self._paused_until:
            return
        self._recover(now)
        lately = max(self._second, self._before) if now - self._began < 2.0 else 0
        self._fit(max(self.SLOWEST, min(self.rate, lately) / 2))
        self._ceiling = max(2.0 * lately, 2.0 * self.SLOWEST) if self.limit == inf else self.limit
        self._paused_until = now + self.PAUSE

    def _recover(self, now: float) -> None:
        since = max(self._at, self._paused_until)
        self._at = max(now, self._at)
        if self.rate >= self.limit or now <= since:
            return
        grown = self.rate * self.GROWTH ** min(now - since, 100.0)
        self._fit(self.limit if grown >= self._ceiling else grown)

    def _fit(self, rate: float) -> None:
        """A burst of n and r - (n - 1) a second make r at most in any second."""
        self.rate = rate
        if rate < inf:
            self._bucket.burst = max(1.0, rate // self.BURST)
            self._bucket.rate = rate - (self._bucket.burst - 1.0)

    def _note(self, now: float) -> None:
        if now - self._began >= 1.0:
            self._before = self._second if now - self._began < 2.0 else 0
            self._second, self._began = 0, now
        self._second += 1
