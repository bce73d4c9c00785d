"""What stands for placeholders: money with its sign, numbers without empty decimals, times by the local clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from kairos.deliver.template import compile_template
from kairos.domain.money import Currency, split_tax
from kairos.domain.subscriber import OpenOffer
from kairos.playbook.action import Action, Variant
from kairos.playbook.playbook import Playbook
from kairos.rules.types import Type

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)
_NO_ROW: Known = {}


class Known(Protocol):
    """A row by column name: a mapping, or anything with its `get`."""

    def get(self, name: str, /) -> Any: ...


class Row:
    """A row of values by the names of its columns, looked up only when a text asks."""

    __slots__ = ("places", "values")

    def __init__(self, places: Mapping[str, int], values: Sequence[Any]) -> None:
        self.places, self.values = places, values

    def get(self, name: str, /) -> Any:
        place = self.places.get(name)
        return None if place is None else self.values[place]


class Values(dict[str, str | None]):
    """The values of one message. Columns of the row are shown when a template asks for them, and only then.

    A name that is not known, or whose value is None, makes a text unusable: there is nothing to say in its place.
    """

    __slots__ = ("currency", "row", "types")

    def __init__(
        self, own: Mapping[str, str | None], row: Known, types: Mapping[str, Type], currency: Currency
    ) -> None:
        super().__init__(own)
        self.row = row
        self.types = types
        self.currency = currency

    def __missing__(self, name: str) -> str | None:
        value = self.row.get(name)
        shown = None if value is None else self._show(name, value)
        self[name] = shown
        return shown

    def _show(self, name: str, value: Any) -> str | None:
        kind = self.types.get(name)
        if kind == "money":
            return self.currency.show(value)
        if kind == "time":
            return show_time(value if name == "local" else value + self._offset())
        if kind == "date":
            return show_date(value)
        return show(value)

    def _offset(self) -> int:
        """From UTC to the clock where the subscriber is, ms."""
        now, local = self.row.get("now"), self.row.get("local")
        return 0 if now is None or local is None else local - now


def offer_values(playbook: Playbook, action: Action, variant: Variant) -> dict[str, str | None]:
    """What every offer of a variant says alike: its fields, title and price. Made once per playbook."""
    tax = split_tax(variant.price, action.tax)[1]
    shown = _prices(variant.price, tax, playbook.currency)
    return _fields(variant) | {"title": title_of(action, variant), **shown}


def values_for(
    playbook: Playbook,
    offer: Mapping[str, str | None],
    number: int,
    short_code: str,
    expires_local: int,
    row: Known,
) -> Values:
    """What a message that makes an offer may use: its `offer_values`, what is its own, and every column of the row.

    `number` 0 means that it cannot be taken by reply. `expires_local` is the wall clock where the subscriber is, ms as
    if it were UTC (as the column `local`). A name of the offer goes before a column.
    """
    values = Values(offer, row, playbook.vocabulary.names, playbook.currency)
    values["number"] = str(number) if number else None
    values["short_code"] = short_code or None
    values["expires"] = show_time(expires_local)
    return values


def values_of(
    playbook: Playbook,
    offer: OpenOffer | None,
    expires_local: int,
    row: Known = _NO_ROW,
    short_code: str = "",
) -> Values:
    """What an answer to a reply may use: the offer as it was made (None: none is concerned), and the row's columns."""
    own: dict[str, str | None] = {"short_code": short_code or None}
    if offer is not None:
        own = _offer(offer, playbook.currency)
        own["price"] = own["price"] if offer.price else None  # "Price: 0" is no answer to whoever was given something
        own["expires"] = show_time(expires_local)
    return Values(own, row, playbook.vocabulary.names, playbook.currency)


def _offer(offer: OpenOffer, currency: Currency) -> dict[str, str | None]:
    return {
        "title": offer.title,
        **_prices(offer.price, offer.tax, currency),
        "number": str(offer.number) if offer.number else None,
        "short_code": offer.short_code or None,
    }


def _prices(price: int, tax: int, currency: Currency) -> dict[str, str | None]:
    """The price and its parts, which are said only where there is tax in it."""
    parts = {"net": currency.show(price - tax), "tax": currency.show(tax)} if tax else {"net": None, "tax": None}
    return {"price": currency.show(price), **parts}


def _fields(variant: Variant) -> dict[str, str | None]:
    return {name: show(value) for name, value in variant.fields.items()}


def title_of(action: Action, variant: Variant) -> str:
    """The action's title with the variant's fields; as it stands where one of them is not there.

    >>> small = Variant("small", 1000, 500, "", {"size": "500 MB", "days": 1.0})
    >>> title_of(Action("booster", "sell", "{size} for {days} day", "upsell", (small,), {}, (), 0, 0), small)
    '500 MB for 1 day'
    """
    if "{" not in action.title:
        return action.title
    return compile_template(action.title).fill(_fields(variant)) or action.title


def show(value: Any) -> str | None:
    """A value that is neither money nor a time: numbers with at most two decimals, none that are empty; no booleans.

    >>> show(118.5), show(2300000000.0), show(-0.001), show(3), show("FicTube"), show(True)
    ('118.5', '2300000000', '0', '3', 'FicTube', None)
    """
    if isinstance(value, bool):
        return None
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


@lru_cache(4096)
def _show_minute(minute: int) -> str | None:
    try:
        return f"{_EPOCH + timedelta(minutes=minute):%Y-%m-%d %H:%M}"
    except OverflowError:
        return None


def show_time(ms: int) -> str | None:
    """A wall clock (ms as if UTC) to the minute; None beyond the year 9999.

    >>> show_time(1_795_543_200_000)
    '2026-11-24 18:00'
    """
    return _show_minute(ms // 60_000)


def show_date(days: int) -> str | None:
    """A day since 1970-01-01, ISO 8601; None beyond the year 9999.

    >>> show_date(20_781)
    '2026-11-24'
    """
    try:
        return (_EPOCH_DAY + timedelta(days=days)).isoformat()
    except OverflowError:
        return None
