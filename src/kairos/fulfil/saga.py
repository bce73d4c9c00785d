"""The saga of a purchase: reserve, charge, provision, confirm; or back again, in reverse order. State and news give the
next state; nothing here waits or sends.

One step is under way at a time. Its start is committed before it is attempted and its end before the next begins, so
whatever crashes, what is known of a purchase is never behind what was asked for by more than one step, and that step is
asked for by its key.

- A step that is refused ends the way forward: what was done is undone, the latest first.
- A provisioning that is not answered for long is given up and undone with the rest: undoing what never came is no harm.
- Any other step that is not answered for long leaves the purchase `stuck`: money may have moved, so a person must look.
- What cannot be undone leaves it stuck, too, once all the rest is undone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from msgspec.structs import replace

from kairos.domain.purchase import Purchase, Step
from kairos.domain.subscriber import OpenOffer

ORDER: Final = "order"
FORWARD: Final = ("reserve", "charge", "provision", "confirm")
UNDO: Final = {"reserve": "release", "charge": "refund", "provision": "deprovision"}
ONE_CALL: Final = (ORDER,)
"""The steps of a counterpart that charges and provisions in one call: done or refused, and never anything between."""

CHANGED_HANDS: Final = "number changed hands"
"""Why a purchase goes no further: what is asked for at its number now would be another person's."""

ENDED: Final = frozenset({"done", "refused", "refunded", "reversed"})


def purchase_of(key: str) -> str:
    """The purchase that a call's key belongs to.

    >>> purchase_of("5da2-17~2.charge"), purchase_of("5da2-17")
    ('5da2-17~2', '5da2-17')
    """
    return key.partition(".")[0]


def begin(
    offer: OpenOffer, subscriber: int, msisdn: str, currency: str, now: int, steps: Collection[str] = ONE_CALL
) -> Purchase:
    """The purchase that a taken offer becomes, its first step under way. `steps`: those that the counterpart has."""
    key = offer.key if offer.attempt == 1 else f"{offer.key}~{offer.attempt}"
    products = offer.products or ((offer.product,) if offer.product else ())
    planned = tuple(_planned(key, products, offer, steps)) or (Step("confirm", f"{key}.confirm"),)
    return Purchase(
        key=key,
        offer=offer.key,
        decision=offer.decision,
        subscriber=subscriber,
        msisdn=msisdn,
        payer=offer.payer,
        action=offer.action,
        variant=offer.variant,
        products=products,
        price=offer.price,
        currency=currency,
        charges=offer.charges,
        made=now,
        steps=(_moved(planned[0], "under_way", now), *planned[1:]),
        changed=now,
        proof=offer.proof,
        advance=offer.kind == "advance",
        tax=offer.tax,
        test=offer.test,
    )


def _planned(key: str, products: tuple[str, ...], offer: OpenOffer, steps: Collection[str]) -> Iterator[Step]:
    """The way forward. What is not charged needs no reservation, and what has no product none provisioned."""
    if ORDER in steps:
        yield Step(ORDER, key, products[0] if products else "")
        return
    for name in FORWARD:
        if name in steps and name == "provision":
            for number, product in enumerate(products, 1):
                yield Step(name, f"{key}.{name}{number}", product)
        elif name in steps and (name == "confirm" or offer.charges):
            yield Step(name, f"{key}.{name}")


def waiting(purchase: Purchase) -> Step | None:
    """The step that is under way: what to ask the counterpart for."""
    return next((step for step in purchase.steps if step.status == "under_way"), None)


def take(purchase: Purchase, key: str, status: str, reason: str, now: int) -> Purchase | None:
    """What news of a step makes of a purchase: `done`, `refused` or `unanswered`.

    None, and nothing changes, where that step is not under way: news that comes twice, or too late. A stuck step may
    still be answered: a person has looked.
    """
    expected = ("under_way", "unanswered") if purchase.status == "stuck" else ("under_way",)
    place = next((i for i, step in enumerate(purchase.steps) if step.key == key and step.status in expected), None)
    if place is None:
        return None
    step = _moved(purchase.steps[place], status, now, reason)
    steps = (*purchase.steps[:place], step, *purchase.steps[place + 1 :])
    if step.undoes:
        return _onward(replace(purchase, steps=steps, status="undoing", changed=now), now)
    if status == "done":
        return _onward(replace(purchase, steps=steps, status="under_way", changed=now), now)
    if status == "refused" or step.name == "provision":
        return _back(replace(purchase, steps=steps, reason=reason, changed=now), now)
    return replace(purchase, steps=steps, status="stuck", reason=reason, changed=now)


def go_back(purchase: Purchase, reason: str, now: int) -> Purchase:
    """Go no further: the step that was begun, and not yet asked for, is refused. What undoes or confirms goes on."""
    step = waiting(purchase)
    if step is None or not takes(step.name):
        return purchase
    return take(purchase, step.key, "refused", reason, now) or purchase


def takes(step: str) -> bool:
    """Whether a step takes money or gives a product, so that whose number it is about matters."""
    return step in (ORDER, "reserve", "charge", "provision")


def reverse(purchase: Purchase, status: str, reason: str, now: int, amount: int | None = None) -> Purchase | None:
    """What somebody outside says of a purchase: `reversed`, its money went back; or of a stuck one what became of the
    step that was not answered: `done` or `refused`. None where that changes nothing, or cannot be.

    `amount` (minor units) is what went back of its price in all; less than the price leaves the rest a sale.
    """
    if status == "reversed":
        whole, returned = amount in (None, purchase.price), amount or 0
        if purchase.status not in (("done", "stuck") if whole else ("done",)):
            return None
        if whole:
            return replace(purchase, status="reversed", returned=purchase.price, reason=reason, changed=now)
        costs = purchase.charges or purchase.advance
        if not costs or not purchase.returned < returned < purchase.price:
            return None
        return replace(purchase, returned=returned, reason=reason, changed=now)
    unanswered = next((step for step in purchase.steps if step.status == "unanswered"), None)
    if purchase.status != "stuck" or unanswered is None or any(step.undoes for step in purchase.steps):
        return None
    return take(purchase, unanswered.key, status, reason, now)


def _onward(purchase: Purchase, now: int) -> Purchase:
    """Begin the next step; where there is none, the purchase has ended."""
    place = next((i for i, step in enumerate(purchase.steps) if step.status == "planned"), None)
    if place is None:
        return replace(purchase, status=_end(purchase))
    begun = _moved(purchase.steps[place], "under_way", now)
    return replace(purchase, steps=(*purchase.steps[:place], begun, *purchase.steps[place + 1 :]))


def _back(purchase: Purchase, now: int) -> Purchase:
    """Undo what was done, and what may have been; a charge has taken its reservation with it."""
    went = [step for step in purchase.steps if step.status in ("done", "unanswered")]
    charged = any(step.name == "charge" for step in went)
    undoing = [
        Step(UNDO[step.name], step.key.replace(f".{step.name}", f".{UNDO[step.name]}"), step.product, step.key)
        for step in reversed(went)
        if step.name in UNDO and not (charged and step.name == "reserve")
    ]
    kept = [step for step in purchase.steps if step.status != "planned"]
    return _onward(replace(purchase, steps=(*kept, *undoing), status="undoing"), now)


def _end(purchase: Purchase) -> str:
    undoing = [step for step in purchase.steps if step.undoes]
    if any(step.status != "done" for step in undoing):
        return "stuck"
    if any(step.name == "refund" for step in undoing):
        return "refunded"
    return "done" if purchase.status == "under_way" else "refused"


def _moved(step: Step, status: str, now: int, reason: str = "") -> Step:
    return replace(step, status=status, at=now, reason=reason)
