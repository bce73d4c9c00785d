"""The order that a taken offer becomes."""

from __future__ import annotations

from kairos.domain.message import Order
from kairos.domain.subscriber import OpenOffer


def order(offer: OpenOffer, msisdn: str, currency: str) -> Order:
    """Provision and charge what was offered, at its price (minor units of `currency`, an ISO 4217 code).

    The key is the offer's, never the reply's: however often it is ordered, it takes effect once.
    """
    return Order(offer.key, msisdn, offer.product, offer.price, currency, offer.charges, offer.action, offer.variant)
