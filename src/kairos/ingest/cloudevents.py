"""CloudEvents 1.0 over HTTP: structured, batch and binary mode, read into events of the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from kairos.domain.event import Event
from kairos.domain.inputs import CHANGES, Change
from kairos.domain.money import Currency
from kairos.domain.subscriber import Bucket, Owned
from kairos.errors import EventError
from kairos.ingest.jmes import written as as_it_came
from kairos.ingest.names import FACTS, read_name
from kairos.ingest.numbers import normalise
from kairos.ingest.values import LONGEST_TEXT, NumberText, amount, day, in_range, nearest, number, quoted, time
from kairos.playbook.vocabulary import Vocabulary, Wallet

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
AHEAD_AT_MOST: Final = 3_600_000  # ms; a sender's clock may be ahead of ours by this
LONGEST_IDENTITY: Final = 512  # source and id together
MOST_BALANCES: Final = 64  # in one event
MOST_PRODUCTS: Final = 64  # likewise
MOST_EVENTS: Final = 1000  # in one batch

_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time")

Convert = Callable[[Any], Any]  # a JSON value -> a value of the row; raises ValueError


class Readable(Struct, frozen=True):
    """An event, and the id that it was sent with."""

    id: str
    event: Event | Change


class Unreadable(Struct, frozen=True):
    """An event that could not be read, by the id that it was sent with (may be empty), why, and as it was sent."""

    id: str
    error: EventError
    sent: Any = None

    @property
    def written(self) -> bytes:
        """Its JSON, with numbers as they came."""
        return as_it_came(self.sent)


class UnsupportedMediaTypeError(EventError):
    """The body is in no form that can be read."""


class EventReader:
    """Reads request bodies for one vocabulary. Make one per playbook revision; it keeps nothing between calls."""

    def __init__(self, vocabulary: Vocabulary, currency: Currency, region: str = "") -> None:
        self.region = region
        balances = partial(_balances, vocabulary.wallets)
        self.converters: dict[str, Convert] = {
            "text": _text,
            "number": _number,
            "money": partial(_money, currency.digits),
            "boolean": _boolean,
            "time": partial(_written, time, "a time"),
            "date": partial(_written, day, "a date"),
            "balances": balances,
            "products": _products,
        }
        self.kinds: dict[str, dict[str, Convert]] = {
            kind: {name: self.converters[type_] for name, type_ in fields.items()}
            for kind, fields in vocabulary.events.items()
        }
        self._decode = msgspec.json.Decoder(float_hook=NumberText).decode

    def read(self, content_type: str, headers: Mapping[str, str], body: bytes, now: int) -> list[Readable | Unreadable]:
        """One entry per event, in order. `headers` have names in lower case; they matter in binary mode only.

        Raises UnsupportedMediaTypeError where the content type is none of CloudEvents', EventError where the body as a
        whole is not to be read.
        """
        media = content_type.partition(";")[0].strip().lower()
        if media == BATCH:
            events = self._json(body)
            if not isinstance(events, list):
                raise EventError("a batch is a JSON array of events")
            if len(events) > MOST_EVENTS:
                raise EventError(f"the batch has {len(events)} events; send at most {MOST_EVENTS} at once")
            return [self._event(event, now) for event in events]
        if media == STRUCTURED:
            return [self._event(self._json(body), now)]
        if "ce-specversion" in headers or "ce-id" in headers:
            return [self._event(self._binary(media, headers, body), now)]
        raise UnsupportedMediaTypeError(
            f"`{quoted(media)}` is not a form of CloudEvents; send {STRUCTURED}, {BATCH}, or ce- headers"
        )

    def fields(self, kind: str, body: bytes) -> dict[str, Any]:
        """The typed data of a kind of event from its JSON object. A kind that is none has no field. EventError."""
        return _data({"data": self._json(body)}, kind, self.kinds.get(kind, {}))

    def _json(self, body: bytes) -> Any:
        try:
            return self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            raise EventError(f"the body is not JSON: {error}") from None
        except RecursionError:
            raise EventError("the body is nested too deeply") from None

    def _binary(self, media: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        if not _is_json(media) and body:
            raise UnsupportedMediaTypeError(f"`{quoted(media)}` cannot be read; send the data as application/json")
        event: dict[str, Any] = {
            name: unquote(headers[f"ce-{name}"]) for name in (*_ATTRIBUTES, *FACTS) if f"ce-{name}" in headers
        }
        if body:
            event["data"] = self._json(body)
        return event

    def _event(self, event: Any, now: int) -> Readable | Unreadable:
        if not isinstance(event, dict):
            return Unreadable("", EventError("an event is a JSON object"), event)
        try:
            return self._typed(event, now)
        except EventError as error:
            known_id = event.get("id")
            return Unreadable(known_id[:LONGEST_IDENTITY] if isinstance(known_id, str) else "", error, event)

    def _typed(self, event: dict[str, Any], now: int) -> Readable:
        version, id_, source, type_, subject, happened = (_attribute(event, name) for name in _ATTRIBUTES)
        if version != "1.0":
            raise EventError(f"`specversion` is `{quoted(version)}`; it must be `1.0`", "specversion")
        if len(source) + len(id_) >= LONGEST_IDENTITY:
            raise EventError(f"`source` and `id` together are longer than {LONGEST_IDENTITY} characters", "id")
        kind = type_ if type_ in self.kinds else type_.rpartition(".")[2]
        identity = f"{source}/{id_}"
        if kind in CHANGES:
            at = _happened(happened, now)
            data = _data(event, kind, dict.fromkeys((*FACTS, "number"), _text))
            return Readable(id_, self._change(identity, kind, subject, at, data, _facts(event)))
        fields = self.kinds.get(kind)
        if fields is None:
            raise EventError(_unknown("event type", type_, kind, self.kinds), "type")
        name = _named("subject", read_name, subject, self.region)
        named = None if event.keys().isdisjoint(FACTS) else _facts(event)
        at = _happened(happened, now)
        return Readable(id_, Event(identity, kind, name, at, _data(event, kind, fields), None, named))

    def made(
        self, identity: str, kind: str, subject: str, at: int, data: dict[str, Any], facts: dict[str, str]
    ) -> Event | Change:
        """An event of typed data, at a time that can be. Names and facts are read here. Raises EventError."""
        if kind in CHANGES:
            return self._change(identity, kind, subject, at, data, _facts(facts))
        name = _named("subscriber", read_name, subject, self.region)
        return Event(identity, kind, name, at, data, None, _facts(facts) if facts else None)

    def _change(
        self, identity: str, kind: str, subject: str, at: int, data: dict[str, Any], facts: dict[str, str]
    ) -> Change:
        """News of who has a number: its facts stand among the attributes or in the data."""
        if ("number" in data) != (kind == "number_changed"):
            raise EventError("`number` is the new number of a `number_changed`, and of nothing else", "number")
        number = _named("number", normalise, data["number"], self.region) if "number" in data else ""
        name = _named("subject", read_name, subject, self.region)
        return Change(identity, kind, name, at, facts | _facts(data), number)


def _attribute(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if value is None or value == "":
        raise EventError(f"`{name}` is missing", name)
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise EventError(f"`{name}` must be text, not `{quoted(value)}`", name)
    return value


def _facts(event: Mapping[str, Any]) -> dict[str, str]:
    return {name: _named(name, read, _attribute(event, name)) for name, read in FACTS.items() if name in event}


def _named(field: str, read: Callable[..., str], *values: str) -> str:
    try:
        return read(*values)
    except EventError as error:
        raise EventError(f"`{field}`: {error}", field) from None


def _happened(text: str, now: int) -> int:
    """When it happened; a little in the future is now, because clocks differ."""
    try:
        happened = time(text)
    except ValueError as error:
        raise EventError(f"`time`: {error}", "time") from None
    return happened if 0 <= happened <= now else in_time("time", happened, text, now)


def in_time(field: str, happened: int, written: object, now: int) -> int:
    """A time that can be; a little in the future is now. Raises EventError."""
    if happened < 0:
        raise EventError(f"`{field}`: `{quoted(written)}` is before 1970", field)
    if happened > now + AHEAD_AT_MOST:
        raise EventError(f"`{field}`: `{quoted(written)}` is more than an hour in the future; check the clocks", field)
    return min(happened, now)


def _data(event: dict[str, Any], kind: str, fields: dict[str, Convert]) -> dict[str, Any]:
    if "data_base64" in event:
        raise EventError("`data_base64` is not supported; send `data` as JSON", "data_base64")
    media = event.get("datacontenttype")
    if media is not None and not (isinstance(media, str) and _is_json(media.partition(";")[0].strip().lower())):
        raise EventError(f"`datacontenttype` is `{quoted(media)}`; it must be application/json", "datacontenttype")
    data = event.get("data")
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise EventError(f"`data` must be an object with the fields of `{kind}`", "data")
    typed = {}
    for name, value in data.items():
        convert = fields.get(name)
        if convert is None:
            raise EventError(_unknown(f"field of `{kind}`", name, name, fields), name)
        if value is not None:
            try:
                typed[name] = convert(value)
            except ValueError as error:
                raise EventError(f"`{name}`: {error}", name) from None
    return typed


def _unknown(what: str, written: str, word: str, known: Mapping[str, object]) -> str:
    return f"`{quoted(written)}` is not a known {what}; {nearest(quoted(word), known)}"


def _is_json(media: str) -> bool:
    return media in ("application/json", "text/json") or media.endswith("+json")


# --- one converter for each type of field --------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise ValueError(f"must be text, not `{quoted(value)}`")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"is longer than {LONGEST_TEXT} characters")
    return value


def _number(value: Any) -> float:
    if isinstance(value, NumberText) or (isinstance(value, int) and not isinstance(value, bool)):
        return number(value)
    raise ValueError(f"must be a number, not `{quoted(value)}`")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, not `{quoted(value)}`")


def _money(digits: int, value: Any) -> int:
    if isinstance(value, str):
        return amount(value, digits)
    if isinstance(value, int) and not isinstance(value, bool):
        return in_range(value * 10**digits, value)
    raise ValueError(f'must be an amount such as "12.50", not `{quoted(value)}`')


def _written(read: Callable[[str], int], what: str, value: Any) -> int:
    if isinstance(value, str) and not isinstance(value, NumberText):
        return read(value)
    raise ValueError(f"must be {what} as text, not `{quoted(value)}`")


def _balances(wallets: Mapping[str, Wallet], value: Any) -> list[Bucket]:
    """Either [{"wallet", "amount", "expires"?}, ...] or, where nothing expires, {wallet: amount}."""
    if isinstance(value, dict):
        value = [{"wallet": wallet, "amount": left} for wallet, left in value.items()]
    if not isinstance(value, list):
        raise ValueError("must be a list of balances, or an object of amounts by wallet")
    if len(value) > MOST_BALANCES:
        raise ValueError(f"has {len(value)} entries; at most {MOST_BALANCES} are allowed")
    return [_bucket(wallets, entry) for entry in value]


def _bucket(wallets: Mapping[str, Wallet], entry: Any) -> Bucket:
    if not isinstance(entry, dict) or not isinstance(entry.get("wallet"), str):
        raise ValueError(f'`{quoted(entry)}` is not a balance such as {{"wallet": "main", "amount": "12.50"}}')
    name = entry["wallet"]
    wallet = wallets.get(name)
    if wallet is None:
        raise ValueError(_unknown("wallet", name, name, wallets))
    extra = next((key for key in entry if key not in ("wallet", "amount", "expires")), None)
    if extra is not None:
        raise ValueError(_unknown("field of a balance", extra, extra, dict.fromkeys(("wallet", "amount", "expires"))))
    if entry.get("amount") is None:
        raise ValueError(f"`amount` of `{name}` is missing")
    expires = entry.get("expires")
    # 0 means never, so that an end at or before the epoch is the next one: long gone either way
    ends = 0 if expires is None else max(1, _written(time, "a time", expires))
    return Bucket(name, _money(wallet.digits, entry["amount"]), ends)


def _products(value: Any) -> list[Owned]:
    """[{"product", "until"?}, ...], or one of them: what they have, and until when."""
    entries = [value] if isinstance(value, dict) else value
    if not isinstance(entries, list):
        raise ValueError("must be a list of products")
    if len(entries) > MOST_PRODUCTS:
        raise ValueError(f"has {len(entries)} entries; at most {MOST_PRODUCTS} are allowed")
    return [_product(entry) for entry in entries]


def _product(entry: Any) -> Owned:
    known = dict.fromkeys(("product", "until"))
    if not isinstance(entry, dict) or not isinstance(entry.get("product"), str) or not entry["product"]:
        raise ValueError(f'`{quoted(entry)}` is not a product such as {{"product": "DATA500_1D", "until": "..."}}')
    extra = next((key for key in entry if key not in known), None)
    if extra is not None:
        raise ValueError(_unknown("field of a product", extra, extra, known))
    until = entry.get("until")
    return Owned(_text(entry["product"]), 0 if until is None else max(1, _written(time, "a time", until)))
