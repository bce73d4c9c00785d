"""How single values of another system's JSON are read: units, words and times as a mapping states them, and exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from kairos.domain.instant import EPOCH, instant
from kairos.domain.money import Currency, divide
from kairos.domain.source import Value
from kairos.errors import did_you_mean
from kairos.ingest.jmes import plain
from kairos.ingest.notifications import folded
from kairos.ingest.units import MONEY, TIME, UNITS, Ratio, ratio, seconds
from kairos.ingest.values import (
    DAY_ONE,
    DECIMAL,
    LONGEST_TEXT,
    NumberText,
    day,
    in_range,
    in_words,
    number,
    time,
    zone_named,
)

Read = Callable[[Any], Any]  # a JSON value -> a value of the event; raises ValueError

EPOCHS: Final[Mapping[str, Ratio]] = {f"epoch {unit}": ratio(unit, "ms") for unit in ("s", "ms", "us", "ns")}
LATEST: Final = 253_402_300_799_999  # ms: the end of the year 9999
WORDS: Final = frozenset({"words", "other"})
TAKES: Final[Mapping[str, frozenset[str]]] = {  # beyond `path`, `constant` and `required`
    "text": WORDS,
    "boolean": WORDS,
    "number": WORDS | {"from", "to", "decimal"},
    "money": WORDS | {"from", "round", "decimal"},
    "amount": frozenset({"from", "to", "round", "decimal"}),
    "time": frozenset({"format", "zone", "plus"}),
    "date": frozenset({"format", "zone"}),
    "balances": frozenset(),
    "products": frozenset(),
}


def given(value: Value) -> list[str]:
    """What somebody wrote of it, by the names that it has in the settings."""
    return [
        name for name in (*WORDS, "from", "to", "decimal", "round", "format", "zone", "plus") if _is_given(value, name)
    ]


def _is_given(value: Value, name: str) -> bool:
    written = getattr(value, "from_" if name == "from" else name)
    return written != "." if name == "decimal" else written not in ("", None) and written != {}


def reader_of(value: Value, type_: str, currency: Currency, *, unit: str, digits: int, native: Read | None) -> Read:
    """What reads a value of a type of field, or a wallet's amount. Raises ValueError with what is wrong, and a hint.

    `native` reads the types that nothing is stated of.
    """
    for name in given(value):
        if name not in TAKES[type_]:
            takes = ", ".join(f"`{one}`" for one in sorted(TAKES[type_])) or "nothing of the sort"
            raise ValueError(f"`{name}` does not go with a field that is {type_}", f"it takes {takes}")
    read = _bare(value, type_, currency, unit, digits, native)
    return _worded(value, read) if value.words else read


def _bare(value: Value, type_: str, currency: Currency, unit: str, digits: int, native: Read | None) -> Read:
    match type_:
        case "text":
            return identifier
        case "money":
            return _scaled(value, _of_money(value.from_, currency.digits), digits if unit else currency.digits)
        case "amount":
            return _scaled(value, _of_units(value.from_, value.to or (unit if value.from_ else "")), digits)
        case "number":
            return _numbers(value, _of_units(value.from_, value.to))
        case "time":
            return times(value)
        case "date":
            return _dates(value)
    assert native is not None
    return lambda found: native(plain(found))


def text_reader(value: Value) -> Read:
    """What reads a name or an id."""
    for name in given(value):
        if name not in WORDS:
            raise ValueError(f"`{name}` does not go with a text", "it takes `words` and `other`")
    return _worded(value, identifier) if value.words else identifier


def identifier(found: Any) -> str:
    """A text, or a whole number as text. Raises ValueError."""
    if isinstance(found, str) and not isinstance(found, NumberText):
        if len(found) > LONGEST_TEXT:
            raise ValueError(f"is longer than {LONGEST_TEXT} characters")
        if not found:
            raise ValueError("is empty")
        return found
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 10**40:
        return str(found)
    raise ValueError(f"must be text, not `{in_words(found)}`")


def _worded(value: Value, read: Read) -> Read:
    """What reads the sender's words for ours."""
    known = {word: read(ours) for word, ours in value.words.items()}
    in_any_case = {folded(word): ours for word, ours in known.items()}
    other = read(value.other) if value.other is not None else None

    def translate(found: Any) -> Any:
        if isinstance(found, bool):
            word = "true" if found else "false"
        elif isinstance(found, (str, int, Decimal)):
            word = str(found)
        else:
            raise ValueError(f"must be a word, not `{in_words(found)}`")
        ours = known.get(word)
        if ours is None:
            ours = in_any_case.get(folded(word[:LONGEST_TEXT]), other)
        if ours is None:
            raise ValueError(
                f"`{in_words(word)}` is not among its words: {', '.join(f'`{one}`' for one in list(known)[:20])}"
            )
        return ours

    return translate


# --- numbers, money, amounts: exact until a number becomes a float ---------------------------------


def _of_money(unit: str, digits: int) -> Ratio:
    """What an amount is multiplied with to be one of major units."""
    if unit in ("", "major"):
        return 1, 1
    if unit == "minor":
        return 1, 10**digits
    found = MONEY.fullmatch(unit)
    if not found:
        raise ValueError(
            f"`{unit}` is no unit of money", "write `major`, `minor`, or as `10^-3` what part of the major unit it is"
        )
    return 1, 10 ** int(found[1])


def _of_units(from_: str, to: str) -> tuple[str, Ratio] | None:
    """The unit of what comes, and what it is multiplied with; None where nothing is stated."""
    if not from_ and not to:
        return None
    for unit in (from_, to):
        if unit not in UNITS:
            hint = did_you_mean(unit, UNITS) or f"known: {' '.join(UNITS)}"
            raise ValueError(f"`{unit}` is no unit that is known" if unit else "`from` and `to` go together", hint)
    if UNITS[from_][0] != UNITS[to][0]:
        raise ValueError(f"`{from_}` cannot be turned into `{to}`")
    return from_, ratio(from_, to)


def quantity(found: Any, decimal: str = ".") -> Ratio:
    """A number of JSON, or a decimal text, as an exact ratio. Raises ValueError."""
    if isinstance(found, Decimal):
        return found.as_integer_ratio()
    if isinstance(found, int) and not isinstance(found, bool):
        return found, 1
    if isinstance(found, NumberText):
        raise ValueError(f"`{in_words(found)}` is too large, too small or too long")
    if isinstance(found, str):
        text = found if decimal == "." else found.replace(".", " ").replace(decimal, ".")
        if DECIMAL.fullmatch(text):
            return Decimal(text).as_integer_ratio()
    raise ValueError(f"must be a number, not `{in_words(found)}`")


def _measured(found: Any, unit: str, scale: Ratio, decimal: str) -> Ratio:
    """A number in another unit; of a time span that is written out, its own units count."""
    if unit in TIME and isinstance(found, str) and not isinstance(found, NumberText) and not DECIMAL.fullmatch(found):
        (over, under), scale = seconds(found), _by_the_second(unit, scale)
    else:
        over, under = quantity(found, decimal)
    return over * scale[0], under * scale[1]


def _by_the_second(unit: str, scale: Ratio) -> Ratio:
    """What seconds are multiplied with, where `unit` is multiplied with `scale`."""
    over, under = TIME[unit]
    return scale[0] * under, scale[1] * over


def _scaled(value: Value, units: Ratio | tuple[str, Ratio] | None, digits: int) -> Read:
    """An exact amount in parts of 10**-digits."""
    unit, scale = units if units and isinstance(units[0], str) else ("", units or (1, 1))
    parts: Ratio = (scale[0] * 10**digits, scale[1])
    decimal, rounding = value.decimal, value.round

    def read(found: Any) -> int:
        over, under = _measured(found, unit, parts, decimal)
        whole, rest = divmod(over, under)
        if rest and not rounding:
            raise ValueError(f"`{in_words(found)}` has more than {digits} decimals; `round` says what becomes of them")
        return in_range(divide(over, under) if rest and rounding == "nearest" else whole, found)

    return read


def _numbers(value: Value, units: tuple[str, Ratio] | None) -> Read:
    decimal = value.decimal
    if units is None:

        def read(found: Any) -> float:
            if isinstance(found, (int, Decimal)) and not isinstance(found, bool):
                return number(found)
            over, under = quantity(found, decimal)
            return number(over / under)

        return read
    unit, scale = units

    def convert(found: Any) -> float:
        over, under = _measured(found, unit, scale, decimal)
        try:
            return number(over / under)
        except OverflowError:
            raise ValueError(f"`{in_words(found)}` is too large") from None

    return convert


def span_reader(value: Value) -> Read:
    """What reads a time span, in whole ms. Raises ValueError with what is wrong, and a hint."""
    strange = [name for name in given(value) if name not in ("from", "decimal")]
    if strange or value.path is None:
        raise ValueError("a time span has `path`, and `from` where it is a bare number")
    unit = value.from_ or "s"
    if unit not in TIME:
        raise ValueError(f"`{unit}` is no unit of time", did_you_mean(unit, TIME) or f"known: {' '.join(TIME)}")
    scale = ratio(unit, "ms")

    def read(found: Any) -> int:
        over, under = _measured(found, unit, scale, value.decimal)
        span = over // under
        if not 0 <= span <= LATEST:
            raise ValueError(f"`{in_words(found)}` is no time span")
        return span

    return read


# --- times ---------------------------------------------------------------------------------------


def times(value: Value) -> Read:
    """What reads a time, in ms since the epoch. Raises ValueError with what is wrong, and a hint."""
    if value.format in EPOCHS:
        return _since_the_epoch(*EPOCHS[value.format])
    zone = zone_named(value.zone or "UTC")
    if value.format:
        parse = _as_written(value.format)
    elif value.zone:
        parse = _iso
    else:
        return _rfc3339

    def read(found: Any) -> int:
        at = parse(found)
        try:
            return instant(at if at.tzinfo else at.replace(tzinfo=zone))
        except OverflowError:
            raise ValueError(f"`{in_words(found)}` is no time that there is") from None

    return read


def _rfc3339(found: Any) -> int:
    if isinstance(found, str) and not isinstance(found, NumberText):
        return time(found)
    raise ValueError(f"must be a time as text, not `{in_words(found)}`; say its `format`")


def _dates(value: Value) -> Read:
    if not value.format:
        return lambda found: day(identifier(found))
    zone = zone_named(value.zone or "UTC")
    read = times(value)
    return lambda found: datetime.fromtimestamp(read(found) / 1000, zone).date().toordinal() - DAY_ONE


def _since_the_epoch(over: int, under: int) -> Read:
    def read(found: Any) -> int:
        count, of = quantity(found)
        at = count * over // (of * under)
        if not 0 <= at <= LATEST:
            raise ValueError(f"`{in_words(found)}` is no time between 1970 and 9999; look at its `format`")
        return at

    return read


def _iso(found: Any) -> datetime:
    try:
        return datetime.fromisoformat(identifier(found).upper())
    except ValueError:
        raise ValueError(f"`{in_words(found)}` is not a time such as 2026-11-24T18:00:00") from None


_strptime: Final = datetime.strptime  # what has no offset in its text gets a zone afterwards


def _as_written(format_: str) -> Callable[[Any], datetime]:
    try:
        if "%" not in format_ or _strptime(EPOCH.strftime(format_), format_).year != EPOCH.year:
            raise ValueError
    except ValueError:
        known = ", ".join(f"`{one}`" for one in EPOCHS)
        raise ValueError(
            f"`{format_}` is no format of a whole time", f"write one for strptime, such as `%d/%m/%Y %H:%M`, or {known}"
        ) from None

    def parse(found: Any) -> datetime:
        text = identifier(found)
        try:
            return _strptime(text, format_)
        except ValueError:
            raise ValueError(f"`{in_words(text)}` is not written as `{format_}`") from None

    return parse
