"""Forgetting a person (GDPR, article 17): what is asked, and what is kept of the asking."""

from __future__ import annotations

from msgspec import Struct


class Erasure(Struct, frozen=True, array_like=True, gc=False):
    """Somebody is to be forgotten. `force`: though a promise is open, something is being bought, or is owed."""

    identity: str
    msisdn: str  # or another name
    happened: int
    reason: str = ""
    force: bool = False


class Erased(Struct, frozen=True, array_like=True, gc=False):
    """What the transaction that forgets a subscriber writes besides their empty state.

    `names` (kind, value) are nobody's from now on, and kept until every other row that concerns them is gone. `mark`:
    the keyed hash of their number, where `consents` were withdrawn; it outlives all else.
    """

    subscriber: int
    at: int
    reason: str
    names: tuple[tuple[str, str], ...]
    mark: bytes = b""
    consents: tuple[str, ...] = ()
