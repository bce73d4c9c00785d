"""Fulfil: what is ordered when an offer is taken, and what the subscriber is told once the order has its answer."""

from kairos.fulfil.order import order
from kairos.fulfil.settlement import INSUFFICIENT_FUNDS, Settled, settle

__all__ = ["INSUFFICIENT_FUNDS", "Settled", "order", "settle"]
