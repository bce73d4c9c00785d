"""Who said STOP and was forgotten then is still not to be spoken to: of their number only a keyed hash is kept.

An erasure that forgot the no with the person would bring the messages back with their next event, which is what they
asked to be rid of (GDPR, articles 17 (3) b and 21). A plain hash of a number can be undone by trying all numbers; so
the hash has a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b


class Suppression:
    """The consents that are withdrawn for a number, by its mark; in memory, for few are erased."""

    def __init__(self, key: bytes = b"", known: Mapping[bytes, Sequence[str]] | None = None) -> None:
        self._key = key[:64]
        self.known = dict(known or {})

    def mark(self, msisdn: str) -> bytes:
        """16 bytes.

        >>> Suppression(b"key").mark("12025550123") == Suppression(b"other key").mark("12025550123")
        False
        """
        return blake2b(msisdn.encode(), digest_size=16, key=self._key).digest()

    def withdrawn(self, msisdn: str) -> Sequence[str]:
        return self.known.get(self.mark(msisdn), ()) if self.known else ()
