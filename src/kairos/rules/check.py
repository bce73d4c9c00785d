"""All conditions of a playbook in one function: every distinct one is answered once, offers are bits.

The answer for a row is one wide integer. Its low bits are the arms that are out, the bits above are the conditions that
are not TRUE; what a failing condition adds is one constant, and all of it is joined with `|`.

Most conditions ask one value ("subject") against literals: `balance >= 10`, `plan IN (…)`, `data_left_mb / 1024 < 2`.
All such conditions on one subject depend only on where the value lies between their literals. So the literals, sorted,
cut the line into regions, each region's integer is worked out beforehand, and at run time a whole subject costs one
binary search (one dictionary lookup for texts that are only compared for equality) and one `|`, however many conditions
and offers there are. An AND is taken apart first: each part brings the same bits. What is left (an OR over several
subjects, a comparison of two columns, LIKE) is tested one by one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from kairos.rules.python import Row, Writer, defined, unpacking
from kairos.rules.tree import (
    COMPARE,
    Always,
    And,
    Atom,
    Comparison,
    Condition,
    In,
    IsNull,
    Literal,
    Operand,
    Or,
    Tree,
    Truth,
)
from kairos.rules.types import Value

MAX_TABLE_BYTES: Final = 64_000_000  # of one subject; beyond it, its conditions are tested one by one


@dataclass(frozen=True, slots=True)
class Check:
    """Answers, for a row, which arms are alive and which conditions failed.

    `run(row)` gives `(alive, failed)`: bit `a` of `alive` is set where all conditions of
    arm `a` are TRUE; bit `i` of `failed` is set where condition `i` is not TRUE, whether it is FALSE or unknown.
    """

    conditions: tuple[Condition, ...]  # distinct, in the order in which the arms first name them
    run: Callable[[Row], tuple[int, int]] = field(repr=False)
    source: str = field(repr=False)  # the generated Python


def compile_check(arms: Sequence[Sequence[Condition]], columns: Sequence[str]) -> Check:
    """The check of these arms, each given by all the conditions that it needs, for rows in the order of `columns`."""
    numbers: dict[Condition, int] = {}
    needing: list[list[int]] = []
    for arm, needed in enumerate(arms):
        for condition in dict.fromkeys(needed):
            number = numbers.setdefault(condition, len(numbers))
            if number == len(needing):
                needing.append([])
            needing[number].append(arm)
    plan = _Plan(len(arms), needing)
    for condition, number in numbers.items():
        plan.add(condition.tree, number)

    names = sorted(frozenset().union(*(condition.names for condition in numbers)))
    variables, statements = unpacking(names, columns)
    writer = Writer(variables)
    writer.runtime["bisect_right"] = bisect_right
    every, count = writer.constant((1 << len(arms)) - 1), len(arms)
    statements += plan.statements(writer)
    statements.append(f"return {every} ^ (bits & {every}), bits >> {count}")
    run, source = defined("check", statements, writer.runtime)
    return Check(tuple(numbers), run, source)


def _bits(places: Sequence[int]) -> int:
    return sum(1 << place for place in places)


class _Plan:
    """What is asked of each subject, and what is left to be tested one by one."""

    def __init__(self, arms: int, needing: Sequence[Sequence[int]]) -> None:
        self.arms = arms
        self.needing = needing
        self.outcome = [1 << (arms + number) | _bits(needing[number]) for number in range(len(needing))]
        self.always = 0
        self.asked: dict[Operand, dict[int, list[Tree]]] = defaultdict(lambda: defaultdict(list))
        self.single: list[tuple[Tree, int]] = []

    def add(self, tree: Tree, number: int) -> None:
        for part in tree.parts if isinstance(tree, And) else (tree,):
            if isinstance(part, Always):
                self.always |= 0 if part.value else self.outcome[number]
            elif (subject := _subject(part)) is not None:
                self.asked[subject][number].append(part)
            else:
                self.single.append((part, number))

    def statements(self, writer: Writer) -> Iterator[str]:
        yield f"bits = {writer.constant(self.always)}"
        for subject, asked in self.asked.items():
            yield from self._lookup(subject, {number: _all(parts) for number, parts in asked.items()}, writer)
        for part, number in self.single:
            yield f"if not {writer.test(part)}: bits |= {writer.constant(self.outcome[number])}"

    def _lookup(self, subject: Operand, asked: Mapping[int, Tree], writer: Writer) -> Iterator[str]:
        """One statement that finds the integer of a subject's region."""
        guards: list[str] = []
        value = writer.settled(subject, guards)
        if subject.type == "boolean":
            yes, no = (writer.constant(self._at(asked, answer)) for answer in (True, False))
            found = f"({yes} if {value} else {no})"
        else:
            cuts, regions = self._regions(asked)
            if len(regions) * (self.arms + len(self.needing)) // 8 > MAX_TABLE_BYTES:
                for number, part in asked.items():
                    yield f"if not {writer.test(part)}: bits |= {writer.constant(self.outcome[number])}"
                return
            if subject.type == "text" and not any(map(_orders, asked.values())):
                known = set(chain.from_iterable(map(_literals, asked.values())))
                table = {cut: region for cut, region in zip(cuts, regions[1:], strict=True) if cut in known}
                other = regions[-1]  # above the last cut, and so equal to none
                found = f"{writer.constant(table)}.get({value}, {writer.constant(other)})"
            else:
                found = f"{writer.constant(regions)}[bisect_right({writer.constant(cuts)}, {value})]"
        unknown = writer.constant(self._at(asked, None))
        yield f"bits |= {found} if {' and '.join(guards)} else {unknown}" if guards else f"bits |= {found}"

    def _at(self, asked: Mapping[int, Tree], value: Value | None) -> int:
        """The integer for one value of the subject."""
        bits = 0
        for number, tree in asked.items():
            if not _holds(tree, value):
                bits |= self.outcome[number]
        return bits

    def _regions(self, asked: Mapping[int, Tree]) -> tuple[list[Any], list[int]]:
        """The cuts, ascending, and the integers of the regions: below the first cut, from each cut to the next.

        One sweep from left to right: at a cut only the conditions with a literal there can change.
        """
        changes: dict[Any, list[int]] = defaultdict(list)
        for number, tree in asked.items():
            for cut in _cuts(tree):
                changes[cut].append(number)
        cuts = sorted(changes)
        below: Any = _below(cuts[0]) if cuts else 0
        holding = {number: _holds(tree, below) for number, tree in asked.items()}
        against = [0] * self.arms  # how many conditions of this subject stand against each arm
        failed = out = 0
        for number in (number for number, holds in holding.items() if not holds):
            failed |= 1 << number
            out |= _bits(self.needing[number])
            for arm in self.needing[number]:
                against[arm] += 1
        regions = [failed << self.arms | out]
        for cut in cuts:
            for number in dict.fromkeys(changes[cut]):
                holds = _holds(asked[number], cut)
                if holds == holding[number]:
                    continue
                holding[number] = holds
                failed ^= 1 << number
                for arm in self.needing[number]:
                    before = against[arm]
                    against[arm] += -1 if holds else 1
                    if not before or not against[arm]:
                        out ^= 1 << arm
            regions.append(failed << self.arms | out)
        return cuts, regions


def _subject(tree: Tree) -> Operand | None:
    """The one value that a condition asks, if it only compares it with literals."""
    match tree:
        case Comparison(_, left, Literal()):
            return left
        case In(operand) | IsNull(operand) | Truth(operand):
            return operand
        case And(parts) | Or(parts):
            subjects = {_subject(part) for part in parts}
            return subjects.pop() if len(subjects) == 1 else None
        case _:
            return None


def _all(parts: Sequence[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _holds(tree: Tree, value: Value | None) -> bool:
    """Whether a condition on one subject is TRUE where the subject has this value."""
    match tree:
        case And(parts):
            return all(_holds(part, value) for part in parts)
        case Or(parts):
            return any(_holds(part, value) for part in parts)
        case IsNull(_, negated):
            return (value is None) != negated
        case Comparison(operator, _, Literal(literal)):
            return value is not None and COMPARE[operator](value, literal)
        case In(_, options, negated):
            return value is not None and any(value == option.value for option in options) != negated
        case Truth(_, negated):
            return value is not None and bool(value) != negated
        case _:
            raise AssertionError(tree)


def _atoms(tree: Tree) -> Iterator[Atom]:
    if isinstance(tree, And | Or):
        for part in tree.parts:
            yield from _atoms(part)
    elif not isinstance(tree, Always):
        yield tree


def _orders(tree: Tree) -> bool:
    return any(isinstance(atom, Comparison) and atom.operator not in ("=", "<>") for atom in _atoms(tree))


def _literals(tree: Tree) -> Iterator[Value]:
    for atom in _atoms(tree):
        if isinstance(atom, Comparison) and isinstance(atom.right, Literal):
            yield atom.right.value
        elif isinstance(atom, In):
            yield from (option.value for option in atom.options)


def _cuts(tree: Tree) -> Iterator[Value]:
    """The values from which on a condition may answer differently than before."""
    for atom in _atoms(tree):
        operator = atom.operator if isinstance(atom, Comparison) else "="
        for value in _literals(atom):
            if operator not in ("<=", ">"):
                yield value
            if operator not in ("<", ">="):
                yield _next(value)


def _next(value: Value) -> Value:
    """The smallest value above this one."""
    if isinstance(value, float):
        return math.nextafter(value, math.inf)
    return value + "\0" if isinstance(value, str) else value + 1


def _below(value: Value) -> Value:
    """A value below this one (there is no text below the empty one, and no row asks for it)."""
    if isinstance(value, float):
        return -math.inf
    return "" if isinstance(value, str) else value - 1
