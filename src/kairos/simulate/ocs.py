"""The synthetic charging system: wallets, rating, recharges and purchases, in one exact ledger (its door: `ocs_door`).

Money is int minor units, data int kB, voice int minutes. Every change of a main wallet is an `Entry`, so that each
balance is its opening plus its entries, always. A purchase is one `order`, or a `call` for each of its steps: reserve,
charge, provision, confirm, and what undoes them. Each call has a key; what was answered to a key can be asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import msgspec

from kairos.simulate.subscribers import Subscriber

CURRENCY = "XTS"
HOUR = 3_600_000  # ms

# What a product is sold as, by the prefix of its id in the catalogue.
KINDS: Mapping[str, str] = {
    "TOPUP_": "top_up",
    "MARKET_": "bundle",
    "PERSONAL_": "personal",
    "CONTENT_": "content",
    "MISSED_": "missed",
    "CARE_": "care",
    "STREAM_": "streaming",
    "COMPANION_": "companion",
    "LOYALTY_": "loyalty",
}
# Minor units per step of the service's quantity, and the step: kB for data, minutes for voice, pieces for the rest.
TARIFF: Mapping[str, tuple[int, int]] = {
    "voice": (5, 1),
    "data": (1, 500),
    "sms": (3, 1),
    "mms": (9, 1),
    "vas": (45, 1),
}


@dataclass(frozen=True, slots=True)
class Product:
    """What an order adds to the wallets. A content pass adds nothing that the wallets count."""

    id: str
    kind: str
    data_kb: int
    voice_min: int
    hours: int


# What is in a product: MB, minutes, hours of validity. One that is not here adds nothing that a wallet counts.
CONTENTS: Mapping[str, tuple[int, int, int]] = {
    "TOPUP_BONUS_15MIN": (0, 15, 24),
    "TOPUP_BONUS_30MIN": (0, 30, 72),
    "TOPUP_BONUS_90MIN": (0, 90, 168),
    "MARKET_DATA500_1D": (500, 0, 24),
    "MARKET_DATA1G_1D": (1000, 0, 24),
    "MARKET_DATA2G_7D": (2000, 0, 168),
    "MARKET_DATA5G_7D": (5000, 0, 168),
    "MARKET_TALK60_1D": (0, 60, 24),
    "LOYALTY_2G_7D": (2000, 0, 168),
    "MARKET_TALK150_1D": (0, 150, 24),
    "PERSONAL_NIGHT3G": (3000, 0, 12),
    "PERSONAL_WEEKEND200": (0, 200, 72),
    "PERSONAL_MIX_LIGHT_7D": (300, 30, 168),
    "PERSONAL_MIX_HEAVY_7D": (1000, 100, 168),
    "MISSED_TALK60_1D": (0, 60, 24),
    "MISSED_DATA500_1D": (500, 0, 24),
}


def product(product_id: str) -> Product | None:
    """A product of the catalogue: its id's prefix says the kind; None where that is unknown.

    >>> product("MARKET_DATA2G_7D")
    Product(id='MARKET_DATA2G_7D', kind='bundle', data_kb=2000000, voice_min=0, hours=168)
    >>> product("CONTENT_VIDEO_7D").kind, product("GOLD_1")
    ('content', None)
    """
    kind = next((kind for prefix, kind in KINDS.items() if product_id.startswith(prefix)), None)
    if kind is None:
        return None
    megabytes, minutes, hours = CONTENTS.get(product_id, (0, 0, 0))
    return Product(product_id, kind, megabytes * 1000, minutes, hours)


def show(amount: int) -> str:
    """Minor units as decimal text, as the wire has it.

    >>> show(1205), show(-5)
    ('12.05', '-0.05')
    """
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02d}"


def read_amount(text: str) -> int:
    """Minor units of a decimal text; ValueError where it is none, negative, or finer than the currency.

    >>> read_amount("10.00"), read_amount("0.5")
    (1000, 50)
    """
    try:
        scaled = Decimal(text) * 100
        amount = int(scaled)
    except (InvalidOperation, ValueError, OverflowError):
        raise ValueError(f"`{text}` is no amount") from None
    if amount != scaled or amount < 0:
        raise ValueError(f"`{text}` is no amount in {CURRENCY}")
    return amount


@dataclass(slots=True)
class Account:
    """One subscriber's wallets; `*_until` in ms since the epoch."""

    main: int
    opening: int
    data_kb: int = 0
    data_until: int = 0
    voice_min: int = 0
    voice_until: int = 0
    passes: list[str] = field(default_factory=list)

    def expire(self, now: int) -> None:
        """Empty what is over."""
        if self.data_until <= now:
            self.data_kb = 0
        if self.voice_until <= now:
            self.voice_min = 0


@dataclass(frozen=True, slots=True)
class Balances:
    """The wallets at one moment: what a notification says."""

    main: int
    data_kb: int
    data_until: int
    voice_min: int
    voice_until: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of a main wallet: `reason` is usage, recharge, transfer, order or refund; `reference` names which."""

    at: int
    msisdn: str
    reason: str
    amount: int
    reference: str
    balance: int  # after it


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call, session, text or purchase cost, and what is left."""

    msisdn: str
    service: str
    quantity: int
    cost: int
    balances: Balances


@dataclass(frozen=True, slots=True)
class Recharge:
    msisdn: str
    amount: int
    at: int
    balances: Balances


class OrderRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The body of `POST /v1/orders`, and of each of its steps."""

    msisdn: str
    product: str
    price: str
    currency: str
    charge: bool
    action: str = ""
    variant: str = ""
    products: tuple[str, ...] = ()  # a bundle of several
    payer: str = ""  # another subscriber, or an account of a sponsor's
    purchase: str = ""  # steps: the key that all of one purchase share
    undoes: str = ""  # release, refund, deprovision: the key of the step that is undone

    @property
    def wanted(self) -> tuple[str, ...]:
        return self.products or (self.product,)


@dataclass(slots=True)
class Order:
    """One purchase, its one answer, and how often it was asked for. In steps it is 202 until it is provisioned."""

    key: str
    request: OrderRequest
    at: int
    status: int  # HTTP
    reason: str  # "" where it was done
    kind: str
    charged: int
    asked: int = 1
    provisioned: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.status == 200


@dataclass(slots=True)
class Call:
    """One step under its key: the first request and its answer (HTTP status, reason), and how often it was asked."""

    step: str
    request: OrderRequest
    status: int
    reason: str = ""
    asked: int = 1


class RefusedError(Exception):
    """A step is refused for good."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason


class Ocs:
    """The charging system. `clock` gives ms since the epoch. Never lets a wallet go below zero."""

    def __init__(self, subscribers: Sequence[Subscriber], clock: Callable[[], int]) -> None:
        self._clock = clock
        now = clock()
        self.accounts = {one.msisdn: _open(one, now) for one in subscribers}
        self.entries: list[Entry] = []
        self.recharges: list[Recharge] = []
        self.orders: dict[str, Order] = {}  # by key of the purchase, in the order they came
        self.orders_of: defaultdict[str, list[Order]] = defaultdict(list)  # by MSISDN
        self.calls: dict[str, Call] = {}  # steps, by Idempotency-Key
        self.reserved: dict[str, tuple[str, int]] = {}  # by purchase: whose money, how much
        self.sponsors: Counter[str] = Counter()  # what payers who are no subscribers have spent, below zero
        self.honours_keys = True  # else what is asked for again is done again
        self.out_of_service = False  # answer 503 to every order: for tests of a fulfilment that is down

    def balances(self, msisdn: str) -> Balances:
        """What the wallets hold now. Raises KeyError for a stranger."""
        account = self.accounts[msisdn]
        account.expire(self._clock())
        return Balances(account.main, account.data_kb, account.data_until, account.voice_min, account.voice_until)

    def use(self, msisdn: str, service: str, quantity: int, reference: str) -> Usage | None:
        """Rate and charge what was used: the allowance first, then the main wallet, cut off where it is empty.

        None where there is neither allowance nor money for a first step.
        """
        account = self.accounts[msisdn]
        account.expire(self._clock())
        covered = self._take_allowance(account, service, quantity)
        price, step = TARIFF[service]
        affordable = account.main // price
        steps = min(-(-(quantity - covered) // step), affordable)
        if not covered and not steps:
            return None
        cost = steps * price
        if cost:
            self._book(msisdn, "usage", -cost, reference)
        return Usage(msisdn, service, covered + min(quantity - covered, steps * step), cost, self.balances(msisdn))

    @staticmethod
    def _take_allowance(account: Account, service: str, quantity: int) -> int:
        if service == "data":
            covered = min(quantity, account.data_kb)
            account.data_kb -= covered
            return covered
        if service == "voice":
            covered = min(quantity, account.voice_min)
            account.voice_min -= covered
            return covered
        return 0

    def recharge(self, msisdn: str, amount: int) -> Recharge:
        """Put money in, minor units. Raises ValueError unless it is positive."""
        if amount <= 0:
            raise ValueError(f"a recharge is more than nothing, not {amount}")
        self._book(msisdn, "recharge", amount, f"recharge-{len(self.recharges) + 1}")
        done = Recharge(msisdn, amount, self._clock(), self.balances(msisdn))
        self.recharges.append(done)
        return done

    def give_away(self, msisdn: str) -> int:
        """The subscriber sends all of the main wallet to a friend outside; nobody is notified. Returns the amount."""
        amount = self.accounts[msisdn].main
        if amount:
            self._book(msisdn, "transfer", -amount, "")
        return amount

    def order(self, key: str, request: OrderRequest) -> Order:
        """Charge and provision, at most once per key: the same key again gets the first answer and changes nothing."""
        known = self.orders.get(key)
        if known is not None:
            known.asked += 1
            if known.request != request:
                return Order(key, request, self._clock(), 422, "idempotency_key_reused", known.kind, 0)
            if self.honours_keys or not known.done:
                return known
        order = self._decide(key, request)
        if known is None:
            self._keep(order)
        return order

    def call(self, step: str, key: str, request: OrderRequest) -> Call:
        """Take one step of a purchase, at most once per key (see `order`). Raises KeyError for an unknown step."""
        does = STEPS[step]
        known = self.calls.get(key)
        if known is not None:
            known.asked += 1
            if known.request != request:
                return Call(step, request, 422, "idempotency_key_reused")
            if self.honours_keys or known.status >= 300:
                return known
        try:
            does(self, request)
            made = Call(step, request, 200)
        except RefusedError as refused:
            made = Call(step, request, refused.status, refused.reason)
            order = self.orders.get(request.purchase)
            if order and step in FORWARD:
                order.status, order.reason = refused.status, refused.reason
        return self.calls.setdefault(key, made)

    def _decide(self, key: str, request: OrderRequest) -> Order:
        now = self._clock()
        order = Order(key, request, now, 200, "", _kind(request), 0)
        try:
            price = self._price(request)
            if self._available(request) < price:
                raise RefusedError(402, "insufficient_funds")
        except RefusedError as refused:
            order.status, order.reason = refused.status, refused.reason
            return order
        if price:
            self._book(_payer(request), "order", -price, key)
        order.charged = price
        for wanted in request.wanted:
            self._provision(order, request.msisdn, wanted)
        return order

    # --- steps ------------------------------------------------------------------------------------

    def _purchase(self, request: OrderRequest) -> Order:
        """The purchase that a step belongs to; made by its first step."""
        known = self.orders.get(request.purchase)
        if known is None:
            known = Order(request.purchase, request, self._clock(), 202, "", _kind(request), 0)
            self._keep(known)
        return known

    def _reserve(self, request: OrderRequest) -> None:
        self._purchase(request)
        price = self._price(request)
        if self._available(request) < price:
            raise RefusedError(402, "insufficient_funds")
        self.reserved[request.purchase] = (_payer(request), price)

    def _charge(self, request: OrderRequest) -> None:
        order = self._purchase(request)
        price = self._price(request)
        held = self.reserved.pop(request.purchase, None)
        if held is None and self._available(request) < price:
            raise RefusedError(402, "insufficient_funds")
        if price:
            self._book(_payer(request), "order", -price, request.purchase)
        order.charged += price

    def _provide(self, request: OrderRequest) -> None:
        order = self._purchase(request)
        if product(request.product) is None:
            raise RefusedError(422, "unknown_product")
        self._provision(order, request.msisdn, request.product)
        order.status = 200

    def _confirm(self, request: OrderRequest) -> None:
        self._purchase(request)

    def _release(self, request: OrderRequest) -> None:
        order = self._purchase(request)
        order.status, order.reason = 409, order.reason or "released"
        self.reserved.pop(request.purchase, None)

    def _refund(self, request: OrderRequest) -> None:
        """Give back what the step `undoes` took; nothing where it never came."""
        order, charge = self._purchase(request), self.calls.get(request.undoes)
        order.status, order.reason = 409, "refunded"
        if charge and charge.status == 200 and order.charged:
            self._book(_payer(charge.request), "refund", order.charged, request.purchase)
            order.charged = 0

    def _withdraw(self, request: OrderRequest) -> None:
        """Take a product away again; nothing where it never came."""
        order, provided = self._purchase(request), self.calls.get(request.undoes)
        order.status, order.reason = 409, order.reason or "withdrawn"
        if not provided or provided.status != 200 or request.product not in order.provisioned:
            return
        account, item = self.accounts[request.msisdn.lstrip("+")], product(request.product)
        assert item is not None
        order.provisioned.remove(item.id)
        account.passes.remove(item.id)
        account.data_kb = max(0, account.data_kb - item.data_kb)
        account.voice_min = max(0, account.voice_min - item.voice_min)

    # --- small print ------------------------------------------------------------------------------

    def _keep(self, order: Order) -> None:
        self.orders[order.key] = order
        self.orders_of[order.request.msisdn.lstrip("+")].append(order)

    def _price(self, request: OrderRequest) -> int:
        """What it costs the payer. Raises RefusedError for what can never be."""
        if request.msisdn.lstrip("+") not in self.accounts:
            raise RefusedError(422, "unknown_subscriber")
        if any(product(wanted) is None for wanted in request.wanted):
            raise RefusedError(422, "unknown_product")
        if request.currency != CURRENCY:
            raise RefusedError(422, "unknown_currency")
        try:
            return read_amount(request.price) if request.charge else 0
        except ValueError:
            raise RefusedError(422, "bad_price") from None

    def _available(self, request: OrderRequest) -> int:
        """What the payer can still spend; a sponsor is always good for it."""
        payer = _payer(request)
        if payer not in self.accounts:
            return 2**63
        return self.accounts[payer].main - sum(held for whose, held in self.reserved.values() if whose == payer)

    def _provision(self, order: Order, msisdn: str, wanted: str) -> None:
        item = product(wanted)
        assert item is not None
        _provision(self.accounts[msisdn.lstrip("+")], item, self._clock())
        order.provisioned.append(item.id)

    def _book(self, msisdn: str, reason: str, amount: int, reference: str) -> None:
        account = self.accounts.get(msisdn)
        if account is None:
            self.sponsors[msisdn] += amount
        else:
            account.main += amount
        balance = account.main if account else self.sponsors[msisdn]
        self.entries.append(Entry(self._clock(), msisdn, reason, amount, reference, balance))

    # --- what a test counts -----------------------------------------------------------------------

    def charges(self) -> Counter[str]:
        """How often each purchase was charged, less its refunds, counted in the money ledger itself."""
        sign = {"order": 1, "refund": -1}
        counted: Counter[str] = Counter()
        for entry in self.entries:
            if entry.reason in sign:
                counted[entry.reference] += sign[entry.reason]
        return counted

    def charges_repeated(self) -> int:
        """Charges of a purchase beyond its first, refunded or not, counted in the money ledger itself."""
        charges = Counter(entry.reference for entry in self.entries if entry.reason == "order")
        return sum(times - 1 for times in charges.values())

    def unbalanced(self) -> list[str]:
        """Purchases whose money and products do not agree: charged without all that was wanted, or the other way."""
        charges, found = self.charges(), []
        for order in self.orders.values():
            costs = order.request.charge and order.request.price.strip("0.") != ""
            paid = charges[order.key] == bool(order.provisioned) if costs else not charges[order.key]
            whole = not order.done or set(order.request.wanted) <= set(order.provisioned)
            if not (paid and whole):
                found.append(order.key)
        return found


FORWARD = ("reserve", "charge", "provision", "confirm")
STEPS: Mapping[str, Callable[[Ocs, OrderRequest], None]] = {
    "reserve": Ocs._reserve,
    "charge": Ocs._charge,
    "provision": Ocs._provide,
    "confirm": Ocs._confirm,
    "release": Ocs._release,
    "refund": Ocs._refund,
    "deprovision": Ocs._withdraw,
}


def _payer(request: OrderRequest) -> str:
    return (request.payer or request.msisdn).lstrip("+")


def _kind(request: OrderRequest) -> str:
    first = product(request.wanted[0])
    return first.kind if first else ""


def _open(subscriber: Subscriber, now: int) -> Account:
    opening = subscriber.opening
    return Account(
        main=opening.main,
        opening=opening.main,
        data_kb=opening.data_kb,
        data_until=_minute(now + opening.data_hours * HOUR),
        voice_min=opening.voice_min,
        voice_until=_minute(now + opening.voice_hours * HOUR),
    )


def _minute(at: int) -> int:
    """Expiries fall on a whole minute, as notifications write them."""
    return at - at % 60_000


def _provision(account: Account, item: Product, now: int) -> None:
    account.expire(now)
    until = _minute(now + item.hours * HOUR)
    if item.data_kb:
        account.data_kb += item.data_kb
        account.data_until = max(account.data_until, until)
    if item.voice_min:
        account.voice_min += item.voice_min
        account.voice_until = max(account.voice_until, until)
    account.passes.append(item.id)
