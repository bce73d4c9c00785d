"""The closed table of functions: what each takes and gives, and how it reads in Python and in SQL.

Both templates are filled with the code of the arguments, which are known (not NULL) and finite when they are used.
A function with `reads` is given those reserved columns after its own arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from kairos.rules.types import Type

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Function:
    """One row of the table. `{0}`, `{1}` are the arguments; `{all}` is all of them, `{known}` the SQL test for it."""

    name: str
    takes: tuple[Type, ...]
    gives: Type
    python: str
    sql: str
    means: str
    example: str
    reads: tuple[str, ...] = ()
    repeats: bool = False  # the last type may be given any number of times (at least twice)


def _same(name: str, types: tuple[Type, ...], python: str, sql: str, means: str, example: str) -> tuple[Function, ...]:
    """A row for each type that a function gives back as it took it."""
    repeats = "{all}" in sql
    return tuple(Function(name, (t,), t, python, sql, means, example, repeats=repeats) for t in types)


_ORDERED: Final[tuple[Type, ...]] = ("number", "money", "date", "time")
_STRICT = "CASE WHEN {known} THEN %s({all}) END"  # DuckDB's own least and greatest skip NULLs

FUNCTIONS: Final[tuple[Function, ...]] = (
    # not abs of a bare column: inside coalesce it makes DuckDB 2.0 compare the column wrongly
    *_same("abs", ("number",), "abs({0})", "abs(-({0}))", "the size without the sign", "abs(data_trend) > 10"),
    *_same(
        "abs",
        ("money",),
        "abs({0})",
        "abs(CAST({0} AS HUGEINT))",
        "the size without the sign",
        "abs(balance - cost) < 1",
    ),
    Function(
        "round",
        ("number",),
        "number",
        "half_away({0})",
        "round({0})",
        "the nearest whole number, halves away from zero",
        "round(data_left_mb / 100) = 2",
    ),
    Function(
        "floor",
        ("number",),
        "number",
        "float(floor({0}))",
        "floor({0})",
        "the next whole number down",
        "floor(data_left_mb / 1024) = 2",
    ),
    Function(
        "ceil",
        ("number",),
        "number",
        "float(ceil({0}))",
        "ceil({0})",
        "the next whole number up",
        "ceil(data_left_mb / 1024) = 3",
    ),
    *_same(
        "least",
        _ORDERED,
        "min({all})",
        _STRICT % "least",
        "the smallest of them",
        "least(data_left_mb, voice_left_min) < 5",
    ),
    *_same(
        "greatest",
        _ORDERED,
        "max({all})",
        _STRICT % "greatest",
        "the largest of them",
        "greatest(data_left_mb, voice_left_min) > 500",
    ),
    Function(
        "lower",
        ("text",),
        "text",
        "lower({0})",
        "lower({0})",
        "the text in small letters, letter by letter",
        "lower(app) = 'fictube'",
    ),
    Function(
        "upper",
        ("text",),
        "text",
        "upper({0})",
        "upper({0})",
        "the text in capital letters, letter by letter",
        "upper(language) = 'EN'",
    ),
    Function(
        "trim",
        ("text",),
        "text",
        "{0}.strip(' ')",
        "trim({0}, ' ')",
        "the text without spaces at either end",
        "trim(plan) = 'prepaid'",
    ),
    Function(
        "length",
        ("text",),
        "number",
        "float(len({0}))",
        "CAST(length({0}) AS DOUBLE)",
        "how many characters (code points) the text has",
        "length(nickname) > 0",
    ),
    Function(
        "starts_with",
        ("text", "text"),
        "boolean",
        "{0}.startswith({1})",
        "starts_with({0}, {1})",
        "whether the first text begins with the second",
        "starts_with(plan, 'pre')",
    ),
    Function(
        "ends_with",
        ("text", "text"),
        "boolean",
        "{0}.endswith({1})",
        "suffix({0}, {1})",
        "whether the first text ends with the second",
        "ends_with(plan, 'paid')",
    ),
    Function(
        "contains",
        ("text", "text"),
        "boolean",
        "({1} in {0})",
        "contains({0}, {1})",
        "whether the second text stands somewhere in the first",
        "contains(segments, 'gamer')",
    ),
    Function(
        "days_since",
        ("date",),
        "number",
        f"float({{1}} // {DAY_MS} - {{0}})",
        "CAST(CAST({1} AS DATE) - {0} AS DOUBLE)",
        "whole calendar days from a date to today, where the subscriber is; negative for a date to come",
        "days_since(birthday) = 0",
        reads=("local",),
    ),
    Function(
        "days_since",
        ("time",),
        "number",
        f"(({{1}} - {{0}}) / {DAY_MS}.0)",
        f"(CAST(epoch_ms({{1}}) - epoch_ms({{0}}) AS DOUBLE) / {DAY_MS})",
        "days of 24 hours from an instant to now, with their fraction",
        "days_since(last_recharge) > 7",
        reads=("now",),
    ),
    Function(
        "days_until",
        ("date",),
        "number",
        f"float({{0}} - {{1}} // {DAY_MS})",
        "CAST({0} - CAST({1} AS DATE) AS DOUBLE)",
        "whole calendar days from today, where the subscriber is, to a date; negative for a date gone by",
        "days_until(contract_end) <= 30",
        reads=("local",),
    ),
    Function(
        "days_until",
        ("time",),
        "number",
        f"(({{0}} - {{1}}) / {DAY_MS}.0)",
        f"(CAST(epoch_ms({{0}}) - epoch_ms({{1}}) AS DOUBLE) / {DAY_MS})",
        "days of 24 hours from now to an instant, with their fraction",
        "days_until(bundle_ends) < 2",
        reads=("now",),
    ),
    Function(
        "hours_since",
        ("time",),
        "number",
        f"(({{1}} - {{0}}) / {HOUR_MS}.0)",
        f"(CAST(epoch_ms({{1}}) - epoch_ms({{0}}) AS DOUBLE) / {HOUR_MS})",
        "hours from an instant to now, with their fraction",
        "hours_since(last_recharge) > 36",
        reads=("now",),
    ),
    Function(
        "hours_until",
        ("time",),
        "number",
        f"(({{0}} - {{1}}) / {HOUR_MS}.0)",
        f"(CAST(epoch_ms({{0}}) - epoch_ms({{1}}) AS DOUBLE) / {HOUR_MS})",
        "hours from now to an instant, with their fraction",
        "hours_until(bundle_ends) < 6",
        reads=("now",),
    ),
    Function(
        "date_of",
        ("time",),
        "date",
        f"({{0}} // {DAY_MS})",
        "CAST({0} AS DATE)",
        "the day of an instant: of `local` where the subscriber is, of others in UTC",
        "date_of(local) = DATE '2026-12-25'",
    ),
    Function(
        "hour_of_day",
        (),
        "number",
        f"float({{0}} // {HOUR_MS} % 24)",
        "CAST(hour({0}) AS DOUBLE)",
        "the hour where the subscriber is, 0 to 23",
        "hour_of_day() BETWEEN 18 AND 22",
        reads=("local",),
    ),
    Function(
        "day_of_week",
        (),
        "number",
        f"float(({{0}} // {DAY_MS} + 3) % 7 + 1)",
        "CAST(isodow({0}) AS DOUBLE)",
        "the day of the week where the subscriber is: 1 is Monday, 7 is Sunday",
        "day_of_week() = 5",
        reads=("local",),
    ),
    Function(
        "is_weekend",
        (),
        "boolean",
        f"(({{0}} // {DAY_MS} + 3) % 7 > 4)",
        "(isodow({0}) > 5)",
        "whether it is Saturday or Sunday where the subscriber is",
        "is_weekend()",
        reads=("local",),
    ),
    Function(
        "day_of_month",
        (),
        "number",
        f"day_of_month({{0}} // {DAY_MS})",
        "CAST(day({0}) AS DOUBLE)",
        "the day of the month where the subscriber is, 1 to 31",
        "day_of_month() <= 3",
        reads=("local",),
    ),
    Function(
        "month",
        (),
        "number",
        f"month({{0}} // {DAY_MS})",
        "CAST(month({0}) AS DOUBLE)",
        "the month where the subscriber is, 1 to 12",
        "month() = 12",
        reads=("local",),
    ),
)

COALESCE: Final = Function(
    "coalesce",
    ("text", "number", "money", "boolean", "date", "time"),
    "text",
    "",
    "",
    "the first of them that is known; all of one type",
    "coalesce(data_left_mb, 0) < 200",
    repeats=True,
)
"""Takes any one type, and, unlike the others, what is unknown: it is a node of its own and needs no templates."""

NAMES: Final = frozenset(function.name for function in (*FUNCTIONS, COALESCE))


# --- what the Python templates call -------------------------------------------------------------------------------


def half_away(x: float) -> float:
    """A finite number rounded to a whole one, halves away from zero.

    >>> half_away(2.5), half_away(-2.5), half_away(0.49999999999999994)
    (3.0, -3.0, 0.0)
    """
    whole = float(math.trunc(x))  # exact, and so is the rest: never floor(x + 0.5), which rounds twice
    return whole + math.copysign(1.0, x) if abs(x - whole) >= 0.5 else whole


def _civil(days: int) -> tuple[int, int]:
    """Month and day of a day since 1970-01-01, for any year (days_to_civil, proleptic Gregorian)."""
    of_era = (days + 719_468) % 146_097  # from 0000-03-01, in eras of 400 years
    of_era_year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * of_era_year + of_era_year // 4 - of_era_year // 100)
    month = (5 * of_year + 2) // 153  # 0 is March
    return (month + 2) % 12 + 1, of_year - (153 * month + 2) // 5 + 1


def month(days: int) -> float:
    """The month of a day since 1970-01-01.

    >>> month(0), month(20_512)  # 2026-02-28
    (1.0, 2.0)
    """
    return float(_civil(days)[0])


def day_of_month(days: int) -> float:
    """The day of the month of a day since 1970-01-01.

    >>> day_of_month(0), day_of_month(20_512)
    (1.0, 28.0)
    """
    return float(_civil(days)[1])


class _LetterByLetter(dict[int, int]):
    """A `str.translate` table that keeps the length: the simple case mapping of Unicode, as DuckDB applies it."""

    def __init__(self, upper: bool) -> None:
        self.upper = upper
        # Where the full mapping gives several letters, Unicode still has a simple one: İ -> i, ß -> ẞ.
        super().__init__({0xDF: 0x1E9E} if upper else {0x130: ord("i")})

    def __missing__(self, point: int) -> int:
        letter = chr(point)
        forms = (letter.upper(), letter.title()) if self.upper else (letter.lower(),)
        self[point] = next((ord(form) for form in forms if len(form) == 1), point)
        return self[point]


_LOWER: Final = _LetterByLetter(upper=False)
_UPPER: Final = _LetterByLetter(upper=True)


def lower(text: str) -> str:
    """Small letters, letter by letter.

    >>> lower("ÉCOUTE"), lower("ΣΑΣ")
    ('écoute', 'σασ')
    """
    return text.lower() if text.isascii() else text.translate(_LOWER)


def upper(text: str) -> str:
    """Capital letters, letter by letter.

    >>> upper("straße")
    'STRAẞE'
    """
    return text.upper() if text.isascii() else text.translate(_UPPER)


RUNTIME: Final[dict[str, Any]] = {
    **{f.__name__: f for f in (half_away, month, day_of_month, lower, upper, math.floor, math.ceil, math.fmod)},
    **{f.__name__: f for f in (abs, float, int, len, min, max)},
}
"""All that generated code can call."""
