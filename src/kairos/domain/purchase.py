"""A purchase: what was taken, who pays, the steps that it takes and how each of them ended. Kept for good."""

from __future__ import annotations

from msgspec import Struct

from kairos.domain.budget import Taken


class Said(Struct, frozen=True, array_like=True, gc=False):
    """A yes, as proof: the identity of the reply that brought it, its text, and when it came (ms)."""

    identity: str
    text: str
    at: int


class Step(Struct, frozen=True, array_like=True, gc=False):
    """One call to the counterpart. `name`: order; or reserve, charge, provision, confirm; or what undoes one of them.

    Status: planned, under_way (committed, and being asked for), done, refused, unanswered (given up).
    """

    name: str
    key: str  # its Idempotency-Key
    product: str = ""
    undoes: str = ""  # key of the step that it undoes
    status: str = "planned"
    at: int = 0  # when the status changed, ms
    reason: str = ""


class Purchase(Struct, frozen=True, array_like=True, gc=False):
    """Status: under_way, undoing, done, refused (nothing is charged), refunded, reversed (from outside), stuck."""

    key: str  # of the offer; `~2`, `~3` follow where a refusal for want of money was followed by another yes
    offer: str
    decision: int
    subscriber: int
    msisdn: str  # who receives
    payer: str  # who pays, where it is another: an MSISDN or an account of a sponsor's
    action: str
    variant: str
    products: tuple[str, ...]
    price: int  # minor units of `currency`
    currency: str
    charges: bool
    made: int  # when it was accepted, ms
    steps: tuple[Step, ...]
    status: str = "under_way"
    reason: str = ""
    changed: int = 0
    proof: tuple[Said, ...] = ()  # what the subscriber said
    advance: bool = False  # the price is owed, not paid
    tax: int = 0  # the part of its price that is tax
    returned: int = 0  # minor units that went back outside, in all
    test: bool = False  # of a test subscriber: no report counts it
    taken: tuple[Taken, ...] = ()  # of budgets

    @property
    def kept(self) -> int:
        """What it brought, minor units: nothing until it is done, and what went back is none of it."""
        return self.price - self.returned if self.charges and self.status == "done" else 0
