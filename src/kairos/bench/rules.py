"""How fast a playbook's rules decide: `kairos bench rules`.

A decision is: which offers have all their conditions TRUE for this row, and which of those is the best? Offers are
numbered by priority, so the best is the lowest bit of the alive mask. A plain loop over the offers, with comparisons
written by hand, takes the same decisions, and both must choose the same winners.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from kairos.rules import Check, Names, compile_check, parse

Row = tuple[Any, ...]
Test = Callable[[Row], bool]

ROWS: Final = 20_000
FEW: Final = 50  # offers
MANY: Final = 5_000
UNKNOWN: Final = 0.05  # share of NULLs in the rows
HOUR_MS: Final = 3_600_000
NOW: Final = 1_767_225_600_000  # 2026-01-01
SEGMENTS: Final = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath")

NAMES: Final[Names] = {
    "data_left_mb": "number",
    "data_used_7d": "number",
    "calls_30d": "number",
    "tenure_days": "number",
    "age": "number",
    "balance": "money",
    "spend_30d": "money",
    "segment": "text",
    "marketing_consent": "boolean",
    "last_recharge": "time",
}
COLUMNS: Final = (*NAMES, "now")


@dataclass(frozen=True, slots=True)
class Asked:
    """One condition, as a rule and as a comparison written by hand."""

    rule: str
    test: Test


def run(seed: int = 1, seconds: float = 3.0) -> dict[str, object]:
    """Measure for about `seconds`; the result is one flat JSON object.

    Raises `AssertionError` if the compiled rules and the plain loop choose different winners.
    """
    draw = random.Random(seed)
    rows = [_row(draw) for _ in range(ROWS)]
    asked = _distinct(draw)
    few = [tuple(islice(asked, 3)) for _ in range(FEW)]
    known = [condition for offer in few for condition in offer]
    shared = [tuple(draw.sample(known, 3)) for _ in range(MANY)]
    unshared = [tuple(islice(asked, 3)) for _ in range(MANY)]

    check, build = _built(few)
    winners = [_best(check, row) for row in rows]
    checksum = _checksum(winners)
    assert checksum == _checksum([_best_of_loop(few, row) for row in rows]), "the winners differ"
    shared_check, shared_build = _built(shared)
    unshared_check, unshared_build = _built(unshared)
    for many, offers in ((shared_check, shared), (unshared_check, unshared)):
        assert [_best(many, row) for row in rows[:20]] == [_best_of_loop(offers, row) for row in rows[:20]]

    part = seconds / 6
    decisions = _per_second(check, rows, 2 * part)
    shared_rate = _per_second(shared_check, rows, part)
    return {
        "decisions_per_s": round(decisions),
        "plain_loop_per_s": round(_loop_per_second(few, rows, part)),
        "offers": len(few),
        "conditions": len(check.conditions),
        "true_share": round(_true_share(check, rows), 3),
        "null_share": UNKNOWN,
        "winners_crc32": checksum,
        "no_winner_share": round(winners.count(-1) / len(winners), 4),
        "build_ms": round(build * 1e3, 1),
        "shared_5000_per_s": round(shared_rate),
        "shared_5000_conditions": len(shared_check.conditions),
        "shared_5000_cost_ratio": round(decisions / shared_rate, 2),
        "shared_5000_build_ms": round(shared_build * 1e3, 1),
        "unshared_5000_per_s": round(_per_second(unshared_check, rows, part)),
        "unshared_5000_conditions": len(unshared_check.conditions),
        "unshared_5000_build_ms": round(unshared_build * 1e3, 1),
        "seed": seed,
    }


# --- what is decided ----------------------------------------------------------------------------------------------


def _row(draw: random.Random) -> Row:
    known = (
        *(round(draw.uniform(0, 1000), 2) for _ in range(5)),
        *(draw.randrange(100_000) for _ in range(2)),
        draw.choice(SEGMENTS),
        draw.random() < 0.5,
        NOW - draw.randrange(1000 * HOUR_MS),
    )
    return (*(None if draw.random() < UNKNOWN else value for value in known), NOW)


def _distinct(draw: random.Random) -> Iterator[Asked]:
    """Conditions that are all different, each true for about half of the rows."""
    seen: set[str] = set()
    while True:
        asked = _any_condition(draw)
        if asked.rule not in seen:
            seen.add(asked.rule)
            yield asked


def _any_condition(draw: random.Random) -> Asked:
    """A condition on one attribute, or, one in ten, on two: those no table can answer."""
    if draw.random() < 0.1:
        return _two_numbers(draw)
    at = draw.randrange(len(NAMES))
    name = list(NAMES)[at]
    middle = round(draw.uniform(400, 600), 2)
    match NAMES[name]:
        case "number":
            return _number_condition(name, at, middle, draw)
        case "money":
            minor = round(middle * 100)
            return Asked(f"{name} >= {middle:.2f}", lambda row: row[at] is not None and row[at] >= minor)
        case "text":
            some = tuple(sorted(draw.sample(SEGMENTS, 4)))
            return Asked(f"{name} IN {some}", lambda row: row[at] in some)
        case "boolean":
            wanted = draw.random() < 0.5
            return Asked(name if wanted else f"NOT {name}", lambda row: row[at] is wanted)
        case _:
            return Asked(
                f"hours_since({name}) > {middle}",
                lambda row: row[at] is not None and (row[-1] - row[at]) / HOUR_MS > middle,
            )


def _two_numbers(draw: random.Random) -> Asked:
    one, two = draw.sample([at for at, name in enumerate(NAMES) if NAMES[name] == "number"], 2)
    low, high = round(draw.uniform(250, 350), 2), round(draw.uniform(650, 750), 2)
    first, second = list(NAMES)[one], list(NAMES)[two]
    return Asked(
        f"{first} < {low} OR {second} > {high}",
        lambda row: (row[one] is not None and row[one] < low) or (row[two] is not None and row[two] > high),
    )


def _number_condition(name: str, at: int, middle: float, draw: random.Random) -> Asked:
    match draw.randrange(3):
        case 0:
            return Asked(f"{name} < {middle}", lambda row: row[at] is not None and row[at] < middle)
        case 1:
            return Asked(f"{name} >= {middle}", lambda row: row[at] is not None and row[at] >= middle)
        case _:
            low, high = round(middle - 250, 2), round(middle + 250, 2)
            return Asked(f"{name} BETWEEN {low} AND {high}", lambda row: row[at] is not None and low <= row[at] <= high)


# --- two ways to decide -------------------------------------------------------------------------------------------


def _built(offers: Sequence[Sequence[Asked]]) -> tuple[Check, float]:
    """The check of these offers, and the seconds it took to parse and compile it."""
    start = time.perf_counter()
    distinct = dict.fromkeys(asked.rule for offer in offers for asked in offer)
    parsed = {rule: parse(rule, NAMES) for rule in distinct}
    check = compile_check([[parsed[asked.rule] for asked in offer] for offer in offers], COLUMNS)
    return check, time.perf_counter() - start


def _best(check: Check, row: Row) -> int:
    """The first offer that is left; -1 where none is."""
    alive, _ = check.run(row)
    return (alive & -alive).bit_length() - 1


def _best_of_loop(offers: Sequence[Sequence[Asked]], row: Row) -> int:
    """The same by hand: every offer is asked, until its first refusal, and the best of those left is kept."""
    best = -1
    for number, offer in enumerate(offers):
        for asked in offer:
            if not asked.test(row):
                break
        else:
            if best < 0 or number < best:
                best = number
    return best


def _checksum(winners: Sequence[int]) -> int:
    return zlib.crc32(",".join(map(str, winners)).encode())


# --- measuring ----------------------------------------------------------------------------------------------------


def _per_second(check: Check, rows: Sequence[Row], seconds: float) -> float:
    """Decisions a second, the choice of the best included."""
    run, done, best = check.run, 0, 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not done:
        for row in rows[done % len(rows) :][:500]:
            alive, _ = run(row)
            best += (alive & -alive).bit_length()
        done += 500
    return done / elapsed


def _loop_per_second(offers: Sequence[Sequence[Asked]], rows: Sequence[Row], seconds: float) -> float:
    done = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not done:
        for row in rows[done % len(rows) :][:500]:
            _best_of_loop(offers, row)
        done += 500
    return done / elapsed


def _true_share(check: Check, rows: Sequence[Row]) -> float:
    failed = sum(check.run(row)[1].bit_count() for row in rows)
    return 1 - failed / len(rows) / len(check.conditions)
