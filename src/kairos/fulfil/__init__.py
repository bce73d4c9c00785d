"""Fulfil: the purchase that a taken offer becomes, step by step, and what the subscriber is told at its end."""

from kairos.fulfil.order import order
from kairos.fulfil.saga import (
    CHANGED_HANDS,
    ENDED,
    FORWARD,
    ONE_CALL,
    begin,
    go_back,
    purchase_of,
    reverse,
    take,
    takes,
    waiting,
)
from kairos.fulfil.settlement import INSUFFICIENT_FUNDS, Settled, settle

__all__ = [
    "CHANGED_HANDS",
    "ENDED",
    "FORWARD",
    "INSUFFICIENT_FUNDS",
    "ONE_CALL",
    "Settled",
    "begin",
    "go_back",
    "order",
    "purchase_of",
    "reverse",
    "settle",
    "take",
    "takes",
    "waiting",
]
