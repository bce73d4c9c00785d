"""What a charging extract says of a purchase, against what the store says: every difference has a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kairos.domain.purchase import Purchase
from kairos.fulfil.saga import purchase_of

CHARGED: Final = frozenset({"charged", "done"})
PROVISIONED: Final = frozenset({"provisioned", "done"})
REFUNDED: Final = frozenset({"refunded"})
WORDS: Final = tuple(sorted(CHARGED | PROVISIONED | REFUNDED))
"""The words that count in the column `status` of an extract; `done` is charged and provisioned in one."""

MEANINGS: Final = {
    "never accepted": "charged, and nobody said yes to it",
    "not charged": "accepted and done, and never charged",
    "charged twice": "charged more often than once, refunds aside",
    "amount differs": "charged at another price, or in another currency",
    "another payer": "charged at a number that is neither the payer's nor the subscriber's",
    "not provisioned": "charged, kept, and not all of it provisioned",
    "charged all the same": "refused or given back by the store's word, and charged without a refund",
    "refunded, yet revenue": "refunded, and done by the store's word: it counts as revenue",
    "stuck": "not answered for so long that it was given up: a person must look",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of an extract; what the file does not say is empty (`price`: None; minor units)."""

    key: str
    status: str
    msisdn: str = ""
    product: str = ""
    price: int | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind` is one of MEANINGS; `store` and `extract` say it in each one's words."""

    kind: str
    key: str
    msisdn: str
    store: str
    extract: str


def differences(
    purchase: Purchase | None, entries: Sequence[Entry], *, expected: bool = True, provisionings: bool = True
) -> Iterator[Difference]:
    """Every difference about one purchase. `expected`: the extract covers its time, so what is not there is missing.
    `provisionings`: the extract has them."""
    charges = [entry for entry in entries if entry.status in CHARGED]
    refunds = [entry for entry in entries if entry.status in REFUNDED]
    shown = _shown(entries)
    if purchase is None:
        if charges:
            yield Difference("never accepted", purchase_of(charges[0].key), charges[0].msisdn, "", shown)
        return
    told = f"{purchase.status}, {purchase.price} {purchase.currency}"
    for kind in _kinds(purchase, entries, len(charges), len(refunds), expected, provisionings):
        yield Difference(kind, purchase.key, purchase.msisdn, told, shown)


def _kinds(
    purchase: Purchase, entries: Sequence[Entry], charged: int, refunded: int, expected: bool, provisionings: bool
) -> Iterator[str]:
    done, kept = purchase.status == "done", charged > refunded
    if purchase.status == "stuck":
        yield "stuck"
    if expected and done and purchase.charges and purchase.price and not charged:
        yield "not charged"
    if charged > 1:
        yield "charged twice"
    if any(_other_amount(purchase, entry) for entry in entries if entry.status in CHARGED):
        yield "amount differs"
    if any(_other_payer(purchase, entry) for entry in entries if entry.status in CHARGED):
        yield "another payer"
    if kept and purchase.status in ("refused", "refunded", "reversed"):
        yield "charged all the same"
    if done and refunded:
        yield "refunded, yet revenue"
    given = sum(entry.status in PROVISIONED for entry in entries)
    whole = any(entry.status == "done" for entry in entries) or given >= len(purchase.products)
    if kept and provisionings and expected and not whole and purchase.status in ("done", "stuck"):
        yield "not provisioned"


def _other_amount(purchase: Purchase, entry: Entry) -> bool:
    price = entry.price if entry.price is not None else purchase.price
    return (price, entry.currency or purchase.currency) != (purchase.price, purchase.currency)


def _other_payer(purchase: Purchase, entry: Entry) -> bool:
    return bool(entry.msisdn) and entry.msisdn.lstrip("+") not in (purchase.payer or purchase.msisdn, purchase.msisdn)


def _shown(entries: Sequence[Entry]) -> str:
    return ", ".join(f"{e.status} {e.price if e.price is not None else ''} {e.currency}".strip() for e in entries)
