"""What the HTTP door needs of the rest of kairos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kairos.domain.event import Event
from kairos.domain.inputs import Change
from kairos.ingest import EventReader, Unreadable


class Answered(Protocol):
    """What became of an event: applied, duplicate, rejected for good or failed this time, these with a reason."""

    @property
    def status(self) -> str: ...

    @property
    def reason(self) -> str: ...


class Ingress(Protocol):
    """The engine, as the door sees it."""

    def reader(self) -> EventReader:
        """For the vocabulary of the playbook in use."""
        ...

    async def submit(self, events: Sequence[Event | Change]) -> Sequence[Answered]:
        """Apply the events and return, in their order, what became of each, after the commit.

        Raises KairosError where they cannot be taken now; sending all of them again is then safe.
        """
        ...

    def rejected(self, entries: Sequence[Unreadable]) -> None:
        """Events that could not be read: kept where the settings say so."""
        ...

    async def dead_letters(self, kind: str, limit: int) -> Sequence[Any]:
        """What could not be handled, the newest first, as plain data; of one kind, or of all (an empty text)."""
        ...

    def troubles(self) -> Sequence[str]:
        """Why events cannot be taken now, in words; empty when all is well."""
        ...

    async def look(self) -> None:
        """Look anew at what `stats` tells of the store; waits for a moment at most."""
        ...

    def stats(self) -> Mapping[str, Any]:
        """Counts and gauges for the live view, as plain data."""
        ...


class Explanations(Protocol):
    """Why decisions fell as they did, as plain data (what msgspec can write as JSON)."""

    async def decision(self, number: int) -> Any | None:
        """None where there is no such decision."""
        ...

    async def subscriber(self, msisdn: str) -> Sequence[Any] | None:
        """The latest decisions about a subscriber, the newest first; None where nobody has that number."""
        ...
