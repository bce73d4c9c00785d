"""What a subscription is known by, and since when: MSISDN, IMSI, IMEI, account.

A *name* is how an input names a subscriber: the digits of an MSISDN alone, or another kind before its value
(`imsi:001010000000001`, `account:A-17`). An IMEI names nobody: it is a dated fact of a subscription.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from kairos.domain.subscriber import Contact

OTHER_KINDS: Final = ("imsi", "imei", "account")  # besides the MSISDN


def name_of(kind: str, value: str) -> str:
    """The name of an identity.

    >>> name_of("msisdn", "12025550123"), name_of("imsi", "001010000000001")
    ('12025550123', 'imsi:001010000000001')
    """
    return value if kind == "msisdn" else f"{kind}:{value}"


def split_name(name: str) -> tuple[str, str]:
    """The kind and the value that a name stands for.

    >>> split_name("12025550123"), split_name("account:A:17")
    (('msisdn', '12025550123'), ('account', 'A:17'))
    """
    kind, colon, value = name.partition(":")
    return (kind, value) if colon else ("msisdn", name)


class Held(Struct, frozen=True, array_like=True, gc=False):
    """Who had an identity, from `since` until before `until` (ms; 0: still). Subscriber 0: nobody."""

    subscriber: int
    since: int
    until: int = 0


class Party(Struct, array_like=True, gc=False):
    """The numbers of one account, and what was said to any of them: what shared limits count.

    It is kept beside the states of subscribers, under its own id: minus the id of its first number's subscriber.
    """

    id: int
    members: list[int]
    contacts: list[Contact]
