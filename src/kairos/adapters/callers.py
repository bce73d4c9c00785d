"""Who calls at the HTTP door: by an API key, of which only the hash is kept, or by a token of the OIDC issuer."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256

from kairos.adapters.oidc import Tokens
from kairos.domain.caller import Caller

SHELF = 8  # octets of a hash by which it is found
REMEMBERED = 10_000  # tokens whose signature was found good


def made() -> str:
    """A fresh API key: 256 bits of chance, and a beginning by which scanners for leaked secrets know it."""
    return "kairos_" + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """What is kept of a key. A plain hash is enough: nobody guesses 256 bits.

    >>> hashed("kairos_example")[:12]
    '71c10fd973e7'
    """
    return sha256(key.encode()).hexdigest()


class Callers:
    """Knows callers by what they show."""

    def __init__(self, keys: Mapping[str, Caller], tokens: Tokens | None, clock: Callable[[], float]) -> None:
        """`keys`: hashes in hex; `clock`: seconds since the epoch."""
        self._keys = {bytes.fromhex(digest)[:SHELF]: (bytes.fromhex(digest), caller) for digest, caller in keys.items()}
        self._tokens, self._clock = tokens, clock
        self._seen: OrderedDict[bytes, Caller] = OrderedDict()  # by the hash of their token

    async def who(self, credential: str) -> Caller | None:
        """The caller who shows this key or token, or None for every other. One SHA-256 where it was seen before.

        A key is found by the beginning of its hash, which nobody who tries keys can steer, and compared in constant
        time.
        """
        digest = sha256(credential.encode("utf-8", "surrogateescape")).digest()
        if found := self._keys.get(digest[:SHELF]):
            kept, caller = found
            return caller if hmac.compare_digest(kept, digest) else None
        if self._tokens is None or credential.count(".") != 2:
            return None
        if seen := self._seen.get(digest):
            if seen.until > self._clock():
                return seen
            del self._seen[digest]
            return None
        told = await self._tokens.caller(credential)
        if told and not self._tokens.once:
            self._seen[digest] = told
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return told
