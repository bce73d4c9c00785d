"""The synthetic charging system: wallets, rating, recharges and orders, in one exact ledger, and a door for orders.

Money is int minor units, data int kB, voice int minutes. Every change of a main wallet is an `Entry`, so that each
balance is its opening plus its entries, always.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

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
    """One change of a main wallet: `reason` is usage, recharge, transfer or order; `reference` names which."""

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
    """The body of `POST /v1/orders`."""

    msisdn: str
    product: str
    price: str
    currency: str
    charge: bool
    action: str = ""
    variant: str = ""


@dataclass(slots=True)
class Order:
    """One Idempotency-Key, its one answer, and how often it was asked."""

    key: str
    request: OrderRequest
    at: int
    status: int  # HTTP
    reason: str  # "" where it was done
    kind: str
    charged: int
    asked: int = 1

    @property
    def done(self) -> bool:
        return self.status < 300


class Ocs:
    """The charging system. `clock` gives ms since the epoch. Never lets a wallet go below zero."""

    def __init__(self, subscribers: Sequence[Subscriber], clock: Callable[[], int]) -> None:
        self._clock = clock
        now = clock()
        self.accounts = {one.msisdn: _open(one, now) for one in subscribers}
        self.entries: list[Entry] = []
        self.recharges: list[Recharge] = []
        self.orders: dict[str, Order] = {}  # by Idempotency-Key, in the order they came
        self.orders_of: defaultdict[str, list[Order]] = defaultdict(list)  # by MSISDN
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
            if known.request == request:
                return known
            return Order(key, request, self._clock(), 422, "idempotency_key_reused", known.kind, 0)
        order = self._decide(key, request)
        self.orders[key] = order
        self.orders_of[request.msisdn.lstrip("+")].append(order)
        return order

    def _decide(self, key: str, request: OrderRequest) -> Order:
        now = self._clock()
        item = product(request.product)

        def refused(status: int, reason: str) -> Order:
            return Order(key, request, now, status, reason, item.kind if item else "", 0)

        msisdn = request.msisdn.lstrip("+")
        account = self.accounts.get(msisdn)
        if account is None:
            return refused(422, "unknown_subscriber")
        if item is None:
            return refused(422, "unknown_product")
        if request.currency != CURRENCY:
            return refused(422, "unknown_currency")
        try:
            price = read_amount(request.price) if request.charge else 0
        except ValueError:
            return refused(422, "bad_price")
        if price > account.main:
            return refused(402, "insufficient_funds")
        if price:
            self._book(msisdn, "order", -price, key)
        _provision(account, item, now)
        return Order(key, request, now, 200, "", item.kind, price)

    def _book(self, msisdn: str, reason: str, amount: int, reference: str) -> None:
        account = self.accounts[msisdn]
        account.main += amount
        self.entries.append(Entry(self._clock(), msisdn, reason, amount, reference, account.main))

    def charges_repeated(self) -> int:
        """Charges of an Idempotency-Key beyond its first, counted in the money ledger itself."""
        charges = Counter(entry.reference for entry in self.entries if entry.reason == "order")
        return sum(times - 1 for times in charges.values())


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


# --- the door -------------------------------------------------------------------------------------


def _answer(status: int, body: Mapping[str, str]) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


class OrderDoor:
    """`POST /v1/orders` of an Ocs, on HTTP. `port` 0 takes a free one."""

    def __init__(self, ocs: Ocs, host: str = "127.0.0.1", port: int = 0) -> None:
        self._ocs = ocs
        self._socket = socket.create_server((host, port), backlog=512)
        self.port = int(self._socket.getsockname()[1])
        self._server = _Server(
            uvicorn.Config(
                Starlette(routes=[Route("/v1/orders", self._orders, methods=["POST"])]),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=2,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 (uvicorn announces it no other way)
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()

    async def _orders(self, request: Request) -> Response:
        if self._ocs.out_of_service:
            return _answer(503, {"reason": "out_of_service"})
        key = request.headers.get("idempotency-key", "")
        if not key:
            return _answer(400, {"reason": "idempotency_key_missing"})
        try:
            body = msgspec.json.decode(await request.body(), type=OrderRequest)
        except ClientDisconnect:  # whoever asked has died: nothing was read, nothing is done
            return _answer(400, {"reason": "no_request"})
        except msgspec.MsgspecError as fault:
            return _answer(422, {"reason": "bad_request", "detail": str(fault)})
        order = self._ocs.order(key, body)
        return _answer(order.status, {"status": "done"} if order.done else {"reason": order.reason})


class _Server(uvicorn.Server):
    """Leaves signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
