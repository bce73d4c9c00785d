"""Fulfil: the purchase that a taken offer becomes, step by step, and what the subscriber is told at its end."""

from kairos.fulfil.order import order
from kairos.fulfil.saga import ENDED, FORWARD, ONE_CALL, begin, purchase_of, reverse, take, waiting
from kairos.fulfil.settlement import INSUFFICIENT_FUNDS, Settled, settle

__all__ = [
    "ENDED",
    "FORWARD",
    "INSUFFICIENT_FUNDS",
    "ONE_CALL",
    "Settled",
    "begin",
    "order",
    "purchase_of",
    "reverse",
    "settle",
    "take",
    "waiting",
]
