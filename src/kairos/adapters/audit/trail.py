"""The audit trail of a running kairos: who did what, and what came of it. A thread writes its lines.

What changes something is on the disk before it is answered (`first`); what reads is written within `EVERY`, and safe
from a power cut within a second; what comes in thousands is counted, a line a minute. While lines cannot be written,
kairos goes on and says so: a switch must be turned on a full disk, too.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from kairos.adapters.audit.chain import Chain, opened
from kairos.adapters.pseudonyms import Pseudonyms, visible
from kairos.domain.caller import Caller
from kairos.errors import KairosError

log = structlog.get_logger("kairos.audit")

EVERY = 0.1  # seconds between two writes
MINUTE = 60.0
HOUR = 3600.0
WAITING = 100_000  # lines, while they cannot be written; more are counted as lost
PATIENCE = 2.0  # seconds that an answer waits for its line
LONGEST = 300  # characters of a text


class Trail:
    """Keeps it, from the thread of the event loop."""

    def __init__(self, chain: Chain, pseudonyms: Pseudonyms, read_name: Callable[[str], str]) -> None:
        self._chain, self._pseudonyms, self._read_name = chain, pseudonyms, read_name
        self._lines: deque[tuple[Any, ...]] = deque()
        self._answers: deque[asyncio.Future[None]] = deque()
        self._counts: Counter[tuple[str, str, str, int]] = Counter()
        self._wake, self._over = threading.Event(), False
        self._lost = 0
        self.trouble = ""  # that lines cannot be written, or that some are gone
        self._told = self._synced = self._summed = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def counted(self, who: Caller, did: str, status: int) -> None:
        self._counts[who.name, who.subject, did, status] += 1

    def line(self, who: Caller, did: str, about: str, status: int, address: str, detail: str) -> None:
        if len(self._lines) >= WAITING:
            self._lost += 1
            return
        self._lines.append((time.time(), who.name, who.subject, address, did, about, status, detail))

    async def first(self, who: Caller, did: str, about: str, status: int, address: str, detail: str) -> None:
        self.line(who, did, about, status, address, detail)
        answer = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._wake.set()
        await asyncio.wait({answer}, timeout=PATIENCE)

    def close(self) -> None:
        """Write what waits."""
        self._over = True
        self._wake.set()
        self._thread.join(5)

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        over = False
        while not over:
            self._wake.wait(EVERY)
            self._wake.clear()
            over = self._over
            self._write(last=over)

    def _write(self, *, last: bool) -> None:
        """Write what waits; what cannot be written waits on."""
        now = time.monotonic()
        answers = [self._answers.popleft() for _ in range(len(self._answers))]
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        counts, lost = self._due(now, last=last), self._lost
        sync = bool(answers) or last or now - self._synced >= 1.0
        try:
            entries = [self._entry(*line) for line in lines]
            entries += [
                self._entry(time.time(), who[0], who[1], "", did, "", status, "", n) for *who, did, status, n in counts
            ]
            if lost:
                entries.append({"at": _ms(time.time()), "did": "lost", "times": lost})
            if entries:
                self._chain.add(entries, sync=sync)
            elif sync:
                self._chain.sync()
        except Exception as error:  # whatever it is, the next lines are tried again
            self._lines.extendleft(reversed(lines))
            for *who, did, status, n in counts:
                self._counts[who[0], who[1], did, status] += n
            self._complain(str(getattr(error, "strerror", None) or error))
        else:
            self._lost -= lost
            self._synced = now if sync else self._synced
            self.trouble = self._chain.trouble
        for answer in answers:
            answer.get_loop().call_soon_threadsafe(_done, answer)
        if now - self._told >= HOUR or last:
            self._told = now
            if not self._chain.n:  # nothing was added yet: an earlier run's last
                self._chain.look()
            log.info("the audit trail so far", lines=self._chain.n, seal=self._chain.seal)

    def _due(self, now: float, *, last: bool) -> list[tuple[str, str, str, int, int]]:
        """What was counted, each minute."""
        if not last and now - self._summed < MINUTE:
            return []
        self._summed = now
        counts, self._counts = self._counts, Counter()  # the event loop's thread adds to one of them
        return [(*what, n) for what, n in counts.items()]

    def _complain(self, why: str) -> None:
        if (trouble := f"the audit trail cannot be written: {why}") != self.trouble:
            self.trouble = trouble
            log.error("the audit trail cannot be written", reason=why)

    def _entry(
        self,
        at: float,
        client: str,
        subject: str,
        address: str,
        did: str,
        about: str,
        status: int,
        detail: str,
        times: int = 1,
    ) -> dict[str, Any]:
        """A line, without what is empty."""
        fields: dict[str, Any] = {
            "at": _ms(at),
            "client": self._text(client),  # of a token it may be whom it is about
            "subject": self._text(subject),
            "from": address,
            "did": did,
            "about": self._whom(about),
            "status": status,
            "detail": self._text(detail),
        }
        return {name: value for name, value in fields.items() if value != ""} | ({"times": times} if times > 1 else {})

    def _text(self, text: str) -> str:
        return visible(self._pseudonyms.masked(text))[:LONGEST]

    def _whom(self, about: str) -> str:
        """The pseudonym of whoever is named, in whatever form."""
        if not about:
            return ""
        try:
            return self._pseudonyms.of(self._read_name(about))
        except KairosError:
            return self._pseudonyms.of(about)


def _done(answer: asyncio.Future[None]) -> None:
    if not answer.done():
        answer.set_result(None)


def _ms(at: float) -> int:
    return int(at * 1000)


def note(folder: Path, key: str, who: str, did: str, detail: str = "", times: int = 1, about: str = "") -> None:
    """A line of a command, which is on the disk when this returns; `about`: a name as `read_name` gives it. Raises
    KairosError."""
    chain, found = opened(folder, key)
    entry = {"at": _ms(time.time()), "client": f"cli:{who}", "did": did}
    text = visible(Pseudonyms(found).masked(detail))[:LONGEST]
    entry |= {"about": Pseudonyms(found).of(about)} if about else {}
    try:
        chain.add([entry | ({"detail": text} if text else {}) | ({"times": times} if times > 1 else {})])
    except OSError as error:
        raise KairosError(f"the audit trail in `{folder}` cannot be written: {error.strerror}") from None
