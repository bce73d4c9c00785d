"""What the counterpart is asked for in one step of a purchase."""

from __future__ import annotations

from kairos.domain.message import Order
from kairos.domain.purchase import Purchase, Step


def order(purchase: Purchase, step: Step) -> Order:
    """The call of one step, at what was offered (minor units).

    The key is the purchase's and the step's, never the reply's: however often it is asked for, it takes effect once.
    """
    about_all = step.name not in ("provision", "deprovision")  # these have a product of their own
    return Order(
        key=step.key,
        msisdn=purchase.msisdn,
        product=step.product or next(iter(purchase.products), ""),
        price=purchase.price,
        currency=purchase.currency,
        charges=purchase.charges,
        action=purchase.action,
        variant=purchase.variant,
        step=step.name,
        purchase=purchase.key,
        undoes=step.undoes,
        payer=purchase.payer,
        products=purchase.products if about_all and len(purchase.products) > 1 else (),
        tax=purchase.tax,
    )
