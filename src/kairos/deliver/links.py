"""Short signed links: one opens one offer, or says no to all further ones, and nobody can guess another.

A link is a number in base 58, which has no characters that look alike and none that a telephone leaves off the end of a
link: the decision that made the offer, 16 bits that tell two stores apart, and 96 bits of HMAC-SHA-256 (RFC 2104) over
its purpose and both. It is the same whenever it is made, and has nothing of the subscriber in it.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, NamedTuple

Purpose = Literal["o", "u"]  # opens an offer; unsubscribes. Neither link can be made of the other

ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
LONGEST: Final = 30  # characters: of the last decision that a store can count to
MAC_BITS: Final = 96
MARK_BITS: Final = 16


class Opened(NamedTuple):
    """What a sound link names: a decision, in the store whose epoch has this mark."""

    decision: int
    mark: int

    def is_of(self, key: str) -> bool:
        """Whether the offer of that key is meant.

        >>> Opened(4447, mark_of("5da2")).is_of("5da2-4447"), Opened(4447, mark_of("5da2")).is_of("77e0-4447")
        (True, False)
        """
        epoch, decision = _parts(key)
        return (decision, mark_of(epoch)) == self


@dataclass(frozen=True, slots=True, repr=False)
class OfferLinks:
    """Makes links and opens them. The first of `secrets` signs; links of every one of them open, so one can be renewed.

    >>> links = OfferLinks("https://offers.example", [b"0123456789abcdef0123456789abcdef"])
    >>> links.link("5da2-4447")
    'https://offers.example/o/39S2CwjV1hE4seRLKwpLj5'
    >>> links.opened("o", "39S2CwjV1hE4seRLKwpLj5") == Opened(4447, mark_of("5da2"))
    True
    """

    url: str  # without a slash at its end
    secrets: Sequence[bytes]

    def link(self, key: str) -> str:
        """What opens an offer, by its key."""
        return f"{self.url}/o/{self.token('o', key)}"

    def unsubscribe(self, key: str) -> str:
        """What ends all offers to whoever got this one: the address of List-Unsubscribe (RFC 8058)."""
        return f"{self.url}/u/{self.token('u', key)}"

    def token(self, purpose: Purpose, key: str) -> str:
        epoch, decision = _parts(key)
        return _written(_signed(purpose, Opened(decision, mark_of(epoch)), self.secrets[0]))

    def opened(self, purpose: Purpose, token: str) -> Opened | None:
        """What a link names; None where none of the secrets signed it."""
        number = _read(token)
        if not number:
            return None
        opened = Opened(number >> MARK_BITS + MAC_BITS, number >> MAC_BITS & (1 << MARK_BITS) - 1)
        signed = (_written(_signed(purpose, opened, secret)) for secret in self.secrets)
        return opened if any(_same(one, token) for one in signed) else None

    def seal(self, *about: str) -> str:
        """What shows that a form is one of ours, about just this."""
        return hmac.new(self.secrets[0], "\n".join(("form", *about)).encode(), sha256).hexdigest()[:32]

    def sealed(self, seal: str, *about: str) -> bool:
        return any(_same(OfferLinks(self.url, [secret]).seal(*about), seal) for secret in self.secrets)


def mark_of(epoch: str) -> int:
    """16 bits of a store's epoch: a link of another store opens nothing here, though the secret is the same."""
    return int.from_bytes(sha256(epoch.encode()).digest()[: MARK_BITS // 8])


def _parts(key: str) -> tuple[str, int]:
    epoch, _, decision = key.rpartition("-")
    return epoch, int(decision)


def _signed(purpose: str, opened: Opened, secret: bytes) -> int:
    mac = hmac.new(secret, f"{purpose}/{opened.mark}/{opened.decision}".encode(), sha256).digest()
    return (opened.decision << MARK_BITS | opened.mark) << MAC_BITS | int.from_bytes(mac[: MAC_BITS // 8])


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _written(number: int) -> str:
    """A number in base 58.

    >>> _written(58 * 58), _read("211"), _read("0")
    ('211', 3364, 0)
    """
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = ALPHABET[digit] + digits
    return digits


def _read(written: str) -> int:
    """The number; 0 where it is none, which no link is."""
    number = 0
    if len(written) > LONGEST or not written.isascii():
        return 0
    for character in written:
        digit = ALPHABET.find(character)
        if digit < 0:
            return 0
        number = number * 58 + digit
    return number
