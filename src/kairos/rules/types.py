"""The six types of the rules language, and the names that a rule may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Type = Literal["text", "number", "money", "boolean", "date", "time"]
"""What a value is. In a Python row / in DuckDB:

========  =====================================================  =========
text      `str`                                                  VARCHAR
number    finite `float`; an `int` below 2**53 counts as one     DOUBLE
money     `int`, minor units (cents), within 64 bits             BIGINT
boolean   `bool`                                                 BOOLEAN
date      `int`, days since 1970-01-01                           DATE
time      `int`, milliseconds since 1970-01-01 00:00 UTC         TIMESTAMP
========  =====================================================  =========

`None` is NULL: not known.
"""

Value = str | float | int | bool
"""A known value, as it stands in a row."""

Names = Mapping[str, Type]
"""A vocabulary: column name -> type. A name may be dotted (`end_of_call.cost`)."""

RESERVED: Final[Names] = {"now": "time", "local": "time"}
"""Columns of every vocabulary: the UTC instant of the decision, and the wall clock where the subscriber is."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A name that stands for one value, such as a variant's own `price`; it is replaced when the rule is parsed."""

    type: Type
    value: Value
