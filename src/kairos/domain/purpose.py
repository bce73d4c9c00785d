"""Why something is said: its purpose decides what it must mind, and what comes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

Purpose = Literal["regulatory", "service", "care", "marketing", "third_party"]
Minded = Literal["switches", "freezes", "limits", "quiet hours", "data", "consent", "pauses", "holdout"]

MARKETING: Final[Purpose] = "marketing"  # where a record names no purpose, as most are of this one


def recorded(purpose: Purpose) -> str:
    """As records, limits and switches are told of it."""
    return "" if purpose == MARKETING else purpose


class Standing(NamedTuple):
    """`rank`: the higher is said first. `minds`: what closes or counts it, where the contact policy says nothing."""

    rank: int
    minds: frozenset[Minded]


_SERVICE: Final[frozenset[Minded]] = frozenset({"switches", "freezes"})
_CARE: Final[frozenset[Minded]] = _SERVICE | {"limits", "quiet hours", "data"}
_ALL: Final[frozenset[Minded]] = frozenset(get_args(Minded))

STANDINGS: Final[Mapping[Purpose, Standing]] = {
    "regulatory": Standing(4, frozenset()),
    "service": Standing(3, _SERVICE),
    "care": Standing(2, _CARE),
    "marketing": Standing(1, _ALL),
    "third_party": Standing(0, _ALL),
}


def minding(what: Minded) -> tuple[Purpose, ...]:
    """The purposes that mind something, where nothing else is said.

    >>> minding("consent"), minding("freezes")
    (('marketing', 'third_party'), ('service', 'care', 'marketing', 'third_party'))
    """
    return tuple(purpose for purpose, standing in STANDINGS.items() if what in standing.minds)
