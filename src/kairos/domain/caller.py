"""Who calls at the HTTP door, as its lock knows them."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

INGEST: Final = "ingest"
DECIDE: Final = "decide"
SEND: Final = "send"
CARE: Final = "care"
MARKETER: Final = "marketer"
OPERATOR: Final = "operator"
ADMIN: Final = "admin"  # stands for all of them

ROLES: Final = (INGEST, DECIDE, SEND, CARE, MARKETER, OPERATOR, ADMIN)


class Caller(Struct, frozen=True):
    """A client with a key, or a person or program with a token. `rate`: requests a second, 0 for no limit."""

    name: str  # of [clients.NAME], or `oidc:` and the client that the token was issued to
    subject: str = ""  # whom a token was issued for
    roles: frozenset[str] = frozenset()
    rate: float = 0.0
    until: float = 0.0  # seconds since the epoch; 0: for ever


ANYBODY: Final = Caller("", roles=frozenset((*ROLES,)))  # where a door has no lock
NOBODY: Final = Caller("")
