"""What one value means: the text of a scalar read as a name, an amount, a duration, a time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any

from kairos.domain.instant import instant
from kairos.domain.money import Currency, parse_exact
from kairos.errors import did_you_mean
from kairos.playbook.document import Node, Scalar, listed, refused
from kairos.rules import Type

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_AMOUNT = re.compile(r"[+-]?\d{1,18}(\.\d{1,6})?", re.ASCII)
_DURATION = re.compile(r"(\d{1,6}) +(second|minute|hour|day|week)s?", re.ASCII)
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d) ?- ?([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_TRUTHS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}

MILLISECONDS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
EVER = -1  # of a duration: `always` for how old a moment may be, `never` for when it may be said again


def text(node: Node) -> str:
    """A text that is not empty."""
    if not isinstance(node, Scalar):
        raise refused(node, "a single text is wanted here", "put a text with `{` or `[` at its start in quotes")
    if not node.text.strip():
        raise refused(node, "the value is missing")
    return node.text.strip()


def name(node: Node) -> str:
    """A word in small letters, digits and underscores."""
    word = text(node)
    if not NAME.fullmatch(word):
        raise refused(node, f"`{word}` is no name", "use small letters, digits and `_`, with a letter first")
    return word


def words(node: Node) -> tuple[str, ...]:
    """A text, or a list of texts."""
    return tuple(map(text, listed(node)))


def known(what: str, names: Iterable[str]) -> Callable[[Node], str]:
    """A reader of one of the names."""
    choices = tuple(names)

    def read(node: Node) -> str:
        word = text(node)
        if word not in choices:
            raise refused(node, f"unknown {what} `{word}`", nearest(word, choices))
        return word

    return read


def several(read: Callable[[Node], str]) -> Callable[[Node], tuple[str, ...]]:
    """A reader of one word, or of a list of them."""

    def read_all(node: Node) -> tuple[str, ...]:
        found = tuple(map(read, listed(node)))
        if not found:
            raise refused(node, "the list is empty", "leave the key out for all of them")
        return found

    return read_all


def nearest(word: str, names: Iterable[str]) -> str:
    """A hint: the name that was probably meant, or the few that there are.

    >>> nearest("smss", ("notification", "sms")), nearest("fax", ("notification", "sms"))
    ('did you mean `sms`?', 'there are `notification` and `sms`')
    """
    choices = tuple(names)
    quoted = [f"`{name}`" for name in choices]
    if meant := did_you_mean(word, choices):
        return meant
    if not quoted or len(quoted) > 12:
        return "" if quoted else "there is none yet"
    return f"there are {', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else f"there is {quoted[0]}"


def number(node: Node) -> float:
    """A finite number."""
    word = text(node)
    value = float(word) if _NUMBER.fullmatch(word) else math.inf
    if not math.isfinite(value):
        raise refused(node, f"`{word}` is no number", "write it as in 200, 0.5 or 1e9")
    return value


def looks_like_number(word: str) -> bool:
    return _NUMBER.fullmatch(word) is not None and math.isfinite(float(word))


def whole(least: int, most: int) -> Callable[[Node], int]:
    """A reader of a whole number within bounds."""

    def read(node: Node) -> int:
        word = text(node)
        value = int(word) if re.fullmatch(r"\d{1,9}", word, re.ASCII) else -1
        if not least <= value <= most:
            raise refused(node, f"`{word}` is no whole number from {least} to {most}")
        return value

    return read


def money(currency: Currency) -> Callable[[Node], int]:
    """A reader of an amount in major units, exact, as minor units."""

    def read(node: Node) -> int:
        word = text(node)
        if not _AMOUNT.fullmatch(word):
            raise refused(node, f"`{word}` is no amount", "write digits only, as in 2.50, without a currency")
        try:
            return currency.parse(word)
        except ValueError as error:
            raise refused(node, f"{error}", f"an amount in {currency.code} has at most {currency.digits}") from None

    return read


def price(currency: Currency) -> Callable[[Node], int]:
    """A reader of an amount that is not negative."""
    amount = money(currency)

    def read(node: Node) -> int:
        value = amount(node)
        if value < 0:
            raise refused(node, f"`{text(node)}` is negative", "write 0 or more")
        return value

    return read


def chargeable(currency: Currency) -> Callable[[Node], int]:
    """A reader of a price that the smallest coin can pay."""
    amount = price(currency)

    def read(node: Node) -> int:
        value = amount(node)
        if value != currency.chargeable(value):
            near = currency.show(currency.chargeable(value)).removeprefix(currency.sign)
            step = currency.show(currency.step)
            raise refused(node, f"`{text(node)}` is no multiple of {step}", f"the nearest one is {near}")
        return value

    return read


def boolean(node: Node) -> bool:
    """Yes or no, in the words that YAML knows."""
    word = text(node)
    if word.lower() not in _TRUTHS:
        raise refused(node, f"`{word}` is neither yes nor no", "write `yes` or `no`")
    return _TRUTHS[word.lower()]


def duration(node: Node) -> int:
    """Milliseconds of a text such as `5 minutes`."""
    word = text(node)
    found = _DURATION.fullmatch(word)
    value = int(found[1]) * MILLISECONDS[found[2]] if found else 0
    if value == 0:
        raise refused(node, f"`{word}` is no duration", "write it as in `5 minutes`, `24 hours` or `7 days`")
    return value


def duration_or(ever: str) -> Callable[[Node], int]:
    """A reader of a duration, or of the one word that stands for no end (EVER)."""

    def read(node: Node) -> int:
        word = text(node)
        if word == ever:
            return EVER
        if not _DURATION.fullmatch(word):
            raise refused(node, f"`{word}` is no duration", f"write it as in `5 minutes` or `7 days`, or `{ever}`")
        return duration(node)

    return read


def share(node: Node) -> float:
    """A percentage as a number from 0 to below 1."""
    word = text(node)
    digits = word.removesuffix("%").strip()
    value = float(digits) / 100 if word.endswith("%") and re.fullmatch(r"\d{1,2}(\.\d+)?", digits, re.ASCII) else -1.0
    if value < 0:
        raise refused(node, f"`{word}` is no share", "write it as in `5%`, from 0% to below 100%")
    return value


def rate(node: Node) -> int:
    """A percentage as an exact rate, in parts of `domain.money.WHOLE`."""
    word = text(node)
    digits = word.removesuffix("%").strip()
    if not word.endswith("%") or not re.fullmatch(r"\d{1,2}(\.\d{1,4})?", digits, re.ASCII):
        raise refused(node, f"`{word}` is no rate", "write it as in `15%` or `7.5%`, from 0% to below 100%")
    return parse_exact(digits, 4)


def hours(node: Node) -> tuple[int, int]:
    """From when to when, in minutes of the local day; it may go over midnight."""
    word = text(node)
    found = _HOURS.fullmatch(word)
    start, end = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])) if found else (0, 0)
    if start == end:
        raise refused(node, f"`{word}` is no span of hours", "write it as in `21:00-08:00`")
    return start, end


def local_time(node: Node) -> str:
    """A wall-clock time as ISO text without a zone."""
    word = text(node)
    moment = _moment(word)
    if moment is None or moment.tzinfo is not None or len(word) < len("2026-11-21 22:00"):
        raise refused(node, f"`{word}` is no local time", "write it as in `2026-11-21 22:00`")
    return moment.isoformat(timespec="minutes")


def date_days(node: Node) -> int:
    """A date as days since 1970-01-01."""
    word = text(node)
    moment = _moment(word)
    if moment is None or len(word) != len("2026-11-21"):
        raise refused(node, f"`{word}` is no date", "write it as in `2026-11-21`")
    return (moment.date() - date(1970, 1, 1)).days


def time_ms(node: Node) -> int:
    """An instant as milliseconds since the epoch; a date is its first moment, and no zone means UTC."""
    word = text(node)
    moment = _moment(word)
    if moment is None:
        raise refused(node, f"`{word}` is no time", "write it as in `2026-11-21T22:00:00Z` or `2026-11-21`")
    return instant(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _moment(word: str) -> datetime | None:
    try:
        return datetime.fromisoformat(word) if re.match(r"\d{4}-\d\d-\d\d", word, re.ASCII) else None
    except ValueError:
        return None


def typed(kind: Type, currency: Currency) -> Callable[[Node], Any]:
    """The reader of a value of one of the rules' types."""
    readers: dict[Type, Callable[[Node], Any]] = {
        "text": text,
        "number": number,
        "money": money(currency),
        "boolean": boolean,
        "date": date_days,
        "time": time_ms,
    }
    return readers[kind]
