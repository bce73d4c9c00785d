"""What a charging extract says of a purchase, against what the store says: every difference has a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kairos.domain.money import Currency
from kairos.domain.purchase import Purchase
from kairos.fulfil.saga import purchase_of

CHARGED: Final = frozenset({"charged", "done"})
PROVISIONED: Final = frozenset({"provisioned", "done"})
REFUNDED: Final = frozenset({"refunded"})
DEPROVISIONED: Final = frozenset({"deprovisioned"})
WORDS: Final = tuple(sorted(CHARGED | PROVISIONED | REFUNDED | DEPROVISIONED))
"""The words that count in the column `status` of an extract; `done` is charged and provisioned in one."""

MEANINGS: Final = {
    "never accepted": "charged, provisioned or refunded, and nobody said yes to it",
    "not charged": "accepted and done, and never charged",
    "charged twice": "charged more often than once, refunds aside",
    "amount differs": "charged at another price, or charged or refunded in another currency",
    "tax differs": "charged with another part of it as tax",
    "another payer": "charged at another number or account than whoever pays for it",
    "charged all the same": "refused, free, or given back by the store's word, and more was charged than refunded",
    "refunded, yet revenue": "more was refunded than the store knows of: it counts as revenue",
    "refunded too much": "more was refunded than was charged",
    "not provisioned": "done, or charged and kept, and not all of it provisioned",
    "provisioned twice": "one product provisioned more often than once",
    "provisioned all the same": "refused or refunded by the store's word, and provisioned",
    "another receiver": "provisioned at another number than whoever bought it",
    "stuck": "not answered for so long that it was given up: a person must look",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of an extract; what the file does not say is empty (`price`, `tax`: None; minor units)."""

    key: str
    status: str
    msisdn: str = ""
    product: str = ""
    price: int | None = None
    currency: str = ""
    tax: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind` is one of MEANINGS; `store` and `extract` say it in each one's words."""

    kind: str
    key: str
    msisdn: str
    store: str
    extract: str


def differences(
    purchase: Purchase | None,
    entries: Sequence[Entry],
    *,
    expected: bool = True,
    provisionings: bool = True,
    digits: int = 2,
) -> Iterator[Difference]:
    """Every difference about one purchase. `expected`: the extract covers its time, so what is not there is missing.
    `provisionings`: the extract has them. `digits`: decimals of the currency."""
    show = Currency("", digits).exact
    shown = _shown(entries, show)
    if purchase is None:
        known = [entry for entry in entries if entry.status in WORDS]
        if known:
            yield Difference("never accepted", purchase_of(known[0].key), known[0].msisdn, "", shown)
        return
    told = f"{purchase.status}, {show(purchase.price)} {purchase.currency}"
    told += f", {show(purchase.returned)} given back" if purchase.status == "done" and purchase.returned else ""
    kinds = [*_of_money(purchase, entries, expected), *_of_products(purchase, entries, expected and provisionings)]
    for kind in (*kinds, *(["stuck"] if purchase.status == "stuck" else [])):
        yield Difference(kind, purchase.key, purchase.msisdn, told, shown)


def _of_money(purchase: Purchase, entries: Sequence[Entry], expected: bool) -> Iterator[str]:
    charges = [entry for entry in entries if entry.status in CHARGED]
    refunds = [entry for entry in entries if entry.status in REFUNDED]
    paid, back = _sum(purchase, charges), _sum(purchase, refunds)
    done = purchase.status == "done"
    if expected and done and purchase.charges and purchase.price and not charges:
        yield "not charged"
    if len(charges) > 1:
        yield "charged twice"
    priced_otherwise = purchase.charges and any(entry.price not in (None, purchase.price) for entry in charges)
    if priced_otherwise or any(entry.currency not in ("", purchase.currency) for entry in (*charges, *refunds)):
        yield "amount differs"
    if any(entry.tax not in (None, purchase.tax) for entry in charges):
        yield "tax differs"
    if any(_other_number(entry, purchase.payer or purchase.msisdn) for entry in charges):
        yield "another payer"
    if done and purchase.charges:  # what was charged too much is a difference of its own, and may have gone back
        returned = max(0, back - max(0, paid - purchase.price))
        if returned > purchase.returned:
            yield "refunded, yet revenue"
        elif expected and returned < purchase.returned:
            yield "charged all the same"
    elif done or purchase.status == "refused" or (purchase.status in ("refunded", "reversed") and expected):
        if paid > back:
            yield "charged all the same"
        elif back > paid and expected:
            yield "refunded too much"


def _of_products(purchase: Purchase, entries: Sequence[Entry], expected: bool) -> Iterator[str]:
    """What is provisioned must be all that was bought, and not more. Rows that name no product stand for any."""
    alone = [entry for entry in entries if entry.status in PROVISIONED - CHARGED]
    given = Counter(entry.product for entry in alone)
    given.subtract(entry.product for entry in entries if entry.status in DEPROVISIONED)
    any_one = given.pop("", 0)
    in_one = any(entry.status in PROVISIONED & CHARGED for entry in entries)
    lacking = 0 if in_one else sum(given[product] < 1 for product in purchase.products)
    if expected and lacking > any_one and _is_theirs(purchase, entries):
        yield "not provisioned"
    if any(count > 1 for count in given.values()):
        yield "provisioned twice"
    if expected and purchase.status in ("refused", "refunded") and (any_one > 0 or any(n > 0 for n in given.values())):
        yield "provisioned all the same"
    if any(_other_number(entry, purchase.msisdn) for entry in alone):
        yield "another receiver"


def _is_theirs(purchase: Purchase, entries: Sequence[Entry]) -> bool:
    """Whether its products are due: it is done and cost nothing, or was charged and some of that kept."""
    paid = _sum(purchase, [entry for entry in entries if entry.status in CHARGED])
    kept = paid > _sum(purchase, [entry for entry in entries if entry.status in REFUNDED])
    return (purchase.status in ("done", "stuck") and kept) or (purchase.status == "done" and not purchase.charges)


def _sum(purchase: Purchase, entries: Sequence[Entry]) -> int:
    """Minor units; some extracts write what went back with a minus. A row without an amount is of the whole price."""
    return sum(abs(entry.price) if entry.price is not None else purchase.price for entry in entries)


def _other_number(entry: Entry, expected: str) -> bool:
    return bool(entry.msisdn) and entry.msisdn.lstrip("+") != expected.lstrip("+")


def _shown(entries: Sequence[Entry], show: Callable[[int], str]) -> str:
    return ", ".join(
        " ".join((e.status, "" if e.price is None else show(e.price), e.currency)).strip() for e in entries
    )
