"""Events out of any system's JSON, by mappings: JMESPath expressions that say where each field stands.

    event = "data_session"        subscriber = "msisdn"        id = ["report", "to_string(part)"]
    happened = { path = "stopped", format = "epoch ms" }
    data.bytes = { path = "volume.kB", from = "kB", to = "B" }

All of it is compiled against the vocabulary once. A payload can be anything: what cannot be read is an `EventError`
that names mapping, field, expression and what came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import jmespath.exceptions
import msgspec

from kairos.domain.event import Event
from kairos.domain.inputs import CHANGES, Change
from kairos.domain.money import Currency
from kairos.domain.source import Entry, Mapping, Value
from kairos.domain.subscriber import Bucket, Owned
from kairos.errors import Diagnostic, EventError, SettingsError
from kairos.ingest.cloudevents import (
    LONGEST_IDENTITY,
    MOST_BALANCES,
    MOST_EVENTS,
    EventReader,
    Readable,
    Unreadable,
    in_time,
)
from kairos.ingest.jmes import Expression, Find, compile_expression, decode
from kairos.ingest.mapped_values import Read, identifier, reader_of, span_reader, text_reader
from kairos.ingest.names import FACTS
from kairos.ingest.values import in_words, nearest
from kairos.playbook.vocabulary import Vocabulary

LINES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
ROOTS: Final = ("item", "payload")  # what an expression sees where there is an `each`


class Mapped(Readable, frozen=True):
    """An event that a mapping made, and which one."""

    mapping: str = ""


class Passed(msgspec.Struct, frozen=True):
    """A payload that no mapping is for: nothing is wrong with it, and nothing becomes of it."""


Outcome = Mapped | Unreadable | Passed


class TooLongError(EventError):
    """Reading the request takes longer than anybody should wait."""


class Part(NamedTuple):
    """Where a value stands and how it is read. `read` raises ValueError."""

    name: str
    text: str  # its expression
    find: Find
    read: Read
    needed: bool = False
    plus: Part | None = None


class Entries(NamedTuple):
    """Balances or products: each of what `each` finds, or one."""

    name: str
    each: Part | None
    make: Callable[[Any], Bucket | Owned | None]


class Compiled(NamedTuple):
    """A mapping, ready to read."""

    name: str
    kind: str
    when: Part | None
    each: Part | None
    id: tuple[Part, ...]
    subscriber: Part
    happened: Part | None
    facts: tuple[Part, ...]
    data: tuple[Part, ...]
    lists: tuple[tuple[str, tuple[Entries, ...]], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it may set."""
        return (*(part.name.removeprefix("data.") for part in self.data), *(name for name, _ in self.lists))


class Mappings:
    """All mappings of all sources, for one vocabulary. It keeps nothing between calls."""

    def __init__(
        self, mappings: Sequence[Mapping], vocabulary: Vocabulary, currency: Currency, reader: EventReader
    ) -> None:
        """Raises SettingsError with everything that is wrong with any of them."""
        self.reader = reader
        self.sources: dict[str, tuple[Compiled, ...]] = {}
        problems: list[Diagnostic] = []
        for number, mapping in enumerate(mappings, 1):
            compiler = _Compiler(mapping, mapping.name or str(number), vocabulary, currency, reader)
            compiled = compiler.compile()
            problems += compiler.problems
            if compiled:
                self.sources[mapping.source] = (*self.sources.get(mapping.source, ()), compiled)
        if problems:
            raise SettingsError(problems)

    def read(
        self, source: str, media: str, body: bytes, now: int, late: Callable[[], bool] = bool
    ) -> list[tuple[int, Outcome]]:
        """What becomes of a body's payloads: of each, by its place, one outcome or several.

        A payload is a JSON object; a body is one, an array of them, or one on each line (`media` says so). Raises
        EventError where the body as a whole is not to be read, TooLongError once `late` says so.
        """
        outcomes: list[tuple[int, Outcome]] = []
        for index, payload in enumerate(_payloads(media, body)):
            outcomes += [(index, outcome) for outcome in self._of(source, payload, now, late)]
            if len(outcomes) > MOST_EVENTS:
                raise TooLongError(f"the body makes more than {MOST_EVENTS} events; send less at once")
        return outcomes

    def _of(self, source: str, payload: Any, now: int, late: Callable[[], bool]) -> Sequence[Outcome]:
        if isinstance(payload, EventError):
            return [Unreadable("", payload)]
        if not isinstance(payload, dict):
            return [Unreadable("", EventError(f"a payload is a JSON object, not `{in_words(payload)}`"), payload)]
        made: list[Outcome] = []
        ids: set[str] = set()
        for mapping in self.sources.get(source, ()):
            try:
                for document in _documents(mapping, payload):
                    if late():
                        raise TooLongError("it takes too long to read; send less at once")
                    made.append(self._one(source, mapping, document, payload, now, ids))
                    if len(made) > MOST_EVENTS:
                        raise TooLongError(f"one payload makes more than {MOST_EVENTS} events; send less at once")
            except TooLongError:
                raise
            except EventError as error:
                made.append(Unreadable("", _of_mapping(mapping, error), payload))
        return made or [Passed()]

    def _one(self, source: str, mapping: Compiled, document: Any, payload: Any, now: int, ids: set[str]) -> Outcome:
        name = ""
        try:
            name = "/".join(_found(part, document) for part in mapping.id)
            if len(source) + len(name) >= LONGEST_IDENTITY:
                raise EventError(f"`id` is longer than {LONGEST_IDENTITY - len(source) - 1} characters", "id")
            if name in ids:
                what = f"`id` `{in_words(name)}` is another event's of this payload; compose it of more"
                raise EventError(what, "id")
            ids.add(name)
            return Mapped(name, self._event(f"{source}/{name}", mapping, document, now), mapping.name)
        except EventError as error:
            return Unreadable(name[:LONGEST_IDENTITY], _of_mapping(mapping, error), payload)

    def _event(self, identity: str, mapping: Compiled, document: Any, now: int) -> Event | Change:
        subscriber = _found(mapping.subscriber, document)
        at = now
        if mapping.happened:
            at = in_time("happened", _found(mapping.happened, document), mapping.happened.find(document), now)
        data = {}
        for part in mapping.data:
            value = _found(part, document)
            if value is not None:
                data[part.name[5:]] = value
        for name, all_entries in mapping.lists:
            found = [one for entries in all_entries for one in _listed(entries, document)]
            if len(found) > MOST_BALANCES:
                raise EventError(f"`data.{name}` has more than {MOST_BALANCES} entries", f"data.{name}")
            if found:
                data[name] = found
        facts = {part.name: value for part in mapping.facts if (value := _found(part, document)) is not None}
        return self.reader.made(identity, mapping.kind, subscriber, at, data, facts)


def _payloads(media: str, body: bytes) -> Iterator[Any]:
    """Each payload, or why it cannot be read."""
    if media in LINES:
        for line in body.splitlines():
            if line.strip():
                try:
                    yield _json(line)
                except EventError as error:
                    yield error
        return
    found = _json(body)
    yield from found if isinstance(found, list) else [found]


def _json(body: bytes) -> Any:
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise EventError(f"this is not JSON: {error}") from None
    except RecursionError:
        raise EventError("this is nested too deeply") from None


def _documents(mapping: Compiled, payload: Any) -> Iterator[Any]:
    """What the expressions of a mapping look at: the payload, or each of what its `each` finds in it."""
    if mapping.when and not _truth(_found(mapping.when, payload)):
        return
    if not mapping.each:
        yield payload
        return
    for item in _found(mapping.each, payload) or ():
        yield {"item": item, "payload": payload}


def _truth(value: Any) -> bool:
    """As JMESPath has it: nothing, `false`, and what is empty are false; 0 is not."""
    return value is not None and value is not False and value not in ("", [], {})


def _found(part: Part, document: Any) -> Any:
    """A value, read; None where there is nothing. Raises EventError."""
    try:
        found = part.find(document)
    except Exception as error:  # an interpreter that is not ours, on a document that can be anything
        raise EventError(f"`{part.name}`: `{part.text}` cannot be asked of it: {_said(error)}", part.name) from None
    if found is None or found == "":
        if part.needed:
            raise EventError(f"`{part.name}` is missing: `{part.text}` finds nothing", part.name)
        return None
    try:
        value = part.read(found)
    except (ValueError, EventError) as error:
        raise EventError(f"`{part.name}` from `{part.text}`: {error}", part.name) from None
    return value + (_found(part.plus, document) or 0) if part.plus else value


def _said(error: Exception) -> str:
    if isinstance(error, jmespath.exceptions.JMESPathTypeError):
        takes = " or ".join(f"`{one}`" for one in error.expected_types)
        return f"`{error.function_name}` takes {takes}, not `{in_words(error.current_value)}`"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return in_words(str(error) or type(error).__name__)


def _listed(entries: Entries, document: Any) -> Iterator[Bucket | Owned]:
    documents = [document]
    if entries.each:
        payload = document["payload"] if "payload" in document and "item" in document else document
        documents = [{"item": item, "payload": payload} for item in _found(entries.each, document) or ()]
        if len(documents) > MOST_BALANCES:
            raise EventError(f"`{entries.name}` has more than {MOST_BALANCES} entries", entries.name)
    for one in documents:
        made = entries.make(one)
        if made is not None:
            yield made


def _of_mapping(mapping: Compiled, error: EventError) -> EventError:
    said = "".join(char if char.isprintable() else " " for char in str(error))
    return EventError(f"mapping `{mapping.name}`: {said}", error.field)


def _a_list(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"must be a list, not `{in_words(value)}`")
    return value


def _as_it_is(value: Any) -> Any:
    return value


class _Compiler:
    """Compiles one mapping, and gathers what is wrong with it."""

    def __init__(
        self, mapping: Mapping, name: str, vocabulary: Vocabulary, currency: Currency, reader: EventReader
    ) -> None:
        self.mapping, self.name = mapping, name
        self.vocabulary, self.currency, self.reader = vocabulary, currency, reader
        self.problems: list[Diagnostic] = []

    def problem(self, key: str, message: str, hint: str = "") -> None:
        where = self.mapping.where
        shown = f"mapping `{self.name}`: " + (f"`{key}`: " if key else "")
        self.problems.append(Diagnostic(where.file, where.line(key), shown + message, hint))

    def compile(self) -> Compiled | None:
        mapping, kinds = self.mapping, self.vocabulary.events
        if mapping.event in CHANGES:
            fields: dict[str, str] = dict.fromkeys((*FACTS, "number"), "text")
        elif mapping.event in kinds:
            fields = dict(kinds[mapping.event])
        else:
            if not mapping.lenient:
                hint = nearest(mapping.event, [*kinds, *CHANGES])
                self.problem("event", f"`{mapping.event}` is not an event of the vocabulary", hint)
            return None
        inside = mapping.each is not None
        ids = [mapping.id] if isinstance(mapping.id, str) else mapping.id
        compiled = Compiled(
            self.name,
            mapping.event,
            self._path("when", mapping.when),
            self._path("each", mapping.each, read=_a_list),
            tuple(
                part
                for path in ids
                if (part := self._path("id", path, inside, read=identifier, needed=True)) is not None
            ),
            self._needed("subscriber", mapping.subscriber, inside),
            self._happened(inside),
            tuple(
                part
                for name, written in (("imsi", mapping.imsi), ("account", mapping.account), ("imei", mapping.imei))
                if written is not None and (part := self._part(name, written, "text", inside)) is not None
            ),
            *self._data(fields, inside),
        )
        return None if self.problems else compiled

    def _data(self, fields: dict[str, str], inside: bool) -> tuple[tuple[Part, ...], Any]:
        parts, lists = [], []
        for name, written in self.mapping.data.items():
            type_ = fields.get(name)
            if type_ is None:
                if not self.mapping.lenient:
                    what = f"`{self.mapping.event}` has no such field"
                    self.problem(f"data.{name}", what, nearest(name, fields))
            elif isinstance(written, list):
                lists.append((name, tuple(self._entries(name, type_, written, inside))))
            elif (part := self._part(f"data.{name}", written, type_, inside)) is not None:
                parts.append(part)
        return tuple(parts), tuple(lists)

    def _happened(self, inside: bool) -> Part | None:
        written = self.mapping.happened
        part = None if written is None else self._part("happened", written, "time", inside)
        return part._replace(needed=True) if part else None

    def _needed(self, key: str, written: str | Value, inside: bool) -> Part:
        """The subscriber's name."""
        value = Value(path=written) if isinstance(written, str) else written
        part = self._part(key, value, "text", inside, named=True) or Part(key, "", _as_it_is, _as_it_is)
        read, before = part.read, "" if value.kind == "msisdn" else f"{value.kind}:"
        return part._replace(needed=True, read=(lambda found: before + read(found)) if before else read)

    # -- one value ------------------------------------------------------------

    def _expression(self, key: str, text: str, inside: bool) -> Expression | None:
        try:
            expression = compile_expression(text)
        except ValueError as error:
            self.problem(key, str(error))
            return None
        strange = sorted(expression.roots.difference(ROOTS)) if inside else []
        if strange:
            what = f"`{text}` looks for `{strange[0]}`, and there is only what `each` finds, and the payload"
            self.problem(key, what, f"write `item.{strange[0]}` or `payload.{strange[0]}`")
            return None
        return expression

    def _path(
        self, key: str, text: str | None, inside: bool = False, *, read: Read = _as_it_is, needed: bool = False
    ) -> Part | None:
        expression = self._expression(key, text, inside) if text is not None else None
        return Part(key, expression.text, expression.find, read, needed) if expression else None

    def _part(
        self,
        key: str,
        written: str | Value,
        type_: str,
        inside: bool,
        *,
        named: bool = False,
        unit: str = "",
        digits: int = 0,
    ) -> Part | None:
        """What reads one value of a type. `unit` and `digits` are those of a wallet."""
        value = Value(path=written) if isinstance(written, str) else written
        if (value.path is None) == (value.constant is None):
            both = "it takes a `path` or a `constant`, and not both"
            self.problem(key, both if value.path else "it has neither `path` nor `constant`")
            return None
        try:
            if named:
                read = text_reader(value)
            else:
                native = self.reader.converters.get(type_)
                read = reader_of(value, type_, self.currency, unit=unit, digits=digits, native=native)
            if value.constant is not None:
                constant = read(value.constant)
                return Part(key, "", lambda _: constant, _as_it_is)
        except ValueError as error:
            self.problem(key, *error.args[:2])
            return None
        expression = self._expression(key, value.path or "", inside)
        plus = self._plus(key, value.plus, inside) if value.plus else None
        if expression is None or (value.plus and not plus):
            return None
        return Part(key, expression.text, expression.find, read, value.required, plus)

    def _plus(self, key: str, value: Value, inside: bool) -> Part | None:
        try:
            read = span_reader(value)
        except ValueError as error:
            self.problem(f"{key}.plus", *error.args[:2])
            return None
        return self._path(f"{key}.plus", value.path or "", inside, read=read)

    # -- balances and products ------------------------------------------------------------

    def _entries(self, name: str, type_: str, written: Sequence[Entry], inside: bool) -> Iterator[Entries]:
        key = f"data.{name}"
        for entry in written:
            makes = {"balances": self._balance, "products": self._product}.get(type_)
            if makes is None:
                self.problem(key, f"`{name}` is {type_}, not a list", "write a path, or a table with one")
                return
            each = self._path(f"{key}.each", entry.each, inside, read=_a_list)
            make = makes(key, entry, inside or entry.each is not None)
            if make:
                yield Entries(key, each, make)

    def _balance(self, key: str, entry: Entry, inside: bool) -> Callable[[Any], Bucket | Owned | None] | None:
        wallet = self.vocabulary.wallets.get(entry.wallet)
        if entry.amount is None or entry.product is not None or entry.until is not None:
            self.problem(key, "a balance has `wallet`, `amount` and perhaps `expires`")
            return None
        if wallet is None:
            if not self.mapping.lenient:
                hint = nearest(entry.wallet, self.vocabulary.wallets)
                self.problem(key, f"`{entry.wallet}` is not a wallet of the vocabulary", hint)
            return None
        money = "money" if wallet.unit == "money" else "amount"
        amount = self._part(f"{key}.amount", entry.amount, money, inside, unit=wallet.unit, digits=wallet.digits)
        expires = self._part(f"{key}.expires", entry.expires, "time", inside) if entry.expires is not None else None
        if amount is None:
            return None

        def make(document: Any) -> Bucket | None:
            left = _found(amount, document)
            ends = _found(expires, document) if expires else None
            return None if left is None else Bucket(wallet.name, left, 0 if ends is None else max(1, ends))

        return make

    def _product(self, key: str, entry: Entry, inside: bool) -> Callable[[Any], Bucket | Owned | None] | None:
        if entry.product is None or entry.amount is not None or entry.expires is not None or entry.wallet:
            self.problem(key, "a product has `product` and perhaps `until`")
            return None
        product = self._part(f"{key}.product", entry.product, "text", inside)
        until = self._part(f"{key}.until", entry.until, "time", inside) if entry.until is not None else None
        if product is None:
            return None

        def make(document: Any) -> Owned | None:
            name = _found(product, document)
            ends = _found(until, document) if until else None
            return Owned(name, 0 if ends is None else max(1, ends)) if name else None

        return make
