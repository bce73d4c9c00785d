"""Rules: SQL boolean expressions, typed against a vocabulary, with one meaning and two runners (`docs/rules.md`).

parse -> Condition -> compile_true, compile_false   one rule, one row
                   -> compile_check                 all rules of all offers, one row
                   -> to_sql                        one rule, a table
                   -> to_text -> from_text          one rule, kept beyond its playbook
"""

from kairos.rules.check import Check, compile_check
from kairos.rules.functions import FUNCTIONS, Function
from kairos.rules.parse import parse
from kairos.rules.python import compile_false, compile_true
from kairos.rules.sql import to_sql
from kairos.rules.text import from_text, to_text
from kairos.rules.tree import Condition
from kairos.rules.types import RESERVED, Constant, Names, Type, Value

__all__ = [
    "FUNCTIONS",
    "RESERVED",
    "Check",
    "Condition",
    "Constant",
    "Function",
    "Names",
    "Type",
    "Value",
    "compile_check",
    "compile_false",
    "compile_true",
    "from_text",
    "parse",
    "to_sql",
    "to_text",
]
